//! Signatures over certificates, and over the handshake by the key of a certificate of any version.

use alloc::format;
use alloc::string::String;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::CertificateDer;
use rustls::{CertificateError, DigitallySignedStruct, PeerMisbehaved, SignatureScheme};
use webpki::RawPublicKeyEntity;

use super::certificate::{Certificate, KeyKind, Signed, SpkiView, algorithm_oid};
use super::error::{Error, Problem};

/// Verifies `signed` by the key in `spki`, with the algorithm that `signed` names.
pub(super) fn verify(
    signed: &Signed<'_>,
    spki: &SpkiView<'_>,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<(), Error> {
    let mut candidates = algorithms
        .all
        .iter()
        .filter(|known| known.signature_alg_id().as_ref() == signed.algorithm)
        .peekable();
    if candidates.peek().is_none() {
        return Err(unknown_algorithm(signed.algorithm, algorithms));
    }
    let Some(algorithm) =
        candidates.find(|known| known.public_key_alg_id().as_ref() == spki.algorithm)
    else {
        return Err(Error::new(
            Problem::Signature,
            format!("a signature by the authority's key, {}", spki.kind()),
            describe(signed.algorithm),
        )
        .for_rustls(CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
            signature_algorithm_id: signed.algorithm.to_vec(),
            public_key_algorithm_id: spki.algorithm.to_vec(),
        }));
    };
    algorithm.verify_signature(spki.key, signed.message, signed.signature).map_err(|_| {
        Error::new(
            Problem::Signature,
            "a signature by the authority's key",
            "one that its key did not make",
        )
        .for_rustls(CertificateError::BadSignature)
    })
}

/// Refuses certificates whose two algorithm identifiers differ.
//
// "This field MUST contain the same algorithm identifier as the signatureAlgorithm field"
// <https://www.rfc-editor.org/rfc/rfc5280#section-4.1.2.3>
pub(super) fn check_algorithms_equal(certificate: &Certificate<'_>) -> Result<(), Error> {
    let outer = certificate.signed().algorithm;
    if certificate.signed_algorithm() == outer {
        return Ok(());
    }
    Err(Error::new(
        Problem::AlgorithmMismatch,
        describe(certificate.signed_algorithm()),
        describe(outer),
    ))
}

/// Refuses keys that no provider accepts a handshake signature from.
pub(super) fn check_key(certificate: &Certificate<'_>) -> Result<(), Error> {
    match certificate.key() {
        KeyKind::Rsa(bits) if bits < MIN_RSA_BITS => Err(Error::new(
            Problem::WeakKey,
            format!("an RSA key of at least {MIN_RSA_BITS} bits"),
            format!("{bits} bits"),
        )),
        _ => Ok(()),
    }
}

/// Verifies the TLS 1.2 handshake signature by the key of `cert`, of whatever version.
pub(super) fn verify_tls12(
    message: &[u8],
    cert: &CertificateDer<'_>,
    dss: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, rustls::Error> {
    let leaf = Certificate::from_der(cert)?;
    if leaf.version() == 3 {
        return verify_tls12_signature(message, cert, dss, algorithms);
    }
    // rustls has no TLS 1.2 counterpart of `verify_tls13_signature_with_raw_key`.
    if !exists_in_tls12(dss.scheme) {
        return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
    }
    let Some((_, candidates)) = algorithms.mapping.iter().find(|(scheme, _)| *scheme == dss.scheme)
    else {
        return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
    };
    let spki = leaf.spki();
    let key = RawPublicKeyEntity::try_from(&spki)
        .map_err(|_| rustls::Error::InvalidCertificate(CertificateError::BadEncoding))?;
    // A scheme of TLS 1.2 names a hash and no curve: each algorithm of the scheme is a candidate, and the one for the
    // key's own algorithm decides. <https://www.rfc-editor.org/rfc/rfc5246#section-7.4.1.4.1>
    for candidate in *candidates {
        match key.verify_signature(*candidate, message, dss.signature()) {
            Ok(()) => return Ok(HandshakeSignatureValid::assertion()),
            Err(webpki::Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_)) => {}
            Err(_) => {
                return Err(rustls::Error::InvalidCertificate(CertificateError::BadSignature));
            }
        }
    }
    Err(rustls::Error::InvalidCertificate(CertificateError::BadSignature))
}

/// Verifies the TLS 1.3 handshake signature by the key of `cert`, of whatever version.
pub(super) fn verify_tls13(
    message: &[u8],
    cert: &CertificateDer<'_>,
    dss: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, rustls::Error> {
    let leaf = Certificate::from_der(cert)?;
    match leaf.version() {
        3 => verify_tls13_signature(message, cert, dss, algorithms),
        _ => verify_tls13_signature_with_raw_key(message, &leaf.spki(), dss, algorithms),
    }
}

/// The schemes that have a meaning in TLS 1.2.
fn exists_in_tls12(scheme: SignatureScheme) -> bool {
    matches!(
        scheme,
        SignatureScheme::RSA_PKCS1_SHA256
            | SignatureScheme::RSA_PKCS1_SHA384
            | SignatureScheme::RSA_PKCS1_SHA512
            | SignatureScheme::RSA_PSS_SHA256
            | SignatureScheme::RSA_PSS_SHA384
            | SignatureScheme::RSA_PSS_SHA512
            | SignatureScheme::ECDSA_NISTP256_SHA256
            | SignatureScheme::ECDSA_NISTP384_SHA384
            | SignatureScheme::ECDSA_NISTP521_SHA512
            | SignatureScheme::ED25519
            | SignatureScheme::ED448
    )
}

fn unknown_algorithm(algorithm: &[u8], algorithms: &WebPkiSupportedAlgorithms) -> Error {
    Error::new(problem_of(algorithm), EXPECTED_ALGORITHM, describe(algorithm)).for_rustls(
        CertificateError::UnsupportedSignatureAlgorithmContext {
            signature_algorithm_id: algorithm.to_vec(),
            supported_algorithms: algorithms
                .all
                .iter()
                .map(|known| known.signature_alg_id())
                .collect(),
        },
    )
}

/// Whether an algorithm that the provider does not know is broken, or only unknown.
pub(super) fn problem_of(algorithm: &[u8]) -> Problem {
    let oid = algorithm_oid(algorithm);
    match BROKEN.iter().any(|(number, _)| *number == oid) {
        true => Problem::WeakAlgorithm,
        false => Problem::UnsupportedAlgorithm,
    }
}

/// The name of an algorithm, for people.
pub(super) fn describe(algorithm: &[u8]) -> String {
    let oid = algorithm_oid(algorithm);
    match BROKEN.iter().chain(SOUND).find(|(number, _)| *number == oid) {
        Some((_, name)) => String::from(*name),
        None => format!("algorithm {oid}"),
    }
}

pub(super) const EXPECTED_ALGORITHM: &str = "an algorithm of the provider, with SHA-256 or better";

const MIN_RSA_BITS: usize = 2048;

const BROKEN: &[(&str, &str)] = &[
    ("1.2.840.10040.4.3", "dsa-with-sha1"),
    ("1.2.840.10045.4.1", "ecdsa-with-SHA1"),
    ("1.2.840.113549.1.1.2", "md2WithRSAEncryption"),
    ("1.2.840.113549.1.1.3", "md4WithRSAEncryption"),
    ("1.2.840.113549.1.1.4", "md5WithRSAEncryption"),
    ("1.2.840.113549.1.1.5", "sha1WithRSAEncryption"),
    ("1.3.14.3.2.29", "sha1WithRSA"),
];

const SOUND: &[(&str, &str)] = &[
    ("1.2.840.10045.4.3.2", "ecdsa-with-SHA256"),
    ("1.2.840.10045.4.3.3", "ecdsa-with-SHA384"),
    ("1.2.840.10045.4.3.4", "ecdsa-with-SHA512"),
    ("1.2.840.113549.1.1.10", "rsassaPss"),
    ("1.2.840.113549.1.1.11", "sha256WithRSAEncryption"),
    ("1.2.840.113549.1.1.12", "sha384WithRSAEncryption"),
    ("1.2.840.113549.1.1.13", "sha512WithRSAEncryption"),
    ("1.3.101.112", "ED25519"),
];
