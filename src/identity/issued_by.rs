//! The peer's certificate was signed by one of a set of private authorities.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use rustls::DistinguishedName;
use rustls::crypto::CryptoProvider;

use super::authority::Authority;
use super::certificate::Certificate;
use super::chain;
use super::error::{Error, Problem};
use super::pinned::{Pin, find};
use super::policy::{NamePolicy, Note, TimePolicy, check_time};
use super::rule::{Acceptance, Common, Presented, Rule, impl_verifiers};

/// Accepts a certificate that one of a set of authorities signed itself.
///
/// A leaf of version 3 goes through webpki, with all that webpki asks of it. A leaf of version 1, which webpki has no
/// place for, must name the authority byte for byte, carry its signature with an algorithm that the provider knows, and
/// be within its validity; it can't be reached through intermediates.
///
/// The authorities are private ones: for public roots use rustls' own verifier, which always checks the name.
///
/// ```
/// use std::sync::Arc;
/// use nested_tls::identity::{Authority, IssuedBy, NamePolicy};
///
/// # fn rule(provider: Arc<rustls::crypto::CryptoProvider>, pem: &[u8]) -> Result<IssuedBy, nested_tls::identity::Error> {
/// let customer = Authority::from_pem(pem)?.into_iter().map(|one| one.from_file("customerCA.crt"));
/// let rule = IssuedBy::new(customer, NamePolicy::Unchecked, provider)?;
/// # Ok(rule)
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct IssuedBy {
    authorities: Vec<Authority>,
    names: NamePolicy,
    time: TimePolicy,
    pins: Vec<Pin>,
    through_intermediates: bool,
    pub(super) common: Common,
}

impl IssuedBy {
    /// A rule that accepts what one of `authorities` signed, for the names of `names`.
    ///
    /// # Errors
    /// [`Problem::NoCertificate`] for an empty set.
    pub fn new(
        authorities: impl IntoIterator<Item = Authority>,
        names: NamePolicy,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, Error> {
        let authorities: Vec<Authority> = authorities.into_iter().collect();
        if authorities.is_empty() {
            return Err(Error::new(Problem::NoCertificate, "at least one authority", "none"));
        }
        let mut common = Common::new(provider);
        common.hints = authorities
            .iter()
            .map(|authority| DistinguishedName::from(authority.subject().to_vec()))
            .collect();
        Ok(Self {
            authorities,
            names,
            time: TimePolicy::Strict,
            pins: Vec::new(),
            through_intermediates: false,
            common,
        })
    }

    /// What to do about expiry; [`TimePolicy::Strict`] unless said.
    #[must_use]
    pub fn time(mut self, time: TimePolicy) -> Self {
        self.time = time;
        self
    }

    /// Asks besides for one of `pins`: issued by the authority **and** this very certificate or key.
    #[must_use]
    pub fn also_pinned(mut self, pins: impl IntoIterator<Item = Pin>) -> Self {
        self.pins.extend(pins);
        self
    }

    /// Lets version 3 intermediates that the peer sends stand between its certificate and an authority.
    #[must_use]
    pub fn through_intermediates(mut self) -> Self {
        self.through_intermediates = true;
        self
    }

    fn check(
        &self,
        leaf: &Certificate<'_>,
        presented: &Presented<'_>,
    ) -> Result<(&Authority, Vec<Note>), Error> {
        let algorithms = &self.common.provider.signature_verification_algorithms;
        match leaf.version() {
            1 => {
                let authority = chain::verify_version_one(leaf, &self.authorities, algorithms)?;
                let mut notes = check_time(leaf, self.time, presented.now)?;
                notes.push(Note::VersionOne);
                Ok((authority, notes))
            }
            3 => {
                let intermediates = if self.through_intermediates { presented.chain } else { &[] };
                chain::verify_version_three(
                    leaf,
                    presented,
                    intermediates,
                    &self.authorities,
                    self.time,
                    algorithms,
                )
            }
            version => Err(chain::unsupported_version(version)),
        }
    }
}

impl Rule for IssuedBy {
    fn judge(&self, presented: &Presented<'_>) -> Result<Acceptance, Error> {
        let leaf = Certificate::from_der(presented.leaf)?;
        let (authority, notes) = self.check(&leaf, presented)?;
        if !self.pins.is_empty() {
            find(&self.pins, &leaf, &self.common.provider)?;
        }
        self.names.check(&leaf, presented.name)?;
        Ok(Acceptance {
            rule: format!("issued by {}", authority.describe()),
            file: authority.file().map(Into::into),
            notes,
        })
    }

    fn hints(&self) -> &[DistinguishedName] {
        &self.common.hints
    }
}

impl_verifiers!(IssuedBy);
