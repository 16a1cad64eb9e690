//! One configuration for each end of each layer, the same for every contestant.

use std::env;
use std::sync::{Arc, LazyLock};

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    PKCS_ECDSA_P256_SHA256,
};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, NamedGroup, RootCertStore, ServerConfig};

/// Which implementation of cryptography is measured.
pub fn provider_name() -> String {
    env::var("NESTED_TLS_BENCH_PROVIDER").unwrap_or_else(|_| "ring".into())
}

/// Which cipher suite is measured, on both layers.
pub fn suite_name() -> String {
    env::var("NESTED_TLS_BENCH_SUITE").unwrap_or_else(|_| "TLS13_AES_128_GCM_SHA256".into())
}

fn provider() -> Arc<CryptoProvider> {
    let mut provider = match provider_name().as_str() {
        "ring" => rustls::crypto::ring::default_provider(),
        #[cfg(feature = "__bench-aws-lc-rs")]
        "aws-lc-rs" => rustls::crypto::aws_lc_rs::default_provider(),
        #[cfg(feature = "graviola")]
        "graviola" => rustls_graviola::default_provider(),
        name => panic!("no provider {name} is built in"),
    };
    let suite = suite_name();
    provider.cipher_suites.retain(|s| format!("{:?}", s.suite()) == suite);
    assert!(!provider.cipher_suites.is_empty(), "no suite {suite}");
    provider.kx_groups.retain(|group| group.name() == NamedGroup::X25519);
    provider.into()
}

/// The configurations of one layer. Client certificates are required: both layers are mutual.
pub struct Layer {
    pub client: Arc<ClientConfig>,
    pub server: Arc<ServerConfig>,
    pub name: ServerName<'static>,
}

impl Layer {
    fn new(name: &'static str) -> Self {
        let key = || KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let ca_key = key();
        let mut ca = CertificateParams::new([]).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let mut roots = RootCertStore::empty();
        roots.add(ca.self_signed(&ca_key).unwrap().der().clone()).unwrap();
        let roots = Arc::new(roots);
        let issuer = Issuer::from_params(&ca, &ca_key);
        let leaf = |usage| -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
            let key = key();
            let mut params = CertificateParams::new([name.to_owned()]).unwrap();
            params.extended_key_usages = vec![usage];
            let cert = params.signed_by(&key, &issuer).unwrap();
            (vec![cert.into()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
        };

        let verifier = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider());
        let (chain, key) = leaf(ExtendedKeyUsagePurpose::ClientAuth);
        let mut client = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_webpki_verifier(verifier.build().unwrap())
            .with_client_auth_cert(chain, key)
            .unwrap();
        client.resumption = Resumption::disabled();

        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
        let (chain, key) = leaf(ExtendedKeyUsagePurpose::ServerAuth);
        let mut server = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(chain, key)
            .unwrap();
        // A cache of sessions grows with the first connections; that is not theirs to answer for.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        Self {
            client: client.into(),
            server: server.into(),
            name: ServerName::try_from(name).unwrap(),
        }
    }
}

pub static OUTER: LazyLock<Layer> = LazyLock::new(|| Layer::new("host.test"));
pub static INNER: LazyLock<Layer> = LazyLock::new(|| Layer::new("hsm.test"));
