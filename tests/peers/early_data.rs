//! Early data of the outer layer, with the `openssl` program at the other end.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nested_tls::adapter::blocking::Stream;
use nested_tls::{
    ClientSessions, Direct, Event, Layer, Limits, Nested, Ports, Prepared, Role, Session,
};
use rustls::RootCertStore;
use rustls::client::{ClientSessionMemoryCache, WebPkiServerVerifier};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::server::NoClientAuth;

use crate::identities::Identities;
use crate::tools::have;

fn certificate() -> (rcgen::Certificate, rcgen::KeyPair) {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(["host.test".into()]).unwrap();
    (params.self_signed(&key).unwrap(), key)
}

/// The machine talks until the outer layer is established and a ticket has come behind it.
fn outer_handshake(mut machine: Nested, mut socket: TcpStream) -> Nested {
    let mut established = None;
    loop {
        while let Some(bytes) = machine.wire_out_bytes() {
            socket.write_all(&bytes).unwrap();
        }
        let records = machine.layer(Layer::Outer).unwrap().records_in;
        if machine.poll_event() == Some(Event::Established(Layer::Outer)) {
            established = Some(records);
        }
        if established.is_some_and(|before| records > before) {
            // OpenSSL forgets the session of a connection that just breaks off.
            machine.close();
            while let Some(bytes) = machine.wire_out_bytes() {
                socket.write_all(&bytes).unwrap();
            }
            socket.shutdown(Shutdown::Write).unwrap();
            socket.read_to_end(&mut Vec::new()).unwrap();
            return machine;
        }
        let n = socket.read(machine.wire_in().unwrap()).unwrap();
        assert!(n > 0, "the peer has gone");
        machine.wire_received(n).unwrap();
    }
}

#[test]
fn openssl_takes_the_inner_hello_early() {
    if !have("openssl") {
        return;
    }
    let (certificate, key) = certificate();
    let identities = Identities::empty("early-data");
    identities.add("host", &certificate.pem(), &key.serialize_pem());
    let mut server = Command::new("openssl")
        .args(["s_server", "-accept", "127.0.0.1:0", "-tls1_3", "-early_data"])
        .args(["-max_early_data", "16384", "-naccept", "2"])
        .arg("-cert")
        .arg(identities.path("host", "pem"))
        .arg("-key")
        .arg(identities.path("host", "key"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(server.stdout.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("ACCEPT") {
        line.clear();
        assert!(output.read_line(&mut line).unwrap() > 0, "the server has gone");
    }
    let address = line.trim().trim_start_matches("ACCEPT ").to_owned();

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let rule = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let rule = rule.build().unwrap();
    let config = || {
        rustls::ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_webpki_verifier(rule.clone())
            .with_no_client_auth()
    };
    let name = ServerName::try_from("host.test").unwrap();
    let sessions = ClientSessions::new(rule.clone(), Arc::new(ClientSessionMemoryCache::new(8)));
    let outer = Prepared::from(config()).with_resumption(sessions).with_early_data();
    let (outer, inner) = (Role::client(outer, name.clone()), Role::client(config(), name));

    for again in [false, true] {
        let session = Session::new(outer.clone(), Limits::default()).unwrap();
        let machine = session.nest(inner.clone(), Direct).unwrap();
        let socket = TcpStream::connect(&address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let machine = outer_handshake(machine, socket);
        let info = machine.layer(Layer::Outer).unwrap();
        assert_eq!((info.resumed, info.early_data), (again, again));
    }
    drop(server.stdin.take());
    server.wait().unwrap();
    let mut said = Vec::new();
    output.read_to_end(&mut said).unwrap();
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("Early data received:"), "{said}");
}

#[test]
fn openssl_s_early_data_is_read_behind_its_handshake() {
    if !have("openssl") {
        return;
    }
    let (certificate, key) = certificate();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )
        .unwrap();
    let role = Role::server(
        Prepared::from(config).with_resumption(Arc::new(NoClientAuth)).with_early_data(),
    );
    let identities = Identities::empty("early-data-sent");
    let (session, early) = (identities.dir.join("session"), identities.dir.join("early"));
    std::fs::write(&early, "said early").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    for again in [false, true] {
        let mut client = Command::new("openssl");
        client.args(["s_client", "-connect", &listener.local_addr().unwrap().to_string()]);
        client.args(["-servername", "host.test"]);
        match again {
            false => client.arg("-sess_out").arg(&session),
            true => client.arg("-sess_in").arg(&session).arg("-early_data").arg(&early),
        };
        let mut client = client
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let machine = Session::new(role.clone(), Limits::default()).unwrap();
        let mut stream = Stream::connect(machine, listener.accept().unwrap().0).unwrap();
        let info = stream.machine().layer(Layer::Outer).unwrap();
        assert_eq!((info.resumed, info.early_data), (again, again));
        if again {
            let mut said = [0; 10];
            stream.read_exact(&mut said).unwrap();
            assert_eq!(&said, b"said early");
        }
        // Whoever sees the end has seen the tickets in front of it.
        stream.shutdown().unwrap();
        client.wait().unwrap();
    }
}
