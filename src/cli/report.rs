//! What each layer agreed on, whom it met, and which rule and file let the peer in.

use core::fmt::Write as _;
use core::time::Duration;

use nested_tls::identity::{self, Certificate};
use nested_tls::{Layer, LayerInfo, Ports};
use rustls::ProtocolVersion;
use serde_json::{Value, json};

use super::config::Setup;
use super::console::{Console, To};
use super::failure::printable;
use super::link::Link;
use super::provider;

/// One layer of one connection.
#[derive(Debug)]
pub(crate) struct LayerReport {
    layer: Layer,
    info: LayerInfo,
    certificates: Vec<Vec<u8>>,
    accepted: Option<Accepted>,
    refused: Option<identity::Error>,
    presented: Option<String>,
    time: Option<Duration>,
}

#[derive(Debug)]
struct Accepted {
    rule: String,
    file: Option<String>,
    notes: Vec<String>,
}

impl LayerReport {
    /// What the layer of `setup` is like; `time` is when it was established.
    pub(crate) fn new(machine: &impl Ports, setup: &Setup, time: Option<Duration>) -> Self {
        let info = machine.layer(setup.layer).cloned().unwrap_or_default();
        let testimony = setup.witness.testimony();
        // The layer does not keep what it refused, the witness does.
        let judged = testimony.judgement.as_ref().map(|judgement| &*judgement.certificates);
        let certificates = info.peer_certificates.as_deref().or(judged);
        let certificates = certificates.into_iter().flatten().map(|der| der.to_vec());
        let accepted = testimony.acceptance().map(|accepted| Accepted {
            rule: accepted.rule.clone(),
            file: accepted.file.clone(),
            notes: accepted.notes.iter().map(ToString::to_string).collect(),
        });
        // A client shows its certificate only where it is asked for one.
        let is_client = matches!(setup.role, nested_tls::Role::Client { .. });
        let presented = setup
            .own
            .as_ref()
            .filter(|_| !is_client || testimony.asked.as_ref().is_some_and(|asked| asked.answered))
            .map(super::config::Own::subject);
        Self {
            layer: setup.layer,
            certificates: certificates.collect(),
            info,
            accepted,
            refused: testimony.judgement.and_then(|judgement| judgement.verdict.err()),
            presented,
            time,
        }
    }

    /// Both layers of a connection.
    pub(crate) fn both<M: Ports>(link: &Link<M>, outer: &Setup, inner: &Setup) -> [Self; 2] {
        [
            Self::new(link.machine(), outer, link.times.outer),
            Self::new(link.machine(), inner, link.times.inner),
        ]
    }

    /// The subject of the peer's certificate, where it presented one.
    pub(crate) fn peer(&self) -> Option<String> {
        let leaf = self.certificates.first()?;
        Some(Certificate::from_der(leaf).ok()?.subject().compat())
    }

    /// What let the peer in, and the file that it came from.
    pub(crate) fn rule(&self) -> Option<String> {
        let Accepted { rule, file, .. } = self.accepted.as_ref()?;
        Some(match file {
            Some(file) => format!("{} ({file})", printable(rule)),
            None => printable(rule),
        })
    }

    /// `TLS 1.3, TLS13_AES_256_GCM_SHA384, X25519`
    pub(crate) fn summary(&self) -> String {
        let mut text = version(self.info.version);
        if let Some(suite) = self.info.suite {
            let _ = write!(text, ", {suite:?}");
        }
        if let Some(group) = self.info.group {
            let _ = write!(text, ", {group:?}");
        }
        if let Some(alpn) = &self.info.alpn {
            let _ = write!(text, ", ALPN {}", printable(&String::from_utf8_lossy(alpn)));
        }
        if self.info.resumed {
            text.push_str(", resumed");
        }
        text
    }

    /// `outer TLS 1.3, TLS13_AES_256_GCM_SHA384, X25519`
    pub(crate) fn title(&self) -> String {
        format!("{} {}", self.layer, self.summary())
    }

    /// Several lines for people.
    pub(crate) fn text(&self, console: Console, to: To) -> String {
        let mut text = console.bold(to, &format!("{} layer: {}", self.layer, self.summary()));
        if let Some(time) = self.time {
            let _ = write!(text, ", established after {}", milliseconds(time));
        }
        for (place, der) in self.certificates.iter().enumerate() {
            let _ = write!(text, "\n  certificate {place} of the peer\n{}", certificate(der));
        }
        match &self.accepted {
            Some(accepted) => {
                let word = console.green(to, "accepted");
                let _ = write!(text, "\n  {word}: {}", printable(&accepted.rule));
                if let Some(file) = &accepted.file {
                    let _ = write!(text, " ({file})");
                }
                for note in &accepted.notes {
                    let _ = write!(text, "\n  note: {note}");
                }
            }
            None if self.refused.is_some() => {
                let error = self.refused.iter().flat_map(|all| match all.causes() {
                    [] => core::slice::from_ref(all),
                    causes => causes,
                });
                for error in error {
                    let word = console.red(to, "refused");
                    let _ = write!(text, "\n  {word}: {}", printable(&error.to_string()));
                }
            }
            None if self.info.version.is_none() => {}
            None if self.certificates.is_empty() => {
                let _ =
                    write!(text, "\n  the peer presented no certificate, and none was asked for");
            }
            None => {}
        }
        if let Some(own) = &self.presented {
            let _ = write!(text, "\n  we presented {own}");
        }
        text
    }

    /// `sent 1234 bytes in 5 records, received 1234 in 6`
    pub(crate) fn sizes(&self) -> String {
        let LayerInfo { bytes_out, records_out, bytes_in, records_in, .. } = self.info;
        format!(
            "{} layer: sent {bytes_out} bytes in {records_out} records, received {bytes_in} in {records_in}",
            self.layer
        )
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({
            "version": version(self.info.version),
            "suite": self.info.suite.map(|suite| format!("{suite:?}")),
            "group": self.info.group.map(|group| format!("{group:?}")),
            "alpn": self.info.alpn.as_ref().map(|alpn| String::from_utf8_lossy(alpn).into_owned()),
            "resumed": self.info.resumed,
            "certificates": self.certificates.iter().map(|der| certificate_json(der)).collect::<Vec<_>>(),
            "accepted": self.accepted.as_ref().map(|accepted| json!({
                "rule": accepted.rule,
                "file": accepted.file,
                "notes": accepted.notes,
            })),
            "refused": self.refused.as_ref().map(error_json),
            "presented": self.presented,
            "established_ms": self.time.map(|time| time.as_secs_f64() * 1e3),
            "bytes_out": self.info.bytes_out,
            "records_out": self.info.records_out,
            "bytes_in": self.info.bytes_in,
            "records_in": self.info.records_in,
        })
    }
}

/// `{"outer": …, "inner": …}`
pub(crate) fn layers_json(layers: &[LayerReport]) -> Value {
    layers.iter().map(|layer| (layer.layer.to_string(), layer.to_json())).collect()
}

pub(crate) fn error_json(error: &identity::Error) -> Value {
    json!({
        "reason": error.problem().as_str(),
        "expected": error.expected(),
        "found": error.found(),
        "file": error.file(),
        "remedy": error.remedy(),
        "causes": error.causes().iter().map(error_json).collect::<Vec<_>>(),
    })
}

/// Subject, issuer and serial as the service's documents print them.
pub(crate) fn certificate(der: &[u8]) -> String {
    match Certificate::from_der(der) {
        Ok(certificate) => format!(
            "    subject= {}\n    issuer= {}\n    serial={}\n    version {}, {}, {}",
            certificate.subject().compat(),
            certificate.issuer().compat(),
            certificate.serial(),
            certificate.version(),
            certificate.key(),
            certificate.validity(),
        ),
        Err(error) => format!("    {error}"),
    }
}

pub(crate) fn certificate_json(der: &[u8]) -> Value {
    let provider = provider::chosen();
    let hash = |hash: Option<[u8; 32]>| hash.map(|hash| hexadecimal(&hash));
    match Certificate::from_der(der) {
        Ok(certificate) => json!({
            "subject": certificate.subject().compat(),
            "issuer": certificate.issuer().compat(),
            "serial": certificate.serial(),
            "version": certificate.version(),
            "key": certificate.key().to_string(),
            "validity": certificate.validity(),
            "alternative_names": certificate.subject_alt_names(),
            "sha256": hash(certificate.sha256(&provider)),
            "spki_sha256": hash(certificate.spki_sha256(&provider)),
        }),
        Err(error) => json!({ "error": error.to_string() }),
    }
}

pub(crate) fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub(crate) fn version(version: Option<ProtocolVersion>) -> String {
    match version {
        Some(ProtocolVersion::TLSv1_2) => "TLS 1.2".into(),
        Some(ProtocolVersion::TLSv1_3) => "TLS 1.3".into(),
        Some(other) => format!("{other:?}"),
        None => "not established".into(),
    }
}
