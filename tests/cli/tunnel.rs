//! `connect --http-connect`: through an HTTP proxy with a TLS port.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use nested_tls::adapter::blocking::Stream;
use nested_tls::identity::{Pin, Pinned};
use nested_tls::{Direct, Limits, Role, Session};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::NoClientAuth;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme};

use crate::support::{OUTER_CLIENT, directory, files, run};

/// A server's end of one layer, with a certificate of the directory.
fn server(name: &str) -> Role {
    role(name, Arc::new(NoClientAuth))
}

/// The same that asks for a client certificate, and takes what it gets, or nothing.
fn asking(name: &str) -> Role {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let hsm = CertificateDer::from_pem_file(files().join("client.crt")).unwrap();
    let rule = Pinned::new([Pin::certificate(hsm)], provider).unwrap();
    role(name, Arc::new(Lenient(rule)))
}

fn role(name: &str, verifier: Arc<dyn ClientCertVerifier>) -> Role {
    let file = |ending| files().join(format!("{name}.{ending}"));
    let certificate = CertificateDer::from_pem_file(file("crt")).unwrap();
    let key = PrivateKeyDer::from_pem_file(file("key")).unwrap();
    let config =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(rustls::ALL_VERSIONS)
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate], key)
            .unwrap();
    Role::server(config)
}

/// A rule for those who show a certificate.
#[derive(Debug)]
struct Lenient(Pinned);

impl ClientCertVerifier for Lenient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.0.verify_client_cert(leaf, chain, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        ClientCertVerifier::verify_tls12_signature(&self.0, message, leaf, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        ClientCertVerifier::verify_tls13_signature(&self.0, message, leaf, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ClientCertVerifier::supported_verify_schemes(&self.0)
    }
}

type Outer = Stream<Session, TcpStream>;

/// A proxy for one connection, which answers `answer` and then does `after`. Gives the request.
fn proxy(
    answer: &'static [u8],
    after: impl FnOnce(Outer) + Send + 'static,
) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let thread = thread::spawn(move || {
        let session = Session::new(server("host"), Limits::default()).unwrap();
        let mut stream = Stream::connect(session, listener.accept().unwrap().0).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        stream.write_all(answer).unwrap();
        stream.flush().unwrap();
        after(stream);
        String::from_utf8(head).unwrap()
    });
    (address, thread)
}

/// The origin behind the proxy: the inner layer, which echoes.
fn origin(stream: Outer) {
    let mut stream = stream.nest(server("named"), Direct).unwrap();
    let mut said = Vec::new();
    stream.read_to_end(&mut said).unwrap();
    stream.write_all(&said).unwrap();
    stream.shutdown().unwrap();
}

fn arguments<'a>(address: &'a str, to: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["connect", address, "--http-connect", to];
    arguments.extend(OUTER_CLIENT);
    arguments.extend(["--inner-ca", "customerCA.crt"]);
    arguments.extend(more);
    arguments
}

#[test]
fn the_inner_layer_goes_through_the_tunnel() {
    let auth = directory("tunnel").join("auth");
    fs::write(&auth, "Aladdin:open sesame\n").unwrap();
    let (address, thread) = proxy(b"HTTP/1.1 200 OK\r\nVia: x\r\n\r\n", origin);
    let more = ["--http-auth", auth.to_str().unwrap()];
    let input = vec![7; 300_000];
    let said = run(&arguments(&address, "hsm.test:2223", &more), &input);
    said.ends(0, &["connected to"]);
    assert_eq!(said.stdout, input);
    assert_eq!(
        thread.join().unwrap(),
        "CONNECT hsm.test:2223 HTTP/1.1\r\nHost: hsm.test:2223\r\n\
         Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n"
    );
}

/// The inner server's name is the one that the tunnel goes to.
#[test]
fn another_origin_is_refused() {
    let (address, _thread) = proxy(b"HTTP/1.1 200 OK\r\n\r\n", |stream| {
        let mut stream = stream.nest(server("named"), Direct).unwrap();
        let _ = stream.handshake();
    });
    run(&arguments(&address, "other.test:2223", &[]), b"")
        .ends(5, &["inner TLS", "other.test", "hsm.test"]);
}

#[test]
fn a_tunnel_that_does_not_open_is_told() {
    for (answer, words) in [
        (
            &b"HTTP/1.1 407 Authentication Required\r\nProxy-Authenticate: Basic realm=x\r\n\r\n"[..],
            &["refused the tunnel", "407", "Basic realm=x", "--http-auth"][..],
        ),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\nbad", &["502 Bad Gateway"]),
        (b"220 mail.test ESMTP\r\n", &["no answer in HTTP/1", "begins with \"2\""]),
        (b"HTTP/1.1 200 O", &["ended before it"]),
    ] {
        let (address, thread) = proxy(answer, |mut stream| stream.shutdown().unwrap());
        run(&arguments(&address, "hsm.test:2223", &[]), b"").ends(7, words);
        thread.join().unwrap();
    }
    let (address, _thread) = proxy(b"HTTP/1.1 100 Continue\r\n\r\n", |mut stream| {
        let _ = stream.read(&mut [0]);
    });
    run(&arguments(&address, "hsm.test:2223", &["--timeout", "0.5"]), b"")
        .ends(7, &["not whole within 0.5 s"]);
}

/// A host may end the handshake, and refuse the client's certificate only then.
#[test]
fn a_refusal_after_the_handshake_may_be_about_our_certificate() {
    let refuse = |answer: &'static [u8]| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let thread = thread::spawn(move || {
            let session = Session::new(asking("host"), Limits::default()).unwrap();
            let mut stream = Stream::connect(session, listener.accept().unwrap().0).unwrap();
            stream.write_all(answer).unwrap();
            stream.shutdown().unwrap();
        });
        (address, thread)
    };
    for answer in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"HTTP/1.1 403 Forbidden\r\n\r\n", b""]
    {
        let (address, thread) = refuse(answer);
        run(&arguments(&address, "hsm.test:2223", &[]), b"")
            .ends(7, &["may have refused our outer certificate", "client.crt", "issued client"]);
        thread.join().unwrap();
        let (address, thread) = refuse(answer);
        let mut without = arguments(&address, "hsm.test:2223", &[]);
        without.retain(|argument| {
            !argument.starts_with("--outer-cert") && !argument.starts_with("--outer-key")
        });
        without.retain(|argument| !argument.starts_with("client."));
        run(&without, b"").ends(7, &["asked for a certificate on the outer layer, and got none"]);
        thread.join().unwrap();
    }
    // Who has not asked has not refused.
    let (address, thread) = proxy(b"HTTP/1.1 403 Forbidden\r\n\r\n", |mut stream| {
        stream.shutdown().unwrap();
    });
    let run = run(&arguments(&address, "hsm.test:2223", &[]), b"");
    assert!(!run.ends(7, &["403"]).stderr.contains("certificate"), "{}", run.stderr);
    thread.join().unwrap();
}

#[test]
fn what_can_not_be_asked_for_is_a_usage_error() {
    let auth = directory("tunnel-auth").join("auth");
    fs::write(&auth, "no colon").unwrap();
    let auth = auth.to_str().unwrap();
    for (to, more, words) in [
        ("a b:1", &[][..], &["a b", "--http-connect"][..]),
        ("hsm.test", &[], &["HOST:PORT"]),
        ("hsm.test:1", &["--http-auth", auth], &["USER:PASSWORD", auth]),
        ("hsm.test:1", &["--http-auth", "not-there"], &["--http-auth", "not-there"]),
    ] {
        run(&arguments("127.0.0.1:1", to, more), b"").ends(2, words);
    }
}
