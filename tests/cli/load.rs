//! Load: many connections of every manner at once. Memory stays bounded, descriptors come back, honest clients notice
//! little.
//!
//! `NESTED_TLS_LOAD=full` has 2600 connections at a time, 600 of them misbehaving, `NESTED_TLS_LOAD=soak` goes on for ten minutes; without it a
//! small load takes some seconds. The figures are printed: `cargo test ... load -- --nocapture`.

mod crowd;
mod parties;
mod process;

use std::io::{self, BufRead, BufReader};
use std::process::ChildStderr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nested_tls::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::support::{Server, echo_server, noise, relay};
use crowd::{Crowd, MANNERS};
use parties::{Both, Client};
use process::Figures;

/// How much of everything.
#[derive(Clone, Copy, Debug)]
struct Size {
    /// Honest connections that stay open throughout.
    held: usize,
    /// Clients of each manner that misbehave at the same time.
    each: usize,
    /// Honest connections that transfer much, of those that are held.
    busy: usize,
    /// How much each of them sends, and gets back.
    bytes: usize,
    /// Seconds that a handshake may take; so long the half-open ones stay.
    handshake: &'static str,
    /// Measurements without the crowd and with it, alternating.
    rounds: usize,
    /// How long the whole goes on after that.
    soak: Option<Soak>,
}

/// When figures are compared, from the begin.
#[derive(Clone, Copy, Debug)]
struct Soak {
    early: Duration,
    late: Duration,
}

impl Size {
    fn chosen() -> Self {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        match std::env::var("NESTED_TLS_LOAD").as_deref() {
            Ok("full") => Self {
                held: 2000,
                each: 100,
                busy: 8,
                bytes: 4 << 20,
                handshake: "10",
                rounds: 5,
                soak: None,
            },
            Ok("soak") => Self {
                held: 300,
                each: 30,
                busy: 8,
                bytes: 1 << 20,
                handshake: "10",
                rounds: 3,
                soak: Some(Soak { early: minutes(2), late: minutes(10) }),
            },
            Ok(other) => panic!("NESTED_TLS_LOAD is full or soak, not {other}"),
            Err(_) => Self {
                held: 40,
                each: 4,
                busy: 4,
                bytes: 128 << 10,
                handshake: "2",
                rounds: 3,
                soak: None,
            },
        }
    }

    fn connections(&self) -> usize {
        self.held + self.each * MANNERS.len()
    }
}

#[test]
fn a_host_bears_the_load() {
    let endpoint = parties::endpoint().to_string();
    // One towards the client, one towards the endpoint.
    bears_the_load("relay", 2, |options| relay(&endpoint, options));
}

#[test]
fn a_server_bears_the_load() {
    bears_the_load("serve", 1, echo_server);
}

/// How much a host takes from a client that never reads.
fn taken_for_nothing(options: &[&str]) -> usize {
    let server = relay(&parties::endpoint().to_string(), options);
    runtime().block_on(async {
        let client = Client::new(&server.address);
        let mut stream = client.over(client.narrow_tcp().await.unwrap()).await.unwrap();
        let mut taken = 0;
        let held_up = Duration::from_secs(1);
        while let Ok(written) = tokio::time::timeout(held_up, stream.write(&[7; 4096])).await {
            taken += written.unwrap();
        }
        taken
    })
}

#[test]
fn what_nobody_reads_has_a_bound() {
    let (little, more) = (
        taken_for_nothing(&["--socket-buffer", "16"]),
        taken_for_nothing(&["--socket-buffer", "0"]),
    );
    println!("{} KiB taken for nothing, {} KiB where the system decides", little >> 10, more >> 10);
    assert!(little < 2 << 20, "{little} bytes");
    assert!(little < more, "{little} bytes, {more} where the system decides");
}

/// A connection takes `each` descriptors.
fn bears_the_load(name: &str, each: usize, start: impl FnOnce(&[&str]) -> Server) {
    // One at a time: each measures.
    static TURN: Mutex<()> = Mutex::new(());
    let size = Size::chosen();
    let _turn = size.soak.is_none().then(|| TURN.lock().unwrap_or_else(PoisonError::into_inner));
    // The ends of connections that are in this process, for both tests.
    let descriptors = process::raise_limit();
    assert!(
        descriptors > 4 * size.connections() as u64 + 200,
        "{descriptors} descriptors are too few: see ulimit -Hn"
    );

    let mut server = start(&["--timeout", size.handshake]);
    let fresh = Figures::of(&server.child);
    let told = listen(server.child.stderr.take().unwrap());
    let client = Client::new(&server.address);
    let mut honest = Honest::new(client.clone());
    // What is made once is made.
    honest.hold(1);
    honest.release();
    let idle = settled(&server, fresh.descriptors, "the first connection to be over");

    let begun = Instant::now();
    honest.hold(size.held);
    let took = begun.elapsed();
    let full = Figures::of(&server.child);
    let per_connection = (full.resident.saturating_sub(idle.resident)) as f64 / size.held as f64;
    println!(
        "{name}: {} connections established in {:.1} s, {per_connection:.1} KiB resident each ({} KiB before, {} KiB with them)",
        size.held,
        took.as_secs_f64(),
        idle.resident,
        full.resident,
    );
    // Two machines, a configuration for each layer, and a task that keeps no buffers.
    assert!(per_connection < 24.0, "an idle connection takes {per_connection} KiB");

    let (mut alone, mut crowded) = (Vec::new(), Vec::new());
    for _ in 0..size.rounds {
        alone.push(honest.throughput(size));
        let crowd = Crowd::gather(&client, size.each);
        crowded.push(honest.throughput(size));
        let slowest = honest.greet_all();
        let shown = crowd.dismiss();
        println!(
            "{name}: alone {:.1} MiB/s, crowded {:.1} MiB/s; slowest answer of all held {:.0} ms; {:?} {shown:?}",
            alone.last().unwrap(),
            crowded.last().unwrap(),
            slowest.as_secs_f64() * 1e3,
            MANNERS,
        );
    }
    let (alone, crowded) = (median(alone), median(crowded));
    println!(
        "{name}: throughput of honest clients, {:.2} of what it is without the others ({crowded:.1} of {alone:.1} MiB/s)",
        crowded / alone
    );
    // The crowd's own work is on the same processors, and who else uses them is not known.
    assert!(crowded > alone / 20.0, "honest clients starve");

    let peak = Figures::of(&server.child).peak;
    let most = peak.saturating_sub(idle.resident) / size.connections() as u64;
    println!("{name}: at most {peak} KiB resident, {most} KiB for each of {}", size.connections());
    // Two machines, and what is in hand in both directions; never more per connection, whatever it does.
    let bound = (Limits::default().total() + 2 * 64 * 1024) / 1024;
    assert!(most < bound as u64, "{most} KiB for each connection");

    if let Some(soak) = size.soak {
        let compare = |at: Duration, honest: &mut Honest| {
            let crowd = Crowd::gather(&client, size.each);
            while begun.elapsed() < at {
                honest.greet_all();
                thread::sleep(Duration::from_secs(1));
            }
            let shown = crowd.dismiss();
            let figures =
                settled(&server, fresh.descriptors + each * size.held, "the crowd to be gone");
            println!("{name}: after {at:?} {figures:?}; {MANNERS:?} {shown:?}");
            figures
        };
        let early = compare(soak.early, &mut honest);
        let late = compare(soak.late, &mut honest);
        assert_eq!(late.descriptors, early.descriptors, "descriptors leak");
        let bound = early.resident + early.resident / 10 + 2048;
        assert!(late.resident <= bound, "{} KiB became {}", early.resident, late.resident);
    }

    honest.release();
    let after = settled(&server, fresh.descriptors, "all connections to be over");
    server.signal("TERM");
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
    println!(
        "{name}: before {idle:?}, afterwards {after:?}; {} lines logged",
        told.join().unwrap()
    );
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Looks again and again, for a minute.
fn wait_for(what: &str, mut happened: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !happened() {
        assert!(begun.elapsed() < Duration::from_secs(60), "waited in vain for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// The figures once the server has no more than `descriptors`.
fn settled(server: &Server, descriptors: usize, what: &str) -> Figures {
    wait_for(what, || Figures::of(&server.child).descriptors <= descriptors);
    Figures::of(&server.child)
}

/// Reads what a server says, so that it is never kept waiting; gives the number of lines.
fn listen(stderr: ChildStderr) -> thread::JoinHandle<usize> {
    thread::spawn(move || {
        let lines = BufReader::new(stderr).lines().map_while(Result::ok);
        lines.inspect(|line| assert!(!line.contains("panicked"), "{line}")).count()
    })
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// Clients that mean well.
struct Honest {
    runtime: Runtime,
    client: Client,
    held: Vec<Both>,
}

impl Honest {
    fn new(client: Client) -> Self {
        Self { runtime: runtime(), client, held: Vec::new() }
    }

    /// Opens so many connections, 32 at a time, and has a round trip on each.
    fn hold(&mut self, count: usize) {
        let Self { runtime, client, held } = self;
        runtime.block_on(async {
            let mut tasks: JoinSet<io::Result<(Both, Duration)>> = JoinSet::new();
            let mut begun = 0;
            while held.len() < count {
                if begun < count && tasks.len() < 32 {
                    let client = client.clone();
                    tasks.spawn(async move { greet(client.connect().await?).await });
                    begun += 1;
                } else if let Some(joined) = tasks.join_next().await {
                    held.push(joined.unwrap().unwrap().0);
                }
            }
        });
    }

    /// Has a round trip on all at once, and says how long the slowest took.
    fn greet_all(&mut self) -> Duration {
        let Self { runtime, held, .. } = self;
        runtime.block_on(async {
            let mut tasks: JoinSet<_> = held.drain(..).map(greet).collect();
            let mut slowest = Duration::ZERO;
            while let Some(joined) = tasks.join_next().await {
                let (stream, took) = joined.unwrap().unwrap();
                held.push(stream);
                slowest = slowest.max(took);
            }
            slowest
        })
    }

    /// MiB per second of several new connections that send at once, and get all back.
    fn throughput(&mut self, size: Size) -> f64 {
        let Self { runtime, client, .. } = self;
        let data: Arc<[u8]> = noise(size.bytes).into();
        let begun = Instant::now();
        runtime.block_on(async {
            let mut tasks = JoinSet::new();
            for _ in 0..size.busy {
                tasks.spawn(transfer(client.clone(), data.clone()));
            }
            while let Some(joined) = tasks.join_next().await {
                joined.unwrap().unwrap();
            }
        });
        (size.busy * size.bytes) as f64 / f64::from(1 << 20) / begun.elapsed().as_secs_f64()
    }

    /// Ends all connections in order.
    fn release(&mut self) {
        let Self { runtime, held, .. } = self;
        runtime.block_on(async {
            let mut tasks: JoinSet<_> = held.drain(..).map(part).collect();
            while let Some(joined) = tasks.join_next().await {
                joined.unwrap().unwrap();
            }
        });
    }
}

async fn greet(mut stream: Both) -> io::Result<(Both, Duration)> {
    let begun = Instant::now();
    stream.write_all(b"well?").await?;
    stream.flush().await?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await?;
    assert_eq!(&answer, b"well?");
    Ok((stream, begun.elapsed()))
}

async fn part(mut stream: Both) -> io::Result<()> {
    stream.close_write().await?;
    assert_eq!(stream.read(&mut [0]).await?, 0);
    stream.shutdown().await
}

async fn transfer(client: Client, data: Arc<[u8]>) -> io::Result<()> {
    let (mut input, mut output) = tokio::io::split(client.connect().await?);
    let send = async {
        output.write_all(&data).await?;
        output.flush().await
    };
    let mut back = vec![0; data.len()];
    let (sent, received) = tokio::join!(send, input.read_exact(&mut back));
    sent?;
    received?;
    assert!(back[..] == data[..], "what came back is not what was sent");
    part(input.unsplit(output)).await
}
