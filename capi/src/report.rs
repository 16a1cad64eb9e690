//! A failure in words that C can print.

use std::ffi::{CStr, CString};
use std::fmt::Display;

use nested_tls::{ErrorKind, Misuse, identity};

use crate::status::{Field, Status};

/// What went wrong, each part a text of its own.
#[derive(Debug)]
pub(crate) struct Report {
    status: Status,
    texts: [CString; Field::ALL.len()],
}

impl Report {
    fn new(status: Status) -> Self {
        Self { status, texts: Default::default() }
    }

    fn with(mut self, field: Field, text: impl Display) -> Self {
        self.texts[field as usize] = printable(&text.to_string());
        self
    }

    /// Puts the parts together.
    fn done(self) -> Self {
        let part = |field| self.text(field).to_string_lossy();
        let (layer, phase) = (part(Field::Layer), part(Field::Phase));
        let mut message = String::new();
        if !layer.is_empty() {
            message += &format!("{layer} TLS");
            if !phase.is_empty() {
                message += &format!(" in the {phase} phase");
            }
            message += ": ";
        }
        message += &part(Field::Reason);
        let (expected, found) = (part(Field::Expected), part(Field::Found));
        if !expected.is_empty() || !found.is_empty() {
            message += &format!(": expected {expected}, found {found}");
        }
        if !self.text(Field::Remedy).is_empty() {
            message += &format!("; {}", part(Field::Remedy));
        }
        self.with(Field::Message, message)
    }

    /// A call with an argument that can't be right.
    pub(crate) fn argument(name: &str, expected: &str, found: &str) -> Self {
        Self::new(Status::Argument)
            .with(Field::Reason, format!("argument `{name}`"))
            .with(Field::Expected, expected)
            .with(Field::Found, found)
            .done()
    }

    /// A call at the wrong time.
    pub(crate) fn misuse(reason: &str, expected: &str, found: &str) -> Self {
        Self { status: Status::Misuse, ..Self::configuration(reason, expected, found) }
    }

    /// Settings that make no sense.
    pub(crate) fn configuration(reason: &str, expected: &str, found: &str) -> Self {
        Self::new(Status::Configuration)
            .with(Field::Reason, reason)
            .with(Field::Expected, expected)
            .with(Field::Found, found)
            .done()
    }

    /// A certificate, key or file of ours.
    pub(crate) fn identity(error: &identity::Error) -> Self {
        Self::new(Status::Configuration).refusal(error).done()
    }

    pub(crate) fn internal() -> Self {
        Self::new(Status::Internal)
            .with(Field::Reason, "a bug of the library")
            .with(Field::Remedy, "free the handle, and report what was written to standard error")
            .done()
    }

    /// A machine's failure, or its refusal of a call. `refusal` is what that layer's rule said of the peer.
    pub(crate) fn machine(error: &nested_tls::Error, refusal: Option<identity::Error>) -> Self {
        let report = Self::new(Status::of(error.kind()));
        if let ErrorKind::Misuse(misuse) = error.kind() {
            let report = report.with(Field::Reason, misuse);
            return match misuse {
                Misuse::Count { given, offered } => report
                    .with(Field::Expected, format!("at most {offered} bytes"))
                    .with(Field::Found, format!("{given}")),
                _ => report,
            }
            .done();
        }
        let report = report.with(Field::Layer, error.layer()).with(Field::Phase, error.phase());
        match (error.kind(), refusal) {
            (ErrorKind::Tls(rustls::Error::InvalidCertificate(_)), Some(refusal)) => {
                report.refusal(&refusal)
            }
            (ErrorKind::Tls(error), _) => report.with(Field::Reason, error),
            (ErrorKind::Truncated, _) => report
                .with(Field::Reason, "cut short")
                .with(Field::Expected, "the peer's close_notify")
                .with(Field::Found, "an end without it"),
            (ErrorKind::Limit { what, limit }, _) => report
                .with(Field::Reason, "a limit")
                .with(Field::Expected, format!("at most {limit} bytes of {what}"))
                .with(Field::Found, "more"),
            (ErrorKind::Framing(error), _) => report.with(Field::Reason, error),
            (ErrorKind::Canceled, _) => report.with(Field::Reason, "closed by this side"),
            (_, _) => report.with(Field::Reason, error),
        }
        .done()
    }

    fn refusal(self, error: &identity::Error) -> Self {
        let reason = match error.file() {
            Some(file) => format!("{file}: {}", error.problem()),
            None => error.problem().to_string(),
        };
        self.with(Field::Reason, reason)
            .with(Field::Expected, error.expected())
            .with(Field::Found, error.found())
            .with(Field::Remedy, error.remedy())
    }

    pub(crate) fn status(&self) -> Status {
        self.status
    }

    pub(crate) fn text(&self, field: Field) -> &CStr {
        &self.texts[field as usize]
    }
}

/// What a peer sent must not reach a terminal as control sequences, nor end a text.
fn printable(text: &str) -> CString {
    let escaped: String = text
        .chars()
        .map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() })
        .collect();
    CString::new(escaped).unwrap_or_default()
}
