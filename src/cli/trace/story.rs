//! What happened in one connection, from the lines of its trace: records become arrows, runs of them one arrow.

use serde_json::Value;

/// How many arrows of data in a row are drawn before the middle of them is folded.
const MOST_DATA: usize = 9;
/// How many of a folded run are drawn at its begin and at its end.
const SHOWN: usize = 3;

/// No label has room for more seconds.
const LONGEST: f64 = 1e7;

const CHANGE: &str = "ChangeCipherSpec";
const ENCRYPTED: &str = "encrypted";

/// Which of the two connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layer {
    Outer,
    Inner,
}

/// What a run of records is for; records of different kinds share no arrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Handshake,
    Data,
    Alert,
}

/// Records and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) records: u64,
    pub(super) bytes: u64,
}

impl Size {
    fn add(&mut self, more: Self) {
        self.records = self.records.saturating_add(more.records);
        self.bytes = self.bytes.saturating_add(more.bytes);
    }
}

/// A run of records of one layer, one way.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Arrow {
    pub(super) at: f64,
    pub(super) layer: Layer,
    pub(super) sent: bool,
    pub(super) kind: Kind,
    /// What stands in it, and how often in a row.
    pub(super) words: Vec<(String, usize)>,
    pub(super) size: Size,
    /// The outer records that it travels in.
    pub(super) carrier: Size,
    /// It waits for the outer layer's handshake.
    early: bool,
}

/// How a note is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Good,
    Bad,
}

/// One row of the picture.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Row {
    Arrow(Arrow),
    /// A heading, and lines under it.
    Note {
        at: f64,
        layer: Layer,
        tone: Tone,
        title: String,
        lines: Vec<String>,
    },
    Phase {
        at: f64,
        name: String,
    },
    /// Data that is not drawn arrow by arrow.
    Fold {
        at: f64,
        turns: usize,
        sent: Size,
        received: Size,
    },
}

/// One connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Story {
    pub(super) command: String,
    pub(super) local: String,
    pub(super) peer: String,
    /// This side's role in each layer, where it has one.
    pub(super) outer: Option<String>,
    pub(super) inner: Option<String>,
    pub(super) rows: Vec<Row>,
    /// Sent and received, outer and inner.
    pub(super) totals: [[Size; 2]; 2],
    /// When it began, and how long it took, in seconds.
    began: f64,
    pub(super) took: f64,
    /// Outer records that came before the inner ones in them.
    arrived: Size,
    /// The record told last; what stands in it may follow.
    told: Option<(Layer, bool)>,
    /// Its arrow says `encrypted` for want of a better word.
    unnamed: bool,
    established: bool,
    /// The outer layer's data is not the inner layer's.
    preamble: bool,
    /// Records without a meaning of their own, which join the next flight of their layer and direction.
    leading: Vec<(Layer, bool, Size)>,
}

impl Story {
    /// Takes in one line of this connection.
    pub(super) fn tell(&mut self, line: &Value) {
        let at = line["at"].as_f64().unwrap_or_default();
        self.took = (at - self.began).clamp(0.0, LONGEST);
        let at = self.took;
        let layer = match line["layer"].as_str() {
            Some("outer") => Some(Layer::Outer),
            Some("inner") => Some(Layer::Inner),
            _ => None,
        };
        let sent = line["direction"] == "sent";
        match (text(line, "event").as_str(), layer) {
            ("connection", _) => self.begin(line),
            ("phase", _) => {
                let name = text(line, "phase");
                self.preamble = name == "preamble";
                self.rows.push(Row::Phase { at, name });
            }
            ("record", Some(layer)) => self.record(at, layer, sent, line),
            ("message", Some(layer)) => self.name(layer, sent, &camel(&text(line, "message"))),
            ("alert", Some(layer)) => self.name(layer, sent, &text(line, "alert")),
            ("certificates", Some(layer)) => self.certificates(at, layer, sent, line),
            ("certificate_request", Some(layer)) if line["answered"] == false => {
                self.note(
                    at,
                    layer,
                    Tone::Plain,
                    "asked for our certificate; none goes out",
                    vec![],
                );
            }
            ("established", Some(layer)) => {
                self.established |= layer == Layer::Outer;
                let facts: Vec<String> = ["version", "suite", "group", "alpn"]
                    .iter()
                    .map(|key| text(line, key))
                    .filter(|fact| !fact.is_empty())
                    .collect();
                let title = format!("established: {}", facts.join(", "));
                self.note(at, layer, Tone::Good, &title, vec![]);
            }
            ("failed", Some(layer)) => {
                let title = format!("failed: {}", text(line, "reason"));
                self.note(at, layer, Tone::Bad, &title, vec![]);
            }
            _ => {}
        }
    }

    fn begin(&mut self, line: &Value) {
        self.began = line["at"].as_f64().unwrap_or_default();
        self.took = 0.0;
        self.local = text(line, "local");
        self.peer = text(line, "peer");
        self.outer = line["outer"].as_str().map(Into::into);
        self.inner = line["inner"].as_str().map(Into::into);
    }

    fn record(&mut self, at: f64, layer: Layer, sent: bool, line: &Value) {
        let mut size = Size { records: 1, bytes: line["bytes"].as_u64().unwrap_or_default() };
        self.totals[usize::from(layer == Layer::Inner)][usize::from(!sent)].add(size);
        let kind = match line["content"].as_str() {
            Some("change_cipher_spec") => {
                self.leading.push((layer, sent, size));
                return;
            }
            Some("application_data") => Kind::Data,
            Some("alert") => Kind::Alert,
            _ => Kind::Handshake,
        };
        if kind == Kind::Data && layer == Layer::Outer && self.carries(at, sent, size) {
            return;
        }
        let mut words = Vec::new();
        self.leading.retain(|(of, way, more)| {
            let joins = (*of, *way) == (layer, sent);
            if joins {
                size.add(*more);
                words.push(CHANGE);
            }
            !joins
        });
        // What it is follows, unless it is hidden.
        self.unnamed = kind == Kind::Handshake && line["protected"] == true;
        words.extend(self.unnamed.then_some(ENCRYPTED));
        let mut carrier = Size::default();
        if layer == Layer::Inner && !sent {
            carrier = core::mem::take(&mut self.arrived);
        }
        self.told = Some((layer, sent));
        let last = self.rows.iter_mut().rev().find_map(|row| match row {
            Row::Arrow(arrow) if arrow.layer == layer => Some(arrow),
            _ => None,
        });
        match last {
            // Also beyond a note: certificates are judged in the middle of a flight.
            Some(last) if (last.sent, last.kind) == (sent, kind) && kind != Kind::Alert => {
                last.size.add(size);
                last.carrier.add(carrier);
                words.into_iter().for_each(|word| last.say(word));
            }
            _ => {
                let mut arrow = Arrow {
                    at,
                    layer,
                    sent,
                    kind,
                    words: Vec::new(),
                    size,
                    carrier,
                    early: layer == Layer::Inner && !self.established,
                };
                words.into_iter().for_each(|word| arrow.say(word));
                self.rows.push(Row::Arrow(arrow));
            }
        }
    }

    /// Counts an outer record as what carries the inner layer, if it does.
    fn carries(&mut self, at: f64, sent: bool, size: Size) -> bool {
        if self.inner.is_none() {
            return false;
        }
        if !sent {
            if !self.preamble {
                self.arrived.add(size);
            }
            return !self.preamble;
        }
        let last = self.rows.iter_mut().rposition(
            |row| matches!(row, Row::Arrow(arrow) if arrow.layer == Layer::Inner && arrow.sent),
        );
        let Some(last) = last else { return false };
        if let Some(Row::Arrow(arrow)) = self.rows.get_mut(last) {
            arrow.carrier.add(size);
            if core::mem::take(&mut arrow.early) {
                // Only here does it leave.
                arrow.at = at;
                let row = self.rows.remove(last);
                self.rows.push(row);
            }
        }
        true
    }

    /// Says what stands in the record told last.
    fn name(&mut self, layer: Layer, sent: bool, word: &str) {
        if self.told != Some((layer, sent)) {
            return;
        }
        let last = self.rows.iter_mut().rev().find_map(|row| match row {
            Row::Arrow(arrow) if (arrow.layer, arrow.sent) == (layer, sent) => Some(arrow),
            _ => None,
        });
        if let Some(arrow) = last {
            if core::mem::take(&mut self.unnamed) {
                arrow.unsay();
            }
            arrow.say(word);
        }
    }

    fn certificates(&mut self, at: f64, layer: Layer, sent: bool, line: &Value) {
        let whose = match (sent, line["from"].as_str()) {
            (true, _) => "our certificate".into(),
            (false, from) => format!("{}'s certificate", from.unwrap_or("peer")),
        };
        let mut lines = Vec::new();
        let (tone, verdict) = match (&line["accepted"], &line["refused"]) {
            (Value::Object(_), _) => {
                let accepted = &line["accepted"];
                let file = accepted["file"].as_str().map(|file| format!(" ({file})"));
                let rule = text(accepted, "rule");
                (Tone::Good, format!(", accepted: {rule}{}", file.unwrap_or_default()))
            }
            (_, Value::Object(_)) => {
                for key in ["expected", "found"] {
                    let value = text(&line["refused"], key);
                    if !value.is_empty() {
                        lines.push(format!("{key} {value}"));
                    }
                }
                (Tone::Bad, format!(", refused: {}", text(&line["refused"], "reason")))
            }
            _ => (Tone::Plain, String::new()),
        };
        let chain = line["certificates"].as_array().map(Vec::as_slice).unwrap_or_default();
        for certificate in chain {
            let (subject, issuer) = (text(certificate, "subject"), text(certificate, "issuer"));
            lines.push(format!("subject {subject}"));
            lines.push(match subject == issuer {
                true => "issuer the same".into(),
                false => format!("issuer {issuer}"),
            });
            let sha256 = text(certificate, "sha256");
            let begin = sha256.get(..16).unwrap_or(&sha256);
            lines.push(format!("serial {} · SHA-256 {begin}…", text(certificate, "serial")));
        }
        self.note(at, layer, tone, &format!("{whose}{verdict}"), lines);
    }

    fn note(&mut self, at: f64, layer: Layer, tone: Tone, title: &str, lines: Vec<String>) {
        self.rows.push(Row::note(at, layer, tone, title.into(), lines));
    }

    /// The story as it is drawn: long runs of data folded.
    pub(super) fn finish(mut self) -> Self {
        for (layer, sent, size) in core::mem::take(&mut self.leading) {
            let words = vec![(CHANGE.into(), 1)];
            let (at, kind, carrier) = (self.took, Kind::Handshake, Size::default());
            let early = false;
            let arrow = Arrow { at, layer, sent, kind, words, size, carrier, early };
            self.rows.push(Row::Arrow(arrow));
        }
        let mut rows = Vec::new();
        let mut run = Vec::new();
        for row in core::mem::take(&mut self.rows) {
            match &row {
                Row::Arrow(arrow) if arrow.early && arrow.sent => {
                    let title = format!("{} never left", arrow.what());
                    rows.push(Row::note(arrow.at, arrow.layer, Tone::Plain, title, Vec::new()));
                }
                Row::Arrow(Arrow { kind: Kind::Data, .. }) => run.push(row),
                _ => {
                    fold(&mut run, &mut rows);
                    rows.push(row);
                }
            }
        }
        fold(&mut run, &mut rows);
        self.rows = rows;
        self
    }
}

impl Row {
    fn note(at: f64, layer: Layer, tone: Tone, title: String, lines: Vec<String>) -> Self {
        Self::Note { at, layer, tone, title, lines }
    }
}

impl Arrow {
    /// What stands in it, in words.
    pub(super) fn what(&self) -> String {
        let words: Vec<String> = self
            .words
            .iter()
            .map(|(word, times)| match times {
                1 => word.clone(),
                times => format!("{word} ×{times}"),
            })
            .collect();
        match (words.is_empty(), self.kind) {
            (false, _) => words.join(", "),
            (true, Kind::Data) => "application data".into(),
            (true, Kind::Alert) => "alert, encrypted".into(),
            (true, Kind::Handshake) => "handshake".into(),
        }
    }

    /// Whether it is an alert that ends the layer for a reason.
    pub(super) fn is_bad(&self) -> bool {
        self.kind == Kind::Alert && self.words.iter().any(|(word, _)| word != "close_notify")
    }

    fn say(&mut self, word: &str) {
        match self.words.last_mut() {
            Some((last, times)) if last == word => *times += 1,
            _ => self.words.push((word.into(), 1)),
        }
    }

    /// Takes the last word back.
    fn unsay(&mut self) {
        match self.words.last_mut() {
            Some((_, times)) if *times > 1 => *times -= 1,
            _ => drop(self.words.pop()),
        }
    }
}

/// Moves a run of data over, without its middle where it is long.
fn fold(run: &mut Vec<Row>, rows: &mut Vec<Row>) {
    if run.len() <= MOST_DATA {
        rows.append(run);
        return;
    }
    let end = run.split_off(run.len() - SHOWN);
    let middle = run.split_off(SHOWN);
    rows.append(run);
    let (mut sent, mut received, mut begun) = (Size::default(), Size::default(), None);
    for row in &middle {
        if let Row::Arrow(arrow) = row {
            begun = begun.or(Some(arrow.at));
            let sum = if arrow.sent { &mut sent } else { &mut received };
            sum.add(arrow.size);
        }
    }
    rows.push(Row::Fold { at: begun.unwrap_or_default(), turns: middle.len(), sent, received });
    rows.extend(end);
}

fn text(line: &Value, key: &str) -> String {
    line[key].as_str().unwrap_or_default().into()
}

/// `server_hello` as `ServerHello`.
fn camel(name: &str) -> String {
    let mut words = String::new();
    for word in name.split('_') {
        let mut chars = word.chars();
        words.extend(chars.next().map(|first| first.to_ascii_uppercase()));
        words.push_str(chars.as_str());
    }
    words
}
