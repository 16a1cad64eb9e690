//! A rustls `CryptoProvider` small enough for any target: TLS 1.3 with ChaCha20-Poly1305, X25519
//! and ECDSA on P-256 with SHA-256, in pure Rust.
//!
//! **For the check only.** Its randomness is a counter, so that runs repeat; whoever copies it
//! copies keys that everybody knows.
#![no_std]

extern crate alloc;

mod aead;
mod hash;
mod kx;
mod random;
mod sign;
mod verify;

use alloc::vec;

use rustls::crypto::tls13::HkdfUsingHmac;
use rustls::crypto::{CipherSuiteCommon, CryptoProvider};
use rustls::{CipherSuite, SupportedCipherSuite, Tls13CipherSuite};

/// The provider, with the one suite.
pub fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![SupportedCipherSuite::Tls13(&SUITE)],
        kx_groups: vec![&kx::X25519],
        signature_verification_algorithms: verify::ALGORITHMS,
        secure_random: &random::Counter,
        key_provider: &sign::Keys,
    }
}

static SUITE: Tls13CipherSuite = Tls13CipherSuite {
    common: CipherSuiteCommon {
        suite: CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
        hash_provider: &hash::Sha256,
        confidentiality_limit: u64::MAX,
    },
    hkdf_provider: &HkdfUsingHmac(&hash::HmacSha256),
    aead_alg: &aead::ChaCha20Poly1305,
    quic: None,
};
