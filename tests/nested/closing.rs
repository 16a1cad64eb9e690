//! Ends: clean ones, cut ones, half ones, repeated ones (I7).

use nested_tls::*;
use rustls::AlertDescription;

use crate::support::glued::Glued;
use crate::support::pair::Pair;
use crate::support::party::{Machine, Party};
use crate::support::pki::Version;
use crate::support::schedule::{Bytes, Random, Schedule, Told, Whole};
use crate::support::setup::{Setup, Side};

const OUTER: Layer = Layer::Outer;
const INNER: Layer = Layer::Inner;

fn all(mut case: impl FnMut(Setup)) {
    for setup in Setup::all() {
        let _told = Told::new(setup);
        case(setup);
    }
}

fn versions(mut case: impl FnMut(Setup)) {
    for setup in Setup::versions() {
        let _told = Told::new(setup);
        case(setup);
    }
}

/// A machine on the left, on the right one whose layers can be driven apart.
fn against_glued(setup: Setup) -> Pair<Machine<Nested>, Glued> {
    let mut pair = Pair::new(setup.nested(Side::Left), setup.glued(Side::Right));
    pair.settle();
    pair
}

fn truncated(machine: &Machine<Nested>, layer: Layer) {
    let error = machine.error().expect("a cut connection is a failure");
    assert_eq!((error.layer(), error.kind()), (layer, &ErrorKind::Truncated), "{error}");
    assert_eq!(error.fault(), Fault::Peer);
}

#[test]
fn inner_close_then_outer_close() {
    all(|setup| {
        let mut pair = setup.connected();
        pair.left.write(b"last words");
        pair.left.close();
        pair.settle();
        assert_eq!(pair.right.report().read, b"last words");
        assert!(pair.right.report().end);
        assert_eq!(pair.right.ports.phase(), Phase::Closing);
        pair.right.close();
        pair.settle();
        for side in Side::BOTH {
            let report = pair.party(side).report();
            assert!(report.end);
            let ends = [Event::PeerClosed(INNER), Event::PeerClosed(OUTER), Event::Closed];
            assert_eq!(report.events[2..], ends);
        }
        // The transport's end behind both says nothing new.
        pair.hang_up();
        assert_eq!(pair.left.ports.phase(), Phase::Closed);
        assert!(!pair.left.has(Event::OuterUnclean));
    });
}

#[test]
fn outer_close_without_inner_close_is_a_cut() {
    all(|setup| {
        let mut pair = against_glued(setup);
        pair.right.write(b"half of");
        pair.right.with(|outer, _| outer.send_close_notify());
        pair.settle();
        assert_eq!(pair.left.report().read, b"half of");
        assert!(!pair.left.report().end);
        truncated(&pair.left, INNER);
        assert!(pair.left.has(Event::PeerClosed(OUTER)));
        assert!(!pair.left.has(Event::PeerClosed(INNER)));
    });
}

#[test]
fn inner_close_without_outer_close_is_an_event() {
    all(|setup| {
        let mut pair = against_glued(setup);
        pair.right.write(b"all of it");
        pair.right.close_write();
        pair.hang_up();
        assert_eq!(pair.left.report().read, b"all of it");
        assert!(pair.left.report().end);
        assert_eq!(pair.left.error(), None);
        assert!(pair.left.has(Event::OuterUnclean));
        assert_eq!(pair.left.ports.phase(), Phase::Closing);
        pair.left.close();
        assert_eq!(pair.left.ports.phase(), Phase::Closed);
        assert!(pair.left.has(Event::Closed));
    });
}

/// Nobody knows yet what is behind plaintext that is not read, so it is no end, whatever has closed.
#[test]
fn a_cut_behind_what_is_not_read_is_told_behind_it() {
    let limits = Limits { plaintext: 100, ..Limits::default() };
    versions(|setup| {
        let mut pair = Setup { limits, ..setup }.connected();
        pair.left.close();
        let mut bytes = Vec::new();
        for _ in 0..3 {
            pair.right.write(&[1; 90]);
            bytes.extend(pair.right.transmit_all());
        }
        assert_eq!(pair.left.receive(&bytes), bytes.len());
        pair.left.eof();
        assert_eq!(pair.left.error(), None);
        assert_eq!(pair.left.ports.phase(), Phase::Closing);
        assert_eq!(pair.left.read_all(), [1; 270]);
        truncated(&pair.left, INNER);
    });
}

/// The transport ends behind any byte of a conversation: nothing but the whole of it is an end.
#[test]
fn the_transport_may_end_at_any_byte() {
    versions(|setup| {
        let talk = |cut: Option<usize>| {
            let mut pair = setup.pair();
            pair.to_left.cut = cut;
            pair.settle();
            if pair.right.has(Event::Established(INNER)) {
                pair.right.write(&[7; 100]);
                pair.right.close();
            }
            pair.settle();
            if cut.is_none() {
                pair.hang_up();
            }
            pair
        };
        let whole = talk(None);
        assert!(whole.left.report().end);
        let len = whole.to_left.transcript.len();
        for cut in (0..len).filter(|at| at % 37 == 0 || len - at < 300) {
            let pair = talk(Some(cut));
            let report = pair.left.report();
            assert!([7; 100].starts_with(&report.read));
            if report.end {
                assert_eq!(report.read, [7; 100]);
                assert!(len - cut < 40, "the end {} bytes early", len - cut);
                assert!(pair.left.has(Event::OuterUnclean));
                continue;
            }
            let established = pair.left.has(Event::Established(OUTER));
            truncated(&pair.left, if established { INNER } else { OUTER });
        }
    });
}

#[test]
fn alerts_of_either_layer_are_told_with_their_layer() {
    // Each layer's peer refuses what the machine sends, after both handshakes.
    versions(|setup| {
        for layer in [OUTER, INNER] {
            let mut pair = against_glued(setup);
            pair.right.write(b"before");
            pair.settle();
            // A record that does not open, towards the peer on that layer.
            pair.right.with(|outer, inner| {
                let target = if layer == OUTER { outer } else { inner };
                target
                    .read_tls(
                        &mut &[
                            23, 3, 3, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
                            17, 18, 19, 20,
                        ][..],
                    )
                    .unwrap();
                target.process_new_packets().unwrap_err();
            });
            pair.settle();
            let error = pair.left.error().unwrap();
            assert_eq!(error.layer(), layer);
            assert_eq!(error.alert_received(), Some(AlertDescription::BadRecordMac));
            assert_eq!(pair.left.report().read, b"before");
            assert!(!pair.left.report().end);
            // An alert is not answered; the layer around it is closed in order.
            if layer == INNER {
                let outer_closed = |pair: &Pair<Machine<Nested>, Glued>| {
                    pair.right.report().events.contains(&Event::PeerClosed(OUTER))
                };
                assert!(outer_closed(&pair));
            }
        }
    });
}

#[test]
fn half_close_leaves_the_other_half_open() {
    all(|setup| {
        for first in Side::BOTH {
            for schedule in [&mut Whole as &mut dyn Schedule, &mut Random::new(3)] {
                let mut pair = setup.connected();
                pair.send_by(first, b"the question", schedule);
                pair.party(first).close_write();
                pair.drive(schedule);
                let other = first.other();
                assert!(pair.party(other).report().end);
                let answer = vec![3; schedule.most().min(100_000)];
                pair.send_by(other, &answer, schedule);
                assert_eq!(pair.party(first).report().read, answer);
                assert!(!pair.party(first).report().end);
                pair.party(other).close_write();
                pair.drive(schedule);
                assert!(pair.party(first).report().end);
                for side in Side::BOTH {
                    pair.party(side).close();
                }
                pair.drive(schedule);
                for side in Side::BOTH {
                    assert_eq!(pair.party(side).report().events.last(), Some(&Event::Closed));
                }
            }
        }
    });
}

#[test]
fn half_close_with_much_data_the_other_way() {
    versions(|setup| {
        let mut pair = setup.connected();
        pair.left.close_write();
        pair.settle();
        let data: Vec<u8> = (0..1_000_000u32).map(|i| (i / 251) as u8).collect();
        pair.send(Side::Right, &data);
        pair.right.close();
        pair.settle();
        assert!(pair.left.report().read == data && pair.left.report().end);
    });
}

#[test]
fn write_after_close_is_refused_and_changes_nothing() {
    versions(|setup| {
        for both in [false, true] {
            let mut pair = setup.connected();
            pair.left.write(b"before");
            if both {
                pair.left.close()
            } else {
                pair.left.close_write()
            }
            for data in [&b"after"[..], b""] {
                let error = pair.left.with(|p| p.plain_write(data)).unwrap_err();
                assert_eq!(error.kind(), &ErrorKind::Misuse(Misuse::WriteAfterClose));
                assert_eq!(error.fault(), Fault::Local);
            }
            assert_eq!(pair.left.error(), None);
            pair.settle();
            assert_eq!(pair.right.report().read, b"before");
            assert!(pair.right.report().end);
            pair.send(Side::Right, b"still read");
            assert_eq!(pair.left.report().read, b"still read");
        }
    });
}

/// Closing again, in any order, sends nothing again.
#[test]
fn close_twice_is_close_once() {
    versions(|setup| {
        let wire = |calls: &[fn(&mut Machine<Nested>)]| {
            let mut pair = setup.connected();
            for call in calls {
                call(&mut pair.left);
                pair.settle();
            }
            for call in calls {
                call(&mut pair.left);
            }
            pair.settle();
            pair.right.close();
            pair.settle();
            assert_eq!(pair.left.ports.phase(), Phase::Closed);
            let info = |layer| pair.left.ports.layer(layer).unwrap().records_out;
            (info(OUTER), info(INNER))
        };
        let half: fn(&mut Machine<Nested>) = |m| m.close_write();
        let whole: fn(&mut Machine<Nested>) = |m| m.close();
        // One close_notify inside; outside it makes a record of its own when it leaves first.
        let once = wire(&[whole]);
        assert_eq!(wire(&[whole, whole, half]), once);
        let apart = wire(&[half, whole]);
        assert_eq!(apart.1, once.1);
        assert_eq!(wire(&[half, half, whole, half, whole]), apart);
    });
}

#[test]
fn data_behind_the_peer_s_close_is_nobody_s() {
    versions(|setup| {
        let mut pair = against_glued(setup);
        pair.right.with(|outer, inner| {
            use std::io::Write;
            inner.send_close_notify();
            let mut bytes = Vec::new();
            while inner.wants_write() {
                inner.write_tls(&mut bytes).unwrap();
            }
            // Anything, whole records or not, also a close_notify again.
            bytes.extend_from_slice(&bytes.clone());
            bytes.extend_from_slice(&[23, 3, 3, 0, 2, 1, 1, 0xff]);
            outer.writer().write_all(&bytes).unwrap();
        });
        pair.settle();
        assert_eq!(pair.left.error(), None);
        assert!(pair.left.report().end);
        assert_eq!(pair.left.report().read, b"");
        // And behind the outer close.
        pair.right.close();
        let mut bytes = Vec::new();
        while let more @ [_, ..] = &pair.right.transmit(usize::MAX)[..] {
            bytes.extend_from_slice(more);
        }
        bytes.extend_from_slice(&[0xee; 1000]);
        pair.left.receive(&bytes);
        pair.left.close();
        assert_eq!(pair.left.error(), None);
        assert_eq!(pair.left.ports.phase(), Phase::Closed);
        pair.left.transmit_all();
        assert_eq!(pair.left.ports.buffered(), 0, "nor is it kept");
    });
}

#[test]
fn a_close_before_the_handshakes_end_cancels_them() {
    all(|setup| {
        // After any number of steps.
        for steps in 0..8 {
            let mut pair = setup.pair();
            for _ in 0..steps {
                pair.step(&mut Whole);
            }
            if pair.left.has(Event::Established(INNER)) {
                continue;
            }
            pair.left.close();
            let error = pair.left.error().unwrap();
            assert_eq!((error.kind(), error.fault()), (&ErrorKind::Canceled, Fault::Local));
            pair.settle();
            pair.hang_up();
            let told = pair.right.error().unwrap();
            assert!(!pair.right.report().end);
            assert!(told.kind() == &ErrorKind::Truncated || told.alert_received().is_some());
        }
    });
}

#[test]
fn a_half_close_before_the_handshakes_end_waits_for_it() {
    all(|setup| {
        for steps in 0..6 {
            let mut pair = setup.pair();
            for _ in 0..steps {
                pair.step(&mut Whole);
            }
            pair.left.close_write();
            pair.settle();
            pair.assert_read_end();
            pair.send(Side::Right, b"the other way");
            assert_eq!(pair.left.report().read, b"the other way");
        }
    });
}

impl Pair<Machine<Nested>, Machine<Nested>> {
    fn assert_read_end(&mut self) {
        for side in Side::BOTH {
            assert_eq!(self.party(side).report().failure, None, "{side:?}");
        }
        assert!(self.right.report().end && self.right.report().read.is_empty());
    }
}

/// Failures before, in and after each handshake: each names the layer and the phase, and leaves
/// nothing to wait for.
#[test]
fn failures_name_the_layer_and_the_phase() {
    use Phase::{InnerHandshake, OuterHandshake, Traffic};
    versions(|setup| {
        let garbage = [0x47; 60];
        // Before the outer handshake.
        let mut left = setup.nested(Side::Left);
        left.receive(&garbage);
        let place = |m: &Machine<Nested>| m.error().map(|e| (e.layer(), e.phase()));
        assert_eq!(place(&left), Some((OUTER, OuterHandshake)));
        // In it.
        let mut pair = setup.pair();
        pair.transmit(Side::Left, &mut Whole);
        pair.deliver(Side::Left, &mut Whole);
        pair.transmit(Side::Right, &mut Whole);
        pair.deliver(Side::Right, &mut Bytes(200));
        pair.left.receive(&garbage.repeat(300));
        assert_eq!(place(&pair.left), Some((OUTER, OuterHandshake)));
        // Behind it, in the inner one: on the wire, and by the host.
        let half = |garbage: &[u8]| {
            let mut pair = Pair::new(setup.nested(Side::Left), setup.session(Side::Right));
            pair.settle();
            pair.right.write(garbage);
            pair.settle();
            pair
        };
        let mut pair = half(b"");
        assert_eq!(pair.left.ports.phase(), InnerHandshake);
        pair.left.receive(&garbage);
        assert_eq!(place(&pair.left), Some((OUTER, InnerHandshake)));
        let pair = half(&garbage);
        assert_eq!(place(&pair.left), Some((INNER, InnerHandshake)));
        assert!(pair.right.has(Event::PeerClosed(OUTER)), "the host is told");
        // Behind both.
        let mut pair = setup.connected();
        pair.left.receive(&garbage);
        assert_eq!(place(&pair.left), Some((OUTER, Traffic)));
        let mut pair = against_glued(setup);
        pair.right
            .with(|outer, _| std::io::Write::write_all(&mut outer.writer(), &garbage).unwrap());
        pair.settle();
        assert_eq!(place(&pair.left), Some((INNER, Traffic)));
        let told = pair.right.report().failure.as_ref().unwrap();
        assert_eq!((told.layer, &told.what[..]), (INNER, "AlertReceived(UnexpectedMessage)"));
    });
}

/// A failed outer layer takes the inner one with it, and nothing of it leaves any more (I6).
#[test]
fn a_failed_outer_layer_carries_nothing_of_the_inner() {
    versions(|setup| {
        let mut pair = setup.connected();
        let before = pair.left.ports.layer(OUTER).unwrap().records_out;
        pair.left.write(&[1; 5000]);
        pair.left.receive(&[0x47; 60]);
        assert_eq!(pair.left.error().unwrap().layer(), OUTER);
        let refused = pair.left.with(|ports| ports.update_keys(INNER, false)).unwrap_err();
        assert_eq!(refused.kind(), pair.left.error().unwrap().kind());
        assert_eq!(
            pair.left.ports.layer(OUTER).unwrap().records_out,
            before + 1,
            "the alert alone"
        );
        pair.settle();
        assert_eq!(pair.right.report().read, b"");
        assert_eq!(pair.right.error().unwrap().layer(), OUTER);
        assert!(pair.right.error().unwrap().alert_received().is_some());
    });
}

#[test]
fn what_was_received_before_a_failure_can_be_read() {
    versions(|setup| {
        let mut pair = setup.connected();
        pair.stopped.0 = true;
        pair.send(Side::Right, b"good as ever");
        pair.left.receive(&[0x47; 60]);
        assert!(pair.left.error().is_some());
        assert_eq!(pair.left.read_all(), b"good as ever");
        // Also an end that had come.
        let mut pair = setup.connected();
        pair.stopped.0 = true;
        pair.right.write(b"complete");
        pair.right.close_write();
        pair.settle();
        pair.left.receive(&[0x47; 60]);
        assert_eq!(pair.left.error().unwrap().layer(), OUTER);
        assert_eq!(pair.left.read_all(), b"complete");
        assert!(pair.left.report().end);
    });
}

/// A session on its own ends by the same rules.
#[test]
fn a_session_alone() {
    for version in Version::ALL {
        let setup = Setup::new(version, version, crate::support::setup::Mix::ClientClient);
        let connect = || {
            let mut pair = Pair::new(setup.session(Side::Left), setup.session(Side::Right));
            pair.settle();
            pair
        };
        let mut pair = connect();
        pair.left.write(b"half");
        pair.hang_up();
        let error = pair.right.error().unwrap();
        assert_eq!((error.layer(), error.kind()), (OUTER, &ErrorKind::Truncated));
        assert!(!pair.right.report().end);
        let mut pair = connect();
        assert_eq!([pair.left.ports.phase(), pair.right.ports.phase()], [Phase::Preamble; 2]);
        pair.left.close_write();
        pair.left.close_write();
        pair.left.close();
        pair.settle();
        assert_eq!([pair.left.ports.phase(), pair.right.ports.phase()], [Phase::Closing; 2]);
        pair.send(Side::Right, b"the other way");
        assert_eq!(pair.left.report().read, b"the other way");
        pair.right.close();
        pair.hang_up();
        for side in Side::BOTH {
            assert_eq!(pair.party(side).report().events.last(), Some(&Event::Closed));
        }
        assert_eq!([pair.left.ports.phase(), pair.right.ports.phase()], [Phase::Closed; 2]);
        // A half-close before the handshake's end waits for it.
        let mut pair = Pair::new(setup.session(Side::Left), setup.session(Side::Right));
        pair.left.close_write();
        pair.right.close_write();
        pair.settle();
        for side in Side::BOTH {
            assert_eq!(pair.party(side).report().failure, None, "{side:?}");
            assert_eq!(pair.party(side).report().events.last(), Some(&Event::Closed));
        }
        // A client that hangs up in the handshake.
        let mut left = setup.session(Side::Left);
        left.close();
        assert_eq!(left.error().unwrap().kind(), &ErrorKind::Canceled);
    }
}
