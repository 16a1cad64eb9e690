//! `doctor`: a CloudHSM client directory, every file of it, on paper and in a live connection.

use core::time::Duration;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use nested_tls::Layer;
use nested_tls::identity::examine::{Examination, Finding, Severity};
use nested_tls::identity::{Certificate, TimePolicy, certificates_from_pem};
use rustls::pki_types::{CertificateDer, UnixTime};
use serde_json::{Value, json};

use super::cloudhsm::{self, Client, Found};
use super::config::ClientLayer;
use super::console::{Console, To};
use super::failure::{Failure, Status, printable};
use super::files::read;
use super::net::{self, Endpoint};
use super::options::ClientOptions;
use super::probe::{Probe, probe};
use super::provider;
use super::report::{error_json, layers_json};

/// Examine a CloudHSM client directory: every file, every mismatch, the remedy.
///
/// Looks at the layout of SDK 3 (certs/, client.crt, client.key, customerCA.crt), or at the files that the configurations in
/// the directory name. Exits with 1 if something would make a connection fail.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  nested-tls doctor /opt/cloudhsm/etc
  nested-tls doctor /opt/cloudhsm/etc --connect 10.0.0.7:2223")]
pub(crate) struct Doctor {
    /// The directory of the client, or its configuration
    #[arg(value_name = "DIR")]
    path: PathBuf,
    /// Connect with these files, and say which check fails on which layer
    #[arg(long, value_name = "HOST:PORT")]
    connect: Option<Endpoint>,
    /// The cluster's certificate, as describe-clusters prints it: customerCA must have issued it
    #[arg(long, value_name = "PATH")]
    cluster_cert: Option<PathBuf>,
    /// The client certificate that the host accepts by default
    #[arg(long, value_name = "PATH")]
    default_client: Option<PathBuf>,
    /// Accept servers' certificates that have expired, and say so: neither of the two can be renewed
    #[arg(long)]
    ignore_expiry: bool,
    /// How long each phase of the connection may take: TCP, the outer handshake, the inner handshake
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = net::seconds)]
    timeout: Duration,
}

/// A client and what was found about its files.
struct Patient {
    client: Option<Client>,
    findings: Vec<Finding>,
}

impl Doctor {
    pub(crate) async fn run(self, json: bool) -> Result<(), Failure> {
        let console = Console { json, quiet: false };
        let examination = self.examination()?;
        let patients: Vec<Patient> = cloudhsm::locate(&self.path)?
            .into_iter()
            .map(|found| Patient::new(found, &examination))
            .collect();
        let live = match &self.connect {
            Some(to) => Some(self.live(to, console).await?),
            None => None,
        };
        console.tell(
            To::Stdout,
            || {
                let mut lines: Vec<String> =
                    patients.iter().map(|patient| patient.text(&self.path, console)).collect();
                if let (Some(to), Some(probe)) = (&self.connect, &live) {
                    lines.push(live_text(to, probe, console));
                }
                lines.join("\n")
            },
            || {
                let clients: Vec<Value> = patients.iter().map(Patient::json).collect();
                json!({
                    "ok": verdict(&patients, live.as_ref()).is_ok(),
                    "clients": clients,
                    "live": live.as_ref().map(live_json),
                })
            },
        );
        verdict(&patients, live.as_ref())
    }

    fn examination(&self) -> Result<Examination, Failure> {
        let provider = Arc::new(provider::chosen());
        let mut examination = Examination::new(provider, UnixTime::now());
        if let Some(path) = &self.cluster_cert {
            let certificate = one_certificate(path, "the file of --cluster-cert")?;
            examination = examination.cluster_certificate(certificate, path.display().to_string());
        }
        if let Some(path) = &self.default_client {
            let certificate = one_certificate(path, "the file of --default-client")?;
            examination = examination.default_client(certificate);
        }
        let time = if self.ignore_expiry { TimePolicy::IgnoreExpiry } else { TimePolicy::Strict };
        Ok(examination.time(time))
    }

    /// Connects with the files; that they can't be used is an answer, too.
    async fn live(&self, to: &Endpoint, console: Console) -> Result<Probe, Failure> {
        let (mut outer, mut inner) = (ClientOptions::default(), ClientOptions::default());
        outer.common.ignore_expiry = self.ignore_expiry;
        inner.common.ignore_expiry = self.ignore_expiry;
        inner.pin.extend(self.cluster_cert.clone());
        let unable = |failure| Ok(Probe { layers: Vec::new(), result: Err(failure) });
        let client = match cloudhsm::only(&self.path) {
            Ok(client) => client,
            Err(failure) => return unable(failure),
        };
        client.fill(&mut outer, &mut inner);
        let setup = |layer, options, host| ClientLayer::load(layer, options, host)?.setup();
        let setups = setup(Layer::Outer, outer, Some(to.host.as_str()))
            .and_then(|outer| Ok((outer, setup(Layer::Inner, inner, None)?)));
        match setups {
            Ok((outer, inner)) => Ok(probe(to, &outer, &inner, self.timeout, console).await),
            Err(failure) => unable(failure),
        }
    }
}

fn one_certificate(path: &Path, what: &str) -> Result<CertificateDer<'static>, Failure> {
    let refuse = |error: nested_tls::identity::Error| {
        Failure::unlayered(Status::Usage, &error.in_file(path.display().to_string()))
    };
    let mut certificates = certificates_from_pem(&read(path, what)?).map_err(refuse)?;
    let certificate = certificates.swap_remove(0);
    Certificate::from_der(&certificate).map_err(refuse)?;
    Ok(certificate)
}

/// Whether a connection works, as far as is known.
fn verdict(patients: &[Patient], live: Option<&Probe>) -> Result<(), Failure> {
    if let Some(Probe { result: Err(failure), .. }) = live {
        let failed = Failure::new(
            Status::Findings,
            "the connection fails",
            "do what is said beside the reason",
        );
        return Err(match failure.layer() {
            Some(layer) => failed.on(layer),
            None => failed,
        });
    }
    let failures = patients.iter().flat_map(|patient| &patient.findings);
    match failures.filter(|finding| finding.severity == Severity::Failure).count() {
        0 => Ok(()),
        count => {
            let plural = if count == 1 { "" } else { "s" };
            let reason = format!("{count} finding{plural} would make a connection fail");
            Err(Failure::new(Status::Findings, reason, "do what is said beside each"))
        }
    }
}

impl Patient {
    fn new(found: Found, examination: &Examination) -> Self {
        match found {
            Ok(client) => {
                let findings = examination.run(&client.paths);
                Self { client: Some(client), findings }
            }
            Err(error) => {
                Self { client: None, findings: vec![Finding::new(Severity::Failure, error)] }
            }
        }
    }

    fn config(&self) -> Option<String> {
        self.client.as_ref()?.config.as_ref().map(|path| path.display().to_string())
    }

    fn text(&self, path: &Path, console: Console) -> String {
        let to = To::Stdout;
        let title = match self.config() {
            Some(config) => format!("the files that {config} names"),
            None => path.display().to_string(),
        };
        let mut text = console.bold(to, &printable(&title));
        for Finding { severity, error, .. } in &self.findings {
            let word = match severity {
                Severity::Failure => console.red(to, "fails"),
                Severity::Warning => "warning".into(),
                _ => "note".into(),
            };
            let file = printable(error.file().unwrap_or_default());
            let (expected, found) = (printable(error.expected()), printable(error.found()));
            text += &match severity {
                Severity::Note => format!("\n  {word}: {file}: {found}"),
                _ => format!(
                    "\n  {word}: {file}: {}\n    expected {expected}\n    found {found}\n    remedy: {}",
                    error.problem(),
                    error.remedy()
                ),
            };
        }
        let count = |severity| self.findings.iter().filter(|one| one.severity == severity).count();
        let (failures, warnings) = (count(Severity::Failure), count(Severity::Warning));
        let summary = match (failures, warnings) {
            (0, 0) => console.green(to, "in order"),
            _ => format!("{failures} that fail, {warnings} to see to"),
        };
        text + &format!("\n  {summary}")
    }

    fn json(&self) -> Value {
        let findings = self.findings.iter().map(|Finding { severity, error, .. }| {
            let mut value = error_json(error);
            value["severity"] = json!(match severity {
                Severity::Failure => "failure",
                Severity::Warning => "warning",
                _ => "note",
            });
            value
        });
        json!({ "config": self.config(), "findings": findings.collect::<Vec<_>>() })
    }
}

fn live_text(to: &Endpoint, probe: &Probe, console: Console) -> String {
    let mut lines = vec![console.bold(To::Stdout, &format!("connection to {to}"))];
    lines.extend(probe.layers.iter().map(|layer| layer.text(console, To::Stdout)));
    lines.push(match (&probe.result, probe.failed_on()) {
        (Ok(()), _) => console.green(To::Stdout, "both layers verified"),
        (Err(failure), Some(layer)) => {
            format!("{} on the {layer} layer: {failure}", console.red(To::Stdout, "fails"))
        }
        (Err(failure), None) => format!("{}: {failure}", console.red(To::Stdout, "fails")),
    });
    lines.join("\n")
}

fn live_json(probe: &Probe) -> Value {
    let mut value = match &probe.result {
        Ok(()) => json!({ "error": null }),
        Err(failure) => failure.to_json(),
    };
    value["layers"] = layers_json(&probe.layers);
    value
}
