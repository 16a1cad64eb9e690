//! Certificates that an authority signed.

use super::*;

#[test]
fn issued_version_one() {
    let w = world();
    let rule = w.issued_by();
    let good = w.v1().sign(&w.root);
    let accepted = judge(&rule, &good).unwrap();
    assert_eq!(accepted.notes, [Note::VersionOne]);
    let judged = |leaf: &CertificateDer<'static>| judge(&rule, leaf);
    let sha1 = seq(&[&oid("1.2.840.10045.4.1")]);
    let unknown = seq(&[&oid("1.2.3.4")]);
    check(vec![
        row(
            "issuer",
            judged(&edited(w.v1(), |d| d.issuer = cn("otherCA"))),
            Problem::Issuer,
            "/CN=customerCA",
            "/CN=otherCA",
        ),
        row(
            "issuer in another string type",
            judged(&edited(w.v1(), |d| d.issuer = name(&[("2.5.4.3", 0x13, b"customerCA")]))),
            Problem::Issuer,
            "/CN=customerCA",
            "/CN=customerCA",
        ),
        row(
            "signed by a namesake",
            judged(&w.v1().sign(&w.stranger)),
            Problem::Signature,
            "/CN=customerCA",
            "another key of that name",
        ),
        row(
            "signature",
            judged(&forged(&good)),
            Problem::Signature,
            "a signature by",
            "another key",
        ),
        row(
            "inner algorithm",
            judged(&edited(w.v1(), |d| {
                d.inner_algorithm = Some(rsa_algorithm("1.2.840.113549.1.1.11"))
            })),
            Problem::AlgorithmMismatch,
            "sha256WithRSA",
            "ecdsa-with-SHA256",
        ),
        row(
            "outer algorithm",
            judged(&edited(w.v1(), |d| {
                d.outer_algorithm = Some(rsa_algorithm("1.2.840.113549.1.1.11"))
            })),
            Problem::AlgorithmMismatch,
            "ecdsa-with-SHA256",
            "sha256WithRSA",
        ),
        row(
            "parameters of the inner algorithm",
            judged(&edited(w.v1(), |d| {
                d.inner_algorithm = Some(seq(&[&oid("1.2.840.10045.4.3.2"), &[5, 0]]))
            })),
            Problem::AlgorithmMismatch,
            "ecdsa-with-SHA256",
            "ecdsa-with-SHA256",
        ),
        row(
            "weak algorithm",
            judged(&edited(w.v1(), |d| {
                d.inner_algorithm = Some(sha1.clone());
                d.outer_algorithm = Some(sha1.clone())
            })),
            Problem::WeakAlgorithm,
            "SHA-256 or better",
            "ecdsa-with-SHA1",
        ),
        row(
            "unknown algorithm",
            judged(&edited(w.v1(), |d| {
                d.inner_algorithm = Some(unknown.clone());
                d.outer_algorithm = Some(unknown.clone())
            })),
            Problem::UnsupportedAlgorithm,
            "SHA-256 or better",
            "1.2.3.4",
        ),
        row(
            "algorithm of another kind of key",
            judged(&w.v1().sign(&w.rsa)),
            Problem::Signature,
            "/CN=customerCA",
            "another key",
        ),
        row(
            "version 2",
            judged(&edited(w.v1(), |d| d.version = Some(1))),
            Problem::Version,
            "version 1 or 3",
            "version 2",
        ),
        row(
            "version 4",
            judged(&edited(w.v1(), |d| d.version = Some(3))),
            Problem::Encoding,
            "DER",
            "version",
        ),
        row(
            "explicit version 1",
            judged(&edited(w.v1(), |d| d.version = Some(0))),
            Problem::Encoding,
            "DER",
            "version",
        ),
        row(
            "extensions",
            judged(&w.v1().with(basic_constraints(false)).sign(&w.root)),
            Problem::VersionOneExtensions,
            "no field of later versions",
            "1 extensions",
        ),
        row(
            "unique identifier",
            judged(&edited(w.v1(), |d| d.raw_fields = vec![0x81, 2, 0, 1])),
            Problem::VersionOneExtensions,
            "no field",
            "unique identifiers",
        ),
        row(
            "not yet valid",
            judged(&edited(w.v1(), |d| d.not_before = "20270101000000Z")),
            Problem::NotYetValid,
            "validity at 2026-11-24",
            "validity from 2027-01-01",
        ),
        row(
            "expired",
            judged(&edited(w.v1(), |d| d.not_after = "20260101000000Z")),
            Problem::Expired,
            "validity at 2026-11-24",
            "expiry at 2026-01-01",
        ),
        row(
            "backwards validity",
            judged(&edited(w.v1(), |d| {
                d.not_before = "20261001000000Z";
                d.not_after = "20260101000000Z"
            })),
            Problem::NotYetValid,
            "validity at",
            "validity from",
        ),
        row(
            "short key",
            judged(&edited(w.v1(), |d| d.spki = short_rsa_spki())),
            Problem::WeakKey,
            "2048",
            "1024",
        ),
        row(
            "trailing bytes",
            judged(&CertificateDer::from([&good[..], &[0]].concat())),
            Problem::Encoding,
            "DER",
            "data after the certificate",
        ),
        row(
            "truncated",
            judged(&CertificateDer::from(good[..good.len() - 1].to_vec())),
            Problem::Encoding,
            "DER",
            "certificate",
        ),
        row(
            "empty",
            judged(&CertificateDer::from(vec![])),
            Problem::Encoding,
            "DER",
            "certificate",
        ),
        row(
            "empty serial",
            judged(&edited(w.v1(), |d| d.serial = vec![])),
            Problem::Encoding,
            "DER",
            "serial number",
        ),
    ]);
}

#[test]
fn issued_version_three() {
    let w = world();
    let rule = w.issued_by();
    let judged = |leaf: &CertificateDer<'static>| judge(&rule, leaf);
    let good = w.v3().sign(&w.root);
    judged(&good).unwrap();
    judged(&w.v3().with(purpose(SERVER_AUTH)).sign(&w.root)).unwrap();
    let sha1 = seq(&[&oid("1.2.840.10045.4.1")]);
    let unknown = extension("1.2.3.4", true, &[5, 0]);
    check(vec![
        row(
            "issuer",
            judged(&edited(w.v3(), |d| d.issuer = cn("otherCA"))),
            Problem::Issuer,
            "/CN=customerCA",
            "/CN=otherCA",
        ),
        row(
            "signed by a namesake",
            judged(&w.v3().sign(&w.stranger)),
            Problem::Signature,
            "/CN=customerCA",
            "another key of that name",
        ),
        row(
            "signature",
            judged(&forged(&good)),
            Problem::Signature,
            "/CN=customerCA",
            "another key",
        ),
        row(
            "inner algorithm",
            judged(&edited(w.v3(), |d| {
                d.inner_algorithm = Some(rsa_algorithm("1.2.840.113549.1.1.11"))
            })),
            Problem::AlgorithmMismatch,
            "sha256WithRSA",
            "ecdsa",
        ),
        row(
            "outer algorithm",
            judged(&edited(w.v3(), |d| {
                d.outer_algorithm = Some(rsa_algorithm("1.2.840.113549.1.1.11"))
            })),
            Problem::AlgorithmMismatch,
            "ecdsa",
            "sha256WithRSA",
        ),
        row(
            "weak algorithm",
            judged(&edited(w.v3(), |d| {
                d.inner_algorithm = Some(sha1.clone());
                d.outer_algorithm = Some(sha1.clone())
            })),
            Problem::WeakAlgorithm,
            "SHA-256 or better",
            "ecdsa-with-SHA1",
        ),
        row(
            "unknown critical extension",
            judged(&w.v3().with(unknown).sign(&w.root)),
            Problem::CriticalExtension,
            "known",
            "unknown",
        ),
        row(
            "an authority as the leaf",
            judged(&w.v3().with(basic_constraints(true)).sign(&w.root)),
            Problem::AuthorityAsLeaf,
            "end entity",
            "CA:TRUE",
        ),
        row(
            "a client's purpose",
            judged(&w.v3().with(purpose(CLIENT_AUTH)).sign(&w.root)),
            Problem::Purpose,
            "serverAuth",
            "clientAuth",
        ),
        row(
            "a server's purpose",
            judge_as(&rule, Peer::Client, &w.v3().with(purpose(SERVER_AUTH)).sign(&w.root), &[]),
            Problem::Purpose,
            "clientAuth",
            "serverAuth",
        ),
        row(
            "not yet valid",
            judged(&edited(w.v3(), |d| d.not_before = "20270101000000Z")),
            Problem::NotYetValid,
            "2026-11-24",
            "2027-01-01",
        ),
        row(
            "expired",
            judged(&edited(w.v3(), |d| d.not_after = "20260101000000Z")),
            Problem::Expired,
            "2026-11-24",
            "2026-01-01",
        ),
        row(
            "a stranger that is an authority by its own word",
            judged(&Draft::authority(&cn("stranger"), &w.stranger).sign(&w.stranger)),
            Problem::Issuer,
            "/CN=customerCA",
            "/CN=stranger",
        ),
        row(
            "an expired stranger",
            judged(
                &Draft::v3(&cn("leaf"), &w.key.spki, &cn("otherCA"))
                    .edit(|d| d.not_after = "20260101000000Z")
                    .sign(&w.stranger),
            ),
            Problem::Issuer,
            "/CN=customerCA",
            "/CN=otherCA",
        ),
        row(
            "short key",
            judged(&edited(w.v3(), |d| d.spki = short_rsa_spki())),
            Problem::WeakKey,
            "2048",
            "1024",
        ),
        row(
            "trailing bytes",
            judged(&CertificateDer::from([&good[..], &[0]].concat())),
            Problem::Encoding,
            "DER",
            "data after",
        ),
    ]);
}
