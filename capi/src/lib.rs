//! nested-tls for programs in C: `include/nested_tls.h` is made from this crate.
//!
//! The contract of every function here, which the header repeats for those who call it:
//!
//! - A handle is NULL, or came from the function that makes its kind and was not freed. No two threads use one handle at
//!   the same time.
//! - A pointer to bytes with a length is NULL with length 0, or points to so many readable bytes. A text is NULL, or ends
//!   with a zero byte. A pointer to a result is NULL, or can be written to.
//! - What is NULL where it must not be, misaligned, impossibly long or no value of its kind is refused by
//!   [`Status::Argument`]; nothing changes then.
//! - What a function lends stays valid until the next call with the same handle.
//!
//! A panic is a bug. It is caught, ends the handle and is told as [`Status::Internal`]; in a build with
//! `panic = "abort"` it ends the process instead. It never unwinds into the caller.
#![allow(clippy::missing_safety_doc, reason = "one contract for all functions, above")]

mod boundary;
mod connection;
mod layer;
mod report;
mod status;
mod witness;

pub use connection::*;
pub use layer::*;
pub use status::{
    Event, Field, LayerId, Phase, Side, Status, Version, Want, nested_tls_status_text,
};

use std::ffi::c_char;

/// The version of the library.
#[unsafe(no_mangle)]
pub extern "C" fn nested_tls_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}
