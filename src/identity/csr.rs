//! Certificate signing requests: whose key a certificate was asked for.

use rustls::crypto::CryptoProvider;
use rustls::pki_types::SubjectPublicKeyInfoDer;

use super::asn1::{BIT_STRING, CONTEXT_0, INTEGER, Malformed, Reader, SEQUENCE, whole_bits};
use super::certificate::{KeyKind, Signed, SpkiView, encoding_error, sha256};
use super::error::Error;
use super::name::Name;
use super::signature;

/// A PKCS#10 request, borrowed from its DER. Reading it trusts nothing.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    subject: Name<'a>,
    spki: SpkiView<'a>,
    signed: Signed<'a>,
}

impl<'a> Request<'a> {
    /// Reads one request and nothing after it.
    ///
    /// # Errors
    /// [`Problem::Encoding`](super::Problem::Encoding) for what is not the DER of a request.
    pub fn from_der(der: &'a [u8]) -> Result<Self, Error> {
        Self::parse(der)
            .map_err(|malformed| encoding_error("the DER of a certificate request", malformed))
    }

    // "CertificationRequest ::= SEQUENCE { certificationRequestInfo, signatureAlgorithm, signature }"
    // <https://www.rfc-editor.org/rfc/rfc2986#section-4>
    fn parse(der: &'a [u8]) -> Result<Self, Malformed> {
        let mut whole = Reader::new(der);
        let mut outer = Reader::new(whole.expect(SEQUENCE, "request")?.value);
        whole.finish("data after the request")?;
        let info = outer.expect(SEQUENCE, "signed part")?;
        let algorithm = outer.expect(SEQUENCE, "signature algorithm")?;
        let signature = outer.expect(BIT_STRING, "signature")?;
        outer.finish("data after the signature")?;

        let mut fields = Reader::new(info.value);
        if fields.expect(INTEGER, "version")?.value != [0] {
            return Err(Malformed("version"));
        }
        let subject = Name::parse(&fields.expect(SEQUENCE, "subject")?)?;
        let spki = SpkiView::parse(fields.expect(SEQUENCE, "public key")?)?;
        // The attributes are mandatory, and left out by some makers all the same.
        fields.optional(CONTEXT_0)?;
        fields.finish("data after the attributes")?;
        let signed = Signed {
            message: info.whole,
            algorithm: algorithm.value,
            signature: whole_bits(&signature, "signature")?,
        };
        Ok(Self { subject, spki, signed })
    }

    /// For whom a certificate is asked.
    #[must_use]
    pub fn subject(&self) -> &Name<'a> {
        &self.subject
    }

    /// The key for which a certificate is asked.
    #[must_use]
    pub fn spki(&self) -> SubjectPublicKeyInfoDer<'a> {
        SubjectPublicKeyInfoDer::from(self.spki.whole)
    }

    /// The kind and size of that key.
    #[must_use]
    pub fn key(&self) -> KeyKind {
        self.spki.kind()
    }

    /// SHA-256 of that key with its algorithm. `None` if the provider has no SHA-256.
    #[must_use]
    pub fn spki_sha256(&self, provider: &CryptoProvider) -> Option<[u8; 32]> {
        sha256(provider, self.spki.whole)
    }

    /// Verifies that whoever asks holds the key.
    ///
    /// # Errors
    /// [`Problem::Signature`](super::Problem::Signature) if not; a weak or unknown algorithm as for certificates.
    pub fn verify(&self, provider: &CryptoProvider) -> Result<(), Error> {
        signature::verify(&self.signed, &self.spki, &provider.signature_verification_algorithms)
    }
}
