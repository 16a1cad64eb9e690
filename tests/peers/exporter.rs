//! Keying material of a layer, beside what the `openssl` program derives on the same connection.

use std::io::Write as _;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::Arc;

use nested_tls::adapter::blocking::Stream;
use nested_tls::{Layer, Limits, Ports, Role, Session};
use rustls::pki_types::PrivateKeyDer;

use crate::tools::have;

#[test]
fn openssl_derives_the_same() {
    if !have("openssl") {
        return;
    }
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
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

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = Command::new("openssl")
        .args(["s_client", "-connect", &listener.local_addr().unwrap().to_string()])
        .args(["-keymatexport", "EXPORTER-Channel-Binding", "-keymatexportlen", "32"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let machine = Session::new(Role::server(config).with_exporter(), Limits::default()).unwrap();
    let mut stream = Stream::connect(machine, listener.accept().unwrap().0).unwrap();
    let ours = stream.machine().tls_exporter(Layer::Outer).unwrap();
    stream.write_all(b"bound\n").unwrap();
    stream.shutdown().unwrap();
    drop(client.stdin.take());
    let output = client.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let hex: String = ours.iter().map(|byte| format!("{byte:02X}")).collect();
    assert!(text.contains(&format!("Keying material: {hex}")), "{hex} is not in {text}");
}
