//! The state machine in memory: every run follows from a seed.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod bounds;
mod chunking;
mod closing;
mod exporters;
mod flights;
mod framings;
mod handshakes;
mod hostile_host;
#[cfg(feature = "http-connect")]
mod http_connect;
mod keys;
mod null;
mod preamble;
mod record_path;
mod records;
mod resumption;
mod sweeps;
mod traces;
