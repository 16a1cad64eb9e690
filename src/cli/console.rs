//! What the program prints: text or JSON, colour on terminals only, and never a panic when nobody reads.

use core::pin::pin;
use core::time::Duration;
use std::env;
use std::io::{self, ErrorKind, IsTerminal as _, Write as _};
use std::sync::OnceLock;

use serde_json::Value;

use super::failure::Failure;
use super::files::words;

/// Work that takes longer than this says what it waits for.
const SLOW: Duration = Duration::from_secs(1);

/// Most lines are the last that their writer does: whether all were printed is asked once, in the end.
static UNPRINTED: OnceLock<String> = OnceLock::new();

/// Where and how to print.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Console {
    pub(crate) json: bool,
    /// Only failures.
    pub(crate) quiet: bool,
}

/// One of the two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    Stdout,
    Stderr,
}

impl Console {
    /// Prints a line, and says whether anybody reads.
    pub(crate) fn line(self, to: To, text: &str) -> io::Result<()> {
        match to {
            To::Stdout => {
                let mut out = io::stdout().lock();
                let printed = writeln!(out, "{text}").and_then(|()| out.flush());
                if let Err(error) = &printed {
                    // A reader that has had enough misses nothing.
                    if error.kind() != ErrorKind::BrokenPipe {
                        UNPRINTED.get_or_init(|| words(error));
                    }
                }
                printed
            }
            To::Stderr => writeln!(io::stderr().lock(), "{text}"),
        }
    }

    /// What kept a line from standard output, if any was.
    pub(crate) fn unprinted() -> Option<Failure> {
        let reason = format!("the output can't be written: {}", UNPRINTED.get()?);
        Some(Failure::usage(reason, "check where standard output goes"))
    }

    /// A line for people, on standard error.
    pub(crate) fn note(self, text: &str) {
        if !self.quiet && !self.json {
            let _ = self.line(To::Stderr, text);
        }
    }

    /// A line for people, or an object for programs.
    pub(crate) fn tell(self, to: To, text: impl FnOnce() -> String, value: impl FnOnce() -> Value) {
        if self.quiet && to == To::Stderr {
            return;
        }
        let text = if self.json { value().to_string() } else { text() };
        let _ = self.line(to, &text);
    }

    /// A failure, on standard error.
    pub(crate) fn fail(self, failure: &Failure) {
        let text = match self.json {
            true => failure.to_json().to_string(),
            false => format!("{} {failure}", self.red(To::Stderr, "error:")),
        };
        let _ = self.line(To::Stderr, &text);
    }

    pub(crate) fn bold(self, to: To, text: &str) -> String {
        self.paint(to, "1", text)
    }

    pub(crate) fn green(self, to: To, text: &str) -> String {
        self.paint(to, "32", text)
    }

    pub(crate) fn red(self, to: To, text: &str) -> String {
        self.paint(to, "31", text)
    }

    fn paint(self, to: To, code: &str, text: &str) -> String {
        let terminal = match to {
            To::Stdout => io::stdout().is_terminal(),
            To::Stderr => io::stderr().is_terminal(),
        };
        // <https://no-color.org>: "when present and not an empty string"
        let unwanted = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || env::var_os("TERM").is_some_and(|term| term == "dumb");
        if terminal && !unwanted && !self.json {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.into()
        }
    }

    /// Does `work`, and says what it is if that takes longer than a moment.
    pub(crate) async fn progress<R>(self, what: &str, work: impl Future<Output = R>) -> R {
        let mut work = pin!(work);
        if let Ok(result) = tokio::time::timeout(SLOW, &mut work).await {
            return result;
        }
        self.note(&format!("{what} ..."));
        work.await
    }
}
