//! One module per fuzz target: `run` does with the input what the target is for, and panics when
//! something does not hold.
#![allow(unreachable_pub)]

pub mod certificate;
pub mod csr;
pub mod driver;
pub mod framing;
pub mod hashed_dir;
pub mod ops;
pub mod record_differential;
pub mod sdk_config;
pub mod wire_bytes;

use arbitrary::Unstructured;
use nested_tls::Limits;

use crate::support::crypto::Rng;
use crate::support::null::Strength;
use crate::support::pki::Version;
use crate::support::setup::{Mix, Setup};

/// What a target does with an input.
pub type Run = fn(&[u8]);

/// Every target with its name.
pub const ALL: &[(&str, Run)] = &[
    ("certificate", certificate::run),
    ("csr", csr::run),
    ("driver", driver::run),
    ("framing", framing::run),
    ("hashed_dir", hashed_dir::run),
    ("ops", ops::run),
    ("record_differential", record_differential::run),
    ("sdk_config", sdk_config::run),
    ("wire_bytes", wire_bytes::run),
];

/// The next byte; 0 when there are none.
pub(crate) fn byte(input: &mut Unstructured<'_>) -> u8 {
    input.arbitrary().unwrap_or(0)
}

/// Whether bit `n` is set.
pub(crate) fn bit(byte: u8, n: u8) -> bool {
    byte >> n & 1 == 1
}

/// Roles and versions of both layers from the low four bits.
pub(crate) fn setup(byte: u8, null: Option<Strength>) -> Setup {
    let version = |n| if bit(byte, n) { Version::Tls12 } else { Version::Tls13 };
    let mix = Mix::ALL[usize::from(byte & 3)];
    Setup { null, ..Setup::new(version(2), version(3), mix) }
}

/// Limits so low that a few hundred bytes reach them; records and handshakes stay possible.
pub(crate) const LOW: Limits =
    Limits { wire_in: 700, plaintext: 300, wire_out: 500, messages: 200, ..Limits::DEFAULT };

/// Sizes that follow from `data`: mostly small, some large.
pub(crate) fn sizes(data: &[u8]) -> impl FnMut() -> usize {
    let seed =
        data.iter().fold(1u64, |sum, byte| sum.wrapping_mul(31).wrapping_add((*byte).into()));
    let mut rng = Rng(seed);
    let most = [1, 2, 5, 23, 100, 1000, 20_000][rng.below(7)];
    move || 1 + rng.below(most)
}
