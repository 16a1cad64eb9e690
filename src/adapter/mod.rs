//! A machine and its transport as one stream, blocking or asynchronous.
//!
//! All adapters take any machine with [`Ports`] and any transport, have the same
//! verbs, and behave alike, because one loop drives them:
//!
//! - **Nothing happens by itself.** No constructor but `connect` and no `drop` does any I/O.
//! - **Reading never waits for writing.** Once the handshakes are complete, a reader writes only
//!   what nobody else would send: the answer to a KeyUpdate on an idle connection, or the alert of
//!   a failure. If the transport does not take that at once, the reader goes on reading; where it
//!   blocks instead of saying so, an answer waits until the peer makes room.
//! - **Writing is prompt.** What is written goes to the transport as far as it takes it without
//!   waiting; `flush` sees to the rest. A `BufWriter` around the stream collects small writes.
//! - **The end is the inner peer's word.** Reading ends with `Ok(0)` only after the innermost
//!   layer's close_notify; a transport that just ends is `UnexpectedEof`. Plaintext that came before
//!   a failure is read first, then every call has the failure.
//! - **Closing never waits for the peer.** `close_write` ends one direction: the innermost layer's
//!   close_notify. `shutdown` sends those of both layers and then shuts the transport's writing
//!   half, also when TLS has failed; it then ends with the failure. Once both directions of the
//!   innermost layer have ended, a peer that has hung up makes no error of it any more.
//!
//! The traits of futures-io call `close` what is `shutdown` elsewhere; `close` of the other adapters,
//! which leaves the transport open, is `close_layers` there.
//!
//! Errors are [`std::io::Error`]; where TLS failed, the source is [`crate::Error`].

mod driver;
mod io_error;

#[cfg(any(feature = "futures-io", feature = "tokio"))]
mod polled;

pub mod blocking;
#[cfg(feature = "futures-io")]
#[cfg_attr(docsrs, doc(cfg(feature = "futures-io")))]
pub mod futures_io;
#[cfg(feature = "tokio")]
#[cfg_attr(docsrs, doc(cfg(feature = "tokio")))]
pub mod tokio;

use core::fmt;
use std::io;

use crate::nested::Ports;

/// A handshake that came to nothing, with what it was made of.
///
/// The alert that tells the peer why was sent if the transport took it.
pub struct Failed<P, T> {
    /// Why.
    pub error: io::Error,
    /// The machine; [`Ports::failure`] has the error of TLS, if it was that.
    pub machine: P,
    /// The transport.
    pub transport: T,
}

impl<P, T> Failed<P, T> {
    fn new(error: io::Error, (machine, transport): (P, T)) -> Self {
        Self { error, machine, transport }
    }
}

impl<P, T> From<Failed<P, T>> for io::Error {
    fn from(failed: Failed<P, T>) -> Self {
        failed.error
    }
}

impl<P, T> fmt::Display for Failed<P, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<P: Ports, T> fmt::Debug for Failed<P, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failed").field("error", &self.error).finish_non_exhaustive()
    }
}

impl<P: Ports, T> core::error::Error for Failed<P, T> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.error)
    }
}
