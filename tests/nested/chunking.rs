//! I2: what happens depends on the bytes, never on how they were split or joined.

use crate::support::crypto::Rng;
use crate::support::pair::Pair;
use crate::support::party::{Party, Report};
use crate::support::schedule::{Bytes, Coalesced, Random, Schedule, Told, Whole};
use crate::support::setup::{Setup, Side};

/// Both ways, with data, half-closes and closes; what each user saw.
pub(crate) fn conversation<A: Party, B: Party>(
    mut pair: Pair<A, B>,
    setup: &Setup,
    schedule: &mut dyn Schedule,
) -> [Report; 2] {
    let mut rng = Rng(setup.seed);
    pair.drive(schedule);
    for _ in 0..4 {
        for side in Side::BOTH {
            let most = [10, 300, 3000][rng.below(3)];
            let data = vec![rng.next() as u8; rng.below(most)];
            pair.send_by(side, &data, schedule);
        }
    }
    let first = Side::BOTH[rng.below(2)];
    pair.party(first).close_write();
    pair.drive(schedule);
    pair.send_by(first.other(), b"still here", schedule);
    pair.party(first.other()).close();
    pair.drive(schedule);
    pair.party(first).close();
    pair.drive(schedule);
    [pair.left.report().clone(), pair.right.report().clone()]
}

#[test]
fn every_chunking_tells_what_the_oracle_tells() {
    for setup in Setup::all() {
        let _told = Told::new(setup);
        let oracle = conversation(
            Pair::new(setup.glued(Side::Left), setup.glued(Side::Right)),
            &setup,
            &mut Whole,
        );
        assert_eq!(oracle[0].events.len(), 5, "{:?}", oracle[0].events);
        let ways: [&mut dyn Schedule; 4] =
            [&mut Whole, &mut Bytes(1000), &mut Coalesced::default(), &mut Random::new(setup.seed)];
        for schedule in ways {
            assert_eq!(conversation(setup.pair(), &setup, schedule), oracle);
        }
        for side in Side::BOTH {
            let mixed = conversation(setup.against_glued(side), &setup, &mut Random::new(7));
            assert_eq!(mixed, oracle);
        }
    }
}
