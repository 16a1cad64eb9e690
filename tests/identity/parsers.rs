//! Our reader of certificates beside two others, on good certificates and on damaged ones.

use std::fs;
use std::process::Command;

use der::{Decode, Encode};
use nested_tls::identity::{
    Authority, Certificate, IssuedBy, NamePolicy, Note, Peer, Presented, Problem, Request, Rule,
    certificates_from_pem, private_key_from_pem, request_from_pem,
};
use rustls::pki_types::{CertificateDer, UnixTime};

use crate::forge::{
    Draft, Key, Kind, SERVER_AUTH, basic_constraints, cn, dns_name, hsm_name, key_usage, now,
    provider, purpose, request, seed_name,
};
use crate::names::Scratch;
use crate::tools::have;

/// Whatever both read, they read alike; returns whether ours and webpki's accept.
fn compare(bytes: &[u8]) -> (bool, bool) {
    let der = CertificateDer::from(bytes);
    let webpki = webpki::EndEntityCert::try_from(&der);
    let ours = Certificate::from_der(bytes);
    if let (Ok(ours), Ok(webpki)) = (&ours, &webpki) {
        assert_eq!(ours.version(), 3);
        assert_eq!(ours.spki(), webpki.subject_public_key_info());
    }
    if let (Ok(ours), Ok(theirs)) = (&ours, x509_cert::Certificate::from_der(bytes)) {
        let tbs = &theirs.tbs_certificate;
        assert_eq!(ours.version(), tbs.version as u8 + 1);
        // x509-cert puts a SET OF in order while it reads: only where it changed nothing are its names the sent ones.
        if theirs.to_der().is_ok_and(|again| again == bytes) {
            assert_eq!(ours.subject().der(), tbs.subject.to_der().unwrap());
            assert_eq!(ours.issuer().der(), tbs.issuer.to_der().unwrap());
        }
        assert_eq!(ours.spki().as_ref(), tbs.subject_public_key_info.to_der().unwrap());
        assert_eq!(
            ours.not_before().as_secs(),
            tbs.validity.not_before.to_unix_duration().as_secs()
        );
        assert_eq!(ours.not_after().as_secs(), tbs.validity.not_after.to_unix_duration().as_secs());
        assert_eq!(ours.signature_algorithm(), theirs.signature_algorithm.oid.to_string());
        assert_eq!(ours.extension_count(), tbs.extensions.as_ref().map_or(0, Vec::len));
    }
    if let Ok(ours) = &ours {
        // Nothing that can be asked of a certificate may panic.
        let _ = (
            ours.subject().compat(),
            ours.subject().one_line(),
            ours.subject().hash(),
            ours.serial(),
        );
        let _ = (
            ours.key(),
            ours.validity(),
            ours.purposes(),
            ours.subject_alt_names(),
            ours.authority_key_id(),
        );
        for text in
            [ours.subject().compat(), ours.issuer().one_line(), ours.subject_alt_names().join(" ")]
        {
            assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{text:?}");
        }
    }
    (ours.is_ok(), webpki.is_ok())
}

fn samples(root: &Key) -> Vec<CertificateDer<'static>> {
    let key = Key::new(Kind::P256);
    vec![
        Draft::v1(&hsm_name("x"), &key.spki, &cn("customerCA")).sign(root),
        Draft::v3(&cn("leaf"), &key.spki, &cn("customerCA")).sign(root),
        Draft::v3(&seed_name("AWS Cryptography"), &key.spki, &cn("customerCA"))
            .with(dns_name("hsm.example"))
            .with(basic_constraints(false))
            .with(key_usage(0x80))
            .with(purpose(SERVER_AUTH))
            .edit(|draft| draft.not_after = "20991231235959Z")
            .sign(root),
    ]
}

#[test]
fn good_certificates() {
    for (certificate, webpki_reads) in
        samples(&Key::new(Kind::P256)).iter().zip([false, true, true])
    {
        assert_eq!(compare(certificate), (true, webpki_reads));
    }
}

/// No certificate with one bit changed, cut short, or grown is accepted; and the readers agree on all of them.
#[test]
fn damaged_certificates() {
    let root = Key::new(Kind::P256);
    let authority = Draft::authority(&cn("customerCA"), &root).sign(&root);
    let rule =
        IssuedBy::new([Authority::from_der(authority).unwrap()], NamePolicy::Unchecked, provider())
            .unwrap();
    let judge = |bytes: &[u8]| {
        let leaf = CertificateDer::from(bytes);
        rule.judge(&Presented {
            leaf: &leaf,
            chain: &[],
            peer: Peer::Server,
            name: None,
            now: now(),
        })
    };
    let (mut tried, mut readable) = (0, 0);
    for good in samples(&root) {
        judge(&good).unwrap();
        let mut check = |bytes: &[u8]| {
            let (ours, _) = compare(bytes);
            assert!(judge(bytes).is_err(), "{bytes:02x?}");
            tried += 1;
            readable += usize::from(ours);
        };
        for place in 0..good.len() {
            for bit in 0..8 {
                let mut bytes = good.to_vec();
                bytes[place] ^= 1 << bit;
                check(&bytes);
            }
            check(&good[..place]);
            let mut grown = good.to_vec();
            grown.insert(place, 0);
            check(&grown);
        }
    }
    println!("{tried} damaged certificates refused, {readable} of them readable");
    assert!(tried > 5_000 && readable > 1_000);
}

#[test]
fn damaged_requests() {
    let key = Key::new(Kind::Ed25519);
    let good = request(&hsm_name("x"), &key.spki, &key);
    for place in 0..good.len() {
        for bit in 0..8 {
            let mut bytes = good.clone();
            bytes[place] ^= 1 << bit;
            let verified =
                Request::from_der(&bytes).and_then(|request| request.verify(&provider()));
            assert!(verified.is_err(), "byte {place}, bit {bit}");
        }
    }
}

#[test]
fn what_is_wrong_with_a_pem_block_is_told_without_its_bytes() {
    for (text, problem) in [
        ("-----BEGIN CERTIFICATE-----\nc2VjcmV0\n", "a block without its END line"),
        ("-----BEGIN CERTIFICATE\nc2VjcmV0\n", "a malformed BEGIN line"),
        (
            "-----BEGIN CERTIFICATE-----\nc2Vj*cmV0\n-----END CERTIFICATE-----\n",
            "a block that is not base64",
        ),
    ] {
        let key = text.replace("CERTIFICATE", "PRIVATE KEY");
        let request = text.replace("CERTIFICATE", "CERTIFICATE REQUEST");
        for error in [
            certificates_from_pem(text.as_bytes()).unwrap_err(),
            private_key_from_pem(key.as_bytes()).unwrap_err(),
            request_from_pem(request.as_bytes()).unwrap_err(),
        ] {
            assert_eq!((error.problem(), error.found()), (Problem::Encoding, problem));
            assert!(!format!("{error} {error:?}").contains("c2Vj"), "{error:?}");
        }
    }
}

/// The commands of AWS' guide to initialising a cluster, with the openssl of this machine.
#[test]
fn certificates_made_by_the_commands_of_the_guide() {
    if !have("openssl") {
        return;
    }
    let scratch = Scratch::new("guide");
    let run = |arguments: &str| {
        let arguments: Vec<&str> = arguments.split('|').collect();
        let output =
            Command::new("openssl").args(&arguments).current_dir(&scratch.0).output().unwrap();
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    run("genrsa|-out|customerCA.key|2048");
    run(
        "req|-new|-x509|-days|3652|-key|customerCA.key|-out|customerCA.crt|-subj|/C=US/O=Example/CN=customerCA",
    );
    run("genrsa|-out|hsm.key|2048");
    run(
        "req|-new|-key|hsm.key|-out|cluster.csr|-multivalue-rdn|-subj|/C=US+ST=CA+O=Cavium+OU=N3FIPS+L=SanJose/CN=HSM:1:PARTN:1, for FIPS mode",
    );
    run(
        "x509|-req|-days|3652|-in|cluster.csr|-CA|customerCA.crt|-CAkey|customerCA.key|-CAcreateserial|-out|cluster.crt",
    );
    let read = |file: &str| fs::read(scratch.0.join(file)).unwrap();
    let csr = request_from_pem(&read("cluster.csr")).unwrap();
    let csr = Request::from_der(&csr).unwrap();
    csr.verify(&provider()).unwrap();
    let cluster = certificates_from_pem(&read("cluster.crt")).unwrap().remove(0);
    let certificate = Certificate::from_der(&cluster).unwrap();
    assert_eq!(certificate.spki(), csr.spki());
    let rule = IssuedBy::new(
        Authority::from_pem(&read("customerCA.crt")).unwrap(),
        NamePolicy::Unchecked,
        provider(),
    )
    .unwrap();
    let presented = Presented {
        leaf: &cluster,
        chain: &[],
        peer: Peer::Server,
        name: None,
        now: UnixTime::now(),
    };
    let acceptance = rule.judge(&presented).unwrap();
    // OpenSSL before 3.2 makes version 1 here, later ones version 3: both shapes are in the field.
    assert_eq!(acceptance.notes.contains(&Note::VersionOne), certificate.version() == 1);
    println!("this openssl makes version {}", certificate.version());
}
