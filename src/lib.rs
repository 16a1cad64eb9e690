//! TLS inside TLS as a pure state machine.
#![no_std]
#![warn(clippy::alloc_instead_of_core, clippy::std_instead_of_alloc, clippy::std_instead_of_core)]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;
// Kept behind the feature, and never in the prelude: a use of std in the core does not compile.
#[cfg(feature = "std")]
extern crate std;

pub mod identity;
mod nested;

pub use nested::{
    Direct, Error, ErrorKind, Event, Fault, Framing, FramingError, Layer, LayerInfo, Limits,
    Misuse, Nested, Outgoing, Phase, Plaintext, Ports, Prepared, Readiness, Role, Session,
    Unwrapped,
};
