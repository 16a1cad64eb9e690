//! What `serve` and `relay` share: listening, many connections at once, one that fails ends no other.

use core::time::Duration;
use std::io;
use std::sync::Arc;

use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::console::{Console, To};
use super::failure::{Failure, Status};
use super::files::words;
use super::net::{Endpoint, listen, shown};

/// How long to wait when the system has no room for another connection.
const PAUSE: Duration = Duration::from_millis(100);

/// A connection that was accepted.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// Counted from 1.
    pub(crate) number: u64,
    pub(crate) tcp: TcpStream,
    pub(crate) peer: String,
}

/// What is done with each connection.
pub(crate) trait Service: Send + Sync + 'static {
    /// Serves one connection to its end.
    fn serve(&self, accepted: Accepted) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// Serves until a signal comes, or one connection if `once`.
pub(crate) async fn run(
    service: impl Service,
    at: &Endpoint,
    once: bool,
    console: Console,
) -> Result<(), Failure> {
    let listener = listen(at).await?;
    // Before anybody can know that we listen, and send one.
    let mut signals = Signals::new().map_err(|error| {
        let reason = format!("can't wait for signals: {}", words(&error));
        Failure::new(Status::Transport, reason, "see the limits of this process")
    })?;
    let address = shown(listener.local_addr());
    // A reader that has gone already wants no server.
    if console.line(To::Stdout, &format!("listening on {address}")).is_err() {
        return Ok(());
    }
    tokio::select! {
        result = accept(Arc::new(service), listener, once, console) => result,
        () = signals.recv() => Ok(()),
    }
}

async fn accept(
    service: Arc<impl Service>,
    listener: TcpListener,
    once: bool,
    console: Console,
) -> Result<(), Failure> {
    // Dropped with this future, and the connections with it.
    let mut connections = JoinSet::new();
    for number in 1_u64.. {
        let mut told = false;
        let (tcp, peer) = loop {
            match listener.accept().await {
                Ok(accepted) => break accepted,
                Err(error) => {
                    if !told {
                        console.note(&format!("can't accept a connection: {}", words(&error)));
                    }
                    told = true;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        };
        let accepted = Accepted { number, tcp, peer: peer.to_string() };
        if once {
            return service.serve(accepted).await;
        }
        let service = service.clone();
        connections.spawn(async move {
            if let Err(failure) = service.serve(accepted).await {
                console.fail(&failure, Some(number));
            }
        });
        while connections.try_join_next().is_some() {}
    }
    Ok(())
}

/// The ways in which the program is asked to end.
struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn recv(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    async fn recv(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            core::future::pending::<()>().await;
        }
    }
}

/// Says how a connection ended well.
pub(crate) fn tell_end(console: Console, number: u64, sent: u64, received: u64) {
    console.tell(
        To::Stderr,
        || format!("[{number}] ended: {received} bytes received, {sent} sent"),
        || json!({ "connection": number, "received": received, "sent": sent }),
    );
}
