//! A whole conversation over a road: handshakes, a question and an answer, closes, ends.

use nested_tls::{Event, Layer, Nested, Phase, Ports};

use super::road::{End, Road};
use crate::support::cast::Cast;
use crate::support::crypto;
use crate::support::host::Host;
use crate::support::party::{Machine, Party, Report};
use crate::support::setup::Side;
use crate::support::tally::Place;

pub const REQUEST: &[u8] = &[0x51; 200];
pub const ANSWER: &[u8] = &[0xa5; 300];

/// What `side` reads in the end, if it reads all.
pub fn expected(side: Side) -> &'static [u8] {
    if side == Side::Left { ANSWER } else { REQUEST }
}

/// How one side ended.
#[derive(Debug)]
pub struct Ended {
    pub report: Report,
    pub phase: Phase,
    /// Bytes of its own that it sent after it failed.
    pub last_words: usize,
    /// It had closed before that, so it had nothing to say any more.
    pub closed: bool,
    /// Which layers went on with a session: the outer one, the inner one.
    pub resumed: [bool; 2],
    /// Early data was taken.
    pub early: bool,
}

impl Ended {
    /// Everything came and was said to be everything.
    pub fn is_complete(&self, side: Side) -> bool {
        self.report.end && self.report.failure.is_none() && self.report.read == expected(side)
    }
}

type Two = [Machine<Nested>; 2];

struct Conversation<'a, 'r> {
    parties: Two,
    /// Between the two sides, where there is one.
    host: Option<Host>,
    road: &'a mut Road<'r>,
    /// The transport of each side has ended, for its peer.
    ended: [bool; 2],
    words: [usize; 2],
}

/// A conversation; what both sides say of it.
pub fn converse(cast: &Cast, place: Place, road: &mut Road<'_>) -> [Ended; 2] {
    crypto::seed(cast.setup.seed);
    let mut talk = Conversation {
        parties: Side::BOTH.map(|side| cast.nested(side)),
        host: (place != Place::Wire).then(|| cast.host()),
        road,
        ended: [false; 2],
        words: [0; 2],
    };
    talk.settle();
    talk.say(Side::Left, REQUEST);
    talk.say(Side::Right, ANSWER);
    let mut closed = [false; 2];
    // Who waits for a handshake that stands still is not told so by closing.
    if talk.parties.iter().all(|party| party.has(Event::Established(Layer::Inner))) {
        for side in [0, 1] {
            closed[side] = talk.parties[side].report().failure.is_none();
            talk.parties[side].close();
            talk.settle();
        }
    }
    talk.end();
    let words = talk.words;
    let mut sides = Side::BOTH.into_iter();
    talk.parties.map(|mut party| {
        let side = sides.next().unwrap() as usize;
        party.read_all();
        let [outer, inner] =
            [Layer::Outer, Layer::Inner].map(|layer| party.ports.layer(layer).unwrap());
        Ended {
            resumed: [outer.resumed, inner.resumed],
            early: outer.early_data,
            phase: party.ports.phase(),
            report: party.report().clone(),
            last_words: words[side],
            closed: closed[side],
        }
    })
}

impl Conversation<'_, '_> {
    /// Write, which takes nothing before the peer is known (I3), and let it pass.
    fn say(&mut self, side: Side, data: &[u8]) {
        let party = &mut self.parties[side as usize];
        let known = party.has(Event::Established(Layer::Inner));
        let taken = party.write(data);
        assert!(taken == 0 || known, "{side:?} takes data for a peer that it does not know");
        self.settle();
    }

    /// Until nothing moves; then with what was held back.
    fn settle(&mut self) {
        self.exchange();
        // What stands still goes on standing still.
        let before: Vec<_> = self.parties.iter().map(|p| p.ports.readiness()).collect();
        self.exchange();
        let after: Vec<_> = self.parties.iter().map(|p| p.ports.readiness()).collect();
        assert_eq!(before, after);
        let Some((from, bytes)) = self.road.release() else { return };
        let to = from.other();
        match &mut self.host {
            Some(host) => {
                host.hop(to).update_keys();
                host.inject(to, &bytes);
                host.silenced[from as usize] = false;
            }
            None => {
                self.parties[to as usize].receive(&bytes);
            }
        }
        self.exchange();
    }

    fn exchange(&mut self) {
        match self.host.take() {
            Some(mut host) => {
                self.through(&mut host);
                self.host = Some(host);
            }
            None => self.directly(),
        }
    }

    fn directly(&mut self) {
        for _ in 0..10_000 {
            let mut moved = false;
            for from in Side::BOTH {
                let sender = &mut self.parties[from as usize];
                let failed = sender.report().failure.is_some();
                let bytes = sender.transmit_all();
                moved |= !bytes.is_empty();
                if failed {
                    self.words[from as usize] += bytes.len();
                }
                if !self.ended[from as usize] {
                    let bytes = self.road.pass(from, bytes);
                    self.parties[from.other() as usize].receive(&bytes);
                }
                moved |= self.cut_off();
                for party in &mut self.parties {
                    moved |= !party.read_all().is_empty();
                }
            }
            if !moved {
                return;
            }
        }
        panic!("this does not come to rest");
    }

    fn through(&mut self, host: &mut Host) {
        let [left, right] = &mut self.parties;
        let said = [host.from_left.len(), host.from_right.len()];
        let failed = [left.report().failure.is_some(), right.report().failure.is_some()];
        host.silenced = Side::BOTH.map(|from| self.road.holds(from));
        host.run(left, right, &mut |from, _, bytes| self.road.pass(from, bytes));
        for from in Side::BOTH {
            let Some(end) = self.road.end(from) else { continue };
            let to = from.other();
            match end {
                End::CloseNotify => host.hop(to).close(),
                End::Fin | End::Reset => host.hung_up[to as usize] = true,
                End::Silence => {}
            }
        }
        self.cut_off();
        let [left, right] = &mut self.parties;
        host.run(left, right, &mut |from, _, bytes| self.road.pass(from, bytes));
        // A failure of this call is told in it.
        let says = [host.from_left.len(), host.from_right.len()];
        for side in [0, 1] {
            if failed[side] || self.parties[side].report().failure.is_some() {
                self.words[side] += says[side] - said[side];
            }
        }
    }

    /// End what a cut ends.
    fn cut_off(&mut self) -> bool {
        let mut moved = false;
        for from in Side::BOTH {
            let ends = matches!(self.road.end(from), Some(End::Fin | End::Reset));
            if ends && !std::mem::replace(&mut self.ended[from as usize], true) {
                self.parties[from.other() as usize].eof();
                moved = true;
            }
        }
        moved
    }

    /// All transports end, but for one that has fallen silent: there the users lose patience.
    fn end(&mut self) {
        if Side::BOTH.iter().any(|side| self.road.end(*side) == Some(End::Silence)) {
            return self.deadline();
        }
        if let Some(host) = &mut self.host {
            for side in Side::BOTH {
                host.hop(side).close();
            }
            self.exchange();
        }
        for from in Side::BOTH {
            if !std::mem::replace(&mut self.ended[from as usize], true) {
                self.parties[from.other() as usize].eof();
            }
        }
        self.exchange();
    }

    /// Silence is no event: whoever gives up does so by closing, and has the last word.
    fn deadline(&mut self) {
        for (side, party) in Side::BOTH.into_iter().zip(&mut self.parties) {
            assert_eq!(party.report().failure, None, "{side:?} invents a failure");
            let known = party.has(Event::Established(Layer::Inner));
            party.close();
            match party.ports.phase() {
                Phase::Failed => assert!(!known, "{side:?} could have closed"),
                phase => assert!(matches!(phase, Phase::Closing | Phase::Closed), "{phase}"),
            }
        }
    }
}
