//! What servers say on standard error: who came, how it ended, what an operator should know. Never a secret.

use std::time::{SystemTime, UNIX_EPOCH};

use der::DateTime;
use serde_json::{Value, json};

use super::console::{Console, To};
use super::failure::Failure;
use super::report::{LayerReport, layers_json};

/// How a log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people
    #[default]
    Text,
    /// An object a line, with the time, a level and the name of the event
    Json,
}

/// The log of a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Log(Console);

impl Log {
    pub(crate) fn new(json: bool, format: LogFormat) -> Self {
        Self(Console { json: json || format == LogFormat::Json, quiet: false })
    }

    /// A client was let in.
    pub(crate) fn established(self, connection: u64, peer: &str, layers: &[LayerReport]) {
        let text = || {
            let mut text = format!("[{connection}] {peer}");
            for layer in layers {
                let who = layer.peer().unwrap_or_else(|| "anonymous".into());
                text.push_str(&format!("; {}, {who}", layer.title()));
            }
            text
        };
        let details =
            || json!({ "connection": connection, "peer": peer, "layers": layers_json(layers) });
        self.write("info", "established", text, details);
    }

    /// A connection ended well.
    pub(crate) fn ended(self, connection: u64, sent: u64, received: u64) {
        let text = || format!("[{connection}] ended: {received} bytes received, {sent} sent");
        let details = || json!({ "connection": connection, "received": received, "sent": sent });
        self.write("info", "ended", text, details);
    }

    /// A connection ended badly.
    pub(crate) fn failed(self, connection: u64, failure: &Failure) {
        let text = || {
            let head = self.0.red(To::Stderr, &format!("[{connection}] error:"));
            format!("{head} {failure}")
        };
        let details = || {
            let mut details = failure.to_json();
            if let Value::Object(details) = &mut details {
                details.insert("connection".into(), json!(connection));
            }
            details
        };
        self.write("error", "failed", text, details);
    }

    /// What an operator should know about the server itself.
    pub(crate) fn notice(self, event: &str, text: &str) {
        self.write("info", event, || text.into(), || json!({ "message": text }));
    }

    /// The same where something should be done.
    pub(crate) fn warn(self, event: &str, text: &str) {
        let line = || format!("warning: {text}");
        self.write("warning", event, line, || json!({ "message": text }));
    }

    /// A new configuration was refused.
    pub(crate) fn not_reloaded(self, failure: &Failure) {
        let text = || {
            let head = self.0.red(To::Stderr, "not reloaded:");
            format!("{head} {failure}; until then the old configuration stays")
        };
        self.write("error", "not_reloaded", text, || failure.to_json());
    }

    fn write(
        self,
        level: &str,
        event: &str,
        text: impl FnOnce() -> String,
        details: impl FnOnce() -> Value,
    ) {
        self.0.tell(To::Stderr, text, || {
            let mut value = details();
            if let Value::Object(fields) = &mut value {
                fields.insert("time".into(), json!(now()));
                fields.insert("level".into(), json!(level));
                fields.insert("event".into(), json!(event));
            }
            value
        });
    }
}

/// `2026-01-31T23:59:59.123Z`
#[expect(
    clippy::disallowed_methods,
    reason = "no certificate is judged by it, and it has milliseconds"
)]
fn now() -> Option<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let date = DateTime::from_unix_duration(now).ok()?.to_string();
    Some(format!("{}.{:03}Z", date.trim_end_matches('Z'), now.subsec_millis()))
}
