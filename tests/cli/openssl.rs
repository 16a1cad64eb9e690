//! OpenSSL at the other end of both layers, with certificates made by the commands of AWS' documents.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Server, directory, finish, program, run};
use crate::tools::have;

const SEED: &str = "/C=US/ST=Virginia/L=Herndon/O=AWS/OU=AWS Cryptography/CN=CloudHSM/emailAddress=cloudhsm-team@amazon.com";
const HSM: &str =
    "/C=US+ST=CA+O=Cavium+OU=N3FIPS+L=SanJose/CN=HSM:5.3G1953-ICM001225:PARTN:1, for FIPS mode";

/// A client directory, and what its servers need, as the guides to CloudHSM have them made.
fn aws() -> &'static Path {
    static FILES: OnceLock<PathBuf> = OnceLock::new();
    FILES.get_or_init(|| {
        let path = directory("aws");
        fs::create_dir(path.join("certs")).unwrap();
        let openssl = |arguments: &[&str]| {
            let output =
                Command::new("openssl").current_dir(&path).args(arguments).output().unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{arguments:?}: {stderr}");
        };
        let words = |line: &'static str| line.split(' ').collect::<Vec<_>>();
        // To initialise a cluster.
        openssl(&words("genrsa -out customerCA.key 2048"));
        let request = words("req -new -x509 -days 3652 -key customerCA.key -out customerCA.crt");
        openssl(&[&request[..], &["-subj", "/C=US/O=Customer/CN=customerCA"]].concat());
        let request = words("req -new -newkey rsa:2048 -nodes -keyout hsm.key -out ClusterCsr.csr");
        openssl(&[&request[..], &["-multivalue-rdn", "-subj", HSM]].concat());
        openssl(&words(
            "x509 -req -days 3652 -in ClusterCsr.csr -CA customerCA.crt -CAkey customerCA.key -CAcreateserial -out hsm.crt",
        ));
        // To replace the client's certificate.
        openssl(&words("genrsa -out client.key 2048"));
        let request = words("req -new -sha256 -key client.key -out client.csr");
        openssl(&[&request[..], &["-subj", "/C=US/O=Customer/CN=ssl-client"]].concat());
        openssl(&words(
            "x509 -req -sha256 -days 3652 -in client.csr -CA customerCA.crt -CAkey customerCA.key -CAcreateserial -out client.crt",
        ));
        // Mutual TLS with the HSM: the client sends its root along.
        openssl(&words("genrsa -out anchor.key 4096"));
        let request = words("req -x509 -new -sha256 -days 365 -key anchor.key -out anchor.crt");
        openssl(&[&request[..], &["-subj", "/C=US/O=Customer/CN=anchor"]].concat());
        openssl(&words("genrsa -out inner.key 4096"));
        let request = words("req -new -key inner.key -out inner.csr");
        openssl(&[&request[..], &["-subj", "/C=US/O=Customer/CN=inner-client"]].concat());
        openssl(&words(
            "x509 -req -days 365 -in inner.csr -CA anchor.crt -CAkey anchor.key -CAcreateserial -out inner-leaf.crt",
        ));
        let read = |file: &str| fs::read_to_string(path.join(file)).unwrap();
        fs::write(path.join("inner.crt"), read("inner-leaf.crt") + &read("anchor.crt")).unwrap();
        // What AWS does.
        let request = words("req -x509 -newkey rsa:2048 -nodes -days 3652 -keyout host.key");
        let serial = words("-set_serial 0xB7FA7A40976CBE82 -out certs/host.pem -subj");
        openssl(&[&request[..], &serial, &[SEED]].concat());
        openssl(&["rehash", "certs"]);
        let config = r#"{"clusters": [{"cluster": {"client_cert_path": "client.crt", "client_key_path": "client.key",
            "client_cert_hsm_tls_path": "inner.crt", "client_key_hsm_tls_path": "inner.key"}}]}"#;
        fs::write(path.join("cloudhsm-cli.cfg"), config).unwrap();
        path
    })
}

/// A process that does not outlive its test.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn openssl(arguments: &[&str]) -> Guard {
    let child = Command::new("openssl")
        .current_dir(aws())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Guard(child)
}

/// Copies what comes, as it comes, to the end of either.
fn copy(mut from: impl Read + Send + 'static, mut to: impl Write + Send + 'static) {
    thread::spawn(move || {
        let mut buffer = [0; 16_384];
        while let Ok(n @ 1..) = from.read(&mut buffer) {
            if to.write_all(&buffer[..n]).and_then(|()| to.flush()).is_err() {
                return;
            }
        }
    });
}

/// The plaintext of a layer that an openssl process terminates, joined to a connection.
fn join(process: &mut Guard, tcp: &TcpStream) {
    copy(process.0.stdout.take().unwrap(), tcp.try_clone().unwrap());
    copy(tcp.try_clone().unwrap(), process.0.stdin.take().unwrap());
}

/// An HSM of OpenSSL's: one layer, lines come back reversed.
fn hsm(version: &str) -> (Guard, String) {
    let arguments = ["s_server", "-accept", "127.0.0.1:0", "-rev", version, "-cert", "hsm.crt"];
    let mutual = ["-key", "hsm.key", "-Verify", "3", "-CAfile", "anchor.crt"];
    let mut hsm = openssl(&[&arguments[..], &mutual, &["-verify_return_error"]].concat());
    let mut lines = BufReader::new(hsm.0.stdout.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("ACCEPT ") {
        line.clear();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0);
    }
    // It waits for someone to read what it says.
    thread::spawn(move || lines.read_to_end(&mut Vec::new()));
    (hsm, line.trim_end().trim_start_matches("ACCEPT ").to_owned())
}

/// A host of OpenSSL's in front of `forward`; its plaintext goes through the pipes of the process.
fn host(version: &str, forward: &str) -> (Guard, String) {
    // Quiet, so that nothing else goes through the pipes; then it does not say where it listens.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let arguments = ["s_server", "-accept", &free, "-quiet", version, "-cert", "certs/host.pem"];
    let mutual = ["-key", "host.key", "-Verify", "3", "-CAfile", "customerCA.crt"];
    let mut host = openssl(&[&arguments[..], &mutual, &["-verify_return_error"]].concat());
    let begun = Instant::now();
    // It gives a connection without a handshake up, and accepts the next.
    while TcpStream::connect(&free).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(30), "s_server does not listen");
        thread::yield_now();
    }
    join(&mut host, &TcpStream::connect(forward).unwrap());
    (host, free)
}

#[test]
fn the_commands_make_the_shapes_of_the_documents() {
    if !have("openssl") {
        return;
    }
    let path = aws().join("hsm.crt");
    let shown = run(&["inspect", "--nameopt", "compat", path.to_str().unwrap()], b"").text();
    assert!(shown.contains("PARTN:1, for FIPS mode\n") && shown.contains("+OU=N3FIPS"), "{shown}");
    let version = Command::new("openssl").arg("version").output().unwrap().stdout;
    let version = String::from_utf8_lossy(&version).into_owned();
    if ["OpenSSL 1.", "OpenSSL 3.0.", "OpenSSL 3.1."].iter().any(|old| version.starts_with(old)) {
        assert!(shown.contains("version 1, RSA 2048"), "{shown}");
    }
    let directory = aws().to_str().unwrap();
    let report = run(&["doctor", directory, "--cluster-cert", path.to_str().unwrap()], b"");
    report.ends(0, &[]);
    assert!(aws().join("certs/21a10654.0").exists());
}

#[test]
fn openssl_serves_both_layers() {
    if !have("openssl") {
        return;
    }
    for (outer, inner) in [("1_2", "1_2"), ("1_2", "1_3"), ("1_3", "1_2"), ("1_3", "1_3")] {
        let (_hsm, hsm) = hsm(&format!("-tls{inner}"));
        let (_host, host) = host(&format!("-tls{outer}"), &hsm);
        let mut child = program()
            .args(["connect", &host, "--cloudhsm", aws().to_str().unwrap()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(b"drawer\n").unwrap();
        let mut answer = [0; 7];
        child.stdout.as_mut().unwrap().read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"reward\n");
        drop(stdin);
        let run = finish(child, b"");
        // Whether s_server says goodbye is its own affair; if not, that must not look like an end.
        assert!(matches!(run.status, Some(0 | 6)), "{run:?}");
        for words in [
            &format!("outer layer: TLS {}", outer.replace('_', ".")),
            &format!("inner layer: TLS {}", inner.replace('_', ".")),
            "we presented /C=US/O=Customer/CN=ssl-client",
            "we presented /C=US/O=Customer/CN=inner-client",
            "accepted: issued by /C=US/O=Customer/CN=customerCA",
        ] {
            assert!(run.stderr.contains(words), "{words:?} is not in {}", run.stderr);
        }
    }
}

/// OpenSSL refuses what it does not know, on the layer where it stands.
#[test]
fn openssl_refuses_our_certificate() {
    if !have("openssl") {
        return;
    }
    let directory = aws().to_str().unwrap();
    for version in ["-tls1_2", "-tls1_3"] {
        let (_hsm, hsm) = hsm(version);
        let (_host, host) = host(version, &hsm);
        let wrong = |layer: &str| {
            let certificate = format!("--{layer}-cert={directory}/anchor.crt");
            let key = format!("--{layer}-key={directory}/anchor.key");
            let ca = format!("--{layer}-cert={directory}/client.crt");
            let ca_key = format!("--{layer}-key={directory}/client.key");
            match layer {
                "outer" => [certificate, key],
                _ => [ca, ca_key],
            }
        };
        for (layer, status) in [("inner", 5), ("outer", 4)] {
            let own = wrong(layer);
            let arguments =
                ["connect", &host, "--cloudhsm", directory, "--report", &own[0], &own[1]];
            run(&arguments, b"").ends(
                status,
                &[&format!("{layer} TLS: the peer refused the connection"), "unknown_ca"],
            );
        }
    }
}

/// Our servers, with what the client directory's servers have.
fn serve() -> Server {
    let file = |option: &str, name: &str| format!("{option}={}", aws().join(name).display());
    Server::start(&[
        "serve".into(),
        "--echo".into(),
        file("--outer-cert", "certs/host.pem"),
        file("--outer-key", "host.key"),
        file("--outer-client-ca", "customerCA.crt"),
        file("--inner-cert", "hsm.crt"),
        file("--inner-key", "hsm.key"),
        file("--inner-client-ca", "anchor.crt"),
    ])
}

#[test]
fn openssl_is_the_client_of_both_layers() {
    if !have("openssl") {
        return;
    }
    let server = serve();
    for (outer_version, inner_version) in [
        ("-tls1_2", "-tls1_2"),
        ("-tls1_2", "-tls1_3"),
        ("-tls1_3", "-tls1_2"),
        ("-tls1_3", "-tls1_3"),
    ] {
        let strict = ["s_client", "-quiet", "-verify_return_error", "-verify", "3"];
        let own = ["-cert", "client.crt", "-key", "client.key", "-CAfile", "certs/host.pem"];
        let to = ["-connect", &server.address, outer_version];
        let mut outer = openssl(&[&strict[..], &own, &to].concat());
        let between = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = between.local_addr().unwrap().to_string();
        let own = ["-cert", "inner-leaf.crt", "-key", "inner.key", "-CAfile", "customerCA.crt"];
        let to = ["-connect", &address, inner_version];
        let mut inner = openssl(&[&strict[..], &own, &to].concat());
        join(&mut outer, &between.accept().unwrap().0);
        inner.0.stdin.as_mut().unwrap().write_all(b"round trip\n").unwrap();
        let mut answer = [0; 11];
        let read = inner.0.stdout.as_mut().unwrap().read_exact(&mut answer);
        assert!(read.is_ok(), "{outer_version} {inner_version}: {read:?}");
        assert_eq!(&answer, b"round trip\n");
    }
}

/// The very command of the service's document shows the host, without any certificate of a client.
#[test]
fn s_client_sees_the_outer_layer_of_every_server() {
    if !have("openssl") {
        return;
    }
    let file = |option: &str, name: &str| format!("{option}={}", aws().join(name).display());
    let relay = Server::start(&[
        "relay".into(),
        "--forward=127.0.0.1:1".into(),
        file("--outer-cert", "certs/host.pem"),
        file("--outer-key", "host.key"),
        file("--outer-client-ca", "customerCA.crt"),
    ]);
    let serve = serve();
    for address in [&relay.address, &serve.address] {
        let line = format!(
            "openssl s_client -connect {address} 2>/dev/null </dev/null | \
             openssl x509 -subject -issuer -serial -noout -nameopt compat"
        );
        let output = Command::new("sh").arg("-c").arg(line).output().unwrap();
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            format!("subject={SEED}\nissuer={SEED}\nserial=B7FA7A40976CBE82\n")
        );
    }
}
