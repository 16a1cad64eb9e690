//! The host between the two parties: it holds the outer keys of both and can do anything to the
//! inner bytes.

use nested_tls::{Phase, Plaintext, Ports, Session};

use super::party::Party;
use super::setup::Side;

/// What a host does to the inner bytes on their way: given who sent them, their offset in that
/// direction, and the bytes.
pub type Tamper<'a> = dyn FnMut(Side, usize, Vec<u8>) -> Vec<u8> + 'a;

/// Two outer sessions, one towards each party.
pub struct Host {
    pub towards_left: Session,
    pub towards_right: Session,
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
    pub fn new(towards_left: Session, towards_right: Session) -> Self {
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

    pub fn session(&mut self, towards: Side) -> &mut Session {
        match towards {
            Side::Left => &mut self.towards_left,
            Side::Right => &mut self.towards_right,
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
            if !moved {
                return;
            }
        }
        panic!("this does not come to rest");
    }

    /// Between this host and the party on `side`.
    fn exchange(&mut self, side: Side, party: &mut dyn Party) -> bool {
        let hung_up = self.hung_up[index(side)];
        let session = self.session(side);
        let mut moved = false;
        loop {
            let bytes = party.transmit(usize::MAX);
            if bytes.is_empty() {
                break;
            }
            moved = true;
            let _ = session.wire_in_from(&mut &bytes[..]);
        }
        while let Some(bytes) = session.wire_out_bytes() {
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
        if let Some(bytes) = self.session(from).plain_out_bytes() {
            moved = true;
            let seen = match from {
                Side::Left => &mut self.from_left,
                Side::Right => &mut self.from_right,
            };
            let offset = seen.len();
            seen.extend_from_slice(&bytes);
            let bytes = tamper(from, offset, bytes.to_vec());
            self.inject(from.other(), &bytes);
        }
        let to = from.other();
        let mut waiting = std::mem::take(&mut self.waiting[index(to)]);
        let session = self.session(to);
        let taken = session.plain_write(&waiting).unwrap_or(waiting.len());
        waiting.drain(..taken);
        moved |= taken > 0;
        let drained = waiting.is_empty();
        self.waiting[index(to)] = waiting;
        if drained
            && !self.silenced[index(from)]
            && self.session(from).plain_out() == Plaintext::End
        {
            let session = self.session(to);
            if !matches!(session.phase(), Phase::Closed | Phase::Failed)
                && session.readiness().plain_write
            {
                session.close();
                moved = true;
            }
        }
        moved
    }
}

fn index(side: Side) -> usize {
    usize::from(side == Side::Right)
}
