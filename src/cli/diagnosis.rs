//! From an error of the machine to what a person can act on.

use core::time::Duration;
use std::io;

use nested_tls::preamble::HttpConnectError;
use nested_tls::{Error, ErrorKind, Layer, Phase, Ports, identity};
use rustls::{AlertDescription, CertificateError, Error as Tls, PeerIncompatible};

use super::config::Setup;
use super::failure::{Failure, Status};
use super::files::words;
use super::options::option;

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
    /// The peer takes no more, and what is lost by that.
    Unsent(io::Error),
    /// A handshake took too long.
    Timeout(Layer, Duration),
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
    /// What `error` of a stream with `machine` means: to the layers a reset is an end.
    pub(crate) fn of(machine: &mut impl Ports, error: io::Error) -> Self {
        match Self::from(error) {
            Self::Transport(error) if is_hang_up(&error) => match machine.wire_eof() {
                Err(cut) => Self::Reset(cut, error),
                Ok(()) => Self::Transport(error),
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
            Self::Tls(error) => {
                let setup = setups.iter().find(|setup| setup.layer == error.layer());
                explain(error, setup.copied())
            }
            Self::Reset(cut, error) => {
                let (layer, phase) = (cut.layer(), cut.phase());
                match cut.kind() {
                    ErrorKind::Truncated => truncated(layer, phase, &words(error)),
                    _ => Self::Tls(cut.clone()).explain(setups),
                }
            }
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
            Self::Tunnel(error) => tunnel(error),
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

fn explain(error: &Error, setup: Option<&Setup>) -> Failure {
    let layer = error.layer();
    match error.kind() {
        ErrorKind::Truncated => truncated(layer, error.phase(), "the end of the data"),
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
        ErrorKind::Tls(tls) => refused(layer, tls, setup),
        _ => Failure::new(Status::of(layer), error.to_string(), "try again").on(layer),
    }
}

/// The host's answer to CONNECT.
fn tunnel(error: &HttpConnectError) -> Failure {
    let remedy = match error {
        HttpConnectError::Refused { status: 407, .. } => {
            "give it a user and a password with --http-auth"
        }
        HttpConnectError::Refused { .. } => {
            "check that the proxy may, and can, reach that host and port"
        }
        _ => "check that this is the TLS port of an HTTP proxy",
    };
    let failure = Failure::new(Status::Framing, error.to_string(), remedy);
    match error {
        HttpConnectError::Refused { status, .. } => {
            failure.compared("a 2xx answer to CONNECT", status.to_string())
        }
        _ => failure,
    }
}

fn truncated(layer: Layer, phase: Phase, found: &str) -> Failure {
    let remedy = match (phase, layer) {
        (Phase::OuterHandshake, _) => {
            "the peer hung up before it was TLS: check that this is the port of the outer layer"
        }
        (Phase::InnerHandshake, _) => {
            "the host hung up before the inner layer began: see whether what it forwards to is up"
        }
        (_, Layer::Inner) => {
            "somebody cut the stream: what came before is authentic, but not all of it"
        }
        (_, Layer::Outer) => "the peer ended without a word: what came before may not be all",
    };
    Failure::new(Status::Truncated, format!("cut short in the {phase} phase"), remedy)
        .on(layer)
        .compared("the peer's close_notify", found)
}

/// Whether the peer, or whoever stands between, closed the connection.
pub(crate) fn is_hang_up(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset)
}

/// The peer refused us.
fn alert_received(layer: Layer, alert: AlertDescription, setup: Option<&Setup>) -> Failure {
    use AlertDescription as A;
    let failure = |remedy: String| {
        Failure::new(Status::of(layer), "the peer refused the connection", remedy)
            .on(layer)
            .compared("no alert", format!("alert {}", alert_name(alert)))
    };
    let own = setup.and_then(|setup| setup.own.as_ref());
    let asked = setup.and_then(|setup| setup.witness.testimony().asked);
    let about_certificate = matches!(
        alert,
        A::AccessDenied
            | A::BadCertificate
            | A::CertificateExpired
            | A::CertificateRequired
            | A::CertificateRevoked
            | A::CertificateUnknown
            | A::DecryptError
            | A::HandshakeFailure
            | A::NoCertificate
            | A::UnknownCA
            | A::UnsupportedCertificate
    );
    let wants = || format!("{} and {}", option(layer, "cert"), option(layer, "key"));
    match (own, asked) {
        (Some(own), Some(asked)) if about_certificate && !asked.usable => {
            let schemes: Vec<String> =
                asked.schemes.iter().map(|scheme| format!("{scheme:?}")).collect();
            let remedy = format!(
                "our key can make none of the signatures that the peer accepts ({}), so no certificate went out: \
                 use another kind of key",
                schemes.join(", ")
            );
            failure(remedy).in_file(own.file.clone())
        }
        (Some(own), Some(_)) if about_certificate => {
            let remedy =
                format!("present a certificate that the peer accepts; ours is {}", own.subject());
            failure(remedy).in_file(own.file.clone())
        }
        (None, _) if matches!(alert, A::CertificateRequired | A::NoCertificate) => {
            failure(format!("present a certificate with {}", wants()))
        }
        (None, _) if alert == A::HandshakeFailure => failure(format!(
            "the peer may want a certificate ({}), or another version or suite",
            wants()
        )),
        _ => failure(match alert {
            A::ProtocolVersion => format!("try another version with {}", option(layer, "tls")),
            A::NoApplicationProtocol => {
                format!("offer a protocol that the peer knows with {}", option(layer, "alpn"))
            }
            A::UnrecognisedName => format!("call it by its name with {}", option(layer, "name")),
            A::UnknownCA | A::BadCertificate | A::CertificateUnknown => {
                "the peer does not trust our certificate: see what it checks it against".into()
            }
            _ => "see the log of the peer".into(),
        }),
    }
}

/// We refused the peer, or could not go on.
fn refused(layer: Layer, error: &Tls, setup: Option<&Setup>) -> Failure {
    let status = Status::of(layer);
    if let Tls::InvalidCertificate(certificate) = error {
        if let Some(error) = verdict(certificate, setup) {
            let failure = Failure::identity(status, layer, &error);
            let unreadable = setup.map(|setup| setup.witness.testimony().unreadable);
            return unreadable.iter().flatten().fold(failure, Failure::besides);
        }
    }
    let failure = |reason: &str, remedy: String| Failure::new(status, reason, remedy).on(layer);
    match error {
        Tls::InvalidCertificate(error) => failure(
            "certificate refused",
            "check that this is the right peer, and that its certificate is in order".into(),
        )
        .compared("a valid certificate", error.to_string()),
        Tls::InvalidMessage(error) => failure(
            "what came is not TLS",
            match layer {
                Layer::Outer => "check that this port is the one of the outer layer".into(),
                Layer::Inner => "check that what the host forwards to speaks TLS".into(),
            },
        )
        .compared("a TLS message", format!("{error:?}")),
        Tls::NoCertificatesPresented => failure(
            "the client presented no certificate",
            "the client has to present one that this server accepts".into(),
        )
        .compared("a client certificate", "none"),
        Tls::PeerIncompatible(PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon) => {
            failure("no signature scheme in common", "use another kind of key".into())
                .compared("one that our key can make", "others")
        }
        Tls::PeerIncompatible(found) => failure(
            "nothing in common with the peer",
            format!(
                "allow another version with {}, or see the peer's settings",
                option(layer, "tls")
            ),
        )
        .compared("a common version, suite and group", format!("{found:?}")),
        Tls::NoApplicationProtocol => failure(
            "no application protocol in common",
            format!("see {} on both sides", option(layer, "alpn")),
        ),
        Tls::DecryptError => failure(
            "a record that can't be opened",
            "somebody altered the data, or it is not the peer's".into(),
        ),
        Tls::PeerMisbehaved(found) => {
            failure("the peer broke the protocol", "see who it is, and its version".into())
                .compared("TLS as specified", format!("{found:?}"))
        }
        other => failure(&other.to_string(), "see the peer's log".into()),
    }
}

/// The rule's own words for a refusal: rustls keeps them unless it has a word of its own.
fn verdict(error: &CertificateError, setup: Option<&Setup>) -> Option<identity::Error> {
    let carried = match error {
        CertificateError::Other(other) => other.0.downcast_ref::<identity::Error>().cloned(),
        _ => None,
    };
    carried.or_else(|| setup?.witness.testimony().judgement?.verdict.err())
}

/// `handshake_failure`, as the RFC writes it.
fn alert_name(alert: AlertDescription) -> String {
    let mut name = String::new();
    let mut after_lower = false;
    for c in format!("{alert:?}").chars() {
        if c.is_uppercase() && after_lower {
            name.push('_');
        }
        after_lower = c.is_lowercase();
        name.extend(c.to_lowercase());
    }
    name
}
