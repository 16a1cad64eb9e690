//! The channel binding `tls-server-end-point`: a hash of the server's certificate.

use rustls::crypto::CryptoProvider;
use rustls::crypto::hash::{HashAlgorithm, Output};

use super::asn1::{CONTEXT_0, Malformed, Reader, SEQUENCE};
use super::certificate::{Certificate, algorithm_oid, hash};

impl Certificate<'_> {
    /// The channel binding `tls-server-end-point`, if this is the certificate of a layer's server.
    /// <https://www.rfc-editor.org/rfc/rfc5929#section-4.1>
    ///
    /// The server knows what it sent; to its client it is the first of
    /// [`LayerInfo::peer_certificates`](crate::LayerInfo::peer_certificates). It names the server, not the connection:
    /// against a host with the server's own key, bind to
    /// [`Ports::tls_exporter`](crate::Ports::tls_exporter) instead.
    ///
    /// `None` if the binding is not defined for the certificate, or if none of the provider's cipher suites has the hash,
    /// as no suite of TLS has SHA-512: [`Certificate::tls_server_end_point_hash`] tells which, and the binding is that
    /// hash of [`Certificate::der`].
    #[must_use]
    pub fn tls_server_end_point(&self, provider: &CryptoProvider) -> Option<Output> {
        hash(provider, self.tls_server_end_point_hash()?, self.der().as_ref())
    }

    /// The hash of `tls-server-end-point`: that of the certificate's signature, but SHA-256 for MD5 and SHA-1.
    ///
    /// `None` if the signature's algorithm is unknown, or has no hash function of its own choosing (Ed25519, Ed448), or
    /// has two: the binding is not defined then.
    #[must_use]
    pub fn tls_server_end_point_hash(&self) -> Option<HashAlgorithm> {
        let algorithm = self.signed().algorithm;
        let oid = algorithm_oid(algorithm);
        let signed_with = match oid.as_str() {
            RSASSA_PSS => pss_hash(algorithm)?,
            oid => lookup(SIGNATURES, oid)?,
        };
        // "If the certificate's signatureAlgorithm uses a single hash function and that hash function is either MD5 or
        // SHA-1, then use SHA-256"
        // <https://www.rfc-editor.org/rfc/rfc5929#section-4.1>
        Some(match signed_with {
            HashAlgorithm::MD5 | HashAlgorithm::SHA1 => HashAlgorithm::SHA256,
            other => other,
        })
    }
}

/// The one hash of an RSASSA-PSS signature.
fn pss_hash(algorithm: &[u8]) -> Option<HashAlgorithm> {
    let (hash, mask) = pss_hashes(algorithm).ok()?;
    (hash == mask).then_some(hash?)
}

/// The hashes of the message and of the mask.
//
// "RSASSA-PSS-params ::= SEQUENCE { hashAlgorithm [0] HashAlgorithm DEFAULT sha1,
// maskGenAlgorithm [1] MaskGenAlgorithm DEFAULT mgf1SHA1, ..."
// <https://www.rfc-editor.org/rfc/rfc8017#appendix-A.2.3>
fn pss_hashes(
    algorithm: &[u8],
) -> Result<(Option<HashAlgorithm>, Option<HashAlgorithm>), Malformed> {
    const WHAT: &str = "RSASSA-PSS parameters";
    let mut fields = Reader::new(algorithm);
    fields.any()?;
    let mut parameters = Reader::new(fields.expect(SEQUENCE, WHAT)?.value);
    let hash = match parameters.optional(CONTEXT_0)? {
        Some(tagged) => hash_of(&mut Reader::new(tagged.value))?,
        None => Some(HashAlgorithm::SHA1),
    };
    let mask = match parameters.optional(CONTEXT_1)? {
        Some(tagged) => {
            let mask = Reader::new(tagged.value).expect(SEQUENCE, WHAT)?.value;
            let mut fields = Reader::new(mask);
            fields.any()?;
            if algorithm_oid(mask) == MGF1 { hash_of(&mut fields)? } else { None }
        }
        None => Some(HashAlgorithm::SHA1),
    };
    Ok((hash, mask))
}

/// The hash of an AlgorithmIdentifier.
fn hash_of(reader: &mut Reader<'_>) -> Result<Option<HashAlgorithm>, Malformed> {
    let algorithm = reader.expect(SEQUENCE, "hash algorithm")?.value;
    Ok(lookup(HASHES, &algorithm_oid(algorithm)))
}

fn lookup(table: &[(&str, HashAlgorithm)], oid: &str) -> Option<HashAlgorithm> {
    table.iter().find(|(number, _)| *number == oid).map(|(_, hash)| *hash)
}

const CONTEXT_1: u8 = 0xa1;

const MGF1: &str = "1.2.840.113549.1.1.8";

const RSASSA_PSS: &str = "1.2.840.113549.1.1.10";

const HASHES: &[(&str, HashAlgorithm)] = &[
    ("1.3.14.3.2.26", HashAlgorithm::SHA1),
    ("2.16.840.1.101.3.4.2.1", HashAlgorithm::SHA256),
    ("2.16.840.1.101.3.4.2.2", HashAlgorithm::SHA384),
    ("2.16.840.1.101.3.4.2.3", HashAlgorithm::SHA512),
    ("2.16.840.1.101.3.4.2.4", HashAlgorithm::SHA224),
];

/// Signature algorithms whose number names the hash.
const SIGNATURES: &[(&str, HashAlgorithm)] = &[
    ("1.2.840.10040.4.3", HashAlgorithm::SHA1),
    ("1.2.840.10045.4.1", HashAlgorithm::SHA1),
    ("1.2.840.10045.4.3.1", HashAlgorithm::SHA224),
    ("1.2.840.10045.4.3.2", HashAlgorithm::SHA256),
    ("1.2.840.10045.4.3.3", HashAlgorithm::SHA384),
    ("1.2.840.10045.4.3.4", HashAlgorithm::SHA512),
    ("1.2.840.113549.1.1.4", HashAlgorithm::MD5),
    ("1.2.840.113549.1.1.5", HashAlgorithm::SHA1),
    ("1.2.840.113549.1.1.11", HashAlgorithm::SHA256),
    ("1.2.840.113549.1.1.12", HashAlgorithm::SHA384),
    ("1.2.840.113549.1.1.13", HashAlgorithm::SHA512),
    ("1.2.840.113549.1.1.14", HashAlgorithm::SHA224),
    ("1.3.14.3.2.29", HashAlgorithm::SHA1),
    ("2.16.840.1.101.3.4.3.1", HashAlgorithm::SHA224),
    ("2.16.840.1.101.3.4.3.2", HashAlgorithm::SHA256),
];
