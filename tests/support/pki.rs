//! Certificates and configurations for both layers, the same in every run.

use std::sync::{Arc, OnceLock};

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    SerialNumber,
};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion,
    version::{TLS12, TLS13},
};

use super::crypto::{FixedTime, provider};

/// One layer's certificates; each layer has its own authority.
pub struct Pki {
    pub ca: CertificateDer<'static>,
    pub server: (CertificateDer<'static>, PrivatePkcs8KeyDer<'static>),
    pub client: (CertificateDer<'static>, PrivatePkcs8KeyDer<'static>),
    pub name: &'static str,
}

fn key(seed: u8) -> KeyPair {
    // RFC 8410: an Ed25519 key in PKCS#8 is this prefix and 32 bytes.
    let mut der = vec![0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    der.extend([seed; 32]);
    KeyPair::try_from(der).unwrap()
}

fn der(key: &KeyPair) -> PrivatePkcs8KeyDer<'static> {
    PrivatePkcs8KeyDer::from(key.serialize_der())
}

fn params(name: &str, serial: u64) -> CertificateParams {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.serial_number = Some(SerialNumber::from(serial));
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2040, 1, 1);
    params
}

impl Pki {
    fn new(name: &'static str, seed: u8) -> Self {
        let ca_key = key(seed);
        let mut ca = params(&format!("{name} authority"), 1);
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.subject_alt_names.clear();
        let ca_cert = ca.self_signed(&ca_key).unwrap();
        let issuer = Issuer::from_params(&ca, &ca_key);
        let leaf = |seed: u8, usage| {
            let key = key(seed);
            let mut params = params(name, seed.into());
            params.extended_key_usages = vec![usage];
            let cert = params.signed_by(&key, &issuer).unwrap();
            (cert.der().clone(), der(&key))
        };
        Self {
            ca: ca_cert.der().clone(),
            server: leaf(seed + 1, ExtendedKeyUsagePurpose::ServerAuth),
            client: leaf(seed + 2, ExtendedKeyUsagePurpose::ClientAuth),
            name,
        }
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.clone()).unwrap();
        Arc::new(roots)
    }

    pub fn name(&self) -> ServerName<'static> {
        ServerName::try_from(self.name).unwrap()
    }

    /// Who this layer's server has to be.
    pub fn server_rule(&self) -> Arc<dyn ServerCertVerifier> {
        WebPkiServerVerifier::builder_with_provider(self.roots(), provider()).build().unwrap()
    }

    /// Who this layer's client has to be.
    pub fn client_rule(&self) -> Arc<dyn ClientCertVerifier> {
        WebPkiClientVerifier::builder_with_provider(self.roots(), provider()).build().unwrap()
    }

    /// A client that presents its certificate.
    pub fn client(&self, version: Version) -> ClientConfig {
        self.client_of(&[version.rustls()])
    }

    /// The same with any versions.
    pub fn client_of(&self, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        self.client_with(provider(), versions)
    }

    /// The same with any cryptography.
    pub fn client_with(
        &self,
        provider: Arc<CryptoProvider>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ClientConfig {
        ClientConfig::builder_with_details(provider, Arc::new(FixedTime))
            .with_protocol_versions(versions)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(self.server_rule())
            .with_client_auth_cert(vec![self.client.0.clone()], self.client_key())
            .unwrap()
    }

    /// A server that requires a client certificate.
    pub fn server(&self, version: Version) -> ServerConfig {
        self.server_of(&[version.rustls()])
    }

    /// The same with any versions.
    pub fn server_of(&self, versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
        self.server_with(provider(), versions)
    }

    /// The same with any cryptography.
    pub fn server_with(
        &self,
        provider: Arc<CryptoProvider>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ServerConfig {
        ServerConfig::builder_with_details(provider, Arc::new(FixedTime))
            .with_protocol_versions(versions)
            .unwrap()
            .with_client_cert_verifier(self.client_rule())
            .with_single_cert(vec![self.server.0.clone()], self.server_key())
            .unwrap()
    }

    /// A server that asks for no client certificate.
    pub fn open_server(&self, version: Version) -> ServerConfig {
        ServerConfig::builder_with_details(provider(), Arc::new(FixedTime))
            .with_protocol_versions(&[version.rustls()])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.server.0.clone()], self.server_key())
            .unwrap()
    }

    /// A client without a certificate.
    pub fn anonymous_client(&self, version: Version) -> ClientConfig {
        ClientConfig::builder_with_details(provider(), Arc::new(FixedTime))
            .with_protocol_versions(&[version.rustls()])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(self.server_rule())
            .with_no_client_auth()
    }

    pub fn client_key(&self) -> PrivateKeyDer<'static> {
        self.client.1.clone_key().into()
    }

    pub fn server_key(&self) -> PrivateKeyDer<'static> {
        self.server.1.clone_key().into()
    }
}

/// A TLS version, as a parameter of tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    Tls12,
    Tls13,
}

impl Version {
    pub const ALL: [Self; 2] = [Self::Tls12, Self::Tls13];

    pub fn rustls(self) -> &'static SupportedProtocolVersion {
        match self {
            Self::Tls12 => &TLS12,
            Self::Tls13 => &TLS13,
        }
    }
}

/// What an authority that nobody trusts made of the inner layer's names.
pub fn impostor() -> &'static Pki {
    static PKI: OnceLock<Pki> = OnceLock::new();
    PKI.get_or_init(|| Pki::new("hsm.test", 0x40))
}

/// The outer layer's certificates.
pub fn outer() -> &'static Pki {
    static PKI: OnceLock<Pki> = OnceLock::new();
    PKI.get_or_init(|| Pki::new("host.test", 0x10))
}

/// The inner layer's certificates.
pub fn inner() -> &'static Pki {
    static PKI: OnceLock<Pki> = OnceLock::new();
    PKI.get_or_init(|| Pki::new("hsm.test", 0x20))
}
