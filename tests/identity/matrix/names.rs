//! Certificates that are known, and names.

use super::*;

#[test]
fn pinned_certificates() {
    let w = world();
    let sign = |draft: Draft| draft.sign(&w.key);
    let selfie = |version: Option<u8>| Draft {
        version,
        ..Draft::v1(&cn("CloudHSM"), &w.key.spki, &cn("CloudHSM"))
    };
    let pin_self = |leaf: CertificateDer<'static>| judge(&pinned(&leaf), &leaf);
    let v3 = || selfie(Some(2));
    let good = sign(v3());
    assert_eq!(judge(&pinned(&good), &good).unwrap().file.as_deref(), Some("certs/21a10654.0"));
    pin_self(sign(v3().with(basic_constraints(true)).with(key_usage(0x06)))).unwrap();
    let same_key = sign(v3().edit(|d| d.serial = vec![9]));
    let unknown = extension("1.2.3.4", true, &[5, 0]);
    let hash = Pinned::new([Pin::spki_sha256([7; 32])], provider()).unwrap();
    check(vec![
        row(
            "another certificate of the key",
            judge(&pinned(&good), &same_key),
            Problem::Pin,
            "certificate ",
            "/CN=CloudHSM",
        ),
        row(
            "another key",
            judge(
                &Pinned::new([Pin::spki(w.stranger.spki.clone().into())], provider()).unwrap(),
                &good,
            ),
            Problem::Pin,
            "key ",
            "/CN=CloudHSM",
        ),
        row("another hash", judge(&hash, &good), Problem::Pin, "key 0707", "/CN=CloudHSM"),
        row(
            "expired",
            pin_self(sign(v3().edit(|d| d.not_after = "20260101000000Z"))),
            Problem::Expired,
            "2026-11-24",
            "2026-01-01",
        ),
        row(
            "not yet valid",
            pin_self(sign(v3().edit(|d| d.not_before = "20270101000000Z"))),
            Problem::NotYetValid,
            "2026-11-24",
            "2027-01-01",
        ),
        row(
            "unknown critical extension",
            pin_self(sign(v3().with(unknown))),
            Problem::CriticalExtension,
            "known",
            "unknown",
        ),
        row(
            "a client's purpose",
            pin_self(sign(v3().with(purpose(CLIENT_AUTH)))),
            Problem::Purpose,
            "serverAuth",
            "clientAuth",
        ),
        row(
            "version 2",
            pin_self(sign(selfie(Some(1)))),
            Problem::Version,
            "version 1 or 3",
            "version 2",
        ),
        row(
            "extensions in version 1",
            pin_self(sign(selfie(None).with(basic_constraints(true)))),
            Problem::VersionOneExtensions,
            "later versions",
            "1 extensions",
        ),
        row(
            "algorithms",
            pin_self(sign(
                v3().edit(|d| d.inner_algorithm = Some(rsa_algorithm("1.2.840.113549.1.1.11"))),
            )),
            Problem::AlgorithmMismatch,
            "sha256WithRSA",
            "ecdsa",
        ),
        row(
            "short key",
            pin_self(sign(v3().edit(|d| d.spki = short_rsa_spki()))),
            Problem::WeakKey,
            "2048",
            "1024",
        ),
        row(
            "name",
            judge(&pinned(&good).names(NamePolicy::ServerName), &good),
            Problem::Name,
            "hsm.example",
            "no alternative name",
        ),
    ]);
}

#[test]
fn names() {
    let w = world();
    let named = |policy: NamePolicy| {
        let authority = Authority::from_der(w.authority.clone()).unwrap();
        IssuedBy::new([authority], policy, provider()).unwrap()
    };
    let fixed = |name: &str| NamePolicy::Name(ServerName::try_from(name.to_owned()).unwrap());
    let (plain, with_name) =
        (w.v1().sign(&w.root), w.v3().with(dns_name("hsm.example")).sign(&w.root));
    let nameless = w.v1().edit(|d| d.subject = name(&[])).sign(&w.root);
    judge(&named(NamePolicy::ServerName), &with_name).unwrap();
    judge(&named(fixed("hsm.example")), &with_name).unwrap();
    judge(&named(NamePolicy::CommonName("leaf".into())), &plain).unwrap();
    check(vec![
        row(
            "other alternative name",
            judge(&named(fixed("other.example")), &with_name),
            Problem::Name,
            "other.example",
            "DNS:hsm.example",
        ),
        row(
            "address",
            judge(&named(fixed("10.1.2.3")), &with_name),
            Problem::Name,
            "10.1.2.3",
            "DNS:hsm.example",
        ),
        row(
            "address of version 6",
            judge(&named(fixed("2001:db8::7")), &with_name),
            Problem::Name,
            "2001:db8::7",
            "DNS:hsm.example",
        ),
        row(
            "version 1 has no names",
            judge(&named(NamePolicy::ServerName), &plain),
            Problem::Name,
            "hsm.example",
            "no alternative name",
        ),
        row(
            "common name",
            judge(&named(NamePolicy::CommonName("HSM".into())), &plain),
            Problem::Name,
            "common name HSM",
            "common name leaf",
        ),
        row(
            "no common name",
            judge(&named(NamePolicy::CommonName("HSM".into())), &nameless),
            Problem::Name,
            "common name HSM",
            "no common name",
        ),
        row(
            "a client has no server name",
            judge_as(&named(NamePolicy::ServerName), Peer::Client, &with_name, &[]),
            Problem::Name,
            "name of a server",
            "a client",
        ),
    ]);
}
