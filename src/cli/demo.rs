//! `demo`: an HSM, a host and a client on loopback, on throwaway certificates of the shapes of CloudHSM's.

mod cluster;
mod evidence;

use core::time::Duration;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use nested_tls::Layer;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;

use super::cloudhsm;
use super::config::{ClientLayer, Setup};
use super::console::{Console, To};
use super::diagnosis::Broken;
use super::failure::{Failure, Status};
use super::link::{Both, Link};
use super::net::{self, Endpoint};
use super::options::ClientOptions;
use super::report::{LayerReport, certificate, certificate_json, layers_json, milliseconds};
use super::watch::{Watch, WatchBoth};
use cluster::{Cluster, Seen};
use evidence::{Evidence, PIECE, records};

/// Loopback is not slow.
const LIMIT: Duration = Duration::from_secs(10);

/// Show nested TLS at work: an "HSM", a host that forwards what it can't read, and a client.
///
/// All three run here, over TCP on loopback, with certificates made for this run. Exits with 0 only if every step succeeds.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  nested-tls demo
  # keep the certificates, and go on serving with them
  nested-tls demo --keep cluster --listen 127.0.0.1:2223")]
pub(crate) struct Demo {
    /// Keep the client's directory here, and the servers' files in DIR/server
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Then serve both layers here with the kept files, and echo; port 0 takes a free one
    #[arg(long, value_name = "ADDR", requires = "keep")]
    listen: Option<Endpoint>,
    /// What the client says to the HSM
    #[arg(long, value_name = "TEXT", default_value = "only the HSM may read this", value_parser = message)]
    message: String,
    #[command(flatten)]
    watch: WatchBoth,
}

fn message(text: &str) -> Result<String, String> {
    match text.len() {
        PIECE..=16_384 => Ok(text.into()),
        _ => Err(format!("the message has {PIECE} to 16384 bytes")),
    }
}

impl Demo {
    pub(crate) async fn run(self, json: bool) -> Result<(), Failure> {
        let console = Console { json, quiet: false };
        let begun = Instant::now();
        let watch = self.watch.open("demo")?;
        let cluster = Cluster::new(self.keep.clone())?;
        let made = begun.elapsed();

        let hsm = cluster.hsm().await?;
        let host = cluster.host(hsm.address).await?;
        let client = client(&cluster, host.address.to_string(), &self.message, &watch).await;
        // Whoever failed first stopped the others; the client knows most.
        let client = client?;
        let heard = join(hsm.task).await?;
        let seen = join(host.task).await?;

        let story = Story {
            cluster: &cluster,
            message: self.message.as_bytes(),
            made,
            hsm: hsm.address.to_string(),
            host: host.address.to_string(),
            client,
            heard,
            seen,
        };
        console.tell(To::Stdout, || story.text(console), || story.json());
        story.evidence().verdict()?;
        match self.listen {
            Some(listen) => cluster.serve(listen, self.watch.only_keylog(), json).await,
            None => Ok(()),
        }
    }
}

async fn join<T>(task: JoinHandle<Result<T, Failure>>) -> Result<T, Failure> {
    match tokio::time::timeout(LIMIT, task).await {
        Ok(Ok(result)) => result,
        Ok(Err(error)) => Err(unexpected(&error.to_string())),
        Err(_) => Err(unexpected("a party did not end")),
    }
}

fn unexpected(what: &str) -> Failure {
    Failure::new(Status::Transport, what, "report this as an error of nested-tls")
}

/// What the client knows in the end.
struct Client {
    layers: [LayerReport; 2],
    answer: Vec<u8>,
    round_trip: Duration,
}

async fn client(
    cluster: &Cluster,
    host: String,
    message: &str,
    watch: &Watch,
) -> Result<Client, Failure> {
    let (mut outer, mut inner) = (ClientOptions::default(), ClientOptions::default());
    cloudhsm::only(cluster.path())?.fill(&mut outer, &mut inner);
    watch.secrets(Layer::Outer, &mut outer.common);
    watch.secrets(Layer::Inner, &mut inner.common);
    let outer = ClientLayer::load(Layer::Outer, outer, None)?.setup()?;
    let inner = ClientLayer::load(Layer::Inner, inner, None)?.setup()?;
    let endpoint = host.parse().map_err(|error: String| unexpected(&error))?;
    let tcp = net::connect(&endpoint, LIMIT).await?;
    let [outer, inner] = watch.connection(1, &tcp, [outer, inner], false);
    let setups = [&outer, &inner];
    let link = Link::nested(&outer, &inner, tcp).map_err(|broken| broken.explain(&setups))?;
    talk(link, &outer, &inner, message).await.map_err(|broken| broken.explain(&setups))
}

async fn talk(
    mut link: Link<Both>,
    outer: &Setup,
    inner: &Setup,
    message: &str,
) -> Result<Client, Broken> {
    link.handshake(LIMIT).await?;
    let said = Instant::now();
    link.stream.write_all(message.as_bytes()).await?;
    link.stream.flush().await?;
    let mut answer = vec![0; message.len()];
    link.stream.read_exact(&mut answer).await?;
    let round_trip = said.elapsed();
    link.stream.close_write().await?;
    link.stream.read_to_end(&mut answer).await?;
    let times = link.times;
    let machine = link.finish().await;
    let layers = [
        LayerReport::new(&machine, outer, times.outer),
        LayerReport::new(&machine, inner, times.inner),
    ];
    Ok(Client { layers, answer, round_trip })
}

/// All that happened.
struct Story<'a> {
    cluster: &'a Cluster,
    message: &'a [u8],
    made: Duration,
    hsm: String,
    host: String,
    client: Client,
    /// What the HSM heard.
    heard: Vec<u8>,
    /// What the host saw.
    seen: Seen,
}

impl Story<'_> {
    fn evidence(&self) -> Evidence<'_> {
        let [outer, inner] = &self.client.layers;
        Evidence {
            message: self.message,
            answer: &self.client.answer,
            heard: &self.heard,
            to_hsm: &self.seen.to_hsm,
            from_hsm: &self.seen.from_hsm,
            accepted: [outer, inner, &self.seen.client].map(|layer| layer.rule().is_some()),
        }
    }

    fn text(&self, console: Console) -> String {
        let to = To::Stdout;
        let evidence = self.evidence();
        let bold = |text: &str| console.bold(to, text);
        let mut lines =
            vec![bold(&format!("certificates, made for this run in {}", milliseconds(self.made)))];
        for (what, der) in self.cluster.certificates() {
            lines.push(format!("  {what}\n{}", certificate(der)));
        }
        lines.push(bold("\nthree parties on loopback"));
        lines.push(format!(
            "  HSM     {}  terminates the inner layer, knows no outer one",
            self.hsm
        ));
        lines.push(format!(
            "  host    {}  terminates the outer layer, forwards the rest",
            self.host
        ));
        lines.push("  client  both layers, through the host".into());
        let [outer, inner] = &self.client.layers;
        lines.push(format!("\n{}", outer.text(console, to)));
        lines.push(format!(
            "  the host met {}, and {}: {}",
            self.seen.client.peer().unwrap_or_else(|| "nobody".into()),
            console.green(to, "accepted"),
            self.seen.client.rule().unwrap_or_default(),
        ));
        lines.push(format!("\n{}", inner.text(console, to)));
        lines.push(bold("\necho through both layers"));
        let answer = match evidence.echoed() {
            true => "it back from the HSM".into(),
            false => format!("{:?}", String::from_utf8_lossy(&self.client.answer)),
        };
        lines.push(format!(
            "  sent {:?}, and got {answer} after {}",
            String::from_utf8_lossy(self.message),
            milliseconds(self.client.round_trip)
        ));
        lines.push(format!("  {}\n  {}", outer.sizes(), inner.sizes()));
        lines.push(bold("\nwhat the host could see"));
        for (way, bytes) in
            [("to the HSM", &self.seen.to_hsm), ("from the HSM", &self.seen.from_hsm)]
        {
            let shape = match records(bytes) {
                Some(count) => format!("{count} TLS records of the inner layer"),
                None => "not TLS records".into(),
            };
            lines.push(format!("  {way}: {} bytes, {shape}", bytes.len()));
        }
        let pieces = evidence.pieces();
        lines.push(format!(
            "  pieces of {PIECE} bytes of the message in it: {} of {pieces}",
            evidence.found_by_host()
        ));
        lines.push(format!(
            "  the same search in the HSM's plaintext: {} of {pieces}",
            evidence.found_in_plaintext()
        ));
        if let Some(kept) = self.cluster.kept() {
            let kept = kept.display();
            lines.push(format!(
                "\nthe client's directory is kept in {kept}; see nested-tls doctor {kept}"
            ));
        }
        match evidence.verdict() {
            Ok(()) => lines.push(format!(
                "\n{}: both layers verified, the message came back, the host read none of it",
                console.green(to, "done")
            )),
            Err(_) => lines.push(format!("\n{}", console.red(to, "failed"))),
        }
        lines.join("\n")
    }

    fn json(&self) -> Value {
        let evidence = self.evidence();
        let certificates: Vec<Value> = self
            .cluster
            .certificates()
            .into_iter()
            .map(|(what, der)| json!({ "what": what, "certificate": certificate_json(der) }))
            .collect();
        json!({
            "ok": evidence.verdict().is_ok(),
            "certificates": certificates,
            "certificates_ms": self.made.as_secs_f64() * 1e3,
            "parties": { "hsm": self.hsm, "host": self.host },
            "layers": layers_json(&self.client.layers),
            "host_accepted_client": self.seen.client.to_json(),
            "echo": {
                "message": String::from_utf8_lossy(self.message),
                "returned": evidence.echoed(),
                "round_trip_ms": self.client.round_trip.as_secs_f64() * 1e3,
            },
            "host_saw": {
                "bytes_to_hsm": self.seen.to_hsm.len(),
                "bytes_from_hsm": self.seen.from_hsm.len(),
                "records_to_hsm": records(&self.seen.to_hsm),
                "records_from_hsm": records(&self.seen.from_hsm),
                "pieces_found": evidence.found_by_host(),
                "pieces_found_in_plaintext": evidence.found_in_plaintext(),
                "piece_bytes": PIECE,
            },
            "kept": self.cluster.kept().map(|path| path.display().to_string()),
        })
    }
}
