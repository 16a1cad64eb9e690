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

/// What to hold the files against.
#[derive(Clone, Debug)]
pub struct Examination {
    provider: Arc<CryptoProvider>,
    now: UnixTime,
    cluster_certificate: Option<(CertificateDer<'static>, String)>,
    default_client: Option<CertificateDer<'static>>,
}

impl Examination {
    /// An examination at `now`.
    #[must_use]
    pub fn new(provider: Arc<CryptoProvider>, now: UnixTime) -> Self {
        Self { provider, now, cluster_certificate: None, default_client: None }
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

    /// Looks through all files. The findings stand in the order of the files; an empty list means that nothing is wrong.
    #[must_use]
    pub fn run(&self, paths: &ClientPaths) -> Vec<Finding> {
        let mut findings = Findings::default();
        self.server_certificates(&paths.server_certificates, &mut findings);
        let authorities = self.customer_ca(&paths.customer_ca, &mut findings);
        if let Some(leaf) =
            self.own(&paths.client_certificate, &paths.client_key, &authorities, &mut findings)
        {
            self.client_origin(&leaf, &paths.client_certificate, &authorities, &mut findings);
        }
        if let Some((certificate, key)) = &paths.inner_client {
            self.own(certificate, key, &[], &mut findings);
        }
        if let Some((certificate, file)) = &self.cluster_certificate {
            self.cluster(certificate, file, &authorities, &mut findings);
        }
        findings.0
    }

    fn server_certificates(&self, path: &Path, findings: &mut Findings) {
        let directory = match HashedDir::read(path) {
            Ok(directory) => directory,
            Err(error) => return findings.add(Severity::Failure, error),
        };
        for error in directory.findings() {
            findings.add(Severity::Warning, error);
        }
        for entry in directory.entries() {
            for der in &entry.certificates {
                self.validity(der, &entry.file, Severity::Failure, findings);
                if let Err(error) = self.self_signed(der) {
                    findings.add(Severity::Warning, error.in_file(entry.file.as_str()));
                }
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
        for der in certificates {
            // Trust anchors don't expire for rustls and webpki; they do for OpenSSL.
            self.validity(&der, &file, Severity::Warning, findings);
            // The guide to initialising a cluster asks for basic constraints in a version 3 authority.
            let bare = Certificate::from_der(&der)
                .is_ok_and(|one| one.version() == 3 && one.authority_flag().is_none());
            if bare {
                let error = Error::new(
                    Problem::Authority,
                    "CA:TRUE",
                    "version 3 without basic constraints",
                );
                findings.add(Severity::Warning, error.in_file(file.as_str()));
            }
            match Authority::from_der(der) {
                Ok(authority) => authorities.push(authority.from_file(file.as_str())),
                Err(error) => findings.add(Severity::Failure, error.in_file(file.as_str())),
            }
        }
        authorities
    }

    /// Our own certificate and key; the leaf if it can be read.
    fn own(
        &self,
        certificate: &Path,
        key: &Path,
        authorities: &[Authority],
        findings: &mut Findings,
    ) -> Option<CertificateDer<'static>> {
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
        if let Err(error) = complete(&chain, authorities) {
            findings.add(Severity::Warning, error.in_file(file));
        }
        chain.into_iter().next()
    }

    /// The host accepts the default client certificate, or one that customerCA issued.
    fn client_origin(
        &self,
        leaf: &CertificateDer<'static>,
        path: &Path,
        authorities: &[Authority],
        findings: &mut Findings,
    ) {
        if authorities.is_empty() || self.default_client.as_ref() == Some(leaf) {
            return;
        }
        let Err(error) = self.issued(leaf, authorities, Peer::Client) else {
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
        self.validity(der, file, Severity::Failure, findings);
        if authorities.is_empty() {
            return;
        }
        // The error names customerCA.crt: it is the file to exchange, the cluster's certificate can't be.
        if let Err(error) = self.issued(der, authorities, Peer::Server) {
            findings.add(Severity::Failure, error.in_file(file));
        }
    }

    fn issued(
        &self,
        leaf: &CertificateDer<'static>,
        authorities: &[Authority],
        peer: Peer,
    ) -> Result<(), Error> {
        let rule = IssuedBy::new(
            authorities.iter().cloned(),
            NamePolicy::Unchecked,
            self.provider.clone(),
        )?
        .time(TimePolicy::IgnoreExpiry);
        rule.judge(&Presented { leaf, chain: &[], peer, name: None, now: self.now }).map(|_| ())
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

    fn validity(
        &self,
        der: &CertificateDer<'_>,
        file: &str,
        severity: Severity,
        findings: &mut Findings,
    ) {
        let Ok(certificate) = Certificate::from_der(der) else {
            return;
        };
        if let Err(error) = check_time(&certificate, TimePolicy::Strict, self.now) {
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

    fn self_signed(&self, der: &CertificateDer<'static>) -> Result<(), Error> {
        let certificate = Certificate::from_der(der)?;
        let refuse = |found: String| {
            Error::new(
                Problem::SelfSigned,
                format!("issuer {}", certificate.subject().compat()),
                found,
            )
        };
        if !certificate.is_self_issued() {
            return Err(refuse(format!("issuer {}", certificate.issuer().compat())));
        }
        certificate
            .verify_by_own_key(&self.provider.signature_verification_algorithms)
            .map_err(|_| refuse(String::from("that name, and a signature by another key")))
    }
}

/// Findings in the order in which they were made.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, severity: Severity, error: Error) {
        self.0.push(Finding { severity, error });
    }
}

/// Each certificate is followed by its issuer, up to one that the peer knows.
fn complete(chain: &[CertificateDer<'static>], authorities: &[Authority]) -> Result<(), Error> {
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
