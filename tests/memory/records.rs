//! Allocations per record.

use nested_tls::*;

use crate::support::pair::Pair;
use crate::support::schedule::Told;
use crate::support::setup::{Setup, Side};
use crate::{allocations, live};

/// The most that one end of an idle connection takes, with what rustls keeps of it.
const IDLE: usize = 8 * 1024;

/// Two machines with both handshakes behind them, without those who watch them.
fn connected(setup: &Setup) -> (Nested, Nested) {
    let pair = setup.connected();
    (pair.left.ports, pair.right.ports)
}

/// What waits at the wire, by record.
fn records(ports: &mut impl Ports) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| ports.wire_out_bytes().map(|bytes| bytes.to_vec())).collect()
}

fn write_all(ports: &mut impl Ports, mut data: &[u8], records_of: &mut Vec<Vec<u8>>) {
    while !data.is_empty() {
        let n = ports.plain_write(data).unwrap();
        data = &data[n..];
        records_of.extend(records(ports));
    }
}

/// Feed `bytes` in reads of at most `read` bytes, and read all plaintext.
fn feed(ports: &mut impl Ports, mut bytes: &[u8], read: usize) -> usize {
    let mut plain = 0;
    while !bytes.is_empty() {
        let space = ports.wire_in().unwrap();
        let n = space.len().min(bytes.len()).min(read);
        space[..n].copy_from_slice(&bytes[..n]);
        ports.wire_received(n).unwrap();
        bytes = &bytes[n..];
        while let Plaintext::Bytes(some) = ports.plain_out() {
            let n = some.len();
            plain += n;
            ports.plain_consumed(n).unwrap();
        }
    }
    plain
}

pub(crate) fn receiving_a_record_allocates_nothing() {
    for setup in Setup::versions() {
        for size in [1, 256, 4000, 16_000] {
            // A record a read, a read of many records, reads that end anywhere.
            for read in [usize::MAX, 64 * 1024, 1460] {
                let _told = Told::new((setup.outer, setup.inner, size, read));
                let (mut left, mut right) = connected(&setup);
                let mut sealed = Vec::new();
                for _ in 0..200 {
                    write_all(&mut right, &vec![9; size], &mut sealed);
                }
                let count = sealed.len();
                assert!(count >= 200, "{count}");
                let bytes = sealed.concat();
                // The first half finds out how much is read at once.
                let half = sealed[..count / 2].concat().len();
                let (first, second) = bytes.split_at(half);
                let one_by_one = read == usize::MAX;
                let mut feed_all = |bytes: &[u8], records: &[Vec<u8>]| {
                    if one_by_one {
                        records.iter().map(|r| feed(&mut left, r, read)).sum()
                    } else {
                        feed(&mut left, bytes, read)
                    }
                };
                let mut plain: usize = feed_all(first, &sealed[..count / 2]);
                let mut more = 0;
                let taken = allocations(|| more = feed_all(second, &sealed[count / 2..]));
                plain += more;
                assert_eq!(plain, 200 * size);
                assert_eq!(taken, 0, "allocations for {} records", count - count / 2);
            }
        }
    }
}

pub(crate) fn sending_a_record_allocates_once_per_layer() {
    for setup in Setup::versions() {
        for size in [1, 256, 4000, 16_000, 60_000] {
            let _told = Told::new((setup.outer, setup.inner, size));
            let (mut left, _) = connected(&setup);
            // It is read from, too, so it is not idle between its records.
            left.wire_in();
            let data = vec![9; size];
            let mut send = || {
                let mut rest = &data[..];
                while !rest.is_empty() {
                    let n = left.plain_write(rest).unwrap();
                    rest = &rest[n..];
                    while let Some(bytes) = left.wire_out() {
                        let n = bytes.len();
                        left.wire_sent(n).unwrap();
                    }
                }
            };
            for _ in 0..10 {
                send();
            }
            let taken = allocations(|| {
                for _ in 0..100 {
                    send();
                }
            });
            let out = |layer| left.layer(layer).unwrap().records_out;
            let before = (out(Layer::Outer), out(Layer::Inner));
            let mut again = || {
                let mut rest = &data[..];
                while !rest.is_empty() {
                    let n = left.plain_write(rest).unwrap();
                    rest = &rest[n..];
                    while let Some(bytes) = left.wire_out() {
                        let n = bytes.len();
                        left.wire_sent(n).unwrap();
                    }
                }
            };
            again();
            let out = |layer| left.layer(layer).unwrap().records_out;
            let records = out(Layer::Outer) - before.0 + out(Layer::Inner) - before.1;
            assert!(
                taken as u64 <= 100 * records,
                "{taken} allocations for 100 times {records} records"
            );
        }
    }
}

/// A queue that was long gives its places back, whichever way it is emptied.
pub(crate) fn a_queue_that_was_long_takes_no_more_than_before() {
    let by_reference = |session: &mut Session| {
        while let Some(bytes) = session.wire_out() {
            let n = bytes.len();
            session.wire_sent(n).unwrap();
        }
    };
    let owned = |session: &mut Session| drop(records(session));
    for empty in [&by_reference as &dyn Fn(&mut Session), &owned] {
        let setup = Setup::default();
        let mut pair = Pair::new(setup.session(Side::Left), setup.session(Side::Right));
        pair.settle();
        let mut left = pair.left.ports;
        let before = live();
        for _ in 0..1000 {
            left.plain_write(b"x").unwrap();
        }
        empty(&mut left);
        let kept = live().saturating_sub(before);
        assert!(kept < 1024, "{kept} bytes kept");
    }
}

/// An idle connection holds what rustls keeps of it and a few hundred bytes.
pub(crate) fn an_idle_connection_gives_its_buffers_back() {
    for setup in Setup::versions() {
        let setup = Setup { mutual: false, ..setup };
        // The configurations are not the connection's own.
        let roles =
            Side::BOTH.map(|side| (setup.outer_end(side).role(), setup.inner_end(side).role()));
        let [mut left, mut right] = roles.clone().map(|(outer, inner)| {
            Session::new(outer, setup.limits).unwrap().nest(inner, Direct).unwrap()
        });
        for _ in 0..6 {
            let sealed = records(&mut left).concat();
            feed(&mut right, &sealed, usize::MAX);
            let sealed = records(&mut right).concat();
            feed(&mut left, &sealed, usize::MAX);
        }
        let data = vec![9; 300_000];
        for (from, to) in [(true, false), (false, true)] {
            let (from, to) = if (from, to) == (true, false) {
                (&mut left, &mut right)
            } else {
                (&mut right, &mut left)
            };
            let mut sealed = Vec::new();
            write_all(from, &data, &mut sealed);
            for record in &sealed {
                feed(to, record, usize::MAX);
            }
        }
        for mut ports in [left, right] {
            // As an adapter does before it waits.
            ports.wire_in();
            ports.wire_received(0).unwrap();
            assert_eq!(ports.buffered(), 0);
            let with = live();
            let inline = size_of_val(&ports);
            drop(ports);
            let held = with - live();
            let what = (setup.outer, setup.inner);
            eprintln!("{what:?}: {held} bytes on the heap, {inline} beside it");
            assert!(held + inline <= IDLE, "{what:?}: {held} + {inline} bytes");
        }
    }
}
