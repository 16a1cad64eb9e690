//! `relay`: the host, which terminates the outer layer and forwards what it can't read.

use core::pin::pin;
use core::time::Duration;
use std::path::{Path, PathBuf};

use clap::Args;
use nested_tls::{Layer, Session};
use tokio::io::{AsyncRead, AsyncWrite};

use super::config::ServerLayer;
use super::diagnosis::Broken;
use super::failure::Failure;
use super::link::Link;
use super::log::Log;
use super::net::{self, Endpoint};
use super::operation::Operation;
use super::options::{Outer, ServerOptions};
use super::pump::{AfterPeer, Ending, Flow, pump};
use super::report::LayerReport;
use super::server::{Accepted, Command, Service, run};
use super::watch::{Watch, WatchOptions};
use super::wire::Watched;

/// Be the host: terminate the outer layer, forward the inner one untouched.
///
/// Prints `listening on ADDR` first. The end of either direction is passed on as such.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  nested-tls relay --listen 0.0.0.0:2223 --forward 10.0.0.9:2224 --outer-cert host.crt \\
    --outer-key host.key --outer-client-ca customerCA.crt --metrics 127.0.0.1:9100
  # many listeners: keys are options without their dashes, and what stands first holds for all
  nested-tls relay --config relays.toml
    metrics = \"127.0.0.1:9100\"
    outer-cert = \"host.crt\"
    outer-key = \"host.key\"
    [[listener]]
    listen = \"0.0.0.0:2223\"
    forward = \"10.0.0.9:2224\"
    [[listener]]
    listen = \"0.0.0.0:2225\"
    forward = \"10.0.0.10:2224\"

SIGHUP reads certificates, keys, trust and the file of --config again, for new connections.")]
pub(crate) struct Relay {
    /// Take the options from this TOML file, which may have many listeners; see the examples
    #[arg(long, value_name = "FILE", exclusive = true)]
    config: Option<PathBuf>,
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", required_unless_present = "config")]
    listen: Option<Endpoint>,
    /// Where the inner layer is terminated
    #[arg(long, value_name = "ADDR", required_unless_present = "config")]
    forward: Option<Endpoint>,
    /// Serve one connection, and exit with its status
    #[arg(long)]
    once: bool,
    /// How long the outer handshake may take, and how long connecting to --forward may
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = net::seconds)]
    timeout: Duration,
    #[command(flatten)]
    watch: WatchOptions,
    #[command(flatten)]
    operation: Operation,
    #[command(flatten)]
    outer: Outer<ServerOptions>,
}

impl Relay {
    pub(crate) async fn run(self, json: bool) -> Result<(), Failure> {
        run(self, json).await
    }
}

impl Command for Relay {
    const NAME: &'static str = "relay";
    type Watch = WatchOptions;
    type Service = Host;

    fn config(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    fn listen(&self) -> Option<&Endpoint> {
        self.listen.as_ref()
    }

    fn once(&self) -> bool {
        self.once
    }

    fn operation(&self) -> &Operation {
        &self.operation
    }

    fn watch(&self) -> &WatchOptions {
        &self.watch
    }

    fn open(&self) -> Result<Watch, Failure> {
        self.watch.open(Self::NAME)
    }

    fn load(mut self, watch: Watch, log: Log) -> Result<Host, Failure> {
        watch.secrets(Layer::Outer, &mut self.outer.0.common);
        let missing = || Failure::usage("nothing says where to forward to", "give --forward");
        Ok(Host {
            outer: ServerLayer::load(Layer::Outer, self.outer.0)?,
            forward: self.forward.ok_or_else(missing)?,
            timeout: self.timeout,
            socket_buffer: self.operation.socket_buffer,
            watch,
            log,
        })
    }
}

pub(crate) struct Host {
    outer: ServerLayer,
    forward: Endpoint,
    timeout: Duration,
    socket_buffer: u32,
    watch: Watch,
    log: Log,
}

impl Service for Host {
    const DESCRIPTORS: u64 = 2;

    async fn serve(&self, accepted: Accepted) -> Result<(), Failure> {
        let Accepted { number, tcp, peer, handshake, stage, idle, metrics } = accepted;
        let [outer] = self.watch.connection(number, &tcp, [self.outer.setup()?], false);
        let setups = [&outer];
        let mut link = Link::single(&outer, tcp).map_err(|broken| broken.explain(&setups))?;
        let flow = Flow::of(metrics.clone());
        let served = async {
            let shaken = link.handshake(self.timeout).await;
            drop(handshake);
            metrics.handshakes(&[Layer::Outer], link.times, &shaken);
            shaken?;
            let layer = LayerReport::new(link.machine(), &outer, link.times.outer);
            self.log.established(number, &peer, &[layer]);
            let pulse = link.pulse();
            let forward = net::connect(&self.forward, self.timeout).await;
            let forward = forward.map_err(Broken::Unreachable)?;
            net::bound(&forward, self.socket_buffer);
            let (input, output) = forward.into_split();
            let input = Watched::new(input, outer.peel.clone());
            let output = Watched::new(output, outer.peel.clone());
            let forwarded = pin!(forward_both(&mut link, input, output, self.timeout, &flow));
            pulse.unless_idle(idle, forwarded).await
        };
        let result = stage.before_closing(served).await;
        match &result {
            // An end that the target did not make must not look like one that it made.
            Some(Err(Broken::Input(_))) => link.abandon().await,
            _ => drop(link.finish().await),
        }
        if let Some(Err(broken)) = result {
            return Err(match broken {
                Broken::Input(error) | Broken::Output(error) => Broken::Transport(error),
                broken => broken,
            }
            .explain(&setups));
        }
        self.log.ended(number, flow.sent(), flow.received());
        Ok(())
    }
}

/// The outer layer's plaintext to what stands behind the host, and back.
pub(crate) async fn forward_both(
    link: &mut Link<Session>,
    input: impl AsyncRead + Unpin,
    output: impl AsyncWrite + Unpin,
    limit: Duration,
    flow: &Flow,
) -> Result<(), Broken> {
    let ending = Ending { with_output: false, half_close: true, after_peer: AfterPeer::Forever };
    pump(link, input, output, ending, limit, flow).await
}
