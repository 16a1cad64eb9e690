//! Limits: what a machine refuses, what it holds back, and that neither stops it (I4, I5).

use nested_tls::*;
use rustls::AlertDescription;

use super::faults::rogue::Rogue;
use crate::support::framings::{Bridge, Prefixed};
use crate::support::hostile::{self, ALERT, DATA, HANDSHAKE, Hostile};
use crate::support::pair::Pair;
use crate::support::party::{Machine, Party};
use crate::support::schedule::{Bytes, Coalesced, Schedule, Told, Whole};
use crate::support::setup::{Setup, Side};

/// A session on the left with a hostile peer, established.
fn session(setup: &Setup) -> (Machine<Session>, Hostile) {
    let mut left = setup.session(Side::Left);
    let mut peer = Hostile::new(5, &setup.outer_end(Side::Right));
    peer.connect(&mut |bytes| {
        left.receive(bytes);
        drain(&mut left)
    });
    (left, peer)
}

fn drain(party: &mut dyn Party) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let more @ [_, ..] = &party.transmit(usize::MAX)[..] {
        bytes.extend_from_slice(more);
    }
    bytes
}

#[test]
fn a_limit_of_nothing_is_one_of_one_byte() {
    let none = Limits { wire_in: 0, plaintext: 0, wire_out: 0, messages: 0, ..Limits::default() };
    for limits in [none, Limits { messages: 0, ..Limits::default() }] {
        for setup in Setup::versions() {
            let _told = Told::new((setup, limits));
            let mut pair = Setup { limits, ..setup }.connected();
            pair.send(Side::Left, b"there");
            pair.send(Side::Right, b"and back");
            assert_eq!(pair.right.report().read, b"there");
            assert_eq!(pair.left.report().read, b"and back");
        }
    }
}

/// The rest of a frame must be able to come, however little plaintext may wait.
#[test]
fn a_frame_may_be_longer_than_the_plaintext_that_may_wait() {
    let limits = Limits { plaintext: 100, ..Limits::default() };
    let setup = Setup { limits, ..Setup::default() };
    let left = setup.nested_in(Side::Left, Bridge);
    let mut pair = Pair::new(left, setup.session(Side::Right));
    pair.settle();
    let mut frame = 5000u32.to_be_bytes().to_vec();
    frame.resize(5004, 9);
    for piece in frame.chunks(150) {
        assert_eq!(pair.right.write(piece), piece.len());
        pair.settle();
    }
    assert_eq!(pair.left.ports.poll_message().unwrap(), [9; 5000][..]);
}

#[test]
fn closing_looks_at_what_it_makes_room_for() {
    let limits = Limits { plaintext: 100, ..Limits::default() };
    let setup = Setup { limits, ..Setup::default() };
    let mut pair = setup.connected();
    pair.left.close_write();
    pair.right.close_write();
    pair.settle();
    let mut pair = Pair::new(pair.left, pair.right.map(|n| n.into_outer().unwrap()));
    for _ in 0..3 {
        pair.right.write(&[1; 90]);
    }
    pair.right.close();
    let bytes = drain(&mut pair.right);
    assert_eq!(pair.left.receive(&bytes), bytes.len());
    assert!(!pair.left.has(Event::PeerClosed(Layer::Outer)), "outer plaintext waits");
    // Everything has come already.
    pair.left.close();
    assert!(pair.left.has(Event::PeerClosed(Layer::Outer)));
    assert_eq!(pair.left.ports.phase(), Phase::Closed);
}

/// A session takes in no record beyond its mark of plaintext, and takes on none beyond its mark
/// of output.
#[test]
fn a_session_alone_keeps_to_its_marks() {
    for plaintext in [90, 91] {
        let limits = Limits { plaintext, ..Limits::default() };
        let (mut left, mut peer) = session(&Setup { limits, ..Setup::default() });
        let records: Vec<_> = (0..3).map(|_| peer.seal(DATA, &[1; 90])).collect();
        left.receive(&records.concat());
        let taken = left.read_all().len();
        assert_eq!(taken, 3 * 90, "what came is read on as room is made");
        left.receive(&peer.seal(DATA, &[1; 90]));
        assert_eq!(left.ports.readiness().wire_in, plaintext > 90);
        let Plaintext::Bytes(bytes) = left.ports.plain_out() else { panic!() };
        assert_eq!(bytes.len(), 90);
        left.receive(&[peer.seal(DATA, &[1; 90]), peer.seal(DATA, &[1; 90])].concat());
        let Plaintext::Bytes(bytes) = left.ports.plain_out() else { panic!() };
        assert_eq!(bytes.len(), if plaintext > 90 { 180 } else { 90 });
    }
    let limits = Limits { wire_out: 20_000, ..Limits::default() };
    for (data, taken) in [(16_384, 16_384), (30_000, 30_000), (60_000, 32_768)] {
        let (mut left, _) = session(&Setup { limits, ..Setup::default() });
        assert_eq!(left.write(&vec![1; data]), taken);
    }
}

/// The record that goes beyond the mark takes the end of its write along, which fills no record.
#[test]
fn the_end_of_a_write_is_taken_with_the_last_record() {
    let limits = Limits { wire_out: 20_000, ..Limits::default() };
    let fragment = 16_384 - 5 - 1 - 16;
    for (data, taken) in [
        (2 * fragment, 2 * fragment),
        (2 * fragment + 100, 2 * fragment + 100),
        (3 * fragment - 1, 3 * fragment - 1),
        (3 * fragment, 2 * fragment),
        (3 * fragment + 100, 2 * fragment),
    ] {
        let mut pair = Setup { limits, ..Setup::default() }.connected();
        assert_eq!(pair.left.write(&vec![1; data]), taken);
        assert_eq!(pair.left.write(b"more"), 0);
    }
}

/// Nor does an inner layer open a record beyond its mark of plaintext, in one outer record or in
/// several.
#[test]
fn what_is_not_read_is_not_opened() {
    for (plaintext, opened) in [(89, 90), (90, 90), (91, 180)] {
        for together in [false, true] {
            let limits = Limits { plaintext, ..Limits::default() };
            let mut pair = Setup { limits, ..Setup::default() }.connected();
            let mut bytes = Vec::new();
            for _ in 0..3 {
                pair.right.write(&[1; 90]);
                if together {
                    // Seals what waits, and sends nothing.
                    pair.left.write(b"?");
                    let question = drain(&mut pair.left);
                    pair.right.receive(&question);
                } else {
                    bytes.extend(drain(&mut pair.right));
                }
            }
            bytes.extend(drain(&mut pair.right));
            pair.left.receive(&bytes);
            let Plaintext::Bytes(bytes) = pair.left.ports.plain_out() else { panic!() };
            assert_eq!(bytes.len(), opened);
            assert_eq!(pair.left.read_all().len(), 3 * 90);
        }
    }
}

/// What goes before a write (an answer, an inner layer's last records) takes room of its own.
#[test]
fn who_was_told_of_room_has_it() {
    for wire_out in 1..200 {
        let limits = Limits { wire_out, ..Limits::default() };
        let setup = Setup { limits, mutual: false, ..Setup::default() };
        let _told = Told::new(wire_out);
        let (mut left, mut peer) = session(&setup);
        left.receive(&peer.seal(HANDSHAKE, &hostile::KEY_UPDATE_REQUESTED));
        while left.ports.readiness().plain_write {
            assert_eq!(left.write(b"x"), 1);
        }
        assert_eq!(left.write(b"x"), 0);
    }
}

#[test]
fn a_peer_that_asks_and_never_reads_gets_one_answer() {
    // In a session, and inside: then the outer layer is in order.
    let setup = Setup::default();
    let (mut left, mut peer) = session(&setup);
    let limit = left.ports.limits().wire_out;
    for _ in 0..10_000 {
        let mut bytes = peer.seal(HANDSHAKE, &hostile::KEY_UPDATE_REQUESTED);
        peer.update_tx();
        bytes.extend(peer.seal(DATA, b"x"));
        left.with(|ports| {
            ports.wire_in_from(&mut &bytes[..]).unwrap();
            let mut plain = Vec::new();
            ports.plain_out_into(&mut plain);
            // As one who tries to write each time, and can't.
            let mut slices: [&[u8]; 4] = [&[]; 4];
            ports.wire_out_slices(&mut slices);
        });
    }
    let waiting = left.with(|ports| ports.buffered());
    assert!(waiting < limit + 10_000, "{waiting} bytes wait");
    // Whoever reads again gets an answer to everything.
    let records = peer.open(&drain(&mut left));
    let updates = records.iter().filter(|r| r.1 == hostile::KEY_UPDATE).count();
    assert!((1..10_000).contains(&updates), "{updates}");
    assert!(!left.ports.readiness().wire_out);
}

#[test]
fn key_updates_say_what_they_are() {
    for side in Side::BOTH {
        let _told = Told::new(side);
        let setup = Setup { tickets: 0, ..Setup::default() };
        let (mut left, mut peer) = if side == Side::Left {
            session(&setup)
        } else {
            session(&Setup { mix: crate::support::setup::Mix::ServerServer, ..setup })
        };
        // Asked for, and wanted: the answer is none that asks.
        let request = peer.seal(HANDSHAKE, &hostile::KEY_UPDATE_REQUESTED);
        peer.update_tx();
        left.receive(&request);
        left.update_keys(Layer::Outer, true);
        left.write(b"behind");
        let expected = [
            (HANDSHAKE, hostile::KEY_UPDATE.to_vec()),
            (HANDSHAKE, hostile::KEY_UPDATE_REQUESTED.to_vec()),
            (DATA, b"behind".to_vec()),
        ];
        assert_eq!(peer.open(&drain(&mut left)), expected);
        // Wanted often, made once; the answer to a request serves as what is wanted.
        for _ in 0..100 {
            left.update_keys(Layer::Outer, false);
        }
        let request = peer.seal(HANDSHAKE, &hostile::KEY_UPDATE_REQUESTED);
        peer.update_tx();
        left.receive(&request);
        assert!(left.ports.readiness().wire_out, "an idle link answers, too");
        let answer = [(HANDSHAKE, hostile::KEY_UPDATE.to_vec())];
        assert_eq!(peer.open(&drain(&mut left)), answer);
        assert!(!left.ports.readiness().wire_out);
        // Nothing of it after the end.
        left.close_write();
        let error = left.with(|s| s.update_keys(true)).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Misuse(Misuse::NotEstablished));
        let request = peer.seal(HANDSHAKE, &hostile::KEY_UPDATE_REQUESTED);
        left.receive(&request);
        assert_eq!(peer.open(&drain(&mut left)), [(ALERT, vec![1, 0])]);
    }
}

#[test]
fn nothing_is_said_behind_a_close_notify() {
    for setup in Setup::versions() {
        let (mut left, mut peer) = session(&Setup { tickets: 0, ..setup });
        left.close_write();
        left.receive(&[23, 3, 3, 0, 30, 1]);
        left.receive(&[7; 29]);
        assert!(left.error().is_some());
        assert_eq!(peer.open(&drain(&mut left)), [(ALERT, vec![1, 0])]);
    }
}

/// What `Limits` refuse in a handshake is told to the peer, whatever the layer.
#[test]
fn a_refused_handshake_has_an_alert() {
    for (record, handshake) in [(300, 83_972), (18_437, 300)] {
        for setup in Setup::all() {
            for schedule in [&mut Whole as &mut dyn Schedule, &mut Bytes(1)] {
                let _told = Told::new((setup, record, handshake));
                let limits = Limits { record, handshake, ..Limits::default() };
                let left = Setup { limits, ..setup }.nested(Side::Left);
                let mut pair = Pair::new(left, setup.nested(Side::Right));
                pair.drive(schedule);
                let Some(error) = pair.left.error() else {
                    // All it received was small enough, whole: the limit is on what is unfinished.
                    assert!(handshake < record);
                    continue;
                };
                match error.kind() {
                    ErrorKind::Tls(rustls::Error::PeerSentOversizedRecord) => {
                        assert!(record < handshake);
                    }
                    kind => assert!(matches!(kind, ErrorKind::Limit { .. }), "{kind:?}"),
                }
                let layer = error.layer();
                let told = pair.right.error().unwrap();
                assert_eq!(told.layer(), layer);
                let alert = told.alert_received().unwrap();
                // In the handshake rustls has but one for it.
                let alerts = [AlertDescription::DecodeError, AlertDescription::RecordOverflow];
                assert!(alerts.contains(&alert), "{told}");
            }
        }
    }
}

/// The limit on records is none on the messages that they carry.
#[test]
fn a_handshake_message_may_span_records_of_any_limit() {
    let limits = Limits { record: 300, ..Limits::default() };
    for setup in Setup::all() {
        for schedule in [&mut Whole as &mut dyn Schedule, &mut Bytes(1)] {
            let _told = Told::new(setup);
            let mut pair = Setup { limits, max_fragment_size: Some(200), ..setup }.pair();
            pair.drive(schedule);
            for link in [&pair.left, &pair.right] {
                assert!(link.error().is_none(), "{:?}", link.error());
                assert_eq!(link.ports.phase(), Phase::Traffic);
            }
        }
    }
}

/// A header that rustls takes for one of another protocol is none, whatever of it has come.
#[test]
fn a_strange_header_is_refused_however_it_comes() {
    for [major, minor] in [[0, 2], [0xfe, 0xff], [0xfe, 0xfd], [2, 0], [4, 4]] {
        for setup in Setup::versions() {
            let mut outcomes = Vec::new();
            for schedule in
                [&mut Whole as &mut dyn Schedule, &mut Bytes(1), &mut Coalesced::default()]
            {
                let mut pair = setup.pair();
                pair.transmit(Side::Left, &mut Whole);
                let mut hello = pair.to_right.steal();
                [hello[1], hello[2]] = [major, minor];
                pair.to_right.inject(&hello);
                pair.drive(schedule);
                outcomes.push([pair.left.report().clone(), pair.right.report().clone()]);
            }
            assert!(outcomes[0][1].failure.is_some());
            assert!(outcomes.iter().all(|o| *o == outcomes[0]), "{outcomes:?}");
        }
    }
}

#[test]
fn what_waits_is_counted() {
    let mut pair = Setup::default().connected();
    // What is kept to leave together, with its room for more.
    assert_eq!(pair.left.write(&[1; 3000]), 3000);
    assert_eq!(pair.left.write(&[1; 100]), 100);
    assert!(pair.left.with(|ports| ports.buffered()) >= 6000);
    drain(&mut pair.left);
    let mut pair = Setup::default().connected();
    assert_eq!(pair.left.write(&[1; 5000]), 5000);
    assert!(pair.left.with(|ports| ports.buffered()) >= 5000);
    let bytes = drain(&mut pair.left);
    assert_eq!(pair.right.receive(&bytes), bytes.len());
    assert!(pair.right.with(|ports| ports.buffered()) >= 5000);
    // Nor is the beginning of a message in a buffer of the wire.
    let (mut left, mut peer) = session(&Setup::default());
    left.receive(&peer.seal(HANDSHAKE, &hostile::ticket(9000)[..5000]));
    assert!(left.with(|ports| ports.buffered()) >= 5000);
    // On both layers.
    let (mut left, mut peer) = Rogue::connected(&Setup { tickets: 0, ..Setup::default() });
    for (layer, sum) in [(Layer::Inner, 5000), (Layer::Outer, 10_000)] {
        let begun = &hostile::ticket(9000)[..5000];
        let bytes = peer.on(layer, |peer| peer.seal(HANDSHAKE, begun));
        assert_eq!(left.receive(&bytes), bytes.len());
        assert!(left.with(|ports| ports.buffered()) >= sum);
    }
    // And what is for the host until somebody takes it.
    let left = Setup::default().nested_in(Side::Left, Bridge);
    let mut pair = Pair::new(left, Setup::default().session(Side::Right));
    pair.settle();
    pair.right.write(&[&5000u32.to_be_bytes()[..], &[9; 5000]].concat());
    pair.settle();
    assert!(pair.left.with(|ports| ports.buffered()) >= 5000);
    assert!(pair.left.ports.readiness().message);
    assert!(pair.left.with(Nested::poll_message).is_some());
    assert!(!pair.left.ports.readiness().message);
    assert_eq!(pair.left.with(|ports| ports.buffered()), 0);
}

/// Reads that fill what they are offered are offered more, up to the limit; smaller ones less. A
/// machine that holds nothing offers all of that, also where its user took the buffer's bytes.
#[test]
fn space_follows_what_comes() {
    let limits = Limits::default();
    for owned in [false, true] {
        let mut pair = Setup { limits, ..Setup::default() }.connected();
        // Without those who watch a machine: they, too, ask it for space.
        let mut right = pair.right.ports;
        for (size, expected) in [(50, 4096), (60_000, limits.wire_in), (50, 4096)] {
            let mut offered = Vec::new();
            for _ in 0..20 {
                pair.left.write(&vec![1; size]);
                let sealed = drain(&mut pair.left);
                let mut rest = &sealed[..];
                offered.push(right.wire_in().unwrap().len());
                while !rest.is_empty() {
                    let space = right.wire_in().unwrap();
                    let n = space.len().min(rest.len());
                    space[..n].copy_from_slice(&rest[..n]);
                    right.wire_received(n).unwrap();
                    rest = &rest[n..];
                    match owned {
                        true => while right.plain_out_bytes().is_some() {},
                        false => drop(right.plain_out_into(&mut Vec::new())),
                    }
                }
            }
            assert_eq!(offered[16..], [expected; 4], "for {size} bytes at a time");
        }
        // As much as the next record may need.
        assert!(right.buffered() <= 27 * 1024, "{} bytes kept", right.buffered());
    }
}

/// What a failed outer layer can't send any more is not kept, either.
#[test]
fn a_failed_machine_holds_nothing() {
    for setup in Setup::versions() {
        let _told = Told::new(setup);
        let mut pair = setup.connected();
        for _ in 0..2 {
            // The first waits as an inner record, the second as plaintext.
            pair.left.write(&[1; 20_000]);
        }
        pair.left.receive(&[23, 3, 3, 0, 40]);
        pair.left.receive(&[7; 40]);
        assert!(pair.left.error().is_some());
        drain(&mut pair.left);
        let _ = pair.left.ports.wire_received(0);
        assert_eq!(pair.left.ports.buffered(), 0);
    }
}

#[test]
fn an_idle_machine_gives_its_buffers_back() {
    for setup in Setup::versions() {
        let mut pair = Pair::new(
            setup.nested_in(Side::Left, Prefixed::default()),
            setup.nested_in(Side::Right, Prefixed::default()),
        );
        pair.settle();
        pair.send(Side::Left, &vec![1; 300_000]);
        for party in [&mut pair.left, &mut pair.right] {
            party.read_all();
            let kept = party.with(|ports| ports.buffered());
            // As much as the next record may need.
            assert!(kept <= 27 * 1024, "{kept} bytes");
            let kept = party.with(|ports| {
                ports.wire_received(0).unwrap();
                ports.buffered()
            });
            assert_eq!(kept, 0);
            // Nor does it keep what it took to send, without being asked for space again.
            let ports = &mut party.ports;
            for _ in 0..3 {
                assert_eq!(ports.plain_write(b"again").unwrap(), 5);
                while let Some(bytes) = ports.wire_out() {
                    let n = bytes.len();
                    ports.wire_sent(n).unwrap();
                }
                assert_eq!(ports.buffered(), 0);
            }
        }
    }
}

/// What rustls has no alert for in a handshake has one all the same.
#[test]
fn every_refusal_in_a_handshake_has_an_alert() {
    for setup in Setup::versions() {
        let _told = Told::new(setup);
        let mut hello = setup.session(Side::Left).transmit(usize::MAX);
        let length = |len: usize| (len as u16).to_be_bytes();
        // A message in two records with something between; one too long; nothing, again and again.
        let rest = hello.split_off(100);
        hello[3..5].copy_from_slice(&length(95));
        let cases = [
            [&hello[..], &[20, 3, 3, 0, 1, 1], &rest].concat(),
            vec![22, 3, 3, 0, 5, 1, 1, 0, 0, 0],
            [&hello[..], &[22, 3, 3, 0, 0]].concat(),
            [&hello[..], &[23, 3, 3, 0, 0].repeat(40)].concat(),
            vec![22, 3, 3, 0xff, 0xff, 0],
        ];
        for bytes in cases {
            for size in [1, bytes.len()] {
                let mut right = setup.nested(Side::Right);
                for piece in bytes.chunks(size) {
                    right.receive(piece);
                }
                assert_eq!(right.error().unwrap().layer(), Layer::Outer);
                let alert = drain(&mut right);
                let [21, 3, 3, 0, 2, 2, _] = alert[..] else { panic!("{alert:?} for {bytes:?}") };
            }
        }
    }
}
