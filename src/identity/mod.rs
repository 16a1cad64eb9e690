//! Who the peer is, and who we are.
//!
//! [`Certificate`] shows what a certificate says, in OpenSSL's one-line forms.

mod asn1;
mod certificate;
mod error;
mod name;
mod pem;
mod time;

pub use certificate::{Certificate, KeyKind};
pub use error::{Error, Problem};
pub use name::Name;
pub use pem::{certificates_from_pem, private_key_from_pem, request_from_pem};
