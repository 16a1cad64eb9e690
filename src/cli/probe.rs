//! One connection through both layers, made to learn what comes of it.

use core::time::Duration;

use nested_tls::{Layer, Nested, Ports as _};
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use super::config::Setup;
use super::console::Console;
use super::diagnosis::Broken;
use super::failure::{Failure, Status};
use super::link::Link;
use super::net::{self, Endpoint};
use super::report::LayerReport;

/// How long the peer's answer to our close is waited for.
const FAREWELL: Duration = Duration::from_secs(1);

/// What became of a connection.
pub(crate) struct Probe {
    /// What is known of the layers that were reached.
    pub(crate) layers: Vec<LayerReport>,
    pub(crate) result: Result<(), Failure>,
}

/// Connects, shakes hands on both layers, and closes.
pub(crate) async fn probe(
    to: &Endpoint,
    outer: &Setup,
    inner: &Setup,
    limit: Duration,
    console: Console,
) -> Probe {
    let setups = [outer, inner];
    let nothing = |failure: Failure| Probe { layers: Vec::new(), result: Err(failure) };
    let what = format!("connecting to {to}");
    let tcp = match console.progress(&what, net::connect(to, limit)).await {
        Ok(tcp) => tcp,
        Err(failure) => return nothing(failure),
    };
    let mut link = match Link::nested(outer, inner, tcp) {
        Ok(link) => link,
        Err(broken) => return nothing(broken.explain(&setups)),
    };
    let shaken = console.progress("shaking hands", link.handshake(limit)).await;
    let times = link.times;
    let (machine, broken) = match shaken {
        Ok(()) => part(link).await,
        Err(broken) => (link.finish().await, Some(broken)),
    };
    let inner_was_reached = times.outer.is_some();
    let mut layers = vec![LayerReport::new(&machine, outer, times.outer)];
    if inner_was_reached {
        layers.push(LayerReport::new(&machine, inner, times.inner));
    }
    Probe { layers, result: broken.map_or(Ok(()), |broken| Err(broken.explain(&setups))) }
}

/// Closes, and waits for what the peer has against us: in TLS 1.3 a server's verdict on our certificate comes after our
/// handshake is complete. That it leaves without a farewell is nothing against us.
async fn part(mut link: Link<Nested>) -> (Nested, Option<Broken>) {
    let mut rest = [0; 4096];
    let farewell = async {
        link.stream.close_write().await?;
        while link.stream.read(&mut rest).await? > 0 {}
        Ok::<_, std::io::Error>(())
    };
    let _ = timeout(FAREWELL, farewell).await;
    let machine = link.finish().await;
    let broken = machine.failure().cloned().map(Broken::Tls).filter(|broken| {
        !matches!(broken.explain(&[]).status(), Status::Truncated | Status::Transport)
    });
    (machine, broken)
}

impl Probe {
    /// The layer on which it failed.
    pub(crate) fn failed_on(&self) -> Option<Layer> {
        self.result.as_ref().err()?.layer()
    }
}
