//! Every figure of README's table as a ratio, from rounds in which the contestants take turns.
//!
//! `cargo bench --features tokio --bench ratios` prints the table; with `-- --write` it also
//! replaces the one in benches/README.md and draws benches/ratios.svg. `-- --only WORK WHO COUNT`
//! does one contestant's work so many times and nothing else, for a profiler to look at; `-- --time
//! WORK` prints what it costs this crate, in microseconds, for who compares whole processes.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::env;
use std::sync::atomic::{AtomicU64, Ordering};

use support::contestants::{self, NESTED, PLAIN, STACKED, STACKED_OWNED};
use support::link::Contestant;
use support::report::{Better, Row, Table};
use support::rounds::{self, Ratio, Turn};
use support::sockets::{self, Sockets};
use support::{FULL, clock};

/// Work in memory: what it is called, bytes of a message, messages per transmission.
const ONE_WAY: [(&str, usize, usize); 4] = [
    ("bulk, full records", FULL, 1),
    ("bulk, 64 KiB at a time", 1 << 16, 1),
    ("256 B one way, one per transmission", 256, 1),
    ("256 B one way, 16 waiting together", 256, 16),
];
const ECHO: &str = "256 B request and response";
const HANDSHAKE: &str = "full nested handshake, both ends";
const HANDSHAKE_TOKIO: &str = "the same, adapters over an in-memory pipe";

fn main() {
    let args: Vec<String> = env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if let [flag, work, who, count] = &args[..] {
        assert_eq!(flag, "--only", "unknown option");
        only(work, who, count.parse().unwrap());
        return;
    }
    if let [flag, work] = &args[..]
        && flag == "--time"
    {
        time(work);
        return;
    }
    let rounds = env::var("NESTED_TLS_BENCH_ROUNDS").map_or(41, |n| n.parse().unwrap());
    let only = args.iter().find(|arg| !arg.starts_with('-'));
    let wanted = |work: &str| only.is_none_or(|part| work.contains(part.as_str()));
    let mut table = Table::default();
    for (work, len, count) in ONE_WAY.into_iter().filter(|(work, ..)| wanted(work)) {
        let data = vec![7; len];
        let act = |contestant: &mut dyn Contestant| contestant.send(&data, count);
        compare(&mut table, work, rounds, &act);
    }
    if wanted(ECHO) {
        compare(&mut table, ECHO, rounds, &|contestant| contestant.echo(&[7; 256]));
    }
    if wanted("loopback") {
        loopback(&mut table, rounds);
    }
    if wanted("wire") {
        wire(&mut table);
    }
    if wanted(HANDSHAKE) {
        handshakes(&mut table, rounds);
    }
    table.add_memory();
    print!("{}", table.markdown());
    if args.iter().any(|arg| arg == "--write") {
        table.write();
    }
}

/// All contestants in memory at the same work.
fn compare(table: &mut Table, work: &str, rounds: usize, act: &dyn Fn(&mut dyn Contestant)) {
    let names: Vec<_> = contestants::in_memory().iter().map(|(name, _)| *name).collect();
    let times = rounds::run(rounds, |random| {
        let mut turns: Vec<Turn<'_>> = Vec::new();
        for (_, enter) in contestants::IN_MEMORY {
            let block = rounds::displacement(random);
            let Some(mut contestant) = enter() else { continue };
            turns.push(Box::new(move |count| {
                let _ = &block;
                clock::thread(|| {
                    for _ in 0..count {
                        act(&mut *contestant);
                    }
                })
            }));
        }
        turns
    });
    table.add_times(work, &names, &times);
    for (name, theirs) in names.iter().zip(&times).skip(1) {
        let ratios = theirs.iter().zip(&times[0]).map(|(theirs, ours)| theirs / ours).collect();
        table.add(Row::new(work, name, Better::Higher, Ratio::of(ratios)));
    }
}

fn handshakes(table: &mut Table, rounds: usize) {
    let contestants = contestants::handshakes();
    let names: Vec<_> = contestants.iter().map(|(name, _)| *name).collect();
    let turn = |mut act: Box<dyn FnMut()>| -> Turn<'static> {
        Box::new(move |count| clock::thread(|| (0..count).for_each(|_| act())))
    };
    let times = rounds::run(rounds, |_| {
        contestants.iter().map(|&(_, shake)| turn(Box::new(shake))).collect()
    });
    table.add_times(HANDSHAKE, &names, &times);
    for (name, theirs) in names.iter().zip(&times).skip(1) {
        let ratios = theirs.iter().zip(&times[0]).map(|(theirs, ours)| ours / theirs).collect();
        table.add(Row::new(HANDSHAKE, name, Better::Lower, Ratio::of(ratios)));
    }
    let times = rounds::run(rounds, |_| {
        let (ours, theirs) = sockets::tokio_handshakes();
        vec![turn(Box::new(ours)), turn(Box::new(theirs))]
    });
    table.add_times(HANDSHAKE_TOKIO, &[NESTED, STACKED], &times);
    let ratios = times[0].iter().zip(&times[1]).map(|(ours, theirs)| ours / theirs).collect();
    table.add(Row::new(HANDSHAKE_TOKIO, STACKED, Better::Lower, Ratio::of(ratios)));
}

/// CPU time of the whole process, kernel included, over sockets.
fn loopback(table: &mut Table, rounds: usize) {
    type Enter = fn() -> Box<dyn Sockets>;
    let tokio: [Enter; 3] = [
        || Box::new(sockets::tokio_nested()),
        || Box::new(sockets::tokio_stacked()),
        || Box::new(sockets::tokio_plain()),
    ];
    let blocking: [Enter; 3] = [
        || Box::new(sockets::blocking_nested()),
        || Box::new(sockets::blocking_stacked()),
        || Box::new(sockets::blocking_plain()),
    ];
    let data = vec![7; 1 << 16];
    for (adapter, who, enter) in [("tokio", STACKED, tokio), ("blocking", STACKED_OWNED, blocking)]
    {
        let [echoes, bulk] = [true, false].map(|echo| {
            let writes = AtomicU64::new(0);
            let flushes = AtomicU64::new(0);
            let times = rounds::run(rounds, |random| {
                let mut turns: Vec<Turn<'_>> = Vec::new();
                for (i, enter) in enter.iter().enumerate() {
                    let block = rounds::displacement(random);
                    let mut sockets = enter();
                    let (data, writes, flushes) = (&data, &writes, &flushes);
                    turns.push(Box::new(move |count| {
                        let _ = &block;
                        let before = sockets.writes();
                        let time = clock::process(|| match echo {
                            true => sockets.echo(&data[..256], count as usize),
                            false => sockets.bulk(data, count as usize),
                        });
                        if i == 0 {
                            writes.fetch_add(sockets.writes() - before, Ordering::Relaxed);
                            flushes.fetch_add(2 * count, Ordering::Relaxed);
                        }
                        time
                    }));
                }
                turns
            });
            let [writes, flushes] = [writes, flushes].map(|n| n.into_inner() as f64);
            (times, writes / flushes)
        });
        let names = [NESTED, who, PLAIN];
        let part = |of: usize, times: &[Vec<f64>]| {
            Ratio::of(times[0].iter().zip(&times[of]).map(|(ours, theirs)| ours / theirs).collect())
        };
        let (times, writes) = echoes;
        let work = format!("256 B echo over loopback TCP, {adapter}");
        table.add_times(&work, &names, &times);
        table.add(Row::new(&work, who, Better::Lower, part(1, &times)));
        table.add(Row::new(&work, PLAIN, Better::Lower, part(2, &times)));
        table.add(Row::exact("the same: writes to the socket per flush", "one", writes));
        let work = format!("bulk over loopback TCP, {adapter}");
        let (times, _) = bulk;
        table.add_times(&work, &names, &times);
        table.add(Row::new(&work, who, Better::Higher, part(1, &times).map(|part| 1.0 / part)));
        table.add(Row::new(&work, PLAIN, Better::Lower, part(2, &times)));
    }
}

/// The bytes on the wire beside the plaintext: 16 MiB, and then in proportion.
fn wire(table: &mut Table) {
    let data = vec![7; 1 << 16];
    for (name, mut contestant) in contestants::in_memory() {
        (0..256).for_each(|_| contestant.send(&data, 1));
        let ratio = contestant.wire_bytes() as f64 / (256.0 * data.len() as f64);
        table.add(Row::exact(&format!("wire bytes of bulk, {name}"), "the plaintext", ratio));
    }
}

/// The median of some blocks of this crate's own work.
fn time(work: &str) {
    let one = |count| clock::thread(|| only(work, NESTED, count)).as_secs_f64() * 1e6;
    let count = if work == HANDSHAKE { 20 } else { 5000 };
    // The difference takes out what comes before the first message.
    let times = (0..11).map(|_| (one(2 * count) - one(count)) / count as f64).collect();
    println!("{:.2}", Ratio::of(times).median);
}

fn only(work: &str, who: &str, count: u64) {
    let named = |name: &str| name == who;
    if work == HANDSHAKE {
        let (_, shake) = contestants::handshakes().into_iter().find(|(n, _)| named(n)).unwrap();
        (0..count).for_each(|_| shake());
        return;
    }
    if work.contains("loopback") {
        let mut sockets: Box<dyn Sockets> = match (work.contains("tokio"), who == NESTED) {
            (true, true) => Box::new(sockets::tokio_nested()),
            (true, false) => Box::new(sockets::tokio_stacked()),
            (false, true) => Box::new(sockets::blocking_nested()),
            (false, false) => Box::new(sockets::blocking_stacked()),
        };
        match work.contains("echo") {
            true => sockets.echo(&[7; 256], count as usize),
            false => sockets.bulk(&[7; 1 << 16], count as usize),
        }
        return;
    }
    let (_, mut contestant) =
        contestants::in_memory().into_iter().find(|(name, _)| named(name)).unwrap();
    if work == ECHO {
        (0..count).for_each(|_| contestant.echo(&[7; 256]));
        return;
    }
    let (_, len, together) = ONE_WAY.into_iter().find(|(name, ..)| *name == work).unwrap();
    let data = vec![7; len];
    (0..count).for_each(|_| contestant.send(&data, together));
}
