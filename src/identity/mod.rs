//! Who the peer is, and who we are.
//!
//! Three rules decide on a peer's certificate, each usable as rustls' verifier of servers and of clients, in TLS 1.2 and
//! 1.3, on either layer:
//!
//! - [`Pinned`] - the certificate, or its key, is one of a set.
//! - [`IssuedBy`] - one of a set of private authorities signed it.
//! - [`AnyOf`] - either.
//!
//! They exist for certificates that rustls' own verifier has no place for: X.509 **version 1**, self-signed ones that are
//! their own authority, ones without names. Both halves are always checked: where the certificate comes from, and, by the
//! handshake signature, that the peer holds its key. [`NamePolicy`] and [`TimePolicy`] are explicit; each refusal is an
//! [`Error`] with what was expected and what was found; an [`Observer`] hears of each judgement.
//!
//! [`ClientKey`] is our own certificate, also of version 1. [`Certificate`] shows what a certificate says, in OpenSSL's
//! one-line forms.
//!
//! rustls resumes sessions without asking any of them. [`Prepared`](crate::Prepared) leaves resumption off, and has them
//! judge each session that goes on where it is turned on.

mod any_of;
mod asn1;
pub mod attestation;
mod authority;
mod certificate;
mod chain;
mod client_key;
#[cfg(feature = "std")]
pub mod cloudhsm;
mod csr;
mod end_point;
mod error;
#[cfg(feature = "std")]
pub mod examine;
#[cfg(feature = "std")]
mod files;
mod hashed_dir;
mod issued_by;
mod name;
mod pem;
mod pinned;
mod policy;
#[cfg(feature = "webpki-roots")]
mod public_roots;
mod rule;
#[cfg(feature = "cli")]
mod sdk_config;
mod signature;
mod time;

pub use any_of::AnyOf;
pub use authority::Authority;
pub use certificate::{Certificate, KeyKind};
pub use client_key::{ClientKey, PublicKey};
pub use csr::Request;
pub use error::{Error, Problem};
pub use hashed_dir::{HashedDir, HashedEntry};
pub use issued_by::IssuedBy;
pub use name::Name;
pub use pem::{certificates_from_pem, private_key_from_pem, request_from_pem};
pub use pinned::{Pin, Pinned};
pub use policy::{NamePolicy, Note, Peer, TimePolicy};
#[cfg(feature = "webpki-roots")]
pub use public_roots::PublicRoots;
pub use rule::{Acceptance, Judgement, Observer, OwnCertificate, Presented, Rule};
