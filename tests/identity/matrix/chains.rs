//! What stands between a certificate and its authority, and more rules than one.

use super::*;

#[test]
fn chains() {
    let w = world();
    let middle = Key::new(Kind::P256);
    let draft = Draft::v3(&cn("middle"), &middle.spki, &cn("customerCA"));
    let intermediate = draft.clone().with(basic_constraints(true)).sign(&w.root);
    let leaf = Draft::v3(&cn("leaf"), &w.key.spki, &cn("middle")).sign(&middle);
    let chain = [intermediate.clone(), w.authority.clone()];
    let deep = w.issued_by().through_intermediates();
    let through = |chain: &[CertificateDer<'static>]| judge_as(&deep, Peer::Server, &leaf, chain);
    through(&chain).unwrap();
    let v1_middle = Draft::v1(&cn("middle"), &middle.spki, &cn("customerCA")).sign(&w.root);
    let v1_leaf = Draft::v1(&cn("leaf"), &w.key.spki, &cn("middle")).sign(&middle);
    let by_namesake = Draft::v3(&cn("leaf"), &w.key.spki, &cn("middle"))
        .with(extension("2.5.29.35", false, &seq(&[&tlv(0x80, &[0x12, 0x34])])))
        .sign(&w.stranger);
    let not_an_authority = draft.clone().sign(&w.root);
    let expired = draft
        .clone()
        .with(basic_constraints(true))
        .edit(|d| d.not_after = "20260101000000Z")
        .sign(&w.root);
    check(vec![
        row(
            "intermediates without leave",
            judge_as(&w.issued_by(), Peer::Server, &leaf, &chain),
            Problem::Issuer,
            "/CN=customerCA",
            "/CN=middle",
        ),
        row("intermediate not sent", through(&[]), Problem::Issuer, "/CN=customerCA", "/CN=middle"),
        row(
            "version 1 intermediate",
            through(&[v1_middle]),
            Problem::VersionOneIntermediate,
            "version 3",
            "version 1 of /CN=middle",
        ),
        row(
            "version 1 leaf through an intermediate",
            judge_as(&deep, Peer::Server, &v1_leaf, &chain),
            Problem::Issuer,
            "/CN=customerCA",
            "/CN=middle",
        ),
        row(
            "intermediate that is no authority",
            through(&[not_an_authority]),
            Problem::Constraint,
            "within its authorities",
            "EndEntityUsedAsCa",
        ),
        row(
            "unknown critical extension in an intermediate",
            through(&[draft
                .clone()
                .with(basic_constraints(true))
                .with(extension("1.2.3.4", true, &[5, 0]))
                .sign(&w.root)]),
            Problem::CriticalExtension,
            "known",
            "unknown",
        ),
        row(
            "intermediate signed by a namesake of the authority",
            through(&[draft.clone().with(basic_constraints(true)).sign(&w.stranger)]),
            Problem::Signature,
            "",
            "",
        ),
        row(
            "leaf by a namesake of the intermediate, which names its key",
            judge_as(&deep, Peer::Server, &by_namesake, &chain),
            Problem::Signature,
            "the issuer's key",
            "another key of that name (1234)",
        ),
        row(
            "intermediate with two algorithms",
            through(&[draft
                .clone()
                .with(basic_constraints(true))
                .edit(|d| d.inner_algorithm = Some(rsa_algorithm("1.2.840.113549.1.1.11")))
                .sign(&w.root)]),
            Problem::AlgorithmMismatch,
            "one algorithm",
            "two in a certificate of the chain",
        ),
        row(
            "expired intermediate",
            through(core::slice::from_ref(&expired)),
            Problem::Expired,
            "2026-11-24",
            "2026-01-01",
        ),
    ]);
    let lenient = w.issued_by().through_intermediates().time(TimePolicy::IgnoreExpiry);
    let notes = judge_as(&lenient, Peer::Server, &leaf, &[expired]).unwrap().notes;
    assert!(matches!(notes.as_slice(), [Note::Expired { .. }]), "{notes:?}");
}

/// The most that an HSM takes is 6980 bytes of chain; the root may be part of it.
#[test]
fn a_long_chain_with_its_root() {
    let w = world();
    let middle = Key::new(Kind::P256);
    let bulk = |size: usize| extension("1.2.3.4", false, &vec![0; size]);
    let intermediate = Draft::v3(&cn("middle"), &middle.spki, &cn("customerCA"))
        .with(basic_constraints(true))
        .with(bulk(3000))
        .sign(&w.root);
    let draft =
        |size| Draft::v3(&cn("leaf"), &w.key.spki, &cn("middle")).with(bulk(size)).sign(&middle);
    let fixed = intermediate.len() + w.authority.len();
    // A signature varies by a few bytes: try until the sum is exact.
    let leaf = (0..200)
        .map(|attempt| draft(6980 - fixed - draft(3000).len() + 3000 + attempt % 7 - 3))
        .find(|leaf| leaf.len() + fixed == 6980)
        .unwrap();
    let rule = w.issued_by().through_intermediates();
    judge_as(&rule, Peer::Server, &leaf, &[intermediate, w.authority.clone()]).unwrap();
}

#[test]
fn two_authorities_of_one_name() {
    let w = world();
    let second = Draft::authority(&cn("customerCA"), &w.stranger).sign(&w.stranger);
    let other = Draft::authority(&cn("otherCA"), &w.rsa).sign(&w.rsa);
    let authorities =
        [&w.authority, &second, &other].map(|der| Authority::from_der(der.clone()).unwrap());
    let rule = IssuedBy::new(authorities, NamePolicy::Unchecked, provider()).unwrap();
    for signer in [&w.root, &w.stranger] {
        judge(&rule, &w.v1().sign(signer)).unwrap();
        judge(&rule, &w.v3().sign(signer)).unwrap();
    }
    let mut by_other = w.v1();
    by_other.issuer = cn("otherCA");
    let accepted = judge(&rule, &by_other.sign(&w.rsa)).unwrap();
    assert!(accepted.rule.contains("/CN=otherCA"), "{}", accepted.rule);
    by_other.issuer = cn("thirdCA");
    check(vec![row(
        "third issuer",
        judge(&rule, &by_other.sign(&w.rsa)),
        Problem::Issuer,
        "/CN=otherCA",
        "/CN=thirdCA",
    )]);
}

#[test]
fn a_version_one_authority() {
    let w = world();
    let authority = Draft::v1(&cn("customerCA"), &w.root.spki, &cn("customerCA")).sign(&w.root);
    let rule =
        IssuedBy::new([Authority::from_der(authority).unwrap()], NamePolicy::Unchecked, provider())
            .unwrap();
    judge(&rule, &w.v1().sign(&w.root)).unwrap();
    judge(&rule, &w.v3().sign(&w.root)).unwrap();
}

/// An authority that may sign for some names only: webpki weighs the names of version 3, version 1 has none to weigh.
#[test]
fn a_constrained_authority() {
    let w = world();
    // permittedSubtrees: <https://www.rfc-editor.org/rfc/rfc5280#section-4.2.1.10>
    let good = seq(&[&tlv(0xa0, &seq(&[&tlv(0x82, b"good.example")]))]);
    let authority = Draft::authority(&cn("customerCA"), &w.root)
        .with(extension("2.5.29.30", true, &good))
        .sign(&w.root);
    let authority = Authority::from_der(authority).unwrap().from_file("customerCA.crt");
    let rule = IssuedBy::new([authority], NamePolicy::Unchecked, provider()).unwrap();
    let named = |name: &str| w.v3().with(dns_name(name)).sign(&w.root);
    judge(&rule, &named("hsm.good.example")).unwrap();
    let version_one = judge(&rule, &w.v1().sign(&w.root));
    assert_eq!(version_one.as_ref().unwrap_err().file(), Some("customerCA.crt"));
    check(vec![
        row(
            "another name",
            judge(&rule, &named("hsm.evil.example")),
            Problem::Constraint,
            "within its authorities",
            "NameConstraintViolation",
        ),
        row("version 1", version_one, Problem::Constraint, "/CN=customerCA", "version 1"),
    ]);
}

#[test]
fn issued_and_pinned() {
    let w = world();
    let leaf = w.v1().sign(&w.root);
    let other = w.v1().edit(|d| d.serial = vec![5]).sign(&w.root);
    let rule = w.issued_by().also_pinned([Pin::certificate(leaf.clone()).from_file("cluster.crt")]);
    judge(&rule, &leaf).unwrap();
    let refused = judge(&rule, &other);
    assert_eq!(refused.as_ref().unwrap_err().file(), Some("cluster.crt"));
    check(vec![row(
        "another certificate of the authority",
        refused,
        Problem::Pin,
        "certificate ",
        "/CN=leaf",
    )]);
}

#[test]
fn authorities() {
    let w = world();
    let draft = Draft::v3(&cn("ca"), &w.root.spki, &cn("ca"));
    let load = |draft: Draft| Authority::from_der(draft.sign(&w.root));
    load(draft.clone()).unwrap();
    load(draft.clone().with(key_usage(0x04)).with(basic_constraints(true))).unwrap();
    check(vec![
        row(
            "CA:FALSE",
            load(draft.clone().with(basic_constraints(false))),
            Problem::Authority,
            "CA:TRUE",
            "CA:FALSE",
        ),
        row(
            "key usage",
            load(draft.clone().with(key_usage(0x80))),
            Problem::Authority,
            "keyCertSign",
            "one without",
        ),
        row(
            "unknown critical extension",
            load(draft.clone().with(extension("1.2.3.4", true, &[5, 0]))),
            Problem::CriticalExtension,
            "known",
            "unknown",
        ),
        row(
            "one extension twice",
            load(draft.clone().with(key_usage(0x80)).with(key_usage(0x04))),
            Problem::Encoding,
            "trust anchor",
            "ExtensionValueInvalid",
        ),
        row(
            "version 2",
            load(draft.clone().edit(|d| d.version = Some(1))),
            Problem::Version,
            "version 1 or 3",
            "version 2",
        ),
        row(
            "extensions in version 1",
            load(draft.clone().edit(|d| d.version = None).with(basic_constraints(true))),
            Problem::VersionOneExtensions,
            "later versions",
            "1 extensions",
        ),
        row(
            "short key",
            load(draft.clone().edit(|d| d.spki = short_rsa_spki())),
            Problem::WeakKey,
            "2048",
            "1024",
        ),
        row(
            "trailing bytes",
            Authority::from_der([&draft.sign(&w.root)[..], &[0]].concat()),
            Problem::Encoding,
            "DER",
            "data after",
        ),
    ]);
    let empty = IssuedBy::new([], NamePolicy::Unchecked, provider());
    assert_eq!(empty.unwrap_err().problem(), Problem::NoCertificate);
    assert_eq!(Pinned::new([], provider()).unwrap_err().problem(), Problem::NoCertificate);
    let none: [Arc<dyn Rule>; 0] = [];
    assert_eq!(
        nested_tls::identity::AnyOf::new(none, provider()).unwrap_err().problem(),
        Problem::NoCertificate
    );
}
