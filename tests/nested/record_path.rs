//! The record path after the handshake, record by record, beside rustls.

use crate::support::crypto::Rng;
use crate::support::hostile::{
    self, ALERT, CHANGE_CIPHER_SPEC, DATA, HANDSHAKE, HEARTBEAT, HELLO_REQUEST, handshake, ticket,
};
use crate::support::pki::Version;
use crate::support::record_oracle::{Op, Script};
use crate::support::victims::Outcome;

fn data(len: usize) -> Op {
    record(DATA, &vec![b'd'; len])
}

fn message(payload: &[u8]) -> Op {
    record(HANDSHAKE, payload)
}

fn record(typ: u8, payload: &[u8]) -> Op {
    Op::Seal { typ, payload: payload.to_vec(), padding: 0 }
}

fn padded(typ: u8, payload: &[u8], padding: usize) -> Op {
    Op::Seal { typ, payload: payload.to_vec(), padding }
}

fn repeat(ops: &[Op], times: usize) -> Vec<Op> {
    vec![ops; times].concat()
}

const UPDATE: Op = Op::KeyUpdate { requested: false };
const REQUEST: Op = Op::KeyUpdate { requested: true };
const CLIENT: bool = true;
const SERVER: bool = false;
use Version::{Tls12, Tls13};

/// What must come of a script, beside what rustls makes of it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// So much data, and the connection goes on.
    Read(usize),
    /// The peer's end behind so much data.
    Closed(usize),
    /// Refused with this alert.
    Alert(u8),
    /// The peer's alert.
    Told(u8),
}

/// Its version, random, no session, one suite, no compression.
fn client_hello() -> Op {
    let body = [&[3, 3][..], &[9; 32], &[0, 0, 2, 0xc0, 0x2f, 1, 0]].concat();
    message(&handshake(1, &body))
}

const UNEXPECTED_MESSAGE: u8 = 10;
const BAD_RECORD_MAC: u8 = 20;
const RECORD_OVERFLOW: u8 = 22;
const ILLEGAL_PARAMETER: u8 = 47;
const DECODE_ERROR: u8 = 50;

fn end(outcome: &Outcome) -> End {
    let fatal = outcome.alerts.iter().find(|alert| alert[0] == 2);
    match (&outcome.error, fatal) {
        (Some(_), Some(alert)) => End::Alert(alert[1]),
        (Some(rustls::Error::AlertReceived(alert)), None) => End::Told((*alert).into()),
        (Some(error), None) => panic!("refused without an alert: {error:?}"),
        (None, _) if outcome.closed => End::Closed(outcome.read.len()),
        (None, _) => End::Read(outcome.read.len()),
    }
}

/// Scripts with their ends: in one piece and in many, for both layers.
fn table(rows: Vec<(Version, bool, Vec<Op>, End)>) {
    for (version, client, ops, expected) in rows {
        let len = |op: &Op| match op {
            Op::Seal { payload, padding, .. } => payload.len() + padding,
            _ => 5,
        };
        let pieces = if ops.iter().map(len).sum::<usize>() < 60 { vec![1] } else { vec![7, 900] };
        for pieces in [vec![], pieces] {
            let script = Script { pieces, ..Script::new(version, client, ops.clone()) };
            let session = script.check();
            assert_eq!(end(&session), expected, "{:?} {session:?}", (version, client, &ops));
        }
    }
}

/// The same of a client and a server, in both versions.
fn everywhere(ops: Vec<Op>, expected: End) -> impl Iterator<Item = (Version, bool, Vec<Op>, End)> {
    [(Tls12, CLIENT), (Tls12, SERVER), (Tls13, CLIENT), (Tls13, SERVER)]
        .into_iter()
        .map(move |(version, client)| (version, client, ops.clone(), expected))
}

fn both(
    version: Version,
    ops: Vec<Op>,
    end: End,
) -> impl Iterator<Item = (Version, bool, Vec<Op>, End)> {
    [CLIENT, SERVER].into_iter().map(move |client| (version, client, ops.clone(), end))
}

#[test]
fn random_scripts_end_as_in_rustls() {
    let most = std::env::var("NESTED_TLS_SCRIPTS").map_or(300, |n| n.parse().unwrap());
    for seed in 0..most {
        let mut rng = Rng(seed);
        let len = 10 + rng.below(120);
        Script::read(&rng.bytes(len)).check();
    }
}

#[test]
fn lengths_and_padding() {
    let mut rows = Vec::new();
    rows.extend(everywhere(vec![data(16_384)], End::Read(16_384)));
    rows.extend(everywhere(vec![data(16_385)], End::Alert(RECORD_OVERFLOW)));
    rows.extend(everywhere(vec![data(17_000)], End::Alert(RECORD_OVERFLOW)));
    rows.extend(everywhere(vec![data(0), data(1), data(0)], End::Read(1)));
    rows.extend(everywhere(vec![data(0); 32], End::Read(0)));
    rows.extend(everywhere(vec![data(0); 33], End::Alert(UNEXPECTED_MESSAGE)));
    // A warning between them is no data.
    let warning = record(ALERT, &[1, 90]);
    let warned = [vec![data(0); 20], vec![warning], vec![data(0); 13]].concat();
    rows.extend(everywhere(warned, End::Alert(UNEXPECTED_MESSAGE)));
    let with_data = [vec![data(0); 32], vec![data(1)], vec![data(0); 32], vec![data(1)]].concat();
    rows.extend(everywhere(with_data, End::Read(2)));
    for padding in [1, 100, 16_383] {
        rows.extend(both(Tls13, vec![padded(DATA, b"x", padding)], End::Read(1)));
        rows.extend(both(Tls13, vec![padded(DATA, b"", padding)], End::Read(0)));
    }
    // Type, content and padding together may be one byte longer than the content alone.
    let full = vec![padded(DATA, b"x", 16_384)];
    rows.extend(both(Tls13, full, End::Alert(RECORD_OVERFLOW)));
    // Nothing but padding has no type.
    rows.extend(both(Tls13, vec![record(0, &[0; 50])], End::Alert(UNEXPECTED_MESSAGE)));
    // A length that the version does not allow is refused by the header alone.
    let header = |len: u16| {
        let [high, low] = len.to_be_bytes();
        vec![Op::Raw([&[23, 3, 3, high, low][..], &[0; 20]].concat())]
    };
    rows.extend(both(Tls13, header(16_384 + 256), End::Read(0)));
    rows.extend(both(Tls13, header(16_384 + 257), End::Alert(RECORD_OVERFLOW)));
    rows.extend(both(Tls12, header(16_384 + 2047), End::Read(0)));
    rows.extend(both(Tls12, header(16_384 + 2049), End::Alert(RECORD_OVERFLOW)));
    table(rows);
}

#[test]
fn types() {
    let mut rows = Vec::new();
    for typ in [HEARTBEAT, 99] {
        rows.extend(both(Tls13, vec![record(typ, b"x")], End::Alert(UNEXPECTED_MESSAGE)));
    }
    rows.extend(both(Tls12, vec![record(HEARTBEAT, b"x")], End::Alert(UNEXPECTED_MESSAGE)));
    rows.extend(everywhere(vec![record(CHANGE_CIPHER_SPEC, &[1])], End::Alert(UNEXPECTED_MESSAGE)));
    for raw in [[20, 3, 3, 0, 1, 1], [24, 3, 3, 0, 1, 1], [0, 3, 3, 0, 1, 1], [99, 3, 3, 0, 1, 1]] {
        let expected = if raw[0] == 24 { BAD_RECORD_MAC } else { UNEXPECTED_MESSAGE };
        rows.extend(both(Tls12, vec![Op::Raw(raw.to_vec())], End::Alert(expected)));
        rows.extend(both(Tls13, vec![Op::Raw(raw.to_vec())], End::Alert(UNEXPECTED_MESSAGE)));
    }
    // A record in clear with nothing in it is none, but of data, which is then not protected.
    for typ in [HANDSHAKE, ALERT] {
        let empty = vec![Op::Raw(vec![typ, 3, 3, 0, 0])];
        rows.extend(everywhere(empty, End::Alert(DECODE_ERROR)));
    }
    rows.extend(everywhere(vec![Op::Raw(vec![DATA, 3, 3, 0, 0])], End::Alert(BAD_RECORD_MAC)));
    // The version's major byte is TLS'; its minor one means nothing in TLS 1.3.
    let flip = |at, mask| vec![data(3), Op::Flip { at, mask }, data(4)];
    rows.extend(everywhere(flip(1, 1), End::Alert(DECODE_ERROR)));
    rows.extend(both(Tls13, flip(2, 0x80), End::Read(7)));
    rows.extend(both(Tls12, flip(2, 0x80), End::Alert(BAD_RECORD_MAC)));
    rows.extend(everywhere(flip(9, 1), End::Alert(BAD_RECORD_MAC)));
    // Without content there is no handshake message and no alert.
    for typ in [HANDSHAKE, ALERT] {
        rows.extend(everywhere(vec![record(typ, b"")], End::Alert(UNEXPECTED_MESSAGE)));
        rows.extend(both(Tls13, vec![padded(typ, b"", 9)], End::Alert(UNEXPECTED_MESSAGE)));
    }
    table(rows);
}

#[test]
fn order() {
    let mut rows = Vec::new();
    let bad = End::Alert(BAD_RECORD_MAC);
    rows.extend(everywhere(vec![data(3), Op::Repeat], bad));
    rows.extend(everywhere(vec![data(3), data(4), Op::Swap], bad));
    rows.extend(everywhere(vec![data(3), Op::Drop, data(4)], bad));
    for off in [-1, 1] {
        rows.extend(everywhere(
            vec![data(1), Op::SealOff { typ: DATA, payload: vec![1], off }],
            bad,
        ));
    }
    for n in [0, 1, 8, 20] {
        rows.extend(everywhere(vec![data(3), Op::Cut(n)], bad));
    }
    table(rows);
}

#[test]
fn alerts() {
    let mut rows = Vec::new();
    let alert = |level, description| record(ALERT, &[level, description]);
    let close = alert(1, 0);
    rows.extend(everywhere(vec![data(3), close.clone()], End::Closed(3)));
    rows.extend(everywhere(vec![data(3), alert(2, 0)], End::Closed(3)));
    // What comes behind the end is nobody's, whatever it is.
    for behind in [data(9), Op::Raw(vec![0xff; 40]), alert(2, 40), close.clone(), UPDATE] {
        rows.extend(everywhere(vec![data(3), close.clone(), behind], End::Closed(3)));
    }
    rows.extend(everywhere(vec![data(3), alert(2, 40)], End::Told(40)));
    rows.extend(everywhere(vec![alert(2, 90)], End::Told(90)));
    rows.extend(everywhere(vec![alert(3, 40)], End::Alert(ILLEGAL_PARAMETER)));
    rows.extend(everywhere(vec![alert(0, 0)], End::Alert(ILLEGAL_PARAMETER)));
    for payload in [&[1][..], &[1, 0, 0], &[2, 40, 2, 40]] {
        rows.extend(everywhere(vec![record(ALERT, payload)], End::Alert(DECODE_ERROR)));
    }
    let short = Script::new(Tls13, CLIENT, [record(ALERT, &[1])]).check();
    assert_eq!(short.error, Some(rustls::InvalidMessage::MessageTooShort.into()));
    // Warnings: TLS 1.2 takes a few, TLS 1.3 has but one kind.
    rows.extend(everywhere(vec![alert(1, 90), data(2), close.clone()], End::Closed(2)));
    rows.extend(both(Tls12, vec![alert(1, 42), data(2)], End::Read(2)));
    rows.extend(both(Tls13, vec![alert(1, 42), data(2)], End::Alert(DECODE_ERROR)));
    rows.extend(everywhere(vec![alert(1, 90); 4], End::Read(0)));
    rows.extend(everywhere(vec![alert(1, 90); 5], End::Alert(UNEXPECTED_MESSAGE)));
    // An alert in clear is worth nothing.
    let clear = vec![Op::Raw(vec![21, 3, 3, 0, 2, 1, 0])];
    rows.extend(both(Tls13, clear.clone(), End::Alert(UNEXPECTED_MESSAGE)));
    rows.extend(both(Tls12, clear, End::Alert(BAD_RECORD_MAC)));
    // Nor is one in the middle of a message.
    let begun = message(&hostile::KEY_UPDATE[..3]);
    rows.extend(both(Tls13, vec![begun, close], End::Alert(UNEXPECTED_MESSAGE)));
    table(rows);
}

#[test]
fn key_updates() {
    let mut rows = Vec::new();
    rows.extend(both(Tls13, vec![data(1), UPDATE, data(2), REQUEST, data(3)], End::Read(6)));
    rows.extend(both(Tls13, vec![REQUEST, UPDATE, REQUEST, data(3)], End::Read(3)));
    rows.extend(both(Tls12, vec![UPDATE], End::Alert(UNEXPECTED_MESSAGE)));
    // The old keys are over with it.
    rows.extend(both(
        Tls13,
        vec![message(&hostile::KEY_UPDATE), data(1)],
        End::Alert(BAD_RECORD_MAC),
    ));
    rows.extend(both(Tls13, vec![message(&handshake(24, &[2]))], End::Alert(ILLEGAL_PARAMETER)));
    for body in [&[][..], &[0, 0]] {
        rows.extend(both(Tls13, vec![message(&handshake(24, body))], End::Alert(DECODE_ERROR)));
    }
    // In fragments it is one all the same; with anything behind it, it is none.
    let parts = [message(&[24, 0]), message(&[0]), message(&[1, 0])];
    rows.extend(both(Tls13, parts.to_vec(), End::Read(0)));
    let behind = [&hostile::KEY_UPDATE[..], &[4]].concat();
    rows.extend(both(Tls13, vec![message(&behind)], End::Alert(UNEXPECTED_MESSAGE)));
    rows.extend(both(
        Tls13,
        vec![message(&hostile::KEY_UPDATE.repeat(2))],
        End::Alert(UNEXPECTED_MESSAGE),
    ));
    // Floods: data between them makes them harmless, records without data do not.
    rows.extend(both(Tls13, vec![REQUEST; 32], End::Read(0)));
    rows.extend(both(Tls13, vec![REQUEST; 33], End::Alert(UNEXPECTED_MESSAGE)));
    rows.extend(both(Tls13, vec![UPDATE; 33], End::Alert(UNEXPECTED_MESSAGE)));
    rows.extend(both(Tls13, repeat(&[UPDATE, data(0)], 33), End::Alert(UNEXPECTED_MESSAGE)));
    rows.extend(both(Tls13, repeat(&[UPDATE, data(1)], 100), End::Read(100)));
    table(rows);
}

#[test]
fn tickets() {
    let mut rows = Vec::new();
    let unexpected = End::Alert(UNEXPECTED_MESSAGE);
    rows.push((Tls13, CLIENT, vec![message(&ticket(100)), data(1)], End::Read(1)));
    rows.push((Tls13, SERVER, vec![message(&ticket(100))], unexpected));
    rows.extend(both(Tls12, vec![message(&ticket(100))], unexpected));
    // Several in a record, one over several, both at once; then the keys change in between.
    let three = [ticket(10), ticket(2000), ticket(1)].concat();
    rows.push((Tls13, CLIENT, vec![message(&three), data(1)], End::Read(1)));
    for size in [1, 3, 700] {
        let ops: Vec<Op> = three.chunks(size).map(message).chain([data(1)]).collect();
        if size > 1 {
            rows.push((Tls13, CLIENT, ops.clone(), End::Read(1)));
        }
        let mut ops = ops;
        let data = ops.pop();
        ops.push(UPDATE);
        ops.extend(data);
        rows.push((Tls13, CLIENT, ops, End::Read(1)));
    }
    rows.push((Tls13, CLIENT, vec![message(&three[..50]), data(1)], unexpected));
    // A ticket without end, and one too long.
    rows.push((Tls13, CLIENT, vec![message(&[4, 0, 0xff, 0xff, 0])], End::Read(0)));
    rows.push((Tls13, CLIENT, vec![message(&[4, 1, 0, 0, 0])], End::Alert(DECODE_ERROR)));
    let mut nonsense = ticket(5);
    nonsense.pop();
    let body = nonsense[4..].to_vec();
    rows.push((Tls13, CLIENT, vec![message(&handshake(4, &body))], End::Alert(DECODE_ERROR)));
    rows.push((Tls13, CLIENT, vec![message(&handshake(4, b""))], End::Alert(DECODE_ERROR)));
    rows.push((Tls13, CLIENT, repeat(&[message(&ticket(3000)), data(1)], 60), End::Read(60)));
    table(rows);
}

#[test]
fn renegotiation_and_other_messages() {
    let mut rows = Vec::new();
    let unexpected = End::Alert(UNEXPECTED_MESSAGE);
    let hello = message(&HELLO_REQUEST);
    // Once it is refused in words, then by the end.
    rows.push((Tls12, CLIENT, vec![hello.clone(), data(2)], End::Read(2)));
    rows.push((Tls12, CLIENT, vec![hello.clone(), hello.clone()], unexpected));
    rows.push((Tls12, SERVER, vec![hello.clone()], unexpected));
    rows.extend(both(Tls13, vec![hello], unexpected));
    // Only a server is asked by a ClientHello, and only in TLS 1.2.
    rows.push((Tls12, CLIENT, vec![client_hello()], unexpected));
    rows.extend(both(Tls13, vec![client_hello()], unexpected));
    let odd = message(&handshake(0, &[1]));
    rows.push((Tls12, CLIENT, vec![odd], End::Alert(DECODE_ERROR)));
    // Finished, HelloVerifyRequest's number, EndOfEarlyData, message_hash, none.
    for typ in [20, 3, 5, 254, 77] {
        rows.extend(everywhere(vec![message(&handshake(typ, &[1; 12]))], unexpected));
    }
    table(rows);
}

/// Renegotiation is refused by a warning, and the connection goes on.
#[test]
fn renegotiation_is_refused_in_words() {
    let script = Script::new(Tls12, CLIENT, [message(&HELLO_REQUEST), data(2)]);
    let [session, nested, _] = script.play();
    assert_eq!(session.alerts, [[1, 100]]);
    assert_eq!(nested.alerts, [[1, 100]]);
    let script = Script::new(Tls12, SERVER, [client_hello(), data(2)]);
    let [session, _, rustls] = script.play();
    assert_eq!((&session.alerts[..], session.read.len()), (&[[1, 100]][..], 2), "{rustls:?}");
}
