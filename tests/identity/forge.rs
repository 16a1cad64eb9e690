//! Certificates and requests of every shape, right and wrong, written byte by byte.

use nested_tls::identity::ClientKey;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use std::sync::Arc;
use std::time::Duration;

pub(crate) const UTF8: u8 = 0x0c;
pub(crate) const NUMERIC: u8 = 0x12;
pub(crate) const PRINTABLE: u8 = 0x13;
pub(crate) const T61: u8 = 0x14;
pub(crate) const IA5: u8 = 0x16;
pub(crate) const UNIVERSAL: u8 = 0x1c;
pub(crate) const BMP: u8 = 0x1e;

/// 2026-11-24T00:00:00Z: the time of every check unless said.
pub(crate) fn now() -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(1_795_478_400))
}

/// Whose rules are tested; what is signed here is signed with ring, but for what ring can't.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    #[cfg(feature = "aws-lc-rs")]
    return Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    #[cfg(not(feature = "aws-lc-rs"))]
    Arc::new(rustls::crypto::ring::default_provider())
}

/// One element with a definite length.
pub(crate) fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match value.len() {
        short @ 0..0x80 => out.push(short as u8),
        medium @ 0x80..0x100 => out.extend([0x81, medium as u8]),
        long => out.extend([0x82, (long >> 8) as u8, long as u8]),
    }
    out.extend_from_slice(value);
    out
}

pub(crate) fn seq(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

/// The element of a dotted number.
pub(crate) fn oid(dotted: &str) -> Vec<u8> {
    let arcs: Vec<u64> = dotted.split('.').map(|arc| arc.parse().unwrap()).collect();
    let mut out = Vec::new();
    for arc in std::iter::once(arcs[0] * 40 + arcs[1]).chain(arcs[2..].iter().copied()) {
        let mut digits = vec![(arc & 0x7f) as u8];
        let mut rest = arc >> 7;
        while rest > 0 {
            digits.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        out.extend(digits.iter().rev());
    }
    tlv(0x06, &out)
}

pub(crate) fn attribute(kind: &str, tag: u8, value: &[u8]) -> Vec<u8> {
    seq(&[&oid(kind), &tlv(tag, value)])
}

/// A name of single-valued parts; each is the attribute's number, string type and bytes.
pub(crate) fn name(parts: &[(&str, u8, &[u8])]) -> Vec<u8> {
    let sets: Vec<Vec<u8>> =
        parts.iter().map(|(kind, tag, value)| tlv(0x31, &attribute(kind, *tag, value))).collect();
    tlv(0x30, &sets.concat())
}

/// `CN=text`.
pub(crate) fn cn(text: &str) -> Vec<u8> {
    name(&[("2.5.4.3", UTF8, text.as_bytes())])
}

pub(crate) fn seed_name(unit: &str) -> Vec<u8> {
    name(&[
        ("2.5.4.6", PRINTABLE, b"US"),
        ("2.5.4.8", UTF8, b"Virginia"),
        ("2.5.4.7", UTF8, b"Herndon"),
        ("2.5.4.10", UTF8, b"AWS"),
        ("2.5.4.11", UTF8, unit.as_bytes()),
        ("2.5.4.3", UTF8, b"CloudHSM"),
        ("1.2.840.113549.1.9.1", IA5, b"cloudhsm-team@amazon.com"),
    ])
}

/// The subject of a real HSM's certificate: one part of five attributes, and a comma in the common name.
pub(crate) fn hsm_name(id: &str) -> Vec<u8> {
    let mut first = [
        attribute("2.5.4.6", PRINTABLE, b"US"),
        attribute("2.5.4.8", PRINTABLE, b"CA"),
        attribute("2.5.4.10", PRINTABLE, b"Cavium"),
        attribute("2.5.4.11", PRINTABLE, b"N3FIPS"),
        attribute("2.5.4.7", PRINTABLE, b"SanJose"),
    ];
    first.sort();
    let common = attribute("2.5.4.3", UTF8, format!("HSM:{id}:PARTN:1, for FIPS mode").as_bytes());
    seq(&[&tlv(0x31, &first.concat()), &tlv(0x31, &common)])
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    P256,
    P384,
    #[cfg(feature = "aws-lc-rs")]
    P521,
    Ed25519,
    Rsa2048,
    Rsa4096,
    Rsa2048Pss,
}

/// Every kind of key that the provider knows.
pub(crate) const KINDS: &[Kind] = &[
    Kind::P256,
    Kind::P384,
    #[cfg(feature = "aws-lc-rs")]
    Kind::P521,
    Kind::Ed25519,
    Kind::Rsa2048,
    Kind::Rsa4096,
    Kind::Rsa2048Pss,
];

/// A key that signs certificates and handshakes.
pub(crate) struct Key {
    kind: Kind,
    pkcs8: Vec<u8>,
    pub(crate) spki: Vec<u8>,
}

impl Key {
    pub(crate) fn new(kind: Kind) -> Self {
        let random = SystemRandom::new();
        let ecdsa = |algorithm: &'static EcdsaSigningAlgorithm, curve: &str| {
            let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap().as_ref().to_vec();
            let pair = EcdsaKeyPair::from_pkcs8(algorithm, &pkcs8, &random).unwrap();
            let spki = spki(&[&oid("1.2.840.10045.2.1"), &oid(curve)], pair.public_key().as_ref());
            (pkcs8, spki)
        };
        let (pkcs8, spki) = match kind {
            Kind::P256 => ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING, "1.2.840.10045.3.1.7"),
            Kind::P384 => ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING, "1.3.132.0.34"),
            #[cfg(feature = "aws-lc-rs")]
            Kind::P521 => {
                let pkcs8 = include_bytes!("keys/ecdsa-p521.p8").to_vec();
                let spki = p521(&pkcs8).public_key().unwrap().to_vec();
                (pkcs8, spki)
            }
            Kind::Ed25519 => {
                let pkcs8 = Ed25519KeyPair::generate_pkcs8(&random).unwrap().as_ref().to_vec();
                let pair = Ed25519KeyPair::from_pkcs8(&pkcs8).unwrap();
                (pkcs8, spki(&[&oid("1.3.101.112")], pair.public_key().as_ref()))
            }
            Kind::Rsa2048 | Kind::Rsa2048Pss => rsa(include_bytes!("keys/rsa-2048-a.p8")),
            Kind::Rsa4096 => rsa(include_bytes!("keys/rsa-4096-c.p8")),
        };
        Self { kind, pkcs8, spki }
    }

    pub(crate) fn private(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.pkcs8.clone()))
    }

    /// The AlgorithmIdentifier of this key's signatures.
    pub(crate) fn algorithm(&self) -> Vec<u8> {
        match self.kind {
            Kind::P256 => seq(&[&oid("1.2.840.10045.4.3.2")]),
            Kind::P384 => seq(&[&oid("1.2.840.10045.4.3.3")]),
            #[cfg(feature = "aws-lc-rs")]
            Kind::P521 => seq(&[&oid("1.2.840.10045.4.3.4")]),
            Kind::Ed25519 => seq(&[&oid("1.3.101.112")]),
            Kind::Rsa2048 | Kind::Rsa4096 => rsa_algorithm("1.2.840.113549.1.1.11"),
            Kind::Rsa2048Pss => {
                let known = provider().signature_verification_algorithms.all;
                let hash = oid("2.16.840.1.101.3.4.2.1");
                let pss = known.iter().map(|one| one.signature_alg_id()).find(|id| {
                    id.as_ref().starts_with(&oid("1.2.840.113549.1.1.10"))
                        && id.as_ref().windows(hash.len()).any(|window| window == hash)
                });
                tlv(0x30, pss.unwrap().as_ref())
            }
        }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let ecdsa = |algorithm| {
            let pair = EcdsaKeyPair::from_pkcs8(algorithm, &self.pkcs8, &random).unwrap();
            pair.sign(&random, message).unwrap().as_ref().to_vec()
        };
        let rsa = |padding| {
            let pair = RsaKeyPair::from_pkcs8(&self.pkcs8).unwrap();
            let mut signature = vec![0; pair.public().modulus_len()];
            pair.sign(padding, &random, message, &mut signature).unwrap();
            signature
        };
        match self.kind {
            Kind::P256 => ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING),
            Kind::P384 => ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING),
            #[cfg(feature = "aws-lc-rs")]
            Kind::P521 => {
                let scheme = rustls::SignatureScheme::ECDSA_NISTP521_SHA512;
                p521(&self.pkcs8).choose_scheme(&[scheme]).unwrap().sign(message).unwrap()
            }
            Kind::Ed25519 => {
                Ed25519KeyPair::from_pkcs8(&self.pkcs8).unwrap().sign(message).as_ref().to_vec()
            }
            Kind::Rsa2048 | Kind::Rsa4096 => rsa(&RSA_PKCS1_SHA256),
            Kind::Rsa2048Pss => rsa(&RSA_PSS_SHA256),
        }
    }
}

/// A key that ring does not know.
#[cfg(feature = "aws-lc-rs")]
fn p521(pkcs8: &[u8]) -> Arc<dyn rustls::sign::SigningKey> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8.to_vec()));
    provider().key_provider.load_private_key(key).unwrap()
}

pub(crate) fn rsa_algorithm(number: &str) -> Vec<u8> {
    seq(&[&oid(number), &[0x05, 0x00]])
}

/// The public key of 1024 bits that no check may let pass.
pub(crate) fn short_rsa_spki() -> Vec<u8> {
    // ring refuses to load the private key; its modulus and exponent stand in the PKCS#8 in clear.
    let pkcs8 = include_bytes!("keys/rsa-1024-short.p8");
    let start = pkcs8.windows(4).position(|window| window == [0x02, 0x81, 0x81, 0x00]).unwrap();
    let modulus = &pkcs8[start..start + 132];
    spki(
        &[&oid("1.2.840.113549.1.1.1"), &[0x05, 0x00]],
        &seq(&[modulus, &[0x02, 0x03, 0x01, 0x00, 0x01]]),
    )
}

fn rsa(pkcs8: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let pair = RsaKeyPair::from_pkcs8(pkcs8).unwrap();
    let spki = spki(&[&oid("1.2.840.113549.1.1.1"), &[0x05, 0x00]], pair.public_key().as_ref());
    (pkcs8.to_vec(), spki)
}

fn spki(algorithm: &[&[u8]], key: &[u8]) -> Vec<u8> {
    seq(&[&seq(algorithm), &bits(key)])
}

pub(crate) fn bits(value: &[u8]) -> Vec<u8> {
    tlv(0x03, &[&[0], value].concat())
}

/// A certificate before it is signed; every field may be set wrong.
#[derive(Clone)]
pub(crate) struct Draft {
    pub(crate) version: Option<u8>,
    pub(crate) serial: Vec<u8>,
    /// `None`: the signer's own.
    pub(crate) inner_algorithm: Option<Vec<u8>>,
    pub(crate) outer_algorithm: Option<Vec<u8>>,
    pub(crate) issuer: Vec<u8>,
    pub(crate) not_before: &'static str,
    pub(crate) not_after: &'static str,
    pub(crate) subject: Vec<u8>,
    pub(crate) spki: Vec<u8>,
    pub(crate) extensions: Vec<Vec<u8>>,
    pub(crate) raw_fields: Vec<u8>,
}

impl Draft {
    /// Version 1, as `openssl x509 -req` of OpenSSL before 3.2 makes it.
    pub(crate) fn v1(subject: &[u8], spki: &[u8], issuer: &[u8]) -> Self {
        Self {
            version: None,
            serial: vec![0x00, 0xb7, 0xfa, 0x7a, 0x40, 0x97, 0x6c, 0xbe, 0x82],
            inner_algorithm: None,
            outer_algorithm: None,
            issuer: issuer.to_vec(),
            not_before: "20200101000000Z",
            not_after: "20300101000000Z",
            subject: subject.to_vec(),
            spki: spki.to_vec(),
            extensions: Vec::new(),
            raw_fields: Vec::new(),
        }
    }

    /// Version 3 without extensions.
    pub(crate) fn v3(subject: &[u8], spki: &[u8], issuer: &[u8]) -> Self {
        Self { version: Some(2), ..Self::v1(subject, spki, issuer) }
    }

    /// A self-signed authority, as `openssl req -new -x509` makes it.
    pub(crate) fn authority(subject: &[u8], key: &Key) -> Self {
        Self::v3(subject, &key.spki, subject).with(basic_constraints(true))
    }

    pub(crate) fn with(mut self, extension: Vec<u8>) -> Self {
        self.extensions.push(extension);
        self
    }

    pub(crate) fn edit(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub(crate) fn sign(&self, signer: &Key) -> CertificateDer<'static> {
        let inner = self.inner_algorithm.clone().unwrap_or_else(|| signer.algorithm());
        let outer = self.outer_algorithm.clone().unwrap_or_else(|| signer.algorithm());
        let version =
            self.version.map(|version| tlv(0xa0, &[0x02, 0x01, version])).unwrap_or_default();
        let extensions = match self.extensions.is_empty() {
            true => Vec::new(),
            false => tlv(0xa3, &tlv(0x30, &self.extensions.concat())),
        };
        let validity = seq(&[&time(self.not_before), &time(self.not_after)]);
        let tbs = seq(&[
            &version,
            &tlv(0x02, &self.serial),
            &inner,
            &self.issuer,
            &validity,
            &self.subject,
            &self.spki,
            &self.raw_fields,
            &extensions,
        ]);
        CertificateDer::from(seq(&[&tbs, &outer, &bits(&signer.sign(&tbs))]))
    }
}

/// UTCTime until 2049, GeneralizedTime from 2050.
fn time(text: &str) -> Vec<u8> {
    match text < "2050" {
        true => tlv(0x17, &text.as_bytes()[2..]),
        false => tlv(0x18, text.as_bytes()),
    }
}

pub(crate) fn extension(number: &str, critical: bool, value: &[u8]) -> Vec<u8> {
    let critical: &[u8] = if critical { &[0x01, 0x01, 0xff] } else { &[] };
    seq(&[&oid(number), critical, &tlv(0x04, value)])
}

pub(crate) fn basic_constraints(authority: bool) -> Vec<u8> {
    let flag: &[u8] = if authority { &[0x01, 0x01, 0xff] } else { &[] };
    extension("2.5.29.19", true, &seq(&[flag]))
}

pub(crate) fn dns_name(name: &str) -> Vec<u8> {
    extension("2.5.29.17", false, &seq(&[&tlv(0x82, name.as_bytes())]))
}

pub(crate) fn purpose(number: &str) -> Vec<u8> {
    extension("2.5.29.37", false, &seq(&[&oid(number)]))
}

pub(crate) fn key_usage(bits: u8) -> Vec<u8> {
    extension("2.5.29.15", true, &tlv(0x03, &[0, bits]))
}

pub(crate) const SERVER_AUTH: &str = "1.3.6.1.5.5.7.3.1";
pub(crate) const CLIENT_AUTH: &str = "1.3.6.1.5.5.7.3.2";

/// A PKCS#10 request, signed by `signer`.
pub(crate) fn request(subject: &[u8], spki: &[u8], signer: &Key) -> Vec<u8> {
    let info = seq(&[&[0x02, 0x01, 0x00], subject, spki, &[0xa0, 0x00]]);
    seq(&[&info, &signer.algorithm(), &bits(&signer.sign(&info))])
}

/// PEM of one block.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in der.chunks(3) {
        let word = chunk.iter().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for place in 0..4 {
            match place <= chunk.len() {
                true => text.push(char::from(ALPHABET[(word >> (18 - 6 * place)) as usize & 63])),
                false => text.push('='),
            }
        }
    }
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

pub(crate) fn certificate_pem(der: &[u8]) -> String {
    pem("CERTIFICATE", der)
}

/// A chain and its key, ready to present.
pub(crate) fn own(chain: &[&CertificateDer<'static>], key: &Key) -> ClientKey {
    let chain = chain.iter().map(|certificate| (*certificate).clone()).collect();
    ClientKey::new(chain, key.private(), &provider()).unwrap()
}
