//! The outer layer around the one under test: mutual TLS in memory, pinned both ways.

use std::io::{Read, Write};
use std::sync::Arc;

use nested_tls::Role;
use nested_tls::identity::{Pin, Pinned};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, Connection, ProtocolVersion, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
};

use crate::crypto;

/// The near end's role and the far end itself, which is rustls alone.
pub fn pair(near_is_server: bool, version: &'static SupportedProtocolVersion) -> (Role, Far) {
    let provider = Arc::new(crypto::default_provider());
    let made = rcgen::generate_simple_self_signed(["host".to_owned()]).expect("a certificate");
    let certificate: CertificateDer<'static> = made.cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let pin = Pinned::new([Pin::certificate(certificate.clone())], provider.clone());
    let pin = Arc::new(pin.expect("a pin"));
    let client = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[version])
        .expect("a version")
        .dangerous()
        .with_custom_certificate_verifier(pin.clone())
        .with_client_auth_cert(vec![certificate.clone()], key.clone_key())
        .expect("a client's configuration");
    let server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_client_cert_verifier(pin)
        .with_single_cert(vec![certificate], key)
        .expect("a server's configuration");
    let name = ServerName::try_from("host").expect("a name");
    let (near, far) = match near_is_server {
        true => {
            let far = ClientConnection::new(Arc::new(client), name).expect("a client");
            (Role::server(server), Connection::from(far))
        }
        false => {
            let far = ServerConnection::new(Arc::new(server)).expect("a server");
            (Role::client(client, name), Connection::from(far))
        }
    };
    (near, Far { connection: far, key_updates: 0 })
}

/// The host: gets the outer layer's records, hands on what is in them.
pub struct Far {
    connection: Connection,
    key_updates: usize,
}

/// Each is answered, and rustls takes no more than 32 answers without data between them.
const MAX_KEY_UPDATES: usize = 32;

impl Far {
    /// What is in the near end's `records`.
    pub fn open(&mut self, mut records: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        while !records.is_empty() {
            self.connection.read_tls(&mut records).expect("the far end reads");
            self.connection.process_new_packets().expect("the near end's outer records are right");
            // Without data `WouldBlock`, behind the near end's close_notify the end.
            let _ = self.connection.reader().read_to_end(&mut plain);
        }
        plain
    }

    /// Put `plain` in records.
    pub fn seal(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut records = Vec::new();
        // New keys with each step, where there are such: nothing of it may show inside.
        let tls13 = self.connection.protocol_version() == Some(ProtocolVersion::TLSv1_3);
        if tls13 && !self.connection.is_handshaking() && self.key_updates < MAX_KEY_UPDATES {
            self.key_updates += 1;
            self.connection.refresh_traffic_keys().expect("TLS 1.3 has new keys");
        }
        // Within the far end's limit of what it holds.
        for piece in plain.chunks(16_384) {
            self.connection.writer().write_all(piece).expect("the far end writes");
            records.extend(self.records());
        }
        records
    }

    /// Records that wait for the near end.
    pub fn records(&mut self) -> Vec<u8> {
        let mut records = Vec::new();
        while self.connection.wants_write() {
            self.connection.write_tls(&mut records).expect("memory");
        }
        records
    }

    /// The host's end.
    pub fn close(&mut self) -> Vec<u8> {
        self.connection.send_close_notify();
        self.records()
    }
}
