//! Cryptography that protects nothing, so that a fuzzer gets past it: no secrets, an identity
//! cipher, signatures that anybody can make. For tests alone; no feature of the crate reaches it.
//!
//! Two strengths. [`Strength::Sums`] notices what real cryptography would notice, by checksums over
//! everything that keys, records and signatures depend on, at a hundredth of the cost: whoever only
//! changes bytes gets nowhere. [`Strength::Nothing`] accepts every record, Finished and signature,
//! so that bytes nobody computed reach what lies behind them.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, InboundPlainMessage, Iv, KeyBlockShape, MessageDecrypter,
    MessageEncrypter, OutboundOpaqueMessage, OutboundPlainMessage, PrefixedPayload,
    Tls12AeadAlgorithm, Tls13AeadAlgorithm, UnsupportedOperationError,
};
use rustls::crypto::hash::{self, HashAlgorithm, Output};
use rustls::crypto::hmac::{self, Tag};
use rustls::crypto::tls12::PrfUsingHmac;
use rustls::crypto::tls13::HkdfUsingHmac;
use rustls::crypto::{
    ActiveKeyExchange, CipherSuiteCommon, CryptoProvider, KeyExchangeAlgorithm, KeyProvider,
    SharedSecret, SupportedKxGroup, WebPkiSupportedAlgorithms,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, Signer, SigningKey, SingleCertAndKey};
use rustls::{
    CipherSuite, ClientConfig, ConnectionTrafficSecrets, ContentType, DigitallySignedStruct,
    DistinguishedName, Error, NamedGroup, PeerMisbehaved, ProtocolVersion, ServerConfig,
    SignatureAlgorithm, SignatureScheme, SupportedCipherSuite, Tls12CipherSuite, Tls13CipherSuite,
};

use super::crypto::{FixedTime, SEEDED};
use super::pki::Version;

/// What is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strength {
    /// Every changed byte.
    Sums,
    /// No changed byte.
    Nothing,
}

use Strength::{Nothing, Sums};

impl Strength {
    /// The sum of `parts`; always the same one where nothing is noticed.
    fn sum<'a>(self, parts: impl IntoIterator<Item = &'a [u8]>) -> Sum {
        let mut sum = Sum::default();
        if self == Sums {
            parts.into_iter().for_each(|part| sum.add(part));
        }
        sum
    }
}

/// A checksum of 64 bits (FNV-1a): one changed byte always changes it.
#[derive(Clone)]
struct Sum(u64);

impl Default for Sum {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Sum {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }

    /// As [`Sum::add`], eight bytes at once: another sum for the same bytes, as quick as a copy.
    fn add_record(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.split_at(bytes.len() / 8 * 8);
        for word in words.chunks_exact(8) {
            let word = word.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
            self.0 = (self.0 ^ word).wrapping_mul(0x100_0000_01b3).rotate_left(29);
        }
        self.add(rest);
    }

    fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut rng = super::crypto::Rng(self.0);
        let mut bytes = [0; N];
        rng.fill(&mut bytes);
        bytes
    }
}

// Hashes.

struct Hashes(Strength);

impl hash::Hash for Hashes {
    fn start(&self) -> Box<dyn hash::Context> {
        Box::new(Context(self.0, Sum::default()))
    }

    fn hash(&self, data: &[u8]) -> Output {
        Output::new(&self.0.sum([data]).bytes::<32>())
    }

    fn output_len(&self) -> usize {
        32
    }

    fn algorithm(&self) -> HashAlgorithm {
        HashAlgorithm::SHA256
    }
}

struct Context(Strength, Sum);

impl hash::Context for Context {
    fn fork_finish(&self) -> Output {
        Output::new(&self.1.bytes::<32>())
    }

    fn fork(&self) -> Box<dyn hash::Context> {
        Box::new(Self(self.0, self.1.clone()))
    }

    fn finish(self: Box<Self>) -> Output {
        self.fork_finish()
    }

    fn update(&mut self, data: &[u8]) {
        if self.0 == Sums {
            self.1.add(data);
        }
    }
}

impl hmac::Hmac for Hashes {
    fn with_key(&self, key: &[u8]) -> Box<dyn hmac::Key> {
        Box::new(HmacKey(self.0, key.to_vec()))
    }

    fn hash_output_len(&self) -> usize {
        32
    }
}

struct HmacKey(Strength, Vec<u8>);

impl hmac::Key for HmacKey {
    fn sign_concat(&self, first: &[u8], middle: &[&[u8]], last: &[u8]) -> Tag {
        let parts = [&self.1[..], first].into_iter().chain(middle.iter().copied()).chain([last]);
        Tag::new(&self.0.sum(parts).bytes::<32>())
    }

    fn tag_len(&self) -> usize {
        32
    }
}

// Records, in the shapes of AES-GCM.

const TAG: usize = 16;
const EXPLICIT_NONCE: usize = 8;

struct Aead(Strength);

struct Records {
    strength: Strength,
    key: AeadKey,
    iv: Vec<u8>,
    tls13: bool,
}

impl Aead {
    fn records(&self, key: AeadKey, iv: &[u8], tls13: bool) -> Box<Records> {
        Box::new(Records { strength: self.0, key, iv: iv.to_vec(), tls13 })
    }
}

impl Tls13AeadAlgorithm for Aead {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        self.records(key, iv.as_ref(), true)
    }

    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        self.records(key, iv.as_ref(), true)
    }

    fn key_len(&self) -> usize {
        16
    }

    fn extract_keys(
        &self,
        key: AeadKey,
        iv: Iv,
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        Ok(ConnectionTrafficSecrets::Aes128Gcm { key, iv })
    }
}

impl Tls12AeadAlgorithm for Aead {
    fn encrypter(&self, key: AeadKey, iv: &[u8], _: &[u8]) -> Box<dyn MessageEncrypter> {
        self.records(key, iv, false)
    }

    fn decrypter(&self, key: AeadKey, iv: &[u8]) -> Box<dyn MessageDecrypter> {
        self.records(key, iv, false)
    }

    fn key_block_shape(&self) -> KeyBlockShape {
        KeyBlockShape { enc_key_len: 16, fixed_iv_len: 4, explicit_nonce_len: EXPLICIT_NONCE }
    }

    fn extract_keys(
        &self,
        key: AeadKey,
        iv: &[u8],
        explicit: &[u8],
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        let iv = Iv::copy(&[iv, explicit].concat());
        Ok(ConnectionTrafficSecrets::Aes128Gcm { key, iv })
    }
}

impl Records {
    /// Bytes before the payload.
    fn head(&self) -> usize {
        if self.tls13 { 0 } else { EXPLICIT_NONCE }
    }

    fn tag(&self, seq: u64, typ: ContentType, body: &[u8]) -> [u8; TAG] {
        let about = [&seq.to_be_bytes()[..], &[typ.into()], &body.len().to_be_bytes()].concat();
        let mut sum = self.strength.sum([self.key.as_ref(), &self.iv, &about]);
        if self.strength == Sums {
            sum.add_record(body);
        }
        sum.bytes()
    }
}

impl MessageEncrypter for Records {
    fn encrypt(
        &mut self,
        msg: OutboundPlainMessage<'_>,
        seq: u64,
    ) -> Result<OutboundOpaqueMessage, Error> {
        let len = self.encrypted_payload_len(msg.payload.len());
        let mut payload = PrefixedPayload::with_capacity(len);
        if !self.tls13 {
            payload.extend_from_slice(&seq.to_be_bytes());
        }
        payload.extend_from_chunks(&msg.payload);
        let mut typ = msg.typ;
        if self.tls13 {
            payload.extend_from_slice(&typ.to_array());
            typ = ContentType::ApplicationData;
        }
        let tag = self.tag(seq, typ, payload.as_ref());
        payload.extend_from_slice(&tag);
        Ok(OutboundOpaqueMessage::new(typ, ProtocolVersion::TLSv1_2, payload))
    }

    fn encrypted_payload_len(&self, payload_len: usize) -> usize {
        self.head() + payload_len + usize::from(self.tls13) + TAG
    }
}

impl MessageDecrypter for Records {
    fn decrypt<'a>(
        &mut self,
        mut msg: InboundOpaqueMessage<'a>,
        seq: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        let end = msg.payload.len().checked_sub(TAG).ok_or(Error::DecryptError)?;
        if end < self.head() {
            return Err(Error::DecryptError);
        }
        let typ = if self.tls13 { ContentType::ApplicationData } else { msg.typ };
        let (body, tag) = msg.payload.split_at(end);
        if self.strength == Sums && self.tag(seq, typ, body) != tag {
            return Err(Error::DecryptError);
        }
        if self.tls13 {
            msg.payload.truncate(end);
            msg.into_tls13_unpadded_message()
        } else if end - self.head() > 1 << 14 {
            Err(Error::PeerSentOversizedRecord)
        } else {
            let payload = self.head()..end;
            Ok(msg.into_plain_message_range(payload))
        }
    }
}

// Key exchange: the secret is what everybody saw.

#[derive(Debug)]
struct Exchanges(Strength);

struct Exchange {
    strength: Strength,
    public: [u8; 32],
}

impl SupportedKxGroup for Exchanges {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let mut public = [0; 32];
        SEEDED.fill(&mut public)?;
        Ok(Box::new(Exchange { strength: self.0, public }))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

impl ActiveKeyExchange for Exchange {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let mut secret = [0; 32];
        if self.strength == Sums {
            let peer: [u8; 32] = peer.try_into().map_err(|_| PeerMisbehaved::InvalidKeyShare)?;
            secret = std::array::from_fn(|i| self.public[i] ^ peer[i]);
        }
        Ok(SharedSecret::from(&secret[..]))
    }

    fn pub_key(&self) -> &[u8] {
        &self.public
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

// Certificates: a name in place of each; signatures: a sum of certificate and message.

const SCHEME: SignatureScheme = SignatureScheme::ED25519;

fn leaf(name: &str, client: bool) -> CertificateDer<'static> {
    let role = if client { "client" } else { "server" };
    CertificateDer::from(format!("{role} of {name}").into_bytes())
}

fn signature(strength: Strength, leaf: &[u8], message: &[u8]) -> [u8; 64] {
    strength.sum([leaf, message]).bytes()
}

#[derive(Clone, Debug)]
struct Signs(Strength, CertificateDer<'static>);

impl SigningKey for Signs {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered.contains(&SCHEME).then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for Signs {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(signature(self.0, &self.1, message).to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SCHEME
    }
}

/// Knows one certificate of the other side.
#[derive(Debug)]
struct Verifies(Strength, CertificateDer<'static>);

impl Verifies {
    fn leaf(&self, found: &CertificateDer<'_>) -> Result<(), Error> {
        match self.0 {
            Sums if *found != self.1 => {
                Err(rustls::CertificateError::ApplicationVerificationFailure.into())
            }
            _ => Ok(()),
        }
    }

    fn signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let expected = signature(self.0, leaf, message);
        if self.0 == Sums && (signed.scheme != SCHEME || signed.signature() != expected) {
            return Err(rustls::CertificateError::BadSignature.into());
        }
        Ok(HandshakeSignatureValid::assertion())
    }
}

impl ServerCertVerifier for Verifies {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.leaf(leaf).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, leaf, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, leaf, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SCHEME]
    }
}

impl ClientCertVerifier for Verifies {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.leaf(leaf).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, leaf, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, leaf, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SCHEME]
    }
}

// The provider and configurations.

#[derive(Debug)]
struct NoKeys;

impl KeyProvider for NoKeys {
    fn load_private_key(&self, _: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, Error> {
        Err(Error::General("there are no keys here".into()))
    }
}

macro_rules! strength {
    ($module:ident, $strength:expr) => {
        mod $module {
            use super::*;

            static HASHES: Hashes = Hashes($strength);
            static AEAD: Aead = Aead($strength);
            pub(super) static EXCHANGES: Exchanges = Exchanges($strength);
            pub(super) static TLS13: Tls13CipherSuite = Tls13CipherSuite {
                common: CipherSuiteCommon {
                    suite: CipherSuite::TLS13_AES_128_GCM_SHA256,
                    hash_provider: &HASHES,
                    confidentiality_limit: 1 << 24,
                },
                hkdf_provider: &HkdfUsingHmac(&HASHES),
                aead_alg: &AEAD,
                quic: None,
            };
            pub(super) static TLS12: Tls12CipherSuite = Tls12CipherSuite {
                common: CipherSuiteCommon {
                    suite: CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
                    hash_provider: &HASHES,
                    confidentiality_limit: 1 << 24,
                },
                prf_provider: &PrfUsingHmac(&HASHES),
                kx: KeyExchangeAlgorithm::ECDHE,
                sign: &[SCHEME],
                aead_alg: &AEAD,
            };
        }
    };
}

strength!(sums, Sums);
strength!(nothing, Nothing);

/// The provider of this strength.
pub fn provider(strength: Strength) -> Arc<CryptoProvider> {
    let (tls13, tls12, exchanges): (_, _, &'static dyn SupportedKxGroup) = match strength {
        Sums => (&sums::TLS13, &sums::TLS12, &sums::EXCHANGES),
        Nothing => (&nothing::TLS13, &nothing::TLS12, &nothing::EXCHANGES),
    };
    Arc::new(CryptoProvider {
        cipher_suites: vec![SupportedCipherSuite::Tls13(tls13), SupportedCipherSuite::Tls12(tls12)],
        kx_groups: vec![exchanges],
        signature_verification_algorithms: WebPkiSupportedAlgorithms { all: &[], mapping: &[] },
        secure_random: SEEDED,
        key_provider: &NoKeys,
    })
}

fn identity(strength: Strength, name: &str, client: bool) -> Arc<SingleCertAndKey> {
    let leaf = leaf(name, client);
    let key = Arc::new(Signs(strength, leaf.clone()));
    Arc::new(SingleCertAndKey::from(CertifiedKey::new(vec![leaf], key)))
}

/// Who the server of the layer `name` has to be.
pub fn server_rule(strength: Strength, name: &str) -> Arc<dyn ServerCertVerifier> {
    Arc::new(Verifies(strength, leaf(name, false)))
}

/// Who the client of the layer `name` has to be.
pub fn client_rule(strength: Strength, name: &str) -> Arc<dyn ClientCertVerifier> {
    Arc::new(Verifies(strength, leaf(name, true)))
}

/// A client of the layer `name` that presents its certificate.
pub fn client(strength: Strength, name: &str, version: Version) -> ClientConfig {
    ClientConfig::builder_with_details(provider(strength), Arc::new(FixedTime))
        .with_protocol_versions(&[version.rustls()])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(server_rule(strength, name))
        .with_client_cert_resolver(identity(strength, name, true))
}

/// A server of the layer `name`; asks for a client certificate if `mutual`.
pub fn server(strength: Strength, name: &str, version: Version, mutual: bool) -> ServerConfig {
    let builder = ServerConfig::builder_with_details(provider(strength), Arc::new(FixedTime))
        .with_protocol_versions(&[version.rustls()])
        .unwrap();
    let builder = match mutual {
        true => builder.with_client_cert_verifier(client_rule(strength, name)),
        false => builder.with_no_client_auth(),
    };
    builder.with_cert_resolver(identity(strength, name, false))
}
