//! What the test binaries share: a reproducible provider, certificates, and an in-memory pair.
#![allow(dead_code, unreachable_pub, unused_qualifications)]
#![allow(clippy::unwrap_used, clippy::panic)]

pub mod cast;
pub mod crypto;
pub mod framings;
pub mod glued;
pub mod hop;
pub mod host;
pub mod hostile;
pub mod invariants;
pub mod limited;
pub mod memo;
pub mod null;
pub mod pair;
pub mod party;
pub mod pki;
pub mod record_oracle;
pub mod records;
pub mod schedule;
pub mod sessions;
pub mod setup;
pub mod tally;
pub mod tools;
pub mod victims;
