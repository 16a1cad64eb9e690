//! Who takes the bytes of a hostile peer: a machine of the crate, alone or the inner layer of a
//! `Nested`, and in their place rustls' own connection.

use std::io::{ErrorKind as IoError, Read, Write};

use nested_tls::{Direct, ErrorKind, Event, Layer, Nested, Phase, Session};
use rustls::{Connection, InvalidMessage};

use super::crypto;
use super::glued;
use super::party::{Keyed, Machine, Party};
use super::setup::{End, Setup, Side};

/// What came of it.
#[derive(Debug, Default, PartialEq)]
pub struct Outcome {
    /// The handshake was complete.
    pub established: bool,
    pub read: Vec<u8>,
    /// The peer's close_notify was taken for one.
    pub closed: bool,
    pub error: Option<rustls::Error>,
    /// The alerts that the victim sent: level and description.
    pub alerts: Vec<[u8; 2]>,
    /// How many KeyUpdates it sent.
    pub key_updates: usize,
}

/// One who takes the hostile peer's bytes.
pub trait Victim {
    fn feed(&mut self, bytes: &[u8]);
    /// What it has to send.
    fn take(&mut self) -> Vec<u8>;
    fn is_established(&self) -> bool;
    /// Say all of this to the peer, unless it has failed.
    fn say(&mut self, data: &[u8]);
    /// The transport ends; so then does the victim.
    fn end(&mut self);
    fn outcome(&mut self) -> Outcome;
}

impl Outcome {
    fn of<P: Keyed>(victim: &Machine<P>) -> Self {
        let report = victim.report();
        let error = victim.error().map(|error| match error.kind() {
            ErrorKind::Tls(error) => error.clone(),
            kind => panic!("not an error of TLS: {kind:?}"),
        });
        Self { read: report.read.clone(), closed: report.end, error, ..Self::default() }
    }
}

fn say(victim: &mut dyn Party, data: &[u8]) {
    let taken = victim.write(data);
    let due = if victim.report().failure.is_some() { 0 } else { data.len() };
    assert_eq!(taken, due, "no room, or no leave, to speak");
}

/// With the transport, everything is over.
fn end<P: Keyed>(victim: &mut Machine<P>) {
    victim.eof();
    if victim.report().end {
        // This side ends when it likes.
        victim.close();
        victim.transmit_all();
    }
    let phase = victim.ports.phase();
    assert!(matches!(phase, Phase::Closed | Phase::Failed), "hangs in {phase}");
    let cut = victim.error().is_some_and(|error| matches!(error.kind(), ErrorKind::Truncated));
    assert!(!victim.report().end || !cut, "a cut behind the end");
}

/// Alone.
pub struct Outer(pub Machine<Session>);

impl Victim for Outer {
    fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let n = self.0.receive(bytes);
            bytes = &bytes[n..];
            if self.0.read_all().is_empty() && n == 0 {
                return;
            }
        }
    }
    fn take(&mut self) -> Vec<u8> {
        self.0.transmit_all()
    }
    fn is_established(&self) -> bool {
        self.0.has(Event::Established(Layer::Outer))
    }
    fn say(&mut self, data: &[u8]) {
        say(&mut self.0, data);
    }
    fn end(&mut self) {
        end(&mut self.0);
    }
    fn outcome(&mut self) -> Outcome {
        Outcome { established: self.is_established(), ..Outcome::of(&self.0) }
    }
}

/// The victim's outer layer is in order; its peer there passes on what the hostile one says.
pub struct Inner {
    victim: Machine<Nested>,
    host: Machine<Session>,
    sent: usize,
}

impl Inner {
    pub fn new(outer: &Setup, inner: &Setup) -> Self {
        let victim = outer.session(Side::Left);
        let victim = victim.map(|s| s.nest(inner.outer_end(Side::Left).role(), Direct).unwrap());
        let mut inner = Self { victim, host: outer.session(Side::Right), sent: 0 };
        inner.exchange();
        inner
    }

    fn exchange(&mut self) {
        loop {
            let (to_host, to_victim) = (self.victim.transmit_all(), self.host.transmit_all());
            if to_host.is_empty() && to_victim.is_empty() {
                return;
            }
            self.host.receive(&to_host);
            self.host.read_all();
            let mut rest = &to_victim[..];
            while !rest.is_empty() {
                let n = self.victim.receive(rest);
                rest = &rest[n..];
                if self.victim.read_all().is_empty() && n == 0 {
                    break;
                }
            }
        }
    }
}

impl Victim for Inner {
    fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let n = self.host.write(bytes);
            self.exchange();
            if n == 0 {
                return;
            }
            bytes = &bytes[n..];
        }
    }
    fn take(&mut self) -> Vec<u8> {
        self.exchange();
        let read = &self.host.report().read;
        let new = read[self.sent..].to_vec();
        self.sent = read.len();
        new
    }
    fn is_established(&self) -> bool {
        self.victim.has(Event::Established(Layer::Inner))
    }
    fn say(&mut self, data: &[u8]) {
        say(&mut self.victim, data);
    }
    fn end(&mut self) {
        self.host.close();
        self.exchange();
        end(&mut self.victim);
    }
    fn outcome(&mut self) -> Outcome {
        assert_eq!(self.host.error(), None, "the outer layer is in order");
        Outcome { established: self.is_established(), ..Outcome::of(&self.victim) }
    }
}

/// rustls' own connection.
pub struct Raw {
    connection: Connection,
    randomness: u64,
    outcome: Outcome,
}

impl Raw {
    pub fn new(seed: u64, end: &End) -> Self {
        let before = crypto::swap(seed);
        let connection = glued::connection(end);
        Self { connection, randomness: crypto::swap(before), outcome: Outcome::default() }
    }
}

impl Victim for Raw {
    fn feed(&mut self, mut bytes: &[u8]) {
        let before = crypto::swap(self.randomness);
        while !bytes.is_empty() && self.outcome.error.is_none() && !self.outcome.closed {
            // rustls takes no more of a handshake message that has grown beyond 64 KiB.
            if let Err(error) = self.connection.read_tls(&mut bytes) {
                assert_eq!(error.kind(), IoError::InvalidData);
                self.outcome.error = Some(InvalidMessage::HandshakePayloadTooLarge.into());
                break;
            }
            let processed = self.connection.process_new_packets();
            let mut plain = [0; 4096];
            loop {
                match self.connection.reader().read(&mut plain) {
                    Ok(0) => {
                        self.outcome.closed = true;
                        break;
                    }
                    Ok(n) => self.outcome.read.extend_from_slice(&plain[..n]),
                    Err(error) => {
                        assert_eq!(error.kind(), IoError::WouldBlock);
                        break;
                    }
                }
            }
            // What stands behind the peer's end is nobody's.
            if let (Err(error), false) = (processed, self.outcome.closed) {
                self.outcome.error = Some(error);
            }
        }
        self.randomness = crypto::swap(before);
    }
    fn take(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.connection.wants_write() {
            self.connection.write_tls(&mut bytes).unwrap();
        }
        bytes
    }
    fn is_established(&self) -> bool {
        !self.connection.is_handshaking()
    }
    fn say(&mut self, data: &[u8]) {
        if self.outcome.error.is_none() {
            self.connection.writer().write_all(data).unwrap();
        }
    }
    fn end(&mut self) {}
    fn outcome(&mut self) -> Outcome {
        let outcome = std::mem::take(&mut self.outcome);
        Outcome { established: self.is_established(), ..outcome }
    }
}
