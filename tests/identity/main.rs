//! Who the peer is: certificates of every shape against every rule, on paper and in handshakes.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core
)]

mod attestation;
mod cloudhsm;
mod end_point;
mod examine;
mod forge;
mod hashed_dir;
mod keys;
mod live;
mod matrix;
mod names;
mod parsers;
mod pins;
mod providers;
#[cfg(feature = "webpki-roots")]
mod public_roots;
#[cfg(feature = "cli")]
mod sdk_config;
mod signatures;
mod subjects;

#[path = "../support/tools.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with other test binaries")]
mod tools;
