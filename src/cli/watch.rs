//! What is written down of connections for those who look at them later: key log, trace and capture.

use core::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, io};

use clap::Args;
use nested_tls::{Layer, Role, Traced, Tracer};
use rustls::KeyLog;
use tokio::net::TcpStream;

use super::config::Setup;
use super::failure::Failure;
use super::keylog::KeyFile;
use super::net::shown;
use super::options::CommonOptions;
use super::pcap::{Capture, Conversation, Peel};
use super::trace::{ConnectionTrace, TraceFile};

/// Where tools that speak TLS look for the name of a key log.
const KEYLOG_VARIABLE: &str = "SSLKEYLOGFILE";

/// The options.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct WatchOptions {
    /// Append the secrets of the layers that end here to this file, for Wireshark; without this option, to that of the
    /// environment variable SSLKEYLOGFILE, if it names one
    #[arg(long, value_name = "FILE")]
    keylog: Option<PathBuf>,
    /// Write to this file what passes, record by record, and nothing of what stands in it; `nested-tls trace` draws it
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Write the inner layer's TLS to this file, the outer layer peeled off, for Wireshark
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
}

/// The options where both layers end.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct WatchBoth {
    #[command(flatten)]
    watch: WatchOptions,
    /// Put the inner layer's secrets into the file of --pcap: whoever has it can read all that was said
    #[arg(long, requires = "pcap")]
    pcap_secrets: bool,
}

/// The files, open.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    keylog: Option<Arc<KeyFile>>,
    trace: Option<Arc<TraceFile>>,
    pcap: Option<Arc<Capture>>,
}

impl WatchOptions {
    /// Opens the files of `command`.
    pub(crate) fn open(&self, command: &str) -> Result<Watch, Failure> {
        self.open_with(command, false)
    }

    fn open_with(&self, command: &str, pcap_secrets: bool) -> Result<Watch, Failure> {
        let [a, b, c] = [&self.keylog, &self.trace, &self.pcap];
        let same = |one: &Option<PathBuf>, other| one.is_some() && one == other;
        if same(a, b) || same(a, c) || same(b, c) {
            let reason = "--keylog, --trace and --pcap would write to one file";
            return Err(Failure::usage(reason, "name a file for each"));
        }
        let keylog = self.open_keylog()?;
        let trace = self.trace.as_deref().map(|path| TraceFile::create(path, command));
        let pcap = self.pcap.as_deref().map(|path| Capture::create(path, pcap_secrets));
        Ok(Watch { keylog, trace: trace.transpose()?, pcap: pcap.transpose()? })
    }

    fn open_keylog(&self) -> Result<Option<Arc<KeyFile>>, Failure> {
        if let Some(path) = &self.keylog {
            return KeyFile::open(path, "the file of --keylog").map(Some);
        }
        let named = env::var_os(KEYLOG_VARIABLE).filter(|path| !path.is_empty());
        let what = format!("the file of the variable {KEYLOG_VARIABLE}");
        named.map(|path| KeyFile::open(Path::new(&path), &what)).transpose()
    }
}

impl WatchBoth {
    /// The key log of these alone: other files have one writer.
    pub(crate) fn only_keylog(self) -> Self {
        let watch = WatchOptions { keylog: self.watch.keylog, ..WatchOptions::default() };
        Self { watch, pcap_secrets: false }
    }

    /// Opens the files of `command`.
    pub(crate) fn open(&self, command: &str) -> Result<Watch, Failure> {
        self.watch.open_with(command, self.pcap_secrets)
    }
}

impl Watch {
    /// Has the secrets of a layer written down.
    pub(crate) fn secrets(&self, layer: Layer, options: &mut CommonOptions) {
        let mut logs: Vec<Arc<dyn KeyLog>> = Vec::new();
        if let Some(file) = &self.keylog {
            logs.push(file.clone());
        }
        if let (Some(capture), Layer::Inner) = (&self.pcap, layer) {
            logs.push(capture.clone());
        }
        if !logs.is_empty() {
            options.keylog = Some(Arc::new(KeyLogs(logs)));
        }
    }

    /// Has a connection written down, whose layers are `setups`, the outer one first; an inner one follows a preamble or
    /// not.
    pub(crate) fn connection<const N: usize>(
        &self,
        number: u64,
        tcp: &TcpStream,
        setups: [Setup; N],
        preamble: bool,
    ) -> [Setup; N] {
        let (local, peer) = (tcp.local_addr(), tcp.peer_addr());
        let capture = self.pcap.as_ref().map(|capture| {
            let is_client = setups.first().is_some_and(is_client);
            let ends = [&local, &peer].map(known);
            let [client, server] = if is_client { ends } else { [ends[1], ends[0]] };
            capture.conversation(client, server, is_client)
        });
        let trace = self.trace.as_ref().map(|trace| {
            let layers = setups.iter().map(|setup| (setup.layer, is_client(setup)));
            trace.connection(number, &shown(local), &shown(peer), layers, preamble)
        });
        if capture.is_none() && trace.is_none() {
            return setups;
        }
        let told = Arc::new(Told { trace, capture });
        setups.map(|setup| told.watch(setup))
    }
}

fn is_client(setup: &Setup) -> bool {
    matches!(setup.role, Role::Client { .. })
}

/// A socket knows its addresses; if not, the capture is good all the same.
fn known(address: &io::Result<SocketAddr>) -> SocketAddr {
    address.as_ref().map_or_else(|_| (Ipv4Addr::UNSPECIFIED, 0).into(), |address| *address)
}

/// Several key logs in the place of one.
#[derive(Debug)]
struct KeyLogs(Vec<Arc<dyn KeyLog>>);

impl KeyLog for KeyLogs {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        for log in &self.0 {
            log.log(label, client_random, secret);
        }
    }
}

/// Those who are told of one connection.
struct Told {
    trace: Option<Arc<ConnectionTrace>>,
    capture: Option<Arc<Conversation>>,
}

impl Told {
    fn watch(self: &Arc<Self>, setup: Setup) -> Setup {
        if let Some(traced) = &self.trace {
            if let Some(own) = &setup.own {
                traced.presents(setup.layer, own.key.chain());
            }
            setup.witness.also_tell(setup.layer, traced.clone());
        }
        let peel = Peel(self.capture.clone());
        Setup { role: setup.role.traced_by(self.clone()), peel, ..setup }
    }
}

impl Tracer for Told {
    fn trace(&self, layer: Layer, traced: Traced<'_>) {
        if let Some(trace) = &self.trace {
            trace.trace(layer, traced);
        }
        if let (Some(capture), Layer::Inner, Traced::Established(_)) =
            (&self.capture, layer, traced)
        {
            capture.release();
        }
    }
}
