//! What is written down of connections for those who look at them later: key log and trace.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use nested_tls::Role;
use tokio::net::TcpStream;

use super::config::Setup;
use super::failure::Failure;
use super::keylog::KeyFile;
use super::net::shown;
use super::options::CommonOptions;
use super::trace::{TraceFile, Traced};

/// The options.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct WatchOptions {
    /// Append the secrets of the layers that end here to this file, for Wireshark
    #[arg(long, value_name = "FILE")]
    keylog: Option<PathBuf>,
    /// Write to this file what passes, record by record, and nothing of what stands in it; `nested-tls trace` draws it
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

/// The files, open.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    keylog: Option<Arc<KeyFile>>,
    trace: Option<Arc<TraceFile>>,
}

impl WatchOptions {
    /// Opens the files of `command`.
    pub(crate) fn open(&self, command: &str) -> Result<Watch, Failure> {
        let keylog = self.keylog.as_deref().map(KeyFile::open).transpose()?;
        let trace = self.trace.as_deref().map(|path| TraceFile::create(path, command));
        Ok(Watch { keylog, trace: trace.transpose()? })
    }
}

impl Watch {
    /// Has the secrets of a layer written down.
    pub(crate) fn secrets(&self, layer: &mut CommonOptions) {
        layer.keylog.clone_from(&self.keylog);
    }

    /// Has a connection written down, whose layers are `setups`; their inner one follows a preamble or not.
    pub(crate) fn connection<const N: usize>(
        &self,
        number: u64,
        tcp: &TcpStream,
        setups: [Setup; N],
        preamble: bool,
    ) -> [Setup; N] {
        let Some(trace) = &self.trace else { return setups };
        let (local, peer) = (shown(tcp.local_addr()), shown(tcp.peer_addr()));
        let layers = setups.iter().map(|setup| (setup.layer, is_client(setup)));
        let traced = trace.connection(number, &local, &peer, layers, preamble);
        setups.map(|setup| watched(setup, &traced))
    }
}

fn is_client(setup: &Setup) -> bool {
    matches!(setup.role, Role::Client { .. })
}

fn watched(setup: Setup, traced: &Arc<Traced>) -> Setup {
    if let Some(own) = &setup.own {
        traced.presents(setup.layer, own.key.chain());
    }
    setup.witness.also_tell(setup.layer, traced.clone());
    Setup { role: setup.role.traced_by(traced.clone()), ..setup }
}
