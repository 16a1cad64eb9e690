//! What the `openssl` program makes of the throwaway certificates.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::pki::{ClientIdentity, Issued, Key, Options, Period, Pki};
use crate::tools::have;

#[test]
fn names_serials_and_hashes_are_those_of_the_seed() {
    let Some(dir) = directory("hashes") else { return };
    let pki = Pki::new(&Options::new(Period::around(now()))).unwrap();
    pki.write_client_dir(&dir, ClientIdentity::Default).unwrap();
    for (file, unit, serial) in [
        ("21a10654.0", "AWS Cryptography", "B7FA7A40976CBE82"),
        ("712ff948.0", "Cryptography", "A7525B285D1C2BB5"),
    ] {
        let path = dir.join("certs").join(file);
        let name = format!(
            "/C=US/ST=Virginia/L=Herndon/O=AWS/OU={unit}/CN=CloudHSM/emailAddress=cloudhsm-team@amazon.com"
        );
        let shown = x509(&path, &["-subject_hash", "-subject", "-issuer", "-serial"]);
        let expected = format!(
            "{}\nsubject={name}\nissuer={name}\nserial={serial}\n",
            file.trim_end_matches(".0")
        );
        assert_eq!(shown, expected);
    }
}

#[test]
fn versions_and_extensions_are_those_of_the_field() {
    let Some(dir) = directory("versions") else { return };
    let pki = Pki::new(&Options::new(Period::around(now()))).unwrap();
    for (issued, version, authority) in [
        (&pki.outer_server, 3, true),
        (&pki.second_anchor, 3, true),
        (&pki.customer_ca, 3, true),
        (&pki.default_client, 3, true),
        (&pki.cluster, 1, false),
        (&pki.issued_client, 1, false),
    ] {
        let path = dir.join("certificate.pem");
        fs::write(&path, &issued.pem).unwrap();
        let text = x509(&path, &["-text"]);
        assert!(text.contains(&format!("Version: {version} ")), "{text}");
        assert_eq!(text.contains("X509v3"), version == 3, "{text}");
        assert_eq!(text.contains("CA:TRUE"), authority, "{text}");
    }
    let path = dir.join("cluster.pem");
    fs::write(&path, &pki.cluster.pem).unwrap();
    assert_eq!(
        x509(&path, &["-subject", "-nameopt", "oneline,-space_eq,-esc_2253"]),
        "subject=C=US + ST=CA + O=Cavium + OU=N3FIPS + L=SanJose, CN=HSM:5.3G0000-ICM000000:PARTN:1, for FIPS mode\n"
    );
}

#[test]
fn openssl_verifies_what_was_issued() {
    let Some(dir) = directory("verify") else { return };
    let rsa = rsa_key();
    let mut with_rsa = Options::new(Period::around(now()));
    with_rsa.keys.customer_ca = rsa.clone();
    with_rsa.keys.cluster = Key::P384;
    let mut all_p384 = Options::new(Period::around(now()));
    all_p384.keys.customer_ca = Key::P384;
    all_p384.keys.issued_client = rsa;
    for options in [Options::new(Period::around(now())), with_rsa, all_p384] {
        let pki = Pki::new(&options).unwrap();
        for (anchor, leaf) in [
            (&pki.outer_server, &pki.outer_server),
            (&pki.second_anchor, &pki.second_anchor),
            (&pki.customer_ca, &pki.customer_ca),
            (&pki.customer_ca, &pki.cluster),
            (&pki.customer_ca, &pki.issued_client),
            (&pki.default_client, &pki.default_client),
        ] {
            assert_eq!(verify(&dir, anchor, leaf), Ok(()));
        }
        assert!(verify(&dir, &pki.outer_server, &pki.cluster).is_err());
        assert!(verify(&dir, &pki.outer_server, &pki.second_anchor).is_err());
    }
}

#[test]
fn openssl_refuses_what_has_expired() {
    let Some(dir) = directory("expired") else { return };
    let pki = Pki::new(&Options::new(Period::ended_before(now()))).unwrap();
    let refusal = verify(&dir, &pki.customer_ca, &pki.cluster).unwrap_err();
    assert!(refusal.contains("certificate has expired"), "{refusal}");
}

#[test]
fn a_key_belongs_to_its_certificate_and_is_private() {
    let Some(dir) = directory("keys") else { return };
    let pki = Pki::new(&Options::new(Period::around(now()))).unwrap();
    for (identity, issued) in [
        (ClientIdentity::Default, &pki.default_client),
        (ClientIdentity::Issued, &pki.issued_client),
    ] {
        pki.write_client_dir(&dir, identity).unwrap();
        let key = dir.join("client.key");
        let of_key = openssl(&["pkey", "-pubout", "-in", key.to_str().unwrap()]).unwrap();
        assert_eq!(of_key, x509(&dir.join("client.crt"), &["-pubkey"]));
        assert_eq!(fs::read_to_string(&key).unwrap(), issued.key_pem);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
}

fn x509(path: &Path, options: &[&str]) -> String {
    let mut args = vec!["x509", "-noout", "-nameopt", "compat", "-in", path.to_str().unwrap()];
    args.extend(options);
    openssl(&args).unwrap()
}

fn verify(dir: &Path, anchor: &Issued, leaf: &Issued) -> Result<(), String> {
    let [anchor_path, leaf_path] = ["anchor.pem", "leaf.pem"].map(|name| dir.join(name));
    fs::write(&anchor_path, &anchor.pem).unwrap();
    fs::write(&leaf_path, &leaf.pem).unwrap();
    let paths = [anchor_path.to_str().unwrap(), leaf_path.to_str().unwrap()];
    openssl(&["verify", "-CAfile", paths[0], paths[1]]).map(drop)
}

fn rsa_key() -> Key {
    // PEM, because with `-outform DER` some versions write PKCS #1.
    let pem =
        openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]).unwrap();
    let (label, der) = der::pem::decode_vec(pem.as_bytes()).unwrap();
    assert_eq!(label, "PRIVATE KEY");
    Key::Pkcs8(der)
}

fn openssl(args: &[&str]) -> Result<String, String> {
    let output = Command::new("openssl").args(args).output().unwrap();
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// A directory of this test's own, or nothing where there is no `openssl` program.
fn directory(test: &str) -> Option<std::path::PathBuf> {
    if !have("openssl") {
        return None;
    }
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("certificates").join(test);
    fs::create_dir_all(&dir).unwrap();
    Some(dir)
}

#[expect(clippy::disallowed_methods, reason = "made for today")]
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}
