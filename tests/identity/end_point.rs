//! `tls-server-end-point`: beside OpenSSL's hashes of its own certificates, and on forged algorithms.

use std::fs;
use std::process::Command;

use nested_tls::identity::{Certificate, certificates_from_pem};
use rustls::crypto::hash::HashAlgorithm;

use crate::forge::{Draft, Key, Kind, cn, oid, provider, seq, tlv};
use crate::names::Scratch;
use crate::tools::have;

/// How OpenSSL makes a certificate, and which of its hashes the binding has to be.
const CERTIFICATES: &[(&str, Option<&str>)] = &[
    ("-newkey rsa:2048 -md5", Some("sha256")),
    ("-newkey rsa:2048 -sha1", Some("sha256")),
    ("-newkey rsa:2048 -sha224", Some("sha224")),
    ("-newkey rsa:2048 -sha256", Some("sha256")),
    ("-newkey rsa:2048 -sha384", Some("sha384")),
    ("-newkey rsa:2048 -sha512", Some("sha512")),
    ("-newkey rsa:2048 -sha1 -sigopt rsa_padding_mode:pss", Some("sha256")),
    ("-newkey rsa:2048 -sha256 -sigopt rsa_padding_mode:pss", Some("sha256")),
    ("-newkey rsa:2048 -sha384 -sigopt rsa_padding_mode:pss", Some("sha384")),
    ("-newkey rsa:2048 -sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_mgf1_md:sha384", None),
    ("-newkey ec -pkeyopt ec_paramgen_curve:P-256 -sha1", Some("sha256")),
    ("-newkey ec -pkeyopt ec_paramgen_curve:P-256 -sha256", Some("sha256")),
    ("-newkey ec -pkeyopt ec_paramgen_curve:P-384 -sha384", Some("sha384")),
    ("-newkey ec -pkeyopt ec_paramgen_curve:P-521 -sha512", Some("sha512")),
    ("-newkey ed25519", None),
];

#[test]
fn openssl_s_certificates_have_the_hash_of_their_signature() {
    if !have("openssl") {
        return;
    }
    let scratch = Scratch::new("end-point");
    let (path, key) = (scratch.0.join("it.pem"), scratch.0.join("it.key"));
    let mut hashed = 0;
    for (how, expected) in CERTIFICATES {
        let made = Command::new("openssl")
            .args(["req", "-x509", "-nodes", "-subj", "/CN=it"])
            .args(how.split(' '))
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&path)
            .output()
            .unwrap();
        assert!(made.status.success(), "{how}: {}", String::from_utf8_lossy(&made.stderr));
        let chain = certificates_from_pem(&fs::read(&path).unwrap()).unwrap();
        let certificate = Certificate::from_der(&chain[0]).unwrap();
        let algorithm = match expected {
            None => None,
            Some("sha224") => Some(HashAlgorithm::SHA224),
            Some("sha256") => Some(HashAlgorithm::SHA256),
            Some("sha384") => Some(HashAlgorithm::SHA384),
            Some("sha512") => Some(HashAlgorithm::SHA512),
            Some(other) => unreachable!("{other}"),
        };
        assert_eq!(certificate.tls_server_end_point_hash(), algorithm, "{how}");
        let ours = certificate.tls_server_end_point(&provider());
        let suites = matches!(algorithm, Some(HashAlgorithm::SHA256 | HashAlgorithm::SHA384));
        assert_eq!(ours.is_some(), suites, "{how}");
        if let (Some(ours), Some(hash)) = (ours, expected) {
            let output = Command::new("openssl")
                .args(["x509", "-noout", "-fingerprint", &format!("-{hash}"), "-in"])
                .arg(&path)
                .output()
                .unwrap();
            let theirs = String::from_utf8(output.stdout).unwrap();
            let theirs = theirs.trim_end().split('=').nth(1).unwrap().replace(':', "");
            let ours: String = ours.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
            assert_eq!(ours, theirs, "{how}");
            hashed += 1;
        }
    }
    assert_eq!(hashed, 10);
}

#[test]
fn the_hash_of_forged_algorithms() {
    const PSS: &str = "1.2.840.113549.1.1.10";
    let hash = |number: &str| seq(&[&oid(number)]);
    let sha256 = hash("2.16.840.1.101.3.4.2.1");
    let mgf1 = |hash: &[u8]| seq(&[&oid("1.2.840.113549.1.1.8"), hash]);
    let pss = |parts: &[&[u8]]| seq(&[&oid(PSS), &seq(parts)]);
    let strange_mask = seq(&[&oid("1.2.3.4"), &sha256]);
    for (what, algorithm, expected) in [
        ("unknown", seq(&[&oid("1.2.3.4")]), None),
        ("PSS with no parameters", seq(&[&oid(PSS)]), None),
        ("PSS by default", pss(&[]), Some(HashAlgorithm::SHA256)),
        ("PSS with another mask by default", pss(&[&tlv(0xa0, &sha256)]), None),
        (
            "PSS with SHA-256",
            pss(&[&tlv(0xa0, &sha256), &tlv(0xa1, &mgf1(&sha256))]),
            Some(HashAlgorithm::SHA256),
        ),
        (
            "PSS with unknown hashes",
            pss(&[&tlv(0xa0, &hash("1.2.3.4")), &tlv(0xa1, &mgf1(&hash("1.2.3.4")))]),
            None,
        ),
        ("PSS with an unknown mask", pss(&[&tlv(0xa0, &sha256), &tlv(0xa1, &strange_mask)]), None),
        ("PSS with nonsense", pss(&[&tlv(0xa0, &[1, 2, 3])]), None),
    ] {
        let key = Key::new(Kind::P256);
        let certificate = Draft::v3(&cn("it"), &key.spki, &cn("it"))
            .edit(|draft| draft.outer_algorithm = Some(algorithm))
            .sign(&key);
        let certificate = Certificate::from_der(&certificate).unwrap();
        assert_eq!(certificate.tls_server_end_point_hash(), expected, "{what}");
    }
}
