//! Hellos rewritten on their way: the one message of a handshake that everybody can read.

use std::ops::Range;

/// Where the parts of a hello stand in its record.
struct Parts {
    session_id: Range<usize>,
    /// Of a ClientHello.
    suites: Option<Range<usize>>,
    /// Each with its type and length.
    extensions: Vec<Range<usize>>,
    /// Where the length of all of them stands.
    extensions_length: usize,
}

/// A record with one byte of length before its end at `at`.
fn vector(record: &[u8], at: &mut usize, size_of_length: usize) -> Option<Range<usize>> {
    let length = record.get(*at..*at + size_of_length)?;
    let length = length.iter().fold(0, |all, byte| all << 8 | usize::from(*byte));
    let start = *at + size_of_length;
    *at = start + length;
    record.get(start..*at)?;
    Some(start..*at)
}

fn parts(record: &[u8]) -> Option<Parts> {
    let client = match record {
        [22, _, _, _, _, 1, ..] => true,
        [22, _, _, _, _, 2, ..] => false,
        _ => return None,
    };
    // Behind the headers of record and message, the version and the random.
    let mut at = 5 + 4 + 2 + 32;
    let session_id = vector(record, &mut at, 1)?;
    let suites = if client { Some(vector(record, &mut at, 2)?) } else { None };
    if client {
        vector(record, &mut at, 1)?;
    } else {
        at += 3;
    }
    let extensions_length = at;
    let mut at = vector(record, &mut at, 2)?.start;
    let end = extensions_length
        + 2
        + usize::from(u16::from_be_bytes(record.get(at - 2..at)?.try_into().ok()?));
    let mut extensions = Vec::new();
    while at < end {
        let start = at;
        at += 2;
        vector(record, &mut at, 2)?;
        extensions.push(start..at);
    }
    Some(Parts { session_id, suites, extensions, extensions_length })
}

/// Take `cut` out of the record, and make every length around it fit.
fn without(record: &[u8], cut: Range<usize>, lengths: &[usize]) -> Vec<u8> {
    let gone = cut.len() as u16;
    let mut record = record.to_vec();
    // The record's, the message's (of which two bytes are enough here), and those given.
    for at in [3, 7].iter().chain(lengths) {
        let length = u16::from_be_bytes([record[*at], record[*at + 1]]) - gone;
        record[*at..*at + 2].copy_from_slice(&length.to_be_bytes());
    }
    record.drain(cut);
    record
}

/// The hello in `record` with its `n`th change; `None` if it has no such change, or is no hello.
pub fn rewrite(record: &[u8], n: usize) -> Option<Vec<u8>> {
    let parts = parts(record)?;
    if let Some(extension) = parts.extensions.get(n) {
        return Some(without(record, extension.clone(), &[parts.extensions_length]));
    }
    let mut changed = record.to_vec();
    match (n - parts.extensions.len(), &parts.suites) {
        // The random's last byte, where TLS 1.3 servers warn of a downgrade.
        (0, _) => changed[5 + 4 + 2 + 31] ^= 1,
        (1, _) if !parts.session_id.is_empty() => changed[parts.session_id.start] ^= 1,
        // The suite that is liked best, and all but the one liked least.
        (2, Some(suites)) => {
            return Some(without(record, suites.start..suites.start + 2, &[suites.start - 2]));
        }
        (3, Some(suites)) => {
            return Some(without(record, suites.start..suites.end - 2, &[suites.start - 2]));
        }
        // Extensions in another order.
        (4, _) => {
            let [first, second, ..] = &parts.extensions[..] else { return None };
            changed[first.start..second.end].rotate_left(first.len());
        }
        (5.., _) => return None,
        _ => {}
    }
    (changed != record).then_some(changed)
}

/// More changes than any hello has.
pub const MOST: usize = 24;
