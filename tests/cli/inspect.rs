//! `inspect`, with openssl as the judge of names and numbers.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::forge::{
    Draft, Key, Kind, certificate_pem, dns_name, hsm_name, pem, request, seed_name,
};
use crate::subjects::{SERIALS, subjects};
use crate::support::{directory, run};
use crate::tools::have;

fn without_spaces(text: &str) -> String {
    text.chars().filter(|c| *c != ' ').collect()
}

#[test]
fn openssl_says_the_same_of_every_name_and_number() {
    if !have("openssl") {
        return;
    }
    let path = directory("inspect-names");
    let key = Key::new(Kind::P256);
    let mut files = Vec::new();
    for (number, subject) in subjects().iter().enumerate() {
        let der = Draft::v1(subject, &key.spki, &subjects()[number / 2])
            .edit(|draft| draft.serial = SERIALS[number % SERIALS.len()].to_vec())
            .sign(&key);
        let file = path.join(format!("{number}.pem"));
        fs::write(&file, certificate_pem(&der)).unwrap();
        files.push(file.to_str().unwrap().to_owned());
    }
    for form in ["oneline", "compat"] {
        let mut arguments = vec!["inspect", "--nameopt", form];
        arguments.extend(files.iter().map(String::as_str));
        let ours = run(&arguments, b"");
        let ours = ours.ends(0, &[]).text();
        let ours: Vec<&str> = ours
            .lines()
            .map(str::trim_start)
            .filter(|line| {
                ["subject=", "issuer=", "serial=", "hash "].iter().any(|key| line.starts_with(key))
            })
            .collect();
        let mut theirs = String::new();
        for file in &files {
            let output = Command::new("openssl")
                .args(["x509", "-noout", "-subject", "-issuer", "-serial", "-subject_hash"])
                .args(["-nameopt", form, "-in", file])
                .output()
                .unwrap();
            theirs += &String::from_utf8(output.stdout).unwrap();
        }
        let theirs: Vec<&str> = theirs.lines().collect();
        assert_eq!(ours.len(), theirs.len());
        for (ours, theirs) in ours.iter().zip(theirs) {
            let ours = ours.strip_prefix("hash ").unwrap_or(ours);
            assert_eq!(without_spaces(ours), without_spaces(theirs));
        }
    }
    println!("{} certificates agree with openssl", files.len());
    assert!(files.len() >= 50);
}

/// The very command of the service's document, without any option about names.
#[test]
fn the_seeds_command() {
    if !have("openssl") {
        return;
    }
    let ours = run(&["inspect", "certs", "hsm.crt", "customerCA.crt"], b"");
    ours.ends(0, &[]);
    for file in ["certs/21a10654.0", "certs/712ff948.0", "hsm.crt", "customerCA.crt"] {
        let output = Command::new("openssl")
            .current_dir(crate::support::files())
            .args(["x509", "-subject", "-issuer", "-serial", "-noout", "-in", file])
            .output()
            .unwrap();
        let theirs =
            without_spaces(&format!("{file}\n{}", String::from_utf8_lossy(&output.stdout)));
        let text = without_spaces(&ours.text());
        assert!(text.contains(&theirs), "{theirs} is not in {text}");
    }
}

#[test]
fn everything_in_a_file_is_shown() {
    let path = directory("inspect-files");
    let file = |name: &str| path.join(name).to_str().unwrap().to_owned();
    let (key, rsa) = (Key::new(Kind::P256), Key::new(Kind::Rsa2048));
    let named = Draft::v3(&hsm_name("x"), &rsa.spki, &hsm_name("x"))
        .with(dns_name("a.example"))
        .edit(|draft| draft.not_after = "20990101000000Z")
        .sign(&rsa);
    let evil = Draft::v3(&hsm_name("y"), &key.spki, &hsm_name("x"))
        .with(dns_name("b\u{1b}[2J.example"))
        .edit(|draft| draft.not_after = "20210101000000Z")
        .sign(&rsa);
    let csr = request(&hsm_name("z"), &key.spki, &key);
    let mut forged = csr.clone();
    *forged.last_mut().unwrap() ^= 1;
    let private = pem("PRIVATE KEY", key.private().secret_der());
    let text = [
        certificate_pem(&named),
        "words between\n".into(),
        certificate_pem(&evil),
        pem("CERTIFICATE REQUEST", &csr),
        pem("CERTIFICATE REQUEST", &forged),
        private.clone(),
    ]
    .concat();
    fs::write(file("all.pem"), &text).unwrap();
    fs::write(file("named.der"), &named).unwrap();
    fs::write(file("csr.der"), &csr).unwrap();
    fs::write(file("key.der"), key.private().secret_der()).unwrap();
    let shown = run(&["inspect", &file("all.pem")], b"");
    let text = shown.ends(0, &[]).text();
    for words in [
        "version 3, RSA 2048, self-issued",
        "valid 2020-01-01T00:00:00Z to 2099-01-01T00:00:00Z\n",
        "valid 2020-01-01T00:00:00Z to 2021-01-01T00:00:00Z, expired\n",
        "names DNS:a.example",
        "names DNS:b\\x1b[2J.example",
        "certificate request\n",
        "signed by its own key\n",
        "not signed by its own key: ",
        "private key, EC P-256\n",
    ] {
        assert!(text.contains(words), "{words:?} is not in {text}");
    }
    assert!(!text.contains('\u{1b}') && !text.contains("PRIVATE KEY"));
    assert!(private.lines().skip(1).all(|line| !text.contains(line)));
    // The same key everywhere has the same hash.
    let hashes: Vec<&str> =
        text.lines().filter_map(|line| line.trim().strip_prefix("SHA-256 of the key ")).collect();
    assert_eq!(hashes.len(), 5);
    assert!(hashes[1..].iter().all(|hash| *hash == hashes[1]) && hashes[0] != hashes[1]);

    let arguments = [
        "inspect",
        "--json",
        &file("all.pem"),
        &file("named.der"),
        &file("csr.der"),
        &file("key.der"),
    ];
    let json = run(&arguments, b"");
    let value: Value = serde_json::from_slice(&json.ends(0, &[]).stdout).unwrap();
    let kinds: Vec<&str> =
        value.as_array().unwrap().iter().map(|one| one["kind"].as_str().unwrap()).collect();
    let (one, two) = ("certificate", "request");
    assert_eq!(kinds, [one, one, two, two, "private key", one, two, "private key"]);
    assert_eq!(value[0]["alternative_names"][0], "DNS:a.example");
    assert_eq!(value[3]["signed_by_its_key"], false);
    assert_eq!(value[5]["sha256"], value[0]["sha256"]);
    assert_eq!(value[4]["spki_sha256"].as_str().unwrap(), hashes[1]);
    // What --inner-pin-spki takes.
    assert_eq!(hashes[0].len(), 64);

    let piped = run(&["inspect", "-"], certificate_pem(&named).as_bytes());
    assert!(
        piped.ends(0, &[]).text().starts_with("standard input\n  subject=C = US + "),
        "{}",
        piped.text()
    );
}

/// One sentence for each file that can't be shown, and all others in spite of it.
#[test]
fn what_cannot_be_shown_hides_nothing() {
    let path = directory("inspect-bad");
    let file = |name: &str| path.join(name).to_str().unwrap().to_owned();
    let key = Key::new(Kind::P256);
    let good = Draft::v1(&seed_name("x"), &key.spki, &seed_name("x")).sign(&key);
    fs::write(file("good.crt"), certificate_pem(&good)).unwrap();
    let mut damaged = good.to_vec();
    damaged[4] = 0;
    let end = certificate_pem(&good).replace("-----END CERTIFICATE-----", "");
    let rows: [(&str, Vec<u8>, &str); 9] = [
        ("empty", vec![], "found an empty file"),
        ("text", b"no certificate".to_vec(), "REQUEST or PRIVATE KEY, found no PEM block"),
        ("damaged.pem", certificate_pem(&damaged).into(), "expected DER, found a malformed"),
        ("damaged.der", damaged, "expected DER, found a malformed"),
        ("end.pem", end.into(), "found a block without its END line"),
        ("base64.pem", certificate_pem(&good).replace('M', "!").into(), "not base64"),
        (
            "secret.pem",
            pem("ENCRYPTED PRIVATE KEY", b"x").into(),
            "encrypted private key: expected a private key in the clear",
        ),
        ("odd.pem", pem("DH PARAMETERS", b"x").into(), "found a block DH PARAMETERS"),
        (
            "junk.pem",
            pem("PRIVATE KEY", b"junk").into(),
            "expected a key that the provider can use",
        ),
    ];
    for (name, contents, words) in rows {
        fs::write(file(name), contents).unwrap();
        let run = run(&["inspect", &file(name), &file("good.crt"), &file("absent")], b"");
        run.ends(2, &[words, name, "absent", "no such file"]);
        assert_eq!(run.stderr.lines().count(), 2, "{}", run.stderr);
        assert!(run.text().contains("CN = CloudHSM"));
    }
    run(&["inspect", "-"], b"text").ends(2, &["(standard input)", "a certificate request or a"]);
    let hashed = path.join("hashed");
    fs::create_dir(&hashed).unwrap();
    run(&["inspect", hashed.to_str().unwrap()], b"").ends(2, &["no file with a name like"]);
    fs::copy(file("good.crt"), hashed.join("00000000.0")).unwrap();
    fs::write(hashed.join("00000001.0"), "text").unwrap();
    let run = run(&["inspect", hashed.to_str().unwrap()], b"");
    run.ends(2, &["00000001.0", "no PEM block"]);
    assert!(run.text().contains("00000000.0"));
}
