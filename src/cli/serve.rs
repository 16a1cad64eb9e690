//! `serve`: both layers terminated here.

use core::pin::pin;
use core::time::Duration;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use nested_tls::{Layer, Ports};
use tokio::io::AsyncWriteExt as _;

use super::config::ServerLayer;
use super::diagnosis::Broken;
use super::failure::Failure;
use super::link::Link;
use super::log::Log;
use super::net::{self, Endpoint};
use super::operation::Operation;
use super::options::{Inner, Outer, ServerOptions};
use super::pump::{AfterPeer, Ending, Flow, piece, pump};
use super::report::LayerReport;
use super::server::{Accepted, Command, Service, run};
use super::watch::{Watch, WatchBoth};

/// Terminate both layers here.
///
/// Prints `listening on ADDR` first. With --echo each client gets back what it sends; with --once alone the one connection
/// is joined to standard input and output; else what clients send is read and dropped.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  nested-tls serve --listen 127.0.0.1:2223 --echo --outer-cert host.crt --outer-key host.key \\
    --outer-client-ca customerCA.crt --inner-cert hsm.crt --inner-key hsm.key
  # many listeners: keys are options without their dashes, and what stands first holds for all
  nested-tls serve --config servers.toml
    echo = true
    outer-cert = \"host.crt\"
    outer-key = \"host.key\"
    inner-cert = \"hsm.crt\"
    inner-key = \"hsm.key\"
    [[listener]]
    listen = \"127.0.0.1:2223\"
    [[listener]]
    listen = \"[::1]:2223\"
    outer-client-ca = [\"customerCA.crt\"]

SIGHUP reads certificates, keys, trust and the file of --config again, for new connections.")]
pub(crate) struct Serve {
    /// Take the options from this TOML file, which may have many listeners; see the examples
    #[arg(long, value_name = "FILE", exclusive = true)]
    config: Option<PathBuf>,
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", required_unless_present = "config")]
    listen: Option<Endpoint>,
    /// Answer with what comes
    #[arg(long)]
    echo: bool,
    /// Serve one connection, and exit with its status
    #[arg(long)]
    once: bool,
    /// How long each handshake may take
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = net::seconds)]
    timeout: Duration,
    #[command(flatten)]
    watch: WatchBoth,
    #[command(flatten)]
    operation: Operation,
    #[command(flatten)]
    outer: Outer<ServerOptions>,
    #[command(flatten)]
    inner: Inner<ServerOptions>,
}

impl Serve {
    /// An echo on both layers.
    pub(crate) fn echo(
        listen: Endpoint,
        outer: ServerOptions,
        inner: ServerOptions,
        watch: WatchBoth,
    ) -> Self {
        Self {
            config: None,
            listen: Some(listen),
            echo: true,
            once: false,
            timeout: Duration::from_secs(10),
            watch,
            operation: Operation::default(),
            outer: Outer(outer),
            inner: Inner(inner),
        }
    }

    pub(crate) async fn run(self, json: bool) -> Result<(), Failure> {
        run(self, json).await
    }
}

impl Command for Serve {
    const NAME: &'static str = "serve";
    type Watch = WatchBoth;
    type Service = Server;

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

    fn watch(&self) -> &WatchBoth {
        &self.watch
    }

    fn open(&self) -> Result<Watch, Failure> {
        self.watch.open(Self::NAME)
    }

    fn load(mut self, watch: Watch, log: Log) -> Result<Server, Failure> {
        watch.secrets(Layer::Outer, &mut self.outer.0.common);
        watch.secrets(Layer::Inner, &mut self.inner.0.common);
        Ok(Server {
            outer: ServerLayer::load(Layer::Outer, self.outer.0)?,
            inner: ServerLayer::load(Layer::Inner, self.inner.0)?,
            answer: match (self.echo, self.once) {
                (true, _) => Answer::Echo,
                (false, true) => Answer::Standard,
                (false, false) => Answer::Nothing,
            },
            timeout: self.timeout,
            watch,
            log,
        })
    }
}

#[derive(Clone, Copy, Debug)]
enum Answer {
    Echo,
    Standard,
    Nothing,
}

pub(crate) struct Server {
    outer: ServerLayer,
    inner: ServerLayer,
    answer: Answer,
    timeout: Duration,
    watch: Watch,
    log: Log,
}

impl Service for Server {
    const DESCRIPTORS: u64 = 1;

    async fn serve(&self, accepted: Accepted) -> Result<(), Failure> {
        let Accepted { number, tcp, peer, handshake, stage, idle, metrics } = accepted;
        let setups = [self.outer.setup()?, self.inner.setup()?];
        let [outer, inner] = self.watch.connection(number, &tcp, setups, false);
        let setups = [&outer, &inner];
        let mut link =
            Link::nested(&outer, &inner, tcp).map_err(|broken| broken.explain(&setups))?;
        let flow = Flow::of(metrics.clone());
        let served = async {
            let shaken = link.handshake(self.timeout).await;
            drop(handshake);
            metrics.handshakes(&[Layer::Outer, Layer::Inner], link.times, &shaken);
            shaken?;
            self.log.established(number, &peer, &LayerReport::both(&link, &outer, &inner));
            link.pulse().unless_idle(idle, pin!(self.converse(&mut link, &flow))).await
        };
        let result = stage.before_closing(served).await;
        link.finish().await;
        if let Some(Err(broken)) = result {
            return Err(broken.explain(&setups));
        }
        self.log.ended(number, flow.sent(), flow.received());
        Ok(())
    }
}

impl Server {
    async fn converse<M: Ports>(&self, link: &mut Link<M>, flow: &Flow) -> Result<(), Broken> {
        let ending = Ending {
            with_output: false,
            half_close: true,
            after_peer: AfterPeer::WhileItListens(Duration::MAX),
        };
        let limit = self.timeout;
        match self.answer {
            Answer::Echo => {
                let count = |said: &[u8]| {
                    flow.count_received(said.len());
                    flow.count_sent(said.len());
                };
                echo(link, count).await
            }
            Answer::Standard => {
                pump(link, tokio::io::stdin(), tokio::io::stdout(), ending, limit, flow).await
            }
            Answer::Nothing => {
                pump(link, tokio::io::empty(), tokio::io::sink(), ending, limit, flow).await
            }
        }
    }
}

/// Answers with what comes, to the peer's end. A peer that does not read is not read from.
pub(crate) async fn echo<M: Ports>(
    link: &mut Link<M>,
    mut heard: impl FnMut(&[u8]),
) -> Result<(), Broken> {
    loop {
        let said = match piece(&mut link.stream).await {
            Ok(said) => said,
            Err(error) => return Err(Broken::of(&mut link.stream, error)),
        };
        heard(&said);
        let answered = match said.is_empty() {
            true => return link.stream.close_write().await.map_err(Broken::unsent),
            false => link.stream.write_all(&said).await,
        };
        let answered = match answered {
            Ok(()) => link.stream.flush().await,
            broken => broken,
        };
        if let Err(error) = answered {
            return Err(last_word(link, error).await);
        }
    }
}

/// Why the peer takes no more: what it said before it hung up tells more than that it did.
async fn last_word<M: Ports>(link: &mut Link<M>, error: io::Error) -> Broken {
    loop {
        match piece(&mut link.stream).await {
            Ok(said) if said.is_empty() => return Broken::unsent(error),
            Ok(_) => {}
            Err(error) => return Broken::of(&mut link.stream, error),
        }
    }
}
