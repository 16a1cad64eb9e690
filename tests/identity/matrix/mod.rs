//! The matrix: one row is one field broken, with the one error it must give.

mod chains;
mod issued;
mod names;

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
