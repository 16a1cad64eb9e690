//! `verify-hsm`: AWS' steps from two roots down to the key of an HSM, before a cluster is initialised.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use nested_tls::identity;
use nested_tls::identity::TimePolicy;
use nested_tls::identity::attestation::{Attested, Document, Evidence};
use rustls::pki_types::UnixTime;
use serde_json::{Value, json};

use super::console::{Console, To};
use super::failure::{Failure, Status, printable};
use super::files::{read, words};
use super::provider;

/// Verify the identity of an HSM by its two attestation chains, and print the pin of its key.
///
/// Takes the documents of `aws cloudhsmv2 describe-clusters` and the two roots from the files of a directory, by the names
/// that AWS' guide gives them, with anything before: HsmCertificate, AwsHardwareCertificate,
/// ManufacturerHardwareCertificate, ClusterCsr; AWS_CloudHSM_Root-G1, liquid_security_certificate. A ClusterCertificate or
/// CustomerHsmCertificate, where there is one, must have the same key. Exits with 1 if a check fails.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  nested-tls verify-hsm --dir cluster-papers")]
pub(crate) struct VerifyHsm {
    /// Where the files are
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// HsmCertificate: certifies the HSM's key, signed with the hardware's key
    #[arg(long, value_name = "PATH")]
    hsm: Option<PathBuf>,
    /// AwsHardwareCertificate: certifies the hardware's key, signed by AWS
    #[arg(long, value_name = "PATH")]
    aws_hardware: Option<PathBuf>,
    /// ManufacturerHardwareCertificate: certifies the hardware's key, signed by the manufacturer
    #[arg(long, value_name = "PATH")]
    manufacturer_hardware: Option<PathBuf>,
    /// The certificate request that the HSM made
    #[arg(long, value_name = "PATH")]
    cluster_csr: Option<PathBuf>,
    /// The root of AWS
    #[arg(long, value_name = "PATH")]
    aws_root: Option<PathBuf>,
    /// The root of the manufacturer
    #[arg(long, value_name = "PATH")]
    manufacturer_root: Option<PathBuf>,
    /// The cluster's certificate: it must have the verified key
    #[arg(long, value_name = "PATH")]
    cluster_cert: Option<PathBuf>,
    /// Accept a root that has expired, and say so: the manufacturer's has, on 2025-11-16
    #[arg(long)]
    ignore_root_expiry: bool,
}

impl VerifyHsm {
    pub(crate) fn run(self, json: bool) -> Result<(), Failure> {
        let console = Console { json, quiet: false };
        let files = Files::of(self.dir.as_deref())?;
        let [csr, hsm, aws_hardware, manufacturer_hardware, aws_root, manufacturer_root] = files
            .all([
                (&self.cluster_csr, "ClusterCsr", "cluster-csr"),
                (&self.hsm, "HsmCertificate", "hsm"),
                (&self.aws_hardware, "AwsHardwareCertificate", "aws-hardware"),
                (
                    &self.manufacturer_hardware,
                    "ManufacturerHardwareCertificate",
                    "manufacturer-hardware",
                ),
                (&self.aws_root, "AWS_CloudHSM_Root-G1", "aws-root"),
                (&self.manufacturer_root, "liquid_security_certificate", "manufacturer-root"),
            ])?;
        let certificate =
            |path: &Path, option| document(path, option, Document::certificate_from_pem);
        let evidence = Evidence {
            hsm: certificate(&hsm, "hsm")?,
            aws_hardware: certificate(&aws_hardware, "aws-hardware")?,
            manufacturer_hardware: certificate(&manufacturer_hardware, "manufacturer-hardware")?,
            cluster_csr: document(&csr, "cluster-csr", Document::request_from_pem)?,
            aws_root: certificate(&aws_root, "aws-root")?,
            manufacturer_root: certificate(&manufacturer_root, "manufacturer-root")?,
        };
        let cluster = match &self.cluster_cert {
            Some(path) => Some(path.clone()),
            None => match files.find("ClusterCertificate")? {
                None => files.find("CustomerHsmCertificate")?,
                found => found,
            },
        };
        let cluster = cluster
            .map(|path| document(&path, "cluster-cert", Document::certificate_from_pem))
            .transpose()?;

        let provider = provider::chosen();
        let roots = match self.ignore_root_expiry {
            true => TimePolicy::IgnoreExpiry,
            false => TimePolicy::Strict,
        };
        let refuse = |error: identity::Error| {
            let failure = Failure::unlayered(Status::Findings, &error);
            match error.problem() {
                identity::Problem::Expired if !self.ignore_root_expiry => failure.with_remedy(
                    "if it is a root that has expired, accept that with --ignore-root-expiry",
                ),
                _ => failure,
            }
        };
        let attested = evidence.verify(roots, UnixTime::now(), &provider).map_err(refuse)?;
        if let Some(cluster) = &cluster {
            attested.check_cluster_certificate(cluster, &provider).map_err(refuse)?;
        }
        let pin = attested.spki_sha256(&provider).unwrap_or_default();
        let cluster = cluster.as_ref().map(Document::name);
        console.tell(
            To::Stdout,
            || text(&attested, cluster, &pin, console),
            || value(&attested, cluster, &pin),
        );
        Ok(())
    }
}

fn text(attested: &Attested, cluster: Option<&str>, pin: &str, console: Console) -> String {
    let mut lines = Vec::new();
    for step in &attested.steps {
        let (what, by) = (printable(&step.what), printable(&step.by));
        let is_about_keys = attested.steps.first().is_some_and(|first| first.what == step.by);
        lines.push(match is_about_keys {
            true => format!("{what} was made with the key of {by}"),
            false => format!("{what} was signed by {by}"),
        });
        lines.extend(step.notes.iter().map(|note| format!("  note: {note}")));
    }
    lines.extend(cluster.map(|cluster| format!("{} has that key, too", printable(cluster))));
    lines.push(console.green(To::Stdout, "the HSM's identity is verified"));
    lines.push(format!("--inner-pin-spki {pin}"));
    lines.join("\n")
}

fn value(attested: &Attested, cluster: Option<&str>, pin: &str) -> Value {
    let steps = attested.steps.iter().map(|step| {
        let notes: Vec<String> = step.notes.iter().map(ToString::to_string).collect();
        json!({ "what": step.what, "by": step.by, "notes": notes })
    });
    json!({
        "steps": steps.collect::<Vec<_>>(),
        "cluster_certificate": cluster,
        "inner_pin_spki": pin,
    })
}

fn document(
    path: &Path,
    option: &str,
    parse: impl FnOnce(String, &[u8]) -> Result<Document, identity::Error>,
) -> Result<Document, Failure> {
    let pem = read(path, &format!("the file of --{option}"))?;
    parse(path.display().to_string(), &pem)
        .map_err(|error| Failure::unlayered(Status::Usage, &error))
}

/// The files of `--dir`.
struct Files<'a> {
    directory: Option<&'a Path>,
    names: Vec<String>,
}

impl<'a> Files<'a> {
    fn of(directory: Option<&'a Path>) -> Result<Self, Failure> {
        let mut names = Vec::new();
        if let Some(path) = directory {
            let refuse = |error: std::io::Error| {
                let reason = format!("the directory of --dir can't be read: {}", words(&error));
                Failure::usage(reason, "name the directory with the documents").at(path)
            };
            for entry in fs::read_dir(path).map_err(refuse)? {
                names.extend(entry.map_err(refuse)?.file_name().into_string());
            }
        }
        Ok(Self { directory, names })
    }

    /// The file whose name without extension ends like this.
    fn find(&self, name: &str) -> Result<Option<PathBuf>, Failure> {
        let Some(directory) = self.directory else {
            return Ok(None);
        };
        let is_meant = |file: &&String| {
            let stem = ["crt", "csr", "pem", "cer"]
                .iter()
                .find_map(|extension| file.strip_suffix(extension)?.strip_suffix('.'))
                .unwrap_or(file);
            // HsmCertificate is the end of CustomerHsmCertificate.
            let before = stem.strip_suffix(name).map(|before| before.chars().next_back());
            matches!(before, Some(None)) || matches!(before, Some(Some(c)) if !c.is_alphanumeric())
        };
        let mut found: Vec<&String> = self.names.iter().filter(is_meant).collect();
        found.sort();
        match found.as_slice() {
            [] => Ok(None),
            [only] => Ok(Some(directory.join(only))),
            several => {
                let files: Vec<&str> = several.iter().map(|file| file.as_str()).collect();
                let reason = format!("several files are called {name}: {}", files.join(", "));
                Err(Failure::usage(reason, "name one of them with its option").at(directory))
            }
        }
    }

    /// Every file that was given, or is there under its name; or all that are neither.
    fn all<const N: usize>(
        &self,
        wanted: [(&Option<PathBuf>, &str, &str); N],
    ) -> Result<[PathBuf; N], Failure> {
        let mut paths: [PathBuf; N] = core::array::from_fn(|_| PathBuf::new());
        let (mut names, mut options) = (vec![], vec![]);
        for (place, (given, name, option)) in paths.iter_mut().zip(wanted) {
            let found = match given {
                Some(path) => Some(path.clone()),
                None => self.find(name)?,
            };
            match found {
                Some(path) => *place = path,
                None => {
                    names.push(name);
                    options.push(format!("--{option}"));
                }
            }
        }
        if names.is_empty() {
            return Ok(paths);
        }
        let failure = Failure::usage(
            format!("there is no {}", names.join(", no ")),
            format!("name it with {}, or its directory with --dir", options.join(", ")),
        );
        Err(match self.directory {
            Some(directory) => failure.at(directory),
            None => failure,
        })
    }
}
