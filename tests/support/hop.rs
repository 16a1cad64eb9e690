//! The host's ends of the outer connections: a session of the crate; or a client that passes on as
//! early data what it can, which nobody but a host would do with bytes that it did not make.

use std::io::{Read, Write};
use std::sync::Arc;

use nested_tls::{Phase, Plaintext, Ports, Session};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

/// One end of an outer connection, and the inner bytes in it.
pub trait Hop {
    fn receive(&mut self, bytes: &[u8]);
    /// Something for the party.
    fn transmit(&mut self) -> Option<Vec<u8>>;
    /// Inner bytes from the party.
    fn read(&mut self) -> Option<Vec<u8>>;
    /// Inner bytes for the party; returns how many were taken.
    fn write(&mut self, bytes: &[u8]) -> usize;
    /// The party has closed the outer layer.
    fn is_closed(&self) -> bool;
    fn close(&mut self);
    /// As [`Hop::close`], if this end can; whether it could.
    fn pass_end(&mut self) -> bool;
    fn update_keys(&mut self);
    /// Nothing will come that could go early; whether this changes anything.
    fn hurry(&mut self) -> bool {
        false
    }
}

impl Hop for Session {
    fn receive(&mut self, bytes: &[u8]) {
        let _ = self.wire_in_from(&mut &bytes[..]);
    }

    fn transmit(&mut self) -> Option<Vec<u8>> {
        self.wire_out_bytes().map(Into::into)
    }

    fn read(&mut self) -> Option<Vec<u8>> {
        self.plain_out_bytes().map(Into::into)
    }

    fn write(&mut self, bytes: &[u8]) -> usize {
        self.plain_write(bytes).unwrap_or(bytes.len())
    }

    fn is_closed(&self) -> bool {
        self.plain_out() == Plaintext::End
    }

    fn close(&mut self) {
        Ports::close(self);
    }

    fn pass_end(&mut self) -> bool {
        let can =
            !matches!(self.phase(), Phase::Closed | Phase::Failed) && self.readiness().plain_write;
        if can {
            Ports::close(self);
        }
        can
    }

    fn update_keys(&mut self) {
        // In TLS 1.2 keys do not change.
        let _ = Self::update_keys(self, true);
    }
}

/// Says nothing until it has inner bytes to say early, or is told that there will be none.
pub struct Eager {
    connection: ClientConnection,
    /// What left as early data, until it is known what became of it.
    early: Vec<u8>,
    /// What came and was not read: rustls takes no more once much of that waits in it.
    came: Vec<u8>,
    waits: bool,
    failed: bool,
    is_closed: bool,
    closing: bool,
}

impl Eager {
    pub fn new(config: &Arc<ClientConfig>, name: ServerName<'static>) -> Self {
        let mut connection = ClientConnection::new(config.clone(), name).unwrap();
        connection.set_buffer_limit(None);
        Self {
            connection,
            early: Vec::new(),
            came: Vec::new(),
            waits: true,
            failed: false,
            is_closed: false,
            closing: false,
        }
    }

    /// Whether it says nothing yet.
    pub fn waits(&self) -> bool {
        self.waits
    }

    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Whether it has closed. What comes then must have no fault: rustls has no alert for one.
    pub fn is_closing(&self) -> bool {
        self.closing
    }

    /// Whether the party took early data, if there was any.
    pub fn is_early_data_accepted(&self) -> bool {
        self.connection.is_early_data_accepted()
    }
}

impl Hop for Eager {
    fn receive(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.failed {
            // Nothing is taken behind a close_notify.
            if self.connection.read_tls(&mut bytes).unwrap_or(0) == 0 {
                return;
            }
            self.failed = self.connection.process_new_packets().is_err();
            // An error is an end that is none, or nothing yet.
            self.is_closed |= self.connection.reader().read_to_end(&mut self.came).is_ok();
        }
        if !self.connection.is_handshaking() {
            let early = std::mem::take(&mut self.early);
            if !self.connection.is_early_data_accepted() {
                self.connection.writer().write_all(&early).unwrap();
            }
        }
    }

    fn transmit(&mut self) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        while !self.waits && self.connection.wants_write() {
            self.connection.write_tls(&mut bytes).unwrap();
        }
        (!bytes.is_empty()).then_some(bytes)
    }

    fn read(&mut self) -> Option<Vec<u8>> {
        let bytes = std::mem::take(&mut self.came);
        (!bytes.is_empty()).then_some(bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> usize {
        if self.failed || self.closing {
            return bytes.len();
        }
        if !self.connection.is_handshaking() {
            self.connection.writer().write_all(bytes).unwrap();
            return bytes.len();
        }
        let Some(mut early) = self.connection.early_data() else { return 0 };
        let taken = early.write(bytes).unwrap_or(0);
        self.early.extend_from_slice(&bytes[..taken]);
        self.waits &= taken == 0;
        taken
    }

    fn is_closed(&self) -> bool {
        self.is_closed && self.came.is_empty()
    }

    fn close(&mut self) {
        self.closing = true;
        self.connection.send_close_notify();
    }

    fn pass_end(&mut self) -> bool {
        let can = !self.failed && !self.closing && !self.connection.is_handshaking();
        if can {
            self.close();
        }
        can
    }

    fn update_keys(&mut self) {
        let _ = self.connection.refresh_traffic_keys();
    }

    fn hurry(&mut self) -> bool {
        std::mem::take(&mut self.waits)
    }
}
