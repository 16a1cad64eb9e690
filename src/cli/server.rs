//! What `serve` and `relay` share: listening, many connections at once, one that fails ends no other, and an end in order.

use core::pin::pin;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::io;
use std::sync::Arc;

use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::task::{JoinError, JoinSet};

use super::console::{Console, To};
use super::failure::{Failure, Status};
use super::files::words;
use super::gate::{Gate, Place};
use super::net::{Endpoint, listen, prepare, shown};
use super::operation::Operation;

/// How long to wait when the system has no room for another connection.
const PAUSE: Duration = Duration::from_millis(100);

/// A connection that was accepted.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// Counted from 1.
    pub(crate) number: u64,
    pub(crate) tcp: TcpStream,
    pub(crate) peer: String,
    /// To be dropped when the handshakes are over.
    pub(crate) handshake: Option<OwnedSemaphorePermit>,
    pub(crate) stage: Stage,
}

/// What is done with each connection.
pub(crate) trait Service: Send + Sync + 'static {
    /// How many descriptors a connection takes.
    const DESCRIPTORS: u64;

    /// Serves one connection to its end.
    fn serve(&self, accepted: Accepted) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// How far the server has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Progress {
    Serving,
    /// Nothing more is accepted.
    Draining,
    /// What is still open is closed.
    Closing,
}

/// Tells everybody how far the server has come.
#[derive(Clone, Debug)]
pub(crate) struct Stage(watch::Receiver<Progress>);

impl Stage {
    async fn reached(&self, progress: Progress) {
        // A server that is no more has come further than any stage.
        let _ = self.0.clone().wait_for(|now| *now >= progress).await;
    }

    /// Does `work`, unless the server closes first.
    pub(crate) async fn before_closing<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.reached(Progress::Closing) => None,
        }
    }
}

/// Serves until a signal comes, or one connection if `once`.
pub(crate) async fn run<S: Service>(
    service: S,
    at: &Endpoint,
    once: bool,
    operation: &Operation,
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
    let (progress, stage) = watch::channel(Progress::Serving);
    let hall = Arc::new(Hall {
        gate: operation.gate(S::DESCRIPTORS, console),
        last_number: AtomicU64::new(0),
        stage: Stage(stage),
        console,
    });
    // Dropped with this future, and the connections with it.
    let mut doors = JoinSet::new();
    doors.spawn(attend(hall.clone(), listener, Arc::new(service), once));
    tokio::select! {
        result = all(&mut doors) => return result,
        () = signals.recv() => {}
    }
    let _ = progress.send(Progress::Draining);
    tokio::select! {
        result = all(&mut doors) => return result,
        () = signals.recv() => return Ok(()),
        () = tokio::time::sleep(operation.drain) => {}
    }
    let _ = progress.send(Progress::Closing);
    tokio::select! {
        result = all(&mut doors) => result,
        () = signals.recv() => Ok(()),
    }
}

/// Waits for all tasks; the first failure is that of all.
async fn all(tasks: &mut JoinSet<Result<(), Failure>>) -> Result<(), Failure> {
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(|error| broken_off(&error))??;
    }
    Ok(())
}

fn broken_off(error: &JoinError) -> Failure {
    Failure::new(Status::Transport, error.to_string(), "report this as an error of nested-tls")
}

/// What all listeners have in common.
struct Hall {
    gate: Gate,
    last_number: AtomicU64,
    stage: Stage,
    console: Console,
}

/// Serves the connections of one listener: until draining begins, then those that are there, or one if `once`.
async fn attend<S: Service>(
    hall: Arc<Hall>,
    listener: TcpListener,
    service: Arc<S>,
    once: bool,
) -> Result<(), Failure> {
    let mut connections = JoinSet::new();
    loop {
        let accepted = {
            let mut next = pin!(hall.next(&listener));
            loop {
                tokio::select! {
                    accepted = &mut next => break Some(accepted),
                    () = hall.stage.reached(Progress::Draining) => break None,
                    Some(_) = connections.join_next() => {}
                }
            }
        };
        let Some((accepted, place)) = accepted else { break };
        if once {
            drop(listener);
            let result = service.serve(accepted).await;
            drop(place);
            return result;
        }
        let service = service.clone();
        let console = hall.console;
        connections.spawn(async move {
            let number = accepted.number;
            if let Err(failure) = service.serve(accepted).await {
                console.fail(&failure, Some(number));
            }
            drop(place);
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
    Ok(())
}

impl Hall {
    /// The next connection, once there is a place for it.
    async fn next(&self, listener: &TcpListener) -> (Accepted, Place) {
        let mut told = false;
        let (tcp, peer) = loop {
            match listener.accept().await {
                Ok(accepted) => break accepted,
                Err(error) => {
                    if !told {
                        self.console.warn(&format!("can't accept a connection: {}", words(&error)));
                    }
                    told = true;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        };
        prepare(&tcp);
        let mut place = self.gate.enter(self.console).await;
        let accepted = Accepted {
            number: self.last_number.fetch_add(1, Ordering::Relaxed) + 1,
            tcp,
            peer: peer.to_string(),
            handshake: place.handshake.take(),
            stage: self.stage.clone(),
        };
        (accepted, place)
    }
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
