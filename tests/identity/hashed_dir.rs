//! OpenSSL's directories of certificates.

use std::fs;
use std::process::Command;

use nested_tls::identity::{
    HashedDir, IssuedBy, NamePolicy, Peer, Pinned, Presented, Problem, Rule,
};
use rustls::pki_types::CertificateDer;

use crate::forge::{
    Draft, Key, Kind, basic_constraints, certificate_pem, cn, now, provider, seed_name,
};
use crate::names::Scratch;
use crate::tools::have;

fn selfie(unit: &str, key: &Key) -> CertificateDer<'static> {
    let name = seed_name(unit);
    Draft::authority(&name, key).sign(key)
}

fn is_pinned(directory: &HashedDir, leaf: &CertificateDer<'static>) -> bool {
    let rule = Pinned::new(directory.pins(), provider()).unwrap();
    rule.judge(&Presented { leaf, chain: &[], peer: Peer::Server, name: None, now: now() }).is_ok()
}

#[test]
fn the_two_entries_of_the_client_package() {
    let scratch = Scratch::new("two-entries");
    let key = Key::new(Kind::P256);
    let (first, second) = (selfie("AWS Cryptography", &key), selfie("Cryptography", &key));
    fs::write(scratch.0.join("21a10654.0"), certificate_pem(&first)).unwrap();
    fs::write(scratch.0.join("712ff948.0"), certificate_pem(&second)).unwrap();
    fs::write(scratch.0.join("README"), "not a certificate").unwrap();
    fs::write(scratch.0.join("21a10654.r0"), "a list of revocations").unwrap();
    let directory = HashedDir::read(&scratch.0).unwrap();
    assert_eq!(directory.entries().len(), 2);
    assert!(directory.findings().is_empty(), "{:?}", directory.findings());
    assert!(is_pinned(&directory, &first) && is_pinned(&directory, &second));
    assert!(!is_pinned(&directory, &selfie("AWS Cryptography", &Key::new(Kind::P256))));
    let files: Vec<_> = directory.pins().iter().map(|pin| pin.file().unwrap().to_owned()).collect();
    assert!(files[0].ends_with("21a10654.0") && files[1].ends_with("712ff948.0"), "{files:?}");
    assert_eq!(directory.authorities().unwrap().len(), 2);
}

/// Names choose files; what is trusted is what is in them.
#[test]
fn a_wrong_hash_is_a_finding_and_changes_no_trust() {
    let scratch = Scratch::new("wrong-hash");
    let key = Key::new(Kind::P256);
    let certificate = selfie("AWS Cryptography", &key);
    let stranger = selfie("AWS Cryptography", &Key::new(Kind::P256));
    fs::write(scratch.0.join("deadbeef.0"), certificate_pem(&certificate)).unwrap();
    let directory = HashedDir::read(&scratch.0).unwrap();
    let findings = directory.findings();
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].problem(), Problem::HashName);
    assert!(findings[0].expected().starts_with("21a10654.0"), "{}", findings[0]);
    assert_eq!(findings[0].found(), "deadbeef.0");
    assert!(is_pinned(&directory, &certificate));
    assert!(
        !is_pinned(&directory, &stranger),
        "the subject has the right hash, the certificate is another"
    );
}

#[test]
fn several_certificates_in_one_file_and_collisions() {
    let scratch = Scratch::new("several");
    let key = Key::new(Kind::P256);
    let all = ["AWS Cryptography", "Cryptography", "third"].map(|unit| selfie(unit, &key));
    let text =
        format!("text before\n{}between\n{}", certificate_pem(&all[0]), certificate_pem(&all[1]));
    fs::write(scratch.0.join("21a10654.0"), text).unwrap();
    fs::write(scratch.0.join("21a10654.1"), certificate_pem(&all[2])).unwrap();
    let directory = HashedDir::read(&scratch.0).unwrap();
    assert_eq!(directory.entries()[0].certificates.len(), 2);
    assert!(all.iter().all(|certificate| is_pinned(&directory, certificate)));
}

#[test]
fn unreadable_entries_are_named_and_the_others_count() {
    let scratch = Scratch::new("unreadable");
    let key = Key::new(Kind::P256);
    let certificate = selfie("AWS Cryptography", &key);
    fs::write(scratch.0.join("21a10654.0"), certificate_pem(&certificate)).unwrap();
    fs::write(scratch.0.join("00000001.0"), "no block at all").unwrap();
    fs::write(scratch.0.join("00000002.0"), crate::forge::pem("PRIVATE KEY", b"x")).unwrap();
    fs::write(scratch.0.join("00000003.0"), certificate_pem(b"\x30\x03junk")).unwrap();
    fs::write(scratch.0.join("00000004.0"), "-----BEGIN CERTIFICATE-----\nAAAA").unwrap();
    fs::write(scratch.0.join("00000005.0"), "").unwrap();
    fs::create_dir(scratch.0.join("00000006.0")).unwrap();
    fs::write(scratch.0.join("00000007.0"), vec![b'x'; (1 << 20) + 1]).unwrap();
    let directory = HashedDir::read(&scratch.0).unwrap();
    assert!(is_pinned(&directory, &certificate));
    let seen: Vec<_> = directory
        .unreadable()
        .iter()
        .map(|error| {
            let file = error.file().unwrap();
            (file[file.len() - 10..].to_owned(), error.problem(), error.found().to_owned())
        })
        .collect();
    let expected = [
        ("00000001.0", Problem::NoCertificate, "no PEM block"),
        ("00000002.0", Problem::NoCertificate, "a block PRIVATE KEY"),
        ("00000003.0", Problem::Encoding, "malformed"),
        ("00000004.0", Problem::Encoding, ""),
        ("00000005.0", Problem::NoCertificate, "an empty file"),
        ("00000006.0", Problem::File, "directory"),
        ("00000007.0", Problem::File, "more"),
    ];
    assert_eq!(seen.len(), expected.len(), "{seen:?}");
    for ((file, problem, found), expected) in seen.iter().zip(expected) {
        assert_eq!((file.as_str(), *problem), (expected.0, expected.1));
        assert!(found.contains(expected.2), "{file}: {found}");
    }
}

#[test]
fn nothing_to_trust_is_refused() {
    let scratch = Scratch::new("empty");
    let error = HashedDir::read(&scratch.0).unwrap_err();
    assert_eq!(error.problem(), Problem::EmptyDirectory);
    fs::write(scratch.0.join("21a10654.0"), "junk").unwrap();
    let error = HashedDir::read(&scratch.0).unwrap_err();
    assert_eq!((error.problem(), error.causes().len()), (Problem::EmptyDirectory, 1));
    let error = HashedDir::read(scratch.0.join("absent")).unwrap_err();
    assert_eq!(error.problem(), Problem::File);
    assert!(error.file().unwrap().ends_with("absent"));
}

#[test]
fn names_that_are_no_hashes_are_passed_over() {
    let key = Key::new(Kind::P256);
    let pem = certificate_pem(&selfie("AWS Cryptography", &key));
    for name in [
        "21a10654",
        "21a10654.",
        "21a1065.0",
        "21a106540.0",
        "21a10654.r0",
        "21g10654.0",
        "21a10654.0.bak",
        "é1a1065.0",
    ] {
        let files = [(format!("certs/{name}"), Ok(pem.clone().into_bytes()))];
        assert!(HashedDir::from_files("certs", files).is_err(), "{name}");
    }
}

#[test]
fn a_directory_of_authorities_names_the_one_that_is_none() {
    let key = Key::new(Kind::P256);
    let leaf =
        Draft::v3(&cn("leaf"), &key.spki, &cn("leaf")).with(basic_constraints(false)).sign(&key);
    let files = [("certs/00000000.0".to_owned(), Ok(certificate_pem(&leaf).into_bytes()))];
    let error = HashedDir::from_files("certs", files).unwrap().authorities().unwrap_err();
    assert_eq!((error.problem(), error.file()), (Problem::Authority, Some("certs/00000000.0")));
}

/// A directory that OpenSSL made itself: we find what it finds.
#[test]
fn reads_what_openssl_rehash_makes() {
    if !have("openssl") {
        return;
    }
    let scratch = Scratch::new("rehash");
    let key = Key::new(Kind::P256);
    for unit in ["AWS Cryptography", "Cryptography"] {
        fs::write(
            scratch.0.join(format!("{}.pem", unit.len())),
            certificate_pem(&selfie(unit, &key)),
        )
        .unwrap();
    }
    let status = Command::new("openssl").arg("rehash").arg(&scratch.0).status().unwrap();
    assert!(status.success());
    let directory = HashedDir::read(&scratch.0).unwrap();
    assert_eq!(directory.entries().len(), 2);
    assert!(directory.findings().is_empty(), "{:?}", directory.findings());
    let rule =
        IssuedBy::new(directory.authorities().unwrap(), NamePolicy::Unchecked, provider()).unwrap();
    let leaf = Draft::v1(&cn("leaf"), &key.spki, &seed_name("Cryptography")).sign(&key);
    let presented =
        Presented { leaf: &leaf, chain: &[], peer: Peer::Server, name: None, now: now() };
    assert!(rule.judge(&presented).unwrap().file.unwrap().contains("712ff948.0"));
}
