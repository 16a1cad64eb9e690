//! The machine beside what its users have today, and beside the bare AEAD: `cargo bench`.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

use support::contestants;

/// Name, bytes of a message, messages per transmission.
const ONE_WAY: [(&str, usize, usize); 4] = [
    ("bulk, full records", support::FULL, 1),
    ("bulk, 64 KiB at a time", 1 << 16, 1),
    ("256 B", 256, 1),
    ("256 B, 16 together", 256, 16),
];

fn one_way(c: &mut Criterion) {
    for (name, len, count) in ONE_WAY {
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Bytes((len * count) as u64));
        let data = vec![7; len];
        for (who, mut contestant) in contestants::in_memory() {
            group.bench_function(who, |b| b.iter(|| contestant.send(&data, count)));
        }
    }
}

fn echo(c: &mut Criterion) {
    let mut group = c.benchmark_group("256 B, request and response");
    let data = [7; 256];
    for (who, mut contestant) in contestants::in_memory() {
        group.bench_function(who, |b| b.iter(|| contestant.echo(&data)));
    }
}

fn handshake(c: &mut Criterion) {
    let mut group = c.benchmark_group("handshake, both ends");
    for (who, shake) in contestants::handshakes() {
        group.bench_function(who, |b| b.iter(shake));
    }
}

fn sizes(c: &mut Criterion) {
    let mut group = c.benchmark_group("sizes");
    for (who, mut contestant) in contestants::in_memory() {
        for size in (0..=20).step_by(2).map(|power| 1 << power) {
            let data = vec![7; size];
            group.throughput(Throughput::Bytes(size as u64));
            group.bench_function(BenchmarkId::new(who, size), |b| {
                b.iter(|| contestant.send(&data, 1));
            });
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(30);
    targets = one_way, echo, handshake, sizes
}
criterion_main!(benches);
