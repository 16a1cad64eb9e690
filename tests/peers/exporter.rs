//! Channel bindings of a layer, beside what the `openssl` program makes of the same connection.

use std::io::Write as _;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::Arc;

use nested_tls::adapter::blocking::Stream;
use nested_tls::identity::Certificate;
use nested_tls::{Direct, Layer, Limits, Ports, Role, Session};
use rustls::RootCertStore;
use rustls::pki_types::{PrivateKeyDer, ServerName};

use crate::identities::Identities;
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

/// To a client, each layer's `tls-server-end-point` is OpenSSL's fingerprint of that layer's server.
#[test]
fn each_layer_has_its_own_end_point() {
    if !have("openssl") {
        return;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let identities = Identities::empty("end-points");
    let layers = [
        (Layer::Outer, &rcgen::PKCS_ECDSA_P256_SHA256, "-sha256"),
        (Layer::Inner, &rcgen::PKCS_ECDSA_P384_SHA384, "-sha384"),
    ];
    let [outer, inner] = layers.map(|(layer, kind, _)| {
        let key = rcgen::KeyPair::generate_for(kind).unwrap();
        let params = rcgen::CertificateParams::new(["host.test".into()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        identities.add(&layer.to_string(), &certificate.pem(), &key.serialize_pem());
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).unwrap();
        let client = rustls::ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let server = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .unwrap();
        let name = ServerName::try_from("host.test").unwrap();
        (Role::client(client, name), Role::server(server))
    });
    let nested =
        |outer, inner| Session::new(outer, Limits::default()).unwrap().nest(inner, Direct).unwrap();
    let mut client = nested(outer.0, inner.0);
    let mut server = nested(outer.1, inner.1);
    for _ in 0..3 {
        while let Some(mut bytes) = client.wire_out_bytes() {
            server.wire_in_from(&mut bytes).unwrap();
        }
        while let Some(mut bytes) = server.wire_out_bytes() {
            client.wire_in_from(&mut bytes).unwrap();
        }
    }

    for (layer, _, hash) in layers {
        let sent = client.layer(layer).unwrap().peer_certificates.as_ref().unwrap();
        let certificate = Certificate::from_der(&sent[0]).unwrap();
        let ours = certificate.tls_server_end_point(&provider).unwrap();
        let output = Command::new("openssl")
            .args(["x509", "-noout", "-fingerprint", hash, "-in"])
            .arg(identities.path(&layer.to_string(), "pem"))
            .output()
            .unwrap();
        let theirs = String::from_utf8(output.stdout).unwrap();
        let hex: Vec<_> = ours.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
        assert!(theirs.trim_end().ends_with(&format!("={}", hex.join(":"))), "{layer}: {theirs}");
    }
}
