//! The limit: what a message costs in the provider's AEAD alone, sealed and opened twice where it
//! lies, with the keys at hand, and nothing else done.

use super::config::{provider_name, suite_name};
use super::link::Contestant;

const HEADER: usize = 5;
const TAG: usize = 16;
/// The content type behind a record's payload.
const TYPE: usize = 1;

macro_rules! aead_of {
    ($name:ident, $crate_name:ident) => {
        mod $name {
            use $crate_name::aead::{
                AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
            };

            use super::{Aead, HEADER, TAG, nonce};

            pub(super) struct Key(LessSafeKey);

            impl Key {
                pub(super) fn new(suite: &str) -> Self {
                    let algorithm = match suite {
                        "TLS13_AES_128_GCM_SHA256" => &AES_128_GCM,
                        "TLS13_AES_256_GCM_SHA384" => &AES_256_GCM,
                        "TLS13_CHACHA20_POLY1305_SHA256" => &CHACHA20_POLY1305,
                        _ => panic!("no AEAD of {suite}"),
                    };
                    let key = [7; 32];
                    Self(LessSafeKey::new(
                        UnboundKey::new(algorithm, &key[..algorithm.key_len()]).unwrap(),
                    ))
                }
            }

            impl Aead for Key {
                fn seal(&self, record: &mut [u8], sequence: u64) {
                    let (header, payload) = record.split_at_mut(HEADER);
                    let (payload, place) = payload.split_at_mut(payload.len() - TAG);
                    let tag = self
                        .0
                        .seal_in_place_separate_tag(
                            Nonce::assume_unique_for_key(nonce(sequence)),
                            Aad::from(&*header),
                            payload,
                        )
                        .unwrap();
                    place.copy_from_slice(tag.as_ref());
                }

                fn open(&self, record: &mut [u8], sequence: u64) {
                    let (header, payload) = record.split_at_mut(HEADER);
                    self.0
                        .open_in_place(
                            Nonce::assume_unique_for_key(nonce(sequence)),
                            Aad::from(&*header),
                            payload,
                        )
                        .unwrap();
                }
            }
        }
    };
}

aead_of!(by_ring, ring);
#[cfg(feature = "__bench-aws-lc-rs")]
aead_of!(by_aws_lc_rs, aws_lc_rs);

trait Aead {
    /// Seal a record: header, payload with its type, room for the tag.
    fn seal(&self, record: &mut [u8], sequence: u64);
    fn open(&self, record: &mut [u8], sequence: u64);
}

fn nonce(sequence: u64) -> [u8; 12] {
    let mut nonce = [3; 12];
    for (to, from) in nonce[4..].iter_mut().zip(sequence.to_be_bytes()) {
        *to ^= from;
    }
    nonce
}

pub struct Limit {
    inner: Box<dyn Aead>,
    outer: Box<dyn Aead>,
    buffer: Vec<u8>,
    sequence: u64,
    wire: u64,
}

impl Limit {
    /// `None` where the provider's AEAD can't be called beside rustls.
    pub fn new() -> Option<Self> {
        let key = || -> Option<Box<dyn Aead>> {
            match provider_name().as_str() {
                "ring" => Some(Box::new(by_ring::Key::new(&suite_name()))),
                #[cfg(feature = "__bench-aws-lc-rs")]
                "aws-lc-rs" => Some(Box::new(by_aws_lc_rs::Key::new(&suite_name()))),
                _ => None,
            }
        };
        Some(Self { inner: key()?, outer: key()?, buffer: vec![0; 1 << 17], sequence: 0, wire: 0 })
    }

    fn message(&mut self, len: usize) {
        let outer = &mut self.buffer[..2 * (HEADER + TYPE + TAG) + len];
        let inner = HEADER..outer.len() - TYPE - TAG;
        self.inner.seal(&mut outer[inner.clone()], self.sequence);
        self.outer.seal(outer, self.sequence);
        self.wire += outer.len() as u64;
        self.outer.open(outer, self.sequence);
        self.inner.open(&mut outer[inner], self.sequence);
        self.sequence += 1;
    }
}

impl Contestant for Limit {
    /// A message that has no place in one record takes several.
    fn send(&mut self, data: &[u8], count: usize) {
        for _ in 0..count {
            for record in data.chunks((1 << 14) - HEADER - TYPE - TAG) {
                self.message(record.len());
            }
        }
    }

    fn echo(&mut self, data: &[u8]) {
        self.send(data, 2);
    }

    fn wire_bytes(&self) -> u64 {
        self.wire
    }
}
