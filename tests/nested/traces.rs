//! What a tracer is told: each record once, as it stands on its layer's wire, and nothing that is in it.

use std::sync::{Arc, Mutex};

use nested_tls::*;
use rustls::crypto::{CryptoProvider, ring};
use rustls::{
    AlertDescription, ClientConfig, ContentType, HandshakeType, RootCertStore, ServerConfig,
};

use crate::support::hostile::Hostile;
use crate::support::pair::Pair;
use crate::support::party::{Machine, Party};
use crate::support::pki::{self, Version};
use crate::support::schedule::{Bytes, Schedule, Told, Whole};
use crate::support::setup::{Setup, Side};

const LAYERS: [Layer; 2] = [Layer::Outer, Layer::Inner];
const BOTH: [Direction; 2] = [Direction::Received, Direction::Sent];

/// What was told, in order, in a form that can be kept.
#[derive(Clone, Debug, PartialEq)]
enum Entry {
    Record(Direction, Option<ContentType>, bool, usize),
    Message(Direction, HandshakeType),
    Alert(Direction, AlertDescription),
    Established,
    Failed(String),
}

#[derive(Default)]
struct Log(Mutex<Vec<(Layer, Entry)>>);

impl Tracer for Log {
    fn trace(&self, layer: Layer, traced: Traced<'_>) {
        let entry = match traced {
            Traced::Record { direction, content, protected, len } => {
                Entry::Record(direction, content, protected, len)
            }
            Traced::Message { direction, typ, .. } => Entry::Message(direction, typ),
            Traced::Alert { direction, description } => Entry::Alert(direction, description),
            Traced::Established(info) => {
                assert!(info.version.is_some());
                Entry::Established
            }
            Traced::Failed(error) => {
                assert_eq!(error.layer(), layer);
                Entry::Failed(error.to_string())
            }
            other => panic!("{other:?}"),
        };
        self.0.lock().unwrap().push((layer, entry));
    }
}

impl Log {
    fn of(&self, layer: Layer) -> Vec<Entry> {
        let log = self.0.lock().unwrap();
        log.iter().filter(|(of, _)| *of == layer).map(|(_, entry)| entry.clone()).collect()
    }

    /// What the layer's records hold, and their lengths.
    fn records(&self, layer: Layer, way: Direction) -> Vec<(Option<ContentType>, usize)> {
        let records = self.of(layer).into_iter().filter_map(|entry| match entry {
            Entry::Record(direction, content, _, len) if direction == way => Some((content, len)),
            _ => None,
        });
        records.collect()
    }

    fn messages(&self, layer: Layer, way: Direction) -> Vec<HandshakeType> {
        let messages = self.of(layer).into_iter().filter_map(|entry| match entry {
            Entry::Message(direction, typ) if direction == way => Some(typ),
            _ => None,
        });
        messages.collect()
    }

    fn count(&self, layer: Layer, entry: &Entry) -> usize {
        self.of(layer).iter().filter(|found| *found == entry).count()
    }

    fn failures(&self) -> Vec<(Layer, Entry)> {
        let log = self.0.lock().unwrap();
        log.iter().filter(|(_, entry)| matches!(entry, Entry::Failed(_))).cloned().collect()
    }
}

type Machines = Pair<Machine<Nested>, Machine<Nested>>;

fn machine(seed: u64, outer: Role, inner: Role) -> (Machine<Nested>, Arc<Log>) {
    let log = Arc::new(Log::default());
    let (outer, inner) = (outer.traced_by(log.clone()), inner.traced_by(log.clone()));
    let machine = Machine::new(seed, || {
        Session::new(outer, Limits::default()).unwrap().nest(inner, Direct).unwrap()
    });
    (machine, log)
}

/// Both ends of `setup`, and what each is told.
fn traced(setup: Setup) -> (Machines, [Arc<Log>; 2]) {
    let of = |side| machine(7, setup.outer_end(side).role(), setup.inner_end(side).role());
    let ((left, l), (right, r)) = (of(Side::Left), of(Side::Right));
    (Pair::new(left, right), [l, r])
}

/// Handshakes, data and key changes both ways, and both ends' goodbyes.
fn conversation(setup: Setup, schedule: &mut dyn Schedule) -> (Machines, [Arc<Log>; 2]) {
    let (mut pair, logs) = traced(setup);
    pair.drive(schedule);
    pair.assert_established();
    pair.send_by(Side::Left, &[7; 50_000], schedule);
    for (layer, version) in LAYERS.into_iter().zip([setup.outer, setup.inner]) {
        if version == Version::Tls13 {
            pair.right.update_keys(layer, true);
        }
    }
    pair.send_by(Side::Right, b"an answer", schedule);
    pair.left.close();
    pair.right.close();
    pair.drive(schedule);
    (pair, logs)
}

#[test]
fn every_record_is_told_once_with_its_length() {
    for setup in Setup::all() {
        let _told = Told::new(setup);
        let (pair, logs) = conversation(setup, &mut Whole);
        for (machine, log) in [&pair.left, &pair.right].into_iter().zip(&logs) {
            for layer in LAYERS {
                let info = machine.ports.layer(layer).unwrap();
                let sum = |way| {
                    let records = log.records(layer, way);
                    (records.len() as u64, records.iter().map(|(_, len)| *len as u64).sum::<u64>())
                };
                assert_eq!(sum(Direction::Received), (info.records_in, info.bytes_in));
                assert_eq!(sum(Direction::Sent), (info.records_out, info.bytes_out));
                assert_eq!(log.count(layer, &Entry::Established), 1);
                for way in BOTH {
                    let goodbye = Entry::Alert(way, AlertDescription::CloseNotify);
                    assert_eq!(log.count(layer, &goodbye), 1, "{layer} {way:?}");
                }
            }
            assert_eq!(log.failures(), []);
        }
        for layer in LAYERS {
            for (sender, receiver) in [(0, 1), (1, 0)] {
                let sent = logs[sender].records(layer, Direction::Sent);
                let received = logs[receiver].records(layer, Direction::Received);
                assert_eq!(sent.len(), received.len());
                for ((ours, len), (theirs, theirs_len)) in sent.into_iter().zip(received) {
                    assert_eq!(len, theirs_len, "{layer}");
                    // A server's tickets are hidden from itself.
                    let both = ours.zip(theirs);
                    assert!(both.is_none_or(|(ours, theirs)| ours == theirs), "{layer} {both:?}");
                }
            }
        }
    }
}

#[test]
fn messages_are_named_as_far_as_they_are_in_clear() {
    use HandshakeType::*;
    for setup in Setup::versions() {
        let _told = Told::new(setup);
        let (_, [log, _]) = conversation(setup, &mut Whole);
        for (layer, version) in LAYERS.into_iter().zip([setup.outer, setup.inner]) {
            let (sent, received) = match version {
                Version::Tls12 => (
                    vec![ClientHello, Certificate, ClientKeyExchange, CertificateVerify],
                    vec![
                        ServerHello,
                        Certificate,
                        ServerKeyExchange,
                        CertificateRequest,
                        ServerHelloDone,
                        NewSessionTicket,
                    ],
                ),
                // Then what comes after the handshake.
                Version::Tls13 => (
                    vec![ClientHello, KeyUpdate],
                    vec![ServerHello, NewSessionTicket, NewSessionTicket, KeyUpdate],
                ),
            };
            assert_eq!(log.messages(layer, Direction::Sent), sent, "{layer}");
            let mut found = log.messages(layer, Direction::Received);
            // Whether the server of TLS 1.2 has a ticket to give is the setup's affair.
            if version == Version::Tls12 && found.len() + 1 == received.len() {
                found.push(NewSessionTicket);
            }
            assert_eq!(found, received, "{layer}");
        }
    }
}

/// However small the records are that cut the messages, and the pieces that cut the records.
#[test]
fn cuts_change_nothing_of_what_is_told() {
    for setup in Setup::versions() {
        let small = Setup { max_fragment_size: Some(40), ..setup };
        let _told = Told::new(small);
        let (_, whole) = conversation(setup, &mut Whole);
        let (_, cut) = conversation(small, &mut Whole);
        for (log, cut) in whole.iter().zip(&cut) {
            for layer in LAYERS {
                for way in BOTH {
                    assert_eq!(log.messages(layer, way), cut.messages(layer, way), "{layer}");
                }
            }
        }
        let (_, [log, _]) = conversation(setup, &mut Bytes(101));
        for layer in LAYERS {
            let handshake = |log: &Log| log.messages(layer, Direction::Received);
            assert_eq!(handshake(&log), handshake(&whole[0]));
        }
    }
}

/// The ChangeCipherSpec behind a HelloRetryRequest changes nothing: both hellos come in clear.
#[test]
fn a_second_hello_is_seen_as_one() {
    use HandshakeType::*;
    let provider = |groups: &[_]| {
        Arc::new(CryptoProvider { kx_groups: groups.to_vec(), ..ring::default_provider() })
    };
    let (x25519, p256) = (ring::kx_group::X25519, ring::kx_group::SECP256R1);
    let pki = pki::outer();
    let mut roots = RootCertStore::empty();
    roots.add(pki.ca.clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider(&[x25519, p256]))
        .with_protocol_versions(&[Version::Tls13.rustls()])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let server = ServerConfig::builder_with_provider(provider(&[p256]))
        .with_protocol_versions(&[Version::Tls13.rustls()])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![pki.server.0.clone()], pki.server_key())
        .unwrap();
    let setup = Setup::default();
    let inner = |side| setup.inner_end(side).role();
    let (left, log) = machine(1, Role::client(client, pki.name()), inner(Side::Left));
    let (right, theirs) = machine(2, Role::server(server), inner(Side::Right));
    let mut pair = Pair::new(left, right);
    pair.settle();
    pair.assert_established();
    let hellos = log.messages(Layer::Outer, Direction::Sent);
    assert_eq!(hellos, [ClientHello, ClientHello]);
    assert_eq!(theirs.messages(Layer::Outer, Direction::Received), hellos);
    let answers = log.messages(Layer::Outer, Direction::Received);
    assert_eq!(answers[..2], [ServerHello, ServerHello]);
    assert!(!answers.contains(&HelloRequest), "{answers:?}");
}

#[test]
fn a_failure_is_told_once_in_its_layer() {
    for layer in LAYERS {
        let _told = Told::new(layer);
        let role = |of, pki: &'static pki::Pki| {
            let client = match of == layer {
                true => pki.anonymous_client(Version::Tls12),
                false => pki.client(Version::Tls12),
            };
            (Role::client(client, pki.name()), Role::server(pki.server(Version::Tls12)))
        };
        let (outer, inner) = (role(Layer::Outer, pki::outer()), role(Layer::Inner, pki::inner()));
        let (left, l) = machine(1, outer.0, inner.0);
        let (right, r) = machine(2, outer.1, inner.1);
        let mut pair = Pair::new(left, right);
        pair.settle();
        pair.hang_up();
        for (machine, log) in [(&pair.left, &l), (&pair.right, &r)] {
            let error = machine.error().unwrap();
            assert_eq!(log.failures(), [(layer, Entry::Failed(error.to_string()))]);
            assert_eq!(log.count(layer, &Entry::Established), 0);
        }
    }
}

#[test]
fn a_record_that_can_not_be_opened_is_told_as_such() {
    for version in Version::ALL {
        let setup = Setup::new(version, version, Setup::default().mix);
        let _told = Told::new(setup);
        let log = Arc::new(Log::default());
        let role = setup.outer_end(Side::Left).role().traced_by(log.clone());
        let mut machine = Machine::new(3, || Session::new(role, Limits::default()).unwrap());
        let mut peer = Hostile::new(5, &setup.outer_end(Side::Right));
        peer.connect(&mut |bytes| {
            machine.receive(bytes);
            machine.transmit(usize::MAX)
        });
        let forged = [[23, 3, 3, 0, 40].as_slice(), &[9; 40]].concat();
        machine.receive(&forged);
        let told = log.of(Layer::Outer);
        let at = told.iter().position(|entry| {
            *entry == Entry::Record(Direction::Received, None, true, forged.len())
        });
        let after = &told[at.unwrap() + 1..];
        let alert = Entry::Alert(Direction::Sent, AlertDescription::BadRecordMac);
        assert!(after.contains(&alert), "{after:?}");
        assert!(matches!(after.last(), Some(Entry::Failed(_))), "{after:?}");
    }
}
