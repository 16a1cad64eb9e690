//! The program that BoringSSL's test runner starts for each of its cases.
//!
//! It connects to the runner, lets one of this crate's machines shake hands with it, echoes what it
//! is sent with every bit turned, and tells the runner by its exit status and standard error how
//! that went. `BOGO_MODE` says which machine: `session` (the default); or `nested`, where the runner
//! is the peer of the inner layer and both ends of the outer layer stand in this process; or
//! `crossed`, the same with the outer roles the other way round, TLS 1.2 outside, and buffers as
//! small as they get. `BOGO_CHUNK` says how many bytes at a time the machine is given.

mod config;
mod exchange;
mod identity;
mod link;
mod options;
mod outer;
mod sessions;

use std::process::exit;

use config::Shared;
use options::Options;
#[cfg(feature = "aws-lc-rs")]
use rustls::crypto::aws_lc_rs as crypto;
#[cfg(not(feature = "aws-lc-rs"))]
use rustls::crypto::ring as crypto;

/// What the runner takes for "this shim can't do that".
const UNIMPLEMENTED: i32 = 89;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "-is-handshaker-supported") {
        println!("No");
        return;
    }
    let (first, later) = match Options::parse(&arguments) {
        Ok(options) => options,
        Err(reason) => unimplemented(&reason),
    };
    let mut shared = Shared::default();
    for number in 0..=first.resume_count {
        let options = if number == 0 { &first } else { &later };
        let role = match config::role(options, &mut shared) {
            Ok(role) => role,
            Err(reason) => unimplemented(&reason),
        };
        if let Err(failure) = exchange::run(options, role, &shared, number > 0) {
            eprintln!("connection {}: {failure}", number + 1);
            exit(1);
        }
    }
}

/// End because the case asks for what this shim, or what it tests, has not; the reason joins the
/// file that `BOGO_REASONS` names.
pub(crate) fn unimplemented(reason: &str) -> ! {
    use std::io::Write;
    if let Some(path) = std::env::var_os("BOGO_REASONS") {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        let written = file.and_then(|mut file| file.write_all(format!("{reason}\n").as_bytes()));
        written.expect("the file for reasons can be written");
    }
    exit(UNIMPLEMENTED)
}
