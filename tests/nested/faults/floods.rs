//! Much of what is little: records and messages without end, or without content, or of a size that
//! nobody needs. An error of the layer where they come, or all goes on: in bounded memory, with
//! bounded answers, in time that grows with the bytes alone.

use std::time::Duration;

use nested_tls::{Layer, Nested, Ports};
use rustix::time::{ClockId, clock_gettime};

use super::rogue::{Rogue, feed};
use crate::support::hostile::{self, ALERT, DATA, HANDSHAKE, HEARTBEAT, HELLO_REQUEST, Hostile};
use crate::support::party::{Machine, Party};
use crate::support::setup::{Setup, Side};
use crate::support::tally::{Outcome, Place, Tally, base_seed, whole};

fn times() -> usize {
    if whole() { 100_000 } else { 600 }
}

fn cpu_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
}

fn outcome_of(victim: &Nested, layer: Layer) -> Option<Outcome> {
    let failure = victim.failure()?;
    assert_eq!(failure.layer(), layer, "{failure}");
    Some(if layer == Layer::Outer { Outcome::Outer } else { Outcome::Inner })
}

/// Until `victim` fails, or everything was sent: what it says and how long it takes are bounded.
fn pour(victim: &mut Nested, count: usize, mut next: impl FnMut(usize) -> Vec<u8>) -> usize {
    let (mut received, mut said, mut read) = (0, 0, 0);
    let mut quarters = [Duration::ZERO; 4];
    for i in 0..count {
        let bytes = next(i);
        received += bytes.len();
        let before = cpu_time();
        let (more_said, more_read) = feed(victim, &bytes);
        quarters[i * 4 / count] += cpu_time() - before;
        said += more_said;
        read += more_read;
        assert!(said <= received + 20_000, "{said} bytes said to {received}");
        if victim.failure().is_some() {
            return read;
        }
    }
    // Work that grew with what came before would make this a factor of seven.
    let [first, .., last] = quarters;
    assert!(last <= first * 4 + Duration::from_millis(50), "{quarters:?}");
    read
}

/// What a peer with the keys seals, again and again.
type Drop = fn(&mut Hostile, usize) -> Vec<u8>;

const AFTER_THE_HANDSHAKES: [(&str, Drop); 11] = [
    ("flood: empty data", |peer, _| peer.seal(DATA, b"")),
    ("flood: empty handshake messages", |peer, _| peer.seal(HANDSHAKE, b"")),
    ("flood: nothing but padding", |peer, _| peer.seal_padded(DATA, b"", 16_000)),
    ("flood: KeyUpdates", |peer, _| key_update(peer, &hostile::KEY_UPDATE)),
    ("flood: KeyUpdates that ask", |peer, _| key_update(peer, &hostile::KEY_UPDATE_REQUESTED)),
    ("flood: KeyUpdates in one record", |peer, _| {
        peer.seal(HANDSHAKE, &hostile::KEY_UPDATE.repeat(3000))
    }),
    ("flood: tickets", |peer, _| peer.seal(HANDSHAKE, &hostile::ticket(500))),
    ("flood: a huge message by the byte", |peer, i| {
        let byte = [4, 0, 0xff, 0xff].get(i % 0x1_0003).copied().unwrap_or(0);
        peer.seal(HANDSHAKE, &[byte])
    }),
    ("flood: HelloRequests", |peer, _| peer.seal(HANDSHAKE, &HELLO_REQUEST)),
    ("flood: warnings", |peer, _| peer.seal(ALERT, &[1, 90])),
    ("flood: records of no known type", |peer, _| peer.seal(HEARTBEAT, b"beat")),
];

fn key_update(peer: &mut Hostile, message: &[u8]) -> Vec<u8> {
    let record = peer.seal(HANDSHAKE, message);
    if peer.is_tls13() {
        peer.update_tx();
    }
    record
}

fn flood(setup: &Setup, layer: Layer, drop: Drop) -> Option<Outcome> {
    let (victim, mut rogue) = Rogue::connected(setup);
    let mut victim = victim.ports;
    let read = pour(&mut victim, times(), |i| rogue.on(layer, |peer| drop(peer, i)));
    assert_eq!(read, 0, "data that nobody sent");
    let failed = outcome_of(&victim, layer);
    if failed.is_none() {
        // Behind a message that is not whole there is no data.
        let held = victim.buffered();
        let bytes = rogue.on(Layer::Inner, |peer| peer.seal(DATA, b"all the same"));
        let (_, read) = feed(&mut victim, &bytes);
        assert!(read == 12 || held > 0 || victim.failure().is_some(), "it does not go on");
    }
    Some(failed.unwrap_or(Outcome::Completed))
}

/// Data in the smallest pieces that there are is data.
fn smallest(setup: &Setup, layer: Layer) -> Option<Outcome> {
    let (victim, mut rogue) = Rogue::connected(setup);
    let mut victim = victim.ports;
    let read = match layer {
        Layer::Inner => {
            pour(&mut victim, times(), |_| rogue.on(Layer::Inner, |peer| peer.seal(DATA, b"x")))
        }
        Layer::Outer => {
            let record = rogue.layer(Layer::Inner).seal(DATA, &vec![b'x'; times().min(16_000)]);
            let mut bytes = record.into_iter();
            let len = bytes.len();
            pour(&mut victim, len, |_| {
                rogue.layer(Layer::Outer).seal(DATA, &[bytes.next().unwrap()])
            })
        }
    };
    assert_eq!(victim.failure(), None);
    assert_eq!(read, if layer == Layer::Inner { times() } else { times().min(16_000) });
    Some(Outcome::Completed)
}

/// What anybody can say before there are keys, by record; the messages' types are the hello's that
/// the victim waits for.
fn before_the_keys(hello: u8) -> [(&'static str, Vec<u8>); 10] {
    let record = |typ: u8, payload: &[u8]| {
        let mut record = vec![typ, 3, 3];
        record.extend((payload.len() as u16).to_be_bytes());
        record.extend_from_slice(payload);
        record
    };
    let fragments = |message: &[u8], size| -> Vec<u8> {
        message.chunks(size).flat_map(|piece| record(HANDSHAKE, piece)).collect()
    };
    let huge = hostile::handshake(hello, &[0; 0xffff]);
    let mut endless = vec![hello, 0xff, 0xff, 0xff];
    endless.resize(200_000, 0);
    [
        ("flood: change_cipher_spec in clear", record(20, &[1]).repeat(times())),
        ("flood: warnings in clear", record(ALERT, &[1, 90]).repeat(times())),
        ("flood: close_notify in clear", record(ALERT, &[1, 0]).repeat(times())),
        ("flood: empty records in clear", record(HANDSHAKE, b"").repeat(times())),
        ("flood: data in clear", record(DATA, b"data").repeat(times())),
        ("giant: 64 KiB by the byte", fragments(&huge, 1)),
        ("giant: 64 KiB by the record", fragments(&huge, 1 << 14)),
        ("giant: 16 MiB announced", fragments(&endless, 1 << 14)),
        ("giant: 16 MiB by the byte", fragments(&endless[..150_000], 1)),
        ("giant: a record of 64 KiB", [&[22, 3, 3, 0xff, 0xff][..], &[hello; 0xffff]].concat()),
    ]
}

/// A machine that waits for its peer's hello on `layer`, and how bytes get there.
fn waiting(setup: &Setup, layer: Layer) -> (Machine<Nested>, Option<Hostile>) {
    let mut victim = setup.nested(Side::Left);
    if layer == Layer::Outer {
        victim.transmit_all();
        return (victim, None);
    }
    let mut host = Hostile::new(5, &setup.outer_end(Side::Right));
    host.connect(&mut |bytes| {
        victim.receive(bytes);
        victim.transmit_all()
    });
    host.open(&[]);
    (victim, Some(host))
}

fn waits_for(setup: &Setup, layer: Layer) -> u8 {
    use crate::support::setup::End;
    let end = match layer {
        Layer::Outer => setup.outer_end(Side::Left),
        Layer::Inner => setup.inner_end(Side::Left),
    };
    // A server for a ClientHello, a client for a ServerHello.
    if matches!(end, End::Server(_)) { 1 } else { 2 }
}

#[test]
fn floods_and_giants() {
    let mut tally = Tally::default();
    for setup in Setup::all() {
        let setup = Setup { tickets: 0, ..setup }.seeded(1 + base_seed());
        let told = |layer| (setup.outer, setup.inner, setup.mix, setup.seed, layer);
        for layer in [Layer::Outer, Layer::Inner] {
            // The outer keys are the host's.
            let keyed = if layer == Layer::Outer { Place::Host } else { Place::Peer };
            let keyless = if layer == Layer::Outer { Place::Wire } else { Place::Host };
            for (name, drop) in AFTER_THE_HANDSHAKES {
                tally.cell(keyed, name, told(layer), || flood(&setup, layer, drop));
            }
            tally.cell(keyed, "flood: one byte a record", told(layer), || smallest(&setup, layer));
            for (name, bytes) in before_the_keys(waits_for(&setup, layer)) {
                tally.cell(keyless, name, told(layer), || {
                    let (victim, mut host) = waiting(&setup, layer);
                    let mut victim = victim.ports;
                    let mut pieces = bytes.chunks(1000);
                    let count = pieces.len();
                    let read = pour(&mut victim, count, |_| {
                        let piece = pieces.next().unwrap();
                        match &mut host {
                            Some(host) => host.seal(DATA, piece),
                            None => piece.to_vec(),
                        }
                    });
                    assert_eq!(read, 0);
                    Some(outcome_of(&victim, layer).expect("all of it is refused"))
                });
            }
        }
    }
    tally.finish("floods and giants");
}
