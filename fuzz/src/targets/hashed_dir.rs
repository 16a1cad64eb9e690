//! A directory of certificates from its names and contents, and the hash of a name beside a plain
//! second implementation.
//!
//! The input: files, one behind the other: the length of the name, the name, the length of the
//! contents in two bytes, the contents. A name in DER on its own is hashed, too.

use arbitrary::Unstructured;
use der::{Decode, Encode, Tag, Tagged};
use nested_tls::identity::{Certificate, HashedDir, Name};
use x509_cert::name::RdnSequence;

use super::byte;

pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let mut files = Vec::new();
    while !input.is_empty() && files.len() < 20 {
        let len = usize::from(byte(&mut input)).min(input.len());
        let name = String::from_utf8_lossy(input.bytes(len).unwrap_or_default()).into_owned();
        let len = usize::from(byte(&mut input)) << 8 | usize::from(byte(&mut input));
        let contents = input.bytes(len.min(input.len())).unwrap_or_default().to_vec();
        files.push((name, Ok(contents)));
    }
    let count = files.len();
    match HashedDir::from_files("directory", files) {
        Ok(dir) => {
            assert!(!dir.entries().is_empty());
            assert!(dir.entries().len() + dir.unreadable().len() <= count);
            let certificates: usize = dir.entries().iter().map(|e| e.certificates.len()).sum();
            assert_eq!(dir.pins().len(), certificates);
            for entry in dir.entries() {
                assert!(!entry.certificates.is_empty());
                for certificate in &entry.certificates {
                    // What can't be read is no entry.
                    let certificate = Certificate::from_der(certificate).unwrap();
                    check_hash(certificate.subject());
                }
            }
            let _ = dir.authorities();
            for finding in dir.findings() {
                let _ = format!("{finding} {finding:?}");
            }
        }
        Err(error) => {
            let _ = format!("{error} {error:?}");
        }
    }
}

/// Our hash of `name` is the plain one, where x509-cert reads the name.
pub(super) fn check_hash(name: &Name<'_>) {
    if let (Some(ours), Some(plain)) = (name.hash(), plain_hash(name.der())) {
        assert_eq!(ours, plain, "{:02x?}", name.der());
    }
}

/// OpenSSL's `X509_NAME_hash`, by its description: strings as UTF8String in lower case with single
/// spaces, each relative name again a SET, without the SEQUENCE around them; SHA-1.
fn plain_hash(der: &[u8]) -> Option<String> {
    let name = RdnSequence::from_der(der).ok()?;
    if name.to_der().ok()? != der {
        return None;
    }
    let mut canonical = Vec::new();
    for rdn in &name.0 {
        let mut parts = Vec::new();
        for attribute in rdn.0.iter() {
            let value = attribute.value.value();
            let text = match attribute.value.tag() {
                Tag::Utf8String => Some(std::str::from_utf8(value).ok()?.to_owned()),
                // Latin-1 by OpenSSL's reading, whatever the standards allow in each.
                Tag::PrintableString | Tag::Ia5String | Tag::TeletexString => {
                    Some(value.iter().map(|b| char::from(*b)).collect())
                }
                Tag::BmpString => {
                    let units = value.chunks(2);
                    let units = units
                        .map(|unit| Some(u16::from_be_bytes(unit.try_into().ok()?)))
                        .collect::<Option<Vec<u16>>>()?
                        .into_iter();
                    Some(units.map(|u| char::from_u32(u.into())).collect::<Option<String>>()?)
                }
                // What OpenSSL converts as well, and x509-cert has no name for.
                _ => return None,
            };
            let value = match text {
                Some(text) => tlv(0x0c, canonical_text(&text).as_bytes()),
                None => attribute.value.to_der().ok()?,
            };
            let oid = attribute.oid.to_der().ok()?;
            parts.push(tlv(0x30, &[oid, value].concat()));
        }
        parts.sort();
        canonical.extend(tlv(0x31, &parts.concat()));
    }
    let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &canonical);
    let first: [u8; 4] = digest.as_ref().get(..4)?.try_into().ok()?;
    Some(format!("{:08x}", u32::from_le_bytes(first)))
}

fn canonical_text(text: &str) -> String {
    let space = |c: char| matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c');
    let words: Vec<&str> = text.split(space).filter(|word| !word.is_empty()).collect();
    words.join(" ").to_ascii_lowercase()
}

fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match value.len() {
        len @ 0..=0x7f => out.push(len as u8),
        len => {
            let bytes = len.to_be_bytes();
            let skip = bytes.iter().take_while(|byte| **byte == 0).count();
            out.push(0x80 | (bytes.len() - skip) as u8);
            out.extend(&bytes[skip..]);
        }
    }
    out.extend(value);
    out
}
