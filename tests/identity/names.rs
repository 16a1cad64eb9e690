//! Names, serial numbers and hashes, with OpenSSL as the judge where it is installed.

use std::path::PathBuf;
use std::process::Command;

use nested_tls::identity::{Certificate, KeyKind};

use crate::forge::{
    BMP, Draft, IA5, Key, Kind, NUMERIC, PRINTABLE, T61, UNIVERSAL, UTF8, attribute,
    certificate_pem, cn, dns_name, extension, hsm_name, name, seed_name, seq, tlv,
};
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

/// Every string type that OpenSSL reads in a name (VisibleString is none), with spaces, case, signs that are escaped, and several attributes in one part.
fn subjects() -> Vec<Vec<u8>> {
    let wide =
        |text: &str| text.chars().flat_map(|c| (c as u16).to_be_bytes()).collect::<Vec<u8>>();
    let wider =
        |text: &str| text.chars().flat_map(|c| (c as u32).to_be_bytes()).collect::<Vec<u8>>();
    let texts = [
        "plain",
        "MiXed CaSe",
        "  outer   and  inner spaces ",
        " ",
        "a,b+c\"d\\e<f>g;h=i#j/k",
        "#begins with a hash",
        "ends with a space ",
        "tab\tand\nnewline\r\x0b\x0cend",
        "control \x01\x7f end",
    ];
    let mut out =
        vec![seed_name("AWS Cryptography"), seed_name("Cryptography"), hsm_name("x"), name(&[])];
    for text in texts {
        for tag in [UTF8, PRINTABLE, T61, IA5, NUMERIC] {
            out.push(name(&[("2.5.4.6", PRINTABLE, b"US"), ("2.5.4.3", tag, text.as_bytes())]));
        }
        out.push(name(&[("2.5.4.3", BMP, &wide(text))]));
        out.push(name(&[("2.5.4.3", UNIVERSAL, &wider(text))]));
    }
    out.push(name(&[("2.5.4.3", UTF8, "Ünïcödé ÀÉ 日本 ẞ".as_bytes())]));
    out.push(name(&[("2.5.4.3", BMP, &wide("Ünïcödé 日本"))]));
    out.push(name(&[("2.5.4.3", UNIVERSAL, &wider("Ünïcödé 日本 𝄞"))]));
    out.push(name(&[("2.5.4.3", T61, b"caf\xe9 \xc0\xff")]));
    out.push(name(&[("2.5.4.3", UTF8, "\u{a0}no-break\u{a0}".as_bytes())]));
    for label in [
        "0.9.2342.19200300.100.1.1",
        "0.9.2342.19200300.100.1.25",
        "1.2.840.113549.1.9.2",
        "1.3.6.1.4.1.311.60.2.1.3",
        "2.5.4.4",
        "2.5.4.5",
        "2.5.4.9",
        "2.5.4.12",
        "2.5.4.13",
        "2.5.4.15",
        "2.5.4.17",
        "2.5.4.41",
        "2.5.4.42",
        "2.5.4.43",
        "2.5.4.44",
        "2.5.4.46",
        "2.5.4.65",
        "2.5.4.97",
        "1.2.3.4.5.6",
        "2.5.4.200",
    ] {
        out.push(name(&[(label, UTF8, b"Value"), ("2.5.4.3", UTF8, b"x")]));
    }
    // One part of several attributes whose order changes when their text is folded.
    let mut set = [
        attribute("2.5.4.3", UTF8, b"bB"),
        attribute("2.5.4.3", PRINTABLE, b"Aaaa"),
        attribute("2.5.4.3", T61, b"  a  "),
    ];
    set.sort();
    out.push(seq(&[&tlv(0x31, &set.concat()), &tlv(0x31, &attribute("2.5.4.10", UTF8, b"O"))]));
    // Long enough for lengths of two bytes.
    out.push(name(&[
        ("2.5.4.3", UTF8, "long ".repeat(60).as_bytes()),
        ("2.5.4.10", UTF8, "x".repeat(130).as_bytes()),
    ]));
    out
}

#[test]
fn names_hashes_and_serials_agree_with_openssl() {
    if !have("openssl") {
        return;
    }
    let scratch = Scratch::new("names");
    let key = Key::new(Kind::P256);
    let serials: [&[u8]; 7] = [
        &[0],
        &[1],
        &[0x7f],
        &[0x00, 0xb7, 0xfa, 0x7a, 0x40, 0x97, 0x6c, 0xbe, 0x82],
        &[0xb7, 0xfa, 0x7a, 0x40, 0x97, 0x6c, 0xbe, 0x82],
        &[0xff],
        &[0x0a, 0xbc, 0, 0],
    ];
    let mut compared = 0;
    for (number, subject) in subjects().iter().enumerate() {
        let der = Draft::v1(subject, &key.spki, &seed_name("AWS Cryptography"))
            .edit(|draft| draft.serial = serials[number % serials.len()].to_vec())
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
