//! What the worst peers make a machine hold: no more than `Limits::total`, with what rustls needs
//! itself, what rounding up costs, and what small chunks cost beside their bytes.

use nested_tls::*;

use crate::live;
use crate::support::crypto::Rng;
use crate::support::hostile::{self, DATA, HANDSHAKE, Hostile};
use crate::support::setup::{Mix, Setup, Side};

const SMALL: Limits = Limits {
    wire_in: 4096,
    record: 16_384 + 5 + 256,
    handshake: 24 * 1024,
    plaintext: 4096,
    wire_out: 4096,
    messages: 4096,
};

/// The most that a machine held after any call.
struct Held {
    before: usize,
    most: usize,
    limits: Limits,
}

impl Held {
    fn new(limits: Limits) -> Self {
        Self { before: live(), most: 0, limits }
    }

    fn look(&mut self, ports: &impl Ports) {
        assert!(ports.buffered() <= self.limits.total());
        self.most = self.most.max(live().saturating_sub(self.before));
    }

    fn judge(&self, what: &str) {
        let bound = self.limits.total();
        eprintln!("{what}: {} bytes, {bound} allowed", self.most);
        assert!(self.most <= bound, "{what}: {} bytes, {bound} allowed", self.most);
    }
}

/// Give `ports` as much of `bytes` as it takes; returns how much that was.
fn offer(ports: &mut impl Ports, bytes: &[u8]) -> usize {
    let mut taken = 0;
    while taken < bytes.len() {
        let Some(space) = ports.wire_in() else { break };
        let n = space.len().min(bytes.len() - taken);
        space[..n].copy_from_slice(&bytes[taken..taken + n]);
        taken += n;
        if ports.wire_received(n).is_err() {
            return bytes.len();
        }
    }
    taken
}

fn output(ports: &mut impl Ports) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(more) = ports.wire_out_bytes() {
        bytes.extend_from_slice(&more);
    }
    bytes
}

/// A session with a hostile peer.
fn session(setup: &Setup) -> (Session, Hostile) {
    let mut left = setup.session(Side::Left).ports;
    let mut peer = Hostile::new(5, &setup.outer_end(Side::Right));
    peer.connect(&mut |bytes| {
        offer(&mut left, bytes);
        output(&mut left)
    });
    (left, peer)
}

pub(crate) fn a_peer_that_never_reads_and_writes_without_end() {
    for limits in [Limits::default(), SMALL] {
        for size in [1, 100, 16_000] {
            let setup = Setup { limits, ..Setup::default() };
            let pair = setup.connected();
            let (mut left, mut right) = (pair.left.ports, pair.right.ports);
            let mut held = Held::new(limits);
            // The user writes and does not read; nothing leaves.
            let (mut written, mut received) = (0, 0);
            for _ in 0..20_000 {
                written += left.plain_write(&vec![1; size]).unwrap();
                let mut slices: [&[u8]; 8] = [&[]; 8];
                left.wire_out_slices(&mut slices);
                held.look(&left);
            }
            // The peer's output is not counted: it is dropped before each look.
            let mut most = 0;
            for _ in 0..300 {
                let before = live();
                right.plain_write(&vec![2; size]).unwrap();
                let bytes = output(&mut right);
                let taken = offer(&mut left, &bytes);
                received += taken;
                let all = taken == bytes.len();
                drop(bytes);
                most = most.max(live().saturating_sub(before));
                held.look(&left);
                if !all {
                    break;
                }
            }
            assert!(written <= limits.total() && received <= limits.total());
            held.judge(&format!("never read, {size} bytes at a time"));
        }
    }
}

/// A 64 KiB handshake message in fragments of one byte: before the handshake's end on either
/// layer, and after it.
pub(crate) fn a_large_message_in_the_smallest_fragments() {
    for limits in [Limits::default(), SMALL] {
        let setup = Setup { limits, mix: Mix::ServerServer, ..Setup::default() };
        let fragment = |byte: u8| [22, 3, 1, 0, 1, byte];
        let message = hostile::handshake(1, &Rng(1).bytes(0xffff));
        // The outer layer's ClientHello, on the wire.
        let mut left = setup.nested(Side::Left).ports;
        let mut held = Held::new(limits);
        for byte in &message {
            offer(&mut left, &fragment(*byte));
            held.look(&left);
        }
        assert!(matches!(left.failure().unwrap().kind(), ErrorKind::Limit { .. }));
        held.judge("ClientHello outside");
        drop(left);
        // The inner one's, by the host.
        let mut left = setup.nested(Side::Left).ports;
        let mut host = setup.session(Side::Right).ports;
        for _ in 0..4 {
            let bytes = output(&mut host);
            offer(&mut left, &bytes);
            let bytes = output(&mut left);
            offer(&mut host, &bytes);
        }
        let mut held = Held::new(limits);
        for bytes in message.chunks(100) {
            let bytes: Vec<u8> = bytes.iter().flat_map(|byte| fragment(*byte)).collect();
            if host.plain_write(&bytes).unwrap() == 0 {
                break;
            }
            let bytes = output(&mut host);
            offer(&mut left, &bytes);
            drop(bytes);
            held.look(&left);
        }
        assert_eq!(left.failure().unwrap().layer(), Layer::Inner);
        assert!(matches!(left.failure().unwrap().kind(), ErrorKind::Limit { .. }));
        held.judge("ClientHello inside");
    }
}

pub(crate) fn a_large_ticket_in_the_smallest_fragments() {
    for limits in [Limits::default(), SMALL] {
        let setup = Setup { limits, ..Setup::default() };
        // The tickets are the configuration's, not the connection's own.
        let role = setup.outer_end(Side::Left).role();
        let mut left = Session::new(role.clone(), limits).unwrap();
        let mut peer = Hostile::new(5, &setup.outer_end(Side::Right));
        peer.connect(&mut |bytes| {
            offer(&mut left, bytes);
            output(&mut left)
        });
        let ticket = hostile::ticket(0xffff - 14);
        let mut held = Held::new(limits);
        for _ in 0..3 {
            for byte in &ticket {
                let record = peer.seal(HANDSHAKE, &[*byte]);
                offer(&mut left, &record);
                drop(record);
                held.look(&left);
                if left.failure().is_some() {
                    break;
                }
            }
        }
        held.judge("ticket");
        // Larger than the limit is refused; what is complete is given back.
        assert_eq!(left.failure().is_some(), limits == SMALL);
        if left.failure().is_none() {
            left.wire_received(0).unwrap();
            assert_eq!(left.buffered(), 0);
            let with = live();
            drop(left);
            let kept = with - live();
            assert!(kept < 16 * 1024, "{kept} bytes kept");
        }
        drop(role);
    }
}

pub(crate) fn tickets_without_end() {
    let setup = Setup::default();
    let (mut left, mut peer) = session(&setup);
    let mut held = Held::new(setup.limits);
    let mut feed = |left: &mut Session, peer: &mut Hostile, n: usize| {
        for _ in 0..n {
            let record = peer.seal(HANDSHAKE, &hostile::ticket(1000));
            offer(left, &record);
            drop(record);
            held.look(left);
        }
    };
    feed(&mut left, &mut peer, 100);
    let warm = live();
    feed(&mut left, &mut peer, 5000);
    let grown = live().saturating_sub(warm);
    assert!(grown < 1000, "{grown} bytes more after 5000 tickets");
    assert_eq!(left.failure(), None);
    let record = peer.seal(DATA, b"still there");
    offer(&mut left, &record);
    assert_eq!(left.plain_out(), Plaintext::Bytes(b"still there"));
}
