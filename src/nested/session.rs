//! One TLS connection with four ports.

use alloc::vec::Vec;
use core::fmt;

use rustls::AlertDescription;

use super::Nested;
use super::buffer::{Inbound, Queue, Region};
use super::connection::{Connection, Progress, Stop};
use super::error::{Error, ErrorKind, Misuse};
use super::event::{Event, Events};
use super::framing::Framing;
use super::layer::Layer;
use super::limits::Limits;
use super::machine::Machine;
use super::phase::Phase;
use super::ports::Ports;
use super::role::Role;

/// One TLS connection: the outer layer while it stands alone.
///
/// Its plaintext is the user's: whatever has to be said to the host before the inner layer begins.
/// [`Session::nest`] then puts the inner layer inside; from there on the outer plaintext can't be
/// reached any more. On its own it is a complete sans-IO TLS connection.
pub struct Session {
    pub(super) connection: Connection,
    pub(super) inbound: Inbound,
    /// Records for the transport.
    pub(super) sealed: Queue,
    /// Outer plaintext of the inner layer that waits to be sealed.
    pub(super) pending: Queue,
    /// How much at the front of it is the inner layer's first flight, which may leave before the
    /// outer handshake is complete.
    pub(super) early: usize,
    pub(super) limits: Limits,
    pub(super) events: Events,
    pub(super) failure: Option<Error>,
    /// The transport has ended.
    pub(super) eof: bool,
    /// `close` or `close_write` was called on this layer.
    pub(super) close_wanted: bool,
    /// The last pass over the input stopped for want of more, not for want of room.
    pub(super) starved: bool,
}

impl Session {
    /// A new connection. A client's ClientHello is at [`Ports::wire_out`] at once.
    ///
    /// # Errors
    /// If rustls refuses the configuration or the name.
    pub fn new(role: Role, limits: Limits) -> Result<Self, Error> {
        let mut sealed = Queue::default();
        let limits = limits.at_least_one();
        let connection = Connection::new(Layer::Outer, role, &limits, &mut sealed)
            .map_err(|error| Error::new(Layer::Outer, Phase::OuterHandshake, error))?;
        Ok(Self {
            connection,
            inbound: Inbound::default(),
            sealed,
            pending: Queue::default(),
            early: 0,
            limits,
            events: Events::default(),
            failure: None,
            eof: false,
            close_wanted: false,
            starved: true,
        })
    }

    /// Put an inner layer inside this one. Plaintext not consumed yet goes to the inner layer.
    ///
    /// May be called before the outer handshake is complete: an inner client's first flight then
    /// leaves together with this side's last one, and a full TLS 1.3 handshake of both layers takes
    /// two round trips.
    ///
    /// # Errors
    /// This session's failure; [`Misuse::SharedConfig`] if both layers were given one
    /// configuration; [`Misuse::InnerEarlyData`]; [`Misuse::WriteAfterClose`]; or what rustls refuses in the inner
    /// configuration.
    pub fn nest<F: Framing>(self, inner: Role, framing: F) -> Result<Nested<F>, Error> {
        self.check()?;
        if self.close_wanted || self.connection.closed() {
            return Err(self.misuse(Misuse::WriteAfterClose));
        }
        if inner.is_early() {
            return Err(self.misuse(Misuse::InnerEarlyData));
        }
        if self.connection.role().shares_config(&inner) {
            return Err(self.misuse(Misuse::SharedConfig));
        }
        Nested::new(self, inner, framing)
    }

    /// Seal what follows under new keys, and ask the peer to do the same if `request`. The
    /// KeyUpdate leaves with the next output, which [`Ports::wire_out`] has from now on.
    ///
    /// # Errors
    /// The machine's failure; [`Misuse::NotEstablished`]; [`Misuse::KeyUpdateVersion`] for TLS 1.2.
    pub fn update_keys(&mut self, request: bool) -> Result<(), Error> {
        self.check()?;
        match self.connection.can_update_keys() {
            None => Err(self.misuse(Misuse::NotEstablished)),
            Some(false) => Err(self.misuse(Misuse::KeyUpdateVersion)),
            Some(true) => {
                self.connection.update_keys(request);
                Ok(())
            }
        }
    }

    #[inline]
    pub(super) fn check(&self) -> Result<(), Error> {
        match &self.failure {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// Bytes that wait for the transport.
    pub(super) fn queued(&self) -> usize {
        self.sealed.len() + self.pending.len()
    }

    /// The first error is final. What is sealed already still leaves; nothing else does.
    pub(super) fn fail(&mut self, layer: Layer, phase: Phase, kind: impl Into<ErrorKind>) -> Error {
        self.pending.clear();
        self.inbound.inner.clear();
        self.inbound.outer.clear();
        self.starved = true;
        if let Some(first) = &self.failure {
            return first.clone();
        }
        let error = Error::new(layer, phase, kind);
        if layer == Layer::Outer {
            self.connection.ledger.failed(&error);
        }
        self.failure.insert(error).clone()
    }

    /// One step of the outer layer with its input.
    pub(super) fn advance(&mut self, phase: Phase) -> Result<Progress, Error> {
        let parts = self.inbound.parts();
        let step = self.connection.advance(
            parts.bytes,
            parts.outer,
            parts.carried,
            &self.limits,
            &mut self.sealed,
        );
        match step {
            Ok(Progress::Established) => {
                if self.connection.role().is_client() {
                    // What the server took as early data has left; the rest leaves now.
                    self.pending.consume(self.connection.early().min(self.early));
                }
                self.early = 0;
                self.events.push(Event::Established(Layer::Outer));
                Ok(Progress::Established)
            }
            Ok(Progress::PeerClosed) => {
                // "Any data received after a closure alert has been received MUST be ignored."
                // <https://www.rfc-editor.org/rfc/rfc8446#section-6.1>
                self.inbound.outer.clear();
                self.events.push(Event::PeerClosed(Layer::Outer));
                Ok(Progress::PeerClosed)
            }
            Ok(progress) => Ok(progress),
            Err(stop) => Err(self.fail(Layer::Outer, phase, stop.into_kind(&self.limits))),
        }
    }

    /// Seal pending outer plaintext: all of it, or one record. Answers to the host go first.
    pub(super) fn seal_pending(&mut self, phase: Phase, all: bool) {
        self.answer_early();
        if !self.wants_seal() {
            return;
        }
        let step = |session: &mut Self| -> Result<usize, rustls::Error> {
            // A peer that asks and never reads gets one answer, when it reads again.
            if session.queued() < session.limits.wire_out {
                session.connection.answer(&mut session.sealed)?;
            }
            session.connection.seal(session.pending.iter(), &mut session.sealed)
        };
        loop {
            match step(self) {
                Ok(0) => return,
                Ok(n) => {
                    self.pending.consume(n);
                    if self.pending.is_empty() {
                        return;
                    }
                }
                Err(error) => {
                    self.connection.fail(AlertDescription::InternalError, &mut self.sealed);
                    self.fail(Layer::Outer, phase, error);
                    return;
                }
            }
            if !all {
                return;
            }
        }
    }

    /// Whether [`Session::answer_early`] has anything to do.
    fn owes_early(&self) -> bool {
        self.early > 0 && self.connection.answers_early()
    }

    /// Seal the inner server's answer to a ClientHello that came as early data.
    fn answer_early(&mut self) {
        if !self.owes_early() {
            return;
        }
        let flight: Vec<u8> = self.pending.iter().flatten().take(self.early).copied().collect();
        if self.connection.answer_early(&flight, &mut self.sealed) {
            self.pending.consume(flight.len());
        }
        // Else it leaves when the handshake is complete.
        self.early = 0;
    }

    /// Send the inner client's first flight as early data, if that is possible. It stays until it
    /// is known whether the server takes it.
    pub(super) fn send_early(&mut self) {
        let flight: Vec<u8> = self.pending.iter().flatten().take(self.early).copied().collect();
        self.connection.send_early(&flight, &mut self.sealed);
    }

    /// Queue the outer close_notify behind everything that waits.
    pub(super) fn shut(&mut self, phase: Phase) {
        self.close_wanted = true;
        self.seal_pending(phase, true);
        self.connection.close(&mut self.sealed);
    }

    fn judge_end(&mut self) -> Result<(), Error> {
        let (peer_closed, phase) = (self.connection.peer_closed(), self.current_phase());
        if self.starved && self.eof && !peer_closed {
            return Err(self.fail(Layer::Outer, phase, ErrorKind::Truncated));
        }
        if peer_closed && self.connection.closed() {
            self.events.push(Event::Closed);
        }
        Ok(())
    }
}

impl Stop {
    pub(super) fn into_kind(self, limits: &Limits) -> ErrorKind {
        match self {
            Self::Tls(error) => ErrorKind::Tls(error),
            Self::Handshake => {
                ErrorKind::Limit { what: "unfinished handshake", limit: limits.handshake }
            }
            Self::EarlyData => ErrorKind::Limit { what: "early data", limit: limits.frame() },
        }
    }
}

impl Machine for Session {
    fn session(&self) -> &Session {
        self
    }

    fn session_mut(&mut self) -> &mut Session {
        self
    }

    fn connection(&self, layer: Layer) -> Option<&Connection> {
        (layer == Layer::Outer).then_some(&self.connection)
    }

    fn innermost(&self) -> &Connection {
        &self.connection
    }

    fn innermost_layer(&self) -> Layer {
        Layer::Outer
    }

    fn readable_mut(inbound: &mut Inbound) -> &mut Region {
        &mut inbound.carried
    }

    fn readable(&self) -> Region {
        match self.connection.was_established() {
            true => self.inbound.carried,
            // Early data is nobody's before the client has shown that it is there, and never if it
            // does not.
            false => Region::default(),
        }
    }

    fn process(&mut self) -> Result<(), Error> {
        self.check()?;
        loop {
            if self.blocked() {
                self.starved = false;
                break;
            }
            match self.advance(self.current_phase())? {
                Progress::None => {
                    self.starved = true;
                    break;
                }
                Progress::Established if self.close_wanted => self.shut(self.current_phase()),
                _ => {}
            }
        }
        self.judge_end()
    }

    fn blocked(&self) -> bool {
        self.readable().len() >= self.limits.plaintext
    }

    fn prepare(&mut self, all: bool) {
        self.seal_pending(self.current_phase(), all);
    }

    fn wants_seal(&self) -> bool {
        self.owes_early()
            || self.connection.owes()
            || (self.connection.is_established()
                && !self.connection.closed()
                && !self.pending.is_empty())
    }

    fn write_closed(&self) -> bool {
        self.close_wanted
    }

    fn write(&mut self, data: &[u8]) -> Result<usize, Error> {
        // Sealing makes what waits longer; a user who was told of room has it all the same.
        let mut room = self.queued() < self.limits.wire_out;
        // What an inner layer left behind goes first.
        self.seal_pending(self.current_phase(), true);
        let mut taken = 0;
        while taken < data.len() && room {
            let rest = data.get(taken..).into_iter();
            match self.connection.seal(rest, &mut self.sealed) {
                Ok(0) => break,
                Ok(n) => taken += n,
                Err(error) => {
                    self.connection.fail(AlertDescription::InternalError, &mut self.sealed);
                    return Err(self.fail(Layer::Outer, self.current_phase(), error));
                }
            }
            room = self.queued() < self.limits.wire_out;
        }
        Ok(taken)
    }

    fn shut_innermost(&mut self) {
        self.shut(self.current_phase());
        // Both sides may have closed now.
        let _ = self.judge_end();
    }

    fn shut_all(&mut self) {
        if self.connection.is_handshaking() {
            self.fail(Layer::Outer, self.current_phase(), ErrorKind::Canceled);
        } else {
            self.shut_innermost();
        }
    }

    fn current_phase(&self) -> Phase {
        let (closed, peer_closed) = (self.connection.closed(), self.connection.peer_closed());
        match () {
            () if self.failure.is_some() => Phase::Failed,
            () if self.connection.is_handshaking() => Phase::OuterHandshake,
            () if closed && peer_closed => Phase::Closed,
            () if closed || peer_closed => Phase::Closing,
            () => Phase::Preamble,
        }
    }

    fn held(&self) -> usize {
        self.connection.held()
    }

    fn has_message(&self) -> bool {
        false
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("phase", &self.phase()).finish_non_exhaustive()
    }
}
