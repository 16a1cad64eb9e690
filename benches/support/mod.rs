//! What the benchmarks share: configurations, contestants, and a clock.
#![allow(dead_code, missing_docs, unreachable_pub, missing_debug_implementations)]
#![allow(clippy::unwrap_used, clippy::panic, clippy::missing_panics_doc)]

pub mod ciphers;
pub mod clock;
pub mod config;
pub mod contestants;
pub mod glued;
pub mod limit;
pub mod link;
pub mod machine;
pub mod report;
pub mod rounds;
#[cfg(feature = "tokio")]
pub mod sockets;
pub mod unbuffered;

/// A payload whose record, sealed by the inner layer, exactly fills one of the outer layer: what
/// suits those best whose layers know nothing of each other.
pub const FULL: usize = (1 << 14) - 22;
