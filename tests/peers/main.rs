//! Nested TLS by other implementations, and `nested-tls` against them.
#![allow(clippy::unwrap_used, clippy::panic)]

mod certificates;

#[path = "../../src/cli/pki.rs"]
mod pki;
