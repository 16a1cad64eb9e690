//! One certificate: its fields, its extensions, its signature.

use core::fmt;
use core::time::Duration;

use der::asn1::{
    BitString, GeneralizedTime, Ia5String, Null, ObjectIdentifier, OctetString, UtcTime,
};
use der::pem::{self, LineEnding};
use der::{DateTime, Decode, Encode};
use rcgen::{KeyPair, PublicKeyData, SigningKey};
use x509_cert::certificate::{Certificate, TbsCertificate, Version};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, SubjectAltName, SubjectKeyIdentifier,
};
use x509_cert::ext::{AsExtension, Extensions};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::time::{Time, Validity};

use super::Error;
use super::name::Subject;

/// A certificate with its private key.
#[derive(Clone)]
pub(crate) struct Issued {
    /// The certificate.
    pub(crate) der: Vec<u8>,
    /// Its private key, PKCS #8.
    pub(crate) key: Vec<u8>,
    pub(crate) pem: String,
    pub(crate) key_pem: String,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("pem", &self.pem).finish_non_exhaustive()
    }
}

/// From when to when a certificate is valid, in seconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Period {
    pub(crate) not_before: u64,
    pub(crate) not_after: u64,
}

impl Period {
    const DAY: u64 = 24 * 60 * 60;
    /// What the service's guide writes on the command line that issues a cluster certificate.
    const DAYS: u64 = 3652;

    /// The guide's 3652 days, from an hour before `now` on.
    pub(crate) fn around(now: u64) -> Self {
        let not_before = now.saturating_sub(60 * 60);
        Self { not_before, not_after: not_before + Self::DAYS * Self::DAY }
    }

    /// The guide's 3652 days, which ended a day before `now`.
    pub(crate) fn ended_before(now: u64) -> Self {
        let not_after = now.saturating_sub(Self::DAY);
        Self { not_before: not_after.saturating_sub(Self::DAYS * Self::DAY), not_after }
    }

    fn to_validity(self) -> Result<Validity, Error> {
        // "CAs conforming to this profile MUST always encode certificate validity dates through the year 2049 as
        // UTCTime" <https://www.rfc-editor.org/rfc/rfc5280#section-4.1.2.5>
        let time = |seconds| -> Result<Time, Error> {
            let date = DateTime::from_unix_duration(Duration::from_secs(seconds))?;
            Ok(if date.year() <= UtcTime::MAX_YEAR {
                UtcTime::from_date_time(date)?.into()
            } else {
                GeneralizedTime::from_date_time(date).into()
            })
        };
        Ok(Validity { not_before: time(self.not_before)?, not_after: time(self.not_after)? })
    }
}

/// Where a certificate's key comes from.
#[derive(Clone, Default)]
pub(crate) enum Key {
    #[default]
    P256,
    P384,
    /// A PKCS #8 key made elsewhere; RSA keys can only come this way.
    Pkcs8(Vec<u8>),
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::P256 => "P256",
            Self::P384 => "P384",
            Self::Pkcs8(_) => "Pkcs8(..)",
        })
    }
}

impl Key {
    fn to_pair(&self) -> Result<KeyPair, Error> {
        Ok(match self {
            Self::P256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?,
            Self::P384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384)?,
            Self::Pkcs8(der) => KeyPair::try_from(der.as_slice())?,
        })
    }
}

/// The version and the extensions of a certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Shape {
    /// Version 1, no extensions: `openssl x509 -req` up to OpenSSL 3.1.
    Version1,
    /// Version 3, key identifiers only: `openssl x509 -req` from OpenSSL 3.2 on.
    KeyIdentifiers,
    /// Version 3, key identifiers and `CA:TRUE`: `openssl req -x509`.
    Authority,
    /// Version 3, key identifiers and DNS names: what a public host has.
    Named(Vec<String>),
}

/// A certificate to be.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    subject: Subject,
    shape: Shape,
    period: Period,
    key: Key,
    serial: Option<[u8; 8]>,
}

impl Template {
    pub(crate) fn new(subject: Subject, shape: Shape, period: Period) -> Self {
        Self { subject, shape, period, key: Key::default(), serial: None }
    }

    pub(crate) fn key(self, key: Key) -> Self {
        Self { key, ..self }
    }

    /// Uses this serial number; without it each certificate gets its own.
    pub(crate) fn serial(self, serial: [u8; 8]) -> Self {
        Self { serial: Some(serial), ..self }
    }

    pub(crate) fn self_signed(&self) -> Result<Issued, Error> {
        let key = self.key.to_pair()?;
        self.sign(&key, &self.subject.to_name()?, &key)
    }

    pub(crate) fn issued_by(&self, issuer: &Issued) -> Result<Issued, Error> {
        let certificate = Certificate::from_der(&issuer.der)?;
        let issuer_key = KeyPair::try_from(issuer.key.as_slice())?;
        self.sign(&self.key.to_pair()?, &certificate.tbs_certificate.subject, &issuer_key)
    }

    fn sign(&self, key: &KeyPair, issuer: &Name, issuer_key: &KeyPair) -> Result<Issued, Error> {
        let subject = self.subject.to_name()?;
        let spki = key.subject_public_key_info();
        let algorithm = signature_algorithm(issuer_key)?;
        let (version, extensions) = self.extensions(&subject, key, issuer_key)?;
        let tbs_certificate = TbsCertificate {
            version,
            serial_number: SerialNumber::new(&self.serial.unwrap_or_else(|| serial_from(&spki)))?,
            signature: algorithm.clone(),
            issuer: issuer.clone(),
            validity: self.period.to_validity()?,
            subject,
            subject_public_key_info: SubjectPublicKeyInfoOwned::from_der(&spki)?,
            issuer_unique_id: None,
            subject_unique_id: None,
            extensions,
        };
        let signature = issuer_key.sign(&tbs_certificate.to_der()?)?;
        let certificate = Certificate {
            tbs_certificate,
            signature_algorithm: algorithm,
            signature: BitString::from_bytes(&signature)?,
        };
        let der = certificate.to_der()?;
        let key = key.serialize_der();
        Ok(Issued {
            pem: to_pem("CERTIFICATE", &der)?,
            key_pem: to_pem("PRIVATE KEY", &key)?,
            der,
            key,
        })
    }

    fn extensions(
        &self,
        subject: &Name,
        key: &KeyPair,
        issuer_key: &KeyPair,
    ) -> Result<(Version, Option<Extensions>), Error> {
        if self.shape == Shape::Version1 {
            return Ok((Version::V1, None));
        }
        let mut extensions = Extensions::new();
        let mut add = |extension: &dyn ToExtension| -> Result<(), Error> {
            let extension = extension.to_extension(subject, &extensions)?;
            extensions.push(extension);
            Ok(())
        };
        add(&SubjectKeyIdentifier(key_identifier(key)?))?;
        add(&AuthorityKeyIdentifier {
            key_identifier: Some(key_identifier(issuer_key)?),
            authority_cert_issuer: None,
            authority_cert_serial_number: None,
        })?;
        match &self.shape {
            Shape::Version1 | Shape::KeyIdentifiers => {}
            Shape::Authority => add(&BasicConstraints { ca: true, path_len_constraint: None })?,
            Shape::Named(names) => {
                let names = names.iter().map(|name| Ia5String::new(name).map(GeneralName::DnsName));
                add(&SubjectAltName(names.collect::<Result<_, _>>()?))?;
            }
        }
        Ok((Version::V3, Some(extensions)))
    }
}

/// `AsExtension` without its associated constant, which forbids trait objects.
trait ToExtension {
    fn to_extension(
        &self,
        subject: &Name,
        so_far: &[x509_cert::ext::Extension],
    ) -> der::Result<x509_cert::ext::Extension>;
}

impl<T: AsExtension> ToExtension for T {
    fn to_extension(
        &self,
        subject: &Name,
        so_far: &[x509_cert::ext::Extension],
    ) -> der::Result<x509_cert::ext::Extension> {
        AsExtension::to_extension(self, subject, so_far)
    }
}

fn signature_algorithm(key: &KeyPair) -> Result<AlgorithmIdentifierOwned, Error> {
    let algorithm = key.algorithm();
    let (oid, parameters) = if algorithm == &rcgen::PKCS_ECDSA_P256_SHA256 {
        (ECDSA_WITH_SHA256, None)
    } else if algorithm == &rcgen::PKCS_ECDSA_P384_SHA384 {
        (ECDSA_WITH_SHA384, None)
    } else if algorithm == &rcgen::PKCS_RSA_SHA256 {
        (SHA256_WITH_RSA, Some(Null.into()))
    } else {
        return Err(rcgen::Error::UnsupportedSignatureAlgorithm.into());
    };
    Ok(AlgorithmIdentifierOwned { oid, parameters })
}

/// Eight bytes with the high bit set, so that the DER form has the leading zero that the seed's serials need.
fn serial_from(spki: &[u8]) -> [u8; 8] {
    let mut serial: [u8; 8] = spki.last_chunk().copied().unwrap_or_default();
    serial[0] |= 0x80;
    serial
}

/// The end of the public key. "Other methods of generating unique numbers are also acceptable."
/// <https://www.rfc-editor.org/rfc/rfc5280#section-4.2.1.2>
fn key_identifier(key: &KeyPair) -> Result<OctetString, Error> {
    let public = key.public_key_raw();
    Ok(OctetString::new(&public[public.len().saturating_sub(20)..])?)
}

fn to_pem(label: &str, der: &[u8]) -> Result<String, Error> {
    pem::encode_string(label, LineEnding::LF, der).map_err(|e| der::Error::from(e).into())
}

const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const SHA256_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
