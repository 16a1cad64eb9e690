//! Every finding about a client directory: one file changed, the findings it must give.

use std::fs;

use nested_tls::identity::Problem;
use nested_tls::identity::cloudhsm::ClientPaths;
use nested_tls::identity::examine::{Examination, Finding, Severity};

use crate::cloudhsm::{Cluster, cluster};
use crate::forge::{
    Draft, Key, Kind, basic_constraints, certificate_pem, cn, hsm_name, now, pem, provider,
    seed_name,
};

fn examine(cluster: &Cluster) -> Vec<Finding> {
    let examination = Examination::new(provider(), now())
        .default_client(cluster.default_client.clone())
        .cluster_certificate(cluster.cluster_certificate.clone(), "cluster.crt");
    examination.run(&ClientPaths::in_directory(&cluster.directory.0))
}

/// Findings other than notes, as severity, problem and the end of the file's name.
fn troubles(findings: &[Finding]) -> Vec<(Severity, Problem, String)> {
    let mut out = Vec::new();
    for Finding { severity, error, .. } in findings {
        assert!(
            !error.expected().is_empty() && !error.found().is_empty() && !error.remedy().is_empty()
        );
        if *severity > Severity::Note {
            let file = error.file().unwrap().rsplit('/').next().unwrap().to_owned();
            out.push((*severity, error.problem(), file));
        }
    }
    out
}

#[test]
fn nothing_wrong_gives_notes_only() {
    let cluster = cluster("examine-good");
    let findings = examine(&cluster);
    assert_eq!(troubles(&findings), []);
    // The client's and the cluster's certificates are of version 1, as openssl x509 -req makes them.
    let notes: Vec<_> = findings.iter().map(|finding| finding.error.problem()).collect();
    assert_eq!(notes, [Problem::Version, Problem::Version]);
}

#[test]
fn one_file_changed() {
    use Severity::{Failure, Warning};
    let key = Key::new(Kind::P256);
    let secret = pem("PRIVATE KEY", key.private().secret_der());
    let name = seed_name("AWS Cryptography");
    let host = Draft::authority(&name, &key);
    let issued_host = Draft::v3(&name, &key.spki, &cn("someone")).sign(&key);
    let namesake_host = Draft::v3(&name, &key.spki, &name).sign(&Key::new(Kind::P256));
    let other_ca = Draft::authority(&cn("customerCA"), &key);
    let selfie = Draft::v1(&cn("mine"), &key.spki, &cn("mine"));
    let orphan = Draft::v1(&cn("mine"), &key.spki, &cn("unknown CA")).sign(&key);
    let both = |certificate: &str, key: &str| {
        vec![("client.crt", certificate.to_owned()), ("client.key", key.to_owned())]
    };
    let host_file = |draft: Draft| vec![("certs/21a10654.0", certificate_pem(&draft.sign(&key)))];
    let ca_file = |draft: Draft| vec![("customerCA.crt", certificate_pem(&draft.sign(&key)))];
    type Row<'a> = (&'a str, Vec<(&'a str, String)>, Vec<(Severity, Problem, &'a str)>);
    let rows: Vec<Row<'_>> = vec![
        (
            "wrong hash name",
            vec![("certs/deadbeef.0", certificate_pem(&host.sign(&key)))],
            vec![(Warning, Problem::HashName, "deadbeef.0")],
        ),
        (
            "unreadable entry",
            vec![("certs/00000000.0", "text".into())],
            vec![(Warning, Problem::NoCertificate, "00000000.0")],
        ),
        (
            "expired host",
            host_file(host.clone().edit(|d| d.not_after = "20260101000000Z")),
            vec![(Failure, Problem::Expired, "21a10654.0")],
        ),
        (
            "host expires soon",
            host_file(host.clone().edit(|d| d.not_after = "20261201000000Z")),
            vec![(Warning, Problem::ExpiresSoon, "21a10654.0")],
        ),
        (
            "host not self-signed",
            vec![("certs/21a10654.0", certificate_pem(&issued_host))],
            vec![(Warning, Problem::SelfSigned, "21a10654.0")],
        ),
        (
            "host signed by a namesake",
            vec![("certs/21a10654.0", certificate_pem(&namesake_host))],
            vec![(Warning, Problem::SelfSigned, "21a10654.0")],
        ),
        (
            "key of another certificate",
            vec![("client.key", secret.clone())],
            vec![(Failure, Problem::KeyMismatch, "client.key")],
        ),
        (
            "encrypted key",
            vec![("client.key", pem("ENCRYPTED PRIVATE KEY", b"x"))],
            vec![(Failure, Problem::EncryptedKey, "client.key")],
        ),
        (
            "certificate in the key's file",
            vec![("client.key", certificate_pem(&orphan))],
            vec![(Failure, Problem::NoKey, "client.key")],
        ),
        (
            "key in the certificate's file",
            vec![("client.crt", secret.clone())],
            vec![
                (Warning, Problem::StrayKey, "client.crt"),
                (Failure, Problem::NoCertificate, "client.crt"),
            ],
        ),
        (
            "neither default nor issued",
            both(&certificate_pem(&selfie.sign(&key)), &secret),
            vec![(Failure, Problem::NoRule, "client.crt")],
        ),
        (
            "chain incomplete",
            both(&certificate_pem(&orphan), &secret),
            vec![
                (Warning, Problem::Incomplete, "client.crt"),
                (Failure, Problem::NoRule, "client.crt"),
            ],
        ),
        (
            "expired client",
            both(
                &certificate_pem(&selfie.edit(|d| d.not_after = "20260101000000Z").sign(&key)),
                &secret,
            ),
            vec![
                (Failure, Problem::Expired, "client.crt"),
                (Failure, Problem::NoRule, "client.crt"),
            ],
        ),
        (
            "customerCA of another cluster",
            ca_file(other_ca.clone()),
            vec![(Failure, Problem::Signature, "customerCA.crt")],
        ),
        (
            "customerCA of another name",
            ca_file(Draft::authority(&cn("other"), &key)),
            vec![(Failure, Problem::Issuer, "customerCA.crt")],
        ),
        (
            "CA that is none",
            ca_file(
                Draft::v3(&cn("customerCA"), &key.spki, &cn("customerCA"))
                    .with(basic_constraints(false)),
            ),
            vec![(Failure, Problem::Authority, "customerCA.crt")],
        ),
        (
            "CA without constraints",
            ca_file(Draft::v3(&cn("customerCA"), &key.spki, &cn("customerCA"))),
            vec![
                (Warning, Problem::Authority, "customerCA.crt"),
                (Failure, Problem::Signature, "customerCA.crt"),
            ],
        ),
        (
            "key in the CA's file",
            vec![("customerCA.crt", secret.clone())],
            vec![
                (Warning, Problem::StrayKey, "customerCA.crt"),
                (Failure, Problem::NoCertificate, "customerCA.crt"),
            ],
        ),
    ];
    let cluster = cluster("examine-rows");
    for (changed, files, expected) in &rows {
        let before: Vec<_> =
            files.iter().map(|(file, _)| fs::read(cluster.directory.0.join(file)).ok()).collect();
        for (file, text) in files {
            cluster.write(file, text);
        }
        let findings = examine(&cluster);
        let expected: Vec<_> =
            expected.iter().map(|(s, p, file)| (*s, *p, (*file).to_owned())).collect();
        assert_eq!(troubles(&findings), expected, "{changed}: {findings:#?}");
        for ((file, _), before) in files.iter().zip(before) {
            match before {
                Some(before) => cluster.write(file, before),
                None => fs::remove_file(cluster.directory.0.join(file)).unwrap(),
            }
        }
    }
    println!("{} rows", rows.len());
}

#[test]
fn without_the_default_certificate_origin_is_a_warning() {
    let cluster = cluster("examine-default");
    let paths = ClientPaths::in_directory(&cluster.directory.0);
    let findings = Examination::new(provider(), now()).run(&paths);
    assert_eq!(
        troubles(&findings),
        [(Severity::Warning, Problem::NoRule, "client.crt".to_owned())]
    );
}

#[test]
fn a_missing_directory_is_reported_file_by_file() {
    let paths = ClientPaths::in_directory("/nonexistent/cloudhsm/etc");
    let findings = Examination::new(provider(), now()).run(&paths);
    let seen: Vec<_> =
        troubles(&findings).into_iter().map(|(_, problem, file)| (problem, file)).collect();
    let expected = ["certs", "customerCA.crt", "client.crt", "client.key"];
    assert_eq!(seen, expected.map(|file| (Problem::File, file.to_owned())));
}

#[cfg(unix)]
#[test]
fn a_key_that_others_may_read() {
    use std::os::unix::fs::PermissionsExt;

    let cluster = cluster("examine-mode");
    let path = cluster.directory.0.join("client.key");
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    let findings = examine(&cluster);
    assert_eq!(
        troubles(&findings),
        [(Severity::Warning, Problem::FileMode, "client.key".to_owned())]
    );
}

#[test]
fn a_chain_that_ends_at_customer_ca_is_complete() {
    let cluster = cluster("examine-chain");
    let (middle, key) = (Key::new(Kind::P256), Key::new(Kind::P256));
    let intermediate = Draft::v3(&cn("middle"), &middle.spki, &cn("customerCA"))
        .with(basic_constraints(true))
        .sign(&cluster.customer);
    let leaf = Draft::v3(&hsm_name("leaf"), &key.spki, &cn("middle")).sign(&middle);
    cluster.write("client.key", pem("PRIVATE KEY", key.private().secret_der()));
    for (certificates, complete) in [(vec![&leaf, &intermediate], true), (vec![&leaf], false)] {
        let text: String = certificates.iter().map(|der| certificate_pem(der)).collect();
        cluster.write("client.crt", text);
        let is_incomplete = troubles(&examine(&cluster))
            .iter()
            .any(|(_, problem, _)| *problem == Problem::Incomplete);
        assert_eq!(is_incomplete, !complete);
    }
}
