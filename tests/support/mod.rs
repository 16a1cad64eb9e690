//! What the test binaries share: a reproducible provider, certificates, and an in-memory pair.
#![allow(dead_code, unreachable_pub)]

pub mod crypto;
pub mod pki;
