//! The peers that are programs: how each is built and started, and what it can't do.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::peer::Can;
use crate::process::Process;
use crate::table::say;
use crate::tools;

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/programs").join(name)
}

/// Whether `program` is there; where it is not, says so. Nobody is asked to install these.
pub(crate) fn have(program: &str, version: &[&str]) -> bool {
    let found = Command::new(program).args(version).output().is_ok();
    if !found {
        say(&format!("SKIPPED: {program} is not installed"));
    }
    found
}

pub(crate) fn python() -> Option<Process> {
    tools::have("python3").then(|| {
        let mut command = Command::new("python3");
        command.arg(source("peer.py"));
        Process::start(command, Can::ALL)
    })
}
