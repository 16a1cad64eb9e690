//! `--config`: the options of `serve` and `relay` from a TOML file.
//!
//! A key is an option's name, and its value goes where the command line's goes: what it means is decided there alone.
//! What stands above the first `[[listener]]` holds for all listeners, unless one says otherwise.

use core::ops::Range;
use std::collections::BTreeMap;
use std::path::Path;

use clap::error::ContextKind;
use clap::{Arg, ArgAction, Args as _};
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::failure::{self, Failure};
use super::files;
use super::operation::Operation;
use super::server;

/// The tables of listeners.
const LISTENER: &str = "listener";

/// Options of the command line alone.
const NOT_HERE: [&str; 3] = ["config", "help", "once"];

/// Reads a file: one command for each listener.
pub(crate) fn read<C: server::Command>(path: &Path) -> Result<Vec<C>, Failure> {
    let bytes = files::read(path, "the file of --config")?;
    let text = core::str::from_utf8(&bytes).map_err(|_| {
        Failure::usage("the file of --config is not text", "write it in UTF-8").at(path)
    })?;
    let refuse = |Refusal { at, reason, remedy }: Refusal| {
        let line = 1 + text.get(..at.start).unwrap_or(text).matches('\n').count();
        Failure::usage(format!("{reason}, in line {line}"), remedy).at(path)
    };
    commands::<C>(text).map_err(refuse)
}

/// What is wrong, and where.
struct Refusal {
    at: Range<usize>,
    reason: String,
    remedy: String,
}

impl Refusal {
    fn new(at: Range<usize>, reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { at, reason: reason.into(), remedy: remedy.into() }
    }
}

/// Options by name: where each stands, and what the command line would say.
type Options = BTreeMap<String, (Range<usize>, Vec<String>)>;

fn commands<C: server::Command>(text: &str) -> Result<Vec<C>, Refusal> {
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().unwrap_or_default();
        let begin = text.get(..at.start).unwrap_or(text).rfind('\n').map_or(0, |end| end + 1);
        let key =
            text.get(begin..).unwrap_or_default().split(['=', '\n']).next().unwrap_or_default();
        Refusal::new(
            at,
            format!("{}, at {:?}", error.message().replace('\n', ", "), key.trim()),
            "see https://toml.io for how TOML is written",
        )
    })?;
    let command = C::augment_args(clap::Command::new(C::NAME)).no_binary_name(true);
    let (mut shared, mut listeners) = (Options::new(), Vec::new());
    for (key, value) in table.get_ref() {
        match value.get_ref() {
            DeValue::Array(tables) if key.get_ref() == LISTENER => {
                for table in tables.iter() {
                    let DeValue::Table(options) = table.get_ref() else {
                        return Err(Refusal::new(
                            table.span(),
                            "a listener is a table",
                            "write [[listener]]",
                        ));
                    };
                    listeners.push((table.span(), options));
                }
            }
            DeValue::Table(_) if key.get_ref() == LISTENER => {
                let reason = format!("{LISTENER:?} stands in one pair of brackets");
                return Err(Refusal::new(key.span(), reason, "write [[listener]]"));
            }
            _ => drop(shared.insert(key.get_ref().to_string(), given(&command, key, value)?)),
        }
    }
    let whole = C::Watch::augment_args(Operation::augment_args(clap::Command::new("")));
    let mut all = Vec::new();
    for (at, table) in &listeners {
        let mut options = shared.clone();
        for (key, value) in *table {
            let given = given(&command, key, value)?;
            if whole.get_arguments().any(|option| option.get_long() == Some(key.get_ref())) {
                let reason = format!("{:?} is not of one listener", key.get_ref());
                return Err(Refusal::new(
                    key.span(),
                    reason,
                    "write it above the first [[listener]]",
                ));
            }
            options.insert(key.get_ref().to_string(), given);
        }
        all.push(parse(&command, at.clone(), options)?);
    }
    if all.is_empty() {
        all.push(parse(&command, 0..0, shared)?);
    }
    Ok(all)
}

/// What the command line would say in place of a key and its value.
fn given(
    command: &clap::Command,
    key: &Spanned<DeString<'_>>,
    value: &Spanned<DeValue<'_>>,
) -> Result<(Range<usize>, Vec<String>), Refusal> {
    let name: &str = key.get_ref();
    let known = |option: &&Arg| option.get_long() == Some(name) && !NOT_HERE.contains(&name);
    let Some(option) = command.get_arguments().find(known) else {
        let remedy = format!(
            "a key is an option of `nested-tls {} --help` without its dashes",
            command.get_name()
        );
        return Err(Refusal::new(key.span(), format!("unknown key {name:?}"), remedy));
    };
    let wanted = |what: &str| {
        let found = value.get_ref().type_str();
        let reason = format!("the value of {name:?} is of type {found}");
        Err(Refusal::new(value.span(), reason, format!("write {what}")))
    };
    let words = match (option.get_action(), value.get_ref()) {
        (ArgAction::SetTrue, DeValue::Boolean(true)) => vec![format!("--{name}")],
        (ArgAction::SetTrue, DeValue::Boolean(false)) => Vec::new(),
        (ArgAction::SetTrue, _) => return wanted("true or false"),
        (ArgAction::Append, DeValue::Array(values)) => {
            let texts = values.iter().map(|value| text_of(value.get_ref()));
            match texts.collect::<Option<Vec<_>>>() {
                Some(texts) => texts.iter().map(|text| format!("--{name}={text}")).collect(),
                None => return wanted("strings between the brackets"),
            }
        }
        (_, value) => match text_of(value) {
            Some(text) => vec![format!("--{name}={text}")],
            None => return wanted("a string or a number"),
        },
    };
    Ok((key.span(), words))
}

fn text_of(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Hands the options of one listener, whose table is at `at`, to the command line.
fn parse<C: server::Command>(
    command: &clap::Command,
    at: Range<usize>,
    options: Options,
) -> Result<C, Refusal> {
    let words = options.values().flat_map(|(_, words)| words);
    let parsed = command
        .clone()
        .try_get_matches_from(words)
        .and_then(|mut matches| C::from_arg_matches_mut(&mut matches));
    parsed.map_err(|error| {
        // `--timeout <SECONDS>` where it is about one.
        let about = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
        let name = about.trim_start_matches("--").split([' ', '=']).next().unwrap_or_default();
        let at = options.get(name).map_or(at, |(at, _)| at.clone());
        Refusal::new(at, failure::of_options(&error), "correct the value, or see --help")
    })
}
