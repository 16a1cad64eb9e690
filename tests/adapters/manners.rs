//! Any manners of the caller: calls in any order, given up anywhere.

use std::task::{Context, Waker};

use nested_tls::Layer;

use super::line::{Adapter, established};
use super::talk::{Op, Talk, base_seed};
use super::transport::Manners;
use crate::support::crypto::Rng;
use crate::support::pki::Version;
use crate::support::schedule::Told;
use crate::support::setup::{Setup, Side};

fn run(adapter: Adapter, seed: u64) {
    let mut rng = Rng(seed);
    let setups: Vec<_> = Setup::all().collect();
    let mut setup = setups[rng.below(setups.len())].seeded(seed);
    if rng.below(2) == 0 {
        setup.limits.wire_out = 1 + rng.below(5000);
        setup.limits.plaintext = 1 + rng.below(5000);
        setup.limits.wire_in = 1 + rng.below(5000);
    }
    let manners = [0, 1].map(|_| match rng.below(12) {
        n @ 0..9 => Manners::BAD[n],
        9 => Manners { capacity: 1 + rng.below(1000), read: 1 + rng.below(500), ..Manners::GOOD },
        _ => Manners::GOOD,
    });
    let _told = Told::new((adapter, seed, setup, manners));
    let mut talk = Talk::new(adapter, &setup, manners);
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..rng.below(400) {
        let side = Side::BOTH[rng.below(2)];
        let version = [setup.outer, setup.inner];
        let speaker = talk.speaker(side);
        let op = match rng.below(8) {
            0 => Op::Handshake,
            1 => Op::Flush,
            2..4 => Op::Write(1 + rng.below(3000)),
            4..7 => Op::Read(1 + rng.below(3000)),
            _ => {
                let i = rng.below(2);
                if version[i] == Version::Tls12 || !established(speaker.line()) {
                    continue;
                }
                Op::UpdateKeys([Layer::Outer, Layer::Inner][i], rng.below(2) == 0)
            }
        };
        if let std::task::Poll::Ready(Err(error)) =
            speaker.attempt_once(op, &mut 0, &mut rng, &mut cx)
        {
            panic!("{side:?} {op:?}: {error:?}");
        }
    }
    for side in Side::BOTH {
        talk.speaker(side).then(&[Op::ReadToEnd], &[Op::Write(1), Op::Shutdown]);
    }
    talk.succeed();
    assert_eq!((talk.left.read, talk.right.read), (talk.right.written, talk.left.written));
}

#[test]
fn any_calls_in_any_order_lose_nothing() {
    for adapter in Adapter::all() {
        for seed in 0..40 {
            run(adapter, base_seed() + seed);
        }
    }
}
