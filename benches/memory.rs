//! What an idle connection holds on the heap, and how that grows with their number.
//!
//! `cargo bench --features tokio --bench memory` prints the lines that `ratios` takes into its
//! table; with `-- --sweep` also 1 to 10 000 connections.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::alloc::System;
use std::fmt::Write as _;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;
use std::{env, fs};

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use support::report::MEMORY;
use support::{clock, sockets};
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex,
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn live() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// Heap bytes of one end on average, and CPU time of one pair's handshakes.
struct Taken {
    bytes: usize,
    handshake: Duration,
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Client,
    Server,
}

/// Write, flush, read what the other has to say, and then wait for more.
async fn talk(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut space = vec![7; 1 << 16];
    stream.write_all(&space).await.unwrap();
    stream.flush().await.unwrap();
    stream.read_exact(&mut space).await.unwrap();
    std::future::poll_fn(|cx| {
        let mut buf = ReadBuf::new(&mut space);
        assert!(Pin::new(&mut stream).poll_read(cx, &mut buf).is_pending(), "nothing more is sent");
        Poll::Ready(())
    })
    .await;
}

/// What one side of `count` connections holds that have carried data both ways and wait for more.
fn idle<L, R>(
    side: Side,
    count: usize,
    connect: impl AsyncFn(DuplexStream, DuplexStream) -> (L, R),
) -> Taken
where
    L: AsyncRead + AsyncWrite + Unpin,
    R: AsyncRead + AsyncWrite + Unpin,
{
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (mut clients, mut servers) = (Vec::new(), Vec::new());
        let mut handshake = Duration::ZERO;
        for _ in 0..count {
            // Holds all that one side writes before the other reads.
            let (left, right) = duplex(1 << 18);
            let mut ends = None;
            handshake += clock::asynchronous(async {
                ends = Some(connect(left, right).await);
            })
            .await;
            let (mut left, mut right) = ends.unwrap();
            tokio::join!(talk(&mut left), talk(&mut right));
            clients.push(Box::new(left));
            servers.push(Box::new(right));
        }
        let all = live();
        // The pipes go with the side that is dropped last, and don't count.
        match side {
            Side::Client => drop(clients),
            Side::Server => drop(servers),
        }
        let bytes = (all - live()).saturating_sub(count * size_of::<usize>()) / count;
        Taken { bytes, handshake: handshake / count as u32 }
    })
}

fn main() {
    let sides = [("client", Side::Client), ("server", Side::Server)];
    let mut lines = String::new();
    for (name, side) in sides {
        // What is made once, and not by a connection.
        idle(side, 1, sockets::connect_nested);
        idle(side, 1, sockets::connect_stacked);
        let ours = idle(side, 64, sockets::connect_nested).bytes;
        let theirs = idle(side, 64, sockets::connect_stacked).bytes;
        let missed = if ours > 8 * 1024 { ", missed" } else { "" };
        let _ = writeln!(
            lines,
            "| heap of an idle {name}: {ours} bytes | stacked tokio-rustls streams: {theirs} bytes \
             | {:.3} |  | 1 | ≤ 8192 bytes{missed} |",
            ours as f64 / theirs as f64,
        );
    }
    print!("{lines}");
    fs::create_dir_all(env!("CARGO_TARGET_TMPDIR")).unwrap();
    fs::write(MEMORY, lines).unwrap();

    if env::args().any(|arg| arg == "--sweep") {
        println!("\n| connections | who | client, bytes | handshake, µs of CPU |");
        println!("|--:|---|--:|--:|");
        for count in [1, 10, 100, 1_000, 10_000] {
            let taken = idle(Side::Client, count, sockets::connect_nested);
            sweep("nested-tls", count, taken);
            if count <= 1_000 {
                let taken = idle(Side::Client, count, sockets::connect_stacked);
                sweep("stacked tokio-rustls", count, taken);
            }
        }
    }
}

fn sweep(who: &str, count: usize, Taken { bytes, handshake }: Taken) {
    println!("| {count} | {who} | {bytes} | {} |", handshake.as_micros());
}
