//! The adapters over fake transports and over real ones.
#![cfg(all(feature = "std", feature = "tokio"))]
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub)]

#[path = "../support/mod.rs"]
mod support;

mod asynchronous;
mod cancellation;
mod closing;
mod early_failure;
mod faults;
mod flow;
mod keys;
mod line;
mod manners;
mod talk;
mod tcp;
mod transport;
mod transports;
