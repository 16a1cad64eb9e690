//! Providers that tell less than ring's: keys that keep their public half to themselves, no cipher suites, no hashes.

use std::sync::Arc;

use nested_tls::identity::cloudhsm::{client_config, server_config};
use nested_tls::identity::{
    Authority, Certificate, ClientKey, Error, IssuedBy, NamePolicy, Peer, Pin, Pinned, Presented,
    Problem, PublicKey, Rule,
};
use rustls::crypto::{CryptoProvider, KeyProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};

use crate::forge::{Draft, Key, Kind, cn, now, own, provider};

/// A key as of a device: it signs, and tells nothing.
#[derive(Debug)]
struct Silent(Arc<dyn SigningKey>);

impl SigningKey for Silent {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        self.0.choose_scheme(offered)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.0.algorithm()
    }
}

#[derive(Debug)]
struct SilentKeys;

impl KeyProvider for SilentKeys {
    fn load_private_key(
        &self,
        key: PrivateKeyDer<'static>,
    ) -> Result<Arc<dyn SigningKey>, rustls::Error> {
        Ok(Arc::new(Silent(provider().key_provider.load_private_key(key)?)))
    }
}

fn with_silent_keys() -> CryptoProvider {
    CryptoProvider { key_provider: &SilentKeys, ..CryptoProvider::clone(&provider()) }
}

fn without_suites() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider { cipher_suites: Vec::new(), ..CryptoProvider::clone(&provider()) })
}

fn without_algorithms() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        signature_verification_algorithms: WebPkiSupportedAlgorithms { all: &[], mapping: &[] },
        ..CryptoProvider::clone(&provider())
    })
}

fn judge(rule: &dyn Rule, leaf: &CertificateDer<'static>) -> Result<(), Error> {
    let presented = Presented { leaf, chain: &[], peer: Peer::Server, name: None, now: now() };
    rule.judge(&presented).map(|_| ())
}

#[test]
fn a_key_that_keeps_its_public_half() {
    let key = Key::new(Kind::P256);
    let chain = vec![Draft::v3(&cn("me"), &key.spki, &cn("me")).sign(&key)];
    let provider = with_silent_keys();
    // There is nothing to compare the certificate with; the handshake will tell.
    ClientKey::new(chain, key.private(), &provider).unwrap();
    let error = PublicKey::of(key.private(), &provider).unwrap_err();
    assert_eq!(error.problem(), Problem::UnsupportedKey);
}

/// Hashes come with the cipher suites.
#[test]
fn a_provider_without_suites() {
    let provider = without_suites();
    let (key, wrong) = (Key::new(Kind::P256), Key::new(Kind::P256));
    let der = Draft::v3(&cn("me"), &key.spki, &cn("me")).sign(&key);
    let certificate = Certificate::from_der(&der).unwrap();
    assert_eq!(certificate.sha256(&provider), None);
    assert_eq!(certificate.spki_sha256(&provider), None);
    assert!(certificate.tls_server_end_point(&provider).is_none());
    assert_eq!(PublicKey::of(key.private(), &provider).unwrap().sha256, None);
    let mismatch = ClientKey::new(vec![der.clone()], wrong.private(), &provider).unwrap_err();
    assert_eq!(mismatch.problem(), Problem::KeyMismatch);

    // A hash that nobody can make is no certificate's.
    let hash = certificate.spki_sha256(&crate::forge::provider()).unwrap();
    let by_hash = Pinned::new([Pin::spki_sha256(hash)], provider.clone()).unwrap();
    assert_eq!(judge(&by_hash, &der).unwrap_err().problem(), Problem::Pin);
    let by_bytes = Pinned::new([Pin::certificate(der.clone())], provider.clone()).unwrap();
    judge(&by_bytes, &der).unwrap();
    let other = Draft::v3(&cn("other"), &wrong.spki, &cn("other")).sign(&wrong);
    assert_eq!(judge(&by_bytes, &other).unwrap_err().problem(), Problem::Pin);

    let refused = client_config(Arc::new(by_bytes), None, &provider).unwrap_err();
    assert_eq!(refused.problem(), Problem::Configuration);
    let refused = server_config(own(&[&der], &key), None, &provider).unwrap_err();
    assert_eq!(refused.problem(), Problem::Configuration);
}

#[test]
fn a_provider_that_verifies_nothing() {
    let (root, key) = (Key::new(Kind::P256), Key::new(Kind::P256));
    let authority = Draft::authority(&cn("customerCA"), &root).sign(&root);
    for draft in [Draft::v1, Draft::v3] {
        let leaf = draft(&cn("leaf"), &key.spki, &cn("customerCA")).sign(&root);
        let rule = |provider| {
            let authority = Authority::from_der(authority.clone()).unwrap();
            IssuedBy::new([authority], NamePolicy::Unchecked, provider).unwrap()
        };
        judge(&rule(provider()), &leaf).unwrap();
        let error = judge(&rule(without_algorithms()), &leaf).unwrap_err();
        assert_eq!(error.problem(), Problem::UnsupportedAlgorithm);
    }
}
