//! Bytes from a host to the framing of a nested machine: what comes of them (data, messages, the
//! end, the error) does not depend on how the host or the transport splits them.
//!
//! The input: one byte of roles and versions, one of ways, then the outer plaintext.

use arbitrary::Unstructured;
use nested_tls::{Direct, Event, Framing, Layer, Nested, Plaintext, Ports, Session};

use super::{LOW, bit, byte, setup, sizes};
use crate::support::framings::{Bridge, Prefixed};
use crate::support::null::Strength;
use crate::support::party::{Machine, Party, Report};
use crate::support::setup::{Setup, Side};

/// What one input is about.
pub struct Plan {
    pub setup: Setup,
    ways: u8,
}

/// Low limits.
const TIGHT: u8 = 2;
/// The host closes the outer layer behind the bytes.
const CLOSES: u8 = 3;
/// The user closes the inner layer once that is established.
const SHUTS: u8 = 4;

impl Plan {
    pub fn new(roles: u8, ways: u8) -> Self {
        let mut setup = setup(roles, Some(Strength::Nothing));
        if bit(ways, TIGHT) {
            setup.limits = LOW;
        }
        Self { setup, ways }
    }

    /// Call `with` the framing of this plan.
    fn choose(&self, bytes: &[u8], split: Split<'_>) -> Seen {
        match self.ways & 3 {
            0 => host(self, || Direct, bytes, split),
            1 | 2 => host(self, Prefixed::default, bytes, split),
            _ => host(self, || Bridge, bytes, split),
        }
    }
}

/// How the host and the transport split the bytes, and how late the user reads.
struct Split<'a> {
    record: &'a mut dyn FnMut() -> usize,
    wire: &'a mut dyn FnMut() -> usize,
    late: bool,
}

/// What the user saw.
#[derive(Debug, PartialEq)]
struct Seen {
    report: Report,
    messages: Vec<Vec<u8>>,
    /// What `into_outer` found behind the inner layer.
    behind: Option<Vec<u8>>,
}

pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let plan = Plan::new(byte(&mut input), byte(&mut input));
    let bytes = input.take_rest();
    if bytes.len() > 1 << 16 {
        return;
    }
    let whole = || usize::MAX;
    let seen = plan
        .choose(bytes, Split { record: &mut whole.clone(), wire: &mut whole.clone(), late: false });
    let mut record = sizes(data);
    let mut wire = sizes(&data[1.min(data.len())..]);
    let split = Split { record: &mut record, wire: &mut wire, late: false };
    assert_eq!(plan.choose(bytes, split), seen, "I2, split");
    let late = Split { record: &mut sizes(data), wire: &mut whole.clone(), late: true };
    assert_eq!(plan.choose(bytes, late), seen, "I2, read late");
}

/// A host with the outer keys says `bytes`.
fn host<F: Framing>(
    plan: &Plan,
    framing: impl FnOnce() -> F,
    mut bytes: &[u8],
    split: Split<'_>,
) -> Seen {
    let mut host = Setup { limits: Default::default(), ..plan.setup }.session(Side::Right);
    let mut user = plan.setup.nested_in(Side::Left, framing());
    let mut messages = Vec::new();
    while !host.has(Event::Established(Layer::Outer)) {
        let moved = pass(&mut user, &mut host) + pass(&mut host, &mut user);
        assert!(moved > 0, "the outer handshake does not end");
    }
    pass(&mut host, &mut user);
    let mut shut = false;
    let mut wire: Vec<u8> = Vec::new();
    let mut closed = false;
    for _ in 0..400_000 {
        if !bytes.is_empty() {
            let n = (split.record)().min(bytes.len());
            let taken = host.write(&bytes[..n]);
            bytes = &bytes[taken..];
        } else if bit(plan.ways, CLOSES) && !closed {
            closed = true;
            host.close();
        }
        wire.extend(host.transmit(usize::MAX));
        let n = (split.wire)().min(wire.len());
        let taken = user.receive(&wire[..n]);
        wire.drain(..taken);
        let stuck = taken < n;
        let mut moved = taken > 0;
        if bit(plan.ways, SHUTS) && !shut && user.has(Event::Established(Layer::Inner)) {
            shut = true;
            user.close_write();
        }
        if !split.late || stuck || (wire.is_empty() && bytes.is_empty()) {
            moved |= take(&mut user, &mut messages);
        }
        pass(&mut user, &mut host);
        if !moved && (stuck || (wire.is_empty() && bytes.is_empty())) {
            return Seen { report: user.report().clone(), messages, behind: behind(user) };
        }
    }
    panic!("this does not come to rest");
}

/// Data and messages, until there are none.
fn take<F: Framing>(user: &mut Machine<Nested<F>>, messages: &mut Vec<Vec<u8>>) -> bool {
    let mut moved = false;
    loop {
        let read = user.read(usize::MAX);
        let message = user.with(Nested::poll_message);
        if read == 0 && message.is_none() {
            return moved;
        }
        moved = true;
        messages.extend(message.map(Into::into));
    }
}

fn behind<F: Framing>(user: Machine<Nested<F>>) -> Option<Vec<u8>> {
    let mut session: Machine<Session> = user.into_outer().ok()?;
    let behind = session.read_all();
    assert!(matches!(session.ports.plain_out(), Plaintext::Pending | Plaintext::End));
    Some(behind)
}

/// Everything of `from` to `to`.
fn pass(from: &mut dyn Party, to: &mut dyn Party) -> usize {
    let mut passed = 0;
    while let bytes @ [_, ..] = &from.transmit(usize::MAX)[..] {
        passed += bytes.len();
        to.receive(bytes);
        to.read_all();
    }
    passed
}
