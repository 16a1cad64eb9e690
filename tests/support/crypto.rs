//! A provider whose every byte follows from a seed: ring's suites over a seeded generator, a key
//! exchange that draws from it, and Ed25519, which signs without randomness.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::{
    ActiveKeyExchange, CryptoProvider, GetRandomFailed, SecureRandom, SharedSecret,
    SupportedKxGroup,
};
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use rustls::{NamedGroup, PeerMisbehaved};

use super::memo::{self, memo};

thread_local! {
    static STATE: Cell<u64> = const { Cell::new(1) };
}

/// Start this thread's randomness anew.
pub fn seed(seed: u64) {
    STATE.set(seed);
}

/// Put `state` in the place of this thread's randomness; returns what stood there. A party keeps its
/// own state, so that what it draws does not depend on when others draw.
pub fn swap(state: u64) -> u64 {
    STATE.replace(state)
}

/// A generator for the choices of a test (splitmix64).
#[derive(Clone, Debug)]
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.next().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.fill(&mut bytes);
        bytes
    }
}

#[derive(Debug)]
struct Seeded;

/// This thread's randomness.
pub const SEEDED: &dyn SecureRandom = &Seeded;

impl SecureRandom for Seeded {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        let mut rng = Rng(STATE.get());
        rng.fill(bytes);
        STATE.set(rng.0);
        Ok(())
    }
}

/// X25519, whatever its name.
#[derive(Debug)]
struct X25519(NamedGroup);

struct Exchange {
    group: NamedGroup,
    secret: x25519_dalek::StaticSecret,
    public: [u8; 32],
}

impl SupportedKxGroup for X25519 {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, rustls::Error> {
        let mut bytes = [0; 32];
        Seeded.fill(&mut bytes)?;
        let secret = x25519_dalek::StaticSecret::from(bytes);
        let public = || x25519_dalek::PublicKey::from(&secret).as_bytes().to_vec();
        let public = memo(b'p', &[&bytes], public).try_into().unwrap();
        Ok(Box::new(Exchange { group: self.0, secret, public }))
    }

    fn name(&self) -> NamedGroup {
        self.0
    }
}

impl ActiveKeyExchange for Exchange {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, rustls::Error> {
        let peer: [u8; 32] = peer.try_into().map_err(|_| PeerMisbehaved::InvalidKeyShare)?;
        let exchange = || {
            let shared = self.secret.diffie_hellman(&peer.into());
            if shared.was_contributory() { shared.as_bytes().to_vec() } else { Vec::new() }
        };
        match &memo(b'x', &[self.secret.as_bytes(), &peer], exchange)[..] {
            [] => Err(PeerMisbehaved::InvalidKeyShare.into()),
            shared => Ok(SharedSecret::from(shared)),
        }
    }

    fn pub_key(&self) -> &[u8] {
        &self.public
    }

    fn group(&self) -> NamedGroup {
        self.group
    }
}

/// The key exchange that everybody knows, and one that somebody may insist on.
pub const GROUP: &dyn SupportedKxGroup = &X25519(NamedGroup::X25519);
pub const OTHER_GROUP: &dyn SupportedKxGroup = &X25519(NamedGroup::X448);

/// The seeded provider; with the suites of [`super::limited`] where that is in force.
pub fn provider() -> Arc<CryptoProvider> {
    let given = rustls::crypto::ring::default_provider();
    Arc::new(CryptoProvider {
        kx_groups: vec![GROUP],
        secure_random: &Seeded,
        signature_verification_algorithms: memo::algorithms(),
        key_provider: &memo::Keys,
        cipher_suites: super::limited::suites().unwrap_or(given.cipher_suites),
    })
}

/// The day on which all tests run: 2026-06-15.
pub const NOW: u64 = 1_781_481_600;

#[derive(Debug)]
pub struct FixedTime;

impl TimeProvider for FixedTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(NOW)))
    }
}
