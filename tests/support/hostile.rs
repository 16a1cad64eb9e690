//! A peer with real keys and no manners.
//!
//! [`Hostile`] shakes hands through rustls like any peer, then takes the keys into its own hands:
//! it seals whatever records it is told to, of any type, length, padding and sequence number, and
//! opens what the other side sends, record by record. It needs nothing of the crate under test, so
//! the same script can be played to a machine and to a raw rustls connection: see
//! `record_oracle.rs`, which does that.
//!
//! Everything it draws comes from its own seed ([`super::crypto`]), so that two of them with the
//! same seed against two victims with the same seed have the same keys and send the same bytes.
//!
//! ```ignore
//! let mut peer = Hostile::new(1, &setup.outer_end(Side::Right));
//! peer.connect(&mut |bytes| {
//!     victim.receive(bytes);
//!     victim.transmit(usize::MAX)
//! });
//! let record = peer.seal(HANDSHAKE, &[24, 0, 0, 1, 1]); // a KeyUpdate, requested
//! peer.update_tx();
//! victim.receive(&record);
//! assert_eq!(peer.open(&victim.transmit(usize::MAX)), [(HANDSHAKE, vec![24, 0, 0, 1, 0])]);
//! ```

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, Iv, MessageDecrypter, MessageEncrypter, OutboundChunks,
    OutboundPlainMessage,
};
use rustls::kernel::KernelConnection;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{
    ConnectionTrafficSecrets, ContentType, ExtractedSecrets, ProtocolVersion, SupportedCipherSuite,
};

use super::crypto;
use super::setup::End;

pub const CHANGE_CIPHER_SPEC: u8 = 20;
pub const ALERT: u8 = 21;
pub const HANDSHAKE: u8 = 22;
pub const DATA: u8 = 23;
pub const HEARTBEAT: u8 = 24;

/// The bodies of post-handshake messages that peers send most.
pub const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];
pub const KEY_UPDATE_REQUESTED: [u8; 5] = [24, 0, 0, 1, 1];
pub const HELLO_REQUEST: [u8; 4] = [0, 0, 0, 0];

/// A NewSessionTicket of TLS 1.3 with a ticket of `len` bytes.
pub fn ticket(len: usize) -> Vec<u8> {
    let mut body = vec![0, 0, 0x0e, 0x10, 1, 2, 3, 4, 1, 9];
    body.extend((len as u16).to_be_bytes());
    body.resize(body.len() + len, 0x7e);
    body.extend([0, 0]);
    handshake(4, &body)
}

/// A handshake message.
pub fn handshake(typ: u8, body: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = (body.len() as u32).to_be_bytes();
    let mut message = vec![typ];
    message.extend(length);
    message.extend_from_slice(body);
    message
}

/// The peer; see the module.
pub struct Hostile {
    state: State,
    randomness: u64,
    input: Vec<u8>,
    output: Vec<u8>,
}

enum State {
    Client(Box<UnbufferedClientConnection>),
    Server(Box<UnbufferedServerConnection>),
    Keys(Box<Keys>),
    Gone,
}

enum Kernel {
    Client(KernelConnection<ClientConnectionData>),
    Server(KernelConnection<ServerConnectionData>),
}

struct Keys {
    kernel: Kernel,
    suite: SupportedCipherSuite,
    encrypter: Box<dyn MessageEncrypter>,
    decrypter: Box<dyn MessageDecrypter>,
    tx: u64,
    rx: u64,
}

impl Hostile {
    /// A peer in the role of `end`; its seed need not be the victim's.
    pub fn new(seed: u64, end: &End) -> Self {
        let before = crypto::swap(seed);
        let state = match end {
            End::Client(config, name) => {
                let mut config = rustls::ClientConfig::clone(config);
                config.enable_secret_extraction = true;
                let connection = UnbufferedClientConnection::new(config.into(), name.clone());
                State::Client(Box::new(connection.unwrap()))
            }
            End::Server(config) => {
                let mut config = rustls::ServerConfig::clone(config);
                config.enable_secret_extraction = true;
                let connection = UnbufferedServerConnection::new(config.into());
                State::Server(Box::new(connection.unwrap()))
            }
        };
        let (input, output) = (Vec::new(), Vec::new());
        let mut peer = Self { state, randomness: 0, input, output };
        peer.randomness = crypto::swap(before);
        peer.handshake(&[]);
        peer
    }

    /// Shake hands with a victim that takes bytes and gives what it has to say then.
    pub fn connect(&mut self, victim: &mut dyn FnMut(&[u8]) -> Vec<u8>) {
        for _ in 0..20 {
            let flight = self.take();
            if flight.is_empty() && !self.is_handshaking() {
                return;
            }
            self.handshake(&victim(&flight));
        }
        panic!("the handshake does not end");
    }

    pub fn is_handshaking(&self) -> bool {
        !matches!(self.state, State::Keys(_))
    }

    /// What the handshake has for the victim.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// Go on with the handshake; what came behind it stays for [`Hostile::open`].
    pub fn handshake(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        let before = crypto::swap(self.randomness);
        // How many records more than one a message takes.
        let mut more = 0;
        loop {
            let (input, output) = (&mut self.input, &mut self.output);
            // rustls must not see application data: that is opened here.
            let len = super::records::ranges(input).get(more).map_or(input.len(), |r| r.end);
            let all = len == input.len();
            let (discard, done) = match &mut self.state {
                State::Client(c) => {
                    let (discard, done) = act(c.process_tls_records(&mut input[..len]), output);
                    (discard, done.map(|complete| complete && !c.is_handshaking()))
                }
                State::Server(c) => {
                    let (discard, done) = act(c.process_tls_records(&mut input[..len]), output);
                    (discard, done.map(|complete| complete && !c.is_handshaking()))
                }
                State::Keys(_) | State::Gone => break,
            };
            self.input.drain(..discard);
            more = if discard > 0 { 0 } else { more };
            match done {
                Some(true) => self.take_keys(),
                Some(false) if all => break,
                Some(false) if discard == 0 => more += 1,
                Some(false) => {}
                None => {}
            }
        }
        self.randomness = crypto::swap(before);
    }

    fn take_keys(&mut self) {
        let (ExtractedSecrets { tx, rx }, kernel) =
            match std::mem::replace(&mut self.state, State::Gone) {
                State::Client(c) => {
                    let (secrets, kernel) = c.dangerous_into_kernel_connection().unwrap();
                    (secrets, Kernel::Client(kernel))
                }
                State::Server(c) => {
                    let (secrets, kernel) = c.dangerous_into_kernel_connection().unwrap();
                    (secrets, Kernel::Server(kernel))
                }
                State::Keys(_) | State::Gone => unreachable!("one handshake, one set of keys"),
            };
        let suite = match &kernel {
            Kernel::Client(k) => k.negotiated_cipher_suite(),
            Kernel::Server(k) => k.negotiated_cipher_suite(),
        };
        self.state = State::Keys(Box::new(Keys {
            kernel,
            suite,
            encrypter: encrypter(suite, tx.1),
            decrypter: decrypter(suite, rx.1),
            tx: tx.0,
            rx: rx.0,
        }));
    }

    fn keys(&mut self) -> &mut Keys {
        match &mut self.state {
            State::Keys(keys) => keys,
            _ => panic!("the handshake is not complete"),
        }
    }

    /// A record under the next sequence number.
    pub fn seal(&mut self, typ: u8, payload: &[u8]) -> Vec<u8> {
        let keys = self.keys();
        keys.tx += 1;
        keys.seal(typ, payload, keys.tx - 1)
    }

    /// A record of TLS 1.3 with so much padding; in TLS 1.2, which has none, one without.
    pub fn seal_padded(&mut self, typ: u8, payload: &[u8], padding: usize) -> Vec<u8> {
        if padding == 0 || !self.is_tls13() {
            return self.seal(typ, payload);
        }
        // The encrypter's own type is the last byte of the padding.
        let mut padded = payload.to_vec();
        padded.push(typ);
        padded.resize(padded.len() + padding - 1, 0);
        self.seal(0, &padded)
    }

    /// A record under any sequence number; the next one stays what it is.
    pub fn seal_at(&mut self, typ: u8, payload: &[u8], sequence: u64) -> Vec<u8> {
        self.keys().seal(typ, payload, sequence)
    }

    /// The next sequence number to seal with.
    pub fn sequence(&mut self) -> u64 {
        self.keys().tx
    }

    pub fn is_tls13(&mut self) -> bool {
        matches!(self.keys().suite, SupportedCipherSuite::Tls13(_))
    }

    /// From here on seal under the next keys, as after a KeyUpdate.
    pub fn update_tx(&mut self) {
        let keys = self.keys();
        let (sequence, secrets) = match &mut keys.kernel {
            Kernel::Client(k) => k.update_tx_secret().unwrap(),
            Kernel::Server(k) => k.update_tx_secret().unwrap(),
        };
        keys.tx = sequence;
        keys.encrypter = encrypter(keys.suite, secrets);
    }

    /// Open every whole record that the victim has sent: type and payload. KeyUpdates are followed.
    ///
    /// # Panics
    /// If one does not open: the victim is trusted here.
    pub fn open(&mut self, bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
        self.input.extend_from_slice(bytes);
        let mut input = std::mem::take(&mut self.input);
        let mut opened = Vec::new();
        let mut at = 0;
        while let Some(&[typ, major, minor, high, low]) = input[at..].first_chunk::<5>() {
            let end = at + 5 + usize::from(u16::from_be_bytes([high, low]));
            let Some(payload) = input.get_mut(at + 5..end) else { break };
            let keys = self.keys();
            let version = ProtocolVersion::from(u16::from_be_bytes([major, minor]));
            let record = InboundOpaqueMessage::new(typ.into(), version, payload);
            let plain = keys.decrypter.decrypt(record, keys.rx).expect("the victim's record");
            keys.rx += 1;
            let typ = u8::from(plain.typ);
            let payload = plain.payload.to_vec();
            if typ == HANDSHAKE && payload[0] == KEY_UPDATE[0] {
                let (sequence, secrets) = match &mut keys.kernel {
                    Kernel::Client(k) => k.update_rx_secret().unwrap(),
                    Kernel::Server(k) => k.update_rx_secret().unwrap(),
                };
                keys.rx = sequence;
                keys.decrypter = decrypter(keys.suite, secrets);
            }
            opened.push((typ, payload));
            at = end;
        }
        self.input = input.split_off(at);
        opened
    }
}

impl Keys {
    fn seal(&mut self, typ: u8, payload: &[u8], sequence: u64) -> Vec<u8> {
        let message = OutboundPlainMessage {
            typ: ContentType::from(typ),
            version: ProtocolVersion::TLSv1_2,
            payload: OutboundChunks::Single(payload),
        };
        self.encrypter.encrypt(message, sequence).unwrap().encode()
    }
}

/// One step of the handshake; whether it is complete, `None` while there is more to do at once.
fn act<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    output: &mut Vec<u8>,
) -> (usize, Option<bool>) {
    let UnbufferedStatus { discard, state } = status;
    let done = match state {
        Ok(ConnectionState::EncodeTlsData(mut data)) => {
            let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut []) else {
                panic!("a record of no bytes");
            };
            let start = output.len();
            output.resize(start + size.required_size, 0);
            data.encode(&mut output[start..]).unwrap();
            None
        }
        Ok(ConnectionState::TransmitTlsData(data)) => {
            data.done();
            None
        }
        Ok(ConnectionState::WriteTraffic(_)) => Some(true),
        Ok(ConnectionState::BlockedHandshake) => Some(false),
        Ok(state) => panic!("not in a handshake: {state:?}"),
        Err(error) => panic!("the hostile peer's handshake failed: {error}"),
    };
    (discard, done)
}

fn key_and_iv(secrets: ConnectionTrafficSecrets) -> (AeadKey, Iv) {
    match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (key, iv),
        _ => panic!("unknown secrets"),
    }
}

fn encrypter(
    suite: SupportedCipherSuite,
    secrets: ConnectionTrafficSecrets,
) -> Box<dyn MessageEncrypter> {
    let (key, iv) = key_and_iv(secrets);
    match suite {
        SupportedCipherSuite::Tls13(suite) => suite.aead_alg.encrypter(key, iv),
        SupportedCipherSuite::Tls12(suite) => {
            let fixed = suite.aead_alg.key_block_shape().fixed_iv_len;
            let (fixed, explicit) = iv.as_ref().split_at(fixed);
            suite.aead_alg.encrypter(key, fixed, explicit)
        }
    }
}

fn decrypter(
    suite: SupportedCipherSuite,
    secrets: ConnectionTrafficSecrets,
) -> Box<dyn MessageDecrypter> {
    let (key, iv) = key_and_iv(secrets);
    match suite {
        SupportedCipherSuite::Tls13(suite) => suite.aead_alg.decrypter(key, iv),
        SupportedCipherSuite::Tls12(suite) => {
            let fixed = suite.aead_alg.key_block_shape().fixed_iv_len;
            suite.aead_alg.decrypter(key, &iv.as_ref()[..fixed])
        }
    }
}
