//! Our own certificates and keys.

use std::process::Command;

use nested_tls::identity::{ClientKey, Problem, private_key_from_pem};

use crate::forge::{Draft, Key, Kind, certificate_pem, cn, pem, provider};
use crate::tools::have;

#[test]
fn a_key_is_compared_with_its_certificate() {
    for (kind, other) in
        [(Kind::P256, Kind::P256), (Kind::Ed25519, Kind::P384), (Kind::Rsa2048, Kind::Rsa4096)]
    {
        let (right, wrong) = (Key::new(kind), Key::new(other));
        for draft in [
            Draft::v1(&cn("me"), &right.spki, &cn("me")),
            Draft::v3(&cn("me"), &right.spki, &cn("me")),
        ] {
            let chain = vec![draft.sign(&right)];
            ClientKey::new(chain.clone(), right.private(), &provider()).unwrap();
            let error = ClientKey::new(chain, wrong.private(), &provider()).unwrap_err();
            assert_eq!(error.problem(), Problem::KeyMismatch);
            assert!(error.expected().contains("/CN=me"), "{error}");
            assert_ne!(
                error.expected().rsplit(' ').next(),
                error.found().rsplit(' ').next(),
                "{error}"
            );
        }
    }
    let key = Key::new(Kind::P256);
    let error = ClientKey::new(Vec::new(), key.private(), &provider()).unwrap_err();
    assert_eq!(error.problem(), Problem::NoCertificate);
}

#[test]
fn texts_with_something_else_in_them() {
    let key = Key::new(Kind::P256);
    let certificate = certificate_pem(&Draft::v1(&cn("me"), &key.spki, &cn("me")).sign(&key));
    let secret = pem("PRIVATE KEY", key.private().secret_der());
    let load =
        |chain: &str, key: &str| ClientKey::from_pem(chain.as_bytes(), key.as_bytes(), &provider());
    let loaded = load(&certificate, &secret).unwrap();
    assert_eq!(loaded.chain().len(), 1);
    for (chain, key, problem, found) in [
        (secret.as_str(), secret.as_str(), Problem::NoCertificate, "a block PRIVATE KEY"),
        (&certificate, &certificate, Problem::NoKey, "a block CERTIFICATE"),
        (&certificate, "", Problem::NoKey, "an empty file"),
        (&certificate, "text", Problem::NoKey, "no PEM block"),
        (&certificate, &pem("ENCRYPTED PRIVATE KEY", b"x"), Problem::EncryptedKey, "passphrase"),
        (
            &certificate,
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n",
            Problem::EncryptedKey,
            "passphrase",
        ),
        (&certificate, &pem("PRIVATE KEY", b"junk"), Problem::UnsupportedKey, ""),
    ] {
        let error = load(chain, key).unwrap_err();
        assert_eq!(error.problem(), problem, "{error}");
        assert!(error.found().contains(found), "{error}");
    }
    // No part of a key is ever in an error.
    let error = load(&certificate, &pem("PRIVATE KEY", b"sixteen secret bytes")).unwrap_err();
    assert!(!error.to_string().contains("secret bytes"));
}

/// The encodings in which openssl writes keys.
#[test]
fn keys_as_openssl_writes_them() {
    if !have("openssl") {
        return;
    }
    let make =
        |arguments: &[&str]| Command::new("openssl").args(arguments).output().unwrap().stdout;
    for arguments in [
        &["ecparam", "-genkey", "-name", "prime256v1", "-noout"][..],
        &["ecparam", "-genkey", "-name", "secp384r1"],
        &["genpkey", "-algorithm", "ed25519"],
        &["genrsa", "-traditional", "2048"],
    ] {
        let text = make(arguments);
        let key = private_key_from_pem(&text).unwrap();
        provider().key_provider.load_private_key(key).unwrap();
    }
    let encrypted = make(&["genpkey", "-algorithm", "ed25519", "-aes256", "-pass", "pass:x"]);
    assert_eq!(private_key_from_pem(&encrypted).unwrap_err().problem(), Problem::EncryptedKey);
}
