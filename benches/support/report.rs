//! The table of ratios, as text and as a picture.

use std::fmt::Write as _;
use std::{env, fs};

use super::config::{provider_name, suite_name};
use super::contestants::{GLUED, LIMIT, STACKED, STACKED_OWNED, UNBUFFERED};
use super::rounds::Ratio;

/// Which way a ratio is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// How many times as much work as the other does in the same time.
    Higher,
    /// What part of the other's time or memory.
    Lower,
}

/// What is to be reached: work, against whom, figure. The ratios of the others are for the reader.
const REACH: &[(&str, &str, f64)] = &[
    ("bulk, full records", GLUED, 1.5),
    ("bulk, full records", UNBUFFERED, 1.9),
    ("bulk, full records", LIMIT, 0.85),
    ("256 B one way, one per transmission", GLUED, 1.7),
    ("256 B one way, one per transmission", LIMIT, 0.85),
    ("256 B one way, 16 waiting together", GLUED, 3.0),
    ("256 B echo over loopback TCP, tokio", STACKED, 0.7),
    ("bulk over loopback TCP, tokio", STACKED, 1.5),
    ("bulk over loopback TCP, blocking", STACKED_OWNED, 1.5),
    ("full nested handshake, both ends", GLUED, 1.0),
    ("the same, adapters over an in-memory pipe", STACKED, 1.0),
];

/// One comparison.
#[derive(Clone, Debug)]
pub struct Row {
    work: String,
    against: String,
    better: Better,
    ratio: Ratio,
}

impl Row {
    pub fn new(work: &str, against: &str, better: Better, ratio: Ratio) -> Self {
        Self { work: work.into(), against: against.into(), better, ratio }
    }

    /// A figure that is the same each time.
    pub fn exact(work: &str, against: &str, value: f64) -> Self {
        Self::new(work, against, Better::Lower, Ratio::of(vec![value]))
    }

    fn reach(&self) -> Option<f64> {
        let row = REACH.iter().find(|(work, who, _)| (*work, *who) == (&self.work, &self.against));
        row.map(|(.., figure)| *figure)
    }

    fn reached(&self) -> bool {
        self.reach().is_none_or(|figure| match self.better {
            Better::Higher => self.ratio.median >= figure,
            Better::Lower => self.ratio.median <= figure,
        })
    }
}

/// All that was measured in one run.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Row>,
    times: Vec<(String, String, Ratio)>,
    memory: String,
}

const BEGIN: &str = "<!-- the run begins -->\n";
const END: &str = "<!-- the run ends -->\n";

/// Where the benchmark `memory` leaves its lines for this table.
pub const MEMORY: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/bench-memory.md");

impl Table {
    pub fn add(&mut self, row: Row) {
        eprintln!("{}", line(&row));
        self.rows.push(row);
    }

    pub fn add_times(&mut self, work: &str, names: &[&str], times: &[Vec<f64>]) {
        for (name, times) in names.iter().zip(times) {
            let ratio = Ratio::of(times.clone());
            eprintln!("{work} | {name} | {:.2} us", ratio.median);
            self.times.push((work.into(), (*name).into(), ratio));
        }
    }

    /// What the benchmark `memory` left.
    pub fn add_memory(&mut self) {
        self.memory = fs::read_to_string(MEMORY).unwrap_or_default();
    }

    pub fn markdown(&self) -> String {
        let mut text = format!(
            "Provider {}, suite {} on both layers, {}.\n\n",
            provider_name(),
            suite_name(),
            processor()
        );
        text += "| work | against | ratio | quartiles | rounds | to reach |\n";
        text += "|---|---|--:|--:|--:|--:|\n";
        for row in &self.rows {
            text += &line(row);
            text.push('\n');
        }
        text += &self.memory;
        text += "\nMicroseconds of CPU time, median of the rounds; comparable within this run only.\n\n";
        text += "| work | who | time |\n|---|---|--:|\n";
        for (work, who, time) in &self.times {
            let _ = writeln!(text, "| {work} | {who} | {:.2} |", time.median);
        }
        text
    }

    /// Replace the table in README, and the picture beside it.
    pub fn write(&self) {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/benches");
        let path = format!("{dir}/README.md");
        let readme = fs::read_to_string(&path).unwrap();
        let (before, rest) = readme.split_once(BEGIN).unwrap();
        let (_, after) = rest.split_once(END).unwrap();
        let text = format!("{before}{BEGIN}\n{}\n{END}{after}", self.markdown());
        fs::write(path, text).unwrap();
        fs::write(format!("{dir}/ratios.svg"), self.picture()).unwrap();
    }

    /// Bars for the rows that have something to reach: how much of it is reached.
    fn picture(&self) -> String {
        let rows: Vec<_> = self.rows.iter().filter(|row| row.reach().is_some()).collect();
        let height = 30 + 26 * rows.len();
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"960\" height=\"{height}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"960\" height=\"{height}\" fill=\"#fff\"/>\n"
        );
        for (i, row) in rows.iter().enumerate() {
            let y = 12 + 26 * i;
            let reach = row.reach().unwrap_or(1.0);
            let part = match row.better {
                Better::Higher => row.ratio.median / reach,
                Better::Lower => reach / row.ratio.median,
            };
            let (width, colour) = (
                (part.min(2.0) * 150.0) as usize,
                match row.reached() {
                    true => "#2a7f62",
                    false => "#c05746",
                },
            );
            let _ = writeln!(
                svg,
                "<text x=\"520\" y=\"{}\" text-anchor=\"end\" fill=\"#222\">{} / {}</text>\n\
                 <rect x=\"530\" y=\"{y}\" width=\"{width}\" height=\"16\" fill=\"{colour}\"/>\n\
                 <text x=\"{}\" y=\"{}\" fill=\"#222\">{:.2} (to reach: {reach})</text>",
                y + 13,
                row.work,
                row.against,
                536 + width.max(150),
                y + 13,
                row.ratio.median,
            );
        }
        let _ = writeln!(
            svg,
            "<line x1=\"680\" y1=\"6\" x2=\"680\" y2=\"{}\" stroke=\"#222\" \
             stroke-dasharray=\"3 3\"/>\n</svg>",
            height - 12
        );
        svg
    }
}

fn line(row: &Row) -> String {
    let Ratio { median, lower_quartile, upper_quartile, rounds } = row.ratio;
    let reach = row.reach().map_or(String::new(), |figure| {
        let sign = if row.better == Better::Higher { '≥' } else { '≤' };
        let missed = if row.reached() { "" } else { ", missed" };
        format!("{sign} {figure}{missed}")
    });
    let spread = match rounds {
        1 => String::new(),
        _ => format!("{lower_quartile:.3} to {upper_quartile:.3}"),
    };
    format!("| {} | {} | {median:.3} | {spread} | {rounds} | {reach} |", row.work, row.against)
}

fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or(env::consts::ARCH, |(_, name)| name).to_owned()
}
