//! The other limit: a message through the suite's encrypters and decrypters, which is all that a
//! provider offers, and one copy off the wire. No record layer, no ports, no events.

use std::io::Read;
use std::sync::Arc;

use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, Iv, MessageDecrypter, MessageEncrypter, OutboundChunks,
    OutboundPlainMessage,
};
use rustls::{
    ClientConfig, ClientConnection, ConnectionTrafficSecrets, ContentType, ProtocolVersion,
    ServerConfig, ServerConnection, SupportedCipherSuite,
};

use super::config::{INNER, Layer, OUTER};
use super::link::{Arrived, Contestant, PIECE};

/// One direction of one layer.
struct Ciphers {
    encrypter: Box<dyn MessageEncrypter>,
    decrypter: Box<dyn MessageDecrypter>,
}

impl Ciphers {
    /// With the keys of a handshake: rustls makes none of the right length otherwise.
    fn new(layer: &Layer) -> Self {
        let mut config = ClientConfig::clone(&layer.client);
        config.enable_secret_extraction = true;
        let mut client = ClientConnection::new(Arc::new(config), layer.name.clone()).unwrap();
        let mut config = ServerConfig::clone(&layer.server);
        config.enable_secret_extraction = true;
        let mut server = ServerConnection::new(Arc::new(config)).unwrap();
        while client.is_handshaking() || server.is_handshaking() {
            let mut flight = Vec::new();
            client.write_tls(&mut flight).unwrap();
            server.read_tls(&mut &flight[..]).unwrap();
            server.process_new_packets().unwrap();
            flight.clear();
            server.write_tls(&mut flight).unwrap();
            client.read_tls(&mut &flight[..]).unwrap();
            client.process_new_packets().unwrap();
        }
        let Some(SupportedCipherSuite::Tls13(suite)) = client.negotiated_cipher_suite() else {
            panic!("no suite of TLS 1.3");
        };
        let (key, iv) = key_and_iv(client.dangerous_extract_secrets().unwrap().tx.1);
        let encrypter = suite.aead_alg.encrypter(key, iv);
        let (key, iv) = key_and_iv(server.dangerous_extract_secrets().unwrap().rx.1);
        Self { encrypter, decrypter: suite.aead_alg.decrypter(key, iv) }
    }

    fn seal(&mut self, payload: OutboundChunks<'_>, sequence: u64) -> Vec<u8> {
        let version = ProtocolVersion::TLSv1_2;
        let message = OutboundPlainMessage { typ: ContentType::ApplicationData, version, payload };
        self.encrypter.encrypt(message, sequence).unwrap().encode()
    }

    fn open<'a>(&mut self, payload: &'a mut [u8], sequence: u64) -> &'a mut [u8] {
        let version = ProtocolVersion::TLSv1_2;
        let message = InboundOpaqueMessage::new(ContentType::ApplicationData, version, payload);
        let len = self.decrypter.decrypt(message, sequence).unwrap().payload.len();
        &mut payload[..len]
    }
}

fn key_and_iv(secrets: ConnectionTrafficSecrets) -> (AeadKey, Iv) {
    match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (key, iv),
        _ => panic!("secrets of an unknown form"),
    }
}

/// Both layers, and where the receiver has what came off the wire.
pub struct Bare {
    inner: Ciphers,
    outer: Ciphers,
    buffer: Vec<u8>,
    sequence: u64,
    wire: u64,
}

impl Bare {
    pub fn new() -> Self {
        let (inner, outer) = (Ciphers::new(&INNER), Ciphers::new(&OUTER));
        Self { inner, outer, buffer: vec![0; 1 << 15], sequence: 0, wire: 0 }
    }

    fn message(&mut self, data: &[u8]) {
        const HEADER: usize = 5;
        let record = seal(&mut self.inner, data, self.sequence);
        let record = seal(&mut self.outer, &record, self.sequence);
        self.wire += record.len() as u64;
        let arrived = &mut self.buffer[..record.len()];
        Arrived(&record).read_exact(arrived).unwrap();
        let inner = self.outer.open(&mut arrived[HEADER..], self.sequence);
        let plain = self.inner.open(&mut inner[HEADER..], self.sequence);
        assert_eq!(plain.len(), data.len());
        self.sequence += 1;
    }
}

/// One record, in the same pieces as the crate's: these are copied alike wherever they lie.
fn seal(ciphers: &mut Ciphers, data: &[u8], sequence: u64) -> Vec<u8> {
    if data.len() <= PIECE {
        return ciphers.seal(OutboundChunks::Single(data), sequence);
    }
    let mut pieces = [&[][..]; 9];
    let count = data.len().div_ceil(PIECE);
    pieces.iter_mut().zip(data.chunks(PIECE)).for_each(|(place, piece)| *place = piece);
    ciphers.seal(OutboundChunks::new(&pieces[..count]), sequence)
}

impl Contestant for Bare {
    fn send(&mut self, data: &[u8], count: usize) {
        for _ in 0..count {
            data.chunks(super::FULL).for_each(|record| self.message(record));
        }
    }

    fn echo(&mut self, data: &[u8]) {
        self.send(data, 2);
    }

    fn wire_bytes(&self) -> u64 {
        self.wire
    }
}
