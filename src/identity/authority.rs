//! A private certificate authority: customerCA.crt, or the root of an attestation chain.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, Der, TrustAnchor};
use webpki::{EndEntityCert, anchor_from_trusted_cert};

use super::asn1::{Reader, SEQUENCE, hex_upper};
use super::certificate::{Certificate, Signed, SpkiView, encoding_error};
use super::chain;
use super::error::{Error, Problem};
use super::pem::certificates_from_pem;
use super::signature;

/// A certificate whose key is trusted to sign others, of version 1 or 3.
#[derive(Clone, Debug)]
pub struct Authority {
    certificate: CertificateDer<'static>,
    subject: Vec<u8>,
    spki: Vec<u8>,
    name_constraints: Option<Vec<u8>>,
    description: String,
    file: Option<String>,
}

impl Authority {
    /// Takes a certificate as an authority. Its own validity is not looked at, as for every trust anchor; see
    /// [`Authority::certificate`] for those who report on it.
    ///
    /// # Errors
    /// [`Problem::Encoding`] for what is not a certificate, [`Problem::Authority`] for one of version 3 that says
    /// `CA:FALSE` or whose key usage leaves out the signing of certificates, [`Problem::CriticalExtension`] for one
    /// with a critical extension that nobody here knows, [`Problem::WeakKey`] for an RSA key of fewer than 2048 bits.
    pub fn from_der(certificate: impl Into<CertificateDer<'static>>) -> Result<Self, Error> {
        let der: CertificateDer<'static> = certificate.into();
        let view = Certificate::from_der(&der)?;
        match view.version() {
            1 => chain::check_version_one(&view)?,
            3 => {}
            version => return Err(chain::unsupported_version(version)),
        }
        signature::check_key(&view)?;
        if view.authority_flag() == Some(false) {
            return Err(Error::new(
                Problem::Authority,
                "CA:TRUE",
                "CA:FALSE in its basic constraints",
            ));
        }
        if !view.may_sign_certificates() {
            return Err(Error::new(
                Problem::Authority,
                "a key usage with keyCertSign",
                "one without",
            ));
        }
        // Of a trust anchor webpki ignores the critical extensions that it does not know, of all others it refuses
        // them; a private authority is held to that, too.
        let refuse = |error| match error {
            webpki::Error::UnsupportedCriticalExtension => chain::unknown_extension(),
            error => Error::new(
                Problem::Encoding,
                "a trust anchor",
                format!("a certificate that webpki refuses: {error}"),
            ),
        };
        if view.version() == 3 {
            EndEntityCert::try_from(&der).map_err(refuse)?;
        }
        let anchor = anchor_from_trusted_cert(&der).map_err(refuse)?;
        let key = view.subject_key_id();
        let description = match key {
            Some(key) => format!("{} (key {key})", view.subject().compat()),
            None => format!("{} ({})", view.subject().compat(), key_prefix(&view)),
        };
        Ok(Self {
            subject: view.subject().der().to_vec(),
            spki: view.spki().as_ref().to_vec(),
            name_constraints: anchor.name_constraints.map(|constraints| constraints.to_vec()),
            description,
            file: None,
            certificate: der.clone(),
        })
    }

    /// Takes every certificate of a PEM file as an authority.
    ///
    /// # Errors
    /// As [`Authority::from_der`], and for text without certificates.
    pub fn from_pem(pem: &[u8]) -> Result<Vec<Self>, Error> {
        certificates_from_pem(pem)?.into_iter().map(Self::from_der).collect()
    }

    /// Names the file the authority came from, for reports.
    #[must_use]
    pub fn from_file(mut self, file: impl Into<String>) -> Self {
        self.file = Some(file.into());
        self
    }

    /// The authority's own certificate.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The file the authority came from.
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// The encoded name, for comparison with issuers.
    pub(super) fn subject(&self) -> &[u8] {
        &self.subject
    }

    /// Name and key, for people.
    pub(super) fn describe(&self) -> String {
        self.description.clone()
    }

    /// Whether the authority may sign for some names only.
    pub(super) fn is_constrained(&self) -> bool {
        self.name_constraints.is_some()
    }

    pub(super) fn in_file(&self, error: Error) -> Error {
        match self.file() {
            Some(file) => error.in_file(file),
            None => error,
        }
    }

    /// As webpki wants it: without the headers of the two sequences.
    pub(super) fn anchor(&self) -> TrustAnchor<'_> {
        TrustAnchor {
            subject: Der::from_slice(contents(&self.subject)),
            subject_public_key_info: Der::from_slice(contents(&self.spki)),
            name_constraints: self.name_constraints.as_deref().map(Der::from_slice),
        }
    }

    /// Verifies that this authority's key made a signature.
    pub(super) fn verify(
        &self,
        signed: &Signed<'_>,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> Result<(), Error> {
        let spki = Reader::new(&self.spki)
            .any()
            .and_then(SpkiView::parse)
            .map_err(|malformed| encoding_error("DER", malformed))?;
        signature::verify(signed, &spki, algorithms)
    }
}

/// The contents of a sequence whose encoding was checked when it was read.
fn contents(sequence: &[u8]) -> &[u8] {
    Reader::new(sequence).expect(SEQUENCE, "sequence").map_or(&[], |element| element.value)
}

/// The last bytes of the public key: enough to tell two authorities of one name apart.
fn key_prefix(view: &Certificate<'_>) -> String {
    let spki = view.spki();
    let tail = spki.len().saturating_sub(8);
    format!("{} ending in {}", view.key(), hex_upper(spki.get(tail..).unwrap_or_default()))
}
