//! Suites whose keys may seal few records, that count what is alive of them, and that do wrong when told to.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use rustls::crypto::CipherSuiteCommon;
use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, InboundPlainMessage, Iv, KeyBlockShape, MessageDecrypter,
    MessageEncrypter, OutboundChunks, OutboundOpaqueMessage, OutboundPlainMessage,
    Tls12AeadAlgorithm, Tls13AeadAlgorithm, UnsupportedOperationError,
};
use rustls::{
    ConnectionTrafficSecrets, ContentType, Error, HandshakeType, SupportedCipherSuite,
    Tls12CipherSuite, Tls13CipherSuite,
};

thread_local! {
    static LIMIT: Cell<Option<u64>> = const { Cell::new(None) };
    static ALIVE: Cell<usize> = const { Cell::new(0) };
    static WRONG: Cell<Option<Wrong>> = const { Cell::new(None) };
}

/// What a provider can do against its contract with rustls, or keep from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It does not hand out traffic secrets.
    Secrets,
    /// It wants more of an IV than it hands out.
    Iv,
    /// It opens records into a place of its own.
    Place,
    /// It opens records that are too long.
    Length,
    /// It does not seal.
    Seal,
    /// It begins another message behind those of a handshake.
    Behind,
}

impl Wrong {
    fn is(self) -> bool {
        WRONG.get() == Some(self)
    }
}

/// What such suites do in `work`, on this thread, they do `wrong`.
pub fn with_wrong<R>(wrong: Wrong, work: impl FnOnce() -> R) -> R {
    WRONG.set(Some(wrong));
    let done = work();
    WRONG.set(None);
    done
}

/// Configurations made in `make`, on this thread, allow each key only so many records. A key that
/// seals more, or one number twice, or begins with another number than 0, panics.
pub fn with_limit<R>(limit: u64, make: impl FnOnce() -> R) -> R {
    LIMIT.set(Some(limit));
    let made = make();
    LIMIT.set(None);
    made
}

/// How many keys of such suites this thread holds, of either direction.
pub fn alive() -> usize {
    ALIVE.get()
}

/// The suites, where a limit is in force. They live for ever, so each limit's are made once.
pub fn suites() -> Option<Vec<SupportedCipherSuite>> {
    static MADE: Mutex<BTreeMap<u64, Vec<SupportedCipherSuite>>> = Mutex::new(BTreeMap::new());
    let limit = LIMIT.get()?;
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    Some(made.entry(limit).or_insert_with(|| make(limit)).clone())
}

fn make(limit: u64) -> Vec<SupportedCipherSuite> {
    let common = |common: &CipherSuiteCommon| CipherSuiteCommon {
        suite: common.suite,
        hash_provider: common.hash_provider,
        confidentiality_limit: limit,
    };
    let limited = |suite| match suite {
        SupportedCipherSuite::Tls13(suite) => {
            let aead_alg = Box::leak(Box::new(Limited(suite.aead_alg, limit)));
            let common = common(&suite.common);
            let Tls13CipherSuite { hkdf_provider, .. } = *suite;
            let suite = Tls13CipherSuite { common, hkdf_provider, aead_alg, quic: None };
            SupportedCipherSuite::Tls13(Box::leak(Box::new(suite)))
        }
        SupportedCipherSuite::Tls12(suite) => {
            let aead_alg = Box::leak(Box::new(Limited(suite.aead_alg, limit)));
            let common = common(&suite.common);
            let Tls12CipherSuite { prf_provider, kx, sign, .. } = *suite;
            let suite = Tls12CipherSuite { common, prf_provider, kx, sign, aead_alg };
            SupportedCipherSuite::Tls12(Box::leak(Box::new(suite)))
        }
    };
    let given = rustls::crypto::ring::default_provider().cipher_suites;
    given.into_iter().map(limited).collect()
}

/// An algorithm, and how many records its keys may seal.
struct Limited<A>(A, u64);

struct Alive;

impl Alive {
    fn new() -> Self {
        ALIVE.set(ALIVE.get() + 1);
        Self
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        ALIVE.set(ALIVE.get() - 1);
    }
}

struct Encrypter {
    inner: Box<dyn MessageEncrypter>,
    next: u64,
    limit: u64,
    _alive: Alive,
}

struct Decrypter(Box<dyn MessageDecrypter>, Alive);

fn encrypter(inner: Box<dyn MessageEncrypter>, limit: u64) -> Box<dyn MessageEncrypter> {
    Box::new(Encrypter { inner, next: 0, limit, _alive: Alive::new() })
}

impl MessageEncrypter for Encrypter {
    fn encrypt(
        &mut self,
        msg: OutboundPlainMessage<'_>,
        seq: u64,
    ) -> Result<OutboundOpaqueMessage, Error> {
        if Wrong::Seal.is() {
            return Err(Error::EncryptError);
        }
        assert!(seq >= self.next, "number {seq} again");
        // AWS-LC takes the first number that it sees for this one.
        assert!(seq == 0 || self.next > 0, "number {seq} before number 0");
        assert!(seq < self.limit, "number {seq} of {}", self.limit);
        self.next = seq + 1;
        if Wrong::Behind.is() && msg.typ == ContentType::Handshake {
            let longer = [msg.payload.to_vec(), vec![HandshakeType::KeyUpdate.into()]].concat();
            let payload = OutboundChunks::Single(&longer);
            return self.inner.encrypt(OutboundPlainMessage { payload, ..msg }, seq);
        }
        self.inner.encrypt(msg, seq)
    }

    fn encrypted_payload_len(&self, payload_len: usize) -> usize {
        self.inner.encrypted_payload_len(payload_len)
    }
}

impl MessageDecrypter for Decrypter {
    fn decrypt<'a>(
        &mut self,
        msg: InboundOpaqueMessage<'a>,
        seq: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        let mut opened = self.0.decrypt(msg, seq)?;
        if Wrong::Place.is() {
            opened.payload = &[0; 5];
        } else if Wrong::Length.is() {
            opened.payload = &[0; (1 << 14) + 1];
        }
        Ok(opened)
    }
}

impl Tls13AeadAlgorithm for Limited<&'static dyn Tls13AeadAlgorithm> {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        encrypter(self.0.encrypter(key, iv), self.1)
    }

    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        Box::new(Decrypter(self.0.decrypter(key, iv), Alive::new()))
    }

    fn key_len(&self) -> usize {
        self.0.key_len()
    }

    fn extract_keys(
        &self,
        key: AeadKey,
        iv: Iv,
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        if Wrong::Secrets.is() {
            return Err(UnsupportedOperationError);
        }
        self.0.extract_keys(key, iv)
    }
}

/// An [`Iv`] has 12 bytes.
const MORE_THAN_AN_IV: usize = 13;

impl Limited<&'static dyn Tls12AeadAlgorithm> {
    /// What the algorithm takes of an IV that may be too long.
    fn fixed<'a>(&self, iv: &'a [u8]) -> &'a [u8] {
        &iv[..self.0.key_block_shape().fixed_iv_len.min(iv.len())]
    }
}

impl Tls12AeadAlgorithm for Limited<&'static dyn Tls12AeadAlgorithm> {
    fn encrypter(&self, key: AeadKey, iv: &[u8], extra: &[u8]) -> Box<dyn MessageEncrypter> {
        encrypter(self.0.encrypter(key, self.fixed(iv), extra), self.1)
    }

    fn decrypter(&self, key: AeadKey, iv: &[u8]) -> Box<dyn MessageDecrypter> {
        Box::new(Decrypter(self.0.decrypter(key, self.fixed(iv)), Alive::new()))
    }

    fn key_block_shape(&self) -> KeyBlockShape {
        let shape = self.0.key_block_shape();
        match Wrong::Iv.is() {
            true => KeyBlockShape { fixed_iv_len: MORE_THAN_AN_IV, ..shape },
            false => shape,
        }
    }

    fn extract_keys(
        &self,
        key: AeadKey,
        iv: &[u8],
        explicit: &[u8],
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        if Wrong::Secrets.is() {
            return Err(UnsupportedOperationError);
        }
        let iv = self.fixed(iv);
        self.0.extract_keys(key, iv, explicit)
    }
}
