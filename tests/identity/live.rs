//! Handshakes in memory: both halves of an identity, for each version of TLS and each kind of key.

use std::sync::{Arc, Mutex};

use nested_tls::identity::{
    Acceptance, AnyOf, Authority, IssuedBy, Judgement, NamePolicy, Note, Observer, OwnCertificate,
    Peer, Pin, Pinned, Problem, Rule, TimePolicy,
};
use rustls::client::ResolvesClientCert;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, Error, ServerConfig,
    ServerConnection, SignatureScheme, SupportedProtocolVersion,
};

use crate::forge::{Draft, KINDS, Key, Kind, cn, hsm_name, now, own, provider, seed_name};

pub(crate) const VERSIONS: [&SupportedProtocolVersion; 2] =
    [&rustls::version::TLS12, &rustls::version::TLS13];

#[derive(Debug)]
pub(crate) struct Fixed;

impl TimeProvider for Fixed {
    fn current_time(&self) -> Option<UnixTime> {
        Some(now())
    }
}

/// What was heard in a handshake.
#[derive(Debug, Default)]
pub(crate) struct Ear {
    pub(crate) judged: Mutex<Vec<Judgement>>,
    asked: Mutex<Vec<OwnCertificate>>,
}

impl Observer for Ear {
    fn judged(&self, judgement: &Judgement) {
        self.judged.lock().unwrap().push(judgement.clone());
    }

    fn asked(&self, own: &OwnCertificate) {
        self.asked.lock().unwrap().push(own.clone());
    }
}

impl Ear {
    pub(crate) fn verdict(&self) -> Result<Acceptance, nested_tls::identity::Error> {
        self.judged.lock().unwrap().last().unwrap().verdict.clone()
    }
}

pub(crate) struct Ends {
    pub(crate) version: &'static SupportedProtocolVersion,
    pub(crate) server: Arc<dyn ResolvesServerCert>,
    pub(crate) server_rule: Arc<dyn ServerCertVerifier>,
    pub(crate) client: Arc<dyn ResolvesClientCert>,
    pub(crate) client_rule: Arc<dyn ClientCertVerifier>,
}

/// The first error of either end.
#[derive(Debug)]
pub(crate) enum Failure {
    Client(Error),
    Server(Error),
}

pub(crate) fn shake(ends: Ends) -> Result<(), Failure> {
    let client = ClientConfig::builder_with_details(provider(), Arc::new(Fixed))
        .with_protocol_versions(&[ends.version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(ends.server_rule)
        .with_client_cert_resolver(ends.client);
    let server = ServerConfig::builder_with_details(provider(), Arc::new(Fixed))
        .with_protocol_versions(&[ends.version])
        .unwrap()
        .with_client_cert_verifier(ends.client_rule)
        .with_cert_resolver(ends.server);
    connect(client, server)
}

/// One handshake in memory.
pub(crate) fn connect(client: ClientConfig, server: ServerConfig) -> Result<(), Failure> {
    let name = ServerName::try_from("10.0.0.1").unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    let mut wire = Vec::new();
    for _ in 0..8 {
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut input = wire.as_slice();
        while !input.is_empty() {
            server.read_tls(&mut input).unwrap();
            server.process_new_packets().map_err(Failure::Server)?;
        }
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut input = wire.as_slice();
        while !input.is_empty() {
            client.read_tls(&mut input).unwrap();
            client.process_new_packets().map_err(Failure::Client)?;
        }
        wire.clear();
        if !client.is_handshaking() && !server.is_handshaking() {
            return Ok(());
        }
    }
    panic!("the handshake does not end");
}

fn pinned(certificate: &CertificateDer<'static>) -> Pinned {
    Pinned::new([Pin::certificate(certificate.clone())], provider()).unwrap()
}

fn issued_by(authority: &CertificateDer<'static>) -> IssuedBy {
    let authority = Authority::from_der(authority.clone()).unwrap().from_file("customerCA.crt");
    IssuedBy::new([authority], NamePolicy::Unchecked, provider()).unwrap()
}

/// Both layers' shapes at once: a server of version 1 issued by an authority, a client of version 1, each kind of key.
#[test]
fn version_one_leaves_at_both_ends() {
    for &kind in KINDS {
        for version in VERSIONS {
            let (root, leaf) = (Key::new(kind), Key::new(kind));
            let authority = Draft::authority(&cn("customerCA"), &root).sign(&root);
            let server = Draft::v1(&hsm_name("5.3G1953-ICM001225"), &leaf.spki, &cn("customerCA"))
                .sign(&root);
            let client = Draft::v1(&cn("client"), &leaf.spki, &cn("customerCA")).sign(&root);
            let ear = Arc::new(Ear::default());
            shake(Ends {
                version,
                server: Arc::new(own(&[&server, &authority], &leaf)),
                server_rule: Arc::new(issued_by(&authority).observed_by(ear.clone())),
                client: Arc::new(own(&[&client, &authority], &leaf).observed_by(ear.clone())),
                client_rule: Arc::new(issued_by(&authority)),
            })
            .unwrap_or_else(|failure| panic!("{kind:?} {version:?}: {failure:?}"));
            let acceptance = ear.verdict().unwrap();
            assert!(acceptance.rule.starts_with("issued by /CN=customerCA"), "{}", acceptance.rule);
            assert_eq!(acceptance.file.as_deref(), Some("customerCA.crt"));
            assert_eq!(acceptance.notes, [Note::VersionOne]);
            assert_eq!(ear.judged.lock().unwrap()[0].certificates, [server, authority]);
            let asked = ear.asked.lock().unwrap();
            assert!(asked[0].usable);
            assert_eq!(asked[0].hints, [cn("customerCA")]);
        }
    }
}

/// The outer server's shape: self-signed, its own authority or not, version 1 or 3, without names.
#[test]
fn self_signed_leaves_pinned() {
    let key = Key::new(Kind::Rsa2048);
    let name = seed_name("AWS Cryptography");
    let shapes = [
        ("version 1", Draft::v1(&name, &key.spki, &name)),
        ("version 3", Draft::v3(&name, &key.spki, &name)),
        ("an authority", Draft::authority(&name, &key)),
    ];
    for (shape, draft) in shapes {
        for version in VERSIONS {
            let certificate = draft.sign(&key);
            for rule in [
                pinned(&certificate),
                Pinned::new([Pin::spki(key.spki.clone().into())], provider()).unwrap(),
            ] {
                shake(Ends {
                    version,
                    server: Arc::new(own(&[&certificate], &key)),
                    server_rule: Arc::new(rule),
                    client: Arc::new(own(&[&certificate], &key)),
                    client_rule: Arc::new(pinned(&certificate)),
                })
                .unwrap_or_else(|failure| panic!("{shape} {version:?}: {failure:?}"));
            }
        }
    }
}

/// A peer that shows the right certificate and holds another key.
#[test]
fn possession_of_the_key_is_checked() {
    for kind in [Kind::P256, Kind::Ed25519] {
        for version in VERSIONS {
            for version_one in [true, false] {
                let (right, wrong) = (Key::new(kind), Key::new(kind));
                let draft = match version_one {
                    true => Draft::v1(&cn("peer"), &right.spki, &cn("peer")),
                    false => Draft::v3(&cn("peer"), &right.spki, &cn("peer")),
                };
                let certificate = draft.sign(&right);
                let thief = || {
                    let key = provider().key_provider.load_private_key(wrong.private()).unwrap();
                    Arc::new(Thief(Arc::new(CertifiedKey::new(vec![certificate.clone()], key))))
                };
                let bad = Error::InvalidCertificate(CertificateError::BadSignature);
                let server = Ends { server: thief(), ..ends(version, &certificate, &right) };
                match shake(server) {
                    Err(Failure::Client(error)) => assert_eq!(error, bad),
                    other => panic!("{other:?}"),
                }
                let client = Ends { client: thief(), ..ends(version, &certificate, &right) };
                match shake(client) {
                    Err(Failure::Server(error)) => assert_eq!(error, bad),
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}

#[derive(Debug)]
pub(crate) struct Thief(pub(crate) Arc<CertifiedKey>);

impl ResolvesClientCert for Thief {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl ResolvesServerCert for Thief {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

pub(crate) fn ends(
    version: &'static SupportedProtocolVersion,
    certificate: &CertificateDer<'static>,
    key: &Key,
) -> Ends {
    Ends {
        version,
        server: Arc::new(own(&[certificate], key)),
        server_rule: Arc::new(pinned(certificate)),
        client: Arc::new(own(&[certificate], key)),
        client_rule: Arc::new(pinned(certificate)),
    }
}

/// The host's rule: the default client certificate, or one that customerCA issued.
#[test]
fn either_rule_accepts_and_names_itself() {
    let (root, key, other) = (Key::new(Kind::P256), Key::new(Kind::P256), Key::new(Kind::P256));
    let authority = Draft::authority(&cn("customerCA"), &root).sign(&root);
    let default = Draft::v1(&cn("default"), &key.spki, &cn("default")).sign(&key);
    let issued = Draft::v1(&cn("issued"), &key.spki, &cn("customerCA"));
    let expired = issued.clone().edit(|draft| draft.not_after = "20250101000000Z").sign(&root);
    let issued = issued.sign(&root);
    let foreign = Draft::v1(&cn("foreign"), &key.spki, &cn("otherCA")).sign(&other);
    for version in VERSIONS {
        for (client, expected) in [
            (&default, Ok("pinned certificate")),
            (&issued, Ok("issued by /CN=customerCA")),
            (&foreign, Err((Problem::NoRule, AlertDescription::UnknownCA))),
            // A rule that knew the certificate tells more than one that did not.
            (&expired, Err((Problem::Expired, AlertDescription::CertificateExpired))),
        ] {
            let ear = Arc::new(Ear::default());
            let rules: [Arc<dyn Rule>; 2] =
                [Arc::new(pinned(&default)), Arc::new(issued_by(&authority))];
            let rule = AnyOf::new(rules, provider()).unwrap().observed_by(ear.clone());
            assert!(
                rule.hints().is_empty(),
                "a hint would make clients keep the default certificate back"
            );
            let result = shake(Ends {
                client: Arc::new(own(&[client], &key)),
                client_rule: Arc::new(rule),
                ..ends(version, &default, &key)
            });
            match (expected, ear.verdict()) {
                (Ok(rule), Ok(acceptance)) => {
                    assert!(acceptance.rule.starts_with(rule), "{}", acceptance.rule);
                    result.unwrap();
                }
                (Err((problem, alert)), Err(error)) => {
                    assert_eq!(error.problem(), problem);
                    assert_eq!(error.causes().len(), 2);
                    match result {
                        Err(Failure::Server(Error::InvalidCertificate(error))) => {
                            assert_eq!(AlertDescription::from(error), alert);
                        }
                        other => panic!("{other:?}"),
                    }
                }
                (expected, found) => panic!("expected {expected:?}, found {found:?}"),
            }
            assert_eq!(ear.judged.lock().unwrap()[0].peer, Peer::Client);
        }
    }
}

#[test]
fn expiry_is_strict_unless_said_and_then_reported() {
    let key = Key::new(Kind::P256);
    let expired = Draft::v1(&cn("old"), &key.spki, &cn("old"))
        .edit(|draft| draft.not_after = "20250101000000Z");
    let certificate = expired.sign(&key);
    for version in VERSIONS {
        match shake(ends(version, &certificate, &key)) {
            Err(Failure::Client(Error::InvalidCertificate(error))) => {
                assert!(matches!(error, CertificateError::ExpiredContext { .. }), "{error:?}");
                assert_eq!(AlertDescription::from(error), AlertDescription::CertificateExpired);
            }
            other => panic!("{other:?}"),
        }
        let ear = Arc::new(Ear::default());
        shake(Ends {
            server_rule: Arc::new(
                pinned(&certificate).time(TimePolicy::IgnoreExpiry).observed_by(ear.clone()),
            ),
            client_rule: Arc::new(pinned(&certificate).time(TimePolicy::IgnoreExpiry)),
            ..ends(version, &certificate, &key)
        })
        .unwrap();
        let notes = ear.verdict().unwrap().notes;
        assert!(matches!(notes.as_slice(), [Note::Expired { .. }, Note::VersionOne]), "{notes:?}");
    }
}

/// A server that accepts RSA only, and a client with an elliptic key: rustls sends an empty list, and the observer of
/// the client knows why.
#[test]
fn a_key_without_a_common_scheme_is_reported() {
    #[derive(Debug)]
    struct RsaOnly(Pinned);

    impl ClientCertVerifier for RsaOnly {
        fn root_hint_subjects(&self) -> &[rustls::DistinguishedName] {
            &[]
        }

        fn verify_client_cert(
            &self,
            end_entity: &CertificateDer<'_>,
            intermediates: &[CertificateDer<'_>],
            now: UnixTime,
        ) -> Result<rustls::server::danger::ClientCertVerified, Error> {
            self.0.verify_client_cert(end_entity, intermediates, now)
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
            ClientCertVerifier::verify_tls12_signature(&self.0, message, cert, dss)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
            ClientCertVerifier::verify_tls13_signature(&self.0, message, cert, dss)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            vec![SignatureScheme::RSA_PSS_SHA256]
        }
    }

    let key = Key::new(Kind::P256);
    let certificate = Draft::v1(&cn("elliptic"), &key.spki, &cn("elliptic")).sign(&key);
    for version in VERSIONS {
        let ear = Arc::new(Ear::default());
        let result = shake(Ends {
            client: Arc::new(own(&[&certificate], &key).observed_by(ear.clone())),
            client_rule: Arc::new(RsaOnly(pinned(&certificate))),
            ..ends(version, &certificate, &key)
        });
        assert!(
            matches!(result, Err(Failure::Server(Error::NoCertificatesPresented))),
            "{result:?}"
        );
        assert!(!ear.asked.lock().unwrap()[0].usable);
    }
}
