//! The host between the two parties: it holds the outer keys of both and can do anything to the
//! inner bytes.

use super::hop::Hop;
use super::party::Party;
use super::setup::Side;

/// What a host does to the inner bytes on their way: given who sent them, their offset in that
/// direction, and the bytes.
pub type Tamper<'a> = dyn FnMut(Side, usize, Vec<u8>) -> Vec<u8> + 'a;

/// Two outer connections, one towards each party.
pub struct Host {
    towards_left: Box<dyn Hop>,
    towards_right: Box<dyn Hop>,
    /// Every inner byte that each side sent, before it was tampered with.
    pub from_left: Vec<u8>,
    pub from_right: Vec<u8>,
    /// Not even a close_notify is passed on from this side, by index.
    pub silenced: [bool; 2],
    /// The transport towards this side has ended: nothing more arrives there.
    pub hung_up: [bool; 2],
    waiting: [Vec<u8>; 2],
}

impl Host {
    pub fn new(towards_left: Box<dyn Hop>, towards_right: Box<dyn Hop>) -> Self {
        Self {
            towards_left,
            towards_right,
            from_left: Vec::new(),
            from_right: Vec::new(),
            silenced: [false; 2],
            hung_up: [false; 2],
            waiting: [Vec::new(), Vec::new()],
        }
    }

    pub fn hop(&mut self, towards: Side) -> &mut dyn Hop {
        match towards {
            Side::Left => &mut *self.towards_left,
            Side::Right => &mut *self.towards_right,
        }
    }

    /// Bytes for the party on `to`, as if they came through.
    pub fn inject(&mut self, to: Side, bytes: &[u8]) {
        self.waiting[index(to)].extend_from_slice(bytes);
    }

    /// Move everything until nothing moves.
    pub fn run(&mut self, left: &mut dyn Party, right: &mut dyn Party, tamper: &mut Tamper<'_>) {
        for _ in 0..100_000 {
            let mut moved = self.exchange(Side::Left, left);
            moved |= self.exchange(Side::Right, right);
            moved |= self.carry(Side::Left, tamper);
            moved |= self.carry(Side::Right, tamper);
            while left.read(usize::MAX) + right.read(usize::MAX) > 0 {}
            if !moved && !self.towards_left.hurry() && !self.towards_right.hurry() {
                return;
            }
        }
        panic!("this does not come to rest");
    }

    /// Between this host and the party on `side`.
    fn exchange(&mut self, side: Side, party: &mut dyn Party) -> bool {
        let hung_up = self.hung_up[index(side)];
        let hop = self.hop(side);
        let mut moved = false;
        loop {
            let bytes = party.transmit(usize::MAX);
            if bytes.is_empty() {
                break;
            }
            moved = true;
            hop.receive(&bytes);
        }
        while let Some(bytes) = hop.transmit() {
            moved = true;
            let mut rest = if hung_up { &[] } else { &bytes[..] };
            while !rest.is_empty() {
                let n = party.receive(rest);
                if n == 0 && party.read(usize::MAX) == 0 {
                    break;
                }
                rest = &rest[n..];
            }
        }
        moved
    }

    /// What came from the party on `from`, towards the other.
    fn carry(&mut self, from: Side, tamper: &mut Tamper<'_>) -> bool {
        let mut moved = false;
        if let Some(bytes) = self.hop(from).read() {
            moved = true;
            let seen = match from {
                Side::Left => &mut self.from_left,
                Side::Right => &mut self.from_right,
            };
            let offset = seen.len();
            seen.extend_from_slice(&bytes);
            let bytes = tamper(from, offset, bytes);
            self.inject(from.other(), &bytes);
        }
        let to = from.other();
        let mut waiting = std::mem::take(&mut self.waiting[index(to)]);
        let taken = self.hop(to).write(&waiting);
        waiting.drain(..taken);
        moved |= taken > 0;
        let drained = waiting.is_empty();
        self.waiting[index(to)] = waiting;
        if drained && !self.silenced[index(from)] && self.hop(from).is_closed() {
            moved |= self.hop(to).pass_end();
        }
        moved
    }
}

fn index(side: Side) -> usize {
    usize::from(side == Side::Right)
}
