//! A nested TLS 1.3 handshake, an echo and a clean close, both ends of both layers in memory.
//!
//! The client proves itself to the host with a certificate; host and HSM prove themselves to the
//! client, each by its own authority: the shape of a CloudHSM client.
#![no_std]

extern crate alloc;

mod asking;
mod configs;
mod end;
mod exchange;

use core::fmt;

use end::End;
use heap::{Count, Owner};
use nested_tls::{Error, Limits};
use rustls::pki_types::InvalidDnsNameError;

/// How large records and buffers are.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// What the lines printed call it.
    pub name: &'static str,
    /// Given to both ends.
    pub limits: Limits,
    /// rustls' `max_fragment_size` of both layers, at both ends.
    pub fragment: Option<usize>,
    /// How long the message is that the server echoes.
    pub message: usize,
    /// How much of it is written at once.
    pub piece: usize,
    /// The most heap that the client may take, headers included.
    pub client_heap: usize,
}

/// For a device with little memory, whose peers are told to send small records.
pub const SMALL: Size = Size {
    name: "small",
    limits: Limits {
        wire_in: 512,
        record: 1100,
        handshake: 2200,
        plaintext: 1024,
        wire_out: 1024,
        // `Direct` has no messages; 1 is the least that lets anything through.
        messages: 1,
    },
    fragment: Some(1024),
    message: 4 * 1024,
    piece: 1024,
    client_heap: 24 * 1024,
};

/// For a host: full records.
pub const FULL: Size = Size {
    name: "full",
    limits: Limits::DEFAULT,
    fragment: None,
    message: 100 * 1024,
    piece: 16 * 1024,
    client_heap: usize::MAX,
};

/// What a run took.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Bytes on the wire from the client to the server.
    pub up: usize,
    /// Bytes on the wire from the server to the client.
    pub down: usize,
    /// The client's heap, its configurations included.
    pub client: Share,
    /// The server's heap, its configurations included.
    pub server: Share,
}

/// The heap of one end.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// Over the whole run.
    pub count: Count,
    /// Bytes that stay allocated while the established connection is idle.
    pub idle: usize,
}

/// Runs it.
///
/// # Errors
/// Whatever went wrong first.
pub fn nested(size: &Size) -> Result<Figures, Failure> {
    let client = End::new(Owner::Client, size, configs::client)?;
    let server = End::new(Owner::Server, size, configs::server)?;
    let figures = exchange::run(client, server, size)?;
    if figures.client.count.peak_taken > size.client_heap {
        return Err(Failure::TooMuch { limit: size.client_heap, figures });
    }
    asking::run(size)?;
    Ok(figures)
}

/// Why a run failed.
#[derive(Debug)]
pub enum Failure {
    /// A configuration was refused.
    Config(rustls::Error),
    /// A root or a client verifier was refused.
    Verifier,
    /// A name was no name.
    Name,
    /// A machine failed.
    Tls(Error),
    /// The client took more heap than it may.
    TooMuch {
        /// What it may take.
        limit: usize,
        /// What was taken.
        figures: Figures,
    },
    /// Neither end could move, or something came back that was not sent.
    Wrong(&'static str),
}

impl From<rustls::Error> for Failure {
    fn from(error: rustls::Error) -> Self {
        Self::Config(error)
    }
}

impl From<InvalidDnsNameError> for Failure {
    fn from(_: InvalidDnsNameError) -> Self {
        Self::Name
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Tls(error)
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { up, down, client, server } = self;
        write!(f, "{up} bytes up, {down} down; client: {client}; server: {server}")
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count: Count { peak, peak_taken, allocations, .. }, idle } = self;
        write!(
            f,
            "heap peak {peak} bytes ({peak_taken} with headers), idle {idle}, \
             {allocations} allocations"
        )
    }
}
