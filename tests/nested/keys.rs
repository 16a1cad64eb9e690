//! Keys that change: in data, on idle links, in handshakes, and before they are used up.

use nested_tls::*;

use super::faults::rogue::Rogue;
use crate::support::crypto::Rng;
use crate::support::hostile::{self, DATA, HANDSHAKE, Hostile};
use crate::support::limited::{alive, with_limit};
use crate::support::pair::Pair;
use crate::support::party::Party;
use crate::support::pki::Version;
use crate::support::schedule::{Random, Schedule, Told, Whole};
use crate::support::setup::{Mix, Setup, Side};

const LAYERS: [Layer; 2] = [Layer::Outer, Layer::Inner];

fn tls13() -> impl Iterator<Item = Setup> {
    Mix::ALL.into_iter().map(|mix| Setup::new(Version::Tls13, Version::Tls13, mix))
}

/// Both layers, both ways, asked for or not, in the middle of data and of tickets.
fn talk<A: Party, B: Party>(mut pair: Pair<A, B>, seed: u64, schedule: &mut dyn Schedule) {
    let mut rng = Rng(seed);
    let mut sent = [Vec::new(), Vec::new()];
    pair.drive(schedule);
    for _ in 0..30 {
        let side = Side::BOTH[rng.below(2)];
        let layer = LAYERS[rng.below(2)];
        pair.party(side).update_keys(layer, rng.below(2) == 0);
        if rng.below(3) == 0 {
            // Before anything of it has arrived, the other side wants the same.
            pair.party(side.other()).update_keys(layer, true);
        }
        let len = rng.below(300);
        let data = rng.bytes(len);
        pair.send_by(side, &data, schedule);
        sent[side as usize].extend(data);
    }
    pair.drive(schedule);
    for side in Side::BOTH {
        assert_eq!(pair.party(side).report().failure, None, "{side:?}");
        assert!(pair.party(side).report().read == sent[side.other() as usize], "{side:?}");
    }
}

#[test]
fn keys_change_in_the_middle_of_data() {
    for (seed, setup) in tls13().enumerate() {
        let seed = seed as u64;
        let setup = Setup { tickets: 4, ..setup };
        let _told = Told::new(setup);
        talk(setup.pair(), seed, &mut Whole);
        talk(setup.pair(), seed, &mut Random::new(seed));
        for side in Side::BOTH {
            talk(setup.against_glued(side), seed, &mut Whole);
        }
    }
}

#[test]
fn an_idle_link_answers_once() {
    for setup in tls13() {
        for layer in LAYERS {
            let _told = Told::new((setup, layer));
            let mut pair = setup.connected();
            let out = |pair: &Pair<crate::support::party::Machine<Nested>, _>| {
                pair.left.ports.layer(layer).unwrap().records_out
            };
            let before = out(&pair);
            pair.right.update_keys(layer, true);
            assert!(pair.right.ports.readiness().wire_out);
            pair.transmit(Side::Right, &mut Whole);
            pair.deliver(Side::Right, &mut Whole);
            assert!(pair.left.ports.readiness().wire_out, "the answer is offered");
            pair.settle();
            assert!(
                !pair.left.ports.readiness().wire_out && !pair.right.ports.readiness().wire_out
            );
            assert_eq!(out(&pair), before + 1, "one answer");
            pair.send(Side::Left, b"new keys");
            pair.send(Side::Right, b"both ways");
            assert_eq!(pair.right.report().read, b"new keys");
            assert_eq!(pair.left.report().read, b"both ways");
        }
    }
}

#[test]
fn the_outer_keys_change_while_the_inner_layer_shakes_hands() {
    for inner in Version::ALL {
        for mix in Mix::ALL {
            let setup = Setup::new(Version::Tls13, inner, mix);
            let _told = Told::new(setup);
            let mut pair = setup.pair();
            let mut updates = 0;
            loop {
                for machine in [&mut pair.left, &mut pair.right] {
                    let (outer, inner) = (Event::Established(Layer::Outer), Layer::Inner);
                    if machine.has(outer) && !machine.has(Event::Established(inner)) {
                        machine.update_keys(Layer::Outer, true);
                        updates += 1;
                    }
                }
                if !pair.step(&mut Whole) {
                    break;
                }
            }
            pair.assert_established();
            assert!(updates > 1, "{updates}");
            pair.send(Side::Left, b"as ever");
            assert_eq!(pair.right.report().read, b"as ever");
        }
    }
}

/// Data, a KeyUpdate and tickets in one segment with the last flight of the handshake, or in any
/// pieces of it.
#[test]
fn what_follows_the_handshake_at_once_is_taken_over() {
    for (version, mix) in [
        (Version::Tls13, Mix::ServerServer),
        (Version::Tls12, Mix::ClientClient),
        (Version::Tls12, Mix::ServerServer),
        (Version::Tls13, Mix::ClientClient),
    ] {
        for size in [1, 2, 7, 100, usize::MAX] {
            let setup = Setup { tickets: 0, ..Setup::new(version, version, mix) };
            let _told = Told::new((setup, size));
            let mut left = setup.session(Side::Left);
            let mut peer = Hostile::new(5, &setup.outer_end(Side::Right));
            let mut done = false;
            while !done {
                let mut bytes = peer.take();
                done = !peer.is_handshaking();
                if done {
                    if version == Version::Tls13 {
                        if mix == Mix::ClientClient {
                            let tickets = [hostile::ticket(90), hostile::ticket(900)].concat();
                            for piece in tickets.chunks(333) {
                                bytes.extend(peer.seal(HANDSHAKE, piece));
                            }
                        }
                        bytes.extend(peer.seal(HANDSHAKE, &hostile::KEY_UPDATE_REQUESTED));
                        peer.update_tx();
                    }
                    bytes.extend(peer.seal(DATA, b"at once"));
                }
                for piece in bytes.chunks(size.min(bytes.len()).max(1)) {
                    left.receive(piece);
                }
                left.read_all();
                let mut answer = Vec::new();
                while let more @ [_, ..] = &left.transmit(usize::MAX)[..] {
                    answer.extend_from_slice(more);
                }
                if !done {
                    peer.handshake(&answer);
                }
            }
            assert_eq!(left.error(), None);
            assert_eq!(left.report().read, b"at once");
        }
    }
}

#[test]
fn keys_change_before_they_are_used_up() {
    for limit in [8, 10, 50] {
        for setup in tls13() {
            let _told = Told::new((setup, limit));
            // The handshake's keys have their few records, too.
            let setup = Setup { tickets: 1, mutual: false, ..setup };
            let left = with_limit(limit, || setup.nested(Side::Left));
            let mut pair = Pair::new(left, setup.nested(Side::Right));
            pair.settle();
            pair.assert_established();
            let mut sent = Vec::new();
            for i in 0..200u8 {
                pair.send(Side::Left, &[i; 5]);
                sent.extend([i; 5]);
            }
            assert_eq!(pair.right.report().read, sent);
            assert_eq!(pair.left.error(), None);
            assert_eq!(alive(), 4, "one key each way, of each layer");
            pair.left.update_keys(Layer::Outer, true);
            pair.left.update_keys(Layer::Inner, true);
            pair.settle();
            assert_eq!(alive(), 4, "old keys are gone");
            drop(pair);
            assert_eq!(alive(), 0);
        }
    }
}

/// TLS 1.2 has no new keys: the layer ends by an alert before its key has sealed too much.
#[test]
fn a_key_without_successor_ends_its_layer() {
    for layer in LAYERS {
        let versions = if layer == Layer::Outer {
            (Version::Tls12, Version::Tls13)
        } else {
            (Version::Tls13, Version::Tls12)
        };
        for mix in Mix::ALL {
            let setup = Setup { tickets: 0, ..Setup::new(versions.0, versions.1, mix) };
            let _told = Told::new(setup);
            let left = with_limit(40, || setup.nested(Side::Left));
            let mut pair = Pair::new(left, setup.nested(Side::Right));
            pair.settle();
            pair.assert_established();
            let mut sent = Vec::new();
            for i in 0..100 {
                if pair.left.error().is_some() {
                    break;
                }
                if pair.left.write(&[i; 5]) == 5 {
                    sent.extend([i; 5]);
                }
                pair.settle();
            }
            let error = pair.left.error().expect("the key is used up");
            assert_eq!((error.layer(), error.fault()), (layer, Fault::Local));
            assert_eq!(error.kind(), &ErrorKind::Tls(rustls::Error::EncryptError));
            // The peer has most of it, and does not take it for all.
            let read = &pair.right.report().read;
            assert!(sent.starts_with(read) && read.len() > 30 * 5, "{} bytes", read.len());
            if layer == Layer::Inner {
                // Of 40 numbers, one was for Finished, and two are kept for alerts.
                assert_eq!(read.len(), 37 * 5);
            }
            assert!(!pair.right.report().end, "an end that is none");
            let told = pair.right.error().unwrap();
            assert_eq!(told.layer(), layer);
            assert_eq!(told.alert_received(), Some(rustls::AlertDescription::InternalError));
            drop(pair);
            assert_eq!(alive(), 0);
        }
    }
}

/// What was taken before is sealed under the keys before.
#[test]
fn inner_keys_change_behind_what_was_taken() {
    let (mut left, mut peer) = Rogue::connected(&Setup { tickets: 0, ..Setup::default() });
    assert_eq!(left.write(b"first"), 5);
    left.update_keys(Layer::Inner, false);
    let outer = peer.layer(Layer::Outer).open(&left.transmit_all());
    let inner: Vec<u8> = outer.into_iter().flat_map(|(_, payload)| payload).collect();
    let expected = [(DATA, b"first".to_vec()), (HANDSHAKE, hostile::KEY_UPDATE.to_vec())];
    assert_eq!(peer.layer(Layer::Inner).open(&inner), expected);
}

/// However often an inner peer asks that never reads, no more waits than the mark and one answer.
#[test]
fn an_inner_peer_that_asks_and_never_reads_gets_one_answer() {
    let limits = Limits { wire_out: 1000, ..Limits::default() };
    let setup = Setup { limits, tickets: 0, ..Setup::default() };
    let (mut left, mut peer) = Rogue::connected(&setup);
    assert_eq!(left.write(&[1; 1000]), 1000);
    for _ in 0..1000 {
        let asked = peer.on(Layer::Inner, |peer| {
            let asked = peer.seal(HANDSHAKE, &hostile::KEY_UPDATE_REQUESTED);
            peer.update_tx();
            [asked, peer.seal(DATA, b"x")].concat()
        });
        left.with(|ports| {
            ports.wire_in_from(&mut &asked[..]).unwrap();
            ports.plain_out_into(&mut Vec::new());
            let mut slices: [&[u8]; 4] = [&[]; 4];
            ports.wire_out_slices(&mut slices);
        });
    }
    let waiting = left.with(|ports| ports.buffered());
    assert!(waiting < 10_000, "{waiting} bytes wait");
}
