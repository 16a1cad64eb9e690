//! The adapters over fake transports and over real ones.
#![cfg(all(feature = "std", feature = "tokio"))]
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod early_failure;
mod tcp;
