//! Public authorities: for public servers by their names, never for clients, never for private certificates.

use std::time::Duration;

use nested_tls::identity::{Error, Peer, Presented, Problem, PublicRoots, Rule};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

use crate::forge::{Draft, Key, Kind, cn, dns_name, now, provider};

#[test]
fn private_certificates_and_clients_are_refused() {
    let key = Key::new(Kind::P256);
    let rule = PublicRoots::new(provider());
    let name = ServerName::try_from("example.com").unwrap();
    let v3 = Draft::v3(&cn("example.com"), &key.spki, &cn("private"))
        .with(dns_name("example.com"))
        .sign(&key);
    let v1 = Draft::v1(&cn("example.com"), &key.spki, &cn("private")).sign(&key);
    for (leaf, peer, problem, expected) in [
        (&v3, Peer::Server, Problem::Issuer, "issuer a public authority"),
        (&v1, Peer::Server, Problem::Version, "version 1 or 3"),
        (&v3, Peer::Client, Problem::Purpose, "a server"),
    ] {
        let presented = Presented { leaf, chain: &[], peer, name: Some(&name), now: now() };
        let error = rule.judge(&presented).unwrap_err();
        assert_eq!((error.problem(), error.expected()), (problem, expected), "{error}");
    }
}

/// What rust-lang.org sent in February 2026, as the benchmarks of rustls keep it.
#[test]
fn a_public_server_by_its_name() {
    let leaf = CertificateDer::from(&include_bytes!("public/rust-lang.org.der")[..]);
    let chain = [CertificateDer::from(&include_bytes!("public/lets-encrypt-r12.der")[..])];
    let rule = PublicRoots::new(provider());
    assert!(rule.hints().is_empty());
    let judge = |chain: &[CertificateDer<'static>], name: Option<&str>, seconds| {
        let name = name.map(|name| ServerName::try_from(name.to_owned()).unwrap());
        let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let (leaf, name) = (&leaf, name.as_ref());
        rule.judge(&Presented { leaf, chain, peer: Peer::Server, name, now })
    };
    const THEN: u64 = 1_770_205_316;
    let year = 365 * 86_400;
    let accepted = judge(&chain, Some("rust-lang.org"), THEN).unwrap();
    assert_eq!(accepted.rule, "issued by a public authority, for rust-lang.org");
    assert!(accepted.file.is_none() && accepted.notes.is_empty());
    let problem = |judged: Result<_, Error>| judged.map(drop).unwrap_err().problem();
    let right = Some("rust-lang.org");
    assert_eq!(problem(judge(&chain, Some("example.com"), THEN)), Problem::Name);
    assert_eq!(problem(judge(&chain, None, THEN)), Problem::Name);
    assert_eq!(problem(judge(&[], right, THEN)), Problem::Issuer);
    assert_eq!(problem(judge(&chain, right, THEN + year)), Problem::Expired);
    assert_eq!(problem(judge(&chain, right, THEN - year)), Problem::NotYetValid);
}
