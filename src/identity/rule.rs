//! What all rules share: the question, the answer, who hears of it, and the traits of rustls.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Debug;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DistinguishedName, SignatureScheme};

use super::error::Error;
use super::policy::{Note, Peer};

/// A rule about peers' certificates: [`Pinned`](super::Pinned), [`IssuedBy`](super::IssuedBy) or
/// [`AnyOf`](super::AnyOf).
///
/// Judging is pure: no clock, no state, no report to the observer. It answers for the certificate alone; that the peer
/// holds its key is for the handshake signature to show, which these rules always verify when rustls asks them.
pub trait Rule: Debug + Send + Sync {
    /// Accepts or refuses what a peer presented.
    ///
    /// # Errors
    /// The check that failed, with the values it compared.
    fn judge(&self, presented: &Presented<'_>) -> Result<Acceptance, Error>;

    /// The authorities to name to peers; empty if naming some would hide another way in.
    fn hints(&self) -> &[DistinguishedName];
}

/// What a peer sent, and when, and under which name it was called.
#[derive(Clone, Copy, Debug)]
pub struct Presented<'a> {
    /// The peer's own certificate.
    pub leaf: &'a CertificateDer<'a>,
    /// What it sent besides, in its order.
    pub chain: &'a [CertificateDer<'a>],
    /// The role of the peer.
    pub peer: Peer,
    /// The name that the connection was made to, where the peer is a server.
    pub name: Option<&'a ServerName<'a>>,
    /// The time of the check.
    pub now: UnixTime,
}

/// A certificate that a rule accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Acceptance {
    /// The rule in words: `pinned certificate`, `issued by /CN=customerCA`.
    pub rule: String,
    /// The file that the rule came from, where it was named.
    pub file: Option<String>,
    /// What a person should hear of all the same.
    pub notes: Vec<Note>,
}

/// One peer judged by one rule in a handshake.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Judgement {
    /// The role of the peer.
    pub peer: Peer,
    /// Every certificate the peer sent, its own first.
    pub certificates: Vec<CertificateDer<'static>>,
    /// The time of the check.
    pub now: UnixTime,
    /// What the rule says.
    pub verdict: Result<Acceptance, Error>,
}

/// What a peer asked of us, and whether our certificate goes out.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OwnCertificate {
    /// The encoded names of the authorities that the peer listed; empty for "any".
    pub hints: Vec<Vec<u8>>,
    /// The signature schemes that the peer accepts.
    pub schemes: Vec<SignatureScheme>,
    /// Whether our key can make one of these signatures. If not, rustls sends an empty list of certificates, and the
    /// peer will most often answer with `handshake_failure` or `certificate_required`.
    pub usable: bool,
}

/// Hears of each judgement in each handshake: reports are made of this.
///
/// A configuration serves many connections; give each configuration its own observer where they must be told apart.
pub trait Observer: Debug + Send + Sync {
    /// A peer's certificates were accepted or refused.
    fn judged(&self, judgement: &Judgement);

    /// The peer asked for our certificate.
    fn asked(&self, own: &OwnCertificate) {
        let _ = own;
    }
}

/// What each rule keeps besides its rule.
#[derive(Clone, Debug)]
pub(super) struct Common {
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) observer: Option<Arc<dyn Observer>>,
    pub(super) hints: Vec<DistinguishedName>,
}

impl Common {
    pub(super) fn new(provider: Arc<CryptoProvider>) -> Self {
        Self { provider, observer: None, hints: Vec::new() }
    }

    /// Judges in a handshake: the observer hears of it, rustls gets its own error.
    pub(super) fn judge(
        &self,
        rule: &dyn Rule,
        presented: &Presented<'_>,
    ) -> Result<(), rustls::Error> {
        let verdict = rule.judge(presented);
        let answer = verdict.clone().map(|_| ()).map_err(rustls::Error::from);
        if let Some(observer) = &self.observer {
            let sent = core::iter::once(presented.leaf).chain(presented.chain);
            observer.judged(&Judgement {
                peer: presented.peer,
                certificates: sent.map(|certificate| certificate.clone().into_owned()).collect(),
                now: presented.now,
                verdict,
            });
        }
        answer
    }
}

/// Makes a rule with a field `common` a verifier of servers and of clients.
macro_rules! impl_verifiers {
    ($rule:ty) => {
        impl $rule {
            /// Lets `observer` hear of each judgement.
            #[must_use]
            pub fn observed_by(
                mut self,
                observer: alloc::sync::Arc<dyn $crate::identity::Observer>,
            ) -> Self {
                self.common.observer = Some(observer);
                self
            }
        }

        impl rustls::client::danger::ServerCertVerifier for $rule {
            fn verify_server_cert(
                &self,
                end_entity: &rustls::pki_types::CertificateDer<'_>,
                intermediates: &[rustls::pki_types::CertificateDer<'_>],
                server_name: &rustls::pki_types::ServerName<'_>,
                _ocsp_response: &[u8],
                now: rustls::pki_types::UnixTime,
            ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
                let presented = $crate::identity::Presented {
                    leaf: end_entity,
                    chain: intermediates,
                    peer: $crate::identity::Peer::Server,
                    name: Some(server_name),
                    now,
                };
                self.common.judge(self, &presented)?;
                Ok(rustls::client::danger::ServerCertVerified::assertion())
            }

            fn verify_tls12_signature(
                &self,
                message: &[u8],
                cert: &rustls::pki_types::CertificateDer<'_>,
                dss: &rustls::DigitallySignedStruct,
            ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
                let algorithms = &self.common.provider.signature_verification_algorithms;
                $crate::identity::signature::verify_tls12(message, cert, dss, algorithms)
            }

            fn verify_tls13_signature(
                &self,
                message: &[u8],
                cert: &rustls::pki_types::CertificateDer<'_>,
                dss: &rustls::DigitallySignedStruct,
            ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
                let algorithms = &self.common.provider.signature_verification_algorithms;
                $crate::identity::signature::verify_tls13(message, cert, dss, algorithms)
            }

            fn supported_verify_schemes(&self) -> alloc::vec::Vec<rustls::SignatureScheme> {
                self.common.provider.signature_verification_algorithms.supported_schemes()
            }
        }

        impl rustls::server::danger::ClientCertVerifier for $rule {
            fn root_hint_subjects(&self) -> &[rustls::DistinguishedName] {
                $crate::identity::Rule::hints(self)
            }

            fn verify_client_cert(
                &self,
                end_entity: &rustls::pki_types::CertificateDer<'_>,
                intermediates: &[rustls::pki_types::CertificateDer<'_>],
                now: rustls::pki_types::UnixTime,
            ) -> Result<rustls::server::danger::ClientCertVerified, rustls::Error> {
                let presented = $crate::identity::Presented {
                    leaf: end_entity,
                    chain: intermediates,
                    peer: $crate::identity::Peer::Client,
                    name: None,
                    now,
                };
                self.common.judge(self, &presented)?;
                Ok(rustls::server::danger::ClientCertVerified::assertion())
            }

            fn verify_tls12_signature(
                &self,
                message: &[u8],
                cert: &rustls::pki_types::CertificateDer<'_>,
                dss: &rustls::DigitallySignedStruct,
            ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
                let algorithms = &self.common.provider.signature_verification_algorithms;
                $crate::identity::signature::verify_tls12(message, cert, dss, algorithms)
            }

            fn verify_tls13_signature(
                &self,
                message: &[u8],
                cert: &rustls::pki_types::CertificateDer<'_>,
                dss: &rustls::DigitallySignedStruct,
            ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
                let algorithms = &self.common.provider.signature_verification_algorithms;
                $crate::identity::signature::verify_tls13(message, cert, dss, algorithms)
            }

            fn supported_verify_schemes(&self) -> alloc::vec::Vec<rustls::SignatureScheme> {
                self.common.provider.signature_verification_algorithms.supported_schemes()
            }
        }
    };
}

pub(super) use impl_verifiers;
