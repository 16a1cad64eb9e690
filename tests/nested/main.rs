//! The state machine in memory: every run follows from a seed.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub)]

#[path = "../support/mod.rs"]
mod support;

mod bounds;
mod chunking;
mod closing;
mod early_data;
mod errors;
mod exporters;
mod faults;
mod flights;
mod framings;
mod handshakes;
#[cfg(feature = "http-connect")]
mod http_connect;
mod keys;
#[cfg(feature = "log")]
mod logs;
mod null;
mod preamble;
mod prepared;
mod providers;
mod record_path;
mod records;
mod resumption;
mod round_trips;
mod traces;
