//! How much a machine may hold.

/// The largest payload that TLS allows in a record.
/// <https://www.rfc-editor.org/rfc/rfc8446#section-5.1>
pub(super) const MAX_FRAGMENT: usize = 1 << 14;

/// The bytes of a record before its payload.
pub(super) const RECORD_HEADER: usize = 5;

/// The largest handshake message; rustls' own limit.
pub(super) const MAX_HANDSHAKE: usize = 0xffff;

/// The largest record on the wire: TLS 1.2 lets protection add 2048 bytes, TLS 1.3 less.
/// <https://www.rfc-editor.org/rfc/rfc5246#section-6.2.3>
pub(super) const MAX_RECORD: usize = RECORD_HEADER + MAX_FRAGMENT + 2048;

/// How many bytes a machine may hold, by place.
///
/// A limit of 0 counts as 1. The defaults suit hosts. A small device lowers them all together with the size of the records
/// that its peers send; a peer that sends more is refused with a typed error, never truncated.
///
/// ```
/// use nested_tls::Limits;
///
/// let limits = Limits { plaintext: 8 * 1024, ..Limits::default() };
/// assert!(limits.total() < Limits::default().total());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most space that `wire_in` offers at once, in bytes.
    pub wire_in: usize,
    /// The largest record accepted on either layer, header included, in bytes.
    pub record: usize,
    /// The most that an unfinished handshake message may take, record headers included, in bytes.
    pub handshake: usize,
    /// When this much plaintext waits to be read, nothing more is opened, in bytes. The last
    /// record opened may go beyond it.
    pub plaintext: usize,
    /// When this much waits to be written, `plain_write` takes nothing, in bytes. The last record
    /// sealed may go beyond it.
    pub wire_out: usize,
    /// The largest out-of-band message of a framing with its header, and the most that such
    /// messages take while they wait, in bytes.
    pub messages: usize,
}

impl Limits {
    /// The limits of [`Limits::default`].
    pub const DEFAULT: Self = Self {
        wire_in: 64 * 1024,
        record: MAX_RECORD,
        handshake: MAX_HANDSHAKE + MAX_RECORD,
        plaintext: 64 * 1024,
        wire_out: 64 * 1024,
        messages: 64 * 1024,
    };

    /// A machine that may hold nothing could never move.
    pub(super) fn at_least_one(self) -> Self {
        Self {
            wire_in: self.wire_in.max(1),
            record: self.record.max(1),
            handshake: self.handshake.max(1),
            plaintext: self.plaintext.max(1),
            wire_out: self.wire_out.max(1),
            messages: self.messages.max(1),
        }
    }

    /// The longest frame of a framing, its header included: any record, any message.
    pub(super) fn frame(&self) -> usize {
        self.messages.max(self.record)
    }

    /// The most bytes that a machine with these limits buffers at any time, both layers and both
    /// directions together.
    pub const fn total(&self) -> usize {
        // The sum of what counts as 1 where it is 0.
        let record = max(self.record, 6);
        let unfinished = max(self.handshake, record);
        // Received: plaintext with the record that went beyond its mark; unfinished messages on
        // either layer; the outer plaintext between the layers; one read.
        let received = self.plaintext
            + 2 * record
            + 2 * unfinished
            + max(self.messages, record)
            + self.wire_in;
        // To send: what is queued with the record that went beyond the mark, then the handshake
        // flights or alerts of both layers, which are never refused.
        let to_send = self.wire_out + 2 * record + 2 * unfinished;
        received + self.messages + to_send
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

const fn max(a: usize, b: usize) -> usize {
    if a > b { a } else { b }
}
