//! `trace`: the picture of what `--trace` has written.

mod file;
mod story;
mod svg;

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;

use super::console::{Console, To};
use super::failure::Failure;
use super::files::words;
pub(crate) use file::{ConnectionTrace, TraceFile};
use story::Story;

/// Draw what --trace has written: a sequence diagram of both layers.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  nested-tls demo --trace demo.json && nested-tls trace demo.json --svg demo.svg")]
pub(crate) struct Trace {
    /// A file that --trace has written
    #[arg(value_name = "FILE.json")]
    file: PathBuf,
    /// Where the picture goes; - is standard output
    #[arg(long, value_name = "OUT.svg", required_unless_present = "html")]
    svg: Option<PathBuf>,
    /// Where it goes as a page for browsers; - is standard output
    #[arg(long, value_name = "OUT.html")]
    html: Option<PathBuf>,
    /// Which connection of the file
    #[arg(long, value_name = "NUMBER", default_value = "1")]
    connection: u64,
}

impl Trace {
    pub(crate) fn run(self, json: bool) -> Result<(), Failure> {
        let text = fs::read_to_string(&self.file).map_err(|error| {
            let reason = format!("the trace can't be read: {}", words(&error));
            Failure::usage(reason, "check the path").at(&self.file)
        })?;
        let story = story(&text, self.connection).map_err(|failure| failure.at(&self.file))?;
        let picture = svg::draw(&story);
        if let Some(path) = &self.svg {
            write(path, &picture, json)?;
        }
        if let Some(path) = &self.html {
            write(path, &page(&picture), json)?;
        }
        Ok(())
    }
}

/// A page that shows a picture, and needs nothing besides.
fn page(picture: &str) -> String {
    format!("<!doctype html>\n<meta charset=\"utf-8\">\n<title>nested-tls</title>\n{picture}")
}

fn write(path: &Path, what: &str, json: bool) -> Result<(), Failure> {
    if path == Path::new("-") {
        // What keeps it from being printed is told in the end.
        let _ = Console { json, quiet: false }.line(To::Stdout, what.trim_end());
        return Ok(());
    }
    fs::write(path, what).map_err(|error| {
        let reason = format!("the picture can't be written: {}", words(&error));
        Failure::usage(reason, "name a file that this user may write").at(path)
    })
}

/// What the lines of a trace say about one connection.
fn story(text: &str, connection: u64) -> Result<Story, Failure> {
    let mut story = Story::default();
    let (mut begun, mut found) = (false, false);
    let whole = text.ends_with('\n');
    let count = text.lines().count();
    for (place, line) in text.lines().enumerate() {
        let value: Value = match serde_json::from_str(line) {
            Ok(value) => value,
            // Its writer was killed in the middle of it.
            Err(_) if place + 1 == count && !whole && begun => break,
            Err(error) => {
                let reason = format!("line {} is not JSON: {error}", place + 1);
                return Err(Failure::usage(reason, REMEDY));
            }
        };
        if place == 0 {
            begun = value["event"] == "begin" && value["schema"] == file::SCHEMA;
            if !begun {
                return Err(Failure::usage("this is no trace that this program reads", REMEDY));
            }
            story.command = value["command"].as_str().unwrap_or_default().into();
        } else if value["connection"] == connection {
            found |= value["event"] == "connection";
            story.tell(&value);
        }
    }
    match (begun, found) {
        (true, true) => Ok(story.finish()),
        (true, false) => {
            let reason = format!("there is no connection {connection} in the trace");
            let remedy = "give --connection the number of one that is there; there is none where TCP was refused";
            Err(Failure::usage(reason, remedy))
        }
        (false, _) => Err(Failure::usage("the trace is empty", REMEDY)),
    }
}

const REMEDY: &str = "name a file that --trace of this version has written";
