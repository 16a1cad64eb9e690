//! What `serve` and `relay` share: listening, many connections at once, one that fails ends no other, and an end in order.

use core::pin::pin;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::task::{self, JoinError, JoinSet};

use super::console::{Console, To};
use super::failure::{Failure, Status};
use super::files::words;
use super::gate::{Gate, Place};
use super::log::Log;
use super::metrics::{Metrics, Open};
use super::net::{Endpoint, bound, listen, prepare, shown};
use super::operation::Operation;
use super::scrape;
use super::settings;
use super::watch::Watch;

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
    /// How long it may be silent.
    pub(crate) idle: Option<Duration>,
    pub(crate) metrics: Arc<Metrics>,
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

/// A command that serves.
pub(crate) trait Command: clap::Args + Clone + Send + 'static {
    const NAME: &'static str;
    type Watch: clap::Args + Clone + Send + PartialEq;
    type Service: Service;

    /// The file that has the options instead.
    fn config(&self) -> Option<&Path>;
    fn listen(&self) -> Option<&Endpoint>;
    fn once(&self) -> bool;
    fn operation(&self) -> &Operation;
    fn watch(&self) -> &Self::Watch;

    /// Opens the files that are written.
    fn open(&self) -> Result<Watch, Failure>;

    /// Reads the files that the options name.
    fn load(self, watch: Watch, log: Log) -> Result<Self::Service, Failure>;
}

/// Serves until a signal comes, or one connection if `once`.
pub(crate) async fn run<C: Command>(command: C, json: bool) -> Result<(), Failure> {
    let console = Console { json, quiet: false };
    let once = command.once();
    let commands = commands_of(&command)?;
    // What is not of one listener is the same in all of them.
    let (operation, watch) = match commands.first() {
        Some(first) => (first.operation().clone(), first.open()?),
        None => Default::default(),
    };
    let log = Log::new(json, operation.log_format);
    let mut doors = Vec::new();
    for command in &commands {
        let at = listens(command)?;
        let service = command.clone().load(watch.clone(), log)?;
        doors.push(Door { listener: listen(at).await?, service: Slot::new(service) });
    }
    let scraped = match &operation.metrics {
        Some(at) => Some(listen(at).await?),
        None => None,
    };
    // Before anybody can know that we listen, and send one.
    let mut signals = Signals::new().map_err(|error| {
        let reason = format!("can't wait for signals: {}", words(&error));
        Failure::new(Status::Transport, reason, "see the limits of this process")
    })?;
    let addresses = doors.iter().map(|door| ("listening", &door.listener));
    for (what, listener) in addresses.chain(scraped.iter().map(|scraped| ("metrics", scraped))) {
        // A reader that has gone already wants no server.
        let line = format!("{what} on {}", shown(listener.local_addr()));
        if console.line(To::Stdout, &line).is_err() {
            return Ok(());
        }
    }
    let (progress, stage) = watch::channel(Progress::Serving);
    let hall = Arc::new(Hall {
        gate: operation.gate(C::Service::DESCRIPTORS, log),
        last_number: AtomicU64::new(0),
        metrics: Arc::default(),
        stage: Stage(stage),
        idle: operation.idle,
        socket_buffer: operation.socket_buffer,
        log,
    });
    // All of them are dropped with this future, and the connections with them.
    let mut scrapers = JoinSet::new();
    if let Some(listener) = scraped {
        let hall = hall.clone();
        scrapers.spawn(scrape::serve(listener, move || hall.metrics.text(hall.gate.connections())));
    }
    let slots: Vec<_> = doors.iter().map(|door| door.service.clone()).collect();
    let mut attendants = JoinSet::new();
    for door in doors {
        attendants.spawn(attend(hall.clone(), door, once));
    }
    loop {
        tokio::select! {
            result = all(&mut attendants) => return result,
            signal = signals.recv() => match signal {
                Signal::End => break,
                Signal::Reload => tokio::select! {
                    reloaded = reload(command.clone(), commands.clone(), &slots, watch.clone(), log) => {
                        hall.metrics.reload(reloaded.is_ok());
                        match reloaded {
                            Ok(()) => log.notice("reloaded", "reloaded: new connections get what the files say now"),
                            Err(failure) => log.not_reloaded(&failure),
                        }
                    }
                    // A file that never comes does not keep the server from ending.
                    () = signals.end() => break,
                }
            },
        }
    }
    let tell = |event, what: &str| match hall.metrics.current() {
        0 => {}
        open => log.notice(event, &format!("{open} connections are open: {what}")),
    };
    let _ = progress.send(Progress::Draining);
    tell("draining", &format!("they have {} s to end", operation.drain.as_secs_f64()));
    tokio::select! {
        result = all(&mut attendants) => return result,
        () = signals.end() => return Ok(()),
        () = tokio::time::sleep(operation.drain) => {}
    }
    tell("closing", "they are closed now");
    let _ = progress.send(Progress::Closing);
    tokio::select! {
        result = all(&mut attendants) => result,
        () = signals.end() => Ok(()),
    }
}

/// One command for each listener.
fn commands_of<C: Command>(command: &C) -> Result<Vec<C>, Failure> {
    match command.config() {
        Some(path) => settings::read(path),
        None => Ok(vec![command.clone()]),
    }
}

fn listens(command: &impl Command) -> Result<&Endpoint, Failure> {
    let missing = || Failure::usage("nothing says where to listen", "give --listen");
    command.listen().ok_or_else(missing)
}

/// Reads everything again, and takes it over if all of it is in order. Connections that are there stay as they are.
async fn reload<C: Command>(
    command: C,
    old: Vec<C>,
    slots: &[Slot<C::Service>],
    watch: Watch,
    log: Log,
) -> Result<(), Failure> {
    // Files may be slow, and connections shall not wait for them.
    let read = task::spawn_blocking(move || {
        let new = commands_of(&command)?;
        let fixed = |commands: &[C]| -> Vec<_> {
            let fixed =
                |one: &C| (one.listen().cloned(), one.operation().clone(), one.watch().clone());
            commands.iter().map(fixed).collect()
        };
        if fixed(&new) != fixed(&old) {
            let reason =
                "listeners, limits, metrics, logs and traces can't change while the server runs";
            return Err(Failure::usage(reason, "start it anew"));
        }
        new.into_iter()
            .map(|command| command.load(watch.clone(), log))
            .collect::<Result<Vec<_>, _>>()
    });
    let services = read.await.map_err(|error| broken_off(&error))??;
    for (slot, service) in slots.iter().zip(services) {
        slot.put(service);
    }
    Ok(())
}

/// A service that another one can take the place of.
struct Slot<S>(Arc<Mutex<Arc<S>>>);

impl<S> Clone for Slot<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S> Slot<S> {
    fn new(service: S) -> Self {
        Self(Arc::new(Mutex::new(Arc::new(service))))
    }

    fn get(&self) -> Arc<S> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn put(&self, service: S) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(service);
    }
}

/// Where connections come in, and what is done with them.
struct Door<S> {
    listener: TcpListener,
    service: Slot<S>,
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
    metrics: Arc<Metrics>,
    stage: Stage,
    idle: Option<Duration>,
    socket_buffer: u32,
    log: Log,
}

/// Serves the connections of one listener: until draining begins, then those that are there, or one if `once`.
async fn attend<S: Service>(hall: Arc<Hall>, door: Door<S>, once: bool) -> Result<(), Failure> {
    let Door { listener, service } = door;
    let mut connections = Connections::default();
    loop {
        let accepted = {
            let mut next = pin!(hall.next(&listener));
            loop {
                tokio::select! {
                    accepted = &mut next => break Some(accepted),
                    () = hall.stage.reached(Progress::Draining) => break None,
                    true = connections.ended(&hall) => {}
                }
            }
        };
        let Some((accepted, held)) = accepted else { break };
        let (number, service, metrics) = (accepted.number, service.get(), accepted.metrics.clone());
        let serve = async move {
            let served = service.serve(accepted).await;
            // Before it counts as ended: nobody shall see the one without the other.
            let served = served.inspect_err(|failure| metrics.fail(failure.status()));
            drop(held);
            served
        };
        if once {
            drop(listener);
            return serve.await;
        }
        let task = connections.tasks.spawn(serve).id();
        connections.numbers.insert(task, number);
    }
    drop(listener);
    while connections.ended(&hall).await {}
    Ok(())
}

/// The connections of one listener, which are dropped with this.
#[derive(Default)]
struct Connections {
    tasks: JoinSet<Result<(), Failure>>,
    /// What a panic leaves is the name of its task.
    numbers: HashMap<task::Id, u64>,
}

impl Connections {
    /// Waits for the end of one of them, and tells how it ended if that was badly; false if there is none.
    async fn ended(&mut self, hall: &Hall) -> bool {
        let Some(ended) = self.tasks.join_next_with_id().await else { return false };
        let (task, served) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                let failure = broken_off(&error);
                hall.metrics.fail(failure.status());
                (error.id(), Err(failure))
            }
        };
        let number = self.numbers.remove(&task).unwrap_or_default();
        if let Err(failure) = served {
            hall.log.failed(number, &failure);
        }
        true
    }
}

/// What a connection has as long as it is served. Its place is free before it counts as ended.
struct Held {
    _place: Place,
    _open: Open,
}

impl Hall {
    /// The next connection, once there is a place for it.
    async fn next(&self, listener: &TcpListener) -> (Accepted, Held) {
        let mut told = false;
        let (tcp, peer) = loop {
            match listener.accept().await {
                Ok(accepted) => break accepted,
                Err(error) => {
                    if !told {
                        let reason = format!("can't accept a connection: {}", words(&error));
                        self.log.warn("accept", &reason);
                    }
                    told = true;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        };
        prepare(&tcp);
        bound(&tcp, self.socket_buffer);
        let mut place = self.gate.enter(self.log).await;
        let open = self.metrics.accept();
        let accepted = Accepted {
            number: self.last_number.fetch_add(1, Ordering::Relaxed) + 1,
            tcp,
            peer: peer.to_string(),
            handshake: place.handshake.take(),
            stage: self.stage.clone(),
            idle: self.idle,
            metrics: self.metrics.clone(),
        };
        (accepted, Held { _place: place, _open: open })
    }
}

/// What a signal asks for.
enum Signal {
    Reload,
    End,
}

/// The ways in which the program is asked for something.
struct Signals {
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
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
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn recv(&mut self) -> Signal {
        tokio::select! {
            _ = self.hangup.recv() => Signal::Reload,
            _ = self.terminate.recv() => Signal::End,
            _ = self.interrupt.recv() => Signal::End,
        }
    }
}

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    async fn recv(&mut self) -> Signal {
        match tokio::signal::ctrl_c().await {
            Ok(()) => Signal::End,
            Err(_) => core::future::pending().await,
        }
    }
}

impl Signals {
    /// Waits until the program is asked to end.
    async fn end(&mut self) {
        while !matches!(self.recv().await, Signal::End) {}
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::log::LogFormat;

    /// Fails at the first connection as no service should.
    struct Faulty;

    impl Service for Faulty {
        const DESCRIPTORS: u64 = 1;

        async fn serve(&self, accepted: Accepted) -> Result<(), Failure> {
            match accepted.number {
                1 => panic!("as the test wants it"),
                _ => Ok(()),
            }
        }
    }

    #[tokio::test]
    async fn a_panic_ends_its_connection_and_gives_its_place_up() {
        let (progress, stage) = watch::channel(Progress::Serving);
        let hall = Arc::new(Hall {
            gate: Gate::new(1, 1),
            last_number: AtomicU64::new(0),
            metrics: Arc::default(),
            stage: Stage(stage),
            idle: None,
            socket_buffer: 256,
            log: Log::new(false, LogFormat::Text),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let door = Door { listener, service: Slot::new(Faulty) };
        let attended = tokio::spawn(attend(hall.clone(), door, false));
        for _ in 0..2 {
            let mut tcp = TcpStream::connect(address).await.unwrap();
            let _ = tokio::io::AsyncReadExt::read(&mut tcp, &mut [0]).await;
        }
        progress.send(Progress::Draining).unwrap();
        attended.await.unwrap().unwrap();
        let page = hall.metrics.text(1);
        for sample in ["connections_total 2", "connections 0", "errors_total{kind=\"transport\"} 1"]
        {
            assert!(page.contains(&format!("\nnested_tls_{sample}\n")), "{page}");
        }
    }
}
