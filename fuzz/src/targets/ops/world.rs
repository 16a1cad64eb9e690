//! The parties, the wires, and what passes.

mod end;

use std::sync::OnceLock;

use nested_tls::{ErrorKind, Layer, Misuse, Phase, Ports};

use super::stage::{Early, Stage, each};
use super::{Damage, Op, Plan};
use crate::support::cast::Cast;
use crate::support::crypto::Rng;
use crate::support::party::{Keyed, Party};
use crate::support::setup::Side;

/// The three parts of what a user says: before, inside and behind the inner layer.
const PREAMBLE: usize = 0;
const INNER: usize = 1;
const BEHIND: usize = 2;

struct User {
    part: usize,
    written: [Vec<u8>; 3],
    read: [usize; 3],
    /// What it has to say in its preamble.
    preamble: usize,
    /// It has called `close_write` or `close` in the part it is in.
    shut: bool,
    closed: bool,
}

pub(super) struct World {
    cast: Cast,
    /// Two users; with a host its two ends between them.
    stages: Vec<Stage>,
    /// What each party has sent to its peer.
    wires: Vec<Vec<u8>>,
    /// Everything that it ever sent, where that is worth sending again.
    said: Vec<Vec<u8>>,
    ended: Vec<bool>,
    users: [User; 2],
    /// What the host has read and not passed on, by the user it came from.
    held: [Vec<u8>; 2],
    /// Something happened that TLS must notice, or that ends it early.
    faulted: bool,
    /// The outer plaintext was changed by who may change it.
    host_lied: bool,
    /// Nobody waits for a preamble any more.
    given_up: bool,
    budget: usize,
    /// More updates of keys without data are a flood, which ends a connection.
    updates: usize,
}

/// What a user says, from its first byte on; no stretch of it looks like another.
fn speech(user: usize) -> &'static [u8] {
    static SPEECHES: OnceLock<[Vec<u8>; 2]> = OnceLock::new();
    &SPEECHES.get_or_init(|| [1, 2].map(|seed| Rng(seed).bytes(2 * BUDGET)))[user]
}

/// How much both users say in their inner layers and behind them.
const BUDGET: usize = 150_000;

impl World {
    pub(super) fn new(plan: &Plan) -> Self {
        let cast = Cast::new(plan.setup);
        let user = |n: usize| User {
            part: PREAMBLE,
            written: Default::default(),
            read: [0; 3],
            preamble: plan.preambles[n],
            shut: false,
            closed: false,
        };
        let session = |cast: &Cast, side| Stage::Outer(Box::new(cast.session(side)));
        let mut stages = vec![session(&cast, Side::Left)];
        if plan.host {
            let apart = cast.seeded(2);
            for side in [Side::Right, Side::Left] {
                let seed = apart.setup.seed_of(side);
                stages.push(match Early::new(seed, || apart.eager_to(side.other())) {
                    Some(early) => Stage::Early(Box::new(early)),
                    None => session(&apart, side),
                });
            }
        }
        stages.push(session(&cast, Side::Right));
        let count = stages.len();
        let mut world = Self {
            cast,
            stages,
            wires: vec![Vec::new(); count],
            said: vec![Vec::new(); count],
            ended: vec![false; count],
            users: [user(0), user(1)],
            held: Default::default(),
            faulted: false,
            host_lied: false,
            given_up: false,
            budget: BUDGET,
            updates: 15,
        };
        world.nest_who_can();
        world
    }

    fn party(&self, n: u8) -> usize {
        usize::from(n) % self.stages.len()
    }

    /// The user that is this party, if it is one.
    fn user(&self, party: usize) -> Option<usize> {
        match party {
            0 => Some(0),
            n if n + 1 == self.stages.len() => Some(1),
            _ => None,
        }
    }

    fn user_party(&self, user: usize) -> usize {
        if user == 0 { 0 } else { self.stages.len() - 1 }
    }

    pub(super) fn act(&mut self, op: Op) {
        match op {
            Op::Transmit(n, most) => {
                let party = self.party(n);
                self.stages[party].hurry();
                self.transmit(party, most);
            }
            Op::Deliver(n, most) => _ = self.deliver(self.party(n), most),
            Op::Write(n, most) => _ = self.write(self.party(n), most),
            Op::Read(n, most) => _ = self.read(self.party(n), most),
            Op::Carry(n, most) => _ = self.carry(usize::from(n & 1), most),
            Op::Settle => self.settle(),
            Op::UpdateKeys(n, layer, request) => self.update_keys(self.party(n), layer, request),
            Op::CloseWrite(n) => self.close(self.party(n), false),
            Op::Close(n) => self.close(self.party(n), true),
            Op::Misuse(n) => self.misuse(self.party(n)),
            Op::IntoOuter(n) => self.give_outer_back(self.party(n)),
            Op::Cut(n) => {
                let party = self.party(n);
                self.ended[party] = true;
                self.faulted = true;
            }
            Op::Damage(n, damage) => {
                let party = self.party(n);
                let wire = self.wires[party].clone();
                if let Some(damaged) = apply(damage, wire, &self.wires[party ^ 1]) {
                    self.wires[party] = damaged;
                    self.faulted = true;
                }
            }
            Op::Tamper(n, damage) => {
                let user = usize::from(n & 1);
                let held = std::mem::take(&mut self.held[user]);
                match apply(damage, held.clone(), &self.held[user ^ 1]) {
                    Some(damaged) if self.stages.len() == 4 => {
                        self.held[user] = damaged;
                        self.faulted = true;
                        self.host_lied = true;
                    }
                    _ => self.held[user] = held,
                }
            }
        }
        self.nest_who_can();
    }

    fn transmit(&mut self, party: usize, most: usize) -> bool {
        let bytes = self.stages[party].party().transmit(most);
        self.wires[party].extend(&bytes);
        if self.cast.setup.start.offers() {
            self.said[party].extend(&bytes);
        }
        !bytes.is_empty()
    }

    /// To `party`, from its peer.
    fn deliver(&mut self, party: usize, most: usize) -> bool {
        let from = party ^ 1;
        if self.wires[from].is_empty() {
            if std::mem::take(&mut self.ended[from]) {
                self.stages[party].party().eof();
                return true;
            }
            return false;
        }
        let wire = &self.wires[from];
        let chunk = &wire[..most.min(wire.len())];
        let taken = match self.faulted && self.stages[party].is_deaf() {
            true => chunk.len(),
            false => self.stages[party].party().receive(chunk),
        };
        self.wires[from].drain(..taken);
        taken > 0
    }

    fn write(&mut self, party: usize, most: usize) -> bool {
        let Some(n) = self.user(party) else { return false };
        let user = &self.users[n];
        let at = user.written[user.part].len();
        let most = match user.part {
            PREAMBLE => user.preamble - at,
            _ => most.min(self.budget),
        }
        .min(most);
        if user.shut || most == 0 {
            return false;
        }
        let data = &speech(n)[at..at + most];
        let taken = self.stages[party].party().write(data);
        self.budget -= taken.min(self.budget);
        let user = &mut self.users[n];
        user.written[user.part].extend_from_slice(&data[..taken]);
        taken > 0
    }

    fn read(&mut self, party: usize, most: usize) -> bool {
        let Some(n) = self.user(party) else {
            return self.host_read(party, most);
        };
        let part = self.users[n].part;
        let from = self.users[n].read[part];
        let most = match part {
            PREAMBLE if !self.given_up => most.min(self.users[n ^ 1].preamble - from),
            _ => most,
        };
        let (got, end) = self.take(party, most);
        self.users[n].read[part] += got.len();
        let (me, peer) = (&self.users[n], &self.users[n ^ 1]);
        let known = part != PREAMBLE || !self.given_up;
        if known && (part == INNER || !self.host_lied) {
            let said = peer.written[part].get(from..from + got.len());
            assert_eq!(said, Some(&got[..]), "user {n} read in part {part} what nobody wrote");
        }
        if end && part == INNER {
            assert!(peer.shut || peer.part > INNER, "user {n} saw an end that was none");
            assert_eq!(me.read[part], peer.written[part].len(), "user {n}: the end is too early");
        }
        !got.is_empty()
    }

    /// What `party` can read now, at most so much; whether it is at the end.
    fn take(&mut self, party: usize, most: usize) -> (Vec<u8>, bool) {
        let party = self.stages[party].party();
        let before = party.report().read.len();
        party.read(most);
        (party.report().read[before..].to_vec(), party.report().end)
    }

    fn host_read(&mut self, party: usize, most: usize) -> bool {
        let (got, _) = self.take(party, most);
        self.held[usize::from(party == 2)].extend_from_slice(&got);
        !got.is_empty()
    }

    /// The host passes on what came from `user`.
    fn carry(&mut self, user: usize, most: usize) -> bool {
        if self.stages.len() != 4 {
            return false;
        }
        let held = std::mem::take(&mut self.held[user]);
        let most = most.min(held.len());
        let (came, goes) = if user == 0 { (1, 2) } else { (2, 1) };
        let taken = self.stages[goes].party().write(&held[..most]);
        self.held[user] = held[taken..].to_vec();
        // A faithful host passes the end on.
        let end = self.stages[came].report().end && self.held[user].is_empty();
        let passed = end && self.stages[goes].pass_end();
        passed || taken > 0
    }

    fn update_keys(&mut self, party: usize, layer: Layer, request: bool) {
        if self.updates == 0 {
            return;
        }
        self.updates -= 1;
        let result = match &mut self.stages[party] {
            Stage::Outer(m) => m.with(|p| p.keys(Layer::Outer, request)),
            Stage::Nested(m) => m.with(|p| p.keys(layer, request)),
            Stage::Early(early) => return early.update_keys(layer, request),
            Stage::Gone => unreachable!(),
        };
        if let Err(error) = result {
            let sticky = each!(&self.stages[party], m => m.error().cloned());
            assert!(
                matches!(error.kind(), ErrorKind::Misuse(_)) || Some(&error) == sticky.as_ref(),
                "{error}"
            );
        }
    }

    fn close(&mut self, party: usize, all: bool) {
        let Some(n) = self.user(party) else {
            // A host that ends a layer whose user is not at its end cuts it.
            self.faulted = true;
            self.host_lied = true;
            return self.stages[party].party().close();
        };
        let phase = each!(&self.stages[party], m => m.ports.phase());
        let handshaking = matches!(phase, Phase::OuterHandshake | Phase::InnerHandshake);
        let user = &mut self.users[n];
        // Who closes in the handshake gives it up; who closes the outer layer can't nest.
        if (all && handshaking) || user.part != INNER {
            self.faulted = true;
        }
        user.shut = true;
        user.closed |= all;
        each!(&mut self.stages[party], m => if all { m.close() } else { m.close_write() });
    }

    fn misuse(&mut self, party: usize) {
        if let Stage::Early(_) = self.stages[party] {
            return;
        }
        let shut = self.user(party).is_some_and(|n| self.users[n].shut);
        each!(&mut self.stages[party], m => {
            let failed = m.error().cloned();
            let offered = m.with(|p| p.wire_in().map_or(0, |space| space.len()));
            let result = m.with(|p| p.wire_received(offered + 1));
            match &failed {
                Some(_) => assert!(result.is_err()),
                None => assert!(matches!(
                    result.unwrap_err().kind(),
                    ErrorKind::Misuse(Misuse::Count { .. })
                )),
            }
            if shut {
                let error = m.with(|p| p.plain_write(b"late")).unwrap_err();
                assert!(failed.as_ref() == Some(&error)
                    || error.kind() == &ErrorKind::Misuse(Misuse::WriteAfterClose), "{error}");
            }
        });
    }

    fn give_outer_back(&mut self, party: usize) {
        let Some(n) = self.user(party) else { return };
        let Stage::Nested(_) = &self.stages[party] else { return };
        let Stage::Nested(machine) = std::mem::replace(&mut self.stages[party], Stage::Gone) else {
            unreachable!()
        };
        let user = &mut self.users[n];
        let over =
            machine.report().end && machine.report().failure.is_none() && user.shut && !user.closed;
        match machine.into_outer() {
            Ok(session) => {
                assert!(over, "the inner layer is not over");
                user.part = BEHIND;
                user.shut = false;
                self.stages[party] = Stage::Outer(Box::new(session));
            }
            Err(machine) => {
                assert!(!over, "the inner layer is over");
                self.stages[party] = Stage::Nested(machine);
            }
        }
    }

    /// A user nests when its preamble is said and its peer's is read.
    fn nest_who_can(&mut self) {
        for n in 0..2 {
            let party = self.user_party(n);
            let (user, peer) = (&self.users[n], &self.users[n ^ 1]);
            let ready = !self.given_up
                && user.part == PREAMBLE
                && !user.shut
                && user.written[PREAMBLE].len() == user.preamble
                && user.read[PREAMBLE] == peer.preamble;
            let Stage::Outer(machine) = &self.stages[party] else { continue };
            if !ready || machine.error().is_some() {
                continue;
            }
            let Stage::Outer(machine) = std::mem::replace(&mut self.stages[party], Stage::Gone)
            else {
                unreachable!()
            };
            let nested = self.cast.nest(Side::BOTH[n], *machine);
            self.stages[party] = Stage::Nested(Box::new(nested));
            self.users[n].part = INNER;
        }
    }

    /// Everything that moves by itself, until nothing moves.
    fn settle(&mut self) {
        for _ in 0..20_000 {
            let mut moved = false;
            for party in 0..self.stages.len() {
                // Not before nothing else moves: something may still come that could go early.
                if !self.stages[party].waits() {
                    moved |= self.transmit(party, usize::MAX);
                }
                moved |= self.deliver(party, usize::MAX);
                moved |= self.read(party, usize::MAX);
                let preamble = self.user(party).is_some_and(|n| self.users[n].part == PREAMBLE);
                moved |= preamble && self.write(party, usize::MAX);
            }
            moved |= self.carry(0, usize::MAX) | self.carry(1, usize::MAX);
            self.nest_who_can();
            if !moved && !self.stages.iter_mut().any(Stage::hurry) {
                return;
            }
        }
        panic!("this does not come to rest");
    }
}

/// The bytes changed, unless nothing changes.
fn apply(damage: Damage, mut bytes: Vec<u8>, other: &[u8]) -> Option<Vec<u8>> {
    let before = bytes.clone();
    let at = |at: usize| at % before.len().max(1);
    let cut = |n: usize| n.min(before.len());
    match damage {
        Damage::Flip(n) => *bytes.get_mut(at(n / 8))? ^= 1 << (n % 8),
        Damage::Drop(n) => _ = bytes.drain(..cut(n)),
        Damage::Double(n) => bytes = [&before[..cut(n)], &before[..]].concat(),
        Damage::Swap(n) => bytes.rotate_left(at(n)),
        Damage::Reflect(n) => bytes.extend_from_slice(&other[..n.min(other.len())]),
        Damage::Insert(n) => bytes.insert(at(usize::from(n)), n),
    }
    (bytes != before).then_some(bytes)
}
