//! The cryptography that protects nothing does what the fuzzers count on.

use crate::support::null::Strength;
use crate::support::party::Party;
use crate::support::setup::{Setup, Side};

fn setups(strength: Strength) -> impl Iterator<Item = Setup> {
    Setup::all().map(move |setup| Setup { null: Some(strength), ..setup })
}

#[test]
fn connections_work() {
    for setup in setups(Strength::Sums).chain(setups(Strength::Nothing)) {
        let mut pair = setup.connected();
        pair.send(Side::Left, &[7; 40_000]);
        pair.send(Side::Right, b"in the other direction");
        for side in Side::BOTH {
            pair.party(side).close();
        }
        pair.settle();
        assert_eq!(pair.right.report().read, [7; 40_000]);
        assert_eq!(pair.left.report().read, b"in the other direction");
        assert!(pair.left.report().end && pair.right.report().end);
        let wire = &pair.to_left.transcript;
        assert!(wire.windows(9).any(|bytes| bytes == b"the other"), "nothing is secret");
    }
}

/// The one strength notices a changed byte anywhere, the other none in a record's protection.
#[test]
fn changed_bytes() {
    for (strength, noticed) in [(Strength::Sums, true), (Strength::Nothing, false)] {
        for setup in setups(strength) {
            let mut pair = setup.connected();
            pair.left.write(b"data");
            let mut record = pair.left.transmit(usize::MAX);
            // In the tag of the outer record.
            *record.last_mut().unwrap() ^= 1;
            pair.right.receive(&record);
            pair.right.read_all();
            assert_eq!(pair.right.report().failure.is_some(), noticed, "{setup:?}");
            assert_eq!(pair.right.report().read.is_empty(), noticed, "{setup:?}");
        }
    }
}
