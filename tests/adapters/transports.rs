//! Whatever the transport's manners: the same conversation, on every adapter.

use super::faults::turned;
use super::line::Adapter;
use super::talk::{Op, Talk, base_seed};
use super::transport::Manners;
use crate::support::schedule::Told;
use crate::support::setup::{Setup, Side};

/// Both sides talk at once, to the end of both.
fn converse(adapter: Adapter, setup: &Setup, manners: [Manners; 2], len: usize) {
    let _told = Told::new((adapter, setup, manners, len));
    let mut talk = Talk::new(adapter, setup, manners);
    for side in Side::BOTH {
        let writer = [Op::Handshake, Op::Write(len), Op::Flush, Op::Write(1), Op::Shutdown];
        talk.speaker(side).then(&[Op::ReadToEnd], &writer);
    }
    talk.succeed();
    assert_eq!((talk.left.read, talk.right.read), (len + 1, len + 1));
}

#[test]
fn any_manners_of_the_transport() {
    for adapter in Adapter::all() {
        for (j, manners) in Manners::BAD.into_iter().enumerate() {
            for (i, setup) in turned(j + adapter as usize).enumerate() {
                let seed = base_seed() + (i * 100 + j) as u64;
                let other = if i % 2 == 0 { Manners::GOOD } else { manners };
                converse(adapter, &setup.seeded(seed), [manners, other], 3000);
            }
        }
    }
}
