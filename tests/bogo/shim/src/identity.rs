//! Certificates: any peer's is accepted, as the runner's shim does, but its signature is verified.

use std::sync::{Arc, Mutex};

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError,
    SignatureAlgorithm, SignatureScheme,
};

/// What a handshake showed of the peer.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub signature_scheme: Option<SignatureScheme>,
    pub ocsp_response: Vec<u8>,
    pub server_name: Option<String>,
    pub alpn: Option<Vec<Vec<u8>>>,
    pub client_ca_list: Vec<Vec<u8>>,
    pub peer_schemes: Vec<SignatureScheme>,
}

pub type Witness = Arc<Mutex<Seen>>;

/// How a certificate is refused; each has an alert of its own.
#[derive(Clone, Copy, Debug)]
pub enum Refusal {
    Certificate,
    CertificateStatus,
    Handshake,
}

/// Accepts any certificate, or none.
#[derive(Debug)]
pub struct Verifier {
    pub algorithms: WebPkiSupportedAlgorithms,
    pub schemes: Vec<SignatureScheme>,
    pub refusal: Option<Refusal>,
    pub mandatory: bool,
    pub hints: Vec<DistinguishedName>,
    pub witness: Witness,
}

impl Verifier {
    fn judge(&self) -> Result<(), Error> {
        match self.refusal {
            None => Ok(()),
            Some(Refusal::Certificate) => {
                Err(CertificateError::Other(OtherError(Arc::new(std::fmt::Error))).into())
            }
            Some(Refusal::CertificateStatus) => Err(CertificateError::InvalidOcspResponse.into()),
            Some(Refusal::Handshake) => Err(Error::General("refused by the verifier".into())),
        }
    }

    fn saw(&self, signed: &DigitallySignedStruct) {
        self.witness.lock().unwrap().signature_scheme = Some(signed.scheme);
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.witness.lock().unwrap().ocsp_response = ocsp_response.to_vec();
        self.judge().map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.saw(signed);
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.saw(signed);
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.judge().map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        ServerCertVerifier::verify_tls12_signature(self, message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        ServerCertVerifier::verify_tls13_signature(self, message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

/// One certificate, if any, for whoever asks.
#[derive(Debug)]
pub struct Resolver {
    pub own: Option<Arc<CertifiedKey>>,
    pub witness: Witness,
}

impl ResolvesClientCert for Resolver {
    fn resolve(&self, hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let mut seen = self.witness.lock().unwrap();
        seen.client_ca_list = hints.iter().map(|&h| h.to_vec()).collect();
        seen.peer_schemes = schemes.to_vec();
        self.own.clone()
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let mut seen = self.witness.lock().unwrap();
        seen.peer_schemes = hello.signature_schemes().to_vec();
        seen.server_name = hello.server_name().map(Into::into);
        seen.alpn = hello.alpn().map(|protocols| protocols.map(<[u8]>::to_vec).collect());
        self.own.clone()
    }
}

/// A key that signs by these schemes only, the first the most liked.
#[derive(Debug)]
pub struct Particular {
    pub key: Arc<dyn SigningKey>,
    pub schemes: Vec<SignatureScheme>,
}

impl SigningKey for Particular {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        self.schemes
            .iter()
            .filter(|scheme| offered.contains(scheme))
            .find_map(|&scheme| self.key.choose_scheme(&[scheme]))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.key.algorithm()
    }
}
