//! Counts what came of each fault, and says it in one table.

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Write as _};
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Who does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The transport, or someone on the wire: has no keys.
    Wire,
    /// The host: has the outer keys of both sides.
    Host,
    /// The innermost peer: has every key of its own connection.
    Peer,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Wire => "W",
            Self::Host => "T",
            Self::Peer => "P",
        })
    }
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All arrived, and the end of it: what happened was no fault, or was mended in time.
    Completed,
    /// An error of the outer layer.
    Outer,
    /// An error of the inner layer.
    Inner,
    /// An error of the transport.
    Transport,
    /// Complete data, and word that the outer layer did not end as it should.
    Unclean,
    /// Nothing, as nothing came: no word, no data, no error.
    Pending,
    /// Nobody noticed, and the list of what may pass has it.
    Allowed,
}

const COLUMNS: [&str; 7] =
    ["completed", "outer error", "inner error", "transport", "unclean", "pending", "allowed"];

/// Cells so far, by place, fault and outcome.
#[derive(Default)]
pub struct Tally {
    rows: BTreeMap<(Place, &'static str), [usize; COLUMNS.len()]>,
    failed: Vec<String>,
}

/// After so many failed cells the rest says nothing new.
const ENOUGH: usize = 25;

impl Tally {
    /// Run one cell, and count its outcome; `None` where the fault had nothing to strike. What
    /// fails is kept with what `cell` says of itself, and told when the table is.
    pub fn cell(
        &mut self,
        place: Place,
        fault: &'static str,
        cell: impl Debug,
        run: impl FnOnce() -> Option<Outcome>,
    ) {
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(None) => {}
            Ok(Some(outcome)) => self.count(place, fault, outcome),
            Err(panic) => {
                let said = panic.downcast_ref::<String>().map(String::as_str);
                let said = said.or_else(|| panic.downcast_ref().copied()).unwrap_or_default();
                self.failed.push(format!("{place} {fault}: {cell:?}\n    {said}"));
                assert!(self.failed.len() < ENOUGH, "{}", self.failed.join("\n"));
            }
        }
    }

    pub fn count(&mut self, place: Place, fault: &'static str, outcome: Outcome) {
        self.rows.entry((place, fault)).or_default()[outcome as usize] += 1;
    }

    /// How many cells there were.
    pub fn cells(&self) -> usize {
        self.rows.values().flatten().sum::<usize>() + self.failed.len()
    }

    /// Print the table, past the capture of tests: its totals are what is quoted.
    ///
    /// # Panics
    /// If a cell failed.
    pub fn finish(self, what: &str) {
        let mut table = format!("\n{what}\n{:44}", "place, fault");
        for column in COLUMNS {
            let _ = write!(table, "{column:>12}");
        }
        let _ = writeln!(table, "{:>12}", "cells");
        let mut all = [0; COLUMNS.len()];
        let row = |head: &str, row: &[usize]| {
            let cells: String = row.iter().map(|n| format!("{n:>12}")).collect();
            format!("{head:44}{cells}{:>12}\n", row.iter().sum::<usize>())
        };
        for ((place, fault), counts) in &self.rows {
            table += &row(&format!("{place} {fault}"), counts);
            all.iter_mut().zip(counts).for_each(|(all, n)| *all += n);
        }
        table += &row("all", &all);
        let _ = std::io::stderr().write_all(table.as_bytes());
        let failed = self.failed;
        assert!(failed.is_empty(), "{} cells failed:\n{}", failed.len(), failed.join("\n"));
    }
}

/// Whether the whole of a sweep is asked for, and not the sample of it that every run takes.
pub fn whole() -> bool {
    std::env::var("NESTED_TLS_SWEEP").is_ok_and(|what| what == "all")
}

/// The seed of a sweep: other connections than usual where `SEED` says so.
pub fn base_seed() -> u64 {
    std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0)
}
