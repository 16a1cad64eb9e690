//! Records in bytes.

use std::ops::Range;

/// Where the whole records in `bytes` are.
pub fn ranges(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut at = 0;
    while let Some([_, _, _, high, low]) = bytes.get(at..at + 5) {
        let end = at + 5 + usize::from(u16::from_be_bytes([*high, *low]));
        if end > bytes.len() {
            break;
        }
        ranges.push(at..end);
        at = end;
    }
    ranges
}
