//! What went wrong, on which layer, in which phase, by whose fault.

use alloc::string::String;
use core::fmt;

use rustls::AlertDescription;

use super::layer::Layer;
use super::phase::Phase;

/// The final error of a machine, or the refusal of a call.
///
/// ```
/// use nested_tls::{ErrorKind, Fault};
///
/// fn report(error: &nested_tls::Error) {
///     match error.kind() {
///         ErrorKind::Truncated => eprintln!("{} stream cut short", error.layer()),
///         _ if error.fault() == Fault::Local => eprintln!("check your own settings: {error}"),
///         _ => eprintln!("{error}"),
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Error {
    layer: Layer,
    phase: Phase,
    kind: ErrorKind,
}

impl Error {
    pub(super) fn new(layer: Layer, phase: Phase, kind: impl Into<ErrorKind>) -> Self {
        Self { layer, phase, kind: kind.into() }
    }

    /// The layer that failed.
    pub fn layer(&self) -> Layer {
        self.layer
    }

    /// How far the machine had come.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// What went wrong.
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    /// The alert that the layer's peer sent, where that is what ended the connection.
    pub fn alert_received(&self) -> Option<AlertDescription> {
        match &self.kind {
            ErrorKind::Tls(rustls::Error::AlertReceived(alert)) => Some(*alert),
            _ => None,
        }
    }

    /// Who has to act.
    pub fn fault(&self) -> Fault {
        use rustls::Error::{
            AlertReceived, DecryptError, EncryptError, FailedToGetCurrentTime,
            FailedToGetRandomBytes, General, HandshakeNotComplete, InappropriateHandshakeMessage,
            InappropriateMessage, InvalidCertRevocationList, InvalidCertificate, InvalidMessage,
            NoApplicationProtocol, NoCertificatesPresented, PeerIncompatible, PeerMisbehaved,
            PeerSentOversizedRecord, UnsupportedNameType,
        };
        match &self.kind {
            ErrorKind::Misuse(_) | ErrorKind::Canceled => Fault::Local,
            ErrorKind::Truncated | ErrorKind::Limit { .. } | ErrorKind::Framing(_) => Fault::Peer,
            ErrorKind::Tls(error) => match error {
                AlertReceived(_)
                | DecryptError
                | InappropriateHandshakeMessage { .. }
                | InappropriateMessage { .. }
                | InvalidCertificate(_)
                | InvalidMessage(_)
                | NoApplicationProtocol
                | NoCertificatesPresented
                | PeerIncompatible(_)
                | PeerMisbehaved(_)
                | PeerSentOversizedRecord
                | UnsupportedNameType => Fault::Peer,
                EncryptError
                | FailedToGetCurrentTime
                | FailedToGetRandomBytes
                | General(_)
                | HandshakeNotComplete
                | InvalidCertRevocationList(_) => Fault::Local,
                _ => Fault::Local,
            },
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { layer, phase, kind } = self;
        match kind {
            ErrorKind::Tls(error) => write!(f, "{layer} TLS failed in the {phase} phase: {error}"),
            ErrorKind::Truncated => write!(
                f,
                "{layer} TLS was cut short in the {phase} phase: it ended without the peer's close_notify"
            ),
            ErrorKind::Limit { what, limit } => write!(
                f,
                "{layer} TLS exceeded a limit in the {phase} phase: more than {limit} bytes of {what}"
            ),
            ErrorKind::Framing(error) => {
                write!(f, "framing between the layers failed in the {phase} phase: {error}")
            }
            ErrorKind::Misuse(misuse) => write!(f, "{misuse}"),
            ErrorKind::Canceled => write!(f, "closed by this side in the {phase} phase"),
        }
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match &self.kind {
            // rustls' error is a standard error only with its own `std`.
            #[cfg(feature = "std")]
            ErrorKind::Tls(error) => Some(error),
            ErrorKind::Framing(error) => Some(error),
            _ => None,
        }
    }
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The machine was closed by its user before its handshakes were complete.
    Canceled,
    /// The framing between the layers found nonsense.
    Framing(FramingError),
    /// The peer wanted more memory than [`Limits`](super::Limits) allow.
    Limit {
        /// What there was too much of.
        what: &'static str,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The call breaks the method's contract; nothing changed.
    Misuse(Misuse),
    /// TLS itself: what the peer sent, what it refused, or what could not be verified.
    Tls(rustls::Error),
    /// The layer's data ended without its close_notify: someone cut it.
    Truncated,
}

impl From<rustls::Error> for ErrorKind {
    fn from(error: rustls::Error) -> Self {
        Self::Tls(error)
    }
}

impl From<Misuse> for ErrorKind {
    fn from(misuse: Misuse) -> Self {
        Self::Misuse(misuse)
    }
}

impl From<FramingError> for ErrorKind {
    fn from(error: FramingError) -> Self {
        Self::Framing(error)
    }
}

/// Who has to act on an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// This side: a setting, a key, or how the crate was called.
    Local,
    /// The peer, or whoever stands between.
    Peer,
}

/// A call that breaks its contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Misuse {
    /// More bytes were reported than had been offered.
    Count {
        /// The number given.
        given: usize,
        /// The number offered.
        offered: usize,
    },
    /// A label longer than 249 bytes, or more keying material asked for than can be derived: 255
    /// times the length of the suite's hash.
    ExporterLength,
    /// The layer's role was made without [`Role::with_exporter`](super::Role::with_exporter).
    ExporterOff,
    /// The layer's protocol version has no exporter that both ends can rely on.
    ExporterVersion,
    /// An inner layer was given a role with early data, which is the outer layer's alone.
    InnerEarlyData,
    /// The layer's protocol version has no KeyUpdate.
    KeyUpdateVersion,
    /// The layer is not established yet, or not there.
    NotEstablished,
    /// Both layers were given the same prepared configuration.
    SharedConfig,
    /// Plaintext was written, or a layer nested, after `close_write` or `close`.
    WriteAfterClose,
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count { given, offered } => {
                write!(f, "{given} bytes were reported where {offered} had been offered")
            }
            Self::ExporterLength => f.write_str("a label, or what is asked for, is too long"),
            Self::ExporterOff => f.write_str("the layer's role was made without an exporter"),
            Self::ExporterVersion => f.write_str("only TLS 1.3 exports keying material here"),
            Self::InnerEarlyData => f.write_str("only the outer layer may have early data"),
            Self::KeyUpdateVersion => f.write_str("only TLS 1.3 can update its keys"),
            Self::NotEstablished => f.write_str("the layer is not established"),
            Self::SharedConfig => f.write_str(
                "both layers were given one configuration; session tickets, names and keys must not be shared",
            ),
            Self::WriteAfterClose => f.write_str("the layer was closed for writing"),
        }
    }
}

/// What a [`Framing`](super::Framing) refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FramingError(String);

impl FramingError {
    /// A refusal that says what was expected and what was found.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

impl fmt::Display for FramingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for FramingError {}
