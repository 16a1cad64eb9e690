//! Options that hold for a whole server: how much it takes on, and how it ends.

use core::time::Duration;

use clap::{Args, value_parser};

use super::gate::Gate;
use super::log::{Log, LogFormat};
use super::net::{self, Endpoint};

/// As many connections as anybody needs who does not say so.
const CONNECTIONS: u32 = 4096;

/// Descriptors that belong to no connection.
const RESERVE: u64 = 64;

/// How a server is run.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(next_help_heading = "Operation")]
pub(crate) struct Operation {
    /// Serve at most so many connections at once; more wait in the listen queue until others end [default: 4096, or what
    /// the limit on open files allows]
    ///
    /// In the listen queue of the system a connection costs nothing here and is served as soon as there is room, so that a
    /// burst is late instead of refused; a client that does not want to wait has its own time limit. That the limit was
    /// reached is logged once, not per connection.
    #[arg(long, value_name = "COUNT", value_parser = value_parser!(u32).range(1..=1_000_000))]
    max_connections: Option<u32>,
    /// Shake hands with at most so many clients at once; more wait likewise
    #[arg(long, value_name = "COUNT", default_value = "512", value_parser = value_parser!(u32).range(1..=1_000_000))]
    max_handshakes: u32,
    /// Let at most so many KiB wait in each direction of each socket; 0 leaves that to the system
    ///
    /// What a peer does not read waits in the system's memory, which is given out in megabytes and shared by all: with a
    /// hundred clients that do not read, it can be used up, and everybody is slow. Over long distances more is faster: a
    /// connection carries so much in a round trip.
    #[arg(long, value_name = "KIB", default_value = "256", value_parser = value_parser!(u32).range(..=1_000_000))]
    pub(crate) socket_buffer: u32,
    /// Close a connection on which nothing passes in either direction for so long, handshakes done [default: never]
    ///
    /// Clients of an HSM are silent for hours, and one that has vanished is found by TCP keep-alive: set it where clients
    /// are not trusted to go.
    #[arg(long, value_name = "SECONDS", value_parser = net::seconds)]
    pub(crate) idle: Option<Duration>,
    /// On SIGTERM or SIGINT, how long connections may go on; then their layers are closed
    ///
    /// Nothing more is accepted meanwhile. A second signal ends the program at once. The exit status is 0.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = net::seconds_or_none)]
    pub(crate) drain: Duration,
    /// Serve counters for Prometheus at http://ADDR/metrics; port 0 takes a free one
    ///
    /// There is no TLS there, and no secret: keep it to addresses that only the operator reaches.
    #[arg(long, value_name = "ADDR")]
    pub(crate) metrics: Option<Endpoint>,
    /// How to write the log on standard error; --json implies json
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
}

impl Default for Operation {
    fn default() -> Self {
        Self {
            max_connections: None,
            max_handshakes: 512,
            socket_buffer: 256,
            idle: None,
            drain: Duration::from_secs(5),
            metrics: None,
            log_format: LogFormat::Text,
        }
    }
}

impl Operation {
    /// The gate for connections that need `descriptors` each: no more of them than the system has descriptors for, because
    /// a connection in the listen queue is better off than one that fails half-way.
    pub(crate) fn gate(&self, descriptors: u64, log: Log) -> Gate {
        let room = open_files()
            .map_or(u64::MAX, |files| (files.saturating_sub(RESERVE) / descriptors).max(1));
        let wanted = u64::from(self.max_connections.unwrap_or(CONNECTIONS));
        if self.max_connections.is_some() && wanted > room {
            log.warn("limit", &format!(
                "the limit on open files allows {room} connections at once, not {wanted}: raise it (ulimit -n)"
            ));
        }
        let size = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        Gate::new(size(wanted.min(room)), size(self.max_handshakes.into()))
    }
}

/// How many descriptors this process may have, once it has asked for all that it can get.
#[cfg(unix)]
fn open_files() -> Option<u64> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, ..limit };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    }
}

#[cfg(not(unix))]
fn open_files() -> Option<u64> {
    None
}
