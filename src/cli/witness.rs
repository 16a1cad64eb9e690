//! What happened to the certificates of one connection, for its report and for the diagnosis of its failure.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nested_tls::identity::{Acceptance, Judgement, Observer, OwnCertificate};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, RootCertStore, SignatureScheme};

/// Hears what the rule of one layer of one connection says.
#[derive(Debug, Default)]
pub(crate) struct Witness(Mutex<Testimony>);

/// What a [`Witness`] has heard.
#[derive(Clone, Debug, Default)]
pub(crate) struct Testimony {
    /// The peer's certificates and the verdict on them.
    pub(crate) judgement: Option<Judgement>,
    /// What the peer asked of our own certificate.
    pub(crate) asked: Option<OwnCertificate>,
    /// What the public roots accepted; they are no rule of this crate.
    pub(crate) public: Option<String>,
}

impl Witness {
    pub(crate) fn testimony(&self) -> Testimony {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Testimony> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Testimony {
    pub(crate) fn acceptance(&self) -> Option<&Acceptance> {
        self.judgement.as_ref()?.verdict.as_ref().ok()
    }
}

impl Observer for Witness {
    fn judged(&self, judgement: &Judgement) {
        self.lock().judgement = Some(judgement.clone());
    }

    fn asked(&self, own: &OwnCertificate) {
        self.lock().asked = Some(own.clone());
    }
}

/// rustls' verifier over the public roots, with a witness.
#[derive(Debug)]
pub(crate) struct PublicRoots {
    verifier: Arc<WebPkiServerVerifier>,
    witness: Arc<Witness>,
}

impl PublicRoots {
    pub(crate) fn new(
        provider: Arc<rustls::crypto::CryptoProvider>,
        witness: Arc<Witness>,
    ) -> Result<Self, rustls::client::VerifierBuilderError> {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
        Ok(Self { verifier, witness })
    }
}

impl ServerCertVerifier for PublicRoots {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.verifier.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        )?;
        self.witness.lock().public =
            Some(format!("issued by a public authority, for {}", server_name.to_str()));
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
