//! AWS' *verify HSM identity*: from two roots down to the key of an HSM, before a cluster is initialised.
//!
//! ```text
//! AWS root            <- AwsHardwareCertificate          \
//!                                                         HsmCertificate    same key as    ClusterCsr
//! manufacturer root   <- ManufacturerHardwareCertificate /
//! ```
//!
//! `aws cloudhsmv2 describe-clusters` gives the four documents, AWS and the manufacturer give the roots. The result is the
//! public key of the HSM, to [pin](Attested::pin) in the live connection: then it ends in that very hardware.
//!
//! The hardware certificates are of version 1 and sign others all the same, which no ordinary verifier allows; and the
//! manufacturer's root has expired. So this module goes step by step, for exactly these documents: issuer and subject
//! are the same bytes, the signature is the issuer's, each certificate is within its validity. An expired **root** is
//! accepted on request, and reported.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use rustls::CertificateError;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{SubjectPublicKeyInfoDer, UnixTime};
use webpki::EndEntityCert;

use super::asn1::hex_lower;
use super::authority::Authority;
use super::certificate::{Certificate, sha256};
use super::chain;
use super::csr::Request;
use super::error::{Error, Problem};
use super::pem::{certificates_from_pem, request_from_pem};
use super::pinned::Pin;
use super::policy::{Note, Peer, TimePolicy, check_time};
use super::rule::Presented;
use super::signature;

/// One document, with the name it has in errors and reports: a file, or AWS' word for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    der: Vec<u8>,
    name: String,
}

impl Document {
    /// A document in DER.
    pub fn from_der(name: impl Into<String>, der: impl Into<Vec<u8>>) -> Self {
        Self { der: der.into(), name: name.into() }
    }

    /// The first certificate of a PEM text.
    ///
    /// # Errors
    /// As [`certificates_from_pem`].
    pub fn certificate_from_pem(name: impl Into<String>, pem: &[u8]) -> Result<Self, Error> {
        let name = name.into();
        let certificates =
            certificates_from_pem(pem).map_err(|error| error.in_file(name.as_str()))?;
        let der = certificates.first().map(|certificate| certificate.to_vec()).unwrap_or_default();
        Ok(Self { der, name })
    }

    /// The first certificate signing request of a PEM text.
    ///
    /// # Errors
    /// As [`request_from_pem`].
    pub fn request_from_pem(name: impl Into<String>, pem: &[u8]) -> Result<Self, Error> {
        let name = name.into();
        let request = request_from_pem(pem).map_err(|error| error.in_file(name.as_str()))?;
        Ok(Self { der: request.to_vec(), name })
    }

    /// The name in errors and reports.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn certificate(&self) -> Result<Certificate<'_>, Error> {
        Certificate::from_der(&self.der).map_err(|error| error.in_file(self.name.as_str()))
    }
}

/// The documents of one HSM, and the two roots they must lead to.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// `HsmCertificate`: about the HSM's key, signed by the hardware's.
    pub hsm: Document,
    /// `AwsHardwareCertificate`: about the hardware's key, signed by AWS.
    pub aws_hardware: Document,
    /// `ManufacturerHardwareCertificate`: about the hardware's key, signed by the manufacturer.
    pub manufacturer_hardware: Document,
    /// `ClusterCsr`: the request that the HSM made, signed by its own key.
    pub cluster_csr: Document,
    /// The root of AWS.
    pub aws_root: Document,
    /// The root of the manufacturer.
    pub manufacturer_root: Document,
}

/// An HSM whose identity was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attested {
    /// The public key of the HSM.
    pub spki: SubjectPublicKeyInfoDer<'static>,
    /// What was verified, in order.
    pub steps: Vec<Step>,
}

/// One verified statement: `by` signed, or has the same key as, `what`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Step {
    /// The document that was verified.
    pub what: String,
    /// The document it was verified against.
    pub by: String,
    /// What a person should hear of all the same.
    pub notes: Vec<Note>,
}

impl Attested {
    /// The pin for the live connection.
    #[must_use]
    pub fn pin(&self) -> Pin {
        Pin::spki(self.spki.clone()).from_file("HsmCertificate")
    }

    /// SHA-256 of the public key, as hexadecimal digits. `None` if the provider has no SHA-256.
    #[must_use]
    pub fn spki_sha256(&self, provider: &CryptoProvider) -> Option<String> {
        sha256(provider, &self.spki).map(|hash| hex_lower(&hash))
    }

    /// Checks that a cluster's certificate is about the verified key.
    ///
    /// # Errors
    /// [`Problem::PublicKeys`] if it is about another one.
    pub fn check_cluster_certificate(
        &self,
        cluster: &Document,
        provider: &CryptoProvider,
    ) -> Result<(), Error> {
        let found = cluster.certificate()?.spki();
        match found == self.spki {
            true => Ok(()),
            false => {
                Err(different_keys(&self.spki, "HsmCertificate", &found, cluster.name(), provider))
            }
        }
    }
}

impl Evidence {
    /// Verifies both chains, the request's own signature, and that it is about the HSM's key.
    ///
    /// # Errors
    /// The first check that fails, with the document's name as its file.
    pub fn verify(
        &self,
        roots: TimePolicy,
        now: UnixTime,
        provider: &CryptoProvider,
    ) -> Result<Attested, Error> {
        let mut steps = Vec::new();
        for (hardware, root) in [
            (&self.aws_hardware, &self.aws_root),
            (&self.manufacturer_hardware, &self.manufacturer_root),
        ] {
            check_intermediate(hardware)?;
            steps.push(issued(&self.hsm, hardware, TimePolicy::Strict, now, provider)?);
            steps.push(issued(hardware, root, roots, now, provider)?);
        }
        let hsm = self.hsm.certificate()?;
        let in_csr = |error: Error| error.in_file(self.cluster_csr.name.as_str());
        let request = Request::from_der(&self.cluster_csr.der).map_err(in_csr)?;
        request.verify(provider).map_err(in_csr)?;
        if request.spki() != hsm.spki() {
            return Err(different_keys(
                &hsm.spki(),
                &self.hsm.name,
                &request.spki(),
                &self.cluster_csr.name,
                provider,
            ));
        }
        steps.push(Step {
            what: self.cluster_csr.name.clone(),
            by: self.hsm.name.clone(),
            notes: Vec::new(),
        });
        Ok(Attested { spki: SubjectPublicKeyInfoDer::from(hsm.spki().to_vec()), steps })
    }
}

/// One step of a chain: `subject` was signed by `issuer`. `time` is about the issuer; the subject must be valid.
fn issued(
    subject: &Document,
    issuer: &Document,
    time: TimePolicy,
    now: UnixTime,
    provider: &CryptoProvider,
) -> Result<Step, Error> {
    let of_subject = |error: Error| error.in_file(subject.name.as_str());
    let of_issuer = |error: Error| error.in_file(issuer.name.as_str());
    let (certificate, by) = (subject.certificate()?, issuer.certificate()?);
    check_shape(&certificate, now).map_err(of_subject)?;
    check_shape(&by, now).map_err(of_issuer)?;
    // An authority of version 1 has nothing that could say it may not sign; one of version 3 must not say so.
    let authority = Authority::from_der(by.der().into_owned()).map_err(of_issuer)?;
    if certificate.issuer().der() != by.subject().der() {
        return Err(of_subject(
            Error::new(
                Problem::Issuer,
                format!("issuer {}", by.subject().compat()),
                format!("issuer {}", certificate.issuer().compat()),
            )
            .for_rustls(CertificateError::UnknownIssuer),
        ));
    }
    signature::check_algorithms_equal(&certificate).map_err(of_subject)?;
    authority
        .verify(&certificate.signed(), &provider.signature_verification_algorithms)
        .map_err(of_subject)?;
    check_time(&certificate, TimePolicy::Strict, now).map_err(of_subject)?;
    let mut notes = check_time(&by, time, now).map_err(of_issuer)?;
    if by.version() == 1 {
        notes.push(Note::VersionOne);
    }
    Ok(Step { what: subject.name.clone(), by: issuer.name.clone(), notes })
}

/// Between a root and an HSM, version 3 has to say that it is an authority. Version 1 has no words for it.
//
// "If the basic constraints extension is not present in a version 3 certificate, or the extension is present but the cA
// boolean is not asserted, then the certified public key MUST NOT be used to verify certificate signatures."
// <https://www.rfc-editor.org/rfc/rfc5280#section-4.2.1.9>
fn check_intermediate(document: &Document) -> Result<(), Error> {
    let certificate = document.certificate()?;
    match (certificate.version(), certificate.authority_flag()) {
        (3, None) => {
            let found = "version 3 without basic constraints";
            Err(Error::new(Problem::Authority, "CA:TRUE", found).in_file(document.name()))
        }
        _ => Ok(()),
    }
}

/// Versions 1 and 3 only, without what a verifier must know and does not.
fn check_shape(certificate: &Certificate<'_>, now: UnixTime) -> Result<(), Error> {
    match certificate.version() {
        1 => chain::check_version_one(certificate),
        3 => {
            let der = certificate.der();
            let presented =
                Presented { leaf: &der, chain: &[], peer: Peer::Server, name: None, now };
            EndEntityCert::try_from(&der)
                .map(|_| ())
                .map_err(|error| chain::from_webpki(error, certificate, &presented, &[]))
        }
        version => Err(chain::unsupported_version(version)),
    }
}

fn different_keys(
    expected: &[u8],
    expected_in: &str,
    found: &[u8],
    found_in: &str,
    provider: &CryptoProvider,
) -> Error {
    let show =
        |spki: &[u8]| sha256(provider, spki).map_or_else(String::new, |hash| hex_lower(&hash));
    Error::new(
        Problem::PublicKeys,
        format!("key {} of {expected_in}", show(expected)),
        format!("key {}", show(found)),
    )
    .in_file(found_in)
}
