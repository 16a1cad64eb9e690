//! TLS inside TLS as a pure state machine.
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;
// Kept behind the feature, and never in the prelude: a use of std in the core does not compile.
#[cfg(feature = "std")]
extern crate std;

pub mod identity;
