//! The picture of a story: a sequence diagram of both layers, in light or dark as its reader has it.

use core::fmt::Write as _;

use super::story::{Arrow, Layer, Row, Size, Story, Tone};
use crate::failure::printable;

const WIDTH: usize = 980;
/// The three lifelines: the client, the host, and what stands behind it.
const LINES: [usize; 3] = [130, 500, 870];
/// Between a lifeline and what is written beside it.
const GAP: usize = 14;
/// The width of a character that no usual font exceeds, in tenths, at the size of text.
const CHARACTER: usize = 74;
const LINE: usize = 16;
const HEAD: usize = 110;

const STYLE: &str = "\
text{font:12px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:#1f2328}\
.bg{fill:#fff}.muted{fill:#656d76}.head{font-weight:bold}\
.life{stroke:#8c959f;stroke-dasharray:2 4}.party{fill:#f6f8fa;stroke:#8c959f}\
.phase{fill:#eef1f4}.note{fill:#f6f8fa;stroke:#d0d7de}\
.outer{stroke:#0969da;fill:#0969da}.inner{stroke:#bc4c00;fill:#bc4c00}\
.bad{stroke:#cf222e;fill:#cf222e}\
.on{paint-order:stroke;stroke:#fff;stroke-width:4px}.pipe{fill:#0969da;fill-opacity:.13}.say-outer{fill:#0550ae}.say-inner{fill:#953800}\
.say-good{fill:#116329}.say-bad{fill:#a40e26}\
@media(prefers-color-scheme:dark){\
text{fill:#e6edf3}.bg{fill:#0d1117}.muted{fill:#8d96a0}\
.life{stroke:#6e7681}.party{fill:#161b22;stroke:#6e7681}\
.phase{fill:#1b222b}.note{fill:#161b22;stroke:#30363d}\
.outer{stroke:#58a6ff;fill:#58a6ff}.inner{stroke:#f0883e;fill:#f0883e}\
.bad{stroke:#f85149;fill:#f85149}\
.on{stroke:#0d1117}.pipe{fill:#58a6ff;fill-opacity:.2}.say-outer{fill:#79c0ff}.say-inner{fill:#ffa657}\
.say-good{fill:#56d364}.say-bad{fill:#ff7b72}}";

/// The whole picture as text.
pub(super) fn draw(story: &Story) -> String {
    let mut canvas = Canvas { body: String::new(), y: HEAD };
    // Whoever is the client of the outer layer stands on the left.
    let left = story.outer.as_deref() != Some("server");
    for row in &story.rows {
        match row {
            Row::Arrow(arrow) => canvas.arrow(arrow, arrow.sent == left),
            Row::Note { at, layer, tone, title, lines } => {
                canvas.note(*at, *layer, *tone, title, lines);
            }
            Row::Phase { at, name } => canvas.phase(*at, name),
            Row::Fold { at, turns, sent, received } => canvas.fold(*at, *turns, *sent, *received),
        }
    }
    canvas.totals(story);
    canvas.finish(story, left)
}

struct Canvas {
    body: String,
    /// Where the next row begins.
    y: usize,
}

impl Canvas {
    fn arrow(&mut self, arrow: &Arrow, to_right: bool) {
        let (class, far) = match arrow.layer {
            Layer::Outer => ("outer", LINES[1]),
            Layer::Inner => ("inner", LINES[2]),
        };
        let class = if arrow.is_bad() { "bad" } else { class };
        let near = LINES[0];
        let lines = wrap(&arrow.what(), columns(far - near - 2 * GAP), 3);
        self.y += 6;
        let first = self.y + LINE - 4;
        for (at, line) in lines.iter().enumerate() {
            self.text(near + GAP, first + at * LINE, &format!("say-{class} on"), line);
        }
        let y = self.y + lines.len() * LINE + 4;
        if arrow.carrier.records > 0 {
            let (x, width) = (LINES[0], LINES[1] - LINES[0]);
            let _ = write!(
                self.body,
                r#"<rect class="pipe" x="{x}" y="{}" width="{width}" height="10" rx="5"/>"#,
                y - 5
            );
        }
        let mut sizes = size(arrow.size);
        if arrow.carrier.records > 0 {
            let _ =
                write!(sizes, " in {}", size(arrow.carrier).replacen("record", "outer record", 1));
        }
        self.text(near + GAP, y + LINE - 2, "muted on", &sizes);
        let (from, to) = if to_right { (near, far) } else { (far, near) };
        let (tip, back) = if to_right { (to - 1, to - 10) } else { (to + 1, to + 10) };
        let _ = write!(
            self.body,
            r#"<path class="{class}" stroke-width="1.5" d="M{from} {y}H{back}"/><path class="{class}" d="M{tip} {y}L{back} {}V{}z"/>"#,
            y - 4,
            y + 4,
        );
        self.time(arrow.at, y + 4);
        self.y = y + LINE + 6;
    }

    fn note(&mut self, at: f64, layer: Layer, tone: Tone, title: &str, lines: &[String]) {
        let (x, width) = (LINES[0] + GAP, LINES[2] - LINES[0] - 2 * GAP);
        let columns = columns(width - 2 * GAP);
        let name = match layer {
            Layer::Outer => "outer",
            Layer::Inner => "inner",
        };
        let tone = match tone {
            Tone::Plain => "muted",
            Tone::Good => "say-good",
            Tone::Bad => "say-bad",
        };
        let title = wrap(&format!("{name}: {title}"), columns, 3);
        let lines: Vec<String> = lines.iter().flat_map(|line| wrap(line, columns, 2)).collect();
        let height = (title.len() + lines.len()) * LINE + 10;
        self.y += 6;
        let y = self.y;
        let _ = write!(
            self.body,
            r#"<rect class="note" x="{x}" y="{y}" width="{width}" height="{height}" rx="4"/><rect class="{name}" x="{x}" y="{y}" width="3" height="{height}"/>"#
        );
        let titles = title.iter().map(|line| (tone, line));
        for (place, (class, line)) in titles.chain(lines.iter().map(|line| ("", line))).enumerate()
        {
            self.text(x + GAP, y + LINE + 1 + place * LINE, class, line);
        }
        self.time(at, y + LINE + 1);
        self.y = y + height + 6;
    }

    fn phase(&mut self, at: f64, name: &str) {
        self.y += 6;
        let y = self.y;
        let _ =
            write!(self.body, r#"<rect class="phase" x="0" y="{y}" width="{WIDTH}" height="22"/>"#);
        let name = cut(&printable(name), columns(WIDTH - LINES[0] - 2 * GAP));
        self.text(LINES[0] + GAP, y + 15, "head", &name);
        self.time(at, y + 15);
        self.y = y + 26;
    }

    fn fold(&mut self, at: f64, turns: usize, sent: Size, received: Size) {
        let text =
            format!("⋮ {turns} more arrows: {} sent, {} received", size(sent), size(received));
        self.text(LINES[0] + GAP, self.y + 20, "muted on", &text);
        self.time(at, self.y + 20);
        self.y += 32;
    }

    fn totals(&mut self, story: &Story) {
        self.y += 14;
        for (name, [sent, received]) in ["outer", "inner"].iter().zip(story.totals) {
            if sent.records + received.records > 0 {
                let text = format!("{name}: {} sent, {} received", size(sent), size(received));
                self.text(LINES[0] + GAP, self.y + 12, &format!("say-{name} on"), &text);
                self.y += LINE;
            }
        }
        self.y += 14;
    }

    fn time(&mut self, at: f64, y: usize) {
        let text = match at {
            at if at < 10.0 => format!("{:.1} ms", at * 1e3),
            at => format!("{at:.1} s"),
        };
        self.anchored(LINES[0] - GAP, y, "muted", "end", &text);
    }

    fn text(&mut self, x: usize, y: usize, class: &str, text: &str) {
        self.anchored(x, y, class, "start", text);
    }

    fn anchored(&mut self, x: usize, y: usize, class: &str, anchor: &str, text: &str) {
        let text = escape(text);
        let _ = write!(
            self.body,
            r#"<text x="{x}" y="{y}" class="{class}" text-anchor="{anchor}">{text}</text>"#
        );
    }

    /// Puts what is behind and above the rows around them.
    fn finish(self, story: &Story, left: bool) -> String {
        let height = self.y;
        let title = cut(&format!("nested-tls {}", printable(&story.command)), columns(WIDTH));
        let mut canvas = Self { body: String::new(), y: 0 };
        canvas.anchored(WIDTH / 2, 24, "head", "middle", &title);
        let (here, there) = (story.local.as_str(), story.peer.as_str());
        let both = story.inner.is_some();
        let bottom = self.y - 10 - LINE * (1 + usize::from(both));
        let mut lifeline = |x: usize, name: &str, address: &str| {
            let _ = write!(
                canvas.body,
                r#"<path class="life" d="M{x} 78V{bottom}"/><rect class="party" x="{}" y="40" width="200" height="40" rx="6"/>"#,
                x - 100
            );
            let middle = if address.is_empty() { 64 } else { 57 };
            canvas.anchored(x, middle, "head", "middle", name);
            canvas.anchored(x, 73, "muted", "middle", &cut(&printable(address), columns(190)));
        };
        if left {
            lifeline(LINES[0], "this client", here);
            lifeline(LINES[1], "host", there);
            if both {
                lifeline(LINES[2], "behind the host", "");
            }
        } else {
            lifeline(LINES[0], "client", there);
            lifeline(LINES[1], "this server: outer layer", here);
            if both {
                lifeline(LINES[2], "this server: inner layer", "");
            }
        }
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" role="img"><title>{}</title><style>{STYLE}</style><rect class="bg" width="100%" height="100%"/>{}{}</svg>
"#,
            escape(&title),
            canvas.body,
            self.body
        )
    }
}

/// How many characters are sure to fit.
fn columns(width: usize) -> usize {
    width * 10 / CHARACTER
}

/// Lines of at most `columns`, cut at spaces where there are any; what does not fit `most` lines is cut off, and seen to be.
fn wrap(text: &str, columns: usize, most: usize) -> Vec<String> {
    let text = printable(text);
    let mut lines: Vec<String> = Vec::new();
    let mut rest: &str = text.trim();
    while !rest.is_empty() {
        if lines.len() + 1 == most {
            lines.push(cut(rest, columns));
            break;
        }
        let end = rest.char_indices().nth(columns).map_or(rest.len(), |(at, _)| at);
        let (line, _) = rest.split_at(end);
        let end = match line.rfind(' ') {
            Some(space) if end < rest.len() && space > 0 => space,
            _ => end,
        };
        let (line, behind) = rest.split_at(end);
        lines.push(line.into());
        rest = behind.trim_start();
    }
    lines
}

/// At most `columns` of `text`.
fn cut(text: &str, columns: usize) -> String {
    match text.char_indices().nth(columns) {
        None => text.into(),
        Some(_) => text.chars().take(columns.saturating_sub(1)).chain(['…']).collect(),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// `3 records, 4.1 kB`
fn size(size: Size) -> String {
    let records = match size.records {
        1 => "1 record".into(),
        records => format!("{records} records"),
    };
    format!("{records}, {}", bytes(size.bytes))
}

fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in ["kB", "MB", "GB"] {
        if value < 999.5 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    match unit {
        "B" => format!("{value:.0} {unit}"),
        _ => format!("{value:.1} {unit}"),
    }
}
