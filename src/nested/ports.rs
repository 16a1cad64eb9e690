//! The four ports that every machine has.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::error::Error;
use super::event::Event;
use super::layer::{Layer, LayerInfo};
use super::limits::Limits;
use super::phase::Phase;

/// What stands at the plaintext port: "nothing yet" and "the end" can't be confused.
#[derive(Debug, PartialEq, Eq)]
pub enum Plaintext<'a> {
    /// Plaintext to read, never empty.
    Bytes(&'a [u8]),
    /// Nothing yet. After a failure nothing will come either: see [`Ports::failure`].
    Pending,
    /// The peer's authenticated end: all it sent has been read.
    End,
}

/// Which ports can move, level-triggered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Readiness {
    /// The machine wants bytes from the transport.
    pub wire_in: bool,
    /// The machine has bytes for the transport.
    pub wire_out: bool,
    /// The machine takes plaintext.
    pub plain_write: bool,
    /// There is plaintext to read, or its end.
    pub plain_out: bool,
    /// An out-of-band message of the framing waits to be taken.
    pub message: bool,
}

/// The four ports of a machine: bytes from and to the transport, plaintext from and to the user.
///
/// Two kinds of call: a *peek* lends a slice and changes nothing that shows; a *commit* says how
/// much of it was used, and does the work. After any commit every layer has gone as far as its
/// input reaches, so there is no call for "try again".
///
/// | port | peek | commit |
/// |---|---|---|
/// | transport → machine | [`wire_in`](Self::wire_in) | [`wire_received`](Self::wire_received), [`wire_eof`](Self::wire_eof) |
/// | machine → transport | [`wire_out`](Self::wire_out) | [`wire_sent`](Self::wire_sent) |
/// | user → machine | | [`plain_write`](Self::plain_write), [`close_write`](Self::close_write), [`close`](Self::close) |
/// | machine → user | [`plain_out`](Self::plain_out) | [`plain_consumed`](Self::plain_consumed) |
///
/// The order that never stalls: write all that `wire_out` has, take events and plaintext, then read
/// from the transport if `wire_in` offers space. Reading must not wait until all is written.
///
/// After a failure `wire_out` still has the alert for the peer; send it before closing the
/// transport.
///
/// This trait is sealed: [`Session`](super::Session) and [`Nested`](super::Nested) implement it.
pub trait Ports: sealed::Sealed {
    /// Space to receive into from the transport; `None` when nothing should be read now, because
    /// plaintext waits to be consumed or nothing can come any more.
    fn wire_in(&mut self) -> Option<&mut [u8]>;

    /// The first `n` bytes of what [`Ports::wire_in`] last offered hold what was received.
    ///
    /// `n` = 0 says that nothing is there for now; a machine that holds nothing then gives its
    /// buffer back.
    ///
    /// # Errors
    /// The machine's failure, the first time and each time after; or [`Misuse::Count`](super::Misuse::Count).
    fn wire_received(&mut self, n: usize) -> Result<(), Error>;

    /// The transport ended: nothing more will be received.
    ///
    /// # Errors
    /// The machine's failure; most of all [`ErrorKind::Truncated`](super::ErrorKind::Truncated) where the peer has not closed
    /// its layer.
    fn wire_eof(&mut self) -> Result<(), Error>;

    /// Bytes to write to the transport next; `None` when there are none.
    ///
    /// Takes `&mut self` because the outer layer is sealed here, when it is known what waits
    /// together. The slice stays the same until [`Ports::wire_sent`].
    fn wire_out(&mut self) -> Option<&[u8]>;

    /// As [`Ports::wire_out`] for a vectored write: seals all that waits, fills `slices` from the
    /// front, and returns how many were filled.
    fn wire_out_slices<'a>(&'a mut self, slices: &mut [&'a [u8]]) -> usize
    where
        Self: Sized;

    /// The first `n` bytes that [`Ports::wire_out`] or [`Ports::wire_out_slices`] showed were
    /// written.
    ///
    /// # Errors
    /// [`Misuse::Count`](super::Misuse::Count) if fewer wait to be sent; nothing changes then.
    fn wire_sent(&mut self, n: usize) -> Result<(), Error>;

    /// Take what fits of `data`, and return how much that is: it is owned by the machine then, and
    /// must not be given again. 0 means not yet: the innermost layer is not established, or the
    /// transport has to take something first.
    ///
    /// # Errors
    /// The machine's failure, or [`Misuse::WriteAfterClose`](super::Misuse::WriteAfterClose).
    fn plain_write(&mut self, data: &[u8]) -> Result<usize, Error>;

    /// The plaintext that can be read.
    fn plain_out(&self) -> Plaintext<'_>;

    /// The first `n` bytes of the plaintext were read.
    ///
    /// # Errors
    /// [`Misuse::Count`](super::Misuse::Count) if there are fewer; nothing changes then.
    fn plain_consumed(&mut self, n: usize) -> Result<(), Error>;

    /// No more plaintext will be written: the innermost layer's close_notify is queued behind what
    /// was taken. During the handshakes it is kept until they are complete. Reading goes on.
    fn close_write(&mut self);

    /// Close every layer: the close_notify of each is queued, the innermost first. Never waits for
    /// the peer; what it still sends can be read. Before the handshakes are complete this ends the
    /// connection with [`ErrorKind::Canceled`](super::ErrorKind::Canceled).
    fn close(&mut self);

    /// The next event; `None` when there is none for now.
    fn poll_event(&mut self) -> Option<Event>;

    /// Which ports can move.
    fn readiness(&self) -> Readiness;

    /// How far the machine has come.
    fn phase(&self) -> Phase;

    /// The error that ended the machine. Plaintext that came before it can still be read, and
    /// [`Plaintext::End`] still stands where the peer's end had come.
    fn failure(&self) -> Option<&Error>;

    /// What is known of a layer; `None` for the inner layer of a [`Session`](super::Session).
    fn layer(&self, layer: Layer) -> Option<&LayerInfo>;

    /// Fill `out` with keying material of `layer` that nobody but its two ends can derive, by the
    /// exporter of TLS 1.3. The layers' materials have nothing in common.
    /// <https://www.rfc-editor.org/rfc/rfc8446#section-7.5>
    ///
    /// Sent inside the other layer, or signed by what it authenticates, it binds the two together,
    /// so that a host can't splice two connections into one.
    ///
    /// The layer's role has to be made [`with_exporter`](super::Role::with_exporter): else nothing
    /// is kept that could be exported.
    ///
    /// # Errors
    /// [`Misuse::NotEstablished`](super::Misuse::NotEstablished);
    /// [`Misuse::ExporterOff`](super::Misuse::ExporterOff);
    /// [`Misuse::ExporterVersion`](super::Misuse::ExporterVersion) for TLS 1.2;
    /// [`Misuse::ExporterLength`](super::Misuse::ExporterLength). `out` is of no use then.
    fn export_keying_material(
        &self,
        layer: Layer,
        out: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), Error>;

    /// The channel binding `tls-exporter` of `layer`.
    /// <https://www.rfc-editor.org/rfc/rfc9266#section-2>
    ///
    /// `tls-server-end-point` is
    /// [`Certificate::tls_server_end_point`](crate::identity::Certificate::tls_server_end_point).
    ///
    /// # Errors
    /// As [`Ports::export_keying_material`].
    fn tls_exporter(&self, layer: Layer) -> Result<[u8; 32], Error> {
        let mut binding = [0; 32];
        self.export_keying_material(layer, &mut binding, b"EXPORTER-Channel-Binding", b"")?;
        Ok(binding)
    }

    /// The limits that the machine was made with.
    fn limits(&self) -> &Limits;

    /// The bytes that the machine's buffers take, both directions and layers; never more than
    /// [`Limits::total`].
    fn buffered(&self) -> usize;

    /// Receive from a buffer of one's own: feeds as much of `from` as the machine takes now, and
    /// returns how much that was.
    ///
    /// # Errors
    /// As [`Ports::wire_received`].
    fn wire_in_from(&mut self, from: &mut impl Buf) -> Result<usize, Error>
    where
        Self: Sized,
    {
        let before = from.remaining();
        while from.has_remaining() {
            let Some(space) = self.wire_in() else { break };
            let n = space.len().min(from.remaining());
            if let Some(space) = space.get_mut(..n) {
                from.copy_to_slice(space);
            }
            self.wire_received(n)?;
        }
        Ok(before - from.remaining())
    }

    /// Move what fits of the bytes for the transport to the end of `to`; returns how much that is.
    fn wire_out_into(&mut self, to: &mut impl BufMut) -> usize
    where
        Self: Sized,
    {
        let mut moved = 0;
        while let Some(bytes) = self.wire_out() {
            let n = bytes.len().min(to.remaining_mut());
            if n == 0 {
                break;
            }
            to.put_slice(bytes.get(..n).unwrap_or_default());
            let _ = self.wire_sent(n);
            moved += n;
        }
        moved
    }

    /// The next bytes for the transport as an owned buffer, without a copy.
    fn wire_out_bytes(&mut self) -> Option<Bytes>;

    /// As [`Ports::plain_write`] from a buffer of one's own, which is advanced.
    ///
    /// # Errors
    /// As [`Ports::plain_write`].
    fn plain_write_from(&mut self, from: &mut impl Buf) -> Result<usize, Error>
    where
        Self: Sized,
    {
        let mut taken = 0;
        while from.has_remaining() {
            let n = self.plain_write(from.chunk())?;
            if n == 0 {
                break;
            }
            from.advance(n);
            taken += n;
        }
        Ok(taken)
    }

    /// Move what fits of the plaintext to the end of `to`; returns how much that is.
    fn plain_out_into(&mut self, to: &mut impl BufMut) -> usize
    where
        Self: Sized,
    {
        let mut moved = 0;
        while let Plaintext::Bytes(bytes) = self.plain_out() {
            let n = bytes.len().min(to.remaining_mut());
            if n == 0 {
                break;
            }
            to.put_slice(bytes.get(..n).unwrap_or_default());
            let _ = self.plain_consumed(n);
            moved += n;
        }
        moved
    }

    /// All plaintext that can be read, as an owned buffer, without a copy.
    fn plain_out_bytes(&mut self) -> Option<BytesMut>;
}

pub(super) mod sealed {
    /// Only this crate's machines have ports.
    #[expect(unnameable_types, reason = "that is what seals the trait")]
    pub trait Sealed {}
}
