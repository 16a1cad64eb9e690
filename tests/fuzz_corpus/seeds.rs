//! Where the corpus begins: recorded conversations, hand-written records and operations, real
//! certificates. `cargo test --features cli --test fuzz_corpus -- --ignored` writes them again;
//! the same ones each time, but for the certificates, whose keys are new.

use std::fs;

use nested_tls::{Direct, Framing, Layer, Nested};

use crate::corpus;
use crate::forge::{
    Draft, Key, Kind, PRINTABLE, SERVER_AUTH, T61, UTF8, basic_constraints, certificate_pem, cn,
    dns_name, hsm_name, key_usage, name, purpose, request, seed_name,
};
use crate::support::cast::Cast;
use crate::support::crypto::Rng;
use crate::support::framings::{Bridge, Prefixed};
use crate::support::null::Strength;
use crate::support::pair::Pair;
use crate::support::party::{Machine, Party};
use crate::support::sessions::Start;
use crate::support::setup::{Setup, Side};
use crate::targets::{framing, wire_bytes};

#[test]
#[ignore = "writes the corpus"]
fn write() {
    wire_bytes();
    wire_bytes_going_on();
    framing();
    record_differential();
    operations();
    driver();
    identity();
    sdk_config();
}

fn save(target: &str, name: &str, input: &[u8]) {
    let dir = corpus().join(target);
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join(format!("seed-{name}")), input).unwrap();
}

/// What the right party says in a conversation of both.
fn conversation<A: Party, B: Party>(mut pair: Pair<A, B>, tls13: &[Layer]) -> Vec<u8> {
    pair.settle();
    pair.send(Side::Left, b"a question");
    for layer in tls13 {
        pair.right.update_keys(*layer, true);
    }
    pair.send(Side::Right, b"an answer");
    pair.send(Side::Right, &[0; 300]);
    pair.right.close_write();
    pair.settle();
    pair.right.close();
    pair.left.close();
    pair.settle();
    pair.to_left.transcript
}

fn tls13(setup: &Setup) -> Vec<Layer> {
    use crate::support::pki::Version::Tls13;
    let layers = [(setup.outer, Layer::Outer), (setup.inner, Layer::Inner)];
    layers.into_iter().filter(|(version, _)| *version == Tls13).map(|(_, layer)| layer).collect()
}

fn wire_bytes() {
    for roles in 0..32 {
        // Nothing noticed, sums, real cryptography.
        for crypto in [0x00, 0x40, 0xc0] {
            let ways = crypto | if roles % 3 == 0 { 0b10 } else { 0b1010 };
            if crypto != 0 && roles > 15 {
                continue;
            }
            let setup = wire_bytes::Plan::new(roles, ways).setup;
            let nested = conversation(setup.pair(), &tls13(&setup));
            save(
                "wire_bytes",
                &format!("nested-{roles:02x}-{ways:02x}"),
                &joined(roles, ways, &nested),
            );
            let single = setup.session(Side::Left);
            let layers: &[Layer] = if roles & 4 == 0 { &[Layer::Outer] } else { &[] };
            if roles & 8 == 0 {
                let single = conversation(Pair::new(single, setup.session(Side::Right)), layers);
                let ways = ways | 1;
                save(
                    "wire_bytes",
                    &format!("single-{roles:02x}-{ways:02x}"),
                    &joined(roles, ways, &single),
                );
            }
        }
    }
}

/// Conversations that go on with sessions, under cryptography that notices nothing, and everything.
fn wire_bytes_going_on() {
    for (roles, ways) in (32..=255).flat_map(|roles| [(roles, 0b10), (roles, 0xca)]) {
        let plan = wire_bytes::Plan::new(roles, ways);
        // Each thing once: asking for certificates, or for what only TLS 1.3 has, is no other seed.
        let again = roles & 16 != 0 || (roles & 4 != 0 && roles & 64 != 0) || roles & 32 == 0;
        // What nobody notices can't be told from what is to be skipped.
        let skips = plan.setup.start == Start::Rejected;
        if again || (skips && plan.setup.null == Some(Strength::Nothing)) {
            continue;
        }
        let cast = Cast::new(plan.setup);
        let pair = Pair::new(cast.nested(Side::Left), cast.nested(Side::Right));
        let bytes = conversation(pair, &tls13(&plan.setup));
        let name = format!("going-on-{roles:02x}-{ways:02x}");
        save("wire_bytes", &name, &joined(roles, ways, &bytes));
    }
}

fn joined(roles: u8, ways: u8, bytes: &[u8]) -> Vec<u8> {
    [&[roles, ways], bytes].concat()
}

fn framing() {
    for roles in 0..16 {
        for ways in [0b11000, 0b01001, 0b10011, 0b01101] {
            let bytes = match ways & 3 {
                0 => through_host(roles, ways, || Direct),
                1 => through_host(roles, ways, Prefixed::default),
                _ => through_host(roles, ways, || Bridge),
            };
            save("framing", &format!("{roles:02x}-{ways:02x}"), &joined(roles, ways, &bytes));
        }
    }
}

/// The outer plaintext of the right party.
fn through_host<F: Framing>(roles: u8, ways: u8, make: fn() -> F) -> Vec<u8> {
    let setup = framing::Plan::new(roles, ways & !4).setup;
    let mut left = setup.nested_in(Side::Left, make());
    let mut right = setup.nested_in(Side::Right, make());
    let mut host = setup.host();
    let say = |right: &mut Machine<Nested<F>>, message: &[u8]| {
        // `Direct` has no messages.
        let _ = right.with(|p| p.send_message(message));
    };
    say(&mut right, b"hello");
    let mut faithful = |_: Side, _: usize, bytes: Vec<u8>| bytes;
    host.run(&mut left, &mut right, &mut faithful);
    right.write(b"inner data");
    say(&mut right, b"");
    right.write(&[9; 200]);
    host.run(&mut left, &mut right, &mut faithful);
    say(&mut right, b"a last message");
    right.close_write();
    host.run(&mut left, &mut right, &mut faithful);
    [&host.from_right[..], b"behind"].concat()
}

/// The type and the payload of a record.
type Record = (u8, Vec<u8>);

/// Records under cryptography that looks at no tag.
fn record_differential() {
    const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];
    const REQUEST: [u8; 5] = [24, 0, 0, 1, 1];
    let ticket = [
        &[4, 0, 0, 29, 0, 0, 14, 16, 1, 2, 3, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8][..],
        &[7; 8],
        &[0, 0],
    ]
    .concat();
    let cases: [(&str, Vec<Record>); 22] = [
        ("data", vec![(23, b"one".to_vec()), (23, b"two".to_vec())]),
        ("empty", vec![(23, vec![]); 33]),
        ("close", vec![(23, b"x".to_vec()), (21, vec![1, 0]), (23, b"late".to_vec())]),
        ("fatal", vec![(21, vec![2, 40])]),
        ("warnings", vec![(21, vec![1, 90]); 5]),
        ("warning", vec![(21, vec![1, 41]), (23, b"x".to_vec())]),
        ("level", vec![(21, vec![3, 0])]),
        ("alert-short", vec![(21, vec![1])]),
        ("alert-empty", vec![(21, vec![])]),
        ("alert-long", vec![(21, vec![1, 0, 1, 0])]),
        ("key-update", vec![(22, KEY_UPDATE.to_vec()), (23, b"x".to_vec())]),
        ("key-request", vec![(22, REQUEST.to_vec()), (23, b"x".to_vec())]),
        ("key-flood", vec![(22, REQUEST.to_vec()); 34]),
        ("key-twice", vec![(22, [KEY_UPDATE, KEY_UPDATE].concat())]),
        ("key-odd", vec![(22, vec![24, 0, 0, 1, 2])]),
        ("key-split", vec![(22, vec![24, 0]), (22, vec![0, 1, 0]), (23, b"x".to_vec())]),
        ("split-data", vec![(22, vec![24, 0]), (23, b"x".to_vec())]),
        ("ticket", vec![(22, ticket.clone()), (23, b"x".to_vec())]),
        ("tickets", vec![(22, [&ticket[..], &ticket[..], &ticket[..9]].concat())]),
        ("renegotiate", vec![(22, vec![0, 0, 0, 0]); 3]),
        ("hello", vec![(22, vec![1, 0, 0, 1, 0]), (22, vec![1, 0, 0, 0])]),
        ("types", vec![(20, vec![1]), (24, vec![1]), (99, vec![0])]),
    ];
    for (name, records) in cases {
        // The version, and which side listens.
        for flags in 0..4 {
            // As they go over the wire.
            let mut wire = vec![0xc0 | flags];
            // Sealed, with checksums, in pieces.
            let mut script = vec![0x08 | flags, 40, 3];
            for (typ, payload) in &records {
                wire.extend(record(flags & 1 == 1, *typ, payload));
                script.extend(sealed(*typ, payload));
            }
            save("record_differential", &format!("{name}-wire-{flags}"), &wire);
            save("record_differential", &format!("{name}-{flags}"), &script);
        }
    }
}

/// The operation of `support::record_oracle` that seals this record.
fn sealed(typ: u8, payload: &[u8]) -> Vec<u8> {
    let (kind, typ): (u8, &[u8]) = match typ {
        23 => (1, &[]),
        22 => (4, &[]),
        21 => (7, &[]),
        20 => (8, &[3]),
        24 => (8, &[4]),
        _ => (8, &[6]),
    };
    let padding: &[u8] = if kind == 8 { &[5] } else { &[] };
    [&[kind], typ, &[payload.len() as u8 % 32], &payload[..payload.len() % 32], padding].concat()
}

fn record(tls13: bool, typ: u8, payload: &[u8]) -> Vec<u8> {
    let (outer, body) = match tls13 {
        true => (23, [payload, &[typ]].concat()),
        false => (typ, [&[0; 8], payload].concat()),
    };
    let [high, low] = (body.len() as u16 + 16).to_be_bytes();
    [&[outer, 3, 3, high, low], &body[..], &[0; 16]].concat()
}

fn operations() {
    const LEFT: u8 = 0;
    const RIGHT: u8 = 0xc0;
    const TRANSMIT: u8 = 0;
    const DELIVER: u8 = 6;
    const WRITE: u8 = 12;
    const READ: u8 = 18;
    const CARRY: u8 = 24;
    const SETTLE: u8 = 30;
    const KEYS: u8 = 34;
    const CLOSE_WRITE: u8 = 36;
    const CLOSE: u8 = 37;
    const INTO_OUTER: u8 = 39;
    const CUT: u8 = 41;
    const DAMAGE: u8 = 42;
    const TAMPER: u8 = 52;
    let stories: [(&str, Vec<u8>); 8] = [
        ("talk", vec![SETTLE, 0, LEFT | WRITE, 120, RIGHT | WRITE, 240, SETTLE, 0]),
        (
            "half-close",
            vec![
                SETTLE,
                0,
                LEFT | WRITE,
                90,
                LEFT | CLOSE_WRITE,
                0,
                SETTLE,
                0,
                RIGHT | WRITE,
                230,
                RIGHT | CLOSE,
                0,
                SETTLE,
                0,
            ],
        ),
        (
            "steps",
            [
                [LEFT | TRANSMIT, 255, RIGHT | DELIVER, 150].repeat(4),
                [RIGHT | TRANSMIT, 120, LEFT | DELIVER, 255, LEFT | READ, 9].repeat(9),
                [LEFT | WRITE, 250, LEFT | TRANSMIT, 130, RIGHT | DELIVER, 254, RIGHT | READ, 250]
                    .repeat(6),
            ]
            .concat(),
        ),
        (
            "keys",
            vec![
                SETTLE,
                0,
                LEFT | KEYS,
                3,
                RIGHT | KEYS,
                2,
                LEFT | WRITE,
                110,
                SETTLE,
                0,
                LEFT | KEYS,
                1,
                RIGHT | WRITE,
                120,
                RIGHT | KEYS,
                0,
                SETTLE,
                0,
            ],
        ),
        (
            "outer-again",
            vec![
                SETTLE,
                0,
                LEFT | CLOSE_WRITE,
                0,
                RIGHT | CLOSE_WRITE,
                0,
                SETTLE,
                0,
                LEFT | INTO_OUTER,
                0,
                LEFT | WRITE,
                120,
                SETTLE,
                0,
                RIGHT | INTO_OUTER,
                0,
                RIGHT | WRITE,
                99,
                SETTLE,
                0,
            ],
        ),
        (
            "cut",
            vec![SETTLE, 0, RIGHT | WRITE, 100, RIGHT | TRANSMIT, 20, RIGHT | CUT, 0, SETTLE, 0],
        ),
        (
            "flip",
            vec![SETTLE, 0, LEFT | WRITE, 100, LEFT | TRANSMIT, 255, LEFT | DAMAGE, 77, SETTLE, 0],
        ),
        (
            "tamper",
            vec![
                SETTLE,
                0,
                LEFT | WRITE,
                60,
                LEFT | WRITE,
                50,
                LEFT | TRANSMIT,
                255,
                0x40 | DELIVER,
                255,
                0x40 | READ,
                255,
                LEFT | TAMPER,
                50,
                LEFT | CARRY,
                40,
                SETTLE,
                0,
            ],
        ),
    ];
    let mut rng = Rng(4);
    for (name, story) in &stories {
        for (roles, ways) in
            [(0, 0), (6, 2), (9, 2), (15, 0), (0x21, 0x26), (0x34, 0x0a), (3, 0xe2)]
        {
            let head = [roles, ways, if rng.below(2) == 0 { 0 } else { 0x31 }];
            save("ops", &format!("{name}-{roles:02x}-{ways:02x}"), &[&head[..], story].concat());
        }
    }

    // The host has the left party's first bytes before it says anything to the right one.
    const NEAR: u8 = 0x40;
    const FAR: u8 = 0x80;
    let to_host = [
        [LEFT | TRANSMIT, 255, NEAR | DELIVER, 255, NEAR | TRANSMIT, 255, LEFT | DELIVER, 255],
        [LEFT | WRITE, 255, LEFT | TRANSMIT, 255, NEAR | DELIVER, 255, NEAR | READ, 255],
    ]
    .concat();
    let to_right = [LEFT | CARRY, 9, FAR | TRANSMIT, 255, RIGHT | DELIVER, 255, LEFT | CARRY, 110];
    let talk = [SETTLE, 0, LEFT | WRITE, 120, RIGHT | WRITE, 240, SETTLE, 0];
    let going_on: [(&str, Vec<u8>); 3] = [
        ("at-once", talk.to_vec()),
        ("in-pieces", [&to_host[..], &to_right, &talk].concat()),
        ("doubled", [&to_host[..], &[LEFT | TAMPER | 2, 250], &to_right, &talk].concat()),
    ];
    for (name, story) in &going_on {
        // Sessions alone, early data that is taken, rejected, retried, and all with real cryptography.
        for head in [
            [0x84, 0x23, 0x31],
            [0x80, 0x40, 0],
            [0x83, 0x43, 0],
            [0x81, 0x46, 0x05],
            [0x80, 0x60, 0],
            [0x80, 0x6b, 0x05],
            [0x80, 0x82, 0],
            [0x80, 0xa3, 0],
        ] {
            let [roles, ways, _] = head;
            save("ops", &format!("{name}-{roles:02x}-{ways:02x}"), &[&head[..], story].concat());
        }
    }
}

fn driver() {
    let calls: [(&str, &[u8]); 6] = [
        ("handshake", &[0, 0]),
        ("write", &[4, 0x90, 7, 0, 1, 0xa0]),
        ("both", &[5, 0xa0, 12, 0xb0, 1, 0xb0, 2, 0x50, 9, 0x60]),
        ("keys", &[0, 0, 10, 1, 11, 1, 4, 0x30, 7, 0, 15, 0, 1, 0x90]),
        ("close", &[0, 0, 4, 0x40, 14, 1, 12, 0x40, 14, 0, 1, 0x90, 1, 0x90]),
        ("all", &[0, 0, 4, 0x40, 14, 2, 1, 0x90]),
    ];
    for (name, calls) in calls {
        for (at, answers) in
            [&[0xf0u8][..], &[0x40, 8], &[0x30, 0x0a, 0x09], &[0x50, 0xfe, 0x0b, 0x0c, 0x0f]]
                .into_iter()
                .enumerate()
        {
            // Either adapter, low limits, a transport that wants to be flushed.
            let mut input = vec![(at * 5) as u8, (at * 3) as u8];
            for call in calls.chunks(2) {
                input.extend(call);
                input.extend(answers.repeat(3));
            }
            save("driver", &format!("{name}-{at}"), &input);
        }
    }
}

fn identity() {
    let (root, key) = (Key::new(Kind::P256), Key::new(Kind::Ed25519));
    let odd = name(&[
        ("2.5.4.6", PRINTABLE, b"US"),
        ("2.5.4.10", T61, b"Caf\xe9  of\tThree"),
        ("2.5.4.3", UTF8, "Größe, für alle".as_bytes()),
    ]);
    let certificates = [
        ("authority", Draft::authority(&cn("customerCA"), &root).sign(&root)),
        ("v1", Draft::v1(&hsm_name("x"), &key.spki, &cn("customerCA")).sign(&root)),
        ("v3", Draft::v3(&odd, &key.spki, &cn("customerCA")).sign(&root)),
        (
            "full",
            Draft::v3(&seed_name("AWS Cryptography"), &root.spki, &cn("customerCA"))
                .with(dns_name("hsm.example"))
                .with(basic_constraints(false))
                .with(key_usage(0x80))
                .with(purpose(SERVER_AUTH))
                .edit(|draft| draft.not_after = "20991231235959Z")
                .sign(&root),
        ),
    ];
    let mut directory = Vec::new();
    for (name, certificate) in &certificates {
        save("certificate", name, certificate);
        let pem = certificate_pem(certificate).into_bytes();
        save("certificate", &format!("{name}-pem"), &pem);
        let file = b"21a10654.0";
        directory.push(file.len() as u8);
        directory.extend(file);
        directory.extend((pem.len() as u16).to_be_bytes());
        directory.extend(pem);
        save("hashed_dir", name, &directory);
    }
    for (name, subject, key) in
        [("hsm", hsm_name("x"), &root), ("odd", odd, &key), ("cn", cn("client"), &key)]
    {
        let der = request(&subject, &key.spki, key);
        save("csr", name, &der);
        save(
            "certificate",
            &format!("{name}-request-pem"),
            crate::forge::pem("CERTIFICATE REQUEST", &der).as_bytes(),
        );
    }
}

fn sdk_config() {
    save(
        "sdk_config",
        "sdk-5",
        br#"{"clusters": [{"type": "hsm1", "cluster": {"hsm_ca_file": "/a/customerCA.crt", "servers": [
            {"hostname": "10.0.2.41", "port": 2223, "enable": true}, {"hostname": "h", "enable": false}],
            "client_cert_path": "c.crt", "client_key_path": "/k/c.key", "client_cert_hsm_tls_path": "i.crt",
            "client_key_hsm_tls_path": "i.key", "options": {"disable_key_availability_check": true}}}]}"#,
    );
    save("sdk_config", "sdk-5-bare", br#"{"clusters": [{"type": "hsm1", "cluster": {}}]}"#);
    save(
        "sdk_config",
        "sdk-3",
        br#"{"client": {"e2e_owner_crt_path": "/a/customerCA.crt"}, "server": {"hostname": "h", "port": 2223},
            "ssl": {"CApath": "/a/certs", "certificate": "c.crt", "pkey": "c.key", "server_ssl": "yes"}}"#,
    );
}
