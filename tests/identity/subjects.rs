//! Names and serial numbers that are hard to print.

use crate::forge::{
    BMP, IA5, NUMERIC, PRINTABLE, T61, UNIVERSAL, UTF8, attribute, hsm_name, name, seed_name, seq,
    tlv,
};

/// Zero, positive with and without a leading zero, negative, long.
pub(crate) const SERIALS: [&[u8]; 8] = [
    &[0],
    &[1],
    &[0x7f],
    &[0x00, 0xb7, 0xfa, 0x7a, 0x40, 0x97, 0x6c, 0xbe, 0x82],
    &[0xb7, 0xfa, 0x7a, 0x40, 0x97, 0x6c, 0xbe, 0x82],
    &[0xff],
    &[0x0a, 0xbc, 0, 0],
    &[0x7f, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23],
];

/// Every string type that OpenSSL reads in a name (VisibleString is none), with spaces, case, signs that are escaped, and several attributes in one part.
pub(crate) fn subjects() -> Vec<Vec<u8>> {
    let wide =
        |text: &str| text.chars().flat_map(|c| (c as u16).to_be_bytes()).collect::<Vec<u8>>();
    let wider =
        |text: &str| text.chars().flat_map(|c| (c as u32).to_be_bytes()).collect::<Vec<u8>>();
    let texts = [
        "plain",
        "MiXed CaSe",
        "  outer   and  inner spaces ",
        " ",
        "a,b+c\"d\\e<f>g;h=i#j/k",
        "#begins with a hash",
        "ends with a space ",
        "tab\tand\nnewline\r\x0b\x0cend",
        "control \x01\x7f end",
    ];
    let mut out =
        vec![seed_name("AWS Cryptography"), seed_name("Cryptography"), hsm_name("x"), name(&[])];
    for text in texts {
        for tag in [UTF8, PRINTABLE, T61, IA5, NUMERIC] {
            out.push(name(&[("2.5.4.6", PRINTABLE, b"US"), ("2.5.4.3", tag, text.as_bytes())]));
        }
        out.push(name(&[("2.5.4.3", BMP, &wide(text))]));
        out.push(name(&[("2.5.4.3", UNIVERSAL, &wider(text))]));
    }
    out.push(name(&[("2.5.4.3", UTF8, "Ünïcödé ÀÉ 日本 ẞ".as_bytes())]));
    out.push(name(&[("2.5.4.3", BMP, &wide("Ünïcödé 日本"))]));
    out.push(name(&[("2.5.4.3", UNIVERSAL, &wider("Ünïcödé 日本 𝄞"))]));
    out.push(name(&[("2.5.4.3", T61, b"caf\xe9 \xc0\xff")]));
    out.push(name(&[("2.5.4.3", UTF8, "\u{a0}no-break\u{a0}".as_bytes())]));
    for label in [
        "0.9.2342.19200300.100.1.1",
        "0.9.2342.19200300.100.1.25",
        "1.2.840.113549.1.9.2",
        "1.3.6.1.4.1.311.60.2.1.3",
        "2.5.4.4",
        "2.5.4.5",
        "2.5.4.9",
        "2.5.4.12",
        "2.5.4.13",
        "2.5.4.15",
        "2.5.4.17",
        "2.5.4.41",
        "2.5.4.42",
        "2.5.4.43",
        "2.5.4.44",
        "2.5.4.46",
        "2.5.4.65",
        "2.5.4.97",
        "1.2.3.4.5.6",
        "2.5.4.200",
    ] {
        out.push(name(&[(label, UTF8, b"Value"), ("2.5.4.3", UTF8, b"x")]));
    }
    // One part of several attributes whose order changes when their text is folded.
    let mut set = [
        attribute("2.5.4.3", UTF8, b"bB"),
        attribute("2.5.4.3", PRINTABLE, b"Aaaa"),
        attribute("2.5.4.3", T61, b"  a  "),
    ];
    set.sort();
    out.push(seq(&[&tlv(0x31, &set.concat()), &tlv(0x31, &attribute("2.5.4.10", UTF8, b"O"))]));
    // Long enough for lengths of two bytes.
    out.push(name(&[
        ("2.5.4.3", UTF8, "long ".repeat(60).as_bytes()),
        ("2.5.4.10", UTF8, "x".repeat(130).as_bytes()),
    ]));
    out
}
