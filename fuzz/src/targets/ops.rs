//! Everything that two users, their transports and a hostile host between them can do, in any order:
//! no byte is lost, none is repeated, none is invented, and the end comes only behind the last one.
//!
//! The input: three bytes say who takes part ([`Plan`]), then each operation is two bytes. Where
//! nothing but the order and the sizes was unusual, everything must arrive in the end; after any
//! fault, what arrived is a beginning of what was sent, and everybody knows that it is over. Sessions
//! may go on, and early data may be taken or not: nobody's bytes show any of it.

mod stage;
mod world;

use arbitrary::{Arbitrary, Unstructured};
use nested_tls::Layer;

use super::{LOW, bit, byte, setup};
use crate::support::null::Strength;
use crate::support::pki::Version;
use crate::support::sessions::Start;
use crate::support::setup::Setup;
use world::World;

/// Who takes part.
pub struct Plan {
    pub setup: Setup,
    /// A host with the outer keys of both stands between.
    pub host: bool,
    /// The outer plaintext of each user before it nests.
    pub preambles: [usize; 2],
}

impl Plan {
    fn new([roles, ways, preambles]: [u8; 3]) -> Self {
        use Start::{Cold, Early, Rejected, Resumed, Retried};
        // Real cryptography costs most of the time: few plans have it. The other one knows no
        // second group of keys to retry with.
        let (start, real) = match (bit(roles, 7), ways >> 5) {
            (true, 1) => (Resumed, false),
            (true, 2) => (Early, false),
            (true, 3) => (Rejected, false),
            (true, 4) => (Retried, true),
            (true, 5) => (Early, true),
            (_, ways) => (Cold, ways == 7),
        };
        let mut setup = setup(roles, (!real).then_some(Strength::Sums));
        setup.start = match setup.outer {
            Version::Tls12 if start.offers() => Resumed,
            _ => start,
        };
        setup.inner_resumes = start != Cold && bit(ways, 0);
        setup.mutual = !bit(roles, 4) || start == Retried;
        setup.tickets = usize::from(roles >> 5 & 3);
        if bit(ways, 2) {
            setup.limits = LOW;
        }
        let max_fragment = [None, Some(32), Some(100), Some(4096)];
        setup.max_fragment_size = max_fragment[usize::from(ways >> 3 & 3)];
        let length = |n: u8| usize::from(n) * 40;
        Self {
            setup,
            host: bit(ways, 1),
            preambles: [length(preambles & 15), length(preambles >> 4)],
        }
    }
}

/// One operation. Where it names a party, that is the first, the last, or one side of the host.
#[derive(Clone, Copy, Debug)]
pub enum Op {
    /// Put on its wire what a party has to send, at most so much.
    Transmit(u8, usize),
    /// Give a party what its peer sent, at most so much; or the end of the transport.
    Deliver(u8, usize),
    Write(u8, usize),
    Read(u8, usize),
    CloseWrite(u8),
    Close(u8),
    UpdateKeys(u8, Layer, bool),
    /// Call what must be refused now.
    Misuse(u8),
    IntoOuter(u8),
    /// All of it, until nothing moves.
    Settle,
    /// The host passes on what it has read from one side, at most so much.
    Carry(u8, usize),
    /// What a party sent is its last.
    Cut(u8),
    /// Change the bytes on a party's wire.
    Damage(u8, Damage),
    /// Change the inner bytes that the host holds from one side.
    Tamper(u8, Damage),
}

/// What happens to bytes on their way.
#[derive(Clone, Copy, Debug)]
pub enum Damage {
    Flip(usize),
    Drop(usize),
    Double(usize),
    Swap(usize),
    /// What the other direction carries.
    Reflect(usize),
    Insert(u8),
}

impl Damage {
    fn new(kind: u8, at: usize) -> Self {
        match kind % 6 {
            0 => Self::Flip(at),
            1 => Self::Drop(at),
            2 => Self::Double(at),
            3 => Self::Swap(at),
            4 => Self::Reflect(at),
            _ => Self::Insert(at as u8),
        }
    }
}

impl<'a> Arbitrary<'a> for Op {
    fn arbitrary(input: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let (what, much) = (byte(input), byte(input));
        let (party, kind) = (what >> 6, what & 0x3f);
        let amount = match much {
            0..=99 => usize::from(much) + 1,
            100..=199 => (usize::from(much) - 99) * 47,
            200..=254 => (usize::from(much) - 199) * 600,
            255 => usize::MAX,
        };
        let layer = if bit(much, 0) { Layer::Inner } else { Layer::Outer };
        Ok(match kind {
            0..=5 => Self::Transmit(party, amount),
            6..=11 => Self::Deliver(party, amount),
            12..=17 => Self::Write(party, amount),
            18..=23 => Self::Read(party, amount),
            24..=29 => Self::Carry(party, amount),
            30..=33 => Self::Settle,
            34..=35 => Self::UpdateKeys(party, layer, bit(much, 1)),
            36 => Self::CloseWrite(party),
            37 => Self::Close(party),
            38 => Self::Misuse(party),
            39..=40 => Self::IntoOuter(party),
            41 => Self::Cut(party),
            42..=51 => Self::Damage(party, Damage::new(kind - 42, usize::from(much))),
            _ => Self::Tamper(party, Damage::new(kind - 52, usize::from(much))),
        })
    }
}

/// More would be slow, and say the same.
const MOST: usize = 300;

pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let plan = Plan::new(std::array::from_fn(|_| byte(&mut input)));
    let mut world = World::new(&plan);
    for _ in 0..MOST {
        if input.is_empty() {
            break;
        }
        if let Ok(op) = input.arbitrary() {
            world.act(op);
        }
    }
    world.finish();
}
