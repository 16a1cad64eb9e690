//! Bytes from the transport to one machine, in every role: whatever they are, everything in
//! `support::invariants` holds, and how they are split tells nothing.
//!
//! The input: one byte of roles and versions, one of ways, then the bytes. The machine has its
//! randomness from a seed, and (unless the ways say otherwise) cryptography that accepts what
//! nobody computed, so that a recorded conversation replays, and a changed one goes on.

use nested_tls::{Layer, Phase, Ports};

use super::{LOW, bit, byte, setup, sizes};
use crate::support::cast::Cast;
use crate::support::null::Strength;
use crate::support::party::{Keyed, Machine, Party, Report};
use crate::support::pki::Version;
use crate::support::sessions::Start;
use crate::support::setup::{Setup, Side};

use arbitrary::Unstructured;

/// What one input is about.
pub struct Plan {
    pub setup: Setup,
    pub ways: u8,
}

/// Of the roles: the outer layer goes on with a session, and with early data where there is any.
const GOES_ON: u8 = 5;
/// The server takes no early data any more.
const REJECTS: u8 = 6;
/// The inner layer goes on, too.
const INNER_GOES_ON: u8 = 7;

/// One `Session`, no `Nested`.
const SINGLE: u8 = 0;
/// The transport ends behind the bytes.
const EOF: u8 = 1;
/// Low limits.
const TIGHT: u8 = 2;
/// The user writes once that is possible.
const WRITES: u8 = 3;
/// The user closes once established.
const CLOSES: u8 = 4;
/// Nobody reads until the input is refused or used up.
const LATE: u8 = 5;
/// Sums in place of nothing, or both bits: real cryptography.
const SUMS: u8 = 6;
const REAL: u8 = 7;

impl Plan {
    pub fn new(roles: u8, ways: u8) -> Self {
        let null = match (bit(ways, SUMS), bit(ways, REAL)) {
            (true, true) => None,
            (true, false) => Some(Strength::Sums),
            _ => Some(Strength::Nothing),
        };
        let mut setup = setup(roles, null);
        setup.mutual = !bit(roles, 4);
        if bit(roles, GOES_ON) {
            setup.start = match (setup.outer, bit(roles, REJECTS)) {
                (Version::Tls12, _) => Start::Resumed,
                (Version::Tls13, false) => Start::Early,
                (Version::Tls13, true) => Start::Rejected,
            };
            setup.inner_resumes = bit(roles, INNER_GOES_ON);
        }
        if bit(ways, TIGHT) {
            setup.limits = LOW;
        }
        Self { setup, ways }
    }

    fn has(&self, way: u8) -> bool {
        bit(self.ways, way)
    }
}

pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let plan = Plan::new(byte(&mut input), byte(&mut input));
    let bytes = input.take_rest();
    if bytes.len() > 1 << 17 {
        return;
    }
    let mut by_seed = sizes(data);
    if plan.has(SINGLE) {
        let feed = |size: &mut dyn FnMut() -> usize| {
            feed(Cast::new(plan.setup).session(Side::Left), &plan, bytes, size)
        };
        assert_eq!(feed(&mut || usize::MAX), feed(&mut by_seed), "I2");
    } else {
        let feed = |size: &mut dyn FnMut() -> usize| {
            feed(Cast::new(plan.setup).nested(Side::Left), &plan, bytes, size)
        };
        assert_eq!(feed(&mut || usize::MAX), feed(&mut by_seed), "I2");
    }
}

/// Everything to the machine, in pieces; what its user saw.
fn feed<P: Keyed>(
    mut machine: Machine<P>,
    plan: &Plan,
    mut bytes: &[u8],
    size: &mut dyn FnMut() -> usize,
) -> Report {
    let mut acted = false;
    loop {
        acted |= act(&mut machine, plan, acted);
        let piece = &bytes[..size().min(bytes.len())];
        let taken = machine.receive(piece);
        bytes = &bytes[taken..];
        let mut read = 0;
        if !plan.has(LATE) || taken < piece.len() {
            read = machine.read_all().len();
        }
        if bytes.is_empty() || (taken == 0 && read == 0) {
            break;
        }
    }
    machine.read_all();
    // All of it may have come at once.
    act(&mut machine, plan, acted);
    if plan.has(EOF) {
        machine.eof();
        machine.read_all();
        let phase = machine.ports.phase();
        assert!(
            machine.report().end || phase == Phase::Failed,
            "after the end of the transport: {phase}"
        );
    }
    drain(&mut machine);
    describe(&machine);
    machine.report().clone()
}

/// What the user does as soon as it can, once; whether it did.
fn act<P: Keyed>(machine: &mut Machine<P>, plan: &Plan, acted: bool) -> bool {
    drain(machine);
    if acted || !machine.ports.readiness().plain_write {
        return false;
    }
    if plan.has(WRITES) {
        machine.write(&[b'w'; 900]);
        // Refused in TLS 1.2.
        let layer = crate::support::invariants::innermost(&machine.ports);
        let _ = machine.with(|ports| ports.keys(layer, true));
    }
    if plan.has(CLOSES) {
        machine.close();
    }
    drain(machine);
    true
}

/// All output, to nobody.
fn drain<P: Keyed>(machine: &mut Machine<P>) {
    let mut rounds = 0;
    while !machine.transmit(usize::MAX).is_empty() {
        rounds += 1;
        assert!(rounds < 1000, "output without end");
    }
}

/// What can be said of a machine can be said of every machine.
fn describe<P: Ports>(machine: &Machine<P>) {
    if let Some(error) = machine.error() {
        let text = format!("{error} {error:?} {:?} {:?}", error.fault(), error.alert_received());
        assert!(text.len() < 1 << 16);
    }
    for layer in [Layer::Outer, Layer::Inner] {
        let _ = format!("{:?}", machine.ports.layer(layer));
    }
}
