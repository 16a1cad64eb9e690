//! Both directions at once, through pipes of any size.

use nested_tls::{Layer, Limits, Phase};

use super::line::Adapter;
use super::talk::{Leaves, Op, Talk};
use super::transport::{Call, Manners};
use crate::support::pki::Version;
use crate::support::schedule::Told;
use crate::support::setup::{Mix, Setup, Side};

fn small() -> Limits {
    Limits { wire_in: 1000, plaintext: 1000, wire_out: 1000, ..Limits::default() }
}

#[test]
fn both_sides_write_while_they_read() {
    let pipes =
        [(1, 10_000), (7, 40_000), (600, 200_000), (5000, 1_000_000), (64 * 1024, 10_000_000)];
    for adapter in Adapter::all() {
        for (capacity, len) in pipes {
            let _told = Told::new((adapter, capacity, len));
            let manners = Manners { capacity, ..Manners::GOOD };
            let limits = if capacity < 100 { small() } else { Limits::default() };
            let setup = Setup { limits, ..Setup::default() };
            let mut talk = Talk::new(adapter, &setup, [manners; 2]);
            for side in Side::BOTH {
                talk.speaker(side).then(&[Op::ReadToEnd], &[Op::Write(len), Op::Shutdown]);
            }
            talk.succeed();
            assert_eq!((talk.left.read, talk.right.read), (len, len));
        }
    }
}

/// The peer has stopped reading; what it said is read all the same, KeyUpdates or not.
#[test]
fn reading_never_waits_for_writing() {
    for adapter in Adapter::all() {
        for mix in Mix::ALL {
            for (capacity, limits, len) in [
                (1, small(), 5000),
                (100, small(), 10_000),
                (64 * 1024, Limits::default(), 300_000),
            ] {
                let _told = Told::new((adapter, mix, capacity));
                // Tickets that nobody reads would keep the server in its handshake.
                let tickets = 0;
                let versions = Setup::new(Version::Tls13, Version::Tls13, mix);
                let setup = Setup { tickets, limits, ..versions };
                let manners = Manners { capacity, ..Manners::GOOD };
                let mut talk = Talk::connected(adapter, &setup, [manners; 2]);
                // The left one's output is stuck.
                talk.left.then(&[], &[Op::Write(len)]);
                assert!(!talk.run());
                let ask = |layer| Op::UpdateKeys(layer, true);
                talk.left.then(&[Op::ReadToEnd], &[]);
                talk.right.then(
                    &[],
                    &[
                        Op::Write(len / 4),
                        ask(Layer::Outer),
                        Op::Write(len / 4),
                        ask(Layer::Inner),
                        Op::Write(len / 4),
                        ask(Layer::Outer),
                        Op::Write(len - len / 4 * 3),
                        Op::Flush,
                    ],
                );
                talk.run();
                assert_eq!(talk.left.read, len, "{talk:?}");
                assert!(talk.right.writer().is_some_and(Result::is_ok), "{talk:?}");
                // When the peer reads again, all arrives, and the answers with it.
                for side in Side::BOTH {
                    talk.speaker(side).leaves = Leaves::Lingering;
                }
                talk.right.then(&[Op::ReadToEnd], &[Op::Shutdown]);
                talk.left.then(&[], &[Op::Shutdown]);
                talk.succeed();
                assert_eq!(talk.right.read, len);
            }
        }
    }
}

/// Who only writes is not held up by what nobody reads; and loses nothing by it.
#[test]
fn what_is_not_read_is_kept() {
    for adapter in Adapter::all() {
        for setup in Setup::versions() {
            let mut talk = Talk::connected(adapter, &setup, [Manners::GOOD; 2]);
            talk.right.then(&[], &[Op::Write(1 << 20), Op::Shutdown]);
            talk.run();
            talk.left.then(&[], &[Op::Write(50_000), Op::Flush]);
            talk.run();
            assert!(talk.left.writer().is_some_and(Result::is_ok));
            talk.left.then(&[Op::ReadToEnd], &[Op::Shutdown]);
            talk.right.then(&[Op::ReadToEnd], &[]);
            talk.succeed();
            assert_eq!((talk.left.read, talk.right.read), (1 << 20, 50_000));
        }
    }
}

/// A reader sends its own answers, and leaves to the writer when the rest goes.
#[test]
fn what_is_written_is_not_the_reader_s_to_flush() {
    for adapter in Adapter::all() {
        for setup in Setup::all() {
            let _told = Told::new((adapter, setup));
            let mut talk = Talk::connected(adapter, &setup, [Manners::GOOD; 2]);
            talk.right.then(&[], &[Op::Write(100), Op::Flush]);
            talk.left.then(&[Op::Read(100)], &[]);
            talk.succeed();
            talk.left.then(&[], &[Op::Write(10)]);
            talk.succeed();
            let log = talk.left.line().transport().log.clone();
            let before = log.lock().unwrap().len();
            talk.right.then(&[], &[Op::Write(100), Op::Flush]);
            talk.left.then(&[Op::Read(100), Op::ReadToEnd], &[]);
            assert!(!talk.run());
            assert_eq!(talk.left.read, 200);
            let log = log.lock().unwrap();
            assert!(log[before..].iter().all(|call| *call == Call::Read), "{:?}", &log[before..]);
        }
    }
}

/// An idle connection has no buffers.
#[test]
fn idle_connections_give_their_buffers_back() {
    use nested_tls::Ports as _;
    for adapter in Adapter::all() {
        for setup in Setup::all() {
            let _told = Told::new((adapter, setup));
            let mut talk = Talk::connected(adapter, &setup, [Manners::GOOD; 2]);
            for side in Side::BOTH {
                talk.speaker(side).leaves = Leaves::Never;
                talk.speaker(side)
                    .then(&[Op::Read(200_000), Op::ReadToEnd], &[Op::Write(200_000), Op::Flush]);
            }
            assert!(!talk.run());
            for side in Side::BOTH {
                let machine = talk.speaker(side).line().machine();
                assert_eq!(machine.phase(), Phase::Traffic);
                assert_eq!(machine.buffered(), 0, "{side:?}");
            }
        }
    }
}
