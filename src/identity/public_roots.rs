//! Public authorities, for a layer that faces a public host.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use rustls::DistinguishedName;
use rustls::crypto::CryptoProvider;
use webpki::{EndEntityCert, KeyUsage};

use super::certificate::Certificate;
use super::chain;
use super::error::{Error, Problem};
use super::policy::{self, NamePolicy, Peer, TimePolicy, check_time};
use super::rule::{Acceptance, Common, Presented, Rule, impl_verifiers};

/// Accepts a server that one of Mozilla's public authorities certified for the name of the connection.
///
/// The name is always checked, and no private authority can be added: a private one would then speak for every public
/// name, and a public one for the private host. It has no place for clients and refuses them.
#[derive(Clone, Debug)]
pub struct PublicRoots {
    pub(super) common: Common,
}

impl PublicRoots {
    /// The rule with the roots of the crate `webpki-roots`.
    #[must_use]
    pub fn new(provider: Arc<CryptoProvider>) -> Self {
        Self { common: Common::new(provider) }
    }
}

impl Rule for PublicRoots {
    fn judge(&self, presented: &Presented<'_>) -> Result<Acceptance, Error> {
        if presented.peer == Peer::Client {
            return Err(Error::new(
                Problem::Purpose,
                "a server",
                "a client: public authorities certify servers",
            ));
        }
        let leaf = Certificate::from_der(presented.leaf)?;
        let refuse = |error| chain::from_webpki(error, &leaf, presented, &[]);
        let der = leaf.der();
        let parsed = EndEntityCert::try_from(&der).map_err(refuse)?;
        let algorithms = self.common.provider.signature_verification_algorithms.all;
        parsed
            .verify_for_usage(
                algorithms,
                webpki_roots::TLS_SERVER_ROOTS,
                presented.chain,
                presented.now,
                KeyUsage::server_auth(),
                None,
                None,
            )
            .map_err(refuse)?;
        check_time(&leaf, TimePolicy::Strict, presented.now)?;
        NamePolicy::ServerName.check(&leaf, presented.name)?;
        let name = presented.name.map_or_else(String::new, policy::shown);
        Ok(Acceptance {
            rule: format!("issued by a public authority, for {name}"),
            file: None,
            notes: Vec::new(),
        })
    }

    fn hints(&self) -> &[DistinguishedName] {
        &[]
    }
}

impl_verifiers!(PublicRoots);
