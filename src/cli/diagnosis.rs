//! From an error of the machine to what a person can act on.

use core::time::Duration;
use std::io;

use nested_tls::adapter::tokio::Stream;
use nested_tls::preamble::HttpConnectError;
use nested_tls::{Error, ErrorKind, Layer, Phase, Ports, Role};
use rustls::Error as Tls;

use super::config::Setup;
use super::failure::{Failure, Status};
use super::files::words;
use super::refusal::{alert_received, refused, silent_refusal, unopened};
use super::wire::Wire;

/// Why a connection ended badly.
#[derive(Debug)]
pub(crate) enum Broken {
    /// TLS, of either layer.
    Tls(Error),
    /// The connection to the peer.
    Transport(io::Error),
    /// The host opens no tunnel.
    Tunnel(HttpConnectError),
    /// The connection was reset, which cut a layer.
    Reset(Error, io::Error),
    /// The peer does not speak TLS, and began like this.
    Foreign(Error, String),
    /// The peer takes no more, and what is lost by that.
    Unsent(io::Error),
    /// A handshake took too long.
    Timeout(Layer, Duration),
    /// Nothing passed for so long.
    Idle(Duration),
    /// Nobody takes what is to be forwarded.
    Unreachable(Failure),
    /// What is to be sent can't be read.
    Input(io::Error),
    /// What was received can't be passed on.
    Output(io::Error),
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Self::Tls(error)
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        match error.get_ref().and_then(|source| source.downcast_ref::<Error>()) {
            Some(tls) => Self::Tls(tls.clone()),
            None => Self::Transport(error),
        }
    }
}

impl Broken {
    /// What `error` of `stream` means: to the layers a reset is an end.
    pub(crate) fn of<M: Ports>(stream: &mut Stream<M, Wire>, error: io::Error) -> Self {
        match Self::from(error) {
            Self::Transport(error) if is_hang_up(&error) => match stream.machine_mut().wire_eof() {
                Err(cut) => Self::Reset(cut, error),
                Ok(()) => Self::Transport(error),
            },
            Self::Tls(error) if is_foreign(&error) => match stream.transport().onlooker.text() {
                Some(greeting) => Self::Foreign(error, greeting),
                None => Self::Tls(error),
            },
            broken => broken,
        }
    }

    /// What it means that a write failed.
    pub(crate) fn unsent(error: io::Error) -> Self {
        match Self::from(error) {
            Self::Transport(error) => Self::Unsent(error),
            broken => broken,
        }
    }

    /// Says what happened, with what the layers' witnesses know.
    pub(crate) fn explain(&self, setups: &[&Setup]) -> Failure {
        match self {
            Self::Tls(error) => explain(error, setups),
            Self::Reset(cut, error) => match cut.kind() {
                ErrorKind::Truncated => truncated(cut, &words(error), setups),
                _ => explain(cut, setups),
            },
            Self::Foreign(error, greeting) => foreign(error.layer(), serves(setups))
                .compared("a TLS message", format!("{greeting:?}")),
            Self::Unsent(error) => Failure::new(
                Status::Transport,
                format!("the peer ended before it took all of the input: {}", words(error)),
                "see why the peer ended first; what it said until then is complete",
            ),
            Self::Transport(error) => Failure::new(
                Status::Transport,
                format!("connection lost: {}", words(error)),
                "see why the peer, or a firewall between, dropped the connection",
            ),
            Self::Tunnel(error) => tunnel(error, setups),
            Self::Unreachable(failure) => failure.clone(),
            Self::Timeout(layer, limit) => Failure::new(
                Status::of(*layer),
                "the handshake did not end",
                match layer {
                    Layer::Outer => "check that the peer speaks TLS there, or raise --timeout",
                    Layer::Inner => {
                        "check that the host forwards to a TLS server, or raise --timeout"
                    }
                },
            )
            .on(*layer)
            .compared(format!("an end within {} s", limit.as_secs_f64()), "silence"),
            Self::Idle(limit) => Failure::new(
                Status::Idle,
                "the connection was idle, and is closed",
                "see why neither end says anything, or raise --idle",
            )
            .compared(format!("something within {} s", limit.as_secs_f64()), "silence"),
            Self::Input(error) => Failure::usage(
                format!("the input can't be read: {}", words(error)),
                "check where standard input comes from",
            ),
            Self::Output(error) => Failure::usage(
                format!("the output can't be written: {}", words(error)),
                "check where standard output goes",
            ),
        }
    }
}

fn explain(error: &Error, setups: &[&Setup]) -> Failure {
    let layer = error.layer();
    let setup = setups.iter().find(|setup| setup.layer == layer).copied();
    match error.kind() {
        ErrorKind::Truncated => truncated(error, "the end of the data", setups),
        ErrorKind::Framing(reason) => Failure::new(
            Status::Framing,
            format!("framing between the layers: {reason}"),
            "check that both ends use the same framing",
        ),
        ErrorKind::Limit { what, limit } => Failure::new(
            Status::of(layer),
            format!("too large: {what}"),
            "the peer asks for more memory than any honest one: check who it is",
        )
        .on(layer)
        .compared(format!("at most {limit} bytes"), "more"),
        ErrorKind::Tls(Tls::AlertReceived(alert)) => alert_received(layer, *alert, setup),
        ErrorKind::Tls(Tls::DecryptError) => unopened(error, setup),
        ErrorKind::Tls(tls) => refused(layer, tls, setup),
        _ => Failure::new(Status::of(layer), error.to_string(), "try again").on(layer),
    }
}

/// The host's answer to CONNECT.
fn tunnel(error: &HttpConnectError, setups: &[&Setup]) -> Failure {
    let remedy = match error {
        HttpConnectError::Refused { status: 407, .. } => {
            "give a user and a password that it knows with --http-auth"
        }
        HttpConnectError::Refused { .. } => {
            "check that the proxy may, and can, reach that host and port"
        }
        _ => "check that this is the TLS port of an HTTP proxy",
    };
    // nginx ends the handshake, and says 400 of a client certificate that is missing or refused; others say 403, or go.
    let about_certificate = matches!(
        error,
        HttpConnectError::Answer(_)
            | HttpConnectError::Refused { status: 400 | 403 | 495 | 496, .. }
    );
    let refusal =
        about_certificate.then(|| silent_refusal(Phase::OuterHandshake, setups)).flatten();
    let (remedy, file) = match refusal {
        Some((refusal, file)) => (format!("{refusal}; else {remedy}"), file),
        None => (remedy.into(), None),
    };
    let failure = Failure::new(Status::Framing, error.to_string(), remedy);
    let failure = match file {
        Some(file) => failure.in_file(file),
        None => failure,
    };
    match error {
        HttpConnectError::Refused { status, .. } => {
            failure.compared("a 2xx answer to CONNECT", status.to_string())
        }
        _ => failure,
    }
}

/// A layer ended without its peer's word.
fn truncated(error: &Error, found: &str, setups: &[&Setup]) -> Failure {
    let (layer, phase) = (error.layer(), error.phase());
    let failure = |remedy: String| {
        Failure::new(Status::Truncated, format!("cut short in the {phase} phase"), remedy)
            .on(layer)
            .compared("the peer's close_notify", found)
    };
    if let Some((remedy, file)) = silent_refusal(phase, setups) {
        let failure = failure(remedy);
        return match file {
            Some(file) => failure.in_file(file),
            None => failure,
        };
    }
    let remedy = match (phase, layer) {
        (Phase::OuterHandshake | Phase::InnerHandshake, _) if serves(setups) => {
            "the client hung up before the handshake was complete: see what it says"
        }
        (Phase::OuterHandshake, _) => {
            "the peer hung up before it was TLS: check that this is the port of the outer layer"
        }
        (Phase::InnerHandshake, _) => {
            "the host hung up before the inner layer began: see whether what it forwards to is up"
        }
        (Phase::Closing, Layer::Inner) if !serves(setups) => {
            "somebody cut the stream: what came before is authentic, but not all of it; a server that gives up when its \
             client has ended, as many HTTP servers do, needs --keep-open"
        }
        (_, Layer::Inner) => {
            "somebody cut the stream: what came before is authentic, but not all of it"
        }
        (_, Layer::Outer) => "the peer ended without a word: what came before may not be all",
    };
    failure(remedy.into())
}

pub(crate) fn foreign(layer: Layer, serves: bool) -> Failure {
    let remedy = match layer {
        _ if serves => "check that the client means this port, and speaks TLS on both layers",
        Layer::Outer => "check that this port is the one of the outer layer",
        Layer::Inner => "check that what the host forwards to speaks TLS",
    };
    Failure::new(Status::of(layer), "what came is not TLS", remedy).on(layer)
}

/// Whether it is the client that may be at fault.
pub(crate) fn serves(setups: &[&Setup]) -> bool {
    setups.iter().any(|setup| matches!(setup.role, Role::Server { .. }))
}

fn is_foreign(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Tls(Tls::InvalidMessage(_)))
        && error.phase() == Phase::OuterHandshake
}

/// Whether the peer, or whoever stands between, closed the connection.
pub(crate) fn is_hang_up(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset)
}

/// `handshake_failure`, as the RFC writes it.
pub(crate) fn spoken_name(camel: impl core::fmt::Debug) -> String {
    spoken(&format!("{camel:?}")).replace(' ', "_")
}

/// `SeveralWords(..)` as several words.
pub(crate) fn spoken(camel: &str) -> String {
    let mut text = String::new();
    let mut after_lower = false;
    for c in camel.chars().take_while(char::is_ascii_alphanumeric) {
        if c.is_uppercase() && after_lower {
            text.push(' ');
        }
        after_lower = !c.is_uppercase();
        text.extend(c.to_lowercase());
    }
    text
}
