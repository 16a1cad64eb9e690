//! `verify-hsm`: the documents of an HSM in the files that AWS' guide makes, and the pin in a live connection.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::forge::{
    Draft, Key, Kind, basic_constraints, certificate_pem, cn, hsm_name, pem, request,
};
use crate::support::{OUTER_CLIENT, OUTER_SERVER, Server, directory, run};

/// An HSM's documents; the manufacturer's root is of version 1 and has expired.
struct Device {
    path: PathBuf,
    hsm: Key,
}

impl Device {
    fn new(name: &str) -> Self {
        let path = directory(name);
        let (aws, manufacturer) = (Key::new(Kind::P256), Key::new(Kind::Rsa2048));
        let (hardware, hsm) = (Key::new(Kind::P384), Key::new(Kind::P256));
        let long = |draft: Draft| draft.edit(|draft| draft.not_after = "20990101000000Z");
        let of_manufacturer = cn("localca.liquidsecurity");
        let root = Draft::v1(&of_manufacturer, &manufacturer.spki, &of_manufacturer)
            .edit(|draft| draft.not_after = "20251116000000Z")
            .sign(&manufacturer);
        let aws_name = cn("AWS CloudHSM Root G1");
        let aws_root = long(Draft::authority(&aws_name, &aws)).sign(&aws);
        let device = hsm_name("hardware");
        let aws_hardware =
            long(Draft::v3(&device, &hardware.spki, &aws_name).with(basic_constraints(true)))
                .sign(&aws);
        let manufacturer_hardware =
            long(Draft::v1(&device, &hardware.spki, &of_manufacturer)).sign(&manufacturer);
        let partition = long(Draft::v3(&hsm_name("x"), &hsm.spki, &device)).sign(&hardware);
        for (file, der) in [
            ("cluster-abc_HsmCertificate.crt", &partition),
            ("cluster-abc_AwsHardwareCertificate.crt", &aws_hardware),
            ("cluster-abc_ManufacturerHardwareCertificate.crt", &manufacturer_hardware),
            ("AWS_CloudHSM_Root-G1.crt", &aws_root),
            ("liquid_security_certificate.crt", &root),
        ] {
            fs::write(path.join(file), certificate_pem(der)).unwrap();
        }
        let csr = request(&hsm_name("x"), &hsm.spki, &hsm);
        fs::write(path.join("cluster-abc_ClusterCsr.csr"), pem("CERTIFICATE REQUEST", &csr))
            .unwrap();
        Self { path, hsm }
    }

    fn file(&self, name: &str) -> String {
        self.path.join(name).to_str().unwrap().to_owned()
    }

    fn verify(&self, more: &[&str]) -> crate::support::Run {
        let mut arguments = vec!["verify-hsm", "--dir", self.path.to_str().unwrap()];
        arguments.extend(more);
        run(&arguments, b"")
    }
}

#[test]
fn the_pin_of_a_verified_hsm_is_the_live_ones() {
    let device = Device::new("verify");
    device.verify(&[]).ends(
        1,
        &[
            "expired certificate",
            "2025-11-16",
            "liquid_security_certificate.crt",
            "--ignore-root-expiry",
        ],
    );
    let verified = device.verify(&["--ignore-root-expiry"]);
    let text = verified.ends(0, &[]).text();
    assert_eq!(text.matches("was signed by").count(), 4, "{text}");
    for words in [
        "cluster-abc_ClusterCsr.csr was made with the key of",
        "note: expired at 2025-11-16",
        "note: version 1",
        "the HSM's identity is verified",
    ] {
        assert!(text.contains(words), "{words:?} is not in {text}");
    }
    let pin = text.lines().last().unwrap().strip_prefix("--inner-pin-spki ").unwrap();
    let json = device.verify(&["--ignore-root-expiry", "--json"]);
    let value: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(value["inner_pin_spki"], pin);
    assert_eq!(value["steps"].as_array().unwrap().len(), 5);
    let inspected = run(&["inspect", &device.file("cluster-abc_HsmCertificate.crt")], b"");
    assert!(inspected.text().contains(&format!("SHA-256 of the key {pin}\n")));

    // The cluster's certificate is about the same key, and its server holds it.
    let customer = Key::new(Kind::Rsa2048);
    let serve = |name: &str, key: &Key| {
        let der = Draft::v1(&hsm_name("x"), &key.spki, &cn("customerCA"))
            .edit(|draft| draft.not_after = "20990101000000Z")
            .sign(&customer);
        let (certificate, private) = (format!("{name}.crt"), format!("{name}.key"));
        fs::write(device.file(&certificate), certificate_pem(&der)).unwrap();
        fs::write(device.file(&private), pem("PRIVATE KEY", key.private().secret_der())).unwrap();
        let (certificate, private) = (device.file(&certificate), device.file(&private));
        let inner = ["--inner-cert", &certificate, "--inner-key", &private];
        Server::start(&[&["serve", "--echo"], &OUTER_SERVER[..], &inner].concat())
    };
    let connect = |server: &Server| {
        let inner = ["--inner-pin-spki", pin, "-q"];
        run(&[&["connect", &server.address], &OUTER_CLIENT[..], &inner].concat(), b"attested")
    };
    let good = serve("cluster-abc_CustomerHsmCertificate", &device.hsm);
    assert_eq!(connect(&good).ends(0, &[]).text(), "attested");
    let also = device.verify(&["--ignore-root-expiry"]);
    assert!(also.ends(0, &[]).text().contains("CustomerHsmCertificate.crt has that key, too"));
    let other = serve("other", &Key::new(Kind::P256));
    connect(&other).ends(5, &["inner TLS", "certificate not pinned", pin]);
    device
        .verify(&["--ignore-root-expiry", "--cluster-cert", &device.file("other.crt")])
        .ends(1, &["different public keys", pin, "other.crt"]);
}

#[test]
fn what_is_not_verified() {
    let (device, other) = (Device::new("verify-bad"), Device::new("verify-other"));
    let csr = other.file("cluster-abc_ClusterCsr.csr");
    let hardware = other.file("cluster-abc_AwsHardwareCertificate.crt");
    let root = device.file("liquid_security_certificate.crt");
    let text = device.file("text");
    fs::write(&text, "text").unwrap();
    let rows: [(&[&str], i32, &[&str]); 5] = [
        (&["--cluster-csr", &csr], 1, &["different public keys", "ClusterCsr.csr"]),
        (&["--aws-hardware", &hardware], 1, &["wrong signature", "HsmCertificate.crt"]),
        (&["--aws-root", &root], 1, &["unknown issuer", "AwsHardwareCertificate.crt"]),
        (&["--hsm", &text], 2, &["no PEM block", "text"]),
        (&["--hsm", "absent"], 2, &["--hsm", "no such file", "absent"]),
    ];
    for (more, status, words) in rows {
        let run = device.verify(&[more, &["--ignore-root-expiry"]].concat());
        run.ends(status, words);
        assert_eq!(run.text(), "");
    }
    run(&["verify-hsm", "--dir", "absent"], b"").ends(2, &["--dir can't be read", "absent"]);
    // All that is missing is said at once.
    let options = ["--cluster-csr, --hsm, --aws-hardware,", "--manufacturer-root", "--dir"];
    run(&["verify-hsm"], b"")
        .ends(2, &["there is no ClusterCsr, no HsmCertificate, no Aws"])
        .ends(2, &options);
    let copy = device.file("cluster-def_HsmCertificate.crt");
    fs::copy(device.file("cluster-abc_HsmCertificate.crt"), copy).unwrap();
    device.verify(&[]).ends(2, &["several files are called HsmCertificate", "cluster-def_"]);
    fs::remove_file(device.file("AWS_CloudHSM_Root-G1.crt")).unwrap();
    let hsm = device.file("cluster-abc_HsmCertificate.crt");
    device.verify(&["--hsm", &hsm]).ends(2, &["there is no AWS_CloudHSM_Root-G1", "--aws-root"]);
}
