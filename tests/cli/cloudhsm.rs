//! `connect --cloudhsm`: both layers' options from a client directory, or from its configuration.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::path::Path;

use crate::pki::{Issued, Period, Shape, Subject, Template};
use crate::support::{
    OUTER_CLIENT, OUTER_SERVER, Server, directory, echo_server, files, now, relay, run,
};

/// Copies what a client directory has.
fn copy(name: &str) -> std::path::PathBuf {
    let path = directory(name);
    fs::create_dir(path.join("certs")).unwrap();
    for file in
        ["certs/21a10654.0", "certs/712ff948.0", "client.crt", "client.key", "customerCA.crt"]
    {
        fs::copy(files().join(file), path.join(file)).unwrap();
    }
    path
}

#[test]
fn a_directory_fills_both_layers() {
    let server = echo_server(&[]);
    let text = run(&["connect", &server.address, "--cloudhsm", ".", "--report"], b"");
    text.ends(0, &[]);
    for words in [
        "accepted: pinned certificate (./certs/21a10654.0)",
        "(./customerCA.crt)",
        "we presented /C=US/O=Throwaway customer/CN=issued client",
    ] {
        assert!(text.text().contains(words), "{words:?} is not in {}", text.text());
    }
    let echoed = run(&["connect", &server.address, "--cloudhsm", ".", "-q"], b"by directory");
    assert_eq!(echoed.ends(0, &[]).text(), "by directory");
}

/// Each option that is typed stands in place of what the directory says, or beside it.
#[test]
fn options_beside_a_directory() {
    let server = echo_server(&[]);
    let zeros = "0".repeat(64);
    let rows: [(&[&str], i32, &[&str]); 9] = [
        (&["--outer-pin", "certs/712ff948.0"], 4, &["outer TLS", "not pinned", "712ff948.0"]),
        (&["--outer-pin", "certs"], 0, &[]),
        (&["--outer-ca", "certs", "--outer-no-name-check"], 0, &[]),
        (&["--outer-cert", "default.crt", "--outer-key", "default.key"], 0, &[]),
        (&["--inner-pin", "hsm.crt"], 0, &[]),
        (&["--inner-pin-spki", &zeros], 5, &["inner TLS", "not pinned"]),
        (&["--inner-ca", "otherCA.crt", "--inner-no-name-check"], 5, &["inner TLS", "otherCA.crt"]),
        (&["--inner-name", "hsm.test"], 5, &["inner TLS", "another name"]),
        (&["--outer-webpki-roots"], 2, &["--outer-webpki-roots goes with no pin"]),
    ];
    for (more, status, words) in rows {
        let mut arguments = vec!["connect", &server.address, "--cloudhsm", ".", "-q"];
        arguments.extend(more);
        run(&arguments, b"").ends(status, words);
    }
}

#[test]
fn a_configuration_names_the_files() {
    let server = echo_server(&[]);
    let connect = |path: &Path| {
        run(&["connect", &server.address, "-q", "--cloudhsm", path.to_str().unwrap()], b"sdk")
    };
    let path = copy("configured");
    fs::rename(path.join("client.crt"), path.join("mine.crt")).unwrap();
    fs::rename(path.join("client.key"), path.join("mine.key")).unwrap();
    connect(&path).ends(2, &["client.crt", "no such file", "check the path"]);
    let config = path.join("cloudhsm-cli.cfg");
    let cluster = r#"{"cluster": {"client_cert_path": "mine.crt", "client_key_path": "mine.key"}}"#;
    fs::write(&config, format!(r#"{{"clusters": [{cluster}]}}"#)).unwrap();
    // The other programs of the same client.
    fs::copy(&config, path.join("cloudhsm-pkcs11.cfg")).unwrap();
    for at in [&config, &path] {
        assert_eq!(connect(at).ends(0, &[]).text(), "sdk");
    }
    fs::write(&config, format!(r#"{{"clusters": [{cluster}, {{"cluster": {{}}}}]}}"#)).unwrap();
    connect(&path).ends(2, &["several clients", "cloudhsm-cli.cfg", "name the configuration"]);
    fs::write(&config, r#"{"clusters": [{"cluster": {"hsm_ca_file": ""}}]}"#).unwrap();
    connect(&config).ends(2, &["hsm_ca_file: a path", "cloudhsm-cli.cfg"]);
    connect(&path.join("nowhere")).ends(2, &["the directory can't be read", "nowhere"]);
}

/// The profile is narrower than the options alone: what customerCA did not sign itself is refused.
#[test]
fn no_intermediate_stands_before_the_cluster() {
    let path = directory("middle");
    let authority = |name: &str, by: Option<&Issued>| {
        let period = Period::around(now());
        let template = Template::new(Subject::customer(name), Shape::Authority, period);
        by.map_or_else(|| template.self_signed(), |by| template.issued_by(by)).unwrap()
    };
    let root = authority("customerCA", None);
    let middle = authority("middle", Some(&root));
    let leaf = Template::new(Subject::hsm("x"), Shape::KeyIdentifiers, Period::around(now()))
        .issued_by(&middle)
        .unwrap();
    let file = |name: &str| path.join(name).to_str().unwrap().to_owned();
    fs::write(file("root.crt"), &root.pem).unwrap();
    fs::write(file("chain.crt"), format!("{}{}", leaf.pem, middle.pem)).unwrap();
    fs::write(file("leaf.key"), &leaf.key_pem).unwrap();
    let (chain, key, root) = (file("chain.crt"), file("leaf.key"), file("root.crt"));
    let mut arguments = vec!["serve", "--echo", "--inner-cert", &chain, "--inner-key", &key];
    arguments.extend(OUTER_SERVER);
    let server = Server::start(&arguments);
    let connect = |more: &[&str]| {
        let mut arguments = vec!["connect", &server.address, "-q", "--inner-ca", &root];
        arguments.extend(["--inner-no-name-check", "--outer-no-name-check"]);
        arguments.extend(more);
        run(&arguments, b"")
    };
    connect(&["--cloudhsm", "."]).ends(5, &["inner TLS", "unknown issuer", "CN=middle"]);
    let by_hand = [
        "--outer-pin",
        "certs/21a10654.0",
        "--outer-cert",
        "client.crt",
        "--outer-key",
        "client.key",
    ];
    connect(&by_hand).ends(0, &[]);
}

#[test]
fn no_name_leaves_in_the_clear() {
    for (more, named) in [(&[][..], false), (&["--outer-name", "localhost"], true)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("localhost:{}", listener.local_addr().unwrap().port());
        let hello = std::thread::spawn(move || {
            let mut tcp = listener.accept().unwrap().0;
            let mut head = [0; 5];
            tcp.read_exact(&mut head).unwrap();
            let mut hello = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
            tcp.read_exact(&mut hello).unwrap();
            hello
        });
        let mut arguments = vec!["connect", &address, "--cloudhsm", "."];
        arguments.extend(more);
        run(&arguments, b"");
        let hello = hello.join().unwrap();
        assert_eq!(hello.windows(9).any(|window| window == b"localhost"), named);
    }
}

/// Hashed directories also where servers judge clients.
#[test]
fn a_hashed_directory_of_client_authorities() {
    let path = directory("client-authorities");
    let ca = fs::read(files().join("customerCA.crt")).unwrap();
    fs::write(path.join("01234567.0"), ca).unwrap();
    let path = path.to_str().unwrap();
    let server = |more: &[&str]| {
        let mut arguments = vec!["serve", "--echo", "--inner-cert", "hsm.crt", "--inner-key"];
        arguments.extend(["hsm.key", "--outer-cert", "host.crt", "--outer-key", "host.key"]);
        arguments.extend(more);
        Server::start(&arguments)
    };
    for layer in ["outer", "inner"] {
        let option = format!("--{layer}-client-ca");
        let server = server(&[&option, path]);
        let connect = |cert: &str, key: &str| {
            let (cert_option, key_option) = (format!("--{layer}-cert"), format!("--{layer}-key"));
            let more = [cert_option.as_str(), cert, &key_option, key];
            let mut arguments = vec!["connect", &server.address, "--cloudhsm", "."];
            arguments.extend(["--report"]);
            arguments.extend(more);
            run(&arguments, b"")
        };
        connect("client.crt", "client.key").ends(0, &[]);
        let status = if layer == "outer" { 4 } else { 5 };
        connect("default.crt", "default.key")
            .ends(status, &[&format!("{layer} TLS: the peer refused"), "default.crt"]);
    }
    let arguments = ["relay", "--forward", "127.0.0.1:1", "--outer-client-ca", path];
    let own = ["--outer-cert", "host.crt", "--outer-key", "host.key"];
    drop(Server::start(&[&arguments[..], &own].concat()));
    drop(relay("127.0.0.1:1", &["--outer-client-ca", path]));
}

/// Public authorities vouch for no private server, whatever its name.
#[test]
fn public_roots_refuse_a_private_issuer() {
    let own = ["--inner-cert", "named.crt", "--inner-key", "named.key"];
    let server = Server::start(&[&["serve", "--echo"], &OUTER_SERVER[..], &own].concat());
    let public = ["--inner-webpki-roots", "--inner-name", "hsm.test", "--report"];
    let report = run(&[&["connect", &server.address], &OUTER_CLIENT[..], &public].concat(), b"");
    report.ends(5, &["inner TLS: unknown issuer", "a public authority", "CN=customerCA"]);
    assert!(report.text().contains("refused: unknown issuer"), "{}", report.text());
}
