//! Public authorities: never for clients, never for private certificates.

use nested_tls::identity::{Peer, Presented, Problem, PublicRoots, Rule};
use rustls::pki_types::ServerName;

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
