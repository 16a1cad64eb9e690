//! One of several rules accepts the peer.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use rustls::crypto::CryptoProvider;
use rustls::{CertificateError, DistinguishedName};

use super::error::{Error, Problem};
use super::rule::{Acceptance, Common, Presented, Rule, impl_verifiers};

/// Accepts what any of its rules accepts: the default client certificate **or** one issued by customerCA.
///
/// The rules are asked in order. Observers of the single rules hear nothing; the observer of this one hears the
/// verdict, which names the rule that accepted, or holds what each of them said in [`Error::causes`].
#[derive(Clone, Debug)]
pub struct AnyOf {
    rules: Vec<Arc<dyn Rule>>,
    pub(super) common: Common,
}

impl AnyOf {
    /// A rule that accepts what one of `rules` accepts.
    ///
    /// # Errors
    /// [`Problem::NoCertificate`] for an empty set.
    pub fn new(
        rules: impl IntoIterator<Item = Arc<dyn Rule>>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, Error> {
        let rules: Vec<Arc<dyn Rule>> = rules.into_iter().collect();
        if rules.is_empty() {
            return Err(Error::new(Problem::NoCertificate, "at least one rule", "none"));
        }
        let mut common = Common::new(provider);
        // A rule without hints accepts what no listed authority issued: then the list must stay empty, or clients keep
        // back the very certificate that would be accepted.
        if rules.iter().all(|rule| !rule.hints().is_empty()) {
            common.hints = rules.iter().flat_map(|rule| rule.hints().iter().cloned()).collect();
        }
        Ok(Self { rules, common })
    }
}

impl Rule for AnyOf {
    fn judge(&self, presented: &Presented<'_>) -> Result<Acceptance, Error> {
        let mut causes = Vec::new();
        for rule in &self.rules {
            match rule.judge(presented) {
                Ok(acceptance) => return Ok(acceptance),
                Err(error) => causes.push(error),
            }
        }
        Err(summary(causes))
    }

    fn hints(&self) -> &[DistinguishedName] {
        &self.common.hints
    }
}

/// What the rules said, in one error. A rule that knew the certificate and refused it for another reason tells more
/// than those which did not know it.
fn summary(causes: Vec<Error>) -> Error {
    let telling = causes
        .iter()
        .find(|cause| !matches!(cause.problem(), Problem::Pin | Problem::Issuer))
        .cloned();
    match telling {
        Some(error) => error.because(causes),
        None => {
            let expected: Vec<&str> = causes.iter().map(Error::expected).collect();
            let found: Vec<&str> = causes.iter().map(Error::found).collect();
            let (expected, found): (String, String) = (expected.join(", or "), found.join(", "));
            Error::new(Problem::NoRule, expected, found)
                .for_rustls(CertificateError::UnknownIssuer)
                .because(causes)
        }
    }
}

impl_verifiers!(AnyOf);
