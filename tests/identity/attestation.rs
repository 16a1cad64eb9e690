//! Verify HSM identity, with chains of the real shapes.

use nested_tls::identity::attestation::{Document, Evidence};
use nested_tls::identity::{Note, Peer, Pinned, Presented, Problem, Request, Rule, TimePolicy};
use rustls::pki_types::ServerName;

use crate::forge::{
    Draft, Key, Kind, basic_constraints, bits, cn, extension, hsm_name, now, provider, request, seq,
};

/// A device whose documents are all right; the manufacturer's root is of version 1 and has expired.
struct Device {
    hsm: Key,
    hardware: Key,
    manufacturer: Key,
    evidence: Evidence,
}

fn device() -> Device {
    let (aws, manufacturer) = (Key::new(Kind::P256), Key::new(Kind::Rsa2048));
    let (hardware, hsm) = (Key::new(Kind::P384), Key::new(Kind::P256));
    let aws_root = Draft::authority(&cn("AWS CloudHSM Root G1"), &aws).sign(&aws);
    let manufacturer_root =
        Draft::v1(&cn("localca.liquidsecurity"), &manufacturer.spki, &cn("localca.liquidsecurity"))
            .edit(|draft| draft.not_after = "20251116000000Z")
            .sign(&manufacturer);
    // One device, one key, one subject: certified twice.
    let aws_hardware =
        Draft::v3(&hsm_name("hardware"), &hardware.spki, &cn("AWS CloudHSM Root G1"))
            .with(basic_constraints(true))
            .sign(&aws);
    let manufacturer_hardware =
        Draft::v1(&hsm_name("hardware"), &hardware.spki, &cn("localca.liquidsecurity"))
            .sign(&manufacturer);
    let partition =
        Draft::v3(&hsm_name("5.3G1953"), &hsm.spki, &hsm_name("hardware")).sign(&hardware);
    let csr = request(&hsm_name("5.3G1953"), &hsm.spki, &hsm);
    let document = |name: &str, der: &[u8]| Document::from_der(name, der);
    let evidence = Evidence {
        hsm: document("HsmCertificate", &partition),
        aws_hardware: document("AwsHardwareCertificate", &aws_hardware),
        manufacturer_hardware: document("ManufacturerHardwareCertificate", &manufacturer_hardware),
        cluster_csr: document("ClusterCsr", &csr),
        aws_root: document("AWS_CloudHSM_Root-G1.crt", &aws_root),
        manufacturer_root: document("liquid_security_certificate.crt", &manufacturer_root),
    };
    Device { hsm, hardware, manufacturer, evidence }
}

#[test]
fn the_expired_root_is_accepted_on_request_and_reported() {
    let device = device();
    let error = device.evidence.verify(TimePolicy::Strict, now(), &provider()).unwrap_err();
    assert_eq!(error.problem(), Problem::Expired);
    assert_eq!(error.file(), Some("liquid_security_certificate.crt"));
    assert!(error.found().contains("2025-11-16"), "{error}");

    let attested = device.evidence.verify(TimePolicy::IgnoreExpiry, now(), &provider()).unwrap();
    assert_eq!(attested.spki.as_ref(), device.hsm.spki);
    assert_eq!(attested.spki_sha256(&provider()).unwrap().len(), 64);
    let steps: Vec<_> =
        attested.steps.iter().map(|step| (step.what.as_str(), step.by.as_str())).collect();
    assert_eq!(
        steps,
        [
            ("HsmCertificate", "AwsHardwareCertificate"),
            ("AwsHardwareCertificate", "AWS_CloudHSM_Root-G1.crt"),
            ("HsmCertificate", "ManufacturerHardwareCertificate"),
            ("ManufacturerHardwareCertificate", "liquid_security_certificate.crt"),
            ("ClusterCsr", "HsmCertificate"),
        ]
    );
    let notes = |place: usize| attested.steps[place].notes.as_slice();
    assert_eq!(notes(2), [Note::VersionOne]);
    assert!(matches!(notes(3), [Note::Expired { .. }, Note::VersionOne]), "{:?}", notes(3));
}

#[test]
fn the_cluster_certificate_has_the_same_key() {
    let device = device();
    let attested = device.evidence.verify(TimePolicy::IgnoreExpiry, now(), &provider()).unwrap();
    let customer = Key::new(Kind::Rsa2048);
    let cluster = |key: &Key| {
        let der = Draft::v1(&hsm_name("5.3G1953"), &key.spki, &cn("customerCA")).sign(&customer);
        Document::from_der("ClusterCertificate", der.to_vec())
    };
    attested.check_cluster_certificate(&cluster(&device.hsm), &provider()).unwrap();
    let error =
        attested.check_cluster_certificate(&cluster(&device.hardware), &provider()).unwrap_err();
    assert_eq!((error.problem(), error.file()), (Problem::PublicKeys, Some("ClusterCertificate")));
}

#[test]
fn the_pin_admits_the_attested_key_alone() {
    let device = device();
    let attested = device.evidence.verify(TimePolicy::IgnoreExpiry, now(), &provider()).unwrap();
    let rule = Pinned::new([attested.pin()], provider()).unwrap();
    let customer = Key::new(Kind::P256);
    let name = ServerName::try_from("hsm.example").unwrap();
    let judge = |key: &Key| {
        let leaf = Draft::v1(&hsm_name("5.3G1953"), &key.spki, &cn("customerCA")).sign(&customer);
        let (leaf, peer) = (&leaf, Peer::Server);
        rule.judge(&Presented { leaf, chain: &[], peer, name: Some(&name), now: now() })
    };
    assert_eq!(judge(&device.hsm).unwrap().file.as_deref(), Some("HsmCertificate"));
    assert_eq!(judge(&device.hardware).unwrap_err().problem(), Problem::Pin);
}

/// One document exchanged, one error, in the file it is about.
#[test]
fn one_document_wrong() {
    let good = device();
    let other = device();
    let stranger = Key::new(Kind::P256);
    let document = |name: &str, der: &[u8]| Document::from_der(name, der);
    let hardware = |change: &dyn Fn(&mut Draft)| {
        Draft::v1(&hsm_name("hardware"), &good.hardware.spki, &cn("localca.liquidsecurity"))
            .edit(change)
            .sign(&good.manufacturer)
            .to_vec()
    };
    let hsm = |change: &dyn Fn(&mut Draft)| {
        Draft::v3(&hsm_name("5.3G1953"), &good.hsm.spki, &hsm_name("hardware"))
            .edit(change)
            .sign(&good.hardware)
            .to_vec()
    };
    let mut broken_csr = request(&hsm_name("5.3G1953"), &good.hsm.spki, &good.hsm);
    *broken_csr.last_mut().unwrap() ^= 1;
    let no_authority = basic_constraints(false);
    let critical = extension("1.2.3.4", true, &[5, 0]);
    type Change<'a> = Box<dyn Fn(&mut Evidence) + 'a>;
    let rows: Vec<(&str, Change<'_>, Problem, &str)> = vec![
        (
            "another device's request",
            Box::new(|e| e.cluster_csr = other.evidence.cluster_csr.clone()),
            Problem::PublicKeys,
            "ClusterCsr",
        ),
        (
            "request signed by another key",
            Box::new(|e| {
                e.cluster_csr =
                    document("ClusterCsr", &request(&cn("x"), &good.hsm.spki, &stranger))
            }),
            Problem::Signature,
            "ClusterCsr",
        ),
        (
            "request with a wrong signature",
            Box::new(|e| e.cluster_csr = document("ClusterCsr", &broken_csr)),
            Problem::Signature,
            "ClusterCsr",
        ),
        (
            "no request",
            Box::new(|e| e.cluster_csr = document("ClusterCsr", b"")),
            Problem::Encoding,
            "ClusterCsr",
        ),
        (
            "another device's hardware",
            Box::new(|e| e.aws_hardware = other.evidence.aws_hardware.clone()),
            Problem::Signature,
            "HsmCertificate",
        ),
        (
            "another root of that name",
            Box::new(|e| e.aws_root = other.evidence.aws_root.clone()),
            Problem::Signature,
            "AwsHardwareCertificate",
        ),
        (
            "the other root",
            Box::new(|e| e.aws_root = good.evidence.manufacturer_root.clone()),
            Problem::Issuer,
            "AwsHardwareCertificate",
        ),
        (
            "expired hardware",
            Box::new(|e| {
                e.manufacturer_hardware =
                    document("M", &hardware(&|d| d.not_after = "20260101000000Z"))
            }),
            Problem::Expired,
            "M",
        ),
        (
            "hardware not yet valid",
            Box::new(|e| {
                e.manufacturer_hardware =
                    document("M", &hardware(&|d| d.not_before = "20270101000000Z"))
            }),
            Problem::NotYetValid,
            "M",
        ),
        (
            "extensions in version 1",
            Box::new(|e| {
                e.manufacturer_hardware =
                    document("M", &hardware(&|d| d.extensions.push(no_authority.clone())))
            }),
            Problem::VersionOneExtensions,
            "M",
        ),
        (
            "hardware that says CA:FALSE",
            Box::new(|e| {
                e.manufacturer_hardware = document(
                    "M",
                    &hardware(&|d| {
                        d.version = Some(2);
                        d.extensions.push(no_authority.clone())
                    }),
                )
            }),
            Problem::Authority,
            "M",
        ),
        (
            "hardware of version 3 that does not say what it is",
            Box::new(|e| {
                e.manufacturer_hardware = document("M", &hardware(&|d| d.version = Some(2)))
            }),
            Problem::Authority,
            "M",
        ),
        (
            "expired HSM certificate",
            Box::new(|e| e.hsm = document("H", &hsm(&|d| d.not_after = "20260101000000Z"))),
            Problem::Expired,
            "H",
        ),
        (
            "unknown critical extension",
            Box::new(|e| e.hsm = document("H", &hsm(&|d| d.extensions.push(critical.clone())))),
            Problem::CriticalExtension,
            "H",
        ),
        (
            "version 2",
            Box::new(|e| e.hsm = document("H", &hsm(&|d| d.version = Some(1)))),
            Problem::Version,
            "H",
        ),
    ];
    for (broken, change, problem, file) in &rows {
        let mut evidence = good.evidence.clone();
        change(&mut evidence);
        let error = evidence.verify(TimePolicy::IgnoreExpiry, now(), &provider()).unwrap_err();
        assert_eq!((error.problem(), error.file()), (*problem, Some(*file)), "{broken}: {error}");
    }
    println!("{} rows", rows.len());
}

#[test]
fn requests() {
    let key = Key::new(Kind::P256);
    let der = request(&hsm_name("x"), &key.spki, &key);
    let request = Request::from_der(&der).unwrap();
    request.verify(&provider()).unwrap();
    assert_eq!(request.key().to_string(), "EC P-256");
    assert!(request.subject().compat().contains("HSM:x:PARTN:1, for FIPS mode"));
    for length in 0..der.len() {
        assert!(Request::from_der(&der[..length]).is_err());
    }
    assert!(Request::from_der(&[&der[..], &[0]].concat()).is_err());
    // Without attributes, as some makers write it.
    let info = seq(&[&[2, 1, 0], &cn("x"), &key.spki]);
    let bare = seq(&[&info, &key.algorithm(), &bits(&key.sign(&info))]);
    Request::from_der(&bare).unwrap().verify(&provider()).unwrap();
}
