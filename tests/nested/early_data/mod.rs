//! The inner ClientHello as early data of the outer layer: taken or not, nothing is lost; replayed,
//! nothing is won.

mod answers;
mod hostile;

use std::sync::Arc;

use nested_tls::*;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, ServerSessionMemoryCache, StoresServerSessions};
use rustls::{
    AlertDescription, ClientConfig, PeerMisbehaved, ServerConfig, SupportedProtocolVersion,
};

use super::chunking::conversation;
use super::handshakes::Machines;
use super::resumption::{Clock, Ends, ends, machines, memory, resumed};
use crate::support::crypto::{FixedTime, GROUP, NOW, OTHER_GROUP, provider};
use crate::support::framings::Prefixed;
use crate::support::glued::Glued;
use crate::support::null::{self, Strength};
use crate::support::pair::Pair;
use crate::support::party::{Machine, Party};
use crate::support::pki::{self, Version};
use crate::support::schedule::{Bytes, Coalesced, Random, Schedule, Told, Whole};
use crate::support::setup::{End, Setup, Side};

/// An outer client that sends early data where it can.
pub(crate) fn asking(config: ClientConfig, rule: Arc<dyn ServerCertVerifier>) -> Role {
    let prepared = Prepared::from(config).with_resumption(ClientSessions::new(rule, memory()));
    Role::client(prepared.with_early_data(), pki::outer().name())
}

/// An outer server that takes it.
fn answering(config: ServerConfig, rule: Arc<dyn ClientCertVerifier>) -> Role {
    Role::server(Prepared::from(config).with_early_data().with_resumption(rule))
}

pub(crate) fn client() -> Role {
    asking(pki::outer().client(Version::Tls13), pki::outer().server_rule())
}

pub(crate) fn server(config: ServerConfig) -> Role {
    answering(config, pki::outer().client_rule())
}

pub(crate) fn outer() -> Ends {
    (client(), server(pki::outer().server(Version::Tls13)))
}

/// A first connection, after which the client has sessions.
pub(crate) fn warm(outer: &Ends, inner: &Ends) {
    let mut pair = machines(outer, inner, 100);
    pair.settle();
    pair.assert_established();
    assert_eq!(early(&pair), [false; 2]);
    pair.send(Side::Right, b"behind the tickets");
}

/// Whether early data was taken, as each side has it.
pub(crate) fn early(pair: &Machines) -> [bool; 2] {
    [&pair.left, &pair.right].map(|side| {
        assert!(!side.ports.layer(Layer::Inner).unwrap().early_data);
        side.ports.layer(Layer::Outer).unwrap().early_data
    })
}

/// The records of `bytes`, whole.
pub(crate) fn records(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    while let [_, _, _, high, low, ..] = bytes {
        let (record, rest) = bytes.split_at(5 + usize::from(u16::from_be_bytes([*high, *low])));
        records.push(record.to_vec());
        bytes = rest;
    }
    records
}

/// Every way of delivering bytes.
fn ways(mut with: impl FnMut(u64, &mut dyn Schedule)) {
    let ways: [&mut dyn Schedule; 6] = [
        &mut Whole,
        &mut Bytes(1),
        &mut Bytes(300),
        &mut Coalesced::default(),
        &mut Random::new(3),
        &mut Random::new(4),
    ];
    for (seed, schedule) in ways.into_iter().enumerate() {
        with(200 + seed as u64, schedule);
    }
}

#[test]
fn both_handshakes_take_one_round_trip() {
    let (outer, inner) = (outer(), ends(pki::inner(), Version::Tls13, false));
    warm(&outer, &inner);
    let mut pair = machines(&outer, &inner, 1);
    for side in Side::BOTH {
        assert!(!pair.left.has(Event::Established(Layer::Outer)));
        pair.transmit(side, &mut Whole);
        pair.deliver(side, &mut Whole);
    }
    assert!(pair.left.has(Event::Established(Layer::Inner)));
    assert_eq!(pair.left.write(b"request"), 7);
    // What came early was answered, and no more: the client has not shown yet that it is there.
    assert_eq!(pair.right.report().events, []);
    pair.settle();
    pair.assert_established();
    assert_eq!(pair.right.report().read, b"request");
    assert_eq!(early(&pair), [true; 2]);
    assert_eq!(resumed(&pair.left), [true, false]);
}

/// The answer has begun to come in the middle of a message: it is too late, and nothing is lost by that.
#[test]
fn an_inner_layer_that_comes_within_the_answer() {
    let (outer, inner) = (outer(), ends(pki::inner(), Version::Tls13, false));
    warm(&outer, &inner);
    let Pair { mut right, .. } = machines(&outer, &inner, 2);
    let mut alone = Machine::new(2, || Session::new(outer.0.clone(), Limits::default()).unwrap());
    right.receive(&alone.transmit_all());
    let flight = right.transmit_all();
    let [typ, major, minor, high, low, body @ ..] = &flight[..] else { panic!("{flight:?}") };
    let [high, low] = (u16::from_be_bytes([*high, *low]) - 1).to_be_bytes();
    alone.receive(&[*typ, *major, *minor, 0, 1, body[0]]);
    let mut left = alone.map(|session| session.nest(inner.0.clone(), Direct).unwrap());
    left.receive(&[&[*typ, *major, *minor, high, low], &body[1..]].concat());
    let mut pair = Pair::new(left, right);
    pair.settle();
    pair.assert_established();
    pair.send(Side::Left, b"request");
    assert_eq!(pair.right.report().read, b"request");
    assert_eq!(early(&pair), [false; 2]);
    assert_eq!(resumed(&pair.left), [true, false]);
}

#[test]
fn every_chunking_of_early_data() {
    for version in Version::ALL {
        for inner_resumes in [false, true] {
            let setup = Setup { inner: version, ..Setup::default() };
            let oracle = conversation(
                Pair::new(setup.glued(Side::Left), setup.glued(Side::Right)),
                &setup,
                &mut Whole,
            );
            let (outer, inner) = (outer(), ends(pki::inner(), version, inner_resumes));
            warm(&outer, &inner);
            ways(|seed, schedule| {
                let _told = Told::new((version, inner_resumes, seed));
                let mut pair = machines(&outer, &inner, seed);
                pair.drive(schedule);
                assert_eq!(early(&pair), [true; 2]);
                assert_eq!(resumed(&pair.right), [true, inner_resumes]);
                pair.left.with(|ports| ports.update_keys(Layer::Outer, true).unwrap());
                pair.right.with(|ports| ports.update_keys(Layer::Outer, false).unwrap());
                assert_eq!(conversation(pair, &setup, schedule), oracle);
            });
        }
    }
}

/// An outer server before and after something happens to it, with one memory of sessions.
struct Rejection {
    what: &'static str,
    client: Role,
    before: ServerConfig,
    after: Role,
    /// Whether the session goes on all the same.
    resumes: bool,
}

fn rejections() -> Vec<Rejection> {
    let tls13 = Version::Tls13;
    let remembering = |sessions: &Arc<dyn StoresServerSessions>| {
        let mut config = pki::outer().server(tls13);
        config.session_storage = sessions.clone();
        config
    };
    let row = |what, resumes, edit: &dyn Fn(&mut ServerConfig)| {
        let sessions: Arc<dyn StoresServerSessions> = ServerSessionMemoryCache::new(32);
        let before = remembering(&sessions);
        let mut after = remembering(&sessions);
        edit(&mut after);
        Rejection { what, client: client(), before, after: server(after), resumes }
    };
    let mut rows = vec![
        row("its memory is gone", false, &|config| {
            config.session_storage = ServerSessionMemoryCache::new(32);
        }),
        row("its clock is not the client's", true, &|config| {
            let clock = Clock::at(NOW + 120);
            config.time_provider = Arc::new(clock);
        }),
    ];
    rows.push({
        let mut row = row("it takes no early data any more", true, &|_| ());
        let rule = pki::outer().client_rule();
        row.after = Role::server(Prepared::from(row.before.clone()).with_resumption(rule));
        row
    });
    rows.push({
        let mut row = row("it chooses another protocol", true, &|config| {
            config.alpn_protocols = vec![b"two".to_vec()];
        });
        row.before.alpn_protocols = vec![b"one".to_vec()];
        let mut config = pki::outer().client(tls13);
        config.alpn_protocols = vec![b"one".to_vec(), b"two".to_vec()];
        row.client = asking(config, pki::outer().server_rule());
        row
    });
    rows.push({
        let mut row = row("it wants another key share", true, &|_| ());
        let with = |groups| Arc::new(CryptoProvider { kx_groups: groups, ..(*provider()).clone() });
        let config = pki::outer().client_with(with(vec![GROUP, OTHER_GROUP]), &[tls13.rustls()]);
        row.client = asking(config, pki::outer().server_rule());
        let mut after = pki::outer().server_with(with(vec![OTHER_GROUP]), &[tls13.rustls()]);
        after.session_storage = row.before.session_storage.clone();
        row.after = server(after);
        row
    });
    rows
}

#[test]
fn what_is_not_taken_is_not_lost() {
    for version in Version::ALL {
        let setup = Setup { inner: version, ..Setup::default() };
        let oracle = conversation(
            Pair::new(setup.glued(Side::Left), setup.glued(Side::Right)),
            &setup,
            &mut Whole,
        );
        ways(|seed, schedule| {
            for row in rejections() {
                let _told = Told::new((version, seed, row.what));
                let inner = ends(pki::inner(), version, false);
                warm(&(row.client.clone(), server(row.before)), &inner);
                let mut pair = machines(&(row.client, row.after), &inner, seed);
                let offered = pair.left.ports.layer(Layer::Outer).unwrap().records_out;
                assert_eq!(offered, 3, "ClientHello, ChangeCipherSpec, early data");
                pair.drive(schedule);
                pair.assert_established();
                assert_eq!(early(&pair), [false; 2]);
                assert_eq!(resumed(&pair.left), [row.resumes, false]);
                assert_eq!(conversation(pair, &setup, schedule), oracle);
            }
        });
    }
}

/// The server's ticket says how much it takes; the rest follows.
#[test]
fn a_server_may_take_a_part() {
    let usual = Setup::default().pair();
    let flight = usual.left.ports.layer(Layer::Inner).unwrap().bytes_out as u32;
    for fragment in [None, Some(64), Some(32)] {
        for most in [0, 1, 16, 100, flight - 1, flight, flight + 1, 16_384] {
            let _told = Told::new((fragment, most));
            let mut config = pki::outer().client(Version::Tls13);
            config.max_fragment_size = fragment;
            let outer = asking(config, pki::outer().server_rule());
            let mut taking = pki::outer().server(Version::Tls13);
            taking.max_early_data_size = most;
            let taking = End::Server(Arc::new(taking));
            let setup = Setup { tickets: 0, ..Setup::default() };
            ways(|seed, schedule| {
                let again = seed > 200;
                let machine = Machine::new(seed, || {
                    let session = Session::new(outer.clone(), Limits::default()).unwrap();
                    session.nest(setup.inner_end(Side::Left).role(), Direct).unwrap()
                });
                let glued = Glued::new(9, &taking, &setup.inner_end(Side::Right));
                let mut pair = Pair::new(machine, glued);
                pair.drive(schedule);
                pair.assert_established();
                let taken = pair.left.ports.layer(Layer::Outer).unwrap().early_data;
                assert_eq!(taken, again && most > 0);
                pair.send_by(Side::Left, b"ping", schedule);
                pair.send_by(Side::Right, b"pong", schedule);
                assert_eq!(pair.left.report().read, b"pong");
                assert_eq!(pair.right.report().read, b"ping");
            });
        }
    }
}

/// What a client sends behind its early data says whether that was taken: an end of it before Finished.
#[test]
fn a_finished_in_several_records_is_no_end_of_early_data() {
    let tls13 = Version::Tls13;
    for size in [32, 33, 40, 41, 64] {
        for taken in [true, false] {
            let _told = Told::new((size, taken));
            let mut config = pki::outer().client(tls13);
            config.max_fragment_size = Some(size);
            let client = asking(config, pki::outer().server_rule());
            let before = pki::outer().server(tls13);
            let after = match taken {
                true => server(before.clone()),
                false => Role::server(
                    Prepared::from(before.clone()).with_resumption(pki::outer().client_rule()),
                ),
            };
            let inner = ends(pki::inner(), tls13, false);
            warm(&(client.clone(), server(before)), &inner);
            let mut pair = machines(&(client, after), &inner, 1);
            pair.settle();
            pair.assert_established();
            assert_eq!(early(&pair), [taken; 2]);
            assert_eq!(resumed(&pair.left), [true, false]);
        }
    }
}

/// A first flight in more records than most have.
#[test]
fn a_long_hello_may_take_many_records() {
    let mut config = pki::outer().client(Version::Tls13);
    config.max_fragment_size = Some(32);
    let outer = (asking(config, pki::outer().server_rule()), outer().1);
    let names: Vec<_> = (0..10).map(|i| vec![b'a' + i; 100]).collect();
    let (mut client, mut server) =
        (pki::inner().client(Version::Tls13), pki::inner().server(Version::Tls13));
    client.alpn_protocols.clone_from(&names);
    server.alpn_protocols = names;
    let inner = (Role::client(client, pki::inner().name()), Role::server(server));
    warm(&outer, &inner);
    let mut pair = machines(&outer, &inner, 1);
    pair.settle();
    pair.assert_established();
    assert_eq!(early(&pair), [true; 2]);
}

/// Early data goes nowhere but to whom the session began with, while it lasts.
#[test]
fn nothing_is_offered_without_a_session() {
    const A_DAY: u64 = 86_400;
    let inner = ends(pki::inner(), Version::Tls13, false);
    let other = ServerName::try_from("other.test").unwrap();
    for (age, name, offers) in [
        (0, pki::outer().name(), true),
        (A_DAY - 1, pki::outer().name(), true),
        // The most that a server of rustls promises without tickets that hold their session.
        (A_DAY + 1, pki::outer().name(), false),
        (0, other, false),
    ] {
        let _told = Told::new((age, &name));
        let clock = Clock::at(NOW);
        let mut config = pki::outer().client(Version::Tls13);
        config.time_provider = Arc::new(clock.clone());
        let mut answers = pki::outer().server(Version::Tls13);
        answers.time_provider = Arc::new(clock.clone());
        let (asking, answering) = (asking(config, pki::outer().server_rule()), server(answers));
        warm(&(asking.clone(), answering.clone()), &inner);
        clock.forward(age);
        let Role::Client { config, .. } = asking else { unreachable!() };
        let outer = (Role::client(config, name.clone()), answering);
        let mut pair = machines(&outer, &inner, 1);
        let sent = pair.left.ports.layer(Layer::Outer).unwrap().records_out;
        assert_eq!(sent, if offers { 3 } else { 1 });
        pair.settle();
        if name == pki::outer().name() {
            pair.assert_established();
            assert_eq!(early(&pair), [offers; 2]);
            assert_eq!(resumed(&pair.right), [offers, false]);
        }
    }
}

#[test]
fn a_server_that_went_back_to_an_older_version_is_refused_once() {
    let both: &[&'static SupportedProtocolVersion] =
        &[Version::Tls12.rustls(), Version::Tls13.rustls()];
    let config = ClientConfig::builder_with_details(provider(), Arc::new(FixedTime))
        .with_protocol_versions(both)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(pki::outer().server_rule())
        .with_client_auth_cert(vec![pki::outer().client.0.clone()], pki::outer().client_key())
        .unwrap();
    let asking = asking(config, pki::outer().server_rule());
    let mut once = pki::outer().server(Version::Tls13);
    once.send_tls13_tickets = 1;
    let inner = ends(pki::inner(), Version::Tls13, false);
    warm(&(asking.clone(), server(once)), &inner);
    let outer = (asking, server(pki::outer().server(Version::Tls12)));
    // "A client that attempts to send 0-RTT data MUST fail a connection if it receives a
    // ServerHello with TLS 1.2 or older." <https://www.rfc-editor.org/rfc/rfc8446#appendix-D.3>
    let mut pair = machines(&outer, &inner, 1);
    pair.settle();
    let expected = PeerMisbehaved::OfferedEarlyDataWithOldProtocolVersion;
    assert_eq!(pair.left.error().unwrap().layer(), Layer::Outer);
    assert_eq!(pair.left.error().unwrap().kind(), &ErrorKind::Tls(expected.into()));
    assert!(pair.right.error().is_some());
    // The session is used up.
    let mut pair = machines(&outer, &inner, 2);
    pair.settle();
    pair.assert_established();
}

#[test]
fn a_session_that_must_not_go_on_is_not_answered_early() {
    let sessions: Arc<dyn StoresServerSessions> = ServerSessionMemoryCache::new(32);
    let mut config = pki::outer().server(Version::Tls13);
    config.session_storage = sessions;
    let inner = ends(pki::inner(), Version::Tls13, false);
    let asking = client();
    warm(&(asking.clone(), server(config.clone())), &inner);
    // No client's certificate passes this rule.
    let mut pair = machines(&(asking, answering(config, Arc::new(NoClientAuth))), &inner, 1);
    pair.settle();
    assert!(pair.left.ports.layer(Layer::Outer).unwrap().resumed);
    let seen = pair.right.ports.layer(Layer::Inner).unwrap();
    assert_eq!((seen.bytes_in, seen.bytes_out), (0, 0));
    assert_eq!(pair.right.error().unwrap().layer(), Layer::Outer);
    let told = pair.left.error().unwrap();
    assert_eq!(told.alert_received(), Some(AlertDescription::AccessDenied));
    assert_eq!(told.layer(), Layer::Outer);
}

#[test]
fn the_inner_layer_has_none() {
    for (early, usual) in [(outer().0, outer().1), (outer().1, outer().0)] {
        for outer in [early.clone(), usual] {
            let session = Session::new(outer, Limits::default()).unwrap();
            let error = session.nest(early.clone(), Direct).unwrap_err();
            assert_eq!(error.kind(), &ErrorKind::Misuse(Misuse::InnerEarlyData));
        }
    }
}

/// An exporter costs each connection a configuration of its own; sessions go on all the same.
#[test]
fn exporters_are_those_of_the_connection() {
    let exporting = |(client, server): Ends| (client.with_exporter(), server.with_exporter());
    let (outer, inner) = (exporting(outer()), exporting(ends(pki::inner(), Version::Tls13, true)));
    warm(&outer, &inner);
    let mut seen = Vec::new();
    for seed in [1, 2] {
        let mut pair = machines(&outer, &inner, seed);
        pair.settle();
        pair.assert_established();
        assert_eq!(early(&pair), [true; 2]);
        for layer in [Layer::Outer, Layer::Inner] {
            let material = pair.left.ports.tls_exporter(layer).unwrap();
            assert_eq!(pair.right.ports.tls_exporter(layer).unwrap(), material);
            assert!(!seen.contains(&material));
            seen.push(material);
        }
    }
}
