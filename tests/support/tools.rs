//! Programs of the system that tests talk to.

use std::env;
use std::process::{Command, Stdio};

/// Whether `program` is there. Says so if not; where the variable `CI` is set it must be.
pub fn have(program: &str) -> bool {
    let found = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .and_then(|mut child| child.wait())
        .is_ok();
    if !found {
        skip(&format!("{program} is not installed"));
    }
    found
}

/// Say that a test is skipped, and why; where the variable `CI` is set that is a failure.
pub fn skip(reason: &str) {
    assert!(env::var_os("CI").is_none(), "nothing may be skipped here: {reason}");
    println!("SKIPPED: {reason}");
}
