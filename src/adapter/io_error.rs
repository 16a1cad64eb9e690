//! The one way from this crate's error to `std::io`'s.

use std::io;

use crate::nested::{Error, ErrorKind, Fault, Misuse};

/// The [`Error`] is the source: `io_error.get_ref()` can be downcast to it.
///
/// | error | kind |
/// |---|---|
/// | a layer was cut short | `UnexpectedEof` |
/// | the peer sent an alert; this side gave up during the handshakes | `ConnectionAborted` |
/// | what the peer sent is refused: records, certificates, framing, amounts | `InvalidData` |
/// | a write after the close | `BrokenPipe` |
/// | a call before its layer is established | `NotConnected` |
/// | any other misuse | `InvalidInput` |
/// | this side could not go on | `Other` |
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error.kind() {
            ErrorKind::Canceled => io::ErrorKind::ConnectionAborted,
            ErrorKind::Framing(_) | ErrorKind::Limit { .. } => io::ErrorKind::InvalidData,
            ErrorKind::Misuse(Misuse::NotEstablished) => io::ErrorKind::NotConnected,
            ErrorKind::Misuse(Misuse::WriteAfterClose) => io::ErrorKind::BrokenPipe,
            ErrorKind::Misuse(_) => io::ErrorKind::InvalidInput,
            ErrorKind::Tls(_) if error.alert_received().is_some() => {
                io::ErrorKind::ConnectionAborted
            }
            ErrorKind::Tls(_) => match error.fault() {
                Fault::Peer => io::ErrorKind::InvalidData,
                Fault::Local => io::ErrorKind::Other,
            },
            ErrorKind::Truncated => io::ErrorKind::UnexpectedEof,
        };
        Self::new(kind, error)
    }
}
