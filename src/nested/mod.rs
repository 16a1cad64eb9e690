//! The core: two TLS connections, one inside the other, as a pure state machine over byte buffers.
//!
//! [`Session`] is one TLS connection; [`Session::nest`] puts a second one inside it and makes it a
//! [`Nested`]. Both have the same four ports, [`Ports`]. Nothing here reads a clock, a socket, a
//! global or randomness of its own: time and randomness come through the configurations.

mod buffer;
mod connection;
mod early;
mod error;
mod event;
mod exporter;
mod framing;
mod handshake;
mod layer;
mod limits;
mod logging;
mod machine;
mod phase;
mod ports;
mod record;
mod resumption;
mod role;
mod session;
mod trace;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use buffer::{Inbound, Queue, Region};
use connection::{Connection, Progress};
pub use error::{Error, ErrorKind, Fault, FramingError, Misuse};
pub use event::Event;
pub use framing::{Direct, Framing, Outgoing, Unwrapped};
pub use layer::{Layer, LayerInfo};
pub use limits::Limits;
use machine::Machine;
pub use phase::Phase;
pub use ports::{Plaintext, Ports, Readiness};
pub use resumption::ClientSessions;
pub use role::{Prepared, Role};
pub use session::Session;
pub use trace::{Direction, Traced, Tracer};

/// What a waiting message takes beside its bytes, so that empty ones have a bound, too.
const MESSAGE_OVERHEAD: usize = size_of::<Bytes>();

/// Two TLS connections, the inner one inside the outer one's plaintext.
///
/// Made by [`Session::nest`]. Its plaintext ports carry the inner layer's plaintext; the outer
/// layer's can't be reached until [`Nested::into_outer`] gives the [`Session`] back.
pub struct Nested<F = Direct> {
    session: Session,
    inner: Connection,
    framing: F,
    /// Plaintext taken and not sealed yet, less than fills a record: more may come and share it.
    /// Whatever could stand before it in the stream, or end the layer, seals it first.
    unsealed: Vec<u8>,
    /// Inner records on their way to the framing; empty between calls.
    inner_sealed: Queue,
    messages: VecDeque<Bytes>,
    messages_len: usize,
    close_write_wanted: bool,
    /// The framing's end mark was received.
    finished: bool,
}

impl<F: Framing> Nested<F> {
    fn new(session: Session, role: Role, framing: F) -> Result<Self, Error> {
        let mut inner_sealed = Queue::default();
        let phase = session.current_phase();
        let inner = Connection::new(Layer::Inner, role, &session.limits, &mut inner_sealed)
            .map_err(|error| Error::new(Layer::Inner, phase, error))?;
        let mut nested = Self {
            session,
            inner,
            framing,
            unsealed: Vec::new(),
            inner_sealed,
            messages: VecDeque::new(),
            messages_len: 0,
            close_write_wanted: false,
            finished: false,
        };
        nested.carry_first();
        nested.session.send_early();
        // A failure here has an alert that still has to leave; `failure` tells it.
        let _ = nested.process();
        Ok(nested)
    }

    /// The outer session back, once both sides have closed the inner layer and its plaintext is
    /// consumed. Bytes behind the inner layer's end are the session's plaintext, intact. A framing
    /// that marks the end must have received the mark.
    ///
    /// # Errors
    /// Gives the machine back unchanged while the inner layer has not ended, or after
    /// [`Ports::close`] or a failure.
    pub fn into_outer(self) -> Result<Session, Box<Self>> {
        let ended = self.inner.closed()
            && self.inner.peer_closed()
            && self.session.inbound.plain.is_empty()
            && (self.finished || !self.framing.marks_end())
            && self.messages.is_empty();
        if !ended || self.session.failure.is_some() || self.session.close_wanted {
            return Err(Box::new(self));
        }
        let mut session = self.session;
        let parts = session.inbound.parts();
        let mut carried = *parts.inner;
        if carried.is_empty() {
            carried = *parts.carried;
        } else {
            carried.append(parts.bytes, *parts.carried);
        }
        parts.inner.clear();
        *parts.carried = carried;
        session.events = session.events.without_inner();
        // What fails here is told by the session.
        let _ = session.process();
        Ok(session)
    }

    /// The framing between the layers.
    pub fn framing(&self) -> &F {
        &self.framing
    }

    /// Queue an out-of-band message for the host, beside the inner layer.
    ///
    /// # Errors
    /// The machine's failure; or, without any change, the framing's refusal, or
    /// [`ErrorKind::Limit`] while as much waits for the transport as [`Limits::wire_out`] allows.
    pub fn send_message(&mut self, message: &[u8]) -> Result<(), Error> {
        self.session.check()?;
        if self.session.close_wanted {
            return Err(self.misuse(Misuse::WriteAfterClose));
        }
        self.seal_waiting()?;
        let limits = &self.session.limits;
        let full = self.session.queued() >= limits.wire_out;
        if full || message.len() > limits.messages {
            let limit = if full { limits.wire_out } else { limits.messages };
            let kind = ErrorKind::Limit { what: "messages to send", limit };
            return Err(Error::new(Layer::Outer, self.current_phase(), kind));
        }
        let mut out = Outgoing::new(&mut self.session.pending);
        match self.framing.message(message, &mut out) {
            Ok(()) => Ok(()),
            Err(error) => Err(Error::new(Layer::Outer, self.current_phase(), error)),
        }
    }

    /// The host's next out-of-band message. They must be taken: while as many wait as
    /// [`Limits::messages`](Limits::messages) allows, nothing more is received.
    pub fn poll_message(&mut self) -> Option<Bytes> {
        let message = self.messages.pop_front()?;
        self.messages_len -= message.len() + MESSAGE_OVERHEAD;
        self.after_consumption();
        Some(message)
    }

    /// Seal what follows on `layer` under new keys, and ask its peer to do the same if `request`.
    /// The KeyUpdate leaves with the next output, which [`Ports::wire_out`] has from now on.
    ///
    /// # Errors
    /// The machine's failure; [`Misuse::NotEstablished`]; [`Misuse::KeyUpdateVersion`] for TLS 1.2.
    pub fn update_keys(&mut self, layer: Layer, request: bool) -> Result<(), Error> {
        if layer == Layer::Outer {
            return self.session.update_keys(request);
        }
        self.session.check()?;
        self.seal_waiting()?;
        match self.inner.can_update_keys() {
            None => Err(self.misuse(Misuse::NotEstablished)),
            Some(false) => Err(self.misuse(Misuse::KeyUpdateVersion)),
            Some(true) => {
                self.inner.update_keys(request);
                Ok(())
            }
        }
    }

    /// Hand the inner layer's records to the framing.
    fn carry(&mut self) {
        while let Some(records) = self.inner_sealed.pop() {
            self.framing.wrap(records, &mut Outgoing::new(&mut self.session.pending));
        }
    }

    /// As [`Nested::carry`]. While the outer layer shakes hands, what leads the queue may leave early.
    fn carry_first(&mut self) {
        let leads = self.session.pending.len() == self.session.early;
        self.carry();
        if leads && self.session.connection.is_handshaking() {
            self.session.early = self.session.pending.len();
        }
    }

    /// Seal the plaintext that waits.
    fn seal_waiting(&mut self) -> Result<(), Error> {
        match self.unsealed.is_empty() {
            true => Ok(()),
            false => self.seal_inner(&[]),
        }
    }

    /// Seal one record of the plaintext that waits and `more`, which fit together.
    fn seal_inner(&mut self, more: &[u8]) -> Result<(), Error> {
        let all = self.unsealed.len() + more.len();
        let chunks = [&self.unsealed, more].into_iter().filter(|chunk| !chunk.is_empty());
        let sealed = match self.inner.seal(chunks, &mut self.inner_sealed) {
            Ok(sealed) if sealed != all => Err(rustls::Error::EncryptError),
            sealed => sealed,
        };
        match sealed {
            Ok(_) => {
                self.unsealed.clear();
                self.carry();
                Ok(())
            }
            Err(error) => Err(self.fail_sealing(error)),
        }
    }

    /// The inner layer can't seal: what was taken is lost with it, so this is no end to be told by close_notify.
    fn fail_sealing(&mut self, error: rustls::Error) -> Error {
        self.inner.fail(rustls::AlertDescription::InternalError, &mut self.inner_sealed);
        self.fail_inner(error)
    }

    /// The inner layer is over: its alert leaves through the outer layer, which is then closed.
    fn fail_inner(&mut self, kind: impl Into<ErrorKind>) -> Error {
        self.fail_inner_in(self.current_phase(), kind)
    }

    fn fail_inner_in(&mut self, phase: Phase, kind: impl Into<ErrorKind>) -> Error {
        self.carry_first();
        self.session.shut(phase);
        let first = self.session.failure.is_none();
        let error = self.session.fail(Layer::Inner, phase, kind);
        if first {
            self.inner.ledger.failed(&error);
        }
        error
    }

    /// One step of the inner layer with its input.
    fn advance_inner(&mut self) -> Result<Progress, Error> {
        let inbound = &self.session.inbound;
        if inbound.inner.is_empty() || inbound.plain.len() >= self.session.limits.plaintext {
            return Ok(Progress::None);
        }
        self.inner.hold(self.session.connection.is_handshaking());
        let phase = self.current_phase();
        let session = &mut self.session;
        let parts = session.inbound.parts();
        let step = self.inner.advance(
            parts.bytes,
            parts.inner,
            parts.plain,
            &session.limits,
            &mut self.inner_sealed,
        );
        match step {
            Ok(progress) => {
                self.carry_first();
                match progress {
                    Progress::Established => {
                        self.session.events.push(Event::Established(Layer::Inner));
                        if self.close_write_wanted {
                            self.shut_inner();
                        }
                    }
                    Progress::PeerClosed => {
                        self.session.events.push(Event::PeerClosed(Layer::Inner));
                        if self.framing.marks_end() {
                            // What comes before the mark is nobody's.
                            self.session.inbound.inner.clear();
                        }
                    }
                    Progress::None | Progress::Some => {}
                }
                Ok(progress)
            }
            Err(stop) => {
                let kind = stop.into_kind(&self.session.limits);
                Err(self.fail_inner_in(phase, kind))
            }
        }
    }

    /// Whether what follows in the outer plaintext is not the inner layer's any more.
    fn at_end(&self) -> bool {
        self.finished || (self.inner.peer_closed() && !self.framing.marks_end())
    }

    /// One step of the framing with its input; whether it moved.
    fn unwrap(&mut self) -> Result<bool, Error> {
        if self.session.inbound.carried.is_empty() || self.at_end() {
            return Ok(false);
        }
        let session = &mut self.session;
        let room = self.inner.max_unfinished(&session.limits);
        if session.inbound.inner.len() >= room || self.messages_len >= session.limits.messages {
            return Ok(false);
        }
        let parts = session.inbound.parts();
        // Never more than a frame may have: what is too long must not pass where it came at once.
        let most = session.limits.frame();
        let available = parts.carried.len().min(most);
        let shown = Region::new(parts.carried.start, available);
        let unwrapped = match self.framing.unwrap(shown.of(parts.bytes)) {
            Ok(unwrapped @ Unwrapped::Inner { .. }) => unwrapped,
            // Whatever else came early waits for the end of the outer handshake.
            _ if session.connection.is_handshaking() => return Ok(false),
            Ok(unwrapped) => unwrapped,
            Err(error) => return Err(self.fail_framing(error)),
        };
        let (skip, len) = match unwrapped {
            Unwrapped::Incomplete if available < most => return Ok(false),
            Unwrapped::Incomplete => return Err(self.fail_message()),
            Unwrapped::Inner { skip, len } | Unwrapped::Message { skip, len } => (skip, len),
            // Behind plaintext that nobody reads, what comes before the mark is not opened yet.
            Unwrapped::Finish { .. }
                if !self.inner.peer_closed() && parts.plain.len() >= session.limits.plaintext =>
            {
                return Ok(false);
            }
            Unwrapped::Finish { skip } => (skip, 0),
        };
        let used = skip.saturating_add(len);
        if used == 0 || used > available {
            let error = FramingError::new("the framing claims bytes that are not there");
            return Err(self.fail_framing(error));
        }
        if matches!(unwrapped, Unwrapped::Message { .. }) && used > session.limits.messages {
            return Err(self.fail_message());
        }
        let payload = Region::new(parts.carried.start + skip, len);
        parts.carried.consume(used);
        match unwrapped {
            // "Any data received after a closure alert has been received MUST be ignored."
            Unwrapped::Inner { .. } if self.inner.peer_closed() => {}
            Unwrapped::Inner { .. } => parts.inner.append(parts.bytes, payload),
            Unwrapped::Message { .. } => {
                self.messages_len += len + MESSAGE_OVERHEAD;
                self.messages.push_back(Bytes::copy_from_slice(payload.of(parts.bytes)));
            }
            // The mark is the host's word. The end of the inner layer is its close_notify.
            Unwrapped::Finish { .. } if !self.inner.peer_closed() => {
                return Err(self.fail_inner(ErrorKind::Truncated));
            }
            Unwrapped::Finish { .. } => self.finished = true,
            Unwrapped::Incomplete => {}
        }
        Ok(true)
    }

    fn fail_message(&mut self) -> Error {
        let limit = self.session.limits.messages;
        self.fail_framing(ErrorKind::Limit { what: "framed message", limit })
    }

    fn fail_framing(&mut self, kind: impl Into<ErrorKind>) -> Error {
        let phase = self.current_phase();
        self.inner.fail(rustls::AlertDescription::InternalError, &mut self.inner_sealed);
        self.carry();
        self.session.shut(phase);
        self.session.fail(Layer::Outer, phase, kind)
    }

    fn judge_end(&mut self) -> Result<(), Error> {
        let outer = &self.session.connection;
        let (established, outer_closed) = (outer.is_established(), outer.peer_closed());
        let ended = outer_closed || self.session.eof;
        if self.inner.peer_closed() {
            if self.session.eof && !outer_closed {
                self.session.events.push(Event::OuterUnclean);
            }
            if ended && self.inner.closed() && self.session.connection.closed() {
                self.session.events.push(Event::Closed);
            }
        } else if ended && self.session.starved {
            if established {
                return Err(self.fail_inner(ErrorKind::Truncated));
            }
            let phase = self.current_phase();
            return Err(self.session.fail(Layer::Outer, phase, ErrorKind::Truncated));
        }
        Ok(())
    }

    /// Queue the inner close_notify and the framing's end mark.
    fn shut_inner(&mut self) {
        self.close_write_wanted = true;
        if self.seal_waiting().is_err() {
            return;
        }
        if self.inner.is_established() && !self.inner.closed() {
            self.inner.close(&mut self.inner_sealed);
            self.carry();
            self.framing.finish(&mut Outgoing::new(&mut self.session.pending));
        }
    }

    /// Keep `data` until a record is full or has to leave.
    fn keep(&mut self, data: &[u8], fragment: usize) {
        let (len, capacity) = (self.unsealed.len() + data.len(), self.unsealed.capacity());
        if capacity < len {
            // Never more than a record, whatever its growth would be.
            let want = (2 * capacity).clamp(len, fragment);
            self.unsealed.reserve_exact(want - self.unsealed.len());
        }
        self.unsealed.extend_from_slice(data);
    }

    /// The largest inner payload whose record, framed, fills one outer record.
    fn inner_fragment(&self) -> usize {
        let (outer_max, _) = self.session.connection.record_size();
        let (inner_max, overhead) = self.inner.record_size();
        let overhead = overhead + self.framing.overhead();
        inner_max.min(outer_max.saturating_sub(overhead)).max(1)
    }
}

impl<F: Framing> Machine for Nested<F> {
    fn session(&self) -> &Session {
        &self.session
    }

    fn session_mut(&mut self) -> &mut Session {
        &mut self.session
    }

    fn connection(&self, layer: Layer) -> Option<&Connection> {
        Some(match layer {
            Layer::Outer => &self.session.connection,
            Layer::Inner => &self.inner,
        })
    }

    fn innermost(&self) -> &Connection {
        &self.inner
    }

    fn innermost_layer(&self) -> Layer {
        Layer::Inner
    }

    fn readable_mut(inbound: &mut Inbound) -> &mut Region {
        &mut inbound.plain
    }

    fn readable(&self) -> Region {
        self.session.inbound.plain
    }

    fn process(&mut self) -> Result<(), Error> {
        self.session.check()?;
        // What was taken before leaves before what this input leads to.
        self.seal_waiting()?;
        loop {
            // From the inside out, so that each record's payload is gone before the next comes.
            if self.advance_inner()? != Progress::None || self.unwrap()? {
                continue;
            }
            if self.session.close_wanted && self.at_end() {
                // Nobody will ask for what is behind the inner layer's end.
                self.session.inbound.inner.clear();
                self.session.inbound.carried.clear();
            }
            if self.blocked() {
                self.session.starved = false;
                break;
            }
            if self.session.inbound.outer.is_empty()
                || self.session.advance(self.current_phase())? == Progress::None
            {
                self.session.starved = true;
                break;
            }
        }
        self.judge_end()
    }

    fn blocked(&self) -> bool {
        let (inbound, limits) = (&self.session.inbound, &self.session.limits);
        // Outer plaintext that waits for the rest of its frame must not stop what brings it.
        inbound.plain.len() >= limits.plaintext
            || self.messages_len >= limits.messages
            || (self.at_end() && inbound.carried.len() >= limits.plaintext)
    }

    fn prepare(&mut self, all: bool) {
        let full = self.queued() >= self.session.limits.wire_out;
        // What fails here is told by `failure` and by every later commit.
        if self.session.failure.is_none()
            && self.seal_waiting().is_ok()
            && self.inner.owes()
            && !full
        {
            match self.inner.answer(&mut self.inner_sealed) {
                Ok(()) => self.carry(),
                Err(error) => {
                    self.fail_sealing(error);
                }
            }
        }
        self.session.seal_pending(self.current_phase(), all);
    }

    fn wants_seal(&self) -> bool {
        self.session.wants_seal()
            || (self.session.failure.is_none()
                && (self.inner.owes() || !self.unsealed.is_empty())
                && !self.session.connection.closed())
    }

    fn write_closed(&self) -> bool {
        self.close_write_wanted || self.session.close_wanted
    }

    fn write(&mut self, data: &[u8]) -> Result<usize, Error> {
        if !self.inner.is_established() {
            return Ok(0);
        }
        let fragment = self.inner_fragment();
        let mut taken = 0;
        while taken < data.len() {
            let rest = data.get(taken..).unwrap_or_default();
            let room = fragment.saturating_sub(self.unsealed.len());
            let full = self.queued() >= self.session.limits.wire_out;
            match rest.split_at_checked(room) {
                Some((filling, _)) if !full => {
                    self.seal_inner(filling)?;
                    taken += room;
                }
                // What is left of a write after a record that went beyond the mark, which would
                // cost its user another call, and the transport another packet.
                None if !full || taken > 0 => {
                    self.keep(rest, fragment);
                    taken += rest.len();
                }
                _ => break,
            }
        }
        Ok(taken)
    }

    fn shut_innermost(&mut self) {
        self.shut_inner();
        // Both sides may have closed now.
        let _ = self.judge_end();
    }

    fn shut_all(&mut self) {
        if self.innermost().is_handshaking() {
            self.fail_inner(ErrorKind::Canceled);
            return;
        }
        self.shut_inner();
        self.session.shut(self.current_phase());
        // Room for what was kept for `into_outer`; then both sides may have closed.
        let _ = self.process();
    }

    fn current_phase(&self) -> Phase {
        let outer = &self.session.connection;
        let inner_closed = self.inner.closed() && self.inner.peer_closed();
        let outer_closed = outer.closed() && (outer.peer_closed() || self.session.eof);
        match () {
            () if self.session.failure.is_some() => Phase::Failed,
            () if outer.is_handshaking() => Phase::OuterHandshake,
            () if self.inner.is_handshaking() => Phase::InnerHandshake,
            () if inner_closed && outer_closed => Phase::Closed,
            () if self.inner.closed() || self.inner.peer_closed() => Phase::Closing,
            () => Phase::Traffic,
        }
    }

    fn held(&self) -> usize {
        self.messages_len + self.session.connection.held() + self.inner.held()
    }

    fn give_back(&mut self) {
        if self.unsealed.is_empty() {
            self.unsealed = Vec::new();
        }
    }

    fn has_message(&self) -> bool {
        !self.messages.is_empty()
    }

    fn queued(&self) -> usize {
        self.session.queued() + self.unsealed.len()
    }

    fn reserved(&self) -> usize {
        self.unsealed.capacity() - self.unsealed.len()
    }
}

impl<F> fmt::Debug for Nested<F>
where
    F: Framing,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nested").field("phase", &self.phase()).finish_non_exhaustive()
    }
}
