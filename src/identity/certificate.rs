//! A view of a certificate of version 1 or 3: what it says, byte for byte. Reading it trusts nothing.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};

use rustls::CertificateError;
use rustls::crypto::CryptoProvider;
#[cfg(feature = "std")]
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::crypto::hash::{HashAlgorithm, Output};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};

use super::asn1::{
    BIT_STRING, BOOLEAN, CONTEXT_0, CONTEXT_3, Element, INTEGER, Malformed, OCTET_STRING, OID,
    Reader, SEQUENCE, dotted, hex_upper, negate, whole_bits,
};
use super::error::{Error, Problem};
use super::name::Name;
use super::time;

/// A certificate, borrowed from its DER.
#[derive(Clone, Debug)]
pub struct Certificate<'a> {
    der: &'a [u8],
    tbs: &'a [u8],
    version: u8,
    serial: &'a [u8],
    issuer: Name<'a>,
    not_before: UnixTime,
    not_after: UnixTime,
    subject: Name<'a>,
    spki: SpkiView<'a>,
    signed_algorithm: &'a [u8],
    signature_algorithm: &'a [u8],
    signature: &'a [u8],
    has_unique_ids: bool,
    extensions: Option<Extensions<'a>>,
}

/// The extensions that this crate reads. webpki decides on all of them where a chain is verified.
#[derive(Clone, Debug, Default)]
struct Extensions<'a> {
    count: usize,
    names: Vec<String>,
    authority: Option<bool>,
    key_usage: Option<&'a [u8]>,
    purposes: Option<Vec<String>>,
    subject_key_id: Option<&'a [u8]>,
    authority_key_id: Option<&'a [u8]>,
}

impl<'a> Certificate<'a> {
    /// Reads one certificate and nothing after it.
    ///
    /// # Errors
    /// [`Problem::Encoding`] for what is not the DER of a certificate, [`Problem::Version`] for a version that does
    /// not exist.
    pub fn from_der(der: &'a [u8]) -> Result<Self, Error> {
        Self::parse(der).map_err(|malformed| encoding_error("DER", malformed))
    }

    // "Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signatureValue }"
    // <https://www.rfc-editor.org/rfc/rfc5280#section-4.1>
    fn parse(der: &'a [u8]) -> Result<Self, Malformed> {
        let mut whole = Reader::new(der);
        let mut outer = Reader::new(whole.expect(SEQUENCE, "certificate")?.value);
        whole.finish("data after the certificate")?;
        let tbs = outer.expect(SEQUENCE, "signed part")?;
        let signature_algorithm = outer.expect(SEQUENCE, "signature algorithm")?;
        let signature = outer.expect(BIT_STRING, "signature")?;
        outer.finish("data after the signature")?;

        let mut fields = Reader::new(tbs.value);
        let version = read_version(&mut fields)?;
        let serial = fields.expect(INTEGER, "serial number")?;
        if serial.value.is_empty() {
            return Err(Malformed("serial number"));
        }
        let signed_algorithm = fields.expect(SEQUENCE, "signed algorithm")?;
        let issuer = Name::parse(&fields.expect(SEQUENCE, "issuer")?)?;
        let mut validity = Reader::new(fields.expect(SEQUENCE, "validity")?.value);
        let not_before = time::parse(&validity.any()?)?;
        let not_after = time::parse(&validity.any()?)?;
        validity.finish("data after the validity")?;
        let subject = Name::parse(&fields.expect(SEQUENCE, "subject")?)?;
        let spki = SpkiView::parse(fields.expect(SEQUENCE, "public key")?)?;
        let issuer_unique_id = fields.optional(0x81)?;
        let subject_unique_id = fields.optional(0x82)?;
        let extensions =
            fields.optional(CONTEXT_3)?.map(|element| Extensions::parse(&element)).transpose()?;
        fields.finish("data after the extensions")?;

        Ok(Self {
            der,
            tbs: tbs.whole,
            version,
            serial: serial.value,
            issuer,
            not_before,
            not_after,
            subject,
            spki,
            signed_algorithm: signed_algorithm.value,
            signature_algorithm: signature_algorithm.value,
            signature: whole_bits(&signature, "signature")?,
            has_unique_ids: issuer_unique_id.is_some() || subject_unique_id.is_some(),
            extensions,
        })
    }

    /// The whole certificate as received.
    #[must_use]
    pub fn der(&self) -> CertificateDer<'a> {
        CertificateDer::from(self.der)
    }

    /// 1, 2 or 3.
    #[must_use]
    pub fn version(&self) -> u8 {
        self.version
    }

    /// Whom the certificate is about.
    #[must_use]
    pub fn subject(&self) -> &Name<'a> {
        &self.subject
    }

    /// Who claims to have signed it.
    #[must_use]
    pub fn issuer(&self) -> &Name<'a> {
        &self.issuer
    }

    /// Whether subject and issuer are the same bytes. Says nothing about the signature.
    #[must_use]
    pub fn is_self_issued(&self) -> bool {
        self.subject.der() == self.issuer.der()
    }

    /// The serial number as `openssl x509 -serial` prints it: `B7FA7A40976CBE82`, negative ones with a minus sign.
    #[must_use]
    pub fn serial(&self) -> String {
        let negative = self.serial.first().is_some_and(|byte| byte & 0x80 != 0);
        let magnitude = if negative { negate(self.serial) } else { self.serial.to_vec() };
        let digits = match magnitude.iter().position(|byte| *byte != 0) {
            Some(start) => hex_upper(magnitude.get(start..).unwrap_or_default()),
            None => "00".to_owned(),
        };
        if negative { format!("-{digits}") } else { digits }
    }

    /// The first second at which the certificate is valid.
    #[must_use]
    pub fn not_before(&self) -> UnixTime {
        self.not_before
    }

    /// The last second at which the certificate is valid.
    #[must_use]
    pub fn not_after(&self) -> UnixTime {
        self.not_after
    }

    /// `2016-11-24T04:18:26Z to 2026-11-24T04:18:26Z`.
    #[must_use]
    pub fn validity(&self) -> String {
        format!("{} to {}", time::display(self.not_before), time::display(self.not_after))
    }

    /// The public key with its algorithm: what an SPKI pin compares.
    #[must_use]
    pub fn spki(&self) -> SubjectPublicKeyInfoDer<'a> {
        SubjectPublicKeyInfoDer::from(self.spki.whole)
    }

    /// The kind and size of the public key.
    #[must_use]
    pub fn key(&self) -> KeyKind {
        self.spki.kind()
    }

    /// The dotted number of the algorithm of the signature over the certificate.
    #[must_use]
    pub fn signature_algorithm(&self) -> String {
        algorithm_oid(self.signature_algorithm)
    }

    /// DNS names, addresses, mail addresses and URIs of the certificate, each with its kind: `DNS:example.com`.
    #[must_use]
    pub fn subject_alt_names(&self) -> &[String] {
        self.extensions.as_ref().map_or(&[], |extensions| &extensions.names)
    }

    /// How many extensions there are.
    #[must_use]
    pub fn extension_count(&self) -> usize {
        self.extensions.as_ref().map_or(0, |extensions| extensions.count)
    }

    /// The value of `cA` in the basic constraints, where the certificate has them.
    #[must_use]
    pub fn authority_flag(&self) -> Option<bool> {
        self.extensions.as_ref().and_then(|extensions| extensions.authority)
    }

    /// Whether the key usage, where there is one, lets the key sign certificates.
    #[must_use]
    pub fn may_sign_certificates(&self) -> bool {
        // "keyCertSign (5)", counted from the most significant bit:
        // <https://www.rfc-editor.org/rfc/rfc5280#section-4.2.1.3>
        match self.extensions.as_ref().and_then(|extensions| extensions.key_usage) {
            Some(bits) => bits.first().is_some_and(|byte| byte & 0x04 != 0),
            None => true,
        }
    }

    /// The dotted numbers of the extended key usage, where there is one.
    #[must_use]
    pub fn purposes(&self) -> Option<&[String]> {
        self.extensions.as_ref().and_then(|extensions| extensions.purposes.as_deref())
    }

    /// The identifier of this certificate's key, in hexadecimal digits.
    #[must_use]
    pub fn subject_key_id(&self) -> Option<String> {
        self.extensions.as_ref().and_then(|extensions| extensions.subject_key_id).map(hex_upper)
    }

    /// The identifier of the issuer's key, in hexadecimal digits.
    #[must_use]
    pub fn authority_key_id(&self) -> Option<String> {
        self.extensions.as_ref().and_then(|extensions| extensions.authority_key_id).map(hex_upper)
    }

    /// SHA-256 of the certificate. `None` if the provider has no SHA-256.
    #[must_use]
    pub fn sha256(&self, provider: &CryptoProvider) -> Option<[u8; 32]> {
        sha256(provider, self.der)
    }

    /// SHA-256 of the public key with its algorithm, the usual form of a pin. `None` if the provider has no SHA-256.
    #[must_use]
    pub fn spki_sha256(&self, provider: &CryptoProvider) -> Option<[u8; 32]> {
        sha256(provider, self.spki.whole)
    }

    pub(super) fn signed(&self) -> Signed<'a> {
        Signed { message: self.tbs, algorithm: self.signature_algorithm, signature: self.signature }
    }

    /// Verifies that the certificate's own key made its signature.
    #[cfg(feature = "std")]
    pub(super) fn verify_by_own_key(
        &self,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> Result<(), Error> {
        super::signature::verify(&self.signed(), &self.spki, algorithms)
    }

    pub(super) fn signed_algorithm(&self) -> &'a [u8] {
        self.signed_algorithm
    }

    /// Whether a certificate of version 1 has fields of later versions.
    pub(super) fn has_later_fields(&self) -> bool {
        self.version == 1 && (self.extensions.is_some() || self.has_unique_ids)
    }
}

/// What was signed, how, and the signature.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signed<'a> {
    pub(super) message: &'a [u8],
    /// The contents of the AlgorithmIdentifier.
    pub(super) algorithm: &'a [u8],
    pub(super) signature: &'a [u8],
}

/// The kind and the size of a public key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyKind {
    /// An elliptic curve; the name is the curve's.
    Ec(&'static str),
    /// Ed25519.
    Ed25519,
    /// Another algorithm; its dotted number.
    Other(String),
    /// RSA with a modulus of this many bits.
    Rsa(usize),
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ec(curve) => write!(f, "EC {curve}"),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::Other(oid) => write!(f, "algorithm {oid}"),
            Self::Rsa(bits) => write!(f, "RSA {bits}"),
        }
    }
}

/// A SubjectPublicKeyInfo, borrowed.
#[derive(Clone, Copy, Debug)]
pub(super) struct SpkiView<'a> {
    pub(super) whole: &'a [u8],
    /// The contents of the AlgorithmIdentifier.
    pub(super) algorithm: &'a [u8],
    pub(super) key: &'a [u8],
}

impl<'a> SpkiView<'a> {
    pub(super) fn parse(element: Element<'a>) -> Result<Self, Malformed> {
        const WHAT: &str = "public key";
        let mut fields = Reader::new(element.value);
        let algorithm = fields.expect(SEQUENCE, WHAT)?;
        let key = fields.expect(BIT_STRING, WHAT)?;
        fields.finish(WHAT)?;
        Ok(Self { whole: element.whole, algorithm: algorithm.value, key: whole_bits(&key, WHAT)? })
    }

    pub(super) fn kind(&self) -> KeyKind {
        let oid = algorithm_oid(self.algorithm);
        match oid.as_str() {
            "1.2.840.113549.1.1.1" => rsa_bits(self.key).map_or(KeyKind::Other(oid), KeyKind::Rsa),
            "1.2.840.10045.2.1" => match curve(self.algorithm).as_deref() {
                Some("1.2.840.10045.3.1.7") => KeyKind::Ec("P-256"),
                Some("1.3.132.0.34") => KeyKind::Ec("P-384"),
                Some("1.3.132.0.35") => KeyKind::Ec("P-521"),
                Some("1.3.132.0.10") => KeyKind::Ec("secp256k1"),
                _ => KeyKind::Other(oid),
            },
            "1.3.101.112" => KeyKind::Ed25519,
            _ => KeyKind::Other(oid),
        }
    }
}

impl<'a> Extensions<'a> {
    fn parse(element: &Element<'a>) -> Result<Self, Malformed> {
        const WHAT: &str = "extensions";
        let mut out = Self::default();
        let mut outer = Reader::new(element.value);
        let mut list = Reader::new(outer.expect(SEQUENCE, WHAT)?.value);
        outer.finish(WHAT)?;
        while !list.is_empty() {
            let mut fields = Reader::new(list.expect(SEQUENCE, WHAT)?.value);
            let oid = fields.expect(OID, WHAT)?;
            fields.optional(BOOLEAN)?;
            let value = fields.expect(OCTET_STRING, WHAT)?.value;
            fields.finish(WHAT)?;
            out.count += 1;
            // id-ce: <https://www.rfc-editor.org/rfc/rfc5280#section-4.2.1>
            let [0x55, 0x1d, kind] = oid.value else {
                continue;
            };
            match kind {
                14 => out.subject_key_id = Some(only(value, OCTET_STRING)?),
                15 => out.key_usage = only(value, BIT_STRING)?.get(1..),
                17 => out.names = alternative_names(only(value, SEQUENCE)?)?,
                19 => {
                    let mut constraints = Reader::new(only(value, SEQUENCE)?);
                    let flag = constraints.optional(BOOLEAN)?;
                    out.authority = Some(flag.is_some_and(|flag| flag.value != [0]));
                }
                35 => {
                    out.authority_key_id = Reader::new(only(value, SEQUENCE)?)
                        .optional(0x80)?
                        .map(|identifier| identifier.value);
                }
                37 => {
                    let mut purposes = Vec::new();
                    let mut oids = Reader::new(only(value, SEQUENCE)?);
                    while !oids.is_empty() {
                        purposes.push(dotted(oids.expect(OID, "extended key usage")?.value));
                    }
                    out.purposes = Some(purposes);
                }
                _ => {}
            }
        }
        Ok(out)
    }
}

/// The contents of the one element in `input`.
fn only(input: &[u8], tag: u8) -> Result<&[u8], Malformed> {
    const WHAT: &str = "extension";
    let mut reader = Reader::new(input);
    let element = reader.expect(tag, WHAT)?;
    reader.finish(WHAT)?;
    Ok(element.value)
}

fn alternative_names(list: &[u8]) -> Result<Vec<String>, Malformed> {
    let mut names = Vec::new();
    let mut reader = Reader::new(list);
    while !reader.is_empty() {
        let name = reader.any()?;
        // The names are the peer's to choose, and end on terminals: nothing in them may be a control sequence.
        let text = name.value.escape_ascii();
        names.push(match name.tag {
            0x81 => format!("email:{text}"),
            0x82 => format!("DNS:{text}"),
            0x86 => format!("URI:{text}"),
            0x87 => format!("IP:{}", address(name.value)),
            tag => format!("other:{tag:02x}:{}", hex_upper(name.value)),
        });
    }
    Ok(names)
}

/// An IP address from its 4 or 16 bytes.
pub(super) fn address(bytes: &[u8]) -> String {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return format!("{}", core::net::Ipv4Addr::from(four));
    }
    match <[u8; 16]>::try_from(bytes) {
        Ok(sixteen) => format!("{}", core::net::Ipv6Addr::from(sixteen)),
        Err(_) => hex_upper(bytes),
    }
}

fn read_version(fields: &mut Reader<'_>) -> Result<u8, Malformed> {
    const WHAT: Malformed = Malformed("version");
    let Some(wrapped) = fields.optional(CONTEXT_0)? else {
        // "version [0] EXPLICIT Version DEFAULT v1": X.690 section 11.5 leaves a default out.
        return Ok(1);
    };
    let mut inner = Reader::new(wrapped.value);
    let version = inner.expect(INTEGER, "version")?;
    inner.finish("version")?;
    match version.value {
        [1] => Ok(2),
        [2] => Ok(3),
        _ => Err(WHAT),
    }
}

/// The dotted number at the head of an AlgorithmIdentifier's contents.
pub(super) fn algorithm_oid(contents: &[u8]) -> String {
    Reader::new(contents)
        .expect(OID, "algorithm")
        .map_or_else(|_| String::new(), |oid| dotted(oid.value))
}

fn curve(algorithm: &[u8]) -> Option<String> {
    let mut reader = Reader::new(algorithm);
    reader.any().ok()?;
    reader.expect(OID, "curve").ok().map(|oid| dotted(oid.value))
}

// "RSAPublicKey ::= SEQUENCE { modulus INTEGER, publicExponent INTEGER }"
// <https://www.rfc-editor.org/rfc/rfc8017#appendix-A.1.1>
fn rsa_bits(key: &[u8]) -> Option<usize> {
    let sequence = Reader::new(key).expect(SEQUENCE, "RSA key").ok()?;
    let modulus = Reader::new(sequence.value).expect(INTEGER, "modulus").ok()?.value;
    let start = modulus.iter().position(|byte| *byte != 0)?;
    let significant = modulus.get(start..)?;
    let top = significant.first()?;
    Some(significant.len() * 8 - usize::try_from(top.leading_zeros()).ok()?)
}

/// An error about bytes that could not be read at all.
pub(super) fn encoding_error(expected: &str, malformed: Malformed) -> Error {
    let mut found = String::new();
    // Writing to a String can't fail.
    let _ = write!(found, "a malformed {}", malformed.0);
    Error::new(Problem::Encoding, expected, found).for_rustls(CertificateError::BadEncoding)
}

/// SHA-256, if the provider has it.
pub(super) fn sha256(provider: &CryptoProvider, data: &[u8]) -> Option<[u8; 32]> {
    hash(provider, HashAlgorithm::SHA256, data)?.as_ref().try_into().ok()
}

/// A hash that one of the provider's cipher suites brings along.
pub(super) fn hash(
    provider: &CryptoProvider,
    algorithm: HashAlgorithm,
    data: &[u8],
) -> Option<Output> {
    let hash = provider.cipher_suites.iter().find_map(|suite| {
        let hash = match suite {
            rustls::SupportedCipherSuite::Tls12(suite) => suite.common.hash_provider,
            rustls::SupportedCipherSuite::Tls13(suite) => suite.common.hash_provider,
        };
        (hash.algorithm() == algorithm).then_some(hash)
    })?;
    Some(hash.hash(data))
}
