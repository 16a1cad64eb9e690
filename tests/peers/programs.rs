//! The peers that are programs: how each is built and started, and what it can't do.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::peer::Can;
use crate::process::Process;
use crate::tools::have;

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/programs").join(name)
}

pub(crate) fn python() -> Option<Process> {
    have("python3").then(|| {
        let mut command = Command::new("python3");
        command.arg(source("peer.py"));
        Process::start(command, Can::ALL)
    })
}
