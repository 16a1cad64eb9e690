//! Distinguished names: as OpenSSL prints them, as OpenSSL hashes them, and as the bytes that are compared.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use super::asn1::{
    BMP_STRING, Element, GENERALIZED_TIME, IA5_STRING, Malformed, NUMERIC_STRING, OID,
    PRINTABLE_STRING, Reader, SEQUENCE, SET, T61_STRING, UNIVERSAL_STRING, UTC_TIME, UTF8_STRING,
    VISIBLE_STRING, dotted, hex_upper,
};

/// A distinguished name, borrowed from the certificate it stands in.
///
/// Two names are the same authority only if their [`der`](Self::der) is equal; the printed forms are for people.
#[derive(Clone, Debug)]
pub struct Name<'a> {
    der: &'a [u8],
    /// Relative distinguished names in order; each holds one or more attributes.
    parts: Vec<Vec<Attribute<'a>>>,
}

/// `CN=CloudHSM`: one attribute of a name.
#[derive(Clone, Copy, Debug)]
struct Attribute<'a> {
    oid: Element<'a>,
    value: Element<'a>,
}

impl<'a> Name<'a> {
    pub(super) fn parse(element: &Element<'a>) -> Result<Self, Malformed> {
        const WHAT: &str = "name";
        let mut parts = Vec::new();
        let mut sets = Reader::new(element.value);
        while !sets.is_empty() {
            let mut attributes = Vec::new();
            let mut set = Reader::new(sets.expect(SET, WHAT)?.value);
            while !set.is_empty() {
                let mut pair = Reader::new(set.expect(SEQUENCE, WHAT)?.value);
                attributes.push(Attribute { oid: pair.expect(OID, WHAT)?, value: pair.any()? });
                pair.finish(WHAT)?;
            }
            if attributes.is_empty() {
                return Err(Malformed(WHAT));
            }
            parts.push(attributes);
        }
        Ok(Self { der: element.whole, parts })
    }

    /// The bytes as received, with the header of the SEQUENCE.
    #[must_use]
    pub fn der(&self) -> &'a [u8] {
        self.der
    }

    /// `/C=US/O=AWS/CN=CloudHSM`: what `openssl x509 -subject -nameopt compat` prints.
    #[must_use]
    pub fn compat(&self) -> String {
        let mut out = String::new();
        for part in &self.parts {
            for (index, attribute) in part.iter().enumerate() {
                out.push(if index == 0 { '/' } else { '+' });
                out.push_str(&attribute.label());
                out.push('=');
                for byte in attribute.value.value {
                    match byte {
                        b'/' | b'+' => {
                            out.push('\\');
                            out.push(char::from(*byte));
                        }
                        b' '..=b'~' => out.push(char::from(*byte)),
                        _ => {
                            out.push_str("\\x");
                            out.push_str(&hex_upper(&[*byte]));
                        }
                    }
                }
            }
        }
        out
    }

    /// `C = US, O = AWS, CN = CloudHSM`: what `openssl x509 -subject` of OpenSSL 3.0 prints.
    #[must_use]
    pub fn one_line(&self) -> String {
        let mut out = String::new();
        for (place, part) in self.parts.iter().enumerate() {
            for (index, attribute) in part.iter().enumerate() {
                out.push_str(match (place, index) {
                    (0, 0) => "",
                    (_, 0) => ", ",
                    _ => " + ",
                });
                out.push_str(&attribute.label());
                out.push_str(" = ");
                attribute.write_quoted(&mut out);
            }
        }
        out
    }

    /// The first common name, where it is text.
    #[must_use]
    pub fn common_name(&self) -> Option<String> {
        let attribute =
            self.parts.iter().flatten().find(|attribute| attribute.oid.value == [0x55, 4, 3])?;
        String::from_utf8(to_utf8(&attribute.value)?).ok()
    }

    /// The hash in the names of OpenSSL's certificate directories: `21a10654` of `21a10654.0`.
    ///
    /// It chooses file names and nothing else: it is SHA-1 cut to four bytes, and anyone can make a name that has it.
    /// `None` where OpenSSL can't hash the name either (text that is not in the character set it claims).
    ///
    /// ```
    /// use nested_tls::identity::{Certificate, certificates_from_pem};
    ///
    /// # const PEM: &str = "\
    /// # -----BEGIN CERTIFICATE-----\n\
    /// # MIICeTCCAiCgAwIBAgIJALf6ekCXbL6CMAoGCCqGSM49BAMCMIGXMQswCQYDVQQG\n\
    /// # EwJVUzERMA8GA1UECAwIVmlyZ2luaWExEDAOBgNVBAcMB0hlcm5kb24xDDAKBgNV\n\
    /// # BAoMA0FXUzEZMBcGA1UECwwQQVdTIENyeXB0b2dyYXBoeTERMA8GA1UEAwwIQ2xv\n\
    /// # dWRIU00xJzAlBgkqhkiG9w0BCQEWGGNsb3VkaHNtLXRlYW1AYW1hem9uLmNvbTAe\n\
    /// # Fw0yNjExMjQwNDQ2NTZaFw0zNjExMjEwNDQ2NTZaMIGXMQswCQYDVQQGEwJVUzER\n\
    /// # MA8GA1UECAwIVmlyZ2luaWExEDAOBgNVBAcMB0hlcm5kb24xDDAKBgNVBAoMA0FX\n\
    /// # UzEZMBcGA1UECwwQQVdTIENyeXB0b2dyYXBoeTERMA8GA1UEAwwIQ2xvdWRIU00x\n\
    /// # JzAlBgkqhkiG9w0BCQEWGGNsb3VkaHNtLXRlYW1AYW1hem9uLmNvbTBZMBMGByqG\n\
    /// # SM49AgEGCCqGSM49AwEHA0IABNAUrC0uYBk/j+9BXJN4JYYkDLRqbTUEq1Y8dZeu\n\
    /// # S7HDlcibustoPfLJ0QfA84S2ncO6rBSjdcrdCVp2juwQk/CjUzBRMB0GA1UdDgQW\n\
    /// # BBTJDDKwXEaDDOgc4bdOeCDv+t9znjAfBgNVHSMEGDAWgBTJDDKwXEaDDOgc4bdO\n\
    /// # eCDv+t9znjAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0cAMEQCIBy+2nZf\n\
    /// # rQ4UP7YrKxJA5aHH9kyE8O23jsTPUSH0nv7HAiAGRN8jKHbxvsvxrBOSV/NTg1ia\n\
    /// # mX0yZPyzSDjrbumKBA==\n\
    /// # -----END CERTIFICATE-----\n\
    /// # ";
    /// let certificates = certificates_from_pem(PEM.as_bytes())?;
    /// let certificate = Certificate::from_der(&certificates[0])?;
    /// assert_eq!(
    ///     certificate.subject().compat(),
    ///     "/C=US/ST=Virginia/L=Herndon/O=AWS/OU=AWS Cryptography/CN=CloudHSM/emailAddress=cloudhsm-team@amazon.com"
    /// );
    /// assert_eq!(certificate.serial(), "B7FA7A40976CBE82");
    /// assert_eq!(certificate.subject().hash().as_deref(), Some("21a10654"));
    /// # Ok::<(), nested_tls::identity::Error>(())
    /// ```
    #[must_use]
    pub fn hash(&self) -> Option<String> {
        let digest = sha1_smol::Sha1::from(self.canonical()?).digest().bytes();
        let [a, b, c, d, ..] = digest;
        let mut out = String::new();
        write!(out, "{:08x}", u32::from_le_bytes([a, b, c, d])).ok()?;
        Some(out)
    }

    /// OpenSSL's canonical form: per relative name a SET OF, all text UTF-8 in lower case with single spaces, and no
    /// header around the whole.
    fn canonical(&self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        for part in &self.parts {
            let mut attributes = Vec::new();
            for attribute in part {
                let mut pair = attribute.oid.whole.to_vec();
                match attribute.value.tag {
                    UTF8_STRING | BMP_STRING | UNIVERSAL_STRING | PRINTABLE_STRING | T61_STRING
                    | IA5_STRING | VISIBLE_STRING => {
                        write_element(&mut pair, UTF8_STRING, &fold(&to_utf8(&attribute.value)?));
                    }
                    _ => pair.extend_from_slice(attribute.value.whole),
                }
                let mut encoded = Vec::new();
                write_element(&mut encoded, SEQUENCE, &pair);
                attributes.push(encoded);
            }
            // "The encodings of the component values of a set-of value shall appear in ascending order": X.690
            // section 11.6. They are ordered after the folding, not before.
            attributes.sort();
            write_element(&mut out, SET, &attributes.concat());
        }
        Some(out)
    }
}

impl Attribute<'_> {
    /// The short name that OpenSSL has for the attribute, else the dotted number.
    fn label(&self) -> String {
        let oid = dotted(self.oid.value);
        match LABELS.iter().find(|(number, _)| *number == oid) {
            Some((_, label)) => String::from(*label),
            None => oid,
        }
    }

    /// RFC 2253 escapes, with quotes in place of most backslashes.
    fn write_quoted(&self, out: &mut String) {
        let Some(text) = printable_bytes(&self.value) else {
            out.push('#');
            out.push_str(&hex_upper(self.value.whole));
            return;
        };
        let last = text.len().saturating_sub(1);
        let needs_quotes = text.iter().enumerate().any(|(place, byte)| match byte {
            b',' | b'+' | b'<' | b'>' | b';' => true,
            b'#' => place == 0,
            b' ' => place == 0 || place == last,
            _ => false,
        });
        if needs_quotes {
            out.push('"');
        }
        for byte in text {
            match byte {
                b'"' | b'\\' => {
                    out.push('\\');
                    out.push(char::from(byte));
                }
                b' '..=b'~' => out.push(char::from(byte)),
                _ => {
                    out.push('\\');
                    out.push_str(&hex_upper(&[byte]));
                }
            }
        }
        if needs_quotes {
            out.push('"');
        }
    }
}

/// The bytes to print; `None` for types that are shown as their encoding.
fn printable_bytes(value: &Element<'_>) -> Option<Vec<u8>> {
    match value.tag {
        UTF8_STRING => Some(value.value.to_vec()),
        UTC_TIME | GENERALIZED_TIME => Some(value.value.to_vec()),
        _ => to_utf8(value),
    }
}

/// The text of a string of any of the types in names, as UTF-8. T61 is read as Latin-1, as OpenSSL does.
fn to_utf8(value: &Element<'_>) -> Option<Vec<u8>> {
    match value.tag {
        UTF8_STRING => core::str::from_utf8(value.value).ok().map(|text| text.as_bytes().to_vec()),
        NUMERIC_STRING | PRINTABLE_STRING | T61_STRING | IA5_STRING | VISIBLE_STRING => {
            Some(value.value.iter().map(|byte| char::from(*byte)).collect::<String>().into_bytes())
        }
        BMP_STRING => wide(value.value, 2),
        UNIVERSAL_STRING => wide(value.value, 4),
        _ => None,
    }
}

/// Big-endian characters of `width` bytes.
fn wide(bytes: &[u8], width: usize) -> Option<Vec<u8>> {
    if bytes.len() % width != 0 {
        return None;
    }
    bytes
        .chunks(width)
        .map(|unit| char::from_u32(unit.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte))))
        .collect::<Option<String>>()
        .map(String::into_bytes)
}

/// Lower case, no space at either end, one space for several. Bytes above ASCII stay as they are.
fn fold(text: &[u8]) -> Vec<u8> {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r');
    let words = text.split(is_space).filter(|word| !word.is_empty());
    words.map(<[u8]>::to_ascii_lowercase).collect::<Vec<_>>().join(&b' ')
}

fn write_element(out: &mut Vec<u8>, tag: u8, value: &[u8]) {
    out.push(tag);
    let length = value.len().to_be_bytes();
    match value.len() {
        short @ 0..0x80 => out.extend(u8::try_from(short)),
        _ => {
            let digits: Vec<u8> = length.into_iter().skip_while(|byte| *byte == 0).collect();
            out.extend(u8::try_from(digits.len()).map(|count| 0x80 | count));
            out.extend(digits);
        }
    }
    out.extend_from_slice(value);
}

/// OpenSSL's short names of the attributes that occur in subjects.
const LABELS: &[(&str, &str)] = &[
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.3", "mail"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
    ("1.2.840.113549.1.9.2", "unstructuredName"),
    ("1.2.840.113549.1.9.8", "unstructuredAddress"),
    ("1.3.6.1.4.1.311.60.2.1.1", "jurisdictionL"),
    ("1.3.6.1.4.1.311.60.2.1.2", "jurisdictionST"),
    ("1.3.6.1.4.1.311.60.2.1.3", "jurisdictionC"),
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.13", "description"),
    ("2.5.4.15", "businessCategory"),
    ("2.5.4.16", "postalAddress"),
    ("2.5.4.17", "postalCode"),
    ("2.5.4.18", "postOfficeBox"),
    ("2.5.4.20", "telephoneNumber"),
    ("2.5.4.41", "name"),
    ("2.5.4.42", "GN"),
    ("2.5.4.43", "initials"),
    ("2.5.4.44", "generationQualifier"),
    ("2.5.4.45", "x500UniqueIdentifier"),
    ("2.5.4.46", "dnQualifier"),
    ("2.5.4.65", "pseudonym"),
    ("2.5.4.72", "role"),
    ("2.5.4.97", "organizationIdentifier"),
];
