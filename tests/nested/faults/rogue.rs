//! A peer with the keys of both layers and manners on neither.

use nested_tls::{Layer, Nested, Ports};

use crate::support::hostile::{DATA, Hostile};
use crate::support::party::{Machine, Party};
use crate::support::setup::{Setup, Side};

/// The peer of a machine on the left, established on both layers.
pub struct Rogue {
    outer: Hostile,
    inner: Hostile,
}

impl Rogue {
    pub fn connected(setup: &Setup) -> (Machine<Nested>, Self) {
        let mut victim = setup.nested(Side::Left);
        let outer = Hostile::new(5, &setup.outer_end(Side::Right));
        let inner = Hostile::new(6, &setup.inner_end(Side::Right));
        let mut rogue = Self { outer, inner };
        rogue.outer.connect(&mut |bytes| {
            victim.receive(bytes);
            victim.transmit_all()
        });
        let mut came = rogue.outer.open(&[]);
        for _ in 0..10 {
            for (_, payload) in came.iter().filter(|(typ, _)| *typ == DATA) {
                rogue.inner.handshake(payload);
            }
            let flight = rogue.inner.take();
            if flight.is_empty() && !rogue.inner.is_handshaking() {
                return (victim, rogue);
            }
            for piece in flight.chunks(16_000) {
                victim.receive(&rogue.outer.seal(DATA, piece));
            }
            came = rogue.outer.open(&victim.transmit_all());
        }
        panic!("the handshakes do not end: {:?}", victim.report());
    }

    pub fn layer(&mut self, layer: Layer) -> &mut Hostile {
        if layer == Layer::Outer { &mut self.outer } else { &mut self.inner }
    }

    /// What `seal` makes of the keys of `layer`, as it goes on the wire.
    pub fn on(&mut self, layer: Layer, seal: impl FnOnce(&mut Hostile) -> Vec<u8>) -> Vec<u8> {
        let sealed = seal(self.layer(layer));
        match layer {
            Layer::Outer => sealed,
            Layer::Inner => self.wrap(&sealed),
        }
    }

    /// Outer records around any inner bytes.
    pub fn wrap(&mut self, inner: &[u8]) -> Vec<u8> {
        inner.chunks(16_000).flat_map(|piece| self.outer.seal(DATA, piece)).collect()
    }
}

/// Give `victim` all of `bytes`, and take what it says and reads. Returns both counts.
pub fn feed(victim: &mut Nested, mut bytes: &[u8]) -> (usize, usize) {
    let (mut said, mut read) = (0, 0);
    loop {
        let taken = victim.wire_in_from(&mut bytes).unwrap_or(bytes.len());
        let total = victim.limits().total();
        assert!(victim.buffered() <= total, "{} of {total} bytes", victim.buffered());
        while let Some(bytes) = victim.wire_out_bytes() {
            said += bytes.len();
        }
        let plain = victim.plain_out_bytes().map_or(0, |plain| plain.len());
        read += plain;
        if bytes.is_empty() || victim.failure().is_some() {
            return (said, read);
        }
        assert!(taken + plain > 0, "{} bytes that nobody takes", bytes.len());
    }
}
