//! What `Session` and `Nested` have in common, and the ports made of it.

use bytes::{Bytes, BytesMut};

use super::buffer::{Inbound, Region};
use super::connection::Connection;
use super::error::{Error, ErrorKind, Misuse};
use super::event::Event;
use super::layer::{Layer, LayerInfo};
use super::limits::Limits;
use super::phase::Phase;
use super::ports::{Plaintext, Ports, Readiness, sealed::Sealed};
use super::session::Session;

/// What a machine with ports is made of.
pub(super) trait Machine {
    fn session(&self) -> &Session;
    fn session_mut(&mut self) -> &mut Session;
    fn connection(&self, layer: Layer) -> Option<&Connection>;
    /// The connection whose plaintext is the user's.
    fn innermost(&self) -> &Connection;
    fn innermost_layer(&self) -> Layer;
    fn readable_mut(inbound: &mut Inbound) -> &mut Region;
    fn readable(&self) -> Region;
    /// Go as far as the input reaches.
    fn process(&mut self) -> Result<(), Error>;
    /// Whether something that waits to be consumed stops the input.
    fn blocked(&self) -> bool;
    /// Seal what waits: all of it, or one record.
    fn prepare(&mut self, all: bool);
    /// Whether [`Machine::prepare`] has anything to do.
    fn wants_seal(&self) -> bool;
    fn write_closed(&self) -> bool;
    fn write(&mut self, data: &[u8]) -> Result<usize, Error>;
    fn shut_innermost(&mut self);
    fn shut_all(&mut self);
    fn current_phase(&self) -> Phase;
    /// Bytes held beside the receive buffer and the send queues.
    fn held(&self) -> usize;
    /// Whether an out-of-band message waits to be taken.
    fn has_message(&self) -> bool;
    /// Bytes that wait to be sent.
    fn queued(&self) -> usize {
        self.session().queued()
    }
    /// Memory taken for more of them.
    fn reserved(&self) -> usize {
        0
    }
    /// Give that memory back.
    fn give_back(&mut self) {}

    fn wants_read(&self) -> bool {
        let session = self.session();
        session.failure.is_none()
            && !session.eof
            && !session.connection.peer_closed()
            && !self.blocked()
    }

    fn after_consumption(&mut self) {
        if !self.session().starved {
            // What fails here is told by `failure` and by every later commit.
            let _ = self.process();
        }
        self.session_mut().inbound.release(false);
    }

    /// Who was told that nothing is coming, and has nothing to send, is idle.
    fn after_sending(&mut self) {
        if self.queued() == 0 && self.session().inbound.capacity() == 0 {
            self.give_back();
        }
    }

    fn misuse(&self, misuse: Misuse) -> Error {
        Error::new(self.innermost_layer(), self.current_phase(), ErrorKind::Misuse(misuse))
    }
}

impl<M: Machine> Sealed for M {}

impl<M: Machine> Ports for M {
    fn wire_in(&mut self) -> Option<&mut [u8]> {
        if !self.wants_read() {
            return None;
        }
        let most = self.session().limits.wire_in;
        Some(self.session_mut().inbound.space(most))
    }

    fn wire_received(&mut self, n: usize) -> Result<(), Error> {
        let session = self.session_mut();
        let (offered, most) = (session.inbound.offered(), session.limits.wire_in);
        if n > offered {
            return Err(self.misuse(Misuse::Count { given: n, offered }));
        }
        session.inbound.received(n, most);
        if n == 0 {
            session.inbound.release(true);
            self.give_back();
            return self.session().check();
        }
        self.process()?;
        self.session_mut().inbound.release(false);
        Ok(())
    }

    fn wire_eof(&mut self) -> Result<(), Error> {
        self.session_mut().eof = true;
        self.process()
    }

    fn wire_out(&mut self) -> Option<&[u8]> {
        if self.session().sealed.is_empty() {
            self.prepare(false);
        }
        self.session().sealed.front()
    }

    fn wire_out_slices<'a>(&'a mut self, slices: &mut [&'a [u8]]) -> usize
    where
        Self: Sized,
    {
        self.prepare(true);
        let mut filled = 0;
        for (slice, chunk) in slices.iter_mut().zip(self.session().sealed.iter()) {
            *slice = chunk;
            filled += 1;
        }
        filled
    }

    fn wire_sent(&mut self, n: usize) -> Result<(), Error> {
        let offered = self.session().sealed.len();
        if n > offered {
            return Err(self.misuse(Misuse::Count { given: n, offered }));
        }
        self.session_mut().sealed.consume(n);
        self.after_sending();
        Ok(())
    }

    fn plain_write(&mut self, data: &[u8]) -> Result<usize, Error> {
        self.session().check()?;
        if self.write_closed() {
            return Err(self.misuse(Misuse::WriteAfterClose));
        }
        self.write(data)
    }

    fn plain_out(&self) -> Plaintext<'_> {
        let inbound = &self.session().inbound;
        match self.readable().of(inbound.bytes()) {
            [] if self.innermost().peer_closed() => Plaintext::End,
            [] => Plaintext::Pending,
            bytes => Plaintext::Bytes(bytes),
        }
    }

    fn plain_consumed(&mut self, n: usize) -> Result<(), Error> {
        let offered = self.readable().len();
        if n > offered {
            return Err(self.misuse(Misuse::Count { given: n, offered }));
        }
        Self::readable_mut(&mut self.session_mut().inbound).consume(n);
        self.after_consumption();
        Ok(())
    }

    fn close_write(&mut self) {
        if self.session().failure.is_none() {
            self.shut_innermost();
        }
    }

    fn close(&mut self) {
        if self.session().failure.is_none() {
            self.shut_all();
        }
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.session_mut().events.poll()
    }

    fn readiness(&self) -> Readiness {
        let session = self.session();
        Readiness {
            wire_in: self.wants_read(),
            wire_out: !session.sealed.is_empty() || self.wants_seal(),
            plain_write: session.failure.is_none()
                && !self.write_closed()
                && self.innermost().is_established()
                && self.queued() < session.limits.wire_out,
            plain_out: self.plain_out() != Plaintext::Pending,
            message: self.has_message(),
        }
    }

    fn phase(&self) -> Phase {
        self.current_phase()
    }

    fn failure(&self) -> Option<&Error> {
        self.session().failure.as_ref()
    }

    fn layer(&self, layer: Layer) -> Option<&LayerInfo> {
        self.connection(layer).map(Connection::info)
    }

    fn export_keying_material(
        &self,
        layer: Layer,
        out: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), Error> {
        let exported = match self.connection(layer) {
            Some(connection) => connection.export(out, label, context),
            None => Err(Misuse::NotEstablished),
        };
        exported.map_err(|misuse| Error::new(layer, self.current_phase(), misuse))
    }

    fn limits(&self) -> &Limits {
        &self.session().limits
    }

    fn buffered(&self) -> usize {
        let session = self.session();
        session.inbound.capacity() + self.queued() + self.reserved() + self.held()
    }

    fn wire_out_bytes(&mut self) -> Option<Bytes> {
        if self.session().sealed.is_empty() {
            self.prepare(false);
        }
        let bytes = self.session_mut().sealed.take();
        self.after_sending();
        bytes
    }

    fn plain_out_bytes(&mut self) -> Option<BytesMut> {
        if self.readable().is_empty() {
            return None;
        }
        let taken = self.session_mut().inbound.take(Self::readable_mut);
        self.after_consumption();
        Some(taken)
    }
}
