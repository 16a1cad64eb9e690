//! The peer's certificate, or its key, is one of a known set.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::hint::black_box;

use rustls::DistinguishedName;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use webpki::EndEntityCert;

use super::asn1::hex_lower;
use super::certificate::{Certificate, sha256};
use super::chain;
use super::error::{Error, Problem};
use super::policy::{NamePolicy, Note, TimePolicy, check_time};
use super::rule::{Acceptance, Common, Presented, Rule, impl_verifiers};
use super::signature;

/// What a pinned certificate is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    what: What,
    file: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Certificate(CertificateDer<'static>),
    Spki(SubjectPublicKeyInfoDer<'static>),
    SpkiSha256([u8; 32]),
}

impl Pin {
    /// The certificate, byte for byte.
    #[must_use]
    pub fn certificate(certificate: CertificateDer<'static>) -> Self {
        Self { what: What::Certificate(certificate), file: None }
    }

    /// The public key with its algorithm. It outlives a renewal of the certificate with the same key.
    #[must_use]
    pub fn spki(spki: SubjectPublicKeyInfoDer<'static>) -> Self {
        Self { what: What::Spki(spki), file: None }
    }

    /// SHA-256 of the public key with its algorithm.
    #[must_use]
    pub fn spki_sha256(hash: [u8; 32]) -> Self {
        Self { what: What::SpkiSha256(hash), file: None }
    }

    /// Names the file the pin came from, for reports.
    #[must_use]
    pub fn from_file(mut self, file: impl Into<String>) -> Self {
        self.file = Some(file.into());
        self
    }

    /// The file the pin came from.
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    fn matches(&self, leaf: &Certificate<'_>, provider: &CryptoProvider) -> bool {
        match &self.what {
            What::Certificate(certificate) => equal(certificate, &leaf.der()),
            What::Spki(spki) => equal(spki, &leaf.spki()),
            What::SpkiSha256(hash) => {
                leaf.spki_sha256(provider).is_some_and(|found| equal(&found, hash))
            }
        }
    }

    fn describe(&self, provider: &CryptoProvider) -> String {
        let of =
            |data: &[u8]| sha256(provider, data).map_or_else(String::new, |hash| hex_lower(&hash));
        match &self.what {
            What::Certificate(certificate) => format!("certificate {}", of(certificate)),
            What::Spki(spki) => format!("key {}", of(spki)),
            What::SpkiSha256(hash) => format!("key {}", hex_lower(hash)),
        }
    }

    fn words(&self) -> &'static str {
        match &self.what {
            What::Certificate(_) => "pinned certificate",
            What::Spki(_) | What::SpkiSha256(_) => "pinned key",
        }
    }
}

/// Compares in a time that depends on the lengths alone.
///
/// A pin is public where its certificate goes over the wire, and an attacker would need the key
/// anyway. But a pin may also be of a key that nobody was shown, and then how long a refusal takes
/// must not tell it byte by byte.
fn equal(a: &[u8], b: &[u8]) -> bool {
    let differ = a.iter().zip(b).fold(0, |differ, (a, b)| black_box(differ | (a ^ b)));
    a.len() == b.len() && differ == 0
}

/// Finds the pin of `leaf`.
pub(super) fn find<'p>(
    pins: &'p [Pin],
    leaf: &Certificate<'_>,
    provider: &CryptoProvider,
) -> Result<&'p Pin, Error> {
    if let Some(pin) = pins.iter().find(|pin| pin.matches(leaf, provider)) {
        return Ok(pin);
    }
    let expected: Vec<String> = pins.iter().map(|pin| pin.describe(provider)).collect();
    let hash = |hash: Option<[u8; 32]>| hash.map_or_else(String::new, |hash| hex_lower(&hash));
    let found = format!(
        "certificate {} with key {} of {}",
        hash(leaf.sha256(provider)),
        hash(leaf.spki_sha256(provider)),
        leaf.subject().compat()
    );
    let error = Error::new(Problem::Pin, expected.join(" or "), found);
    Err(match pins {
        [only] => match only.file() {
            Some(file) => error.in_file(file),
            None => error,
        },
        _ => error,
    })
}

/// Accepts a certificate that is one of a set, by its bytes or by its key.
///
/// The certificate may be of version 1 or 3, self-signed, a certificate authority, without names: being pinned is its
/// identity. It must still be readable, within its validity, free of unknown critical extensions and not for another
/// purpose; and the peer must prove that it holds the key.
///
/// ```
/// use std::sync::Arc;
/// use nested_tls::identity::{Pin, Pinned, TimePolicy};
///
/// # fn config(provider: Arc<rustls::crypto::CryptoProvider>, server: rustls::pki_types::CertificateDer<'static>) -> Result<rustls::ClientConfig, Box<dyn std::error::Error>> {
/// let rule = Pinned::new([Pin::certificate(server).from_file("certs/21a10654.0")], provider.clone())?
///     .time(TimePolicy::IgnoreExpiry);
/// let config = rustls::ClientConfig::builder_with_provider(provider)
///     .with_safe_default_protocol_versions()?
///     .dangerous()
///     .with_custom_certificate_verifier(Arc::new(rule))
///     .with_no_client_auth();
/// # Ok(config)
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Pinned {
    pins: Vec<Pin>,
    names: NamePolicy,
    time: TimePolicy,
    pub(super) common: Common,
}

impl Pinned {
    /// A rule that accepts exactly these.
    ///
    /// # Errors
    /// [`Problem::NoCertificate`] for an empty set.
    pub fn new(
        pins: impl IntoIterator<Item = Pin>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, Error> {
        let pins: Vec<Pin> = pins.into_iter().collect();
        if pins.is_empty() {
            return Err(Error::new(Problem::NoCertificate, "at least one pin", "none"));
        }
        Ok(Self {
            pins,
            names: NamePolicy::Unchecked,
            time: TimePolicy::Strict,
            common: Common::new(provider),
        })
    }

    /// What to do about expiry; [`TimePolicy::Strict`] unless said.
    #[must_use]
    pub fn time(mut self, time: TimePolicy) -> Self {
        self.time = time;
        self
    }

    /// Asks for a name besides the pin; [`NamePolicy::Unchecked`] unless said.
    #[must_use]
    pub fn names(mut self, names: NamePolicy) -> Self {
        self.names = names;
        self
    }
}

impl Rule for Pinned {
    fn judge(&self, presented: &Presented<'_>) -> Result<Acceptance, Error> {
        let leaf = Certificate::from_der(presented.leaf)?;
        let pin = find(&self.pins, &leaf, &self.common.provider)?;
        let in_file = |error: Error| match pin.file() {
            Some(file) => error.in_file(file),
            None => error,
        };
        let notes = self.check(&leaf, presented).map_err(in_file)?;
        Ok(Acceptance { rule: pin.words().into(), file: pin.file.clone(), notes })
    }

    fn hints(&self) -> &[DistinguishedName] {
        // A pin has no authority to name, and a list of others' would tell the peer to stay away.
        &[]
    }
}

impl Pinned {
    fn check(&self, leaf: &Certificate<'_>, presented: &Presented<'_>) -> Result<Vec<Note>, Error> {
        signature::check_algorithms_equal(leaf)?;
        signature::check_key(leaf)?;
        let mut notes = check_time(leaf, self.time, presented.now)?;
        match leaf.version() {
            1 => {
                chain::check_version_one(leaf)?;
                notes.push(Note::VersionOne);
            }
            3 => {
                // webpki reads the certificate here, and refuses extensions that are critical and unknown; whether
                // the certificate is an authority's is a question of chains, and a pin has none.
                let der = leaf.der();
                EndEntityCert::try_from(&der)
                    .map_err(|error| chain::from_webpki(error, leaf, presented, &[]))?;
                chain::check_purpose(leaf, presented.peer)?;
            }
            version => return Err(chain::unsupported_version(version)),
        }
        self.names.check(leaf, presented.name)?;
        Ok(notes)
    }
}

impl_verifiers!(Pinned);
