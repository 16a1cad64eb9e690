//! TLS inside TLS: two connections, one inside the other, as a pure state machine over byte buffers,
//! with thin blocking and asynchronous adapters.
//!
//! A client that must reach an endpoint through a host which terminates TLS itself, and must not
//! show the host its traffic, speaks TLS twice: an outer connection to the host, an inner one to what
//! stands behind it. This crate is both, as one machine that owns no socket:
//!
//! ```text
//!              ┌──────────────────────── Nested ───────────────────────┐
//!  plain_write │   inner TLS          framing           outer TLS      │ wire_out
//!  ───────────►│  seal records ──► wrap records ──►  seal records ─────┼──────────►
//!              │                                                       │            transport
//!  ◄───────────┤  open records ◄── unwrap bytes ◄──  open records ◄────┼──────────
//!  plain_out   │                                                       │ wire_in
//!              └───────────────────────────────────────────────────────┘
//! ```
//!
//! # Example
//!
//! Both ends in memory. [`Session`] is the outer connection, [`Session::nest`] puts the inner one
//! inside, and the four [`Ports`] are all there is to drive.
//!
//! ```
#![doc = include_str!("../examples/in_memory.rs")]
//! ```
//!
//! Over a socket, let [`adapter::blocking`], `adapter::tokio` or `adapter::futures_io` drive. The
//! [`guide`] says what to decide, page by page.
//!
//! # Guarantees
//!
//! - No I/O, clock, global, thread or `unsafe` in the core, which is `no_std` with `alloc`.
//! - No application byte leaves, and none is handed out, before the inner peer is authenticated.
//! - The end of the inner stream is its own close_notify. Whatever else ends it is
//!   [`ErrorKind::Truncated`], whoever closed what.
//! - Whoever holds the outer keys can refuse service, and nothing else.
//! - After any call no layer can progress without new input, however the bytes were split.
//! - Buffered bytes never exceed [`Limits::total`].
//! - The first error is final, says which [`Layer`] failed in which [`Phase`], and its alert still
//!   leaves.
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `std` (default) | [`adapter::blocking`], certificate files and directories, error sources |
//! | `tokio` | `adapter::tokio` |
//! | `futures-io` | `adapter::futures_io`, for smol and other runtimes with these traits |
//! | `http-connect` | `preamble::HttpConnect`: a tunnel through an HTTP proxy |
//! | `ring`, `aws-lc-rs` | rustls' providers of those names; the core takes any provider |
//! | `log` | what passes and what becomes of it, told to the `log` crate |
//! | `webpki-roots` | public roots, for a layer that faces a public host |
//! | `fips` | rustls' FIPS provider |
//! | `graviola` | with `cli`: Graviola for the program's `--provider`; Rust 1.89 |
//! | `cli` | the `nested-tls` program |
//!
//! A feature adds; it never changes behaviour or trust.
//!
//! # Supported Rust
//!
//! Rust 1.85 and later. A later minimum is not a breaking change, and at most a year old.
#![no_std]
#![warn(clippy::alloc_instead_of_core, clippy::std_instead_of_alloc, clippy::std_instead_of_core)]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;
// Kept behind the feature, and never in the prelude: a use of std in the core does not compile.
#[cfg(feature = "std")]
extern crate std;

#[cfg(feature = "std")]
#[cfg_attr(docsrs, doc(cfg(feature = "std")))]
pub mod adapter;
// Text only; its snippets are tests.
#[cfg(doc)]
pub mod guide;
pub mod identity;
mod nested;
#[cfg(feature = "http-connect")]
#[cfg_attr(docsrs, doc(cfg(feature = "http-connect")))]
pub mod preamble;

pub use nested::{
    ClientSessions, Direct, Direction, Error, ErrorKind, Event, Fault, Framing, FramingError,
    Layer, LayerInfo, Limits, Misuse, Nested, Outgoing, Phase, Plaintext, Ports, Prepared,
    Readiness, Role, Session, Traced, Tracer, Unwrapped,
};

// The examples of README compile; they show every adapter.
#[cfg(all(doctest, feature = "tokio"))]
#[doc = include_str!("../README.md")]
struct Readme;
