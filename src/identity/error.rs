//! What was checked, what was expected, what was found, and in which file.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use rustls::CertificateError;

/// The check that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Problem {
    /// The key of the authority is not allowed to sign certificates.
    Authority,
    /// A certificate of an authority stands where an end entity's is required.
    AuthorityAsLeaf,
    /// The algorithms named inside and outside the signed part differ.
    AlgorithmMismatch,
    /// A configuration file does not say what is needed.
    Configuration,
    /// An extension marked critical is unknown.
    CriticalExtension,
    /// A directory of certificates holds none.
    EmptyDirectory,
    /// The encoding is not DER, or not of a certificate.
    Encoding,
    /// The private key is encrypted.
    EncryptedKey,
    /// The time of the check is after the certificate's last.
    Expired,
    /// A file can't be read.
    File,
    /// The name of a file in an OpenSSL directory is not the hash of its certificate's subject.
    HashName,
    /// No known authority has the name of the certificate's issuer.
    Issuer,
    /// A chain breaks a constraint of one of its authorities.
    Constraint,
    /// The certificate expires within weeks.
    ExpiresSoon,
    /// Others than its owner may read a private key.
    FileMode,
    /// A chain ends before the authority that the peer knows.
    Incomplete,
    /// A certificate that must be its own issuer is not.
    SelfSigned,
    /// A private key stands in a file of certificates.
    StrayKey,
    /// The private key is not the certificate's.
    KeyMismatch,
    /// The certificate is not valid for the name.
    Name,
    /// A certificate was required and none was there.
    NoCertificate,
    /// A private key was required and none was there.
    NoKey,
    /// None of several rules accepts the certificate.
    NoRule,
    /// The time of the check is before the certificate's first.
    NotYetValid,
    /// A chain of certificates is longer than the peer takes.
    Oversized,
    /// The certificate or its key is not one of the pinned ones.
    Pin,
    /// The public keys of two documents that must speak of one key differ.
    PublicKeys,
    /// The certificate is for another purpose.
    Purpose,
    /// The signature was not made by the authority's key.
    Signature,
    /// The signature was made with an algorithm that the provider does not know.
    UnsupportedAlgorithm,
    /// The private key is of a kind that the provider does not know.
    UnsupportedKey,
    /// The version of the certificate is not one that the check allows.
    Version,
    /// A certificate of version 1 carries what came with later versions.
    VersionOneExtensions,
    /// A certificate of version 1 stands between the leaf and the authority.
    VersionOneIntermediate,
    /// The signature was made with an algorithm that is broken.
    WeakAlgorithm,
    /// The public key is too short.
    WeakKey,
}

impl Problem {
    /// The check in words, lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Authority => "authority that may not sign certificates",
            Self::AuthorityAsLeaf => "authority's certificate used as an end entity's",
            Self::AlgorithmMismatch => "signature algorithm differs from the signed one",
            Self::Configuration => "configuration",
            Self::CriticalExtension => "unknown critical extension",
            Self::EmptyDirectory => "directory without certificates",
            Self::Encoding => "encoding",
            Self::EncryptedKey => "encrypted private key",
            Self::Expired => "expired certificate",
            Self::File => "unreadable file",
            Self::HashName => "file name is not the subject's hash",
            Self::Issuer => "unknown issuer",
            Self::Constraint => "constraint of an authority",
            Self::ExpiresSoon => "certificate expires soon",
            Self::FileMode => "private key that others may read",
            Self::Incomplete => "incomplete chain",
            Self::SelfSigned => "certificate that is not self-signed",
            Self::StrayKey => "private key among certificates",
            Self::KeyMismatch => "private key of another certificate",
            Self::Name => "certificate for another name",
            Self::NoCertificate => "no certificate",
            Self::NoKey => "no private key",
            Self::NoRule => "accepted by no rule",
            Self::NotYetValid => "certificate not yet valid",
            Self::Oversized => "chain too long",
            Self::Pin => "certificate not pinned",
            Self::PublicKeys => "different public keys",
            Self::Purpose => "certificate for another purpose",
            Self::Signature => "wrong signature",
            Self::UnsupportedAlgorithm => "unsupported signature algorithm",
            Self::UnsupportedKey => "unsupported private key",
            Self::Version => "unsupported certificate version",
            Self::VersionOneExtensions => "extensions in a version 1 certificate",
            Self::VersionOneIntermediate => "version 1 certificate as an intermediate",
            Self::WeakAlgorithm => "broken signature algorithm",
            Self::WeakKey => "short public key",
        }
    }

    /// What a person can do about it.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Authority | Self::AuthorityAsLeaf => {
                "use the authority's certificate as the authority and the certificate it issued as the leaf"
            }
            Self::AlgorithmMismatch | Self::Encoding => {
                "the certificate is damaged or forged: fetch it again from its source"
            }
            Self::Configuration => "correct the setting named here",
            Self::CriticalExtension => "issue the certificate without the critical extension",
            Self::EmptyDirectory => "install the certificates that came with the client package",
            Self::EncryptedKey => {
                "store the key without a passphrase: openssl pkey -in KEY -out KEY.plain"
            }
            Self::Expired => {
                "renew the certificate; where it can't be renewed, accept its expiry explicitly"
            }
            Self::File => "check that the path exists and that this user may read it",
            Self::HashName => "rename the file to the hash, or run openssl rehash on its directory",
            Self::Issuer | Self::Signature => {
                "use the authority that issued the peer's certificate; of a CloudHSM cluster, its own customerCA.crt"
            }
            Self::Constraint => "issue the certificate by an authority that is allowed to",
            Self::ExpiresSoon => {
                "renew the certificate, or plan for its expiry where it can't be renewed"
            }
            Self::FileMode => "let only its owner read the key: chmod 600",
            Self::Incomplete => {
                "append the issuers' certificates to the file, each after the one it issued"
            }
            Self::SelfSigned => {
                "use the self-signed certificate itself, as the host or the customer's authority made it"
            }
            Self::StrayKey => "keep the private key in a file of its own",
            Self::KeyMismatch => "use the private key that belongs to the certificate",
            Self::Name => {
                "connect by a name that the certificate carries, or check by pin or authority only"
            }
            Self::NoCertificate => "provide a file with a PEM block CERTIFICATE",
            Self::NoKey => "provide a file with a PEM block PRIVATE KEY",
            Self::NoRule => "compare the certificate with each rule listed here",
            Self::NotYetValid => {
                "set this machine's clock, or wait for the certificate's first day"
            }
            Self::Oversized => "leave out of the chain what the peer knows, or use smaller keys",
            Self::Pin => {
                "check that this is the right peer, then add its certificate to the pinned ones"
            }
            Self::PublicKeys => "fetch all documents again for one and the same device",
            Self::Purpose => "issue the certificate for the role it plays here",
            Self::UnsupportedAlgorithm | Self::UnsupportedKey => {
                "use RSA of 2048 bits or more with SHA-256, ECDSA P-256 or P-384, or Ed25519"
            }
            Self::Version => {
                "issue the certificate as version 1 without extensions, or as version 3"
            }
            Self::VersionOneExtensions => "issue the certificate as version 3",
            Self::VersionOneIntermediate => {
                "issue the intermediate as a version 3 certificate authority"
            }
            Self::WeakAlgorithm => "issue the certificate again with SHA-256 or better",
            Self::WeakKey => "make a new key of at least 2048 bits",
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refused certificate, key or file: the failed check with the values that were compared.
///
/// ```
/// use nested_tls::identity::{Certificate, Problem};
///
/// let error = Certificate::from_der(b"not a certificate").unwrap_err();
/// assert_eq!(error.problem(), Problem::Encoding);
/// let error = error.in_file("customerCA.crt");
/// assert_eq!(error.to_string(), "customerCA.crt: encoding: expected DER, found a malformed certificate");
/// ```
#[derive(Clone, PartialEq)]
pub struct Error(Box<Inner>);

#[derive(Clone, PartialEq)]
struct Inner {
    problem: Problem,
    expected: String,
    found: String,
    file: Option<String>,
    /// rustls' own word for the failure, which decides the alert.
    certificate_error: Option<CertificateError>,
    causes: Vec<Error>,
}

impl Error {
    pub(super) fn new(
        problem: Problem,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self(Box::new(Inner {
            problem,
            expected: expected.into(),
            found: found.into(),
            file: None,
            certificate_error: None,
            causes: Vec::new(),
        }))
    }

    pub(super) fn for_rustls(mut self, error: CertificateError) -> Self {
        self.0.certificate_error = Some(error);
        self
    }

    pub(super) fn because(mut self, causes: Vec<Self>) -> Self {
        self.0.causes = causes;
        self
    }

    /// Names the file, unless one is named already.
    #[must_use]
    pub fn in_file(mut self, file: impl Into<String>) -> Self {
        self.0.file.get_or_insert_with(|| file.into());
        self
    }

    /// The check that failed.
    #[must_use]
    pub fn problem(&self) -> Problem {
        self.0.problem
    }

    /// What the check would have accepted.
    #[must_use]
    pub fn expected(&self) -> &str {
        &self.0.expected
    }

    /// What was there.
    #[must_use]
    pub fn found(&self) -> &str {
        &self.0.found
    }

    /// The file that holds what was found, or from which the refusing rule came.
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        self.0.file.as_deref()
    }

    /// What a person can do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        self.0.problem.remedy()
    }

    /// Where several rules were asked, what each of them said.
    #[must_use]
    pub fn causes(&self) -> &[Self] {
        &self.0.causes
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.0.file {
            write!(f, "{file}: ")?;
        }
        write!(f, "{}: expected {}, found {}", self.0.problem, self.0.expected, self.0.found)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("problem", &self.0.problem)
            .field("expected", &self.0.expected)
            .field("found", &self.0.found)
            .field("file", &self.0.file)
            .field("causes", &self.0.causes)
            .finish()
    }
}

impl core::error::Error for Error {}

/// rustls' own variant where it has one, so that the peer gets the right alert; all else travels whole in
/// [`CertificateError::Other`] (without `std`: `ApplicationVerificationFailure`, which has no room for it).
impl From<Error> for CertificateError {
    fn from(error: Error) -> Self {
        match error.0.certificate_error {
            Some(known) => known,
            None => other(error),
        }
    }
}

impl From<Error> for rustls::Error {
    fn from(error: Error) -> Self {
        Self::InvalidCertificate(error.into())
    }
}

#[cfg(feature = "std")]
fn other(error: Error) -> CertificateError {
    CertificateError::Other(rustls::OtherError(alloc::sync::Arc::new(error)))
}

#[cfg(not(feature = "std"))]
fn other(_: Error) -> CertificateError {
    CertificateError::ApplicationVerificationFailure
}
