//! Our own certificate and key, of any version, for either role.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SigningKey};

use super::asn1::Reader;
use super::certificate::{Certificate, KeyKind, SpkiView, encoding_error};
use super::error::{Error, Problem};
use super::pem::{certificates_from_pem, private_key_from_pem};
use super::rule::{Observer, OwnCertificate};

/// A chain of certificates and the key of its first: what we present, as a client or as a server.
///
/// rustls' `with_client_auth_cert` refuses certificates of version 1, which is what `openssl x509 -req` makes before
/// OpenSSL 3.2; this resolver carries them. The chain goes out exactly as given: OpenSSL completes it from its trust
/// directory, rustls does not.
///
/// ```
/// use std::sync::Arc;
/// use nested_tls::identity::ClientKey;
///
/// # fn config(provider: Arc<rustls::crypto::CryptoProvider>, certificates: &[u8], key: &[u8], verifier: Arc<nested_tls::identity::Pinned>) -> Result<rustls::ClientConfig, Box<dyn std::error::Error>> {
/// let own = ClientKey::from_pem(certificates, key, &provider)?;
/// let config = rustls::ClientConfig::builder_with_provider(provider)
///     .with_safe_default_protocol_versions()?
///     .dangerous()
///     .with_custom_certificate_verifier(verifier)
///     .with_client_cert_resolver(Arc::new(own));
/// # Ok(config)
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ClientKey {
    certified: Arc<CertifiedKey>,
    observer: Option<Arc<dyn Observer>>,
}

impl ClientKey {
    /// Joins a chain and a key after comparing their public keys.
    ///
    /// # Errors
    /// [`Problem::NoCertificate`] for an empty chain, [`Problem::UnsupportedKey`] for a key that the provider can't
    /// use, [`Problem::KeyMismatch`] if it is not the key of the chain's first certificate.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        provider: &CryptoProvider,
    ) -> Result<Self, Error> {
        let Some(leaf) = chain.first() else {
            return Err(Error::new(
                Problem::NoCertificate,
                "a chain of certificates",
                "an empty one",
            ));
        };
        let leaf = Certificate::from_der(leaf)?;
        let key = load(key, provider)?;
        if let Some(public) = key.public_key() {
            if public != leaf.spki() {
                let kind = kind_of(&public)?;
                return Err(Error::new(
                    Problem::KeyMismatch,
                    format!(
                        "the key of {}: {}",
                        leaf.subject().compat(),
                        leaf_key(&leaf, provider)
                    ),
                    format!("{kind} {}", short_hash(provider, &public)),
                ));
            }
        }
        Ok(Self { certified: Arc::new(CertifiedKey::new(chain, key)), observer: None })
    }

    /// Reads the chain and the key from two PEM texts.
    ///
    /// # Errors
    /// As [`ClientKey::new`], and for texts that hold something else; see [`Problem::EncryptedKey`].
    pub fn from_pem(chain: &[u8], key: &[u8], provider: &CryptoProvider) -> Result<Self, Error> {
        Self::new(certificates_from_pem(chain)?, private_key_from_pem(key)?, provider)
    }

    /// Lets `observer` hear of each request for our certificate.
    #[must_use]
    pub fn observed_by(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// The chain that goes out.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.certified.cert
    }
}

impl ResolvesClientCert for ClientKey {
    fn resolve(
        &self,
        root_hint_subjects: &[&[u8]],
        sigschemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        if let Some(observer) = &self.observer {
            observer.asked(&OwnCertificate {
                hints: root_hint_subjects.iter().map(|hint| hint.to_vec()).collect(),
                schemes: sigschemes.to_vec(),
                usable: self.certified.key.choose_scheme(sigschemes).is_some(),
            });
        }
        Some(self.certified.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl ResolvesServerCert for ClientKey {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.certified.clone())
    }
}

/// The public half of a private key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublicKey {
    /// The kind and size of the key.
    pub kind: KeyKind,
    /// The key with its algorithm.
    pub spki: SubjectPublicKeyInfoDer<'static>,
    /// SHA-256 of `spki`. `None` if the provider has no SHA-256.
    pub sha256: Option<[u8; 32]>,
}

impl PublicKey {
    /// Takes the public half of a private key: the same as in the certificate that belongs to it.
    ///
    /// # Errors
    /// [`Problem::UnsupportedKey`] for a key that the provider can't use, or can't tell the public half of.
    pub fn of(private: PrivateKeyDer<'static>, provider: &CryptoProvider) -> Result<Self, Error> {
        let key = load(private, provider)?;
        let Some(spki) = key.public_key().map(SubjectPublicKeyInfoDer::into_owned) else {
            return Err(Error::new(
                Problem::UnsupportedKey,
                "a key that tells its public half",
                "one that keeps it to itself",
            ));
        };
        let sha256 = super::certificate::sha256(provider, &spki);
        Ok(Self { kind: kind_of(&spki)?, spki, sha256 })
    }
}

fn load(
    key: PrivateKeyDer<'static>,
    provider: &CryptoProvider,
) -> Result<Arc<dyn SigningKey>, Error> {
    provider.key_provider.load_private_key(key).map_err(|error| {
        Error::new(Problem::UnsupportedKey, "a key that the provider can use", error.to_string())
    })
}

fn kind_of(spki: &[u8]) -> Result<KeyKind, Error> {
    let view = Reader::new(spki).any().and_then(SpkiView::parse);
    view.map(|view| view.kind()).map_err(|malformed| encoding_error("a public key", malformed))
}

fn leaf_key(leaf: &Certificate<'_>, provider: &CryptoProvider) -> String {
    format!("{} {}", leaf.key(), short_hash(provider, &leaf.spki()))
}

/// The first bytes of the hash of a public key: enough to see that two differ.
fn short_hash(provider: &CryptoProvider, spki: &[u8]) -> String {
    match super::certificate::sha256(provider, spki) {
        Some([a, b, c, d, ..]) => super::asn1::hex_lower(&[a, b, c, d]),
        None => String::new(),
    }
}
