//! Sessions that go on: only where asked for, only on their own layer and under their own rule, and
//! never without a judgement.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nested_tls::*;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientSessionMemoryCache, ClientSessionStore, Tls12Resumption};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, ServerSessionMemoryCache};
use rustls::time_provider::TimeProvider;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, HandshakeKind,
    ServerConfig, SignatureScheme,
};

use super::chunking::conversation;
use super::handshakes::{Machines, pair_of};
use crate::support::glued::Glued;
use crate::support::pair::Pair;
use crate::support::party::{Machine, Party};
use crate::support::pki::{self, Pki, Version};
use crate::support::schedule::{Bytes, Coalesced, Random, Schedule, Told, Whole};
use crate::support::setup::{End, Setup, Side};

/// Who sends the first ClientHello, and who answers.
pub(crate) type Ends = (Role, Role);

pub(crate) fn memory() -> Arc<dyn ClientSessionStore> {
    Arc::new(ClientSessionMemoryCache::new(64))
}

/// A client that resumes under `rule`.
pub(crate) fn client(pki: &Pki, config: ClientConfig, rule: Arc<dyn ServerCertVerifier>) -> Role {
    let sessions = ClientSessions::new(rule, memory());
    Role::client(Prepared::from(config).with_resumption(sessions), pki.name())
}

/// A server that resumes under `rule`.
pub(crate) fn server(config: ServerConfig, rule: Arc<dyn ClientCertVerifier>) -> Role {
    Role::server(Prepared::from(config).with_resumption(rule))
}

/// Both ends of a layer; its sessions go on if `resumes`.
pub(crate) fn ends(pki: &Pki, version: Version, resumes: bool) -> Ends {
    let (config, answering) = (pki.client(version), pki.server(version));
    match resumes {
        true => (client(pki, config, pki.server_rule()), server(answering, pki.client_rule())),
        false => (Role::client(config, pki.name()), Role::server(answering)),
    }
}

pub(crate) fn resumed(machine: &Machine<Nested>) -> [bool; 2] {
    [Layer::Outer, Layer::Inner].map(|layer| machine.ports.layer(layer).unwrap().resumed)
}

/// A client and a server of both layers, not yet connected.
pub(crate) fn machines(outer: &Ends, inner: &Ends, seed: u64) -> Machines {
    let machine = |outer: &Role, inner: &Role, seed| {
        Machine::new(seed, || {
            let session = Session::new(outer.clone(), Limits::default()).unwrap();
            session.nest(inner.clone(), Direct).unwrap()
        })
    };
    Pair::new(machine(&outer.0, &inner.0, seed), machine(&outer.1, &inner.1, !seed))
}

#[test]
fn each_layer_resumes_where_it_is_asked_to() {
    for setup in Setup::versions() {
        for asked in [[false, false], [true, false], [false, true], [true, true]] {
            let _told = Told::new((setup, asked));
            let outer = ends(pki::outer(), setup.outer, asked[0]);
            let inner = ends(pki::inner(), setup.inner, asked[1]);
            for again in [false, true, true] {
                let mut pair = pair_of(outer.clone(), inner.clone());
                pair.assert_established();
                for (layer, version) in [(Layer::Outer, setup.outer), (Layer::Inner, setup.inner)] {
                    if version == Version::Tls13 {
                        pair.left.with(|ports| ports.update_keys(layer, true).unwrap());
                        pair.settle();
                    }
                }
                pair.send(Side::Left, b"to the server");
                pair.send(Side::Right, b"behind the tickets");
                assert_eq!(pair.left.report().read, b"behind the tickets");
                assert_eq!(pair.right.report().read, b"to the server");
                for machine in [&pair.left, &pair.right] {
                    assert_eq!(resumed(machine), asked.map(|asked| asked && again));
                }
                // A session that goes on still says who the peer is.
                for (pki, layer) in [(pki::outer(), Layer::Outer), (pki::inner(), Layer::Inner)] {
                    let peer = |side: &Machine<Nested>| {
                        side.ports.layer(layer).unwrap().peer_certificates.clone()
                    };
                    assert_eq!(peer(&pair.right).as_deref(), Some(&[pki.client.0.clone()][..]));
                    assert_eq!(peer(&pair.left).as_deref(), Some(&[pki.server.0.clone()][..]));
                }
            }
        }
    }
}

#[test]
fn one_side_alone_resumes_nothing() {
    // rustls' own connections resume unless told not to.
    for version in Version::ALL {
        let config =
            (Arc::new(pki::outer().client(version)), Arc::new(pki::outer().server(version)));
        let client = End::Client(config.0.clone(), pki::outer().name());
        let server = End::Server(config.1.clone());
        let sides = [
            (Role::client(config.0, pki::outer().name()), server),
            (Role::server(config.1), client),
        ];
        let setup = Setup { tickets: 0, ..Setup::default() };
        let inner = [setup.inner_end(Side::Left), setup.inner_end(Side::Right)];
        for ((ours, theirs), inner) in
            sides.into_iter().zip([[0, 1], [1, 0]].map(|i| i.map(|i| inner[i].clone())))
        {
            for round in 0..3 {
                let machine = Machine::new(round, || {
                    let session = Session::new(ours.clone(), Limits::default()).unwrap();
                    session.nest(inner[0].role(), Direct).unwrap()
                });
                let mut pair = Pair::new(machine, Glued::new(9 + round, &theirs, &inner[1]));
                pair.settle();
                pair.assert_established();
                assert_eq!(resumed(&pair.left), [false; 2]);
                pair.right.with(|outer, _| {
                    assert_eq!(outer.handshake_kind(), Some(HandshakeKind::Full));
                });
            }
        }
    }
}

/// A conversation in which both layers resume, whatever the bytes' way: what each user saw is what
/// is seen without resumption.
#[test]
fn every_chunking_of_resumed_handshakes() {
    for setup in Setup::versions() {
        let _told = Told::new(setup);
        let oracle = conversation(
            Pair::new(setup.glued(Side::Left), setup.glued(Side::Right)),
            &setup,
            &mut Whole,
        );
        let outer = ends(pki::outer(), setup.outer, true);
        let inner = ends(pki::inner(), setup.inner, true);
        let ways: [&mut dyn Schedule; 5] = [
            &mut Whole,
            &mut Bytes(1),
            &mut Bytes(1000),
            &mut Coalesced::default(),
            &mut Random::new(setup.seed),
        ];
        for (round, schedule) in ways.into_iter().enumerate() {
            let mut pair = machines(&outer, &inner, 10 + round as u64);
            pair.drive(schedule);
            assert_eq!(resumed(&pair.left), [round > 0; 2]);
            assert_eq!(conversation(pair, &setup, schedule), oracle);
        }
    }
}

/// One connection of a layer alone.
pub(crate) fn alone(client: &Role, server: &Role) -> Pair<Machine<Session>, Machine<Session>> {
    let session = |role: &Role, seed| {
        Machine::new(seed, || Session::new(role.clone(), Limits::default()).unwrap())
    };
    let mut pair = Pair::new(session(client, 5), session(server, 6));
    pair.settle();
    pair
}

pub(crate) fn outer_resumed(pair: &Pair<Machine<Session>, Machine<Session>>) -> bool {
    let both =
        [&pair.left, &pair.right].map(|side| side.ports.layer(Layer::Outer).unwrap().resumed);
    assert_eq!(both[0], both[1]);
    both[0]
}

#[test]
fn a_client_says_how_sessions_of_tls_1_2_go_on() {
    use Tls12Resumption::{Disabled, SessionIdOnly, SessionIdOrTickets};
    let pki = pki::outer();
    for version in Version::ALL {
        for how in [Disabled, SessionIdOnly, SessionIdOrTickets] {
            let sessions = ClientSessions::new(pki.server_rule(), memory()).tls12(how);
            let config = Prepared::from(pki.client(version)).with_resumption(sessions);
            let client = Role::client(config, pki.name());
            let server = server(pki.server(version), pki.client_rule());
            let resumed = [(), ()].map(|()| {
                let mut pair = alone(&client, &server);
                pair.send(Side::Right, b"behind the tickets");
                outer_resumed(&pair)
            });
            let expected = version == Version::Tls13 || !matches!(how, Disabled);
            assert_eq!(resumed, [false, expected], "{version:?} {how:?}");
        }
    }
}

/// The worst configurations there can be: one role, one name, one store for everything.
#[test]
fn a_session_of_one_layer_is_worth_nothing_on_the_other() {
    let pki = pki::outer();
    for (version, ticketer) in Version::ALL.into_iter().flat_map(|v| [(v, false), (v, true)]) {
        let mut answering = pki.server(version);
        if ticketer {
            answering.ticketer = rustls::crypto::ring::Ticketer::new().unwrap();
        }
        let asking = client(pki, pki.client(version), pki.server_rule());
        // Not one preparation on both layers of a connection, but whatever else can be shared.
        let again = || server(answering.clone(), pki.client_rule());
        let (one, other) = (again(), again());

        // As the outer layer, the session goes on.
        assert!(!outer_resumed(&alone(&asking, &one)));
        assert!(outer_resumed(&alone(&asking, &other)));
        // As the inner one, of the same two roles, it does not.
        let outer = ends(pki::inner(), version, false);
        for round in 0..2 {
            let pair = pair_of(outer.clone(), (asking.clone(), one.clone()));
            assert_eq!(resumed(&pair.left), [false, round > 0], "{version:?}");
        }

        // A client that offers on one layer what it was given on the other.
        let careless = End::Client(Arc::new(pki.client(version)), pki.name());
        let connect = |outer: &Role, inner: &Role| {
            let machine = Machine::new(7, || {
                let session = Session::new(outer.clone(), Limits::default()).unwrap();
                session.nest(inner.clone(), Direct).unwrap()
            });
            let mut pair = Pair::new(Glued::new(8, &careless, &careless), machine);
            pair.settle();
            pair.assert_established();
            let got = resumed(&pair.right);
            pair.left.with(|outer, inner| {
                let kinds = [outer.handshake_kind(), inner.handshake_kind()];
                assert_eq!(kinds.map(|kind| kind == Some(HandshakeKind::Resumed)), got);
            });
            got
        };
        let (one, other) = (again(), Role::server(pki.server(version)));
        assert_eq!(connect(&one, &other), [false, false]);
        assert_eq!(connect(&other, &one), [false, false], "{version:?}, {ticketer}");

        // A server that takes on one layer what it gave on the other.
        let careless = End::Server(Arc::new(answering.clone()));
        let (plain, _) = ends(pki, version, false);
        for (outer, inner) in [(&asking, &plain), (&plain, &asking)] {
            let machine = Machine::new(7, || {
                let session = Session::new(outer.clone(), Limits::default()).unwrap();
                session.nest(inner.clone(), Direct).unwrap()
            });
            let mut pair = Pair::new(machine, Glued::new(8, &careless, &careless));
            pair.settle();
            pair.assert_established();
            assert_eq!(resumed(&pair.left), [false, false], "{version:?}, {ticketer}");
        }
    }
}

/// The store and everything but the rule is the same: another rule is another peer.
#[test]
fn a_session_goes_on_under_its_own_rule_only() {
    let pki = pki::outer();
    for version in Version::ALL {
        let (store, config) = (memory(), Arc::new(pki.client(version)));
        let answering = server(pki.server(version), pki.client_rule());
        let rule = pki.server_rule();
        let role = |sessions: &ClientSessions| {
            Role::client(
                Prepared::from(config.clone()).with_resumption(sessions.clone()),
                pki.name(),
            )
        };
        let sessions = || ClientSessions::new(rule.clone(), store.clone());
        let (one, other) = (sessions(), sessions());
        assert!(!outer_resumed(&alone(&role(&one), &answering)));
        assert!(!outer_resumed(&alone(&role(&other), &answering)), "{version:?}");
        // The same sessions in another preparation are the same sessions.
        assert!(!outer_resumed(&alone(&role(&one), &answering)));
        assert!(outer_resumed(&alone(&role(&one), &answering)), "{version:?}");
    }
}

/// A clock that a test moves.
#[derive(Clone, Debug)]
pub(crate) struct Clock(Arc<AtomicU64>);

/// Just before the test certificates expire: 2039-12-31 23:59.
pub(crate) const LAST_MINUTE: u64 = 2_208_988_740;

impl Clock {
    pub(crate) fn at(seconds: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seconds)))
    }

    pub(crate) fn forward(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0.load(Ordering::Relaxed))))
    }
}

#[test]
fn what_has_expired_since_is_refused() {
    for setup in Setup::versions() {
        for (layer, expired) in [
            (Layer::Outer, Side::Left),
            (Layer::Outer, Side::Right),
            (Layer::Inner, Side::Left),
            (Layer::Inner, Side::Right),
        ] {
            let _told = Told::new((setup, layer, expired));
            // Whose clock moves on is who judges the other's certificate as expired.
            let clock = Clock::at(LAST_MINUTE);
            let of = |pki: &Pki, version, on| {
                let (mut asking, mut answering) = (pki.client(version), pki.server(version));
                asking.time_provider = Arc::new(Clock::at(LAST_MINUTE));
                answering.time_provider = Arc::new(Clock::at(LAST_MINUTE));
                match (layer == on, expired) {
                    (true, Side::Left) => asking.time_provider = Arc::new(clock.clone()),
                    (true, Side::Right) => answering.time_provider = Arc::new(clock.clone()),
                    (false, _) => {}
                }
                (client(pki, asking, pki.server_rule()), server(answering, pki.client_rule()))
            };
            let outer = of(pki::outer(), setup.outer, Layer::Outer);
            let inner = of(pki::inner(), setup.inner, Layer::Inner);
            for again in [false, true] {
                let mut pair = pair_of(outer.clone(), inner.clone());
                pair.send(Side::Right, b"behind the tickets");
                assert_eq!(resumed(&pair.left), [again; 2]);
            }
            clock.forward(120);
            let pair = pair_of(outer.clone(), inner.clone());
            let (refusing, refused) = match expired {
                Side::Left => (&pair.left, &pair.right),
                Side::Right => (&pair.right, &pair.left),
            };
            // The session did go on, but not as far as its judge knows.
            assert!(refused.ports.layer(layer).unwrap().resumed);
            let info = refusing.ports.layer(layer).unwrap();
            assert!(!info.resumed && !info.early_data && info.alpn.is_none());
            assert!(info.version.is_none() && info.suite.is_none() && info.group.is_none());
            assert!(info.peer_certificates.is_none());
            assert!(info.records_in > 0 && info.records_out > 0);
            let error = refusing.error().unwrap();
            assert_eq!(error.layer(), layer);
            let why = format!("{:?}", error.kind());
            assert!(why.contains("Expired"), "{why}");
            assert!(!refusing.has(Event::Established(layer)));
            // The peer hears why, on that layer.
            assert_eq!(refused.error().unwrap().layer(), layer);
            let alert = refused.error().unwrap().alert_received();
            assert_eq!(alert, Some(AlertDescription::CertificateExpired));
        }
    }
}

/// A rule that can be told to refuse.
#[derive(Debug)]
struct Moody {
    rule: Arc<dyn ServerCertVerifier>,
    refuses: Mutex<Option<rustls::Error>>,
}

impl ServerCertVerifier for Moody {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.refuses.lock().unwrap().clone() {
            Some(error) => Err(error),
            None => self.rule.verify_server_cert(end_entity, intermediates, name, ocsp, now),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.rule.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.rule.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.rule.supported_verify_schemes()
    }
}

#[test]
fn a_refused_session_is_forgotten() {
    let pki = pki::outer();
    let revoked = (CertificateError::Revoked.into(), AlertDescription::CertificateRevoked);
    let broken = (rustls::Error::General("no list".into()), AlertDescription::InternalError);
    for (version, (refusal, alert)) in
        Version::ALL.into_iter().flat_map(|version| [(version, &revoked), (version, &broken)])
    {
        let rule = Arc::new(Moody { rule: pki.server_rule(), refuses: None.into() });
        let asking = client(pki, pki.client(version), rule.clone());
        let answering = server(pki.server(version), pki.client_rule());
        for again in [false, true] {
            assert_eq!(outer_resumed(&alone(&asking, &answering)), again);
        }
        *rule.refuses.lock().unwrap() = Some(refusal.clone());
        let pair = alone(&asking, &answering);
        assert_eq!(pair.left.error().unwrap().kind(), &ErrorKind::Tls(refusal.clone()));
        assert_eq!(pair.right.error().unwrap().alert_received(), Some(*alert));
        // Else a server that has renewed its certificate could not be reached for a day.
        *rule.refuses.lock().unwrap() = None;
        assert!(!outer_resumed(&alone(&asking, &answering)), "{version:?}");
    }
}

/// A store of sessions that outlives the configuration: what began without a client's certificate,
/// or under a rule that is gone, does not go on where there is a rule.
#[test]
fn a_server_judges_what_it_finds_in_its_store() {
    let pki = pki::outer();
    for version in Version::ALL {
        for (before, after, expected) in [
            (true, false, Some(AlertDescription::AccessDenied)),
            (false, true, Some(AlertDescription::CertificateRequired)),
            (true, true, None),
            (false, false, None),
        ] {
            let sessions = ServerSessionMemoryCache::new(32);
            let answering = |asks| {
                let mut config = if asks { pki.server(version) } else { pki.open_server(version) };
                config.session_storage = sessions.clone();
                let rule = if asks { pki.client_rule() } else { Arc::new(NoClientAuth) };
                server(config, rule)
            };
            let asking = client(pki, pki.client(version), pki.server_rule());
            assert!(!outer_resumed(&alone(&asking, &answering(before))));
            let pair = alone(&asking, &answering(after));
            assert!(pair.left.ports.layer(Layer::Outer).unwrap().resumed);
            let told = pair.left.error().map(|error| error.alert_received().unwrap());
            assert_eq!(told, expected, "{version:?} {before} {after}");
        }
    }
}
