//! PEM text to certificates and keys, with errors that say what the text holds instead.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer};

use super::error::{Error, Problem};

/// Reads every certificate of a PEM text, in its order. What stands between the blocks is passed over.
///
/// # Errors
/// [`Problem::NoCertificate`] if there is none, [`Problem::Encoding`] for a damaged block.
pub fn certificates_from_pem(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| damaged(&error))?;
    match certificates.is_empty() {
        true => Err(Error::new(Problem::NoCertificate, "a PEM block CERTIFICATE", contents(pem))),
        false => Ok(certificates),
    }
}

/// Reads the first private key of a PEM text.
///
/// # Errors
/// [`Problem::EncryptedKey`] for a key under a passphrase, [`Problem::NoKey`] if there is none,
/// [`Problem::Encoding`] for a damaged block.
pub fn private_key_from_pem(pem: &[u8]) -> Result<PrivateKeyDer<'static>, Error> {
    let is_encrypted = labels(pem).any(|label| label == "ENCRYPTED PRIVATE KEY")
        || lines(pem).any(|line| line.starts_with(b"Proc-Type:") && line.ends_with(b"ENCRYPTED"));
    if is_encrypted {
        return Err(Error::new(
            Problem::EncryptedKey,
            "a private key in the clear",
            "one under a passphrase",
        ));
    }
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        PemError::NoItemsFound => {
            Error::new(Problem::NoKey, "a PEM block PRIVATE KEY", contents(pem))
        }
        error => damaged(&error),
    })
}

/// Reads the first certificate signing request of a PEM text.
///
/// # Errors
/// [`Problem::NoCertificate`] if there is none, [`Problem::Encoding`] for a damaged block.
pub fn request_from_pem(pem: &[u8]) -> Result<CertificateSigningRequestDer<'static>, Error> {
    CertificateSigningRequestDer::from_pem_slice(pem).map_err(|error| match error {
        PemError::NoItemsFound => {
            Error::new(Problem::NoCertificate, "a PEM block CERTIFICATE REQUEST", contents(pem))
        }
        error => damaged(&error),
    })
}

/// What is wrong with a block, without a byte of it: it may be a key's.
fn damaged(error: &PemError) -> Error {
    let found = match error {
        PemError::MissingSectionEnd { .. } => "a block without its END line",
        PemError::IllegalSectionStart { .. } => "a malformed BEGIN line",
        PemError::Base64Decode(_) => "a block that is not base64",
        _ => "a damaged block",
    };
    Error::new(Problem::Encoding, "PEM", found)
}

/// Whether a text has a private key, readable or not.
#[cfg(feature = "std")]
pub(super) fn has_private_key(pem: &[u8]) -> bool {
    labels(pem).any(|label| label.ends_with("PRIVATE KEY"))
}

/// What a text holds, for people: the labels of its blocks.
fn contents(pem: &[u8]) -> String {
    let labels: Vec<String> = labels(pem).map(|label| format!("a block {label}")).collect();
    match labels.as_slice() {
        [] if pem.is_empty() => "an empty file".to_string(),
        [] => "no PEM block".to_string(),
        labels => labels.join(", "),
    }
}

fn labels(pem: &[u8]) -> impl Iterator<Item = String> {
    lines(pem).filter_map(|line| {
        let label = line.strip_prefix(b"-----BEGIN ")?.strip_suffix(b"-----")?;
        Some(String::from_utf8_lossy(label).into_owned())
    })
}

fn lines(pem: &[u8]) -> impl Iterator<Item = &[u8]> {
    pem.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii)
}
