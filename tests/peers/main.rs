//! Nested TLS by other implementations, and `nested-tls` against them.
#![allow(clippy::unwrap_used, clippy::panic)]

mod certificates;
mod exporter;

#[path = "../../src/cli/pki.rs"]
mod pki;

#[path = "../support/tools.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with other test binaries")]
mod tools;
