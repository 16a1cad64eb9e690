//! What an outer server says to early data before the client's Finished has come.

use nested_tls::*;

use super::{asking, early, outer, records, server, warm};
use crate::resumption::{Clock, LAST_MINUTE, ends, machines};
use crate::support::party::Party;
use crate::support::pki::{self, Version};
use crate::support::schedule::{Told, Whole};
use crate::support::setup::Side;

/// rustls is asked to seal an answer only where it has seen no part of a message.
#[test]
fn an_answer_waits_for_the_end_of_a_message() {
    // The client's Finished takes two records.
    let mut config = pki::outer().client(Version::Tls13);
    config.max_fragment_size = Some(32);
    let asking = asking(config, pki::outer().server_rule());
    let outer = (asking, server(pki::outer().server(Version::Tls13)));
    let inner = ends(pki::inner(), Version::Tls13, false);
    warm(&outer, &inner);
    let mut lasts = 0;
    for behind in 0..=3 {
        let _told = Told::new(behind);
        let mut pair = machines(&outer, &inner, 1 + behind as u64);
        pair.transmit(Side::Left, &mut Whole);
        let flight = records(&pair.to_right.steal());
        let hello = flight.iter().position(|record| record[0] == 23).unwrap();
        pair.to_right.inject(&flight[..hello].concat());
        pair.deliver(Side::Left, &mut Whole);
        pair.transmit(Side::Right, &mut Whole);
        pair.deliver(Side::Right, &mut Whole);
        // EndOfEarlyData and Finished, some of it together with the early data.
        pair.transmit(Side::Left, &mut Whole);
        let rest = records(&pair.to_right.steal());
        assert_eq!(rest.len(), 3);
        let first = [&flight[hello..], &rest[..behind]].concat();
        pair.to_right.inject(&first.concat());
        pair.deliver(Side::Left, &mut Whole);
        pair.transmit(Side::Right, &mut Whole);
        lasts += usize::from(pair.to_left.waiting() > 0);
        pair.to_right.inject(&rest[behind..].concat());
        pair.settle();
        pair.assert_established();
        assert_eq!(early(&pair), [true; 2]);
        pair.send(Side::Left, b"request");
        assert_eq!(pair.right.report().read, b"request");
    }
    assert_eq!(lasts, 3, "only the middle of Finished makes an answer wait");
}

/// What was said of a session when early data came holds for the rest of the handshake.
#[test]
fn a_session_is_judged_once() {
    let clock = Clock::at(LAST_MINUTE);
    let mut config = pki::outer().server(Version::Tls13);
    config.time_provider = std::sync::Arc::new(clock.clone());
    let mut client = pki::outer().client(Version::Tls13);
    client.time_provider = std::sync::Arc::new(Clock::at(LAST_MINUTE));
    let outer = (asking(client, pki::outer().server_rule()), server(config));
    let inner = ends(pki::inner(), Version::Tls13, false);
    warm(&outer, &inner);
    for expires in [false, true] {
        let mut pair = machines(&outer, &inner, 1);
        for side in Side::BOTH {
            pair.transmit(side, &mut Whole);
            pair.deliver(side, &mut Whole);
        }
        if expires {
            clock.forward(120);
        }
        pair.settle();
        pair.assert_established();
        assert_eq!(early(&pair), [true; 2]);
    }
    // The next one is judged as of now.
    let mut pair = machines(&outer, &inner, 2);
    pair.settle();
    assert!(pair.right.error().is_some());
}

#[test]
fn early_records_count_like_others() {
    let (outer, inner) = (outer(), ends(pki::inner(), Version::Tls13, false));
    warm(&outer, &inner);
    let mut pair = machines(&outer, &inner, 1);
    pair.settle();
    assert_eq!(early(&pair), [true; 2]);
    for (party, wire) in [(&pair.left, &pair.to_right), (&pair.right, &pair.to_left)] {
        let info = party.ports.layer(Layer::Outer).unwrap();
        assert_eq!(info.records_out, records(&wire.transcript).len() as u64);
        assert_eq!(info.bytes_out, wire.transcript.len() as u64);
    }
}
