//! A nested TLS 1.3 handshake, an echo and a clean close, both ends of both layers in memory.
//!
//! The client proves itself to the host with a certificate; host and HSM prove themselves to the
//! client, each by its own authority: the shape of a CloudHSM client.
#![no_std]

extern crate alloc;

mod configs;
mod exchange;

use core::fmt;

use heap::{Count, Owner};
use nested_tls::{Direct, Error, Limits, Session};
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
    /// How long the message is that the peer echoes.
    pub message: usize,
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
    client_heap: 24 * 1024,
};

/// For a host: full records.
pub const FULL: Size = Size {
    name: "full",
    limits: Limits::DEFAULT,
    fragment: None,
    message: 100 * 1024,
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
    pub client: Count,
    /// What of it stays while the established connection is idle.
    pub client_idle: usize,
    /// The heap of both ends.
    pub both: Count,
}

/// Runs it.
///
/// # Errors
/// Whatever went wrong first.
pub fn nested(size: &Size) -> Result<Figures, Failure> {
    heap::reset_peaks();
    let before = (heap::count(Owner::Client).allocations, heap::total().allocations);

    let mut server = {
        let (outer, inner) = configs::server(size)?;
        Session::new(outer, size.limits)?.nest(inner, Direct)?
    };
    let mut client = heap::owned_by(Owner::Client, || {
        let (outer, inner) = configs::client(size)?;
        Ok::<_, Failure>(Session::new(outer, size.limits)?.nest(inner, Direct)?)
    })?;
    let (up, down, client_idle) = exchange::run(&mut client, &mut server, size)?;

    let mut figures =
        Figures { up, down, client: heap::count(Owner::Client), client_idle, both: heap::total() };
    figures.client.allocations -= before.0;
    figures.both.allocations -= before.1;
    if figures.client.peak_taken > size.client_heap {
        return Err(Failure::TooMuch { limit: size.client_heap, figures });
    }
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
        let Self { up, down, client, client_idle, both } = self;
        write!(
            f,
            "{up} bytes up, {down} down; client: heap peak {} bytes ({} with headers), \
             {client_idle} idle, {} allocations; both ends: heap peak {} bytes ({} with headers), \
             {} allocations",
            client.peak,
            client.peak_taken,
            client.allocations,
            both.peak,
            both.peak_taken,
            both.allocations,
        )
    }
}
