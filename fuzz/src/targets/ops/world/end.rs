//! What must have come of it all in the end.

use nested_tls::{Event, Layer, Phase, Ports};

use super::{BEHIND, INNER, PREAMBLE, Stage, World, each};
use crate::support::party::Party;
use crate::support::sessions::Start;
use crate::support::setup::{Setup, Side};

impl World {
    pub(in super::super) fn finish(mut self) {
        self.settle();
        self.replay();
        if self.faulted {
            return self.finish_faulted();
        }
        self.check_sessions();
        let parts = [self.users[0].part, self.users[1].part];
        for (n, part) in parts.into_iter().enumerate() {
            let party = self.user_party(n);
            each!(&self.stages[party], m => {
                assert_eq!(m.error(), None, "user {n} in part {part}");
                assert!(m.has(Event::Established(Layer::Outer)));
            });
            // Who is behind the inner layer ends it for both.
            each!(&mut self.stages[party], m => m.close_write());
            self.users[n].shut = true;
        }
        self.settle();
        for n in 0..2 {
            self.give_outer_back(self.user_party(n));
        }
        self.settle();
        for n in 0..2 {
            let party = self.user_party(n);
            each!(&mut self.stages[party], m => m.close());
        }
        self.settle();
        for n in 0..2 {
            let (me, peer) = (&self.users[n], &self.users[n ^ 1]);
            // Who closes all does not ask for what comes behind the inner layer.
            for part in [PREAMBLE, INNER, BEHIND].into_iter().filter(|p| *p < BEHIND || !me.closed)
            {
                assert_eq!(me.read[part], peer.written[part].len(), "user {n}, part {part}");
            }
            each!(&self.stages[self.user_party(n)], m => {
                assert_eq!(m.error(), None, "user {n}");
                assert!(m.report().end, "user {n} saw no end: {:?}", m.report());
                assert_eq!(m.ports.phase(), Phase::Closed, "user {n}: {:?}", m.report());
            });
        }
    }

    /// Each layer goes on as the plan has it, and of early data both ends of a hop are told the truth.
    fn check_sessions(&self) {
        let Setup { start, inner_resumes, .. } = self.cast.setup;
        for (party, stage) in self.stages.iter().enumerate() {
            let offered = [party, party ^ 1].into_iter().any(|party| self.offers(party));
            let taken = start == Start::Early && offered;
            assert_eq!(stage.early_data(), taken, "party {party}");
            let Stage::Nested(machine) = stage else { continue };
            let resumed = [Layer::Outer, Layer::Inner]
                .map(|layer| machine.ports.layer(layer).unwrap().resumed);
            assert_eq!(resumed, [start != Start::Cold, inner_resumes], "party {party}");
        }
    }

    /// Whether this party says something early, where it can.
    fn offers(&self, party: usize) -> bool {
        match (&self.stages[party], self.user(party)) {
            (Stage::Early(early), _) => early.offered > 0,
            (_, Some(n)) => {
                self.cast.setup.is_client(Side::BOTH[n]) == (true, true)
                    && self.users.iter().all(|user| user.preamble == 0)
            }
            _ => false,
        }
    }

    /// Whoever sends to another server what it has sent to this one gets nothing done.
    fn replay(&self) {
        for n in 0..2 {
            let (side, party) = (Side::BOTH[n], self.user_party(n));
            let (said, is_client) = (&self.said[party ^ 1], self.cast.setup.is_client(side).0);
            if said.is_empty() || is_client {
                continue;
            }
            let first = each!(&self.stages[party], m => m.ports.layer(Layer::Outer).unwrap());
            let mut copy = self.cast.seeded(3).nested(side);
            copy.receive(said);
            assert_eq!(copy.report().events, [], "user {n}");
            let inner = copy.ports.layer(Layer::Inner).unwrap();
            assert!(!first.resumed || inner.bytes_in == 0, "user {n}: early data is taken twice");
        }
    }

    /// After a fault everybody knows that it is over, once the transport is.
    fn finish_faulted(mut self) {
        self.ended.fill(true);
        self.given_up = true;
        self.settle();
        for n in 0..2 {
            each!(&self.stages[self.user_party(n)], m => {
                let report = m.report();
                assert!(
                    report.failure.is_some() || report.end,
                    "user {n} waits for ever in phase {}",
                    m.ports.phase()
                );
            });
        }
    }
}
