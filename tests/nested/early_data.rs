//! The inner ClientHello as early data of the outer layer: taken or not, nothing is lost; replayed,
//! nothing is won.

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

/// A store that hands out a session as often as it is asked, as no store should.
#[derive(Debug)]
struct Forgetful(Arc<dyn StoresServerSessions>);

impl StoresServerSessions for Forgetful {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.0.put(key, value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.get(key)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.get(key)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

/// Whoever has seen a connection sends all of it again.
#[test]
fn a_replay_wins_nothing() {
    for forgetful in [false, true] {
        for inner in Version::ALL {
            let _told = Told::new((forgetful, inner));
            let mut config = pki::outer().server(Version::Tls13);
            if forgetful {
                config.session_storage = Arc::new(Forgetful(ServerSessionMemoryCache::new(32)));
            }
            let (outer, inner) = ((client(), server(config)), ends(pki::inner(), inner, true));
            warm(&outer, &inner);
            let mut pair = machines(&outer, &inner, 1);
            pair.drive(&mut Coalesced::default());
            pair.send(Side::Left, b"pay once");
            assert_eq!(early(&pair), [true; 2]);
            let seen = pair.to_right.transcript;
            let first = pair.to_right.flights[0].end;

            for sent in [first, seen.len()] {
                let mut victim = machines(&outer, &inner, 77 + sent as u64).right;
                victim.receive(&seen[..sent]);
                let answer = victim.transmit(usize::MAX);
                assert!(!answer.is_empty());
                assert_eq!(victim.report().events, []);
                assert_eq!(victim.report().read, b"");
                // A session that is used up makes early data noise.
                let info = victim.ports.layer(Layer::Inner).unwrap();
                assert_eq!(info.bytes_in > 0, forgetful);
                assert_eq!(info.version, None);
                victim.eof();
                assert_eq!(victim.error().unwrap().layer(), Layer::Outer);
            }
        }
    }
}

/// An outer layer whose cryptography notices nothing, so that the test can be anybody.
fn transparent() -> Ends {
    let (name, strength) = (pki::outer().name, Strength::Nothing);
    let client = null::client(strength, name, Version::Tls13);
    let server = null::server(strength, name, Version::Tls13, true);
    (
        asking(client, null::server_rule(strength, name)),
        answering(server, null::client_rule(strength, name)),
    )
}

/// A record of data in that layer.
fn data(payload: &[u8]) -> Vec<u8> {
    let len = payload.len() + 1 + 16;
    let mut record = vec![23, 3, 3, (len >> 8) as u8, len as u8];
    record.extend_from_slice(payload);
    record.push(23);
    record.extend([0; 16]);
    record
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

/// The client's first flight, on the wire; then deliver what the test makes of it.
fn first_flight<A: Party, B: Party>(pair: &mut Pair<A, B>) -> Vec<Vec<u8>> {
    pair.transmit(Side::Left, &mut Whole);
    let flight = records(&pair.to_right.steal());
    assert_eq!(flight.iter().map(|record| record[0]).collect::<Vec<_>>(), [22, 20, 23]);
    flight
}

/// A client that goes on with early data where its Finished is due: with its part of the inner
/// handshake, which the early answer lets it complete, and with application data.
#[test]
fn only_one_inner_flight_is_looked_at_early() {
    for inner in Version::ALL {
        let (outer, inner) = (transparent(), ends(pki::inner(), inner, true));
        warm(&outer, &inner);
        let mut pair = machines(&outer, &inner, 1);
        for side in Side::BOTH {
            pair.transmit(side, &mut Whole);
            pair.deliver(side, &mut Whole);
        }
        assert_eq!(pair.left.write(b"request"), 7);
        pair.transmit(Side::Left, &mut Whole);
        let mut flight = records(&pair.to_right.steal());
        assert!(flight.len() > 2);
        // EndOfEarlyData and Finished come last.
        flight.rotate_left(2);
        let rest = flight.split_off(flight.len() - 2);
        let before = pair.right.ports.layer(Layer::Inner).unwrap().clone();
        for record in flight {
            pair.to_right.inject(&record);
            pair.deliver(Side::Left, &mut Whole);
        }
        let now = pair.right.ports.layer(Layer::Inner).unwrap();
        assert_eq!((now.records_in, now.records_out), (before.records_in, before.records_out));
        assert_eq!(pair.right.report().events, []);
        assert_eq!(pair.right.ports.plain_out(), Plaintext::Pending);
        for record in rest {
            pair.to_right.inject(&record);
            pair.deliver(Side::Left, &mut Whole);
        }
        pair.settle();
        pair.assert_established();
        assert_eq!(pair.right.report().read, b"request");
    }
}

#[test]
fn an_inner_refusal_of_early_data_is_told() {
    let (outer, inner) = (transparent(), ends(pki::inner(), Version::Tls13, false));
    warm(&outer, &inner);
    let mut pair = machines(&outer, &inner, 1);
    let mut flight = first_flight(&mut pair);
    // The type of the inner handshake message.
    assert_eq!(flight[2][10], 1);
    flight[2][10] = 99;
    pair.to_right.inject(&flight.concat());
    pair.settle();
    let refusing = pair.right.error().unwrap();
    assert_eq!((refusing.layer(), refusing.phase()), (Layer::Inner, Phase::OuterHandshake));
    let refused = pair.left.error().unwrap();
    assert_eq!(refused.layer(), Layer::Inner);
    assert!(refused.alert_received().is_some(), "{refused}");
}

/// The outer client may have ended its handshake in the same piece: that is too late all the same.
#[test]
fn a_refused_first_flight_fails_early_however_it_is_split() {
    let inner = ends(pki::inner(), Version::Tls13, false);
    let mut told = Vec::new();
    ways(|_, schedule| {
        let outer = transparent();
        warm(&outer, &inner);
        let mut pair = machines(&outer, &inner, 1);
        let mut flight = first_flight(&mut pair);
        // The type of the inner handshake message.
        flight[2][10] = 99;
        let early = flight.split_off(1).concat();
        pair.to_right.inject(&flight.concat());
        pair.deliver(Side::Left, &mut Whole);
        pair.transmit(Side::Right, &mut Whole);
        pair.deliver(Side::Right, &mut Whole);
        pair.to_right.inject(&early);
        pair.transmit(Side::Left, &mut Whole);
        pair.drive(schedule);
        let error = pair.right.error().unwrap();
        assert_eq!((error.layer(), error.phase()), (Layer::Inner, Phase::OuterHandshake));
        assert_eq!(pair.right.report().events, []);
        told.push(pair.right.report().clone());
    });
    told.dedup();
    assert_eq!(told.len(), 1, "{told:?}");
}

/// What comes behind the inner ClientHello waits, in whatever pieces it comes.
#[test]
fn what_is_behind_the_first_flight_fails_later_however_it_is_split() {
    let (outer, inner) = (transparent(), ends(pki::inner(), Version::Tls13, false));
    warm(&outer, &inner);
    let mut told = Vec::new();
    ways(|seed, schedule| {
        let mut pair = machines(&outer, &inner, seed);
        let flight = first_flight(&mut pair);
        pair.to_right.inject(&flight.concat());
        // An inner record that makes no sense.
        pair.to_right.inject(&data(&[22, 3, 3, 0, 4, 99, 0, 0, 0]));
        pair.drive(schedule);
        assert!(pair.right.has(Event::Established(Layer::Outer)));
        assert_eq!(pair.right.error().unwrap().layer(), Layer::Inner);
        told.push([pair.left.report().clone(), pair.right.report().clone()]);
    });
    told.dedup();
    assert_eq!(told.len(), 1, "{told:?}");
}

#[test]
fn early_data_has_a_bound() {
    let (outer, inner) = (transparent(), ends(pki::inner(), Version::Tls13, false));
    warm(&outer, &inner);
    let limits = Limits {
        wire_in: 1000,
        record: 6000,
        handshake: 6000,
        plaintext: 100,
        wire_out: 100,
        messages: 100,
    };
    for (records, fits) in [(1, true), (2, false)] {
        ways(|seed, schedule| {
            let left = machines(&outer, &inner, seed).left;
            let right = Machine::new(seed + 50, || {
                let session = Session::new(outer.1.clone(), limits).unwrap();
                session.nest(inner.1.clone(), Direct).unwrap()
            });
            let mut pair = Pair::new(left, right);
            let flight = first_flight(&mut pair);
            pair.to_right.inject(&flight.concat());
            for _ in 0..records {
                pair.to_right.inject(&data(&[0; 4000]));
            }
            pair.drive(schedule);
            let kind = pair.right.error().unwrap().kind().clone();
            let expected = ErrorKind::Limit { what: "early data", limit: 6000 };
            assert_eq!(kind == expected, !fits, "{kind:?}");
            if !fits {
                let alert = pair.left.error().unwrap().alert_received();
                assert_eq!(alert, Some(AlertDescription::DecodeError));
            }
        });
    }
}

/// A message for the host is no part of the inner layer's first flight.
#[test]
fn messages_and_marks_wait_for_the_end_of_the_handshake() {
    let (outer, inner) = (transparent(), ends(pki::inner(), Version::Tls13, false));
    let machine = |(outer, inner): (&Role, &Role), seed| {
        Machine::new(seed, || {
            let session = Session::new(outer.clone(), Limits::default()).unwrap();
            session.nest(inner.clone(), Prefixed::default()).unwrap()
        })
    };
    let pair = |seed| {
        let (left, right) = ((&outer.0, &inner.0), (&outer.1, &inner.1));
        Pair::new(machine(left, seed), machine(right, seed + 50))
    };
    let mut first = pair(1);
    first.settle();
    first.send(Side::Right, b"behind the tickets");

    // What the user of a client says at once.
    let mut told = pair(2);
    told.left.with(|ports| ports.send_message(b"for the host").unwrap());
    let flight = first_flight(&mut told);
    let contains = |bytes: &[u8]| bytes.windows(12).any(|window| window == b"for the host");
    assert!(!contains(&flight.concat()));
    told.to_right.inject(&flight.concat());
    told.settle();
    told.assert_established();
    let message = told.right.with(Nested::poll_message).unwrap();
    assert_eq!(message, &b"for the host"[..]);
    assert!(told.left.ports.layer(Layer::Outer).unwrap().early_data);

    // What the user of a server says before a client has come. The inner answer must not overtake it.
    let mut told = pair(20);
    told.right.with(|ports| ports.send_message(b"for the host").unwrap());
    let flight = first_flight(&mut told);
    told.to_right.inject(&flight.concat());
    told.deliver(Side::Left, &mut Whole);
    told.transmit(Side::Right, &mut Whole);
    assert!(!contains(&told.to_left.transcript));
    told.settle();
    told.assert_established();
    assert!(told.right.ports.layer(Layer::Outer).unwrap().early_data);
    assert_eq!(told.left.with(Nested::poll_message).unwrap(), &b"for the host"[..]);

    // What a client sends as early data: a message, an end mark, nonsense.
    for (seed, frame) in
        [&b"\x01\x00\x04psst"[..], b"\x02\x00\x00", b"\x09"].into_iter().enumerate()
    {
        let mut told = pair(3 + seed as u64);
        let flight = first_flight(&mut told);
        told.to_right.inject(&flight.concat());
        told.to_right.inject(&data(frame));
        told.deliver(Side::Left, &mut Whole);
        assert_eq!(told.right.with(Nested::poll_message), None);
        assert_eq!(told.right.error(), None);
        assert_eq!(told.right.ports.phase(), Phase::OuterHandshake);
        told.settle();
        assert!(told.right.has(Event::Established(Layer::Outer)));
        match seed {
            0 => {
                told.assert_established();
                assert_eq!(told.right.with(Nested::poll_message).unwrap(), &b"psst"[..]);
            }
            _ => assert_ne!(told.right.error().unwrap().phase(), Phase::OuterHandshake),
        }
    }
}

/// What came early is the preamble's only when the client has shown that it is there.
#[test]
fn a_session_alone_keeps_early_data_to_itself() {
    for inner in Version::ALL {
        let (outer, inner) = (outer(), ends(pki::inner(), inner, false));
        warm(&outer, &inner);
        let left = machines(&outer, &inner, 1).left;
        let sent = left.ports.layer(Layer::Inner).unwrap().bytes_out as usize;
        let right = Machine::new(2, || Session::new(outer.1.clone(), Limits::default()).unwrap());
        let mut pair = Pair::new(left, right);
        pair.transmit(Side::Left, &mut Whole);
        pair.deliver(Side::Left, &mut Whole);
        assert_eq!(pair.right.ports.plain_out(), Plaintext::Pending);
        pair.stopped.1 = true;
        pair.settle();
        assert!(pair.right.ports.layer(Layer::Outer).unwrap().early_data);
        let Plaintext::Bytes(bytes) = pair.right.ports.plain_out() else { panic!("no preamble") };
        assert_eq!(bytes.len(), sent);
        let right = pair.right.map(|session| session.nest(inner.1.clone(), Direct).unwrap());
        let mut pair = Pair::new(pair.left, right);
        pair.settle();
        pair.assert_established();
        pair.send(Side::Right, b"pong");
        assert_eq!(pair.left.report().read, b"pong");
    }
}

/// Whoever cuts the handshake and lets the client try again must not have its data acted upon twice.
#[test]
fn a_session_alone_that_failed_shows_no_early_data() {
    for inner in Version::ALL {
        let (outer, inner) = (outer(), ends(pki::inner(), inner, false));
        warm(&outer, &inner);
        let left = machines(&outer, &inner, 1).left;
        let right = Machine::new(2, || Session::new(outer.1.clone(), Limits::default()).unwrap());
        let mut pair = Pair::new(left, right);
        pair.transmit(Side::Left, &mut Whole);
        pair.deliver(Side::Left, &mut Whole);
        pair.stopped.1 = true;
        pair.to_right.inject(&[0xff; 64]);
        pair.deliver(Side::Left, &mut Whole);
        assert_eq!(pair.right.ports.failure().unwrap().phase(), Phase::OuterHandshake);
        assert_eq!(pair.right.ports.plain_out(), Plaintext::Pending);
        assert!(pair.right.ports.plain_out_bytes().is_none());
    }
}

/// A hostile server says that it took what nobody offered.
#[test]
fn early_data_that_was_not_offered_can_t_be_taken() {
    let inner = ends(pki::inner(), Version::Tls13, false);
    for offered in [false, true] {
        let mut outer = transparent();
        if offered {
            warm(&outer, &inner);
            // The session is unknown here, so the handshake is a full one.
            outer.1 = transparent().1;
        }
        let mut pair = machines(&outer, &inner, 1);
        pair.transmit(Side::Left, &mut Whole);
        pair.deliver(Side::Left, &mut Whole);
        pair.transmit(Side::Right, &mut Whole);
        let mut flight = records(&pair.to_left.steal());
        let record = flight.iter_mut().find(|record| record[0] == 23 && record[5] == 8).unwrap();
        // EncryptedExtensions: one more extension, early_data, and three lengths.
        record.splice(11..11, [0, 42, 0, 0]);
        for last in [4, 8, 10] {
            let (low, carry) = record[last].overflowing_add(4);
            record[last] = low;
            record[last - 1] += u8::from(carry);
        }
        pair.to_left.inject(&flight.concat());
        pair.settle();
        let expected = match offered {
            true => PeerMisbehaved::EarlyDataExtensionWithoutResumption,
            false => PeerMisbehaved::UnsolicitedEncryptedExtension,
        };
        let error = pair.left.error().unwrap();
        assert_eq!((error.layer(), error.kind()), (Layer::Outer, &ErrorKind::Tls(expected.into())));
        assert!(!pair.left.has(Event::Established(Layer::Outer)));
    }
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
