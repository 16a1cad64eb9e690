//! A client directory looked through before anything connects: every file, every mismatch, the remedy.
//!
//! Reading a [`ClientDirectory`](super::cloudhsm::ClientDirectory) stops at the first file that can't be used; this goes on
//! to the last, and reports besides what works today and will not tomorrow.

use std::path::Path;

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};

use super::authority::Authority;
use super::certificate::Certificate;
use super::client_key::ClientKey;
use super::cloudhsm::ClientPaths;
use super::error::{Error, Problem};
use super::files;
use super::hashed_dir::HashedDir;
use super::issued_by::IssuedBy;
use super::pem::{certificates_from_pem, has_private_key, private_key_from_pem};
use super::policy::{NamePolicy, Note, Peer, TimePolicy, check_time};
use super::rule::{Presented, Rule};
use super::time;

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Severity {
    /// Nothing to do.
    Note,
    /// It works, or may work, and something should be done.
    Warning,
    /// A connection fails.
    Failure,
}

/// Something about one file; [`Error`] has the file, what was expected and found, and the remedy.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Finding {
    /// How much it weighs.
    pub severity: Severity,
    /// What it is.
    pub error: Error,
}

impl Finding {
    /// A finding of another's making, to stand beside those of an [`Examination`].
    #[must_use]
    pub fn new(severity: Severity, error: Error) -> Self {
        Self { severity, error }
    }
}

/// What to hold the files against.
#[derive(Clone, Debug)]
pub struct Examination {
    provider: Arc<CryptoProvider>,
    now: UnixTime,
    cluster_certificate: Option<(CertificateDer<'static>, String)>,
    default_client: Option<CertificateDer<'static>>,
    time: TimePolicy,
}

impl Examination {
    /// An examination at `now`.
    #[must_use]
    pub fn new(provider: Arc<CryptoProvider>, now: UnixTime) -> Self {
        Self {
            provider,
            now,
            cluster_certificate: None,
            default_client: None,
            time: TimePolicy::Strict,
        }
    }

    /// Asks that customerCA issued this cluster certificate, which came from `file`.
    #[must_use]
    pub fn cluster_certificate(
        mut self,
        certificate: CertificateDer<'static>,
        file: impl Into<String>,
    ) -> Self {
        self.cluster_certificate = Some((certificate, file.into()));
        self
    }

    /// Names the client certificate that the host accepts besides those of customerCA. Without it, a certificate that
    /// customerCA did not issue is a warning only: it may be the default one.
    #[must_use]
    pub fn default_client(mut self, certificate: CertificateDer<'static>) -> Self {
        self.default_client = Some(certificate);
        self
    }

    /// What to do about expiry of the host's and the cluster's certificates, which can't be renewed;
    /// [`TimePolicy::Strict`] unless said.
    #[must_use]
    pub fn time(mut self, time: TimePolicy) -> Self {
        self.time = time;
        self
    }

    /// Looks through all files. The findings stand in the order of the files; an empty list means that nothing is wrong.
    #[must_use]
    pub fn run(&self, paths: &ClientPaths) -> Vec<Finding> {
        let mut findings = Findings::default();
        self.server_certificates(paths, &mut findings);
        let authorities = self.customer_ca(&paths.customer_ca, &mut findings);
        let (certificate, key) = (&paths.client_certificate, &paths.client_key);
        if paths.bundled && !certificate.exists() && !key.exists() {
            findings.add(Severity::Note, brought_along("a client certificate", certificate));
        } else if let Some(chain) = self.own(certificate, key, &mut findings) {
            // Without customerCA nobody knows where a chain should end.
            if !authorities.is_empty() {
                complete(&chain, certificate, &authorities, &mut findings);
            }
            self.client_origin(&chain, certificate, &authorities, &mut findings);
        }
        if let Some((certificate, key)) = &paths.inner_client {
            let chain = self.own(certificate, key, &mut findings).unwrap_or_default();
            complete(&chain, certificate, &[], &mut findings);
            chain_size(&chain, certificate, &mut findings);
        }
        if let Some((certificate, file)) = &self.cluster_certificate {
            self.cluster(certificate, file, &authorities, &mut findings);
        }
        findings.0
    }

    fn server_certificates(&self, paths: &ClientPaths, findings: &mut Findings) {
        let path = &paths.server_certificates;
        if paths.bundled && !path.exists() {
            return findings.add(Severity::Note, brought_along("the host's certificates", path));
        }
        let directory = match HashedDir::read(path) {
            Ok(directory) => directory,
            Err(error) => {
                for cause in error.causes() {
                    findings.add(Severity::Warning, cause.clone());
                }
                return findings.add(Severity::Failure, error);
            }
        };
        for error in directory.findings() {
            findings.add(Severity::Warning, error);
        }
        for entry in directory.entries() {
            for der in &entry.certificates {
                self.validity(der, &entry.file, self.expiry_of_servers(), findings);
                self.self_signed(der, &entry.file, findings);
            }
        }
    }

    fn customer_ca(&self, path: &Path, findings: &mut Findings) -> Vec<Authority> {
        let file = shown(path);
        let certificates =
            match files::read(path).and_then(|pem| self.certificates(&pem, &file, findings)) {
                Ok(certificates) => certificates,
                Err(error) => {
                    findings.add(Severity::Failure, error.in_file(file));
                    return Vec::new();
                }
            };
        let mut authorities = Vec::new();
        for der in &certificates {
            // A file may hold a chain from the issuing authority up to its root.
            let has_issuer = |issuer: &[u8]| {
                let mut others = certificates.iter().filter(|other| *other != der);
                others.any(|other| {
                    Certificate::from_der(other).is_ok_and(|other| other.subject().der() == issuer)
                })
            };
            if !Certificate::from_der(der).is_ok_and(|one| has_issuer(one.issuer().der())) {
                self.self_signed(der, &file, findings);
            }
            // Trust anchors don't expire for rustls and webpki; they do for OpenSSL.
            self.validity(der, &file, Severity::Warning, findings);
            // The guide to initialising a cluster asks for basic constraints in a version 3 authority.
            let bare = Certificate::from_der(der)
                .is_ok_and(|one| one.version() == 3 && one.authority_flag().is_none());
            if bare {
                let error = Error::new(
                    Problem::Authority,
                    "CA:TRUE",
                    "version 3 without basic constraints",
                );
                findings.add(Severity::Warning, error.in_file(file.as_str()));
            }
            match Authority::from_der(der.clone()) {
                Ok(authority) => authorities.push(authority.from_file(file.as_str())),
                Err(error) => findings.add(Severity::Failure, error.in_file(file.as_str())),
            }
        }
        authorities
    }

    /// Our own certificate and key; the chain if it can be read.
    fn own(
        &self,
        certificate: &Path,
        key: &Path,
        findings: &mut Findings,
    ) -> Option<Vec<CertificateDer<'static>>> {
        let (file, key_file) = (shown(certificate), shown(key));
        let chain =
            files::read(certificate).and_then(|pem| self.certificates(&pem, &file, findings));
        let private = files::read(key).and_then(|pem| private_key_from_pem(&pem));
        if let Some(error) = open_to_others(key) {
            findings.add(Severity::Warning, error.in_file(key_file.as_str()));
        }
        let chain = match chain {
            Ok(chain) => Some(chain),
            Err(error) => {
                findings.add(Severity::Failure, error.in_file(file.as_str()));
                None
            }
        };
        match (&chain, private) {
            (Some(chain), Ok(private)) => {
                if let Err(error) = ClientKey::new(chain.clone(), private, &self.provider) {
                    findings.add(Severity::Failure, error.in_file(key_file));
                }
            }
            (_, Err(error)) => findings.add(Severity::Failure, error.in_file(key_file)),
            (None, Ok(_)) => {}
        }
        let chain = chain?;
        for der in &chain {
            self.validity(der, &file, Severity::Failure, findings);
        }
        Some(chain)
    }

    /// The host accepts the default client certificate, or one that customerCA issued.
    fn client_origin(
        &self,
        chain: &[CertificateDer<'static>],
        path: &Path,
        authorities: &[Authority],
        findings: &mut Findings,
    ) {
        let Some((leaf, intermediates)) = chain.split_first() else {
            return;
        };
        if authorities.is_empty() || self.default_client.as_ref() == Some(leaf) {
            return;
        }
        let Err(error) = self.issued(leaf, intermediates, authorities, Peer::Client) else {
            return;
        };
        let error = match error.problem() {
            Problem::Issuer | Problem::Signature => {
                let expected = format!("the default client certificate, or {}", error.expected());
                Error::new(Problem::NoRule, expected, error.found()).because(Vec::from([error]))
            }
            _ => error,
        };
        let severity = match (&self.default_client, error.problem()) {
            (None, Problem::NoRule) => Severity::Warning,
            _ => Severity::Failure,
        };
        findings.add(severity, error.in_file(shown(path)));
    }

    fn cluster(
        &self,
        der: &CertificateDer<'static>,
        file: &str,
        authorities: &[Authority],
        findings: &mut Findings,
    ) {
        self.validity(der, file, self.expiry_of_servers(), findings);
        if authorities.is_empty() || Certificate::from_der(der).is_err() {
            return;
        }
        // The error names customerCA.crt: it is the file to exchange, the cluster's certificate can't be.
        if let Err(error) = self.issued(der, &[], authorities, Peer::Server) {
            findings.add(Severity::Failure, error.in_file(file));
        }
    }

    fn issued(
        &self,
        leaf: &CertificateDer<'static>,
        chain: &[CertificateDer<'static>],
        authorities: &[Authority],
        peer: Peer,
    ) -> Result<(), Error> {
        let rule = IssuedBy::new(
            authorities.iter().cloned(),
            NamePolicy::Unchecked,
            self.provider.clone(),
        )?
        .time(TimePolicy::IgnoreExpiry)
        .through_intermediates();
        rule.judge(&Presented { leaf, chain, peer, name: None, now: self.now }).map(|_| ())
    }

    /// The certificates of a file that should hold nothing else.
    fn certificates(
        &self,
        pem: &[u8],
        file: &str,
        findings: &mut Findings,
    ) -> Result<Vec<CertificateDer<'static>>, Error> {
        if has_private_key(pem) {
            let error =
                Error::new(Problem::StrayKey, "certificates only", "a private key beside them");
            findings.add(Severity::Warning, error.in_file(file));
        }
        let certificates = certificates_from_pem(pem)?;
        for der in &certificates {
            Certificate::from_der(der)?;
        }
        Ok(certificates)
    }

    /// How much it weighs that a server's certificate has expired.
    fn expiry_of_servers(&self) -> Severity {
        match self.time {
            TimePolicy::Strict => Severity::Failure,
            TimePolicy::IgnoreExpiry => Severity::Warning,
        }
    }

    fn validity(
        &self,
        der: &CertificateDer<'_>,
        file: &str,
        expired: Severity,
        findings: &mut Findings,
    ) {
        let Some(certificate) = findings.readable(der, file) else {
            return;
        };
        if let Err(error) = check_time(&certificate, TimePolicy::Strict, self.now) {
            let severity = match error.problem() {
                Problem::Expired => expired,
                _ => Severity::Failure,
            };
            return findings.add(severity, error.in_file(file));
        }
        let soon = UnixTime::since_unix_epoch(Duration::from_secs(self.now.as_secs()) + SOON);
        if certificate.not_after() < soon {
            let (expected, found) = (time::display(soon), time::display(certificate.not_after()));
            let error = Error::new(
                Problem::ExpiresSoon,
                format!("validity beyond {expected}"),
                format!("expiry at {found}"),
            );
            findings.add(Severity::Warning, error.in_file(file));
        }
        if certificate.version() == 1 {
            let found = format!("version 1 of {}", certificate.subject().compat());
            let error =
                Error::new(Problem::Version, "version 3", format!("{found}; {}", Note::VersionOne));
            findings.add(Severity::Note, error.in_file(file));
        }
    }

    /// Asks that a certificate is its own issuer, by name and by signature.
    fn self_signed(&self, der: &CertificateDer<'static>, file: &str, findings: &mut Findings) {
        let Some(certificate) = findings.readable(der, file) else {
            return;
        };
        let expected = format!("issuer {}", certificate.subject().compat());
        let refuse = |found: String| Error::new(Problem::SelfSigned, expected, found).in_file(file);
        if !certificate.is_self_issued() {
            let error = refuse(format!("issuer {}", certificate.issuer().compat()));
            return findings.add(Severity::Warning, error);
        }
        let algorithms = &self.provider.signature_verification_algorithms;
        match certificate.verify_by_own_key(algorithms) {
            Ok(()) => {}
            Err(error) if error.problem() == Problem::Signature => {
                let found = String::from("that name, and a signature that its key did not make");
                findings.add(Severity::Failure, refuse(found));
            }
            // What is trusted by its bytes needs no signature, so it may well be one that nobody can check any more.
            Err(error) => findings.add(Severity::Note, error.in_file(file)),
        }
    }
}

/// Findings in the order in which they were made.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, severity: Severity, error: Error) {
        self.0.push(Finding { severity, error });
    }

    fn readable<'d>(&mut self, der: &'d CertificateDer<'_>, file: &str) -> Option<Certificate<'d>> {
        Certificate::from_der(der)
            .map_err(|error| self.add(Severity::Failure, error.in_file(file)))
            .ok()
    }
}

/// Asks that each certificate is followed by its issuer, up to one that the peer knows.
fn complete(
    chain: &[CertificateDer<'static>],
    path: &Path,
    authorities: &[Authority],
    findings: &mut Findings,
) {
    if let Err(error) = check_complete(chain, authorities) {
        findings.add(Severity::Warning, error.in_file(shown(path)));
    }
}

fn check_complete(
    chain: &[CertificateDer<'static>],
    authorities: &[Authority],
) -> Result<(), Error> {
    let mut rest = chain;
    while let [first, after @ ..] = rest {
        let certificate = Certificate::from_der(first)?;
        let issuer = certificate.issuer();
        let next = after.first().map(|next| Certificate::from_der(next)).transpose()?;
        let is_known = authorities.iter().any(|authority| authority.subject() == issuer.der());
        match next {
            Some(next) if next.subject().der() == issuer.der() => {}
            None if certificate.is_self_issued() || is_known => {}
            next => {
                let found = next.map_or_else(
                    || String::from("the end of the file"),
                    |next| format!("subject {}", next.subject().compat()),
                );
                return Err(Error::new(
                    Problem::Incomplete,
                    format!("subject {} next", issuer.compat()),
                    found,
                ));
            }
        }
        rest = after;
    }
    Ok(())
}

/// What SDK 5 does without, and this crate does not.
fn brought_along(what: &str, path: &Path) -> Error {
    let expected = format!("{what}, for a connection without the client's libraries");
    Error::new(Problem::File, expected, "none: the libraries of SDK 5 bring their own")
        .in_file(shown(path))
}

/// An HSM refuses chains that are too long.
fn chain_size(chain: &[CertificateDer<'static>], path: &Path, findings: &mut Findings) {
    let size: usize = chain.iter().map(|der| der.len()).sum();
    if size > LONGEST_CHAIN {
        let expected = format!("a chain of at most {LONGEST_CHAIN} bytes");
        let error = Error::new(Problem::Oversized, expected, format!("{size} bytes"));
        let severity = if size < REFUSED_CHAIN { Severity::Warning } else { Severity::Failure };
        findings.add(severity, error.in_file(shown(path)));
    }
}

/// Whether group or others may read or change a file.
#[cfg(unix)]
fn open_to_others(path: &Path) -> Option<Error> {
    use std::os::unix::fs::PermissionsExt;

    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then(|| Error::new(Problem::FileMode, "mode 600", format!("mode {mode:o}")))
}

#[cfg(not(unix))]
fn open_to_others(_: &Path) -> Option<Error> {
    None
}

fn shown(path: &Path) -> String {
    format!("{}", path.display())
}

/// Enough time to have a certificate issued and rolled out.
const SOON: Duration = Duration::from_secs(60 * 86_400);

/// Seen to be accepted.
const LONGEST_CHAIN: usize = 6980;

/// Seen to be refused.
const REFUSED_CHAIN: usize = 7320;
