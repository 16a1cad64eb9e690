//! What may pass unnoticed, each with its reason. Whatever else passes is a failure, and so is
//! what is listed here and does not.

use nested_tls::Layer;

use super::road::{Fault, Records, Strike};
use crate::support::pki::Version;
use crate::support::sessions::Start;
use crate::support::setup::Setup;

/// A fault in its surroundings.
pub struct Sight<'a> {
    pub strike: Strike,
    /// The version of the layer that is struck.
    version: Version,
    /// What the layer begins with, and whether its client is struck.
    start: Start,
    client: bool,
    /// Where in TLS 1.3 the record with the Finished stands.
    finished: usize,
    /// What each side sends on this layer when nothing happens.
    records: &'a Records,
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

const SKIPPED: &str = "\"The server then skips past early data by attempting to deprotect received \
    records using the handshake traffic key, discarding records which fail deprotection\", or, for \
    another hello, \"by skipping all records with an external content type of 'application_data'\" \
    https://www.rfc-editor.org/rfc/rfc8446#section-4.2.10";

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
            matches!(sight.strike.fault, Fault::Flip(0 | 1)) && sight.version == Version::Tls13 && {
                let (record, at) = sight.byte();
                let early = sight.client && sight.start == Start::Early && record >= 2;
                at == 0 && (record == sight.finished || (early && record < sight.finished))
            }
        },
    },
    Allowed {
        what: "a byte behind the end",
        why: BEHIND_THE_END,
        passes: |sight| {
            // One of several equal bytes before the end is the same as the last of them.
            let sent = sight.sent().concat();
            sight.strike.fault == Fault::Again
                && sent[sight.strike.at..].windows(2).all(|pair| pair[0] == pair[1])
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
                    // Behind the hello, and before the Finished.
                    Fault::Insert(bytes) => bytes == CCS && (1..=sight.finished).contains(&at),
                    Fault::Drop | Fault::Double => sight.is_ccs(at),
                    Fault::Replay => sight.is_ccs(at / 2) && at < sight.finished,
                    Fault::Swap => sight.is_ccs(at) && at + 1 < sight.finished,
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

/// Of faults at bytes, where early data is skipped.
pub const OF_SKIPPED_BYTES: &[Allowed] = &[Allowed {
    what: "skipped early data, and its type if it stays a record that can't be opened",
    why: SKIPPED,
    passes: |sight| {
        let Fault::Flip(bit) = sight.strike.fault else { return false };
        let (record, at) = sight.byte();
        let typed = at == 0 && sight.client && sight.start == Start::Rejected;
        // A change_cipher_spec can become a handshake record.
        (sight.is_skipped(record) && (at >= 5 || (typed && bit < 2)))
            || (sight.is_ccs(record) && typed && bit == 1)
    },
}];

/// Of faults at records, where early data is skipped.
pub const OF_SKIPPED_RECORDS: &[Allowed] = &[
    Allowed {
        what: "skipped early data, missing or another",
        why: SKIPPED,
        passes: |sight| {
            let Strike { fault, at, .. } = sight.strike;
            matches!(fault, Fault::Drop | Fault::Splice) && sight.is_skipped(at)
        },
    },
    Allowed {
        what: "something more among skipped early data",
        why: SKIPPED,
        passes: |sight| {
            let Strike { fault, at, .. } = sight.strike;
            let (record, place) = match fault {
                Fault::Insert(bytes) => (bytes, at),
                Fault::Double | Fault::Graft => (&sight.sent()[at][..], at + 1),
                Fault::Replay => (&sight.sent()[at / 2][..], at + 1),
                _ => return false,
            };
            // Before the server has chosen keys it goes by the type; then by what it can't open.
            let passes = match sight.start {
                Start::Retried => record[0] == 23,
                _ => record[0] == 23 || (record[0] == 22 && record.len() > 5),
            };
            sight.client && (1..=sight.skipped_to()).contains(&place) && passes
        },
    },
];

impl<'a> Sight<'a> {
    pub fn new(strike: Strike, setup: &Setup, records: &'a Records) -> Self {
        let (outer, inner) = setup.is_client(strike.from);
        let (version, start, client) = match strike.layer() {
            Layer::Outer => (setup.outer, setup.start, outer),
            Layer::Inner => (setup.inner, Start::Cold, inner),
        };
        let finished = match (start, client) {
            // Early data, where there is any; then its end, or the other hello.
            (Start::Early, true) => 3 + usize::from(setup.has_early_flight()),
            (Start::Rejected, true) => 3,
            (Start::Retried, true) => 4,
            // The other hello.
            (Start::Retried, false) => 3,
            _ => 2,
        };
        Self { strike, version, start, client, finished, records }
    }

    /// Where the record stands before which a server skips early data; 0 where it does not.
    fn skipped_to(&self) -> usize {
        match self.start {
            Start::Rejected => self.finished,
            Start::Retried => self.finished - 1,
            _ => 0,
        }
    }

    /// Whether this record is skipped early data.
    fn is_skipped(&self, index: usize) -> bool {
        self.client && index < self.skipped_to() && self.sent()[index][0] == 23
    }

    fn is_ccs(&self, index: usize) -> bool {
        self.sent()[index] == CCS
    }

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
