//! What a server counts, in the text format of Prometheus.
//! <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>

use core::fmt::Write as _;
use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use nested_tls::Layer;

use super::diagnosis::Broken;
use super::failure::Status;
use super::link::Times;

/// Counters of one process, all listeners together.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    accepted: AtomicU64,
    ended: AtomicU64,
    /// By layer and outcome.
    handshakes: [[AtomicU64; OUTCOMES.len()]; LAYERS.len()],
    pub(crate) received: AtomicU64,
    pub(crate) sent: AtomicU64,
    errors: [AtomicU64; KINDS.len()],
    /// By outcome: done, refused.
    reloads: [AtomicU64; 2],
}

/// A connection that is being served. Its end counts however it comes, by a panic, too.
#[derive(Debug)]
pub(crate) struct Open(Arc<Metrics>);

impl Drop for Open {
    fn drop(&mut self) {
        add(Some(&self.0.ended), 1);
    }
}

const LAYERS: [Layer; 2] = [Layer::Outer, Layer::Inner];
const OUTCOMES: [&str; 3] = ["ok", "failed", "timeout"];
const KINDS: [(&str, Status); 7] = [
    ("local", Status::Usage),
    ("transport", Status::Transport),
    ("outer_tls", Status::Outer),
    ("inner_tls", Status::Inner),
    ("truncated", Status::Truncated),
    ("framing", Status::Framing),
    ("idle", Status::Idle),
];

fn add(counter: Option<&AtomicU64>, n: u64) {
    counter.map(|counter| counter.fetch_add(n, Ordering::Relaxed));
}

impl Metrics {
    /// Counts a connection as served for as long as there is what this returns.
    pub(crate) fn accept(self: &Arc<Self>) -> Open {
        add(Some(&self.accepted), 1);
        Open(self.clone())
    }

    /// How many connections are being served.
    pub(crate) fn current(&self) -> u64 {
        // In this order: whatever has ended was accepted before.
        let ended = self.ended.load(Ordering::Relaxed);
        self.accepted.load(Ordering::Relaxed).saturating_sub(ended)
    }

    /// How the handshakes of `layers` ended; those behind a failure did not begin.
    pub(crate) fn handshakes(&self, layers: &[Layer], times: Times, shaken: &Result<(), Broken>) {
        for layer in layers {
            let established = times.of(*layer).is_some();
            let outcome = match shaken {
                _ if established => 0,
                Err(Broken::Timeout(..)) => 2,
                _ => 1,
            };
            let place = LAYERS.iter().position(|one| one == layer).unwrap_or_default();
            add(self.handshakes.get(place).and_then(|outcomes| outcomes.get(outcome)), 1);
            if !established {
                return;
            }
        }
    }

    pub(crate) fn fail(&self, status: Status) {
        let place = KINDS.iter().position(|(_, kind)| *kind == status);
        add(place.and_then(|place| self.errors.get(place)), 1);
    }

    pub(crate) fn reload(&self, done: bool) {
        add(self.reloads.get(usize::from(!done)), 1);
    }

    /// All of them; `max_connections` is how many there may be at once.
    pub(crate) fn text(&self, max_connections: usize) -> String {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut page = Page::default();
        page.family("connections_total", "counter", "Connections accepted.");
        page.sample("connections_total", "", get(&self.accepted));
        page.family("connections", "gauge", "Connections being served.");
        page.sample("connections", "", self.current());
        page.family("connections_max", "gauge", "The most connections that are served at once.");
        page.sample("connections_max", "", max_connections as u64);
        page.family("handshakes_total", "counter", "Handshakes ended, by layer and outcome.");
        for (layer, outcomes) in LAYERS.iter().zip(&self.handshakes) {
            for (outcome, count) in OUTCOMES.iter().zip(outcomes) {
                let labels = format!("{{layer=\"{layer}\",outcome=\"{outcome}\"}}");
                page.sample("handshakes_total", &labels, get(count));
            }
        }
        page.family(
            "bytes_total",
            "counter",
            "Plaintext of the innermost layer here, by direction.",
        );
        for (direction, count) in [("received", &self.received), ("sent", &self.sent)] {
            page.sample("bytes_total", &format!("{{direction=\"{direction}\"}}"), get(count));
        }
        page.family("errors_total", "counter", "Connections that ended badly, by kind.");
        for ((kind, _), count) in KINDS.iter().zip(&self.errors) {
            page.sample("errors_total", &format!("{{kind=\"{kind}\"}}"), get(count));
        }
        page.family("reloads_total", "counter", "Reloads of the configuration, by outcome.");
        for (outcome, count) in ["ok", "refused"].iter().zip(&self.reloads) {
            page.sample("reloads_total", &format!("{{outcome=\"{outcome}\"}}"), get(count));
        }
        page.0
    }
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ =
            write!(self.0, "# HELP nested_tls_{name} {help}\n# TYPE nested_tls_{name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &str, value: u64) {
        let _ = writeln!(self.0, "nested_tls_{name}{labels} {value}");
    }
}
