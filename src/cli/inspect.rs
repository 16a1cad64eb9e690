//! `inspect`: what certificates, requests and keys say, in openssl's words where it has some.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use nested_tls::identity::{
    self, Certificate, HashedDir, Name, Problem, PublicKey, Request, certificates_from_pem,
    private_key_from_pem,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{PemObject as _, SectionKind};
use rustls::pki_types::{PrivateKeyDer, UnixTime};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::console::{Console, To};
use super::failure::{Failure, Status, printable};
use super::files::{read, words};
use super::provider;
use super::report::{certificate_json, hexadecimal};

/// Show what certificates, certificate requests and private keys say.
///
/// Subject, issuer and serial number are written as `openssl x509 -subject -issuer -serial -noout` writes them. Of a
/// private key only its kind and the hash of its public half are shown. A file that can't be shown does not hide the others.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  nested-tls inspect /opt/cloudhsm/etc/certs customerCA.crt client.key")]
pub(crate) struct Inspect {
    /// Files in PEM or DER, directories by hash, or - for standard input
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// How names are written
    #[arg(long, value_enum, value_name = "FORM", default_value_t = Form::Oneline)]
    nameopt: Form,
}

/// What a PEM block may be.
const SHOWN: &str = "a PEM block CERTIFICATE, CERTIFICATE REQUEST or PRIVATE KEY";

/// openssl's forms of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// C = US, O = AWS, CN = CloudHSM
    Oneline,
    /// /C=US/O=AWS/CN=CloudHSM, as openssl 1.0 wrote it
    Compat,
}

/// What a file holds.
enum Item {
    Certificate(Vec<u8>),
    Request(Vec<u8>),
    Key(PrivateKeyDer<'static>),
}

impl Inspect {
    pub(crate) fn run(self, json: bool) -> Result<(), Failure> {
        let console = Console { json, quiet: false };
        let inspector =
            Inspector { form: self.nameopt, provider: provider::chosen(), now: UnixTime::now() };
        let mut shown = Vec::new();
        let mut failures = Vec::new();
        for path in &self.paths {
            for (file, items) in files(path, &mut failures) {
                for item in items {
                    match (inspector.json(&item, &file), inspector.text(&item)) {
                        (Ok(object), Ok(text)) => shown.push((file.clone(), text, object)),
                        (Err(error), _) | (_, Err(error)) => {
                            let error = error.in_file(file.as_str());
                            failures.push(Failure::unlayered(Status::Usage, &error));
                        }
                    }
                }
            }
        }
        let texts = shown.iter().map(|(file, text, _)| format!("{}{text}", printable(file)));
        let text = texts.collect::<Vec<_>>().join("\n");
        if json || !text.is_empty() {
            let objects = || shown.iter().map(|(_, _, object)| object.clone()).collect();
            console.tell(To::Stdout, || text, objects);
        }
        let last = failures.pop();
        for failure in failures {
            console.fail(&failure);
        }
        last.map_or(Ok(()), Err)
    }
}

/// The files at a path with what they hold; what can't be read is added to `failures`.
fn files(path: &Path, failures: &mut Vec<Failure>) -> Vec<(String, Vec<Item>)> {
    let is_input = path.to_str() == Some("-");
    let name = if is_input { "standard input".into() } else { path.display().to_string() };
    let mut refuse = |error: &identity::Error| {
        failures.push(Failure::unlayered(Status::Usage, error));
    };
    if path.is_dir() {
        let directory = match HashedDir::read(path) {
            Ok(directory) => directory,
            Err(error) => {
                error.causes().iter().for_each(&mut refuse);
                refuse(&error);
                return Vec::new();
            }
        };
        directory.unreadable().iter().for_each(&mut refuse);
        let entries = directory.entries().iter().map(|entry| {
            let der = entry.certificates.iter().map(|der| Item::Certificate(der.to_vec()));
            (entry.file.clone(), der.collect())
        });
        return entries.collect();
    }
    let bytes = if is_input { standard_input() } else { read(path, "the file") };
    match bytes.map(|bytes| items(&bytes)) {
        Ok(Ok(items)) => return vec![(name, items)],
        Ok(Err(error)) => {
            let mut failure = Failure::unlayered(Status::Usage, &error).in_file(name);
            if error.problem() == Problem::NoCertificate {
                let remedy = "provide a certificate, a certificate request or a private key";
                failure = failure.with_remedy(format!("{remedy}, in PEM or DER"));
                failure = failure.compared(SHOWN, error.found());
            }
            failures.push(failure);
        }
        Err(failure) => failures.push(failure),
    }
    Vec::new()
}

fn standard_input() -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut bytes = Zeroizing::new(Vec::new());
    std::io::stdin().read_to_end(&mut bytes).map(|_| bytes).map_err(|error| {
        let reason = format!("standard input can't be read: {}", words(&error));
        Failure::usage(reason, "check where it comes from")
    })
}

/// Every certificate, request and key of a PEM text, or the one of a DER file.
fn items(bytes: &[u8]) -> Result<Vec<Item>, identity::Error> {
    if !bytes.windows(11).any(|window| window == b"-----BEGIN ") && bytes.first() == Some(&0x30) {
        return match (Certificate::from_der(bytes), Request::from_der(bytes)) {
            (Ok(_), _) => Ok(vec![Item::Certificate(bytes.to_vec())]),
            (_, Ok(_)) => Ok(vec![Item::Request(bytes.to_vec())]),
            (Err(error), _) => match PrivateKeyDer::try_from(bytes.to_vec()) {
                Ok(key) => Ok(vec![Item::Key(key)]),
                Err(_) => Err(error),
            },
        };
    }
    let sections: Result<Vec<_>, _> = <(SectionKind, Vec<u8>)>::pem_slice_iter(bytes).collect();
    let items: Vec<Item> = sections.into_iter().flatten().filter_map(Item::from_section).collect();
    if items.is_empty() {
        // These say what is wrong, or what is there instead.
        match private_key_from_pem(bytes) {
            Err(error) if error.problem() == Problem::EncryptedKey => return Err(error),
            _ => certificates_from_pem(bytes)?,
        };
    }
    Ok(items)
}

impl Item {
    fn from_section((kind, der): (SectionKind, Vec<u8>)) -> Option<Self> {
        Some(match kind {
            SectionKind::Certificate => Self::Certificate(der),
            SectionKind::Csr => Self::Request(der),
            SectionKind::PrivateKey => Self::Key(PrivateKeyDer::Pkcs8(der.into())),
            SectionKind::EcPrivateKey => Self::Key(PrivateKeyDer::Sec1(der.into())),
            SectionKind::RsaPrivateKey => Self::Key(PrivateKeyDer::Pkcs1(der.into())),
            _ => return None,
        })
    }
}

/// Shows items.
struct Inspector {
    form: Form,
    provider: CryptoProvider,
    now: UnixTime,
}

impl Inspector {
    fn name(&self, name: &Name<'_>) -> String {
        match self.form {
            Form::Oneline => name.one_line(),
            Form::Compat => name.compat(),
        }
    }

    fn text(&self, item: &Item) -> Result<String, identity::Error> {
        let mut lines = Vec::new();
        match item {
            Item::Certificate(der) => {
                let certificate = Certificate::from_der(der)?;
                lines.push(format!("subject={}", self.name(certificate.subject())));
                lines.push(format!("issuer={}", self.name(certificate.issuer())));
                lines.push(format!("serial={}", certificate.serial()));
                let authority = match certificate.authority_flag() {
                    Some(true) => ", CA:TRUE",
                    Some(false) => ", CA:FALSE",
                    None => "",
                };
                let own = if certificate.is_self_issued() { ", self-issued" } else { "" };
                lines.push(format!(
                    "version {}, {}{authority}{own}",
                    certificate.version(),
                    certificate.key()
                ));
                lines.push(format!("valid {}{}", certificate.validity(), self.age(&certificate)));
                if !certificate.subject_alt_names().is_empty() {
                    lines.push(format!("names {}", certificate.subject_alt_names().join(", ")));
                }
                if let Some(hash) = certificate.subject().hash() {
                    lines.push(format!("hash {hash}"));
                }
                lines.push(format!("SHA-256 {}", shown(certificate.sha256(&self.provider))));
                lines.push(format!(
                    "SHA-256 of the key {}",
                    shown(certificate.spki_sha256(&self.provider))
                ));
            }
            Item::Request(der) => {
                let request = Request::from_der(der)?;
                lines.push("certificate request".into());
                lines.push(format!("subject={}", self.name(request.subject())));
                lines.push(request.key().to_string());
                lines.push(match request.verify(&self.provider) {
                    Ok(()) => "signed by its own key".into(),
                    Err(error) => format!("not signed by its own key: {error}"),
                });
                lines.push(format!(
                    "SHA-256 of the key {}",
                    shown(request.spki_sha256(&self.provider))
                ));
            }
            Item::Key(key) => {
                let (kind, hash) = self.key(key)?;
                lines.push(format!("private key, {kind}"));
                lines.push(format!("SHA-256 of the key {hash}"));
            }
        }
        Ok(lines.iter().map(|line| format!("\n  {line}")).collect())
    }

    fn json(&self, item: &Item, file: &str) -> Result<Value, identity::Error> {
        let (kind, mut value) = match item {
            Item::Certificate(der) => {
                let certificate = Certificate::from_der(der)?;
                let mut value = certificate_json(der);
                value["subject"] = json!(self.name(certificate.subject()));
                value["issuer"] = json!(self.name(certificate.issuer()));
                value["hash"] = json!(certificate.subject().hash());
                value["authority"] = json!(certificate.authority_flag());
                value["self_issued"] = json!(certificate.is_self_issued());
                ("certificate", value)
            }
            Item::Request(der) => {
                let request = Request::from_der(der)?;
                let value = json!({
                    "subject": self.name(request.subject()),
                    "key": request.key().to_string(),
                    "signed_by_its_key": request.verify(&self.provider).is_ok(),
                    "spki_sha256": shown(request.spki_sha256(&self.provider)),
                });
                ("request", value)
            }
            Item::Key(key) => {
                let (kind, hash) = self.key(key)?;
                ("private key", json!({ "key": kind, "spki_sha256": hash }))
            }
        };
        value["file"] = json!(file);
        value["kind"] = json!(kind);
        Ok(value)
    }

    /// Kind and hash of a private key's public half.
    fn key(&self, key: &PrivateKeyDer<'_>) -> Result<(String, String), identity::Error> {
        let public = PublicKey::of(key.clone_key(), &self.provider)?;
        Ok((public.kind.to_string(), shown(public.sha256)))
    }

    fn age(&self, certificate: &Certificate<'_>) -> &'static str {
        if self.now < certificate.not_before() {
            ", not yet valid"
        } else if certificate.not_after() < self.now {
            ", expired"
        } else {
            ""
        }
    }
}

/// The provider of this program has SHA-256.
fn shown(hash: Option<[u8; 32]>) -> String {
    hexadecimal(&hash.unwrap_or_default())
}
