//! KeyUpdate between the adapters: who answers, and when.

use nested_tls::{Layer, Ports};

use super::line::Adapter;
use super::talk::{Leaves, Op, Talk};
use super::transport::Manners;
use crate::support::pki::Version;
use crate::support::schedule::Told;
use crate::support::setup::{Mix, Setup, Side};

const LAYERS: [Layer; 2] = [Layer::Outer, Layer::Inner];

fn setups() -> impl Iterator<Item = Setup> {
    Mix::ALL.into_iter().map(|mix| Setup::new(Version::Tls13, Version::Tls13, mix))
}

fn records_in(talk: &mut Talk, side: Side, layer: Layer) -> u64 {
    talk.speaker(side).line().machine().layer(layer).unwrap().records_in
}

/// Nobody writes on the left; its reader answers.
#[test]
fn a_reader_answers_on_an_idle_connection() {
    for adapter in Adapter::all() {
        for setup in setups() {
            for lazy in [false, true] {
                for layer in LAYERS {
                    let _told = Told::new((adapter, setup, layer, lazy));
                    let manners = Manners { lazy, ..Manners::GOOD };
                    let mut talk = Talk::connected(adapter, &setup, [manners; 2]);
                    for side in Side::BOTH {
                        talk.speaker(side).then(&[Op::ReadToEnd], &[]);
                    }
                    talk.run();
                    let before = records_in(&mut talk, Side::Right, layer);
                    talk.right.then(&[], &[Op::UpdateKeys(layer, true), Op::Flush]);
                    talk.run();
                    assert_eq!(records_in(&mut talk, Side::Right, layer), before + 1);
                    // Both go on under the new keys.
                    for side in Side::BOTH {
                        talk.speaker(side).then(&[], &[Op::Write(1000), Op::Shutdown]);
                    }
                    talk.succeed();
                    assert_eq!((talk.left.read, talk.right.read), (1000, 1000));
                }
            }
        }
    }
}

/// The next request comes before the answer to the last one has left.
#[test]
fn a_reader_owes_its_second_answer_too() {
    for adapter in Adapter::all() {
        for setup in setups() {
            for layer in LAYERS {
                let _told = Told::new((adapter, setup, layer));
                let _told = Told::new((adapter, setup, layer));
                // Tickets would be records of their own.
                let setup = Setup { tickets: 0, ..setup };
                let mut talk = Talk::connected(adapter, &setup, [Manners::GOOD; 2]);
                let slow = Manners { lazy: true, capacity: 10, ..Manners::GOOD };
                talk.left.line().transport().manners = slow;
                talk.left.then(&[Op::ReadToEnd], &[]);
                for _ in 0..2 {
                    talk.right.then(&[], &[Op::UpdateKeys(layer, true), Op::Flush]);
                    talk.run();
                }
                let before = records_in(&mut talk, Side::Right, layer);
                talk.right.then(&[Op::ReadToEnd], &[]);
                talk.run();
                assert_eq!(records_in(&mut talk, Side::Right, layer), before + 2);
            }
        }
    }
}

/// Requests from both sides in the middle of data, through any pipe.
#[test]
fn keys_change_in_the_middle_of_data() {
    for adapter in Adapter::all() {
        for setup in setups() {
            for manners in
                [Manners::GOOD, Manners { capacity: 300, read: 50, lazy: true, ..Manners::GOOD }]
            {
                let _told = Told::new((adapter, setup, manners));
                let mut talk = Talk::connected(adapter, &setup, [manners; 2]);
                for side in Side::BOTH {
                    let mut writer = vec![Op::Write(1)];
                    for layer in LAYERS.into_iter().cycle().take(8) {
                        writer.extend([Op::UpdateKeys(layer, true), Op::Write(3000)]);
                    }
                    writer.push(Op::Shutdown);
                    talk.speaker(side).then(&[Op::ReadToEnd], &writer);
                }
                talk.succeed();
                assert_eq!((talk.left.read, talk.right.read), (24_001, 24_001));
            }
        }
    }
}

/// The host asks for new outer keys while the inner layer shakes hands.
#[test]
fn the_outer_layer_asks_during_the_inner_handshake() {
    for adapter in Adapter::all() {
        for setup in setups() {
            for attempts in (0..).step_by(2) {
                let _told = Told::new((adapter, setup, attempts));
                let manners = Manners { read: 60, ..Manners::GOOD };
                let mut talk = Talk::new(adapter, &setup, [manners; 2]);
                talk.right.leaves = Leaves::Never;
                talk.left.leaves = Leaves::Never;
                talk.right.then(&[], &[Op::Attempts(attempts)]);
                talk.left.then(&[], &[Op::Handshake]);
                talk.run();
                let phase = talk.right.line().machine().phase();
                if phase == nested_tls::Phase::InnerHandshake {
                    talk.right.then(&[], &[Op::UpdateKeys(Layer::Outer, true)]);
                }
                talk.right.then(&[Op::ReadToEnd], &[Op::Write(10), Op::Shutdown]);
                talk.left.then(&[Op::ReadToEnd], &[Op::Write(10), Op::Shutdown]);
                talk.succeed();
                if phase == nested_tls::Phase::Traffic {
                    break;
                }
            }
        }
    }
}
