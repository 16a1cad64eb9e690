//! `connect`: a client of both layers between standard input and output.

use core::time::Duration;
use std::io::{self, ErrorKind, IsTerminal as _};
use std::path::PathBuf;

use clap::Args;
use nested_tls::Layer;
use serde_json::json;

use super::cloudhsm;
use super::config::ClientLayer;
use super::console::{Console, To};
use super::diagnosis::Broken;
use super::failure::Failure;
use super::link::Link;
use super::net::{self, Endpoint};
use super::options::{ClientOptions, Inner, Outer};
use super::probe;
use super::pump::{AfterPeer, Ending, Flow, pump};
use super::report::{LayerReport, layers_json};
use super::tunnel;
use super::watch::WatchBoth;

/// Standard input to the inner peer, the inner peer to standard output.
///
/// The end of the input closes the inner layer for writing, except with --keep-open; then the peer is read to its end. If the peer ends first,
/// the rest of the input is sent as long as the peer keeps the outer layer open, with pauses up to the time limit; input from
/// a terminal is not waited for.
/// A reader of the output that leaves ends it quietly, with status 0.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  # what both layers agree on, from a CloudHSM client directory
  nested-tls connect 10.0.0.7:2223 --cloudhsm /opt/cloudhsm/etc --report
  # a host whose certificate is known, and behind it an HSM of a private authority
  nested-tls connect 10.0.0.7:2223 --outer-pin host.crt --outer-cert client.crt --outer-key client.key \\
    --inner-ca customerCA.crt --inner-no-name-check
  # an origin through an HTTPS proxy
  nested-tls connect proxy.example:443 --outer-webpki-roots \\
    --http-connect origin.example:443 --inner-webpki-roots --report
  # a request to it, and the answer
  printf 'GET / HTTP/1.1\\r\\nHost: origin.example\\r\\nConnection: close\\r\\n\\r\\n' |
    nested-tls connect proxy.example:443 --outer-webpki-roots --http-connect origin.example:443 \\
    --inner-webpki-roots --keep-open")]
pub(crate) struct Connect {
    /// The host of the outer layer
    #[arg(value_name = "HOST:PORT")]
    to: Endpoint,
    /// Print what both layers agreed on, and exit
    #[arg(long)]
    report: bool,
    /// Print nothing about a connection that works
    #[arg(long, short)]
    quiet: bool,
    /// At the end of the input leave the inner layer open for writing, and read the peer to its end: for servers that give up
    /// an answer when their client has ended, as many HTTP servers do
    #[arg(long, conflicts_with = "report")]
    keep_open: bool,
    /// How long each phase may take: TCP, the outer handshake, the inner handshake; what comes after them has no limit
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = net::seconds)]
    timeout: Duration,
    /// Fill what the options of both layers leave open from a CloudHSM client directory, or its configuration; a certificate
    /// and its key are a pair: give both, or neither
    #[arg(long, value_name = "PATH")]
    cloudhsm: Option<PathBuf>,
    /// Ask the host, an HTTP proxy, for a tunnel to this place first; the inner server's name is then HOST by default
    #[arg(long, value_name = "HOST:PORT")]
    http_connect: Option<Endpoint>,
    /// A file with USER:PASSWORD for the proxy
    #[arg(long, value_name = "PATH", requires = "http_connect")]
    http_auth: Option<PathBuf>,
    #[command(flatten)]
    watch: WatchBoth,
    #[command(flatten)]
    outer: Outer<ClientOptions>,
    #[command(flatten)]
    inner: Inner<ClientOptions>,
}

impl Connect {
    pub(crate) async fn run(mut self, json: bool) -> Result<(), Failure> {
        let console = Console { json, quiet: self.quiet };
        if let Some(path) = &self.cloudhsm {
            cloudhsm::only(path)?.fill(&mut self.outer.0, &mut self.inner.0);
        }
        let request = match &self.http_connect {
            Some(to) => Some(tunnel::request(to, self.http_auth.as_deref())?),
            None => None,
        };
        let watch = self.watch.open("connect")?;
        watch.secrets(Layer::Outer, &mut self.outer.0.common);
        watch.secrets(Layer::Inner, &mut self.inner.0.common);
        let host = Some(self.to.host.as_str());
        let origin = self.http_connect.as_ref().map(|to| to.host.as_str());
        let outer = ClientLayer::load(Layer::Outer, self.outer.0, host)?.setup()?;
        let inner = ClientLayer::load(Layer::Inner, self.inner.0, origin)?.setup()?;

        let what = format!("connecting to {}", self.to);
        let tcp = console.progress(&what, net::connect(&self.to, self.timeout)).await?;
        let address = net::shown(tcp.peer_addr());
        let [outer, inner] = watch.connection(1, &tcp, [outer, inner], request.is_some());
        let setups = [&outer, &inner];
        let link = match request {
            None => Link::nested(&outer, &inner, tcp),
            Some(request) => {
                let opened = tunnel::open(&outer, &inner, tcp, request, self.timeout);
                console.progress("asking for a tunnel", opened).await
            }
        };
        let mut link = link.map_err(|broken| broken.explain(&setups))?;
        let shaken = console.progress("shaking hands", link.handshake(self.timeout)).await;
        let layers = LayerReport::both(&link, &outer, &inner);
        if let Err(broken) = shaken {
            link.testify(&setups);
            link.finish().await;
            if self.report {
                tell(console, To::Stdout, "failed", &address, &layers);
            }
            return Err(broken.explain(&setups));
        }
        if self.report {
            let (_, ended) = probe::part(link, &setups, self.timeout).await;
            let word = if ended.is_ok() { "connected" } else { "failed" };
            tell(console, To::Stdout, word, &address, &layers);
            return ended;
        }
        tell(console, To::Stderr, "connected", &address, &layers);

        let ending = Ending {
            with_output: true,
            half_close: !self.keep_open,
            after_peer: match io::stdin().is_terminal() {
                true => AfterPeer::AtOnce,
                false => AfterPeer::WhileItListens(self.timeout),
            },
        };
        let flow = Flow::default();
        let (input, output) = (tokio::io::stdin(), tokio::io::stdout());
        let result = pump(&mut link, input, output, ending, self.timeout, &flow).await;
        link.testify(&setups);
        link.finish().await;
        match result {
            Ok(()) => Ok(()),
            // Who reads us has had enough.
            Err(Broken::Output(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            Err(broken) => Err(broken.explain(&setups)),
        }
    }
}

fn tell(console: Console, to: To, word: &str, address: &str, layers: &[LayerReport]) {
    console.tell(
        to,
        || {
            let mut text = match word {
                "connected" => format!("connected to {address}"),
                _ => format!("no connection to {address}"),
            };
            for layer in layers {
                text.push('\n');
                text.push_str(&layer.text(console, to));
            }
            text
        },
        || json!({ word: address, "layers": layers_json(layers) }),
    );
}
