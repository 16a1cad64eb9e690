//! Handshakes: versions, roles, certificates, names, and what is known afterwards.

use std::sync::Arc;

use nested_tls::*;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig, ProtocolVersion, ServerConfig};

use crate::support::pair::Pair;
use crate::support::party::{Machine, Party};
use crate::support::pki::{self, Version};
use crate::support::schedule::Told;
use crate::support::setup::{End, Setup, Side};

pub(crate) type Machines = Pair<Machine<Nested>, Machine<Nested>>;

/// Two machines with these ends on their layers; the left one's first.
pub(crate) fn pair_of(outer: (Role, Role), inner: (Role, Role)) -> Machines {
    let machine = |outer, inner, seed| {
        Machine::new(seed, || {
            Session::new(outer, Limits::default()).unwrap().nest(inner, Direct).unwrap()
        })
    };
    let mut pair = Pair::new(machine(outer.0, inner.0, 1), machine(outer.1, inner.1, 2));
    pair.settle();
    pair
}

/// The ends of one layer, for tests that change one thing about them.
fn ends(pki: &'static pki::Pki) -> (ClientConfig, ServerConfig) {
    (pki.client(Version::Tls13), pki.server(Version::Tls13))
}

fn roles(pki: &'static pki::Pki, (client, server): (ClientConfig, ServerConfig)) -> (Role, Role) {
    (Role::client(client, pki.name()), Role::server(server))
}

fn usual(pki: &'static pki::Pki) -> (Role, Role) {
    roles(pki, ends(pki))
}

#[test]
fn every_version_and_role_on_either_layer() {
    for setup in Setup::all() {
        let _told = Told::new(setup);
        let mut pair = setup.connected();
        assert_eq!(pair.left.ports.phase(), Phase::Traffic);
        pair.send(Side::Left, b"ping");
        pair.send(Side::Right, b"pong");
        assert_eq!(pair.left.report().read, b"pong");
        assert_eq!(pair.right.report().read, b"ping");
    }
}

#[test]
fn each_layer_has_its_own_facts() {
    let rustls = |version| match version {
        Version::Tls12 => ProtocolVersion::TLSv1_2,
        Version::Tls13 => ProtocolVersion::TLSv1_3,
    };
    for setup in Setup::versions() {
        let _told = Told::new(setup);
        let pair = setup.connected();
        let [outer, inner] =
            [(Layer::Outer, setup.outer), (Layer::Inner, setup.inner)].map(|(layer, version)| {
                let left = pair.left.ports.layer(layer).unwrap().clone();
                let right = pair.right.ports.layer(layer).unwrap().clone();
                for info in [&left, &right] {
                    assert_eq!(info.version, Some(rustls(version)));
                    assert_eq!(info.group, Some(rustls::NamedGroup::X25519));
                    assert!(!info.resumed);
                }
                assert!(left.suite.is_some() && left.suite == right.suite);
                assert_eq!(
                    (left.bytes_in, left.bytes_out, left.records_in, left.records_out),
                    (right.bytes_out, right.bytes_in, right.records_out, right.records_in)
                );
                (left, right)
            });
        assert_eq!(outer.0.bytes_out as usize, pair.to_right.transcript.len());
        assert_eq!(outer.1.bytes_out as usize, pair.to_left.transcript.len());
        for (pki, (left, right)) in [(pki::outer(), outer), (pki::inner(), inner)] {
            assert_eq!(left.peer_certificates.unwrap()[..], *std::slice::from_ref(&pki.server.0));
            assert_eq!(right.peer_certificates.unwrap()[..], *std::slice::from_ref(&pki.client.0));
        }
    }
}

#[test]
fn client_certificates_on_either_layer_or_none() {
    for (with_outer, with_inner) in [(true, false), (false, true), (false, false)] {
        let layer = |pki: &'static pki::Pki, with| {
            let (client, server) = ends(pki);
            let open = pki.open_server(Version::Tls13);
            roles(pki, (client, if with { server } else { open }))
        };
        let pair = pair_of(layer(pki::outer(), with_outer), layer(pki::inner(), with_inner));
        let shown = |layer| pair.right.ports.layer(layer).unwrap().peer_certificates.is_some();
        assert_eq!((shown(Layer::Outer), shown(Layer::Inner)), (with_outer, with_inner));
    }
}

#[test]
fn a_client_without_its_certificate_is_refused_on_the_layer_that_wants_one() {
    for (layer, version) in
        [Layer::Outer, Layer::Inner].into_iter().flat_map(|l| Version::ALL.map(|v| (l, v)))
    {
        let ends = |pki: &'static pki::Pki, this| {
            let client =
                if layer == this { pki.anonymous_client(version) } else { pki.client(version) };
            roles(pki, (client, pki.server(version)))
        };
        let pair = pair_of(ends(pki::outer(), Layer::Outer), ends(pki::inner(), Layer::Inner));
        let refused = pair.right.error().unwrap();
        assert_eq!(refused.layer(), layer);
        assert_eq!(refused.kind(), &ErrorKind::Tls(rustls::Error::NoCertificatesPresented));
        let told = pair.left.error().unwrap();
        assert_eq!(told.layer(), layer);
        assert!(told.alert_received().is_some(), "{told}");
        assert!(!pair.right.has(Event::Established(layer)));
    }
}

#[test]
fn a_layer_s_certificate_is_worth_nothing_on_the_other() {
    // The host shows its own certificate inside, or the peer its own outside.
    let wrong = |pki: &'static pki::Pki, other: &'static pki::Pki| {
        let (client, _) = ends(pki);
        (Role::client(client, pki.name()), Role::server(other.open_server(Version::Tls13)))
    };
    for layer in [Layer::Outer, Layer::Inner] {
        let pair = match layer {
            Layer::Outer => pair_of(wrong(pki::outer(), pki::inner()), usual(pki::inner())),
            Layer::Inner => pair_of(usual(pki::outer()), wrong(pki::inner(), pki::outer())),
        };
        let error = pair.left.error().unwrap();
        assert_eq!(error.layer(), layer);
        assert_eq!(error.fault(), Fault::Peer);
        assert!(
            matches!(
                error.kind(),
                ErrorKind::Tls(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer))
            ),
            "{error}"
        );
        let told = pair.right.error().unwrap();
        assert_eq!(told.layer(), layer);
        assert_eq!(told.alert_received(), Some(rustls::AlertDescription::UnknownCA));
        assert_eq!(pair.left.ports.layer(layer).unwrap().peer_certificates, None);
    }
}

#[test]
fn a_wrong_name_is_refused_on_either_layer() {
    for layer in [Layer::Outer, Layer::Inner] {
        let named = |pki: &'static pki::Pki, this| {
            let (client, server) = ends(pki);
            let name = if this == layer { "other.test".try_into().unwrap() } else { pki.name() };
            (Role::client(client, name), Role::server(server))
        };
        let pair = pair_of(named(pki::outer(), Layer::Outer), named(pki::inner(), Layer::Inner));
        let error = pair.left.error().unwrap();
        assert_eq!(error.layer(), layer);
        assert!(error.to_string().contains("not valid for name"), "{error}");
    }
}

#[test]
fn alpn_is_per_layer() {
    let layer = |pki: &'static pki::Pki, offered: &[&[u8]], spoken: &[&[u8]]| {
        let (mut client, mut server) = ends(pki);
        client.alpn_protocols = offered.iter().map(|p| p.to_vec()).collect();
        server.alpn_protocols = spoken.iter().map(|p| p.to_vec()).collect();
        roles(pki, (client, server))
    };
    let pair = pair_of(
        layer(pki::outer(), &[b"http/1.1"], &[b"http/1.1"]),
        layer(pki::inner(), &[b"h2", b"x"], &[b"x"]),
    );
    for machine in [&pair.left, &pair.right] {
        let alpn = |layer| machine.ports.layer(layer).unwrap().alpn.clone().unwrap();
        assert_eq!((alpn(Layer::Outer), alpn(Layer::Inner)), (b"http/1.1".to_vec(), b"x".to_vec()));
    }
    let pair = pair_of(usual(pki::outer()), layer(pki::inner(), &[b"h2"], &[b"x"]));
    assert_eq!(pair.right.error().unwrap().layer(), Layer::Inner);
    assert_eq!(
        pair.left.error().unwrap().alert_received(),
        Some(rustls::AlertDescription::NoApplicationProtocol)
    );
}

#[test]
fn names_go_on_the_wire_only_where_they_must() {
    let hello = |name: ServerName<'static>| {
        let role = Role::client(pki::outer().client(Version::Tls13), name);
        let mut session = Session::new(role, Limits::default()).unwrap();
        session.wire_out_bytes().unwrap()
    };
    let has = |bytes: &[u8], name: &[u8]| bytes.windows(name.len()).any(|w| w == name);
    let named = hello(pki::outer().name());
    assert!(has(&named, b"host.test"));
    let addressed = hello(ServerName::try_from("192.0.2.1").unwrap());
    // The extension's number, 0, is where an extension list would begin with it: the hello is
    // shorter by the whole extension.
    assert!(!has(&addressed, b"192.0.2.1"));
    assert_eq!(named.len() - addressed.len(), 4 + 2 + 1 + 2 + b"host.test".len());
    // What the host terminates never shows the inner name, nor does the wire.
    let pair = Setup::default().connected();
    assert!(!has(&pair.to_right.transcript, b"hsm.test"));
}

#[test]
fn one_preparation_serves_many_connections() {
    let (outer, inner) = (usual(pki::outer()), usual(pki::inner()));
    for _ in 0..8 {
        pair_of(outer.clone(), inner.clone()).assert_established();
    }
}

#[test]
fn one_configuration_for_both_layers_is_refused() {
    let client = Arc::new(pki::outer().client(Version::Tls13));
    let server = Arc::new(pki::outer().server(Version::Tls13));
    let prepared = Role::client(client.clone(), pki::outer().name());
    for (outer, inner) in [
        (prepared.clone(), prepared),
        (
            Role::client(client.clone(), pki::outer().name()),
            Role::client(client.clone(), pki::inner().name()),
        ),
        (Role::server(server.clone()), Role::server(server)),
    ] {
        let session = Session::new(outer, Limits::default()).unwrap();
        let error = session.nest(inner, Direct).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Misuse(Misuse::SharedConfig));
        assert_eq!(error.fault(), Fault::Local);
    }
    // The same settings prepared from a copy share nothing.
    let copy = Role::client(ClientConfig::clone(&client), pki::outer().name());
    let session = Session::new(Role::client(client, pki::outer().name()), Limits::default());
    assert!(session.unwrap().nest(copy, Direct).is_ok());
}

#[test]
fn a_version_that_one_side_lacks_is_refused_on_its_layer() {
    for (outer, inner, layer) in [
        (Version::Tls12, Version::Tls13, Layer::Outer),
        (Version::Tls13, Version::Tls12, Layer::Inner),
    ] {
        let client = |pki: &'static pki::Pki, v| Role::client(pki.client(v), pki.name());
        let server = |pki: &'static pki::Pki| Role::server(pki.server(Version::Tls13));
        let pair = pair_of(
            (client(pki::outer(), outer), server(pki::outer())),
            (client(pki::inner(), inner), server(pki::inner())),
        );
        assert_eq!(pair.right.error().unwrap().layer(), layer);
        assert_eq!(
            pair.left.error().unwrap().alert_received(),
            Some(rustls::AlertDescription::ProtocolVersion)
        );
    }
}

#[test]
fn the_oracle_understands_every_machine() {
    for setup in Setup::all() {
        for side in Side::BOTH {
            let _told = Told::new((setup, side));
            let mut pair = setup.against_glued(side);
            pair.settle();
            pair.assert_established();
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let setup = Setup::default();
    let run = |seed| {
        let mut pair = setup.seeded(seed).connected();
        pair.send(Side::Left, b"a message");
        (pair.to_right.transcript, pair.to_left.transcript)
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
    assert!(matches!(setup.outer_end(Side::Left), End::Client(..)));
}

/// At the limit, not behind it: what is refused later on the outer layer would stop the inner one.
#[test]
fn an_unfinished_message_ends_at_its_limit() {
    let limits = Limits { handshake: 20_000, ..Limits::default() };
    let setup = Setup { limits, ..Setup::default() };
    // A ServerHello that announces 60,000 bytes, in records of 1,000.
    let record = |message: &[u8]| {
        let mut record = vec![22, 3, 3, 0x03, 0xe3];
        record.extend_from_slice(message);
        record.resize(1000, 0);
        record
    };
    let begun = [record(&[2, 0, 0xea, 0x60]), record(&[]).repeat(18)].concat();
    let refused = |machine: &Machine<Nested>, layer| {
        let error = machine.error().unwrap();
        let kind = ErrorKind::Limit { what: "unfinished handshake", limit: 20_000 };
        assert_eq!((error.layer(), error.kind()), (layer, &kind));
    };
    let mut left = setup.nested(Side::Left);
    assert_eq!(left.receive(&begun), 19_000);
    assert_eq!(left.error(), None);
    assert_eq!(left.receive(&record(&[])), 1000);
    refused(&left, Layer::Outer);

    let mut pair = Pair::new(setup.nested(Side::Left), setup.session(Side::Right));
    pair.settle();
    assert_eq!(pair.right.write(&begun), 19_000);
    pair.settle();
    assert_eq!(pair.left.error(), None);
    assert_eq!(pair.right.write(&record(&[])), 1000);
    pair.settle();
    refused(&pair.left, Layer::Inner);
}
