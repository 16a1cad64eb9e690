//! What can't be used is refused before anything is sent: one sentence with layer, option or file, and remedy.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;

use crate::support::{
    INNER_CLIENT, INNER_SERVER, OUTER_CLIENT, OUTER_SERVER, Run, directory, files, run,
};
use crate::tools::have;

/// Nobody listens there; nothing here comes so far.
const NOWHERE: &str = "127.0.0.1:1";

/// Asserts that one line says all of `words`, and nothing of it is Rust's.
#[track_caller]
fn refused(run: &Run, status: i32, words: &[&str]) {
    run.ends(status, words);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    for word in ["Error", "Some(", "None", "os error", "\\", "{"] {
        assert!(!run.stderr.contains(word), "{word:?} is in {}", run.stderr);
    }
    assert_eq!(run.text(), "");
}

/// Files that hold something else than they should.
fn broken_files() -> PathBuf {
    let path = directory("broken");
    let write = |name: &str, text: &[u8]| fs::write(path.join(name), text).unwrap();
    let host = fs::read_to_string(files().join("host.crt")).unwrap();
    let block = |label: &str, head: &str| {
        format!("-----BEGIN {label}-----\n{head}MIGbMFcGCSqGSIb3DQEFDTBK\n-----END {label}-----\n")
    };
    write("empty", b"");
    write("words", b"these are words\n");
    write("noise", &[0x30, 0x82, 0xff, 0xff, 0, 1, 2, 0xfe, 0xff]);
    write("cut", host.lines().take(5).collect::<Vec<_>>().join("\n").as_bytes());
    write("damaged", host.replacen("MII", "AAA", 1).as_bytes());
    write("endless", "-----BEGIN CERTIFICATE-----\n".repeat(200_000).as_bytes());
    write("request", block("CERTIFICATE REQUEST", "").as_bytes());
    write("encrypted", block("ENCRYPTED PRIVATE KEY", "").as_bytes());
    let old = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n";
    write("encrypted-old", block("RSA PRIVATE KEY", old).as_bytes());
    write("no-key", block("PRIVATE KEY", "").as_bytes());
    fs::create_dir(path.join("directory")).unwrap();
    path
}

/// Every option that names a file, on either layer and side, with every file that is not what it wants.
#[test]
fn wrong_files() {
    let path = broken_files();
    let no_certificate = [
        ("missing", "no such file"),
        ("empty", "an empty file"),
        ("words", "no PEM block"),
        ("noise", "no PEM block"),
        ("cut", "a block without its END line"),
        ("damaged", "encoding: expected DER"),
        ("endless", "has no end"),
        ("request", "a block CERTIFICATE REQUEST"),
        ("no-key", "a block PRIVATE KEY"),
    ];
    let no_key = [
        ("missing", "no such file"),
        ("empty", "an empty file"),
        ("words", "no PEM block"),
        ("noise", "no PEM block"),
        ("endless", "has no end"),
        ("directory", "is a directory"),
        ("request", "a block CERTIFICATE REQUEST"),
        ("encrypted", "encrypted private key"),
        ("encrypted-old", "encrypted private key"),
        ("no-key", "unsupported private key"),
    ];
    let try_file = |layer: &str, option: &str, file: &str, words: &str| {
        let file = path.join(file);
        let file = file.to_str().unwrap();
        let option = format!("--{layer}-{option}");
        let is_server = option.contains("client-");
        let mut arguments = match is_server {
            true => vec!["serve", "--listen", "127.0.0.1:0", "--once"],
            false => vec!["connect", NOWHERE],
        };
        arguments.extend(match is_server {
            true => [&OUTER_SERVER[..4], &INNER_SERVER].concat(),
            false => vec!["--outer-pin=host.crt", "--inner-pin=hsm.crt", "--inner-name=hsm.test"],
        });
        let other = match option.as_str() {
            "--outer-cert" => ["--outer-key", "client.key"],
            "--inner-cert" => ["--inner-key", "client.key"],
            "--outer-key" => ["--outer-cert", "client.crt"],
            "--inner-key" => ["--inner-cert", "client.crt"],
            _ => ["--timeout", "1"],
        };
        arguments.extend(other);
        arguments.extend([option.as_str(), file]);
        refused(&run(&arguments, b""), 2, &[&format!("error: {layer} TLS: "), words, file, "; "]);
    };
    for layer in ["outer", "inner"] {
        for option in ["ca", "pin", "cert", "client-ca", "client-pin"] {
            for (file, words) in no_certificate {
                try_file(layer, option, file, words);
            }
            let of_directory = match option {
                "cert" => "is a directory",
                _ => "directory without certificates",
            };
            try_file(layer, option, "directory", of_directory);
        }
        for (file, words) in no_key {
            try_file(layer, "key", file, words);
        }
    }
    fs::remove_dir_all(path).unwrap();
}

#[test]
fn keys_that_do_not_fit() {
    let fit = |options: &[&str], words: &[&str]| {
        let mut arguments = vec!["connect", NOWHERE, "--inner-pin", "hsm.crt"];
        arguments.extend(["--outer-pin", "host.crt"]);
        arguments.extend(options);
        refused(&run(&arguments, b""), 2, words);
    };
    fit(
        &["--outer-cert", "client.crt", "--outer-key", "hsm.key"],
        &["outer TLS: private key of another certificate", "CN=issued client", "(hsm.key)"],
    );
    fit(
        &["--inner-cert", "client.crt"],
        &["inner TLS: no private key", "(client.crt)", "name it with --inner-key"],
    );
    fit(&["--inner-key", "client.key"], &["inner TLS: --inner-key alone", "--inner-cert"]);
}

/// A key under a passphrase, as OpenSSL writes it.
#[test]
fn keys_under_a_passphrase() {
    if !have("openssl") {
        return;
    }
    let path = directory("passphrase");
    let key = path.join("client.key");
    let status = Command::new("openssl")
        .current_dir(files())
        .args(["pkey", "-in", "client.key", "-aes256", "-passout", "pass:secret", "-out"])
        .arg(&key)
        .status()
        .unwrap();
    assert!(status.success());
    let key = key.to_str().unwrap();
    let options =
        ["--outer-pin", "host.crt", "--inner-pin", "hsm.crt", "--outer-cert", "client.crt"];
    let arguments = [&["connect", NOWHERE][..], &options, &["--outer-key", key]].concat();
    refused(&run(&arguments, b""), 2, &["outer TLS: encrypted private key", key, "openssl pkey"]);
    fs::remove_dir_all(path).unwrap();
}

#[cfg(unix)]
#[test]
fn a_file_that_may_not_be_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let path = directory("closed");
    let file = path.join("closed.pem");
    fs::copy(files().join("host.crt"), &file).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(&file).is_ok() {
        println!("SKIPPED: this user may read everything");
    } else {
        let file = file.to_str().unwrap();
        let arguments = ["connect", NOWHERE, "--outer-pin", file, "--inner-pin", "hsm.crt"];
        refused(&run(&arguments, b""), 2, &["outer TLS", "permission denied", file]);
    }
    fs::remove_dir_all(path).unwrap();
}

#[test]
fn options_that_contradict_or_do_not_suffice() {
    let fit = ["--outer-pin", "host.crt", "--inner-pin", "hsm.crt"];
    let rows: [(&[&str], &[&str]); 11] = [
        (&[], &["outer TLS: nothing says which server certificate", "--outer-ca, --outer-pin"]),
        (&fit[..2], &["inner TLS: nothing says which server certificate", "--inner-webpki-roots"]),
        (
            &["--outer-pin", "host.crt", "--inner-ca", "customerCA.crt"],
            &["inner TLS: nothing says which name", "--inner-name or --inner-no-name-check"],
        ),
        (
            &["--outer-pin", "host.crt", "--outer-webpki-roots", "--inner-pin", "hsm.crt"],
            &["outer TLS: --outer-webpki-roots goes with no pin", "one kind of trust"],
        ),
        (
            &["--outer-pin", "host.crt", "--inner-webpki-roots", "--inner-no-name-check"],
            &["inner TLS: public authorities vouch for nothing but names", "--inner-no-name-check"],
        ),
        (
            &[
                "--outer-pin",
                "host.crt",
                "--inner-webpki-roots",
                "--inner-name=a.test",
                "--inner-ignore-expiry",
            ],
            &["inner TLS", "drop --inner-ignore-expiry"],
        ),
        (
            &["--outer-name", "no name", "--outer-pin", "host.crt", "--inner-pin", "hsm.crt"],
            &["outer TLS: no name is neither a DNS name nor an address", "--outer-name"],
        ),
        (&["--inner-pin-spki", "12"], &["--inner-pin-spki <HEX>", "64 hexadecimal digits"]),
        (&["--outer-tls", "1.1"], &["--outer-tls <VERSION>", "1.2, 1.3"]),
        (&["--inner-alpn", ""], &["--inner-alpn <LIST>", "1 to 255 bytes"]),
        (&["--timeout", "0"], &["--timeout <SECONDS>", "above 0"]),
    ];
    for (options, words) in rows {
        let mut arguments = vec!["connect", NOWHERE];
        arguments.extend(options);
        let run = run(&arguments, b"");
        run.ends(2, words);
        assert!(run.stderr.starts_with("error: "), "{}", run.stderr);
    }
}

#[test]
fn addresses_that_are_none() {
    let fit = [&OUTER_CLIENT[..], &INNER_CLIENT].concat();
    for (address, words) in [
        ("127.0.0.1", "write HOST:PORT"),
        ("127.0.0.1:", "is not a port"),
        ("127.0.0.1:65536", "is not a port"),
        ("::1:2223", "in brackets"),
        (":2223", "there is no host"),
    ] {
        run(&[&["connect", address][..], &fit].concat(), b"").ends(2, &[words, address]);
    }
}

#[test]
fn ports_that_can_not_be_had() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().map(|address| (taken, address.to_string())).unwrap();
    for command in [
        [&["serve", "--echo"][..], &OUTER_SERVER, &INNER_SERVER].concat(),
        [&["relay", "--forward", NOWHERE][..], &OUTER_SERVER].concat(),
    ] {
        let listen = |at: &str| run(&[&command[..], &["--listen", at]].concat(), b"");
        refused(&listen(&taken.1), 3, &[&taken.1, "address already in use", "0 takes a free one"]);
        // An address for documentation, of no machine.
        refused(&listen("192.0.2.1:0"), 3, &["192.0.2.1:0", "an address of this machine"]);
        refused(&listen("nowhere.invalid:0"), 3, &["nowhere.invalid:0"]);
    }
    run(&["serve", "--listen", "127.0.0.1:0"], b"").ends(2, &["a server needs --outer-cert"]);
}

/// Programs that read the errors of this one get all of them in one form.
#[test]
fn errors_are_json_where_asked() {
    for (arguments, status, words) in [
        (&["connect", NOWHERE, "--json"][..], 2, "nothing says which server certificate"),
        (&["connect", "--json"][..], 2, "required arguments were not provided"),
        (&["--json", "frobnicate"][..], 2, "unrecognized subcommand"),
        (&["connect", "127.0.0.1", "--json"][..], 2, "write HOST:PORT"),
    ] {
        let run = run(arguments, b"");
        let value: serde_json::Value = serde_json::from_str(&run.ends(status, &[]).stderr).unwrap();
        assert_eq!(value["error"]["status"], status, "{run:?}");
        assert!(value["error"]["reason"].as_str().unwrap().contains(words), "{run:?}");
    }
    let help = run(&["connect", "--json", "--help"], b"");
    assert!(help.ends(0, &[]).text().contains("--outer-ca"));
}
