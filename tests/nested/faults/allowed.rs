//! What may pass unnoticed, each with its reason. Whatever else passes is a failure, and so is
//! what is listed here and does not.

use super::road::{Fault, Records, Strike};
use crate::support::pki::Version;

/// A fault in its surroundings.
pub struct Sight<'a> {
    pub strike: Strike,
    /// The version of the layer that is struck.
    pub version: Version,
    /// What each side sends on this layer when nothing happens.
    pub records: &'a Records,
}

/// Something that may pass.
pub struct Allowed {
    pub what: &'static str,
    pub why: &'static str,
    pub passes: fn(&Sight<'_>) -> bool,
}

pub const CCS: &[u8] = &[20, 3, 3, 0, 1, 1];
/// One that nobody sealed.
pub const CLOSE_NOTIFY: &[u8] = &[21, 3, 3, 0, 2, 1, 0];

const BEHIND_THE_END: &str = "\"Any data received after a closure alert has been received MUST be \
    ignored\" https://www.rfc-editor.org/rfc/rfc8446#section-6.1";

/// Of faults at bytes.
pub const OF_BYTES: &[Allowed] = &[
    Allowed {
        what: "the minor version of a record that is not protected, or of TLS 1.3",
        why: "\"legacy_record_version: [...] MUST be ignored for all purposes\" \
              https://www.rfc-editor.org/rfc/rfc8446#section-5.1; in TLS 1.2 protected records have \
              it in their additional data",
        passes: |sight| {
            matches!(sight.strike.fault, Fault::Flip(_)) && {
                let (record, at) = sight.byte();
                at == 2 && (sight.version == Version::Tls13 || !sight.is_keyed(record))
            }
        },
    },
    Allowed {
        what: "the outer type of the protected flight of a TLS 1.3 handshake, if it stays a type",
        why: "rustls opens a handshake's records whatever type of record stands outside: the type in \
              the additional data is the right one, so that nothing else can change \
              https://www.rfc-editor.org/rfc/rfc8446#section-5.2",
        passes: |sight| {
            matches!(sight.strike.fault, Fault::Flip(0 | 1))
                && sight.version == Version::Tls13
                && sight.byte() == (2, 0)
        },
    },
    Allowed {
        what: "a byte behind the end",
        why: BEHIND_THE_END,
        passes: |sight| {
            let len = sight.sent().iter().map(Vec::len).sum::<usize>();
            sight.strike.fault == Fault::Again && sight.strike.at + 1 == len
        },
    },
];

/// Of faults at records.
pub const OF_RECORDS: &[Allowed] = &[
    Allowed {
        what: "a change_cipher_spec of a TLS 1.3 handshake, missing, doubled or inserted",
        why: "\"An implementation may receive an unencrypted record of type change_cipher_spec [...] \
              and MUST simply drop it\" https://www.rfc-editor.org/rfc/rfc8446#section-5",
        passes: |sight| {
            let at = sight.strike.at;
            sight.version == Version::Tls13
                && match sight.strike.fault {
                    // Behind the hello, and before the one flight that is protected.
                    Fault::Insert(bytes) => bytes == CCS && (1..=2).contains(&at),
                    Fault::Drop | Fault::Double => sight.sent()[at] == CCS,
                    _ => false,
                }
        },
    },
    Allowed {
        what: "a record behind the end",
        why: BEHIND_THE_END,
        passes: |sight| {
            matches!(sight.strike.fault, Fault::Double | Fault::Replay | Fault::Graft)
                && sight.strike.at + 1 == sight.sent().len()
        },
    },
    Allowed {
        what: "a close_notify that nobody sealed, before there are keys",
        why: "rustls takes it for one of the warnings that may be ignored; nobody has authenticated \
              it, so it ends nothing https://www.rfc-editor.org/rfc/rfc5246#section-7.2.2",
        passes: |sight| {
            let Strike { fault, at, .. } = sight.strike;
            fault == Fault::Insert(CLOSE_NOTIFY)
                && match sight.version {
                    Version::Tls12 => !sight.is_keyed(at),
                    Version::Tls13 => at == 0,
                }
        },
    },
];

impl Sight<'_> {
    /// What the struck side sends.
    fn sent(&self) -> &Vec<Vec<u8>> {
        &self.records[self.strike.from as usize]
    }

    /// The record of the byte that is struck, and where in it that is.
    fn byte(&self) -> (usize, usize) {
        let mut at = self.strike.at;
        for (index, record) in self.sent().iter().enumerate() {
            match at.checked_sub(record.len()) {
                Some(rest) => at = rest,
                None => return (index, at),
            }
        }
        panic!("no such byte");
    }

    /// Whether a record of TLS 1.2 comes behind the change to its keys.
    fn is_keyed(&self, index: usize) -> bool {
        self.sent().iter().take(index).any(|record| record == CCS)
    }
}
