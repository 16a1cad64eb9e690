//! How the program ends badly: its exit status, and one sentence with layer, reason, expected and found, file, remedy.

use core::fmt;
use std::path::Path;
use std::process::ExitCode;

use nested_tls::{Layer, identity};
use serde_json::{Value, json};

/// What went wrong, by exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Status {
    /// What was asked for was looked at, and is not in order.
    Findings = 1,
    /// The command line, or a file that it names.
    Usage = 2,
    /// Names, addresses, TCP.
    Transport = 3,
    /// TLS of the outer layer.
    Outer = 4,
    /// TLS of the inner layer.
    Inner = 5,
    /// A layer ended without its peer's close_notify.
    Truncated = 6,
    /// What is said in the outer layer before, or around, the inner one.
    Framing = 7,
    /// A connection on which nothing passed; to a shell, an end of the transport.
    Idle,
}

impl Status {
    /// Where failures of a layer's TLS belong.
    pub(crate) fn of(layer: Layer) -> Self {
        match layer {
            Layer::Outer => Self::Outer,
            Layer::Inner => Self::Inner,
        }
    }

    /// The exit status.
    fn code(self) -> u8 {
        match self {
            Self::Idle => Self::Transport as u8,
            status => status as u8,
        }
    }
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status.code())
    }
}

/// Everything that a person needs to act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    status: Status,
    layer: Option<Layer>,
    reason: String,
    expected: Option<String>,
    found: Option<String>,
    file: Option<String>,
    remedy: String,
}

impl Failure {
    pub(crate) fn new(
        status: Status,
        reason: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            status,
            layer: None,
            reason: reason.into(),
            expected: None,
            found: None,
            file: None,
            remedy: remedy.into(),
        }
    }

    /// The command line asks for what can't be.
    pub(crate) fn usage(reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Status::Usage, reason, remedy)
    }

    /// A refused certificate, key or file.
    pub(crate) fn identity(status: Status, layer: Layer, error: &identity::Error) -> Self {
        Self::unlayered(status, error).on(layer)
    }

    /// The same about a file that belongs to no layer.
    pub(crate) fn unlayered(status: Status, error: &identity::Error) -> Self {
        let failure = Self::new(status, error.problem().as_str(), error.remedy())
            .compared(error.expected(), error.found());
        match error.file() {
            Some(file) => failure.in_file(file),
            None => failure,
        }
    }

    pub(crate) fn with_remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: remedy.into(), ..self }
    }

    /// Something else to look at.
    pub(crate) fn besides(self, error: &identity::Error) -> Self {
        let remedy = format!("{}; besides, see to {error}", self.remedy);
        self.with_remedy(remedy)
    }

    pub(crate) fn on(mut self, layer: Layer) -> Self {
        self.layer = Some(layer);
        self
    }

    pub(crate) fn compared(
        mut self,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        self.expected = Some(expected.into());
        self.found = Some(found.into());
        self
    }

    pub(crate) fn in_file(mut self, file: impl Into<String>) -> Self {
        self.file = Some(file.into());
        self
    }

    pub(crate) fn at(self, path: &Path) -> Self {
        self.in_file(path.display().to_string())
    }

    pub(crate) fn status(&self) -> Status {
        self.status
    }

    pub(crate) fn layer(&self) -> Option<Layer> {
        self.layer
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({ "error": {
            "status": self.status.code(),
            "layer": self.layer.map(|layer| layer.to_string()),
            "reason": self.reason,
            "expected": self.expected,
            "found": self.found,
            "file": self.file,
            "remedy": self.remedy,
        }})
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        if let Some(layer) = self.layer {
            text += &format!("{layer} TLS: ");
        }
        text += &self.reason;
        if let (Some(expected), Some(found)) = (&self.expected, &self.found) {
            text += &format!(": expected {expected}, found {found}");
        }
        if let Some(file) = &self.file {
            text += &format!(" ({file})");
        }
        text += &format!("; {}", self.remedy);
        f.write_str(&printable(&text))
    }
}

/// What is wrong with the options, in one sentence.
pub(crate) fn of_options(error: &clap::Error) -> String {
    let text = error.to_string();
    let reason = text.split("\n\n").next().unwrap_or_default();
    reason.trim_start_matches("error: ").replace("\n  ", " ")
}

/// What a peer sent must not reach the terminal as control sequences.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() })
        .collect()
}
