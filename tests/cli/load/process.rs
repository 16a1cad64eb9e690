//! What a process takes from the system.

use std::fs;
use std::process::Child;

/// Resident memory now and at its highest, in KiB, and open descriptors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Figures {
    pub(super) resident: u64,
    pub(super) peak: u64,
    pub(super) descriptors: usize,
}

impl Figures {
    pub(super) fn of(child: &Child) -> Self {
        let id = child.id();
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().trim_end_matches(" kB").parse().unwrap()
        };
        Self {
            resident: field("VmRSS:"),
            peak: field("VmHWM:"),
            descriptors: fs::read_dir(format!("/proc/{id}/fd")).unwrap().count(),
        }
    }
}

/// Lets this process, and those that it starts, have as many descriptors as the system allows.
pub(super) fn raise_limit() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
