//! Names, serial numbers and hashes, with OpenSSL as the judge where it is installed.

use std::path::PathBuf;
use std::process::Command;

use nested_tls::identity::{Certificate, KeyKind};

use crate::forge::{
    Draft, Key, Kind, certificate_pem, cn, dns_name, extension, hsm_name, seed_name, seq, tlv,
};
use crate::subjects::{SERIALS, subjects};
use crate::tools::have;

/// A directory of its own for one test, removed at the end.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("nested-tls-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left behind lies in the system's directory for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn openssl(arguments: &[&str]) -> String {
    let output = Command::new("openssl").args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_seed_documents_names() {
    let key = Key::new(Kind::P256);
    for (unit, serial, hash) in [
        ("AWS Cryptography", "B7FA7A40976CBE82", "21a10654"),
        ("Cryptography", "A7525B285D1C2BB5", "712ff948"),
    ] {
        let subject = seed_name(unit);
        let bytes: Vec<u8> = (0..8)
            .map(|place| u8::from_str_radix(&serial[2 * place..2 * place + 2], 16).unwrap())
            .collect();
        let der = Draft::v3(&subject, &key.spki, &subject)
            .edit(|draft| draft.serial = [&[0], bytes.as_slice()].concat())
            .sign(&key);
        let certificate = Certificate::from_der(&der).unwrap();
        let line = format!(
            "/C=US/ST=Virginia/L=Herndon/O=AWS/OU={unit}/CN=CloudHSM/emailAddress=cloudhsm-team@amazon.com"
        );
        assert_eq!(certificate.subject().compat(), line);
        assert_eq!(certificate.issuer().compat(), line);
        assert_eq!(certificate.serial(), serial);
        assert_eq!(certificate.subject().hash().as_deref(), Some(hash));
        assert!(certificate.is_self_issued());
    }
}

#[test]
fn a_comma_in_a_common_name_splits_nothing() {
    let key = Key::new(Kind::P256);
    let der = Draft::v1(&hsm_name("5.3G1953-ICM001225"), &key.spki, &cn("customerCA")).sign(&key);
    let certificate = Certificate::from_der(&der).unwrap();
    assert_eq!(
        certificate.subject().common_name().as_deref(),
        Some("HSM:5.3G1953-ICM001225:PARTN:1, for FIPS mode")
    );
    assert_eq!(
        certificate.subject().one_line(),
        "C = US + L = SanJose + O = Cavium + ST = CA + OU = N3FIPS, CN = \"HSM:5.3G1953-ICM001225:PARTN:1, for FIPS mode\""
            .replace("C = US + L = SanJose + O = Cavium + ST = CA + OU = N3FIPS", &first_part(&certificate))
    );
    assert_eq!(certificate.subject().one_line().matches(" + ").count(), 4);
}

/// The attributes of a SET OF stand in the order of their encodings, which is not alphabetical.
fn first_part(certificate: &Certificate<'_>) -> String {
    certificate.subject().one_line().split(", CN").next().unwrap().to_owned()
}

#[test]
fn names_hashes_and_serials_agree_with_openssl() {
    if !have("openssl") {
        return;
    }
    let scratch = Scratch::new("names");
    let key = Key::new(Kind::P256);
    let mut compared = 0;
    for (number, subject) in subjects().iter().enumerate() {
        let der = Draft::v1(subject, &key.spki, &seed_name("AWS Cryptography"))
            .edit(|draft| draft.serial = SERIALS[number % SERIALS.len()].to_vec())
            .sign(&key);
        let path = scratch.0.join("one.pem");
        std::fs::write(&path, certificate_pem(&der)).unwrap();
        let path = path.to_str().unwrap();
        let certificate = Certificate::from_der(&der).unwrap();
        let ours = |subject: String, issuer: String| {
            format!("subject={subject}\nissuer={issuer}\nserial={}\n", certificate.serial())
        };
        let common = ["x509", "-in", path, "-noout", "-subject", "-issuer", "-serial"];
        assert_eq!(
            format!(
                "{}{}\n",
                ours(certificate.subject().compat(), certificate.issuer().compat()),
                certificate.subject().hash().unwrap_or_default()
            ),
            openssl(&[&common[..], &["-subject_hash", "-nameopt", "compat"]].concat())
        );
        assert_eq!(
            ours(certificate.subject().one_line(), certificate.issuer().one_line()),
            openssl(&[&common[..], &["-nameopt", "oneline"]].concat())
        );
        compared += 1;
    }
    println!("{compared} subjects agree with openssl");
    assert!(compared >= 50);
}

#[test]
fn what_a_certificate_says() {
    let ca = Key::new(Kind::P256);
    for (kind, expected) in [
        (Kind::P256, KeyKind::Ec("P-256")),
        (Kind::P384, KeyKind::Ec("P-384")),
        #[cfg(feature = "aws-lc-rs")]
        (Kind::P521, KeyKind::Ec("P-521")),
        (Kind::Ed25519, KeyKind::Ed25519),
        (Kind::Rsa2048, KeyKind::Rsa(2048)),
        (Kind::Rsa4096, KeyKind::Rsa(4096)),
    ] {
        let key = Key::new(kind);
        let der = Draft::v3(&cn("a"), &key.spki, &cn("b"))
            .with(dns_name("hsm.example"))
            .with(extension("2.5.29.14", false, &tlv(0x04, &[0xab, 0xcd])))
            .with(extension("2.5.29.35", false, &seq(&[&tlv(0x80, &[0x12, 0x34])])))
            .sign(&ca);
        let certificate = Certificate::from_der(&der).unwrap();
        assert_eq!(certificate.key(), expected);
        assert_eq!(certificate.version(), 3);
        assert_eq!(certificate.subject_alt_names(), ["DNS:hsm.example"]);
        assert_eq!(certificate.subject_key_id().as_deref(), Some("ABCD"));
        assert_eq!(certificate.authority_key_id().as_deref(), Some("1234"));
        assert_eq!(certificate.validity(), "2020-01-01T00:00:00Z to 2030-01-01T00:00:00Z");
        assert_eq!(certificate.spki().as_ref(), key.spki);
    }
}

#[test]
fn every_kind_of_alternative_name_is_told() {
    let ca = Key::new(Kind::P256);
    let mut v6 = [0; 16];
    (v6[0], v6[1], v6[15]) = (0x20, 0x01, 0x07);
    let names: [(u8, &[u8], &str); 9] = [
        (0x81, b"who@hsm.example", "email:who@hsm.example"),
        (0x82, b"hsm.example", "DNS:hsm.example"),
        // It may end on a terminal.
        (0x82, b"\x1b[2Jhsm", "DNS:\\x1b[2Jhsm"),
        (0x86, b"https://hsm.example/", "URI:https://hsm.example/"),
        (0x87, &[10, 1, 2, 3], "IP:10.1.2.3"),
        (0x87, &v6, "IP:2001::7"),
        (0x87, &[10, 1, 2], "IP:0A0102"),
        (0x88, &[0x2a, 0x03], "other:88:2A03"),
        (0xa4, &[0x30, 0x00], "other:a4:3000"),
    ];
    let parts: Vec<Vec<u8>> = names.iter().map(|(tag, value, _)| tlv(*tag, value)).collect();
    let der = Draft::v3(&cn("a"), &ca.spki, &cn("b"))
        .with(extension("2.5.29.17", false, &tlv(0x30, &parts.concat())))
        .sign(&ca);
    let certificate = Certificate::from_der(&der).unwrap();
    assert_eq!(certificate.subject_alt_names(), names.map(|(_, _, told)| told));
}
