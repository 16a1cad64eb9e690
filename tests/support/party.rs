//! One end of a nested connection, whatever it is made of.

use std::fmt;

use nested_tls::{Error, ErrorKind, Event, Framing, Layer, Nested, Plaintext, Ports, Session};

use super::crypto;
use super::invariants::Watch;

/// One end of a connection: a machine of this crate, or its oracle.
pub trait Party {
    /// Take as much of `bytes` as there is room for; returns how much that was.
    fn receive(&mut self, bytes: &[u8]) -> usize;
    /// The transport ended.
    fn eof(&mut self);
    /// At most `max` bytes for the transport.
    fn transmit(&mut self, max: usize) -> Vec<u8>;
    /// Returns how much of `data` was taken.
    fn write(&mut self, data: &[u8]) -> usize;
    /// Read at most `max` bytes into the report; returns how much that was.
    fn read(&mut self, max: usize) -> usize;
    fn close_write(&mut self);
    fn close(&mut self);
    fn update_keys(&mut self, layer: Layer, request: bool);
    /// What the user of this end has seen.
    fn report(&self) -> &Report;

    /// Everything for the transport.
    fn transmit_all(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let more @ [_, ..] = &self.transmit(usize::MAX)[..] {
            bytes.extend_from_slice(more);
        }
        bytes
    }

    /// Everything that can be read now.
    fn read_all(&mut self) -> Vec<u8> {
        let before = self.report().read.len();
        while self.read(usize::MAX) > 0 {}
        self.report().read[before..].to_vec()
    }
}

/// What the user of one end has seen: by I2 a function of the bytes alone.
#[derive(Clone, Default, PartialEq)]
pub struct Report {
    pub events: Vec<Event>,
    pub read: Vec<u8>,
    pub end: bool,
    pub failure: Option<Failure>,
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum =
            self.read.iter().fold(0u64, |sum, b| sum.wrapping_mul(31).wrapping_add((*b).into()));
        f.debug_struct("Report")
            .field("events", &self.events)
            .field("read", &format!("{} bytes, {sum:016x}", self.read.len()))
            .field("end", &self.end)
            .field("failure", &self.failure)
            .finish()
    }
}

/// An error in the words that machines and oracle share.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    pub layer: Layer,
    pub what: String,
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        let what = match error.kind() {
            ErrorKind::Tls(error) => format!("{error:?}"),
            kind => format!("{kind:?}"),
        };
        Self { layer: error.layer(), what }
    }
}

/// A machine of this crate, watched at every call.
pub struct Machine<P> {
    pub ports: P,
    watch: Watch,
    randomness: u64,
    report: Report,
}

impl<P: Ports> Machine<P> {
    /// `make` a machine whose randomness follows from `seed`.
    pub fn new(seed: u64, make: impl FnOnce() -> P) -> Self {
        let before = crypto::swap(seed);
        let ports = make();
        let randomness = crypto::swap(before);
        let watch = Watch::default();
        let mut machine = Self { ports, watch, randomness, report: Report::default() };
        machine.with(|_| ());
        machine
    }

    /// Call the machine under its own randomness; then everything must hold.
    pub fn with<R>(&mut self, call: impl FnOnce(&mut P) -> R) -> R {
        let before = crypto::swap(self.randomness);
        let result = call(&mut self.ports);
        self.watch.check(&mut self.ports);
        self.randomness = crypto::swap(before);
        self.report.events.clone_from(&self.watch.events);
        self.report.failure = self.watch.failure.as_ref().map(Failure::from);
        self.report.end = self.ports.plain_out() == Plaintext::End;
        result
    }

    /// Turn the machine into another one.
    pub fn map<Q: Ports>(mut self, turn: impl FnOnce(P) -> Q) -> Machine<Q> {
        let before = crypto::swap(self.randomness);
        let ports = turn(self.ports);
        self.randomness = crypto::swap(before);
        if ports.layer(Layer::Inner).is_none() {
            self.watch.back_to_outer();
        }
        let Self { watch, randomness, report, .. } = self;
        let mut machine = Machine { ports, watch, randomness, report };
        machine.with(|_| ());
        machine
    }

    pub fn has(&self, event: Event) -> bool {
        self.watch.has(event)
    }

    /// The failure with its kind.
    pub fn error(&self) -> Option<&Error> {
        self.ports.failure()
    }
}

impl<F: Framing> Machine<Nested<F>> {
    /// The outer session back, if the machine gives it.
    pub fn into_outer(self) -> Result<Machine<Session>, Box<Self>> {
        let Self { ports, mut watch, randomness, report } = self;
        let before = crypto::swap(randomness);
        let turned = ports.into_outer();
        let randomness = crypto::swap(before);
        match turned {
            Ok(ports) => {
                watch.back_to_outer();
                let mut machine = Machine { ports, watch, randomness, report };
                machine.with(|_| ());
                Ok(machine)
            }
            Err(ports) => {
                let mut machine = Self { ports: *ports, watch, randomness, report };
                machine.with(|_| ());
                Err(Box::new(machine))
            }
        }
    }
}

/// Machines as parties: what they have beside their ports.
pub trait Keyed: Ports {
    fn keys(&mut self, layer: Layer, request: bool) -> Result<(), Error>;
}

impl Keyed for Session {
    fn keys(&mut self, layer: Layer, request: bool) -> Result<(), Error> {
        assert_eq!(layer, Layer::Outer);
        self.update_keys(request)
    }
}

impl<F: Framing> Keyed for Nested<F> {
    fn keys(&mut self, layer: Layer, request: bool) -> Result<(), Error> {
        self.update_keys(layer, request)
    }
}

impl<P: Keyed> Party for Machine<P> {
    fn receive(&mut self, bytes: &[u8]) -> usize {
        self.with(|ports| {
            let mut taken = 0;
            while taken < bytes.len() {
                let Some(space) = ports.wire_in() else { break };
                let n = space.len().min(bytes.len() - taken);
                space[..n].copy_from_slice(&bytes[taken..taken + n]);
                let _ = ports.wire_received(n);
                taken += n;
            }
            taken
        })
    }

    fn eof(&mut self) {
        self.watch.saw_eof();
        self.with(|ports| {
            let _ = ports.wire_eof();
        });
    }

    fn transmit(&mut self, max: usize) -> Vec<u8> {
        self.with(|ports| {
            let ready = ports.readiness().wire_out;
            let bytes = ports.wire_out().unwrap_or_default();
            assert_eq!(ready, !bytes.is_empty(), "readiness without output");
            let bytes = bytes[..bytes.len().min(max)].to_vec();
            ports.wire_sent(bytes.len()).unwrap();
            bytes
        })
    }

    fn write(&mut self, data: &[u8]) -> usize {
        self.with(|ports| {
            let ready = ports.readiness().plain_write;
            let n = ports.plain_write(data).unwrap_or(0);
            assert_eq!(ready, n > 0 || (ready && data.is_empty()), "readiness lies");
            n
        })
    }

    fn read(&mut self, max: usize) -> usize {
        let read = self.with(|ports| {
            let Plaintext::Bytes(bytes) = ports.plain_out() else { return Vec::new() };
            let bytes = bytes[..bytes.len().min(max)].to_vec();
            ports.plain_consumed(bytes.len()).unwrap();
            bytes
        });
        self.report.read.extend_from_slice(&read);
        read.len()
    }

    fn close_write(&mut self) {
        self.with(Ports::close_write);
    }

    fn close(&mut self) {
        self.with(Ports::close);
    }

    fn update_keys(&mut self, layer: Layer, request: bool) {
        self.with(|ports| ports.keys(layer, request).unwrap());
    }

    fn report(&self) -> &Report {
        &self.report
    }
}
