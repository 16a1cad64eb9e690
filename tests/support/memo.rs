//! Public-key operations that remember what they gave. Seeded runs ask for the same ones again and
//! again, and they are nine tenths of what a short connection costs; their results are the real
//! ones all the same.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use rustls::crypto::{KeyProvider, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::{
    AlgorithmIdentifier, InvalidSignature, PrivateKeyDer, SignatureVerificationAlgorithm,
};
use rustls::sign::{Signer, SigningKey};
use rustls::{Error, SignatureAlgorithm, SignatureScheme};

thread_local! {
    static MEMO: RefCell<HashMap<Vec<u8>, Vec<u8>>> = RefCell::default();
}

/// So many results are kept; then all are forgotten.
const MOST: usize = 4096;

/// What `compute` gives for `inputs` of the operation `tag`: once computed, then remembered.
pub fn memo(tag: u8, inputs: &[&[u8]], compute: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
    let mut key = vec![tag];
    for input in inputs {
        key.extend((input.len() as u32).to_le_bytes());
        key.extend_from_slice(input);
    }
    if let Some(known) = MEMO.with_borrow(|memo| memo.get(&key).cloned()) {
        return known;
    }
    let result = compute();
    MEMO.with_borrow_mut(|memo| {
        if memo.len() == MOST {
            memo.clear();
        }
        memo.insert(key, result.clone());
    });
    result
}

#[derive(Debug)]
struct Verify(&'static dyn SignatureVerificationAlgorithm);

impl SignatureVerificationAlgorithm for Verify {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        // The algorithms' identifiers tell them apart.
        let parts = [&*self.0.public_key_alg_id(), &*self.0.signature_alg_id()];
        let inputs = [parts[0], parts[1], public_key, message, signature];
        let verify = || self.0.verify_signature(public_key, message, signature);
        match memo(b'v', &inputs, || vec![u8::from(verify().is_ok())])[..] {
            [1] => Ok(()),
            _ => Err(InvalidSignature),
        }
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.0.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.0.signature_alg_id()
    }
}

/// ring's algorithms, each with a memory.
pub fn algorithms() -> WebPkiSupportedAlgorithms {
    static MADE: OnceLock<WebPkiSupportedAlgorithms> = OnceLock::new();
    type One = &'static dyn SignatureVerificationAlgorithm;
    let one = |alg: &One| -> One { Box::leak(Box::new(Verify(*alg))) };
    let all = |algs: &[One]| -> &'static [One] {
        Box::leak(algs.iter().map(one).collect::<Box<[One]>>())
    };
    *MADE.get_or_init(|| {
        let given = ring::default_provider().signature_verification_algorithms;
        let mapping = given.mapping.iter().map(|(scheme, algs)| (*scheme, all(algs)));
        WebPkiSupportedAlgorithms {
            all: all(given.all),
            mapping: Box::leak(mapping.collect::<Box<[_]>>()),
        }
    })
}

/// Loads keys with ring; those of Ed25519, which signs without randomness, have a memory.
#[derive(Debug)]
pub struct Keys;

impl KeyProvider for Keys {
    fn load_private_key(&self, der: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, Error> {
        let secret = der.secret_der().to_vec();
        let inner = ring::default_provider().key_provider.load_private_key(der)?;
        Ok(Arc::new(Key { inner, secret }))
    }
}

#[derive(Debug)]
struct Key {
    inner: Arc<dyn SigningKey>,
    secret: Vec<u8>,
}

impl SigningKey for Key {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let inner = self.inner.choose_scheme(offered)?;
        if inner.scheme() != SignatureScheme::ED25519 {
            return Some(inner);
        }
        Some(Box::new(Sign { inner, secret: self.secret.clone() }))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.inner.algorithm()
    }
}

#[derive(Debug)]
struct Sign {
    inner: Box<dyn Signer>,
    secret: Vec<u8>,
}

impl Signer for Sign {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(memo(b's', &[&self.secret, message], || self.inner.sign(message).unwrap()))
    }

    fn scheme(&self) -> SignatureScheme {
        self.inner.scheme()
    }
}
