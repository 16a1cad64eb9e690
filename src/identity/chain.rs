//! From a leaf to the authority that signed it: webpki for version 3, one step of our own for version 1.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use rustls::CertificateError;
use rustls::ExtendedKeyPurpose;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, TrustAnchor};
use webpki::{EndEntityCert, KeyUsage};

use super::authority::Authority;
use super::certificate::Certificate;
use super::error::{Error, Problem};
use super::policy::{Note, Peer, TimePolicy, expired, not_yet_valid};
use super::rule::Presented;
use super::signature;

/// Verifies a leaf of version 1: one step, to an authority of its issuer's name.
///
/// Nothing in such a certificate says what its key may do, so none of them signs another: there is no chain.
pub(super) fn verify_version_one<'t>(
    leaf: &Certificate<'_>,
    authorities: &'t [Authority],
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<&'t Authority, Error> {
    check_version_one(leaf)?;
    let named: Vec<&Authority> =
        authorities.iter().filter(|authority| authority.subject() == leaf.issuer().der()).collect();
    if named.is_empty() {
        return Err(unknown_issuer(leaf, authorities));
    }
    signature::check_algorithms_equal(leaf)?;
    signature::check_key(leaf)?;
    let mut refusal = None;
    // Two authorities of one name and different keys are a rotation, or a mistake that shows here.
    for authority in named {
        match authority.verify(&leaf.signed(), algorithms) {
            // webpki weighs a leaf's names against these constraints; here there is none to weigh but the subject's.
            Ok(()) if authority.is_constrained() => {
                refusal = Some(authority.in_file(Error::new(
                    Problem::Constraint,
                    format!("names that {} may sign for", authority.describe()),
                    "a version 1 certificate, whose names can't be held against its constraints",
                )));
            }
            Ok(()) => return Ok(authority),
            Err(error) if error.problem() == Problem::Signature => {
                refusal = Some(wrong_signature(leaf, authorities));
            }
            Err(error) => refusal = Some(error),
        }
    }
    Err(refusal.unwrap_or_else(|| unknown_issuer(leaf, authorities)))
}

/// Verifies a leaf of version 3 with webpki, and says which authority its path ends at.
pub(super) fn verify_version_three<'t>(
    leaf: &Certificate<'_>,
    presented: &Presented<'_>,
    intermediates: &[CertificateDer<'_>],
    authorities: &'t [Authority],
    time: TimePolicy,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<(&'t Authority, Vec<Note>), Error> {
    let refuse = |error| from_webpki(error, leaf, presented, authorities);
    signature::check_key(leaf)?;
    let der = leaf.der();
    let parsed = EndEntityCert::try_from(&der).map_err(refuse)?;
    // webpki looks at all else before it looks for an issuer; what is wrong with a stranger is of no interest.
    if !has_issuer(leaf, intermediates, authorities) {
        return Err(unknown_issuer(leaf, authorities));
    }
    let anchors: Vec<TrustAnchor<'_>> = authorities.iter().map(Authority::anchor).collect();
    let usage = || match presented.peer {
        Peer::Client => KeyUsage::client_auth(),
        Peer::Server => KeyUsage::server_auth(),
    };
    let mut notes = Vec::new();
    let mut at = presented.now;
    loop {
        let result = parsed.verify_for_usage(
            algorithms.all,
            &anchors,
            intermediates,
            at,
            usage(),
            None,
            None,
        );
        match result {
            Ok(path) => {
                let found =
                    authorities.iter().find(|authority| authority.anchor() == *path.anchor());
                return found
                    .map(|authority| (authority, notes))
                    .ok_or_else(|| unknown_issuer(leaf, authorities));
            }
            // Each certificate of the path may have expired: go back to the last second of the one that webpki
            // names. The time only decreases, once for each certificate at most.
            Err(webpki::Error::CertExpired { not_after, .. })
                if time == TimePolicy::IgnoreExpiry
                    && not_after < at
                    && notes.len() <= intermediates.len() =>
            {
                notes.push(Note::Expired { not_after, now: presented.now });
                at = not_after;
            }
            Err(error) => return Err(explain(error, leaf, presented, intermediates, authorities)),
        }
    }
}

/// Whether anybody here has the name of the leaf's issuer.
fn has_issuer(
    leaf: &Certificate<'_>,
    intermediates: &[CertificateDer<'_>],
    authorities: &[Authority],
) -> bool {
    let issuer = leaf.issuer().der();
    let sent = || {
        let others = intermediates.iter().filter(|der| ***der != *leaf.der());
        let mut names = others.filter_map(|der| Certificate::from_der(der).ok());
        names.any(|certificate| certificate.subject().der() == issuer)
    };
    authorities.iter().any(|authority| authority.subject() == issuer) || sent()
}

/// Refuses in a certificate of version 1 what came with later versions.
//
// "If present, version MUST be v3" of extensions, "v2 or v3" of unique identifiers
// <https://www.rfc-editor.org/rfc/rfc5280#section-4.1>
pub(super) fn check_version_one(leaf: &Certificate<'_>) -> Result<(), Error> {
    if leaf.has_later_fields() {
        let found = match leaf.extension_count() {
            0 => String::from("unique identifiers"),
            count => format!("{count} extensions"),
        };
        return Err(Error::new(Problem::VersionOneExtensions, "no field of later versions", found)
            .for_rustls(CertificateError::BadEncoding));
    }
    Ok(())
}

/// Refuses a leaf whose extended key usage leaves out the role of the peer.
pub(super) fn check_purpose(leaf: &Certificate<'_>, peer: Peer) -> Result<(), Error> {
    match leaf.purposes() {
        Some(purposes) if !purposes.iter().any(|purpose| purpose == purpose_oid(peer)) => {
            Err(wrong_purpose(leaf, peer, CertificateError::InvalidPurpose))
        }
        _ => Ok(()),
    }
}

pub(super) fn unsupported_version(version: u8) -> Error {
    Error::new(Problem::Version, "version 1 or 3", format!("version {version}"))
}

pub(super) fn unknown_extension() -> Error {
    Error::new(Problem::CriticalExtension, "critical extensions that are known", "an unknown one")
        .for_rustls(CertificateError::UnhandledCriticalExtension)
}

pub(super) fn unknown_issuer(leaf: &Certificate<'_>, authorities: &[Authority]) -> Error {
    let expected = match authorities {
        [] => String::from("a public authority"),
        known => known.iter().map(Authority::describe).collect::<Vec<_>>().join(" or "),
    };
    let mut found = format!("issuer {}", leaf.issuer().compat());
    if let Some(key) = leaf.authority_key_id() {
        found = format!("{found} (key {key})");
    }
    let error = Error::new(Problem::Issuer, format!("issuer {expected}"), found)
        .for_rustls(CertificateError::UnknownIssuer);
    match authorities {
        [only] => only.in_file(error),
        _ => error,
    }
}

/// webpki's refusal with the values that were compared.
pub(super) fn from_webpki(
    error: webpki::Error,
    leaf: &Certificate<'_>,
    presented: &Presented<'_>,
    authorities: &[Authority],
) -> Error {
    use webpki::Error as E;
    match error {
        E::BadDer | E::BadDerTime | E::TrailingData(_) => Error::new(
            Problem::Encoding,
            "DER",
            format!("an encoding that webpki refuses: {error}"),
        )
        .for_rustls(CertificateError::BadEncoding),
        E::CaUsedAsEndEntity => Error::new(
            Problem::AuthorityAsLeaf,
            "an end entity's certificate",
            "CA:TRUE in its basic constraints",
        ),
        E::CertExpired { time, not_after } => expired(not_after, time),
        E::CertNotValidYet { time, not_before } => not_yet_valid(not_before, time),
        E::InvalidCertValidity => Error::new(
            Problem::NotYetValid,
            "a validity that ends after its beginning",
            leaf.validity(),
        )
        .for_rustls(CertificateError::Expired),
        E::InvalidSignatureForPublicKey => wrong_signature(leaf, authorities),
        E::RequiredEkuNotFoundContext(_) => {
            let presented_purposes =
                leaf.purposes().unwrap_or_default().iter().map(|oid| purpose(oid)).collect();
            let required = purpose(purpose_oid(presented.peer));
            wrong_purpose(
                leaf,
                presented.peer,
                CertificateError::InvalidPurposeContext { required, presented: presented_purposes },
            )
        }
        E::SignatureAlgorithmMismatch => {
            signature::check_algorithms_equal(leaf).err().unwrap_or_else(|| {
                Error::new(
                    Problem::AlgorithmMismatch,
                    "one algorithm",
                    "two in a certificate of the chain",
                )
            })
        }
        E::UnknownIssuer => unknown_issuer(leaf, authorities),
        E::UnsupportedCertVersion => unsupported_version(leaf.version()),
        E::UnsupportedCriticalExtension => unknown_extension(),
        E::UnsupportedSignatureAlgorithmContext(context) => Error::new(
            signature::problem_of(&context.signature_algorithm_id),
            signature::EXPECTED_ALGORITHM,
            signature::describe(&context.signature_algorithm_id),
        )
        .for_rustls(CertificateError::UnsupportedSignatureAlgorithmContext {
            signature_algorithm_id: context.signature_algorithm_id,
            supported_algorithms: context.supported_algorithms,
        }),
        E::UnsupportedSignatureAlgorithmForPublicKeyContext(context) => Error::new(
            Problem::Signature,
            "a signature by the authority's key",
            signature::describe(&context.signature_algorithm_id),
        )
        .for_rustls(CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
            signature_algorithm_id: context.signature_algorithm_id,
            public_key_algorithm_id: context.public_key_algorithm_id,
        }),
        E::EndEntityUsedAsCa
        | E::NameConstraintViolation
        | E::PathLenConstraintViolated
        | E::MaximumPathDepthExceeded
        | E::MaximumPathBuildCallsExceeded
        | E::MaximumSignatureChecksExceeded => Error::new(
            Problem::Constraint,
            "a chain within its authorities' constraints",
            format!("{error}"),
        ),
        _ => Error::new(Problem::Encoding, "a certificate within RFC 5280", format!("{error}")),
    }
}

/// As [`from_webpki`], and finds the version 1 intermediate that makes an issuer unknown.
fn explain(
    error: webpki::Error,
    leaf: &Certificate<'_>,
    presented: &Presented<'_>,
    intermediates: &[CertificateDer<'_>],
    authorities: &[Authority],
) -> Error {
    let version_one = intermediates.iter().find_map(|der| {
        let certificate = Certificate::from_der(der).ok()?;
        let in_the_way = certificate.version() == 1
            && !certificate.is_self_issued()
            && !authorities.iter().any(|authority| authority.certificate() == der);
        in_the_way.then(|| certificate.subject().compat())
    });
    match (error, version_one) {
        (webpki::Error::UnknownIssuer | webpki::Error::UnsupportedCertVersion, Some(subject)) => {
            Error::new(
                Problem::VersionOneIntermediate,
                "intermediates of version 3",
                format!("version 1 of {subject}"),
            )
            .for_rustls(CertificateError::UnknownIssuer)
        }
        (error, _) => from_webpki(error, leaf, presented, authorities),
    }
}

/// A signature that an authority of the right name did not make: most often another authority of the same name.
fn wrong_signature(leaf: &Certificate<'_>, authorities: &[Authority]) -> Error {
    let named: Vec<&Authority> =
        authorities.iter().filter(|authority| authority.subject() == leaf.issuer().der()).collect();
    let expected = match named.as_slice() {
        [] => String::from("the issuer's key"),
        named => {
            named.iter().map(|authority| authority.describe()).collect::<Vec<_>>().join(" or ")
        }
    };
    let found = match leaf.authority_key_id() {
        Some(key) => format!("one by another key of that name ({key})"),
        None => String::from("one by another key of that name"),
    };
    let error = Error::new(Problem::Signature, format!("a signature by {expected}"), found)
        .for_rustls(CertificateError::BadSignature);
    match named.as_slice() {
        [only] => only.in_file(error),
        _ => error,
    }
}

fn wrong_purpose(leaf: &Certificate<'_>, peer: Peer, error: CertificateError) -> Error {
    let expected = match peer {
        Peer::Client => "a purpose of clientAuth",
        Peer::Server => "a purpose of serverAuth",
    };
    let names = leaf.purposes().unwrap_or_default().iter().map(|oid| match oid.as_str() {
        SERVER_AUTH => "serverAuth",
        CLIENT_AUTH => "clientAuth",
        other => other,
    });
    let found = names.collect::<Vec<_>>().join(", ");
    Error::new(Problem::Purpose, expected, found).for_rustls(error)
}

fn purpose(oid: &str) -> ExtendedKeyPurpose {
    match oid {
        CLIENT_AUTH => ExtendedKeyPurpose::ClientAuth,
        SERVER_AUTH => ExtendedKeyPurpose::ServerAuth,
        other => {
            ExtendedKeyPurpose::Other(other.split('.').filter_map(|arc| arc.parse().ok()).collect())
        }
    }
}

fn purpose_oid(peer: Peer) -> &'static str {
    match peer {
        Peer::Client => CLIENT_AUTH,
        Peer::Server => SERVER_AUTH,
    }
}

// <https://www.rfc-editor.org/rfc/rfc5280#section-4.2.1.12>
const SERVER_AUTH: &str = "1.3.6.1.5.5.7.3.1";
const CLIENT_AUTH: &str = "1.3.6.1.5.5.7.3.2";
