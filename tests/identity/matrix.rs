//! The matrix: one row is one field broken, with the one error it must give.

use std::sync::{Arc, OnceLock};

use nested_tls::identity::{
    Acceptance, Authority, Error, IssuedBy, NamePolicy, Note, Peer, Pin, Pinned, Presented,
    Problem, Rule, TimePolicy,
};
use rustls::pki_types::{CertificateDer, ServerName};

use crate::forge::{
    CLIENT_AUTH, Draft, Key, Kind, SERVER_AUTH, basic_constraints, cn, dns_name, extension,
    key_usage, name, now, oid, provider, purpose, rsa_algorithm, seq, short_rsa_spki, tlv,
};

/// One authority, one leaf key, one stranger: made once.
struct World {
    root: Key,
    key: Key,
    stranger: Key,
    rsa: Key,
    authority: CertificateDer<'static>,
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let root = Key::new(Kind::P256);
        let authority = Draft::authority(&cn("customerCA"), &root).sign(&root);
        let (key, stranger, rsa) =
            (Key::new(Kind::P256), Key::new(Kind::P256), Key::new(Kind::Rsa2048));
        World { root, key, stranger, rsa, authority }
    })
}

impl World {
    fn v1(&self) -> Draft {
        Draft::v1(&cn("leaf"), &self.key.spki, &cn("customerCA"))
    }

    fn v3(&self) -> Draft {
        Draft::v3(&cn("leaf"), &self.key.spki, &cn("customerCA"))
    }

    fn issued_by(&self) -> IssuedBy {
        let authority =
            Authority::from_der(self.authority.clone()).unwrap().from_file("customerCA.crt");
        IssuedBy::new([authority], NamePolicy::Unchecked, provider()).unwrap()
    }
}

fn pinned(certificate: &CertificateDer<'static>) -> Pinned {
    Pinned::new([Pin::certificate(certificate.clone()).from_file("certs/21a10654.0")], provider())
        .unwrap()
}

fn judge_as(
    rule: &dyn Rule,
    peer: Peer,
    leaf: &CertificateDer<'static>,
    chain: &[CertificateDer<'static>],
) -> Result<Acceptance, Error> {
    let name = ServerName::try_from("hsm.example").unwrap();
    let name = (peer == Peer::Server).then_some(&name);
    rule.judge(&Presented { leaf, chain, peer, name, now: now() })
}

fn judge(rule: &dyn Rule, leaf: &CertificateDer<'static>) -> Result<Acceptance, Error> {
    judge_as(rule, Peer::Server, leaf, &[])
}

/// What is broken, what the rule says, and the error with the values it compared.
struct Row {
    broken: &'static str,
    result: Result<(), Error>,
    problem: Problem,
    expected: &'static str,
    found: &'static str,
}

fn row<T>(
    broken: &'static str,
    result: Result<T, Error>,
    problem: Problem,
    expected: &'static str,
    found: &'static str,
) -> Row {
    Row { broken, result: result.map(drop), problem, expected, found }
}

fn check(rows: Vec<Row>) {
    for row in &rows {
        let error = match &row.result {
            Ok(()) => panic!("{}: accepted", row.broken),
            Err(error) => error,
        };
        assert_eq!(error.problem(), row.problem, "{}: {error}", row.broken);
        assert!(
            error.expected().contains(row.expected),
            "{}: expected {}",
            row.broken,
            error.expected()
        );
        assert!(error.found().contains(row.found), "{}: found {}", row.broken, error.found());
        assert!(!error.remedy().is_empty());
        let shown = error.to_string();
        assert!(shown.contains(error.expected()) && shown.contains(error.found()), "{shown}");
    }
    println!("{} rows", rows.len());
}

fn edited(draft: Draft, change: impl FnOnce(&mut Draft)) -> CertificateDer<'static> {
    draft.edit(change).sign(&world().root)
}

/// Changes one byte of the signature.
fn forged(certificate: &CertificateDer<'static>) -> CertificateDer<'static> {
    let mut bytes = certificate.to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    CertificateDer::from(bytes)
}

#[test]
fn issued_version_one() {
    let w = world();
    let rule = w.issued_by();
    let good = w.v1().sign(&w.root);
    let accepted = judge(&rule, &good).unwrap();
    assert_eq!(accepted.notes, [Note::VersionOne]);
    let judged = |leaf: &CertificateDer<'static>| judge(&rule, leaf);
    let sha1 = seq(&[&oid("1.2.840.10045.4.1")]);
    let unknown = seq(&[&oid("1.2.3.4")]);
    check(vec![
        row(
            "issuer",
            judged(&edited(w.v1(), |d| d.issuer = cn("otherCA"))),
            Problem::Issuer,
            "/CN=customerCA",
            "/CN=otherCA",
        ),
        row(
            "issuer in another string type",
            judged(&edited(w.v1(), |d| d.issuer = name(&[("2.5.4.3", 0x13, b"customerCA")]))),
            Problem::Issuer,
            "/CN=customerCA",
            "/CN=customerCA",
        ),
        row(
            "signed by a namesake",
            judged(&w.v1().sign(&w.stranger)),
            Problem::Signature,
            "/CN=customerCA",
            "another key of that name",
        ),
        row(
            "signature",
            judged(&forged(&good)),
            Problem::Signature,
            "a signature by",
            "another key",
        ),
        row(
            "inner algorithm",
            judged(&edited(w.v1(), |d| {
                d.inner_algorithm = Some(rsa_algorithm("1.2.840.113549.1.1.11"))
            })),
            Problem::AlgorithmMismatch,
            "sha256WithRSA",
            "ecdsa-with-SHA256",
        ),
        row(
            "outer algorithm",
            judged(&edited(w.v1(), |d| {
                d.outer_algorithm = Some(rsa_algorithm("1.2.840.113549.1.1.11"))
            })),
            Problem::AlgorithmMismatch,
            "ecdsa-with-SHA256",
            "sha256WithRSA",
        ),
        row(
            "parameters of the inner algorithm",
            judged(&edited(w.v1(), |d| {
                d.inner_algorithm = Some(seq(&[&oid("1.2.840.10045.4.3.2"), &[5, 0]]))
            })),
            Problem::AlgorithmMismatch,
            "ecdsa-with-SHA256",
            "ecdsa-with-SHA256",
        ),
        row(
            "weak algorithm",
            judged(&edited(w.v1(), |d| {
                d.inner_algorithm = Some(sha1.clone());
                d.outer_algorithm = Some(sha1.clone())
            })),
            Problem::WeakAlgorithm,
            "SHA-256 or better",
            "ecdsa-with-SHA1",
        ),
        row(
            "unknown algorithm",
            judged(&edited(w.v1(), |d| {
                d.inner_algorithm = Some(unknown.clone());
                d.outer_algorithm = Some(unknown.clone())
            })),
            Problem::UnsupportedAlgorithm,
            "SHA-256 or better",
            "1.2.3.4",
        ),
        row(
            "algorithm of another kind of key",
            judged(&w.v1().sign(&w.rsa)),
            Problem::Signature,
            "/CN=customerCA",
            "another key",
        ),
        row(
            "version 2",
            judged(&edited(w.v1(), |d| d.version = Some(1))),
            Problem::Version,
            "version 1 or 3",
            "version 2",
        ),
        row(
            "version 4",
            judged(&edited(w.v1(), |d| d.version = Some(3))),
            Problem::Encoding,
            "DER",
            "version",
        ),
        row(
            "explicit version 1",
            judged(&edited(w.v1(), |d| d.version = Some(0))),
            Problem::Encoding,
            "DER",
            "version",
        ),
        row(
            "extensions",
            judged(&w.v1().with(basic_constraints(false)).sign(&w.root)),
            Problem::VersionOneExtensions,
            "no field of later versions",
            "1 extensions",
        ),
        row(
            "unique identifier",
            judged(&edited(w.v1(), |d| d.raw_fields = vec![0x81, 2, 0, 1])),
            Problem::VersionOneExtensions,
            "no field",
            "unique identifiers",
        ),
        row(
            "not yet valid",
            judged(&edited(w.v1(), |d| d.not_before = "20270101000000Z")),
            Problem::NotYetValid,
            "validity at 2026-11-24",
            "validity from 2027-01-01",
        ),
        row(
            "expired",
            judged(&edited(w.v1(), |d| d.not_after = "20260101000000Z")),
            Problem::Expired,
            "validity at 2026-11-24",
            "expiry at 2026-01-01",
        ),
        row(
            "backwards validity",
            judged(&edited(w.v1(), |d| {
                d.not_before = "20261001000000Z";
                d.not_after = "20260101000000Z"
            })),
            Problem::NotYetValid,
            "validity at",
            "validity from",
        ),
        row(
            "short key",
            judged(&edited(w.v1(), |d| d.spki = short_rsa_spki())),
            Problem::WeakKey,
            "2048",
            "1024",
        ),
        row(
            "trailing bytes",
            judged(&CertificateDer::from([&good[..], &[0]].concat())),
            Problem::Encoding,
            "DER",
            "data after the certificate",
        ),
        row(
            "truncated",
            judged(&CertificateDer::from(good[..good.len() - 1].to_vec())),
            Problem::Encoding,
            "DER",
            "certificate",
        ),
        row(
            "empty",
            judged(&CertificateDer::from(vec![])),
            Problem::Encoding,
            "DER",
            "certificate",
        ),
        row(
            "empty serial",
            judged(&edited(w.v1(), |d| d.serial = vec![])),
            Problem::Encoding,
            "DER",
            "serial number",
        ),
    ]);
}

#[test]
fn issued_version_three() {
    let w = world();
    let rule = w.issued_by();
    let judged = |leaf: &CertificateDer<'static>| judge(&rule, leaf);
    let good = w.v3().sign(&w.root);
    judged(&good).unwrap();
    judged(&w.v3().with(purpose(SERVER_AUTH)).sign(&w.root)).unwrap();
    let sha1 = seq(&[&oid("1.2.840.10045.4.1")]);
    let unknown = extension("1.2.3.4", true, &[5, 0]);
    check(vec![
        row(
            "issuer",
            judged(&edited(w.v3(), |d| d.issuer = cn("otherCA"))),
            Problem::Issuer,
            "/CN=customerCA",
            "/CN=otherCA",
        ),
        row(
            "signed by a namesake",
            judged(&w.v3().sign(&w.stranger)),
            Problem::Signature,
            "/CN=customerCA",
            "another key of that name",
        ),
        row(
            "signature",
            judged(&forged(&good)),
            Problem::Signature,
            "/CN=customerCA",
            "another key",
        ),
        row(
            "inner algorithm",
            judged(&edited(w.v3(), |d| {
                d.inner_algorithm = Some(rsa_algorithm("1.2.840.113549.1.1.11"))
            })),
            Problem::AlgorithmMismatch,
            "sha256WithRSA",
            "ecdsa",
        ),
        row(
            "outer algorithm",
            judged(&edited(w.v3(), |d| {
                d.outer_algorithm = Some(rsa_algorithm("1.2.840.113549.1.1.11"))
            })),
            Problem::AlgorithmMismatch,
            "ecdsa",
            "sha256WithRSA",
        ),
        row(
            "weak algorithm",
            judged(&edited(w.v3(), |d| {
                d.inner_algorithm = Some(sha1.clone());
                d.outer_algorithm = Some(sha1.clone())
            })),
            Problem::WeakAlgorithm,
            "SHA-256 or better",
            "ecdsa-with-SHA1",
        ),
        row(
            "unknown critical extension",
            judged(&w.v3().with(unknown).sign(&w.root)),
            Problem::CriticalExtension,
            "known",
            "unknown",
        ),
        row(
            "an authority as the leaf",
            judged(&w.v3().with(basic_constraints(true)).sign(&w.root)),
            Problem::AuthorityAsLeaf,
            "end entity",
            "CA:TRUE",
        ),
        row(
            "a client's purpose",
            judged(&w.v3().with(purpose(CLIENT_AUTH)).sign(&w.root)),
            Problem::Purpose,
            "serverAuth",
            "clientAuth",
        ),
        row(
            "a server's purpose",
            judge_as(&rule, Peer::Client, &w.v3().with(purpose(SERVER_AUTH)).sign(&w.root), &[]),
            Problem::Purpose,
            "clientAuth",
            "serverAuth",
        ),
        row(
            "not yet valid",
            judged(&edited(w.v3(), |d| d.not_before = "20270101000000Z")),
            Problem::NotYetValid,
            "2026-11-24",
            "2027-01-01",
        ),
        row(
            "expired",
            judged(&edited(w.v3(), |d| d.not_after = "20260101000000Z")),
            Problem::Expired,
            "2026-11-24",
            "2026-01-01",
        ),
        row(
            "a stranger that is an authority by its own word",
            judged(&Draft::authority(&cn("stranger"), &w.stranger).sign(&w.stranger)),
            Problem::Issuer,
            "/CN=customerCA",
            "/CN=stranger",
        ),
        row(
            "an expired stranger",
            judged(
                &Draft::v3(&cn("leaf"), &w.key.spki, &cn("otherCA"))
                    .edit(|d| d.not_after = "20260101000000Z")
                    .sign(&w.stranger),
            ),
            Problem::Issuer,
            "/CN=customerCA",
            "/CN=otherCA",
        ),
        row(
            "short key",
            judged(&edited(w.v3(), |d| d.spki = short_rsa_spki())),
            Problem::WeakKey,
            "2048",
            "1024",
        ),
        row(
            "trailing bytes",
            judged(&CertificateDer::from([&good[..], &[0]].concat())),
            Problem::Encoding,
            "DER",
            "data after",
        ),
    ]);
}

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
