//! Plaintext of the outer layer before, behind and between inner layers (I8).

use std::io::{Read, Write};

use nested_tls::*;

use crate::support::crypto::Rng;
use crate::support::glued;
use crate::support::pair::Pair;
use crate::support::party::{Machine, Party};
use crate::support::schedule::{Bytes, Random, Schedule, Told, Whole};
use crate::support::setup::{Setup, Side};

/// Both sides inside, whatever stands on the wires.
fn nest(
    pair: Pair<Machine<Session>, Machine<Session>>,
    setup: &Setup,
) -> Pair<Machine<Nested>, Machine<Nested>> {
    let Pair { left, right, .. } = pair;
    let nest = |machine: Machine<Session>, side| {
        machine.map(|s| s.nest(setup.inner_end(side).role(), Direct).unwrap())
    };
    Pair::new(nest(left, Side::Left), nest(right, Side::Right))
}

fn sessions(setup: &Setup) -> Pair<Machine<Session>, Machine<Session>> {
    Pair::new(setup.session(Side::Left), setup.session(Side::Right))
}

fn into_outer(
    pair: Pair<Machine<Nested>, Machine<Nested>>,
) -> Pair<Machine<Session>, Machine<Session>> {
    Pair::new(
        pair.left.map(|n| n.into_outer().unwrap()),
        pair.right.map(|n| n.into_outer().unwrap()),
    )
}

#[test]
fn a_host_is_asked_before_the_inner_layer_begins() {
    for setup in Setup::all() {
        let _told = Told::new(setup);
        let mut pair = sessions(&setup);
        pair.send(Side::Left, b"CONNECT hsm.test:2223\r\n\r\n");
        assert_eq!(pair.right.report().read, b"CONNECT hsm.test:2223\r\n\r\n");
        pair.send(Side::Right, b"200\r\n\r\n");
        assert_eq!(pair.left.ports.phase(), Phase::Preamble);
        let mut pair = nest(pair, &setup);
        pair.settle();
        pair.assert_established();
        pair.send(Side::Left, b"inside");
        assert_eq!(pair.right.report().read, b"CONNECT hsm.test:2223\r\n\r\ninside");
    }
}

#[test]
fn a_session_alone_is_a_tls_connection() {
    for setup in Setup::versions() {
        let mut pair = sessions(&setup);
        let data = Rng(1).bytes(200_000);
        pair.send_by(Side::Left, &data, &mut Random::new(5));
        assert_eq!(pair.right.report().read, data);
        pair.left.close();
        pair.right.close();
        pair.settle();
        for side in Side::BOTH {
            assert!(pair.party(side).report().end);
            assert_eq!(pair.party(side).report().events.last(), Some(&Event::Closed));
        }
    }
}

/// A preamble and the inner layer's first bytes in one outer record, with the user reading only up
/// to the preamble's end, or not at all.
#[test]
fn leftovers_of_the_same_record_go_to_the_inner_layer() {
    let setup = Setup { mutual: false, ..Setup::default() };
    for late in [false, true] {
        let mut outer = glued::connection(&setup.outer_end(Side::Left));
        let mut inner = glued::connection(&setup.inner_end(Side::Left));
        let mut right = setup.session(Side::Right);
        let exchange = |outer: &mut rustls::Connection, right: &mut dyn Party| {
            let mut bytes = Vec::new();
            while outer.wants_write() {
                outer.write_tls(&mut bytes).unwrap();
            }
            right.receive(&bytes);
            while let bytes @ [_, ..] = &right.transmit(usize::MAX)[..] {
                outer.read_tls(&mut &bytes[..]).unwrap();
                outer.process_new_packets().unwrap();
            }
        };
        for _ in 0..3 {
            exchange(&mut outer, &mut right);
        }
        let mut first = b"hello".to_vec();
        inner.write_tls(&mut first).unwrap();
        outer.writer().write_all(&first).unwrap();
        exchange(&mut outer, &mut right);
        assert_eq!(right.read(5), 5);
        assert_eq!(right.report().read, b"hello");
        assert!(right.ports.readiness().plain_out, "what follows can be seen");
        let mut right = right.map(|s| s.nest(setup.inner_end(Side::Right).role(), Direct).unwrap());
        if late {
            exchange(&mut outer, &mut right);
        }
        while inner.is_handshaking() || !right.has(Event::Established(Layer::Inner)) {
            exchange(&mut outer, &mut right);
            let mut carried = [0; 20_000];
            let n = outer.reader().read(&mut carried).unwrap_or(0);
            inner.read_tls(&mut &carried[..n]).unwrap();
            inner.process_new_packets().unwrap();
            let mut sealed = Vec::new();
            while inner.wants_write() {
                inner.write_tls(&mut sealed).unwrap();
            }
            outer.writer().write_all(&sealed).unwrap();
        }
    }
}

#[test]
fn leftovers_may_be_whole_inner_flights() {
    // The right side does not nest until everything that can come has come.
    let setup = Setup::default();
    let (left, right) = (setup.nested(Side::Left), setup.session(Side::Right));
    let mut pair = Pair::new(left, right);
    pair.stopped.1 = true;
    pair.settle();
    assert_eq!(pair.left.ports.phase(), Phase::InnerHandshake);
    let Pair { left, right, .. } = pair;
    assert!(right.ports.readiness().plain_out);
    let right = right.map(|s| s.nest(setup.inner_end(Side::Right).role(), Direct).unwrap());
    let mut pair = Pair::new(left, right);
    pair.settle();
    pair.assert_established();
}

#[test]
fn nonsense_left_over_is_an_error_whose_alert_still_leaves() {
    let setup = Setup { mix: crate::support::setup::Mix::ServerServer, ..Setup::default() };
    let mut pair = sessions(&setup);
    pair.stopped.0 = true;
    pair.send(Side::Right, b"GET / HTTP/1.1\r\n\r\n");
    let Pair { left, mut right, .. } = pair;
    let mut left = left.map(|s| s.nest(setup.inner_end(Side::Left).role(), Direct).unwrap());
    let error = left.error().unwrap().clone();
    assert_eq!((error.layer(), error.phase()), (Layer::Inner, Phase::InnerHandshake));
    let mut bytes = Vec::new();
    while let more @ [_, ..] = &left.transmit(usize::MAX)[..] {
        bytes.extend_from_slice(more);
    }
    right.receive(&bytes);
    assert_eq!(right.read_all()[..2], [21, 3], "an alert in the inner layer");
    assert!(right.has(Event::PeerClosed(Layer::Outer)));
}

#[test]
fn the_outer_layer_comes_back_and_can_be_nested_in_again() {
    for setup in Setup::all() {
        for schedule in [&mut Whole as &mut dyn Schedule, &mut Bytes(500), &mut Random::new(9)] {
            let _told = Told::new(setup);
            let mut pair = nest(sessions(&setup), &setup);
            pair.drive(schedule);
            pair.send_by(Side::Left, b"one,", schedule);
            pair.left.close_write();
            pair.right.close_write();
            pair.drive(schedule);
            for side in Side::BOTH {
                assert!(pair.party(side).report().end);
            }
            let mut pair = into_outer(pair);
            assert_eq!(pair.left.ports.phase(), Phase::Preamble);
            pair.send_by(Side::Left, b"two,", schedule);
            pair.send_by(Side::Right, b"back", schedule);
            let mut pair = nest(pair, &setup);
            pair.drive(schedule);
            pair.assert_established();
            pair.send_by(Side::Left, b"three", schedule);
            assert_eq!(pair.right.report().read, b"one,two,three");
            assert_eq!(pair.left.report().read, b"back");
            pair.left.close();
            pair.right.close();
            pair.drive(schedule);
            assert_eq!(pair.left.ports.phase(), Phase::Closed);
        }
    }
}

/// The inner close_notify and outer plaintext behind it, in one outer record: nothing is lost and
/// nothing comes twice, however it was split.
#[test]
fn what_stands_behind_the_inner_end_is_outer_plaintext() {
    let setup = Setup::default();
    // With 30, the host's words begin in the inner layer's last record and end in another.
    for size in [1, 7, 30, 40, 10_000] {
        let mut pair = Pair::new(setup.nested(Side::Left), setup.glued(Side::Right));
        pair.settle();
        pair.left.close_write();
        pair.settle();
        pair.right.with(|outer, inner| {
            inner.writer().write_all(b"last words").unwrap();
            inner.send_close_notify();
            let mut bytes = Vec::new();
            while inner.wants_write() {
                inner.write_tls(&mut bytes).unwrap();
            }
            bytes.extend_from_slice(b"from the host");
            for chunk in bytes.chunks(size) {
                outer.writer().write_all(chunk).unwrap();
            }
        });
        pair.settle();
        assert_eq!(pair.left.report().read, b"last words");
        let mut left = pair.left.map(|n| n.into_outer().unwrap());
        assert_eq!(left.read_all(), b"from the host");
        assert_eq!(left.ports.buffered(), 0);
        assert_eq!(left.write(b"and back"), 8);
    }
}

#[test]
fn the_outer_layer_does_not_come_back_too_early() {
    let setup = Setup::default();
    let refused = |machine: Machine<Nested>| {
        let phase = machine.ports.phase();
        machine.map(|n| {
            let back = *n.into_outer().unwrap_err();
            assert_eq!(back.phase(), phase);
            back
        })
    };
    let pair = setup.pair();
    let mut pair = Pair::new(refused(pair.left), refused(pair.right));
    pair.settle();
    let mut pair = Pair::new(refused(pair.left), refused(pair.right));
    pair.left.close_write();
    pair.settle();
    // One side has closed the inner layer.
    let mut pair = Pair::new(refused(pair.left), refused(pair.right));
    pair.stopped.0 = true;
    pair.send(Side::Right, b"unread");
    pair.right.close_write();
    pair.settle();
    // Both have, but something is unread.
    let Pair { left, right, .. } = pair;
    let mut left = refused(left);
    assert_eq!(left.read_all(), b"unread");
    let pair =
        Pair::new(left.map(|n| n.into_outer().unwrap()), right.map(|n| n.into_outer().unwrap()));
    // And not after both layers were closed, or after a failure.
    let mut pair = nest(pair, &setup);
    pair.settle();
    pair.left.close();
    pair.right.close_write();
    pair.settle();
    refused(pair.left);
    let mut failed = setup.nested(Side::Left);
    failed.eof();
    refused(failed);
}

#[test]
fn a_closed_session_takes_no_inner_layer() {
    let setup = Setup::default();
    for established in [false, true] {
        let mut pair = sessions(&setup);
        if established {
            pair.settle();
        }
        pair.left.close_write();
        pair.left.map(|session| {
            let error = session.nest(setup.inner_end(Side::Left).role(), Direct).unwrap_err();
            assert_eq!(error.kind(), &ErrorKind::Misuse(Misuse::WriteAfterClose));
            setup.session(Side::Left).ports
        });
    }
}
