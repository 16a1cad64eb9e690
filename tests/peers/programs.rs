//! The peers that are programs: how each is built and started, and what it can't do.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::peer::Can;
use crate::process::Process;
use crate::tools;

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/programs").join(name)
}

/// Whether `program`, which has its own way to tell its version, is there; says so if not.
pub(crate) fn have(program: &str, version: &[&str]) -> bool {
    let found = Command::new(program).args(version).output().is_ok();
    if !found {
        tools::skip(&format!("{program} is not installed"));
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

/// JSSE, run from its source.
pub(crate) fn java() -> Option<Process> {
    have("java", &["--version"]).then(|| {
        let mut command = Command::new("java");
        command.arg("-XX:TieredStopAtLevel=1").arg(source("Peer.java"));
        // It answers close_notify by itself in TLS 1.2, on either layer, and has no padding.
        let can = Can {
            half_close_by_tls12: false,
            leave_outer: false,
            pad: false,
            hurry: false,
            ..Can::ALL
        };
        Process::start(command, can)
    })
}

/// Go's own TLS. The end of its input is an end to it, cut or not.
pub(crate) fn go() -> Option<Process> {
    have("go", &["version"]).then(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let program = target.join("peer-go");
        let status = Command::new("go")
            .args(["build", "-o"])
            .arg(&program)
            .arg(source("peer.go"))
            .env("GO111MODULE", "off")
            .env("GOCACHE", target.join("go-cache"))
            .status();
        assert!(status.unwrap().success(), "peer.go does not compile");
        let can = Can { update_keys: false, pad: false, tell_truncation: false, ..Can::ALL };
        Process::start(Command::new(program), can)
    })
}

/// GnuTLS, where its headers are.
pub(crate) fn gnutls() -> Option<Process> {
    // It bears eight in a second, and calls a request that crosses its own an illegal parameter.
    let can = Can { most_updates: 5, crossing_updates: false, ..Can::ALL };
    library("gnutls", "gnutls/gnutls.h", can)
}

/// wolfSSL, where its headers are.
pub(crate) fn wolfssl() -> Option<Process> {
    library("wolfssl", "wolfssl/ssl.h", Can { pad: false, ..Can::ALL })
}

/// A library in C, between `peer.c` and `NAME.c`.
fn library(name: &str, header: &str, can: Can) -> Option<Process> {
    if !have("cc", &["--version"]) {
        return None;
    }
    let headers =
        Command::new("cc").args(["-E", "-include", header, "-x", "c", "/dev/null"]).output();
    if !headers.unwrap().status.success() {
        tools::skip(&format!("{header} is not installed"));
        return None;
    }
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("peer-{name}"));
    let status = Command::new("cc")
        .args(["-std=gnu11", "-O1", "-Wall", "-Wextra", "-o"])
        .arg(&program)
        .arg(source("peer.c"))
        .arg(source(&format!("{name}.c")))
        .arg(format!("-l{name}"))
        .status();
    assert!(status.unwrap().success(), "{name}.c does not compile");
    Some(Process::start(Command::new(program), can))
}

/// Node's `tls`.
pub(crate) fn node() -> Option<Process> {
    tools::have("node").then(|| {
        let mut command = Command::new("node");
        command.arg(source("peer.js"));
        let can = Can {
            tell_truncation: false,
            outer_pieces: false,
            update_keys: false,
            pad: false,
            close_outer: false,
            lingers: false,
            alert: false,
            ..Can::ALL
        };
        Process::start(command, can)
    })
}
