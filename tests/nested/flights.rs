//! How many flights a handshake takes.

use nested_tls::*;

use crate::support::pair::Pair;
use crate::support::party::Party;
use crate::support::pki::Version;
use crate::support::schedule::{Coalesced, Whole};
use crate::support::setup::{Mix, Setup, Side};

/// The outermost records of `bytes`: type and length.
fn records(mut bytes: &[u8]) -> Vec<(u8, usize)> {
    let mut records = Vec::new();
    while let [typ, _, _, high, low, rest @ ..] = bytes {
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        records.push((*typ, len));
        bytes = &rest[len..];
    }
    records
}

#[test]
fn two_round_trips_make_both_handshakes() {
    // Tickets come later and are no part of the handshake.
    let setup = Setup { tickets: 0, ..Setup::default() };
    let mut pair = setup.pair();
    for round in 1..=2 {
        assert!(!pair.left.has(Event::Established(Layer::Inner)));
        for side in Side::BOTH {
            assert!(pair.transmit(side, &mut Whole));
            assert!(pair.deliver(side, &mut Whole), "round trip {round}, {side:?}");
            assert_eq!(pair.wire(side).waiting(), 0);
        }
    }
    // After exactly two round trips the client can write, and its data leaves with its last flight.
    assert!(pair.left.has(Event::Established(Layer::Inner)));
    assert_eq!(pair.left.write(b"request"), 7);
    pair.settle();
    pair.assert_established();
    assert_eq!(pair.right.report().read, b"request");
    assert_eq!((pair.to_right.flights.len(), pair.to_left.flights.len()), (3, 2));
}

#[test]
fn the_inner_hello_leaves_with_the_outer_finished() {
    let setup = Setup { tickets: 0, ..Setup::default() };
    let mut pair = setup.pair();
    pair.drive(&mut Coalesced::default());
    let second = &pair.to_right.transcript[pair.to_right.flights[1].clone()];
    let mut records = records(second);
    // ChangeCipherSpec for middle boxes, then Certificate, CertificateVerify and Finished.
    assert_eq!(records.remove(0), (20, 1));
    let hello = records.pop().unwrap();
    assert_eq!(hello.0, 23);
    assert_eq!(
        pair.left.ports.layer(Layer::Inner).unwrap().version,
        Some(rustls::ProtocolVersion::TLSv1_3)
    );
    // Type, length, tag: what is left is the inner record.
    let plain = hello.1 - 17;
    let inner = setup.nested(Side::Left).ports.layer(Layer::Inner).unwrap().bytes_out as usize;
    assert_eq!(plain, inner);
}

#[test]
fn nesting_after_the_outer_handshake_costs_no_flight() {
    let setup = Setup { tickets: 0, ..Setup::default() };
    let (mut left, right) = (setup.session(Side::Left), setup.nested(Side::Right));
    let mut pair = Pair::new(setup.session(Side::Left), right);
    // The client alone first: one round trip.
    for side in Side::BOTH {
        pair.transmit(side, &mut Whole);
        pair.deliver(side, &mut Whole);
    }
    assert!(pair.left.has(Event::Established(Layer::Outer)));
    std::mem::swap(&mut left, &mut pair.left);
    let nested = left.map(|s| s.nest(setup.inner_end(Side::Left).role(), Direct).unwrap());
    let Pair { right, to_right, .. } = pair;
    let mut pair = Pair::new(nested, right);
    let begun = to_right.flights.len();
    pair.settle();
    pair.assert_established();
    assert_eq!(begun + pair.to_right.flights.len(), 3);
}

#[test]
fn flights_of_every_version_and_role() {
    for setup in Setup::all() {
        let setup = Setup { tickets: 0, ..setup };
        let mut pair = setup.pair();
        pair.drive(&mut Coalesced::default());
        pair.assert_established();
        let flights = pair.to_right.flights.len() + pair.to_left.flights.len();
        let of = |version| if version == Version::Tls13 { 3 } else { 4 };
        // Where one side ends the outer handshake and begins the inner one, both share a flight.
        let same = matches!(setup.mix, Mix::ClientClient | Mix::ServerServer);
        let outer_client_ends = setup.outer == Version::Tls13;
        let shared = usize::from(same == outer_client_ends);
        assert_eq!(flights, of(setup.outer) + of(setup.inner) - shared, "{setup:?}");
    }
}
