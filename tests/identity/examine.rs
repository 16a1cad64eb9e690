//! Every finding about a client directory: one file changed, the findings it must give.

use std::fs;

use nested_tls::identity::Problem;
use nested_tls::identity::cloudhsm::ClientPaths;
use nested_tls::identity::examine::{Examination, Finding, Severity};

use crate::cloudhsm::{Cluster, cluster};
use crate::forge::{
    Draft, Key, Kind, SERVER_AUTH, basic_constraints, certificate_pem, cn, extension, hsm_name,
    now, oid, pem, provider, purpose, seed_name, seq, short_rsa_spki,
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
    let ca_file_by =
        |signer: &Key, draft: Draft| vec![("customerCA.crt", certificate_pem(&draft.sign(signer)))];
    let ca_file = |draft: Draft| ca_file_by(&key, draft);
    let cluster = cluster("examine-rows");
    let cluster_certificate = cluster.cluster_certificate.clone();
    let for_servers = Draft::v3(&cn("mine"), &key.spki, &cn("customerCA"))
        .with(purpose(SERVER_AUTH))
        .sign(&cluster.customer);
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
            "host not valid yet",
            host_file(host.clone().edit(|d| d.not_before = "20270101000000Z")),
            vec![(Failure, Problem::NotYetValid, "21a10654.0")],
        ),
        (
            "host not self-signed",
            vec![("certs/21a10654.0", certificate_pem(&issued_host))],
            vec![(Warning, Problem::SelfSigned, "21a10654.0")],
        ),
        (
            "host signed by a namesake",
            vec![("certs/21a10654.0", certificate_pem(&namesake_host))],
            vec![(Failure, Problem::SelfSigned, "21a10654.0")],
        ),
        (
            "host behind a gap",
            vec![("certs/21a10654.2", certificate_pem(&host.sign(&key)))],
            vec![(Warning, Problem::HashName, "21a10654.2")],
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
            "a stranger behind the client",
            both(&(certificate_pem(&orphan) + &certificate_pem(&cluster.default_client)), &secret),
            vec![
                (Warning, Problem::Incomplete, "client.crt"),
                (Failure, Problem::NoRule, "client.crt"),
            ],
        ),
        (
            "client issued for servers",
            both(&certificate_pem(&for_servers), &secret),
            vec![(Failure, Problem::Purpose, "client.crt")],
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
            "CA signed by a namesake",
            ca_file_by(&Key::new(Kind::P256), Draft::authority(&cn("customerCA"), &key)),
            vec![
                (Failure, Problem::SelfSigned, "customerCA.crt"),
                (Failure, Problem::Signature, "customerCA.crt"),
            ],
        ),
        (
            "the cluster's certificate in the CA's file",
            vec![("customerCA.crt", certificate_pem(&cluster_certificate))],
            vec![
                (Warning, Problem::SelfSigned, "customerCA.crt"),
                (Failure, Problem::Issuer, "customerCA.crt"),
            ],
        ),
        (
            "CA of a few bits",
            ca_file(Draft::authority(&cn("customerCA"), &key).edit(|d| d.spki = short_rsa_spki())),
            vec![
                (Failure, Problem::SelfSigned, "customerCA.crt"),
                (Failure, Problem::WeakKey, "customerCA.crt"),
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
        let expected: &[Problem] = match complete {
            true => &[],
            false => &[Problem::Incomplete, Problem::NoRule],
        };
        let found: Vec<_> = troubles(&examine(&cluster)).into_iter().map(|(_, p, _)| p).collect();
        assert_eq!(found, expected);
    }
}

/// Certificates of old hosts are signed with what nobody checks any more; what is pinned does not need it.
#[test]
fn a_host_with_a_signature_that_nobody_can_check() {
    let cluster = cluster("examine-old");
    let (key, name) = (Key::new(Kind::P256), seed_name("AWS Cryptography"));
    let sha1 = seq(&[&oid("1.2.840.10045.4.1")]);
    let old = Draft::authority(&name, &key).edit(|d| {
        d.inner_algorithm = Some(sha1.clone());
        d.outer_algorithm = Some(sha1);
    });
    cluster.write("certs/21a10654.0", certificate_pem(&old.sign(&key)));
    let findings = examine(&cluster);
    assert_eq!(troubles(&findings), []);
    let first = findings.first().unwrap();
    assert_eq!((first.severity, first.error.problem()), (Severity::Note, Problem::WeakAlgorithm));
}

#[test]
fn an_authority_may_stand_before_its_root() {
    let cluster = cluster("examine-root");
    let root = Key::new(Kind::P256);
    let issuing = Draft::v3(&cn("customerCA"), &cluster.customer.spki, &cn("root"))
        .with(basic_constraints(true))
        .sign(&root);
    let root = Draft::authority(&cn("root"), &root).sign(&root);
    cluster.write("customerCA.crt", certificate_pem(&issuing) + &certificate_pem(&root));
    assert_eq!(troubles(&examine(&cluster)), []);
    cluster.write("customerCA.crt", certificate_pem(&issuing));
    assert_eq!(
        troubles(&examine(&cluster)),
        [(Severity::Warning, Problem::SelfSigned, "customerCA.crt".to_owned())]
    );
}

/// What an HSM with mutual TLS takes, to the byte, and what it refuses.
#[test]
fn the_length_of_the_inner_clients_chain() {
    let cluster = cluster("examine-long");
    let key = Key::new(Kind::Ed25519);
    let chain = |size: usize| {
        let draft = |bulk| {
            Draft::v3(&cn("inner"), &key.spki, &cn("inner"))
                .with(extension("1.2.3.4", false, &vec![0; bulk]))
                .sign(&key)
        };
        draft(3000 + size - draft(3000).len())
    };
    cluster.write("inner.key", pem("PRIVATE KEY", key.private().secret_der()));
    for (size, expected) in [
        (6980, None),
        (6981, Some(Severity::Warning)),
        (7319, Some(Severity::Warning)),
        (7320, Some(Severity::Failure)),
    ] {
        let der = chain(size);
        assert_eq!(der.len(), size);
        cluster.write("inner.crt", certificate_pem(&der));
        let mut paths = ClientPaths::in_directory(&cluster.directory.0);
        let file = |name| cluster.directory.0.join(name);
        paths.inner_client = Some((file("inner.crt"), file("inner.key")));
        let findings = Examination::new(provider(), now())
            .default_client(cluster.default_client.clone())
            .run(&paths);
        let found = findings.iter().find(|finding| finding.error.problem() == Problem::Oversized);
        assert_eq!(found.map(|finding| finding.severity), expected);
        if let Some(Finding { error, .. }) = found {
            let words =
                format!("chain too long: expected a chain of at most 6980 bytes, found {size}");
            assert!(error.to_string().contains(&words), "{error}");
            assert!(error.remedy().contains("leave out of the chain"));
        }
    }
}

#[test]
fn a_directory_of_the_host_with_nothing_readable() {
    let cluster = cluster("examine-unreadable");
    fs::remove_file(cluster.directory.0.join("certs/712ff948.0")).unwrap();
    cluster.write("certs/21a10654.0", "text");
    assert_eq!(
        troubles(&examine(&cluster)),
        [
            (Severity::Warning, Problem::NoCertificate, "21a10654.0".to_owned()),
            (Severity::Failure, Problem::EmptyDirectory, "certs".to_owned()),
        ]
    );
}

#[test]
fn a_cluster_certificate_that_is_none() {
    let cluster = cluster("examine-garbage");
    let paths = ClientPaths::in_directory(&cluster.directory.0);
    let examine = || {
        let findings = Examination::new(provider(), now())
            .default_client(cluster.default_client.clone())
            .cluster_certificate(b"garbage".to_vec().into(), "cluster.crt")
            .run(&paths);
        troubles(&findings)
    };
    let expected = (Severity::Failure, Problem::Encoding, "cluster.crt".to_owned());
    assert_eq!(examine(), std::slice::from_ref(&expected));
    fs::remove_file(&paths.customer_ca).unwrap();
    let no_authority = (Severity::Failure, Problem::File, "customerCA.crt".to_owned());
    assert_eq!(examine(), [no_authority, expected]);
}

/// SDK 5 works without the files that SDK 3 installs; what is there is looked at all the same.
#[test]
fn files_that_sdk_5_brings_along() {
    let cluster = cluster("examine-bundled");
    let mut paths = ClientPaths::in_directory(&cluster.directory.0);
    paths.bundled = true;
    let examination = Examination::new(provider(), now());
    fs::remove_dir_all(&paths.server_certificates).unwrap();
    fs::remove_file(&paths.client_certificate).unwrap();
    let seen = troubles(&examination.run(&paths));
    assert_eq!(seen, [(Severity::Failure, Problem::File, "client.crt".to_owned())]);
    fs::remove_file(&paths.client_key).unwrap();
    let findings = examination.run(&paths);
    assert_eq!(troubles(&findings), []);
    let notes = findings.iter().filter(|finding| finding.error.problem() == Problem::File);
    assert_eq!(notes.count(), 2);
    fs::create_dir(&paths.server_certificates).unwrap();
    assert_eq!(
        troubles(&examination.run(&paths)),
        [(Severity::Failure, Problem::EmptyDirectory, "certs".to_owned())]
    );
}

/// A pipe without a writer would keep its reader for ever.
#[cfg(unix)]
#[test]
fn what_is_no_file_is_not_opened() {
    let cluster = cluster("examine-pipe");
    let path = cluster.directory.0.join("certs/00000000.0");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    if !made.is_ok_and(|status| status.success()) {
        println!("skipped: no mkfifo on this machine");
        return;
    }
    assert_eq!(
        troubles(&examine(&cluster)),
        [(Severity::Warning, Problem::File, "00000000.0".to_owned())]
    );
}
