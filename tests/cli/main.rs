//! The program, as a user runs it.
#![allow(clippy::unwrap_used, clippy::panic)]

mod conversation;
mod demonstration;
mod support;

#[path = "../../src/cli/pki.rs"]
mod pki;
