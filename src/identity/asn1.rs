//! A reader of DER that lends slices of its input and never panics.
//!
//! Signatures and names are compared over the very bytes that were received, so the reader keeps each element's
//! whole encoding beside its contents.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
pub(super) const UTF8_STRING: u8 = 0x0c;
pub(super) const NUMERIC_STRING: u8 = 0x12;
pub(super) const PRINTABLE_STRING: u8 = 0x13;
pub(super) const T61_STRING: u8 = 0x14;
pub(super) const IA5_STRING: u8 = 0x16;
pub(super) const UTC_TIME: u8 = 0x17;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const VISIBLE_STRING: u8 = 0x1a;
pub(super) const UNIVERSAL_STRING: u8 = 0x1c;
pub(super) const BMP_STRING: u8 = 0x1e;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;
pub(super) const CONTEXT_0: u8 = 0xa0;
pub(super) const CONTEXT_3: u8 = 0xa3;

/// What is wrong with an encoding; the text names the element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

/// One element: its tag, its contents, and the whole of its encoding.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    pub(super) value: &'a [u8],
    pub(super) whole: &'a [u8],
}

/// Reads elements one after the other.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        Self { rest: input }
    }

    /// The next element, whatever it is.
    pub(super) fn any(&mut self) -> Result<Element<'a>, Malformed> {
        let [tag, first, after @ ..] = self.rest else {
            return Err(Malformed("truncated element"));
        };
        if tag & 0x1f == 0x1f {
            return Err(Malformed("tag of more than one byte"));
        }
        let (length, after) = read_length(*first, after)?;
        let (value, rest) = after.split_at_checked(length).ok_or(Malformed("truncated element"))?;
        let (whole, _) = self
            .rest
            .split_at_checked(self.rest.len() - rest.len())
            .ok_or(Malformed("truncated element"))?;
        self.rest = rest;
        Ok(Element { tag: *tag, value, whole })
    }

    /// The next element, which must have `tag`; `what` names it in the error.
    pub(super) fn expect(&mut self, tag: u8, what: &'static str) -> Result<Element<'a>, Malformed> {
        match self.any() {
            Ok(element) if element.tag == tag => Ok(element),
            _ => Err(Malformed(what)),
        }
    }

    /// The next element if it has `tag`.
    pub(super) fn optional(&mut self, tag: u8) -> Result<Option<Element<'a>>, Malformed> {
        match self.rest.first() {
            Some(next) if *next == tag => self.any().map(Some),
            _ => Ok(None),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Refuses what is left over.
    pub(super) fn finish(&self, what: &'static str) -> Result<(), Malformed> {
        if self.is_empty() { Ok(()) } else { Err(Malformed(what)) }
    }
}

/// A length in its shortest definite form.
fn read_length(first: u8, after: &[u8]) -> Result<(usize, &[u8]), Malformed> {
    if first < 0x80 {
        return Ok((usize::from(first), after));
    }
    let count = usize::from(first & 0x7f);
    if count == 0 || count > 4 {
        return Err(Malformed("length is indefinite or above 4 GiB"));
    }
    let (bytes, after) = after.split_at_checked(count).ok_or(Malformed("truncated length"))?;
    if bytes.first() == Some(&0) {
        return Err(Malformed("length is not in its shortest form"));
    }
    let length = bytes
        .iter()
        .try_fold(0_usize, |sum, byte| sum.checked_mul(256)?.checked_add(usize::from(*byte)));
    match length {
        Some(length) if length >= 0x80 => Ok((length, after)),
        _ => Err(Malformed("length is not in its shortest form")),
    }
}

/// The contents of a BIT STRING that fills whole bytes.
pub(super) fn whole_bits<'a>(
    element: &Element<'a>,
    what: &'static str,
) -> Result<&'a [u8], Malformed> {
    match element.value {
        [0, bits @ ..] => Ok(bits),
        _ => Err(Malformed(what)),
    }
}

/// `1.2.840.113549` from the contents of an OBJECT IDENTIFIER.
pub(super) fn dotted(oid: &[u8]) -> String {
    let mut out = String::new();
    let mut arc: u64 = 0;
    let mut first = true;
    for byte in oid {
        arc = arc.wrapping_shl(7) | u64::from(byte & 0x7f);
        if byte & 0x80 != 0 {
            continue;
        }
        // "The first two arcs share one subidentifier": X.690 section 8.19.4.
        let written = if first {
            let top = (arc / 40).min(2);
            write!(out, "{}.{}", top, arc - top * 40)
        } else {
            write!(out, ".{arc}")
        };
        // Writing to a String can't fail.
        debug_assert!(written.is_ok());
        first = false;
        arc = 0;
    }
    out
}

/// Upper-case hexadecimal digits, as openssl prints serial numbers.
pub(super) fn hex_upper(bytes: &[u8]) -> String {
    hex(bytes, b"0123456789ABCDEF")
}

/// Lower-case hexadecimal digits.
pub(super) fn hex_lower(bytes: &[u8]) -> String {
    hex(bytes, b"0123456789abcdef")
}

fn hex(bytes: &[u8], digits: &[u8; 16]) -> String {
    let digit =
        |nibble: u8| digits.get(usize::from(nibble)).map_or('?', |digit| char::from(*digit));
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}

/// The two's complement of `bytes`: the magnitude of a negative INTEGER.
pub(super) fn negate(bytes: &[u8]) -> Vec<u8> {
    let mut carry = true;
    let mut out: Vec<u8> = bytes
        .iter()
        .rev()
        .map(|byte| {
            let (sum, over) = (!byte).overflowing_add(u8::from(carry));
            carry = over;
            sum
        })
        .collect();
    out.reverse();
    out
}
