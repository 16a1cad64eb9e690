//! Someone else where the peer should be: with another certificate, name, key, purpose, protocol or
//! version, or at another time. On the outer layer that is someone on the wire (W), on the inner one
//! the host (T), or the peer itself (P). The victim refuses it on that layer, says so, takes nothing
//! to send before, and delivers nothing.

use std::sync::Arc;
use std::time::Duration;

use nested_tls::{Direct, Event, Layer, Limits, Nested, Session};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::TimeProvider;

use crate::support::crypto::provider;
use crate::support::pair::Pair;
use crate::support::party::{Machine, Party};
use crate::support::pki::{self, Pki, Version};
use crate::support::schedule::Whole;
use crate::support::setup::{End, Setup, Side};
use crate::support::tally::{Outcome, Place, Tally, base_seed};

/// One layer: its rules, the victim's end and the other one's.
struct Layered {
    pki: &'static Pki,
    /// The other layer's.
    elsewhere: &'static Pki,
    version: Version,
    victim: End,
    other: End,
}

/// Makes something of a layer that has to be refused; false where that can't be done.
type Bend = fn(&mut Layered) -> bool;

const BENDS: [(&str, Place, Bend); 12] = [
    ("impostor: another authority", Place::Host, |layer| {
        let made = pki::impostor();
        layer.shows(&made.server, &made.client)
    }),
    ("impostor: the other layer's certificate", Place::Host, |layer| {
        layer.shows(&layer.elsewhere.server, &layer.elsewhere.client)
    }),
    ("impostor: for another purpose", Place::Host, |layer| {
        layer.shows(&layer.pki.client, &layer.pki.server)
    }),
    ("impostor: the certificate without its key", Place::Host, |layer| {
        let made = pki::impostor();
        let server = (layer.pki.server.0.clone(), made.server.1.clone_key());
        let client = (layer.pki.client.0.clone(), made.client.1.clone_key());
        layer.shows(&server, &client)
    }),
    ("impostor: no certificate", Place::Host, |layer| {
        let End::Client(..) = layer.other else { return false };
        let config = layer.pki.anonymous_client(layer.version);
        layer.other = End::Client(Arc::new(config), layer.pki.name());
        true
    }),
    ("impostor: another name", Place::Host, |layer| {
        let End::Client(_, name) = &mut layer.victim else { return false };
        *name = "other.test".try_into().unwrap();
        true
    }),
    ("downgrade: no protocol in common", Place::Host, |layer| {
        let protocols = [b"hsm/1".to_vec(), b"hsm/2".to_vec()];
        for (end, protocol) in [&mut layer.victim, &mut layer.other].into_iter().zip(protocols) {
            match end {
                End::Client(config, _) => {
                    Arc::get_mut(config).unwrap().alpn_protocols = vec![protocol];
                }
                End::Server(config) => {
                    Arc::get_mut(config).unwrap().alpn_protocols = vec![protocol];
                }
            }
        }
        true
    }),
    ("downgrade: no version in common", Place::Host, |layer| {
        let version = match layer.version {
            Version::Tls12 => Version::Tls13,
            Version::Tls13 => Version::Tls12,
        };
        layer.other = match layer.other {
            End::Client(..) => End::Client(Arc::new(layer.pki.client(version)), layer.pki.name()),
            End::Server(_) => End::Server(Arc::new(layer.pki.server(version))),
        };
        true
    }),
    ("time: after the certificate's", Place::Peer, |layer| layer.at(Some(2_250_000_000))),
    ("time: before the certificate's", Place::Peer, |layer| layer.at(Some(1_500_000_000))),
    ("time: at the epoch", Place::Peer, |layer| layer.at(Some(0))),
    ("time: no clock", Place::Peer, |layer| layer.at(None)),
];

type Identity = (CertificateDer<'static>, rustls::pki_types::PrivatePkcs8KeyDer<'static>);

impl Layered {
    /// The other end shows this certificate.
    fn shows(&mut self, server: &Identity, client: &Identity) -> bool {
        let resolver = |(certificate, key): &Identity| {
            let key = PrivateKeyDer::from(key.clone_key());
            let key = provider().key_provider.load_private_key(key).unwrap();
            let shown = CertifiedKey::new(vec![certificate.clone()], key);
            Arc::new(SingleCertAndKey::from(shown))
        };
        match &mut self.other {
            End::Client(config, _) => {
                Arc::get_mut(config).unwrap().client_auth_cert_resolver = resolver(client);
            }
            End::Server(config) => {
                Arc::get_mut(config).unwrap().cert_resolver = resolver(server);
            }
        }
        true
    }

    /// For the victim it is this second.
    fn at(&mut self, second: Option<u64>) -> bool {
        let clock = Arc::new(Clock(second));
        match &mut self.victim {
            End::Client(config, _) => Arc::get_mut(config).unwrap().time_provider = clock,
            End::Server(config) => Arc::get_mut(config).unwrap().time_provider = clock,
        }
        true
    }
}

#[derive(Debug)]
struct Clock(Option<u64>);

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        self.0.map(|second| UnixTime::since_unix_epoch(Duration::from_secs(second)))
    }
}

fn machine(setup: &Setup, outer: &End, inner: &End, side: Side) -> Machine<Nested> {
    Machine::new(setup.seed + side as u64, || {
        let session = Session::new(outer.role(), Limits::default()).unwrap();
        session.nest(inner.role(), Direct).unwrap()
    })
}

fn refuse(setup: &Setup, layer: Layer, bend: Bend) -> Option<Outcome> {
    let (mut outer, mut inner) = (
        Layered {
            pki: pki::outer(),
            elsewhere: pki::inner(),
            version: setup.outer,
            victim: setup.outer_end(Side::Left),
            other: setup.outer_end(Side::Right),
        },
        Layered {
            pki: pki::inner(),
            elsewhere: pki::outer(),
            version: setup.inner,
            victim: setup.inner_end(Side::Left),
            other: setup.inner_end(Side::Right),
        },
    );
    if !bend(if layer == Layer::Outer { &mut outer } else { &mut inner }) {
        return None;
    }
    let mut pair = Pair::new(
        machine(setup, &outer.victim, &inner.victim, Side::Left),
        machine(setup, &outer.other, &inner.other, Side::Right),
    );
    // Both try to speak at every step; the other one may believe that it is welcome.
    while pair.step(&mut Whole) {
        assert_eq!(pair.left.write(b"secret"), 0, "something for an impostor");
        pair.right.write(b"poison");
    }
    let victim = pair.left.report();
    assert_eq!(victim.read, b"", "something of an impostor");
    assert!(!victim.end && !pair.left.has(Event::Established(Layer::Inner)));
    assert!(!pair.left.has(Event::Established(layer)));
    for side in Side::BOTH {
        let failure = pair.party(side).report().failure.clone().expect("both are told");
        assert_eq!(failure.layer, layer, "{side:?}: {failure:?}");
    }
    Some(if layer == Layer::Outer { Outcome::Outer } else { Outcome::Inner })
}

#[test]
fn impostors_and_other_times() {
    let mut tally = Tally::default();
    for setup in Setup::all() {
        let setup = setup.seeded(1 + base_seed());
        for layer in [Layer::Outer, Layer::Inner] {
            for (name, place, bend) in BENDS {
                let place = if layer == Layer::Outer { Place::Wire } else { place };
                let told = (setup.outer, setup.inner, setup.mix, setup.seed, layer);
                tally.cell(place, name, told, || refuse(&setup, layer, bend));
            }
        }
    }
    tally.finish("impostors and other times");
}
