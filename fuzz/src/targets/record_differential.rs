//! Records after the handshake, to our record path on either layer and to rustls' own: the same
//! data, the same end, the same alert. `support::record_oracle` plays and judges.
//!
//! The input is one of its scripts; its first byte also says which of the four role mixes both
//! layers have. The two high bits of it say under which cryptography: checksums, real, or one that
//! accepts every tag; then the rest of the input is no script but the records as they go over the
//! wire.

use crate::support::null::Strength;
use crate::support::record_oracle::{Op, Script};

pub fn run(data: &[u8]) {
    if data.len() > 1 << 16 {
        return;
    }
    let (flags, rest) = data.split_first().unwrap_or((&0, &[]));
    let mut script = Script::read(data);
    script.null = match flags >> 6 {
        0 | 1 => Some(Strength::Sums),
        2 => None,
        _ => {
            script.ops = vec![Op::Raw(rest.to_vec())];
            Some(Strength::Nothing)
        }
    };
    script.check();
}
