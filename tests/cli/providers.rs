//! `--provider`: whose cryptography the program uses.

use std::path::Path;
use std::process::Command;

use crate::support::{Run, client, directory, echo_server, noise, program, run};
use crate::tools::have;

const BUILT: &[&str] = &[
    "ring",
    #[cfg(feature = "aws-lc-rs")]
    "aws-lc-rs",
    #[cfg(feature = "graviola")]
    "graviola",
];

#[test]
fn every_pair_of_providers() {
    for server in BUILT {
        let server = echo_server(&["--provider", server]);
        for client_provider in BUILT {
            let data = noise(100_000);
            let run = run(&client(&server.address, &["-q", "--provider", client_provider]), &data);
            run.ends(0, &[]);
            assert!(run.stdout == data, "{client_provider}");
        }
    }
}

#[test]
fn one_that_was_not_built_in_is_refused() {
    run(&["connect", "localhost:1", "--provider", "nss"], b"").ends(2, &["nss", "ring"]);
}

/// Only AWS-LC's signs with P-521, so which provider is at work shows.
#[test]
fn the_choice_is_what_signs() {
    if !have("openssl") {
        return;
    }
    let files = directory("p521");
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-521", "-nodes"])
        .args(["-subj", "/CN=p521", "-keyout", "p521.key", "-out", "p521.crt"])
        .current_dir(&files)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let file = |name: &str| Path::new(&files).join(name).display().to_string();
    let (cert, key) = (file("p521.crt"), file("p521.key"));
    for provider in BUILT {
        let refused = program()
            .args(["connect", "localhost:1", "--outer-webpki-roots", "--inner-webpki-roots"])
            .args(["--inner-name", "hsm.test"])
            .args(["--outer-cert", &cert, "--outer-key", &key, "--provider", provider])
            .output()
            .unwrap();
        // With the key taken, what fails is the connection to a port where nobody listens.
        let status = if *provider == "aws-lc-rs" { 3 } else { 2 };
        Run::from(refused).ends(status, &[]);
    }
}
