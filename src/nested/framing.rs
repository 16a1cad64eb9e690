//! How inner ciphertext travels in outer plaintext.

use alloc::vec::Vec;
use core::fmt;

use super::buffer::Queue;
use super::error::FramingError;

/// How the inner layer's ciphertext travels in the outer layer's plaintext.
///
/// One object per connection, kept on the joint of the two layers. It sees ciphertext of the inner
/// layer only. What it reads comes from the host, which nobody has authenticated to the inner peer:
/// an end mark or a message never counts as data of the inner layer.
///
/// [`Direct`] is the usual one: no framing at all.
pub trait Framing {
    /// Queue `inner`, some whole records of inner ciphertext, as outer plaintext.
    fn wrap(&mut self, inner: Vec<u8>, out: &mut Outgoing<'_>);

    /// Say what stands at the front of `carried`, outer plaintext not yet unwrapped.
    ///
    /// Called again with the rest until it says [`Unwrapped::Incomplete`]. The result must not
    /// depend on how much more follows than it needs.
    ///
    /// # Errors
    /// If `carried` can't be a beginning of this framing.
    fn unwrap(&mut self, carried: &[u8]) -> Result<Unwrapped, FramingError>;

    /// The most bytes that one [`Framing::wrap`] adds, so that a full inner record with them still
    /// fits one outer record.
    fn overhead(&self) -> usize {
        0
    }

    /// Whether this framing marks where the inner layer ends. Without such a mark the inner
    /// close_notify is the end, and the bytes behind it are outer plaintext again.
    fn marks_end(&self) -> bool {
        false
    }

    /// Queue the mark for the end of the inner layer, after its close_notify.
    fn finish(&mut self, out: &mut Outgoing<'_>) {
        let _ = out;
    }

    /// Queue an out-of-band message for the host.
    ///
    /// # Errors
    /// If the framing has no such messages, or not of this form.
    fn message(&mut self, message: &[u8], out: &mut Outgoing<'_>) -> Result<(), FramingError> {
        let _ = (message, out);
        Err(FramingError::new("this framing carries no out-of-band messages"))
    }
}

/// What stands at the front of the outer plaintext, in bytes from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwrapped {
    /// Not enough to say.
    Incomplete,
    /// `skip` bytes of framing, then `len` bytes of inner ciphertext: a whole frame's or the part
    /// of it that is there.
    Inner {
        /// Bytes of framing to drop.
        skip: usize,
        /// Bytes of inner ciphertext behind them.
        len: usize,
    },
    /// `skip` bytes of framing, then a whole out-of-band message of `len` bytes.
    Message {
        /// Bytes of framing to drop.
        skip: usize,
        /// Bytes of the message behind them.
        len: usize,
    },
    /// `skip` bytes that end the inner layer; what follows them is outer plaintext again.
    Finish {
        /// Bytes of framing to drop.
        skip: usize,
    },
}

/// Outer plaintext on its way out, in order.
pub struct Outgoing<'a>(&'a mut Queue);

impl fmt::Debug for Outgoing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").field("len", &self.0.len()).finish_non_exhaustive()
    }
}

impl<'a> Outgoing<'a> {
    pub(super) fn new(queue: &'a mut Queue) -> Self {
        Self(queue)
    }

    /// Append `bytes` without a copy.
    pub fn push(&mut self, bytes: Vec<u8>) {
        self.0.push(bytes);
    }

    /// Append a copy of `bytes`.
    pub fn push_slice(&mut self, bytes: &[u8]) {
        self.0.push(bytes.to_vec());
    }
}

/// No framing: the outer plaintext is the inner ciphertext, as when TLS streams are stacked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Direct;

impl Framing for Direct {
    fn wrap(&mut self, inner: Vec<u8>, out: &mut Outgoing<'_>) {
        out.push(inner);
    }

    fn unwrap(&mut self, carried: &[u8]) -> Result<Unwrapped, FramingError> {
        Ok(match carried.len() {
            0 => Unwrapped::Incomplete,
            len => Unwrapped::Inner { skip: 0, len },
        })
    }
}
