//! One connection through both layers, made to learn what comes of it.

use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::io;

use nested_tls::Layer;
use tokio::io::{AsyncRead as _, AsyncReadExt as _, ReadBuf};
use tokio::time::timeout;

use super::config::Setup;
use super::console::Console;
use super::diagnosis::Broken;
use super::failure::{Failure, Status};
use super::link::{Both, Link};
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
    let (machine, result) = match shaken {
        Ok(()) => part(link, &setups, limit).await,
        Err(broken) => {
            link.testify(&setups);
            (link.finish().await, Err(broken.explain(&setups)))
        }
    };
    let inner_was_reached = times.outer.is_some();
    let mut layers = vec![LayerReport::new(&machine, outer, times.outer)];
    if inner_was_reached {
        layers.push(LayerReport::new(&machine, inner, times.inner));
    }
    Probe { layers, result }
}

/// Closes, and waits for what the peer has against us: in TLS 1.3 a server's verdict on our certificate comes after our
/// handshake is complete. That of the outer layer came before the inner layer's first word.
pub(crate) async fn part(
    mut link: Link<Both>,
    setups: &[&Setup; 2],
    limit: Duration,
) -> (Both, Result<(), Failure>) {
    let [_, inner] = *setups;
    let asked = inner.witness.testimony().asked;
    let limit = if asked.is_some() { limit } else { FAREWELL };
    // A server that hangs up with our close unread resets the connection, which can destroy its alert on the way here.
    let verdict = timeout(FAREWELL, poll_fn(|cx| poll_verdict(&mut link, inner, cx))).await;
    let hung_up = matches!(verdict, Ok(Err(_)));
    let mut rest = [0; 4096];
    let farewell = async {
        if let Ok(verdict) = verdict {
            verdict?;
        }
        link.stream.close_write().await?;
        while link.stream.read(&mut rest).await? > 0 {}
        Ok(())
    };
    let ended = timeout(limit, farewell).await;
    let broken = match ended {
        Ok(Err(error)) => Some(Broken::of(&mut link.stream, error)),
        Ok(Ok(())) | Err(_) => None,
    };
    link.testify(setups);
    let machine = link.finish().await;
    let Some(broken) = broken else { return (machine, Ok(())) };
    let failure = broken.explain(setups);
    let result = match failure.status() {
        Status::Outer | Status::Inner => Err(failure),
        // Not every server says goodbye; but one that hangs up first, or asked for a certificate and got none, has its
        // reason.
        Status::Truncated if hung_up || asked.is_some_and(|asked| !asked.answered) => Err(failure),
        _ => Ok(()),
    };
    (machine, result)
}

/// Ready when the inner peer has told its verdict on our certificate, if there is one to come: with its first record, or
/// with the end.
fn poll_verdict(
    link: &mut Link<Both>,
    inner: &Setup,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    if !link.awaits_verdict(inner) {
        return Poll::Ready(Ok(()));
    }
    let mut rest = [0; 4096];
    match Pin::new(&mut link.stream).poll_read(cx, &mut ReadBuf::new(&mut rest)) {
        Poll::Pending if link.awaits_verdict(inner) => Poll::Pending,
        Poll::Pending => Poll::Ready(Ok(())),
        read => read,
    }
}

impl Probe {
    /// The layer on which it failed.
    pub(crate) fn failed_on(&self) -> Option<Layer> {
        self.result.as_ref().err()?.layer()
    }
}
