//! Keying material of each layer, beside what rustls' own connections export.

use std::sync::{Arc, Mutex};

use nested_tls::{ErrorKind, Layer, Limits, Misuse, Ports, Role, Session};
use rustls::KeyLog;

use crate::support::pair::Pair;
use crate::support::party::Machine;
use crate::support::pki::{self, Version};
use crate::support::setup::{Mix, Setup, Side};

const LAYERS: [Layer; 2] = [Layer::Outer, Layer::Inner];

fn exporting() -> Setup {
    Setup { exporter: true, ..Setup::default() }
}

fn exported(ports: &impl Ports, layer: Layer, label: &[u8], context: &[u8]) -> [u8; 48] {
    let mut out = [0; 48];
    ports.export_keying_material(layer, &mut out, label, context).unwrap();
    out
}

#[test]
fn both_layers_export_what_rustls_does() {
    for mix in Mix::ALL {
        let setup = Setup { mix, ..exporting() };
        let mut pair = Pair::new(setup.nested(Side::Left), setup.glued(Side::Right));
        pair.settle();
        let ours = &pair.left.ports;
        for (label, context) in [
            (&b"EXPORTER-Channel-Binding"[..], &b""[..]),
            (b"EXPERIMENTAL-label", b"context"),
            (&[b'l'; 249], &[7; 10_000]),
            (b"", b""),
        ] {
            pair.right.with(|outer, inner| {
                for (layer, theirs) in LAYERS.into_iter().zip([outer, inner]) {
                    let expected =
                        theirs.export_keying_material([0; 48], label, Some(context)).unwrap();
                    assert_eq!(exported(ours, layer, label, context), expected, "{layer} {mix:?}");
                }
            });
        }
        assert_ne!(ours.tls_exporter(Layer::Outer), ours.tls_exporter(Layer::Inner));
    }
}

#[test]
fn material_stays_after_key_updates_and_closes() {
    let mut pair = exporting().connected();
    let before = LAYERS.map(|layer| pair.left.ports.tls_exporter(layer).unwrap());
    assert_eq!(LAYERS.map(|layer| pair.right.ports.tls_exporter(layer).unwrap()), before);
    for layer in LAYERS {
        pair.left.with(|nested| nested.update_keys(layer, true).unwrap());
    }
    pair.settle();
    pair.left.with(Ports::close);
    pair.right.with(Ports::close);
    pair.settle();
    for side in [&pair.left, &pair.right] {
        assert_eq!(LAYERS.map(|layer| side.ports.tls_exporter(layer).unwrap()), before);
    }
}

#[test]
fn what_can_not_be_exported_is_refused() {
    let refusal = |machine: &Machine<_>, layer, label: &[u8], len: usize| {
        let ports: &nested_tls::Nested = &machine.ports;
        let error = ports
            .export_keying_material(layer, &mut vec![0; len], label, b"")
            .expect_err("it was exported");
        assert_eq!(error.layer(), layer);
        let ErrorKind::Misuse(misuse) = error.kind() else { panic!("{error}") };
        *misuse
    };
    let fresh = exporting().nested(Side::Left);
    for layer in LAYERS {
        assert_eq!(refusal(&fresh, layer, b"l", 1), Misuse::NotEstablished);
    }
    let new = Setup { inner: Version::Tls12, ..exporting() }.connected();
    assert_eq!(refusal(&new.left, Layer::Inner, b"l", 1), Misuse::ExporterVersion);
    assert_eq!(refusal(&new.left, Layer::Outer, &[b'l'; 250], 1), Misuse::ExporterLength);
    assert_eq!(refusal(&new.left, Layer::Outer, b"l", 255 * 64 + 1), Misuse::ExporterLength);
    assert!(new.left.ports.tls_exporter(Layer::Outer).is_ok());

    let silent = Setup::default().connected();
    for layer in LAYERS {
        assert_eq!(refusal(&silent.left, layer, b"l", 1), Misuse::ExporterOff);
        assert_eq!(refusal(&silent.right, layer, b"l", 1), Misuse::ExporterOff);
    }
    let session = exporting().session(Side::Left);
    let error = session.ports.tls_exporter(Layer::Inner).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Misuse(Misuse::NotEstablished));
}

/// A key log that wants some of the secrets only.
#[derive(Debug, Default)]
struct Picky(Mutex<Vec<String>>);

impl KeyLog for Picky {
    fn log(&self, label: &str, _: &[u8], _: &[u8]) {
        self.0.lock().unwrap().push(label.into());
    }

    fn will_log(&self, label: &str) -> bool {
        label.contains("TRAFFIC")
    }
}

#[test]
fn the_users_key_log_gets_what_it_wants() {
    let log = Arc::new(Picky::default());
    let setup = Setup::default();
    let mut config = pki::outer().client(Version::Tls13);
    config.key_log = log.clone();
    let role = Role::client(config, pki::outer().name()).with_exporter();
    let left = Machine::new(1, || Session::new(role, Limits::default()).unwrap());
    let mut pair = Pair::new(left, setup.session(Side::Right));
    pair.settle();
    assert!(pair.left.ports.tls_exporter(Layer::Outer).is_ok());
    let mut logged = log.0.lock().unwrap().clone();
    logged.sort();
    assert_eq!(
        logged,
        [
            "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
            "CLIENT_TRAFFIC_SECRET_0",
            "SERVER_HANDSHAKE_TRAFFIC_SECRET",
            "SERVER_TRAFFIC_SECRET_0"
        ]
    );
}
