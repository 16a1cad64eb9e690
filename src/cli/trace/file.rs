//! `--trace`: what passes, one JSON object a line. The guide's page on seeing describes them.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use nested_tls::identity::{Judgement, Peer};
use nested_tls::{Direction, ErrorKind, Layer, Phase, Traced, Tracer};
use rustls::pki_types::CertificateDer;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider as _};
use rustls::{AlertDescription, Error as Tls, HandshakeType};
use serde_json::{Value, json};

use crate::diagnosis::spoken_name;
use crate::failure::Failure;
use crate::files;
use crate::refusal::verdict;
use crate::report::{certificate_json, error_json, version};

/// The form of the lines; grows when a reader of this one would misread another.
pub(super) const SCHEMA: u64 = 1;

/// The file of one run.
#[derive(Debug)]
pub(crate) struct TraceFile {
    file: Mutex<File>,
    begun: Instant,
}

impl TraceFile {
    /// A new file, in the place of one that is there.
    pub(crate) fn create(path: &Path, command: &str) -> Result<Arc<Self>, Failure> {
        let file = files::private(path, "the file of --trace", false)?;
        let trace = Self { file: Mutex::new(file), begun: Instant::now() };
        let now = DefaultTimeProvider.current_time().map(|now| now.as_secs());
        trace.put(json!({
            "event": "begin",
            "schema": SCHEMA,
            "program": concat!("nested-tls ", env!("CARGO_PKG_VERSION")),
            "command": command,
            "unix_time": now,
        }));
        Ok(Arc::new(trace))
    }

    /// A connection, and for each of its layers whether this side is the client there.
    pub(crate) fn connection(
        self: &Arc<Self>,
        number: u64,
        local: &str,
        peer: &str,
        layers: impl Iterator<Item = (Layer, bool)>,
        preamble: bool,
    ) -> Arc<ConnectionTrace> {
        let clients: HashMap<Layer, bool> = layers.collect();
        let role = |layer| clients.get(&layer).map(|c| if *c { "client" } else { "server" });
        let traced = Arc::new(ConnectionTrace {
            file: self.clone(),
            number,
            progress: Mutex::new(Progress {
                innermost: match clients.contains_key(&Layer::Inner) {
                    true => Layer::Inner,
                    false => Layer::Outer,
                },
                preamble,
                phase: Phase::OuterHandshake,
                closes: 0,
                presents: HashMap::new(),
            }),
        });
        traced.put(json!({
            "event": "connection",
            "local": local,
            "peer": peer,
            "outer": role(Layer::Outer),
            "inner": role(Layer::Inner),
        }));
        traced.put(json!({ "event": "phase", "phase": Phase::OuterHandshake.to_string() }));
        traced
    }

    /// Writes an object at once: whoever ends the program loses nothing. A full disk harms no connection.
    fn put(&self, mut object: Value) {
        object["at"] = json!(self.begun.elapsed().as_micros() as f64 / 1e6);
        let mut line = object.to_string();
        line.push('\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = file.write_all(line.as_bytes());
    }
}

/// One connection in the file.
#[derive(Debug)]
pub(crate) struct ConnectionTrace {
    file: Arc<TraceFile>,
    number: u64,
    progress: Mutex<Progress>,
}

/// How far it has come.
#[derive(Debug)]
struct Progress {
    innermost: Layer,
    /// The inner layer begins when what has to be said before is said.
    preamble: bool,
    phase: Phase,
    /// How many of both layers' close_notify alerts have passed.
    closes: u8,
    /// Our certificates, as long as they are not sent.
    presents: HashMap<Layer, Vec<CertificateDer<'static>>>,
}

impl ConnectionTrace {
    /// The layer has a certificate of ours to send.
    pub(crate) fn presents(&self, layer: Layer, chain: &[CertificateDer<'static>]) {
        self.progress().presents.insert(layer, chain.to_vec());
    }

    /// The peer's certificates were judged.
    pub(crate) fn judged(&self, layer: Layer, judgement: &Judgement) {
        let accepted = judgement.verdict.as_ref().ok().map(|accepted| {
            let notes: Vec<String> = accepted.notes.iter().map(ToString::to_string).collect();
            json!({ "rule": accepted.rule, "file": accepted.file, "notes": notes })
        });
        self.of_layer(
            layer,
            json!({
                "event": "certificates",
                "direction": Direction::Received.to_string(),
                "from": match judgement.peer { Peer::Client => "client", Peer::Server => "server" },
                "certificates": certificates(&judgement.certificates),
                "accepted": accepted,
                "refused": judgement.verdict.as_ref().err().map(error_json),
            }),
        );
    }

    /// The peer asked for our certificate.
    pub(crate) fn asked(&self, layer: Layer, answered: bool) {
        self.of_layer(layer, json!({ "event": "certificate_request", "answered": answered }));
        if answered {
            self.sends_certificates(layer, "client");
        }
    }

    fn sends_certificates(&self, layer: Layer, from: &str) {
        let Some(chain) = self.progress().presents.remove(&layer) else { return };
        self.of_layer(
            layer,
            json!({
                "event": "certificates",
                "direction": Direction::Sent.to_string(),
                "from": from,
                "certificates": certificates(&chain),
            }),
        );
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of_layer(&self, layer: Layer, mut object: Value) {
        object["layer"] = json!(layer.to_string());
        self.put(object);
    }

    fn put(&self, mut object: Value) {
        object["connection"] = json!(self.number);
        self.file.put(object);
    }
}

impl Progress {
    /// What `traced` makes of the phase.
    fn after(&self, layer: Layer, traced: &Traced<'_>) -> Phase {
        use Traced as T;
        match traced {
            T::Failed(_) => Phase::Failed,
            _ if self.phase == Phase::Failed => Phase::Failed,
            T::Established(_) if layer == Layer::Inner => Phase::Traffic,
            T::Established(_) if self.preamble || self.innermost == Layer::Outer => Phase::Preamble,
            T::Established(_) => Phase::InnerHandshake,
            T::Record { .. } if layer == Layer::Inner && self.phase == Phase::Preamble => {
                Phase::InnerHandshake
            }
            T::Alert { description: AlertDescription::CloseNotify, .. } => {
                match (self.closes, self.innermost) {
                    (4, _) | (2, Layer::Outer) => Phase::Closed,
                    (_, innermost) if layer == innermost => Phase::Closing,
                    _ => self.phase,
                }
            }
            _ => self.phase,
        }
    }
}

impl Tracer for ConnectionTrace {
    fn trace(&self, layer: Layer, traced: Traced<'_>) {
        use Traced as T;
        let object = match traced {
            T::Record { direction, content, protected, len } => json!({
                "event": "record",
                "direction": direction.to_string(),
                "content": content.map(spoken_name),
                "protected": protected,
                "bytes": len,
            }),
            T::Message { direction, typ, len } => json!({
                "event": "message",
                "direction": direction.to_string(),
                "message": spoken_name(typ),
                "bytes": len,
            }),
            T::Alert { direction, description } => json!({
                "event": "alert",
                "direction": direction.to_string(),
                "alert": spoken_name(description),
            }),
            T::Established(info) => json!({
                "event": "established",
                "version": version(info.version),
                "suite": info.suite.map(|suite| format!("{suite:?}")),
                "group": info.group.map(|group| format!("{group:?}")),
                "alpn": info.alpn.as_deref().map(String::from_utf8_lossy),
                "resumed": info.resumed,
            }),
            T::Failed(error) => json!({ "event": "failed", "reason": reason(error) }),
            _ => return,
        };
        self.of_layer(layer, object);
        if let T::Message { direction: Direction::Sent, typ: HandshakeType::ServerHello, .. } =
            traced
        {
            self.sends_certificates(layer, "server");
        }
        let mut progress = self.progress();
        if let T::Alert { description: AlertDescription::CloseNotify, .. } = traced {
            progress.closes += 1;
        }
        let phase = progress.after(layer, &traced);
        if phase != progress.phase {
            progress.phase = phase;
            drop(progress);
            self.put(json!({ "event": "phase", "phase": phase.to_string() }));
        }
    }
}

impl Drop for ConnectionTrace {
    fn drop(&mut self) {
        self.put(json!({ "event": "end" }));
    }
}

/// The error in words, with those of our own rules where rustls only carries them.
fn reason(error: &nested_tls::Error) -> String {
    match error.kind() {
        ErrorKind::Tls(Tls::InvalidCertificate(refused)) => match verdict(refused, None) {
            Some(verdict) => format!("{} TLS failed: {verdict}", error.layer()),
            None => error.to_string(),
        },
        _ => error.to_string(),
    }
}

fn certificates(chain: &[CertificateDer<'static>]) -> Vec<Value> {
    chain.iter().map(|der| certificate_json(der)).collect()
}
