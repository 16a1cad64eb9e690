//! What the feature `log` says: by levels and targets, and nothing that is secret.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, Once};

use log::{Level, LevelFilter, Log, Metadata, Record};
use nested_tls::*;
use rustls::KeyLog;

use crate::support::pair::Pair;
use crate::support::party::{Machine, Party};
use crate::support::pki::{self, Version};
use crate::support::schedule::Told;
use crate::support::setup::{End, Setup, Side};

thread_local! {
    /// What the machines of this thread said; tests have a thread each.
    static SAID: RefCell<Vec<(Level, String, String)>> = const { RefCell::new(Vec::new()) };
    static LEVEL: RefCell<LevelFilter> = const { RefCell::new(LevelFilter::Off) };
}

struct Capture;

impl Log for Capture {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        LEVEL.with_borrow(|level| metadata.level() <= *level)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let line = (record.level(), record.target().into(), record.args().to_string());
            SAID.with_borrow_mut(|said| said.push(line));
        }
    }

    fn flush(&self) {}
}

/// Runs `call`, and returns what was said by this crate.
fn said(level: LevelFilter, call: impl FnOnce()) -> Vec<(Level, String, String)> {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Capture).unwrap();
        log::set_max_level(LevelFilter::Trace);
    });
    LEVEL.set(level);
    SAID.take();
    call();
    LEVEL.set(LevelFilter::Off);
    SAID.take().into_iter().filter(|(_, target, _)| target.starts_with("nested_tls")).collect()
}

const OUTER: &str = "nested_tls::outer";
const INNER: &str = "nested_tls::inner";

/// All secrets of all handshakes.
#[derive(Debug, Default)]
struct Secrets(Mutex<Vec<Vec<u8>>>);

impl KeyLog for Secrets {
    fn log(&self, _: &str, _: &[u8], secret: &[u8]) {
        self.0.lock().unwrap().push(secret.to_vec());
    }
}

fn revealing(end: End, secrets: &Arc<Secrets>) -> Role {
    match end {
        End::Client(config, name) => {
            let mut config = (*config).clone();
            config.key_log = secrets.clone();
            Role::client(config, name)
        }
        End::Server(config) => {
            let mut config = (*config).clone();
            config.key_log = secrets.clone();
            Role::server(config)
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// No piece of `secret`, in any form in which Rust prints bytes.
fn is_absent(secret: &[u8], text: &str) -> bool {
    secret.windows(8).all(|piece| {
        let digits = hexadecimal(piece);
        let decimal = format!("{piece:?}");
        let decimal = decimal.trim_matches(['[', ']']);
        let plain = String::from_utf8_lossy(piece);
        let text = text.to_lowercase();
        ![&digits, decimal, &plain.to_lowercase()].iter().any(|form| text.contains(*form))
    })
}

const PLAINTEXT: &[u8] = b"Plaintext that nobody may write into a log";

fn conversation(setup: Setup, secrets: &Arc<Secrets>) {
    let machine = |side| {
        let outer = revealing(setup.outer_end(side), secrets);
        let inner = revealing(setup.inner_end(side), secrets);
        Machine::new(9, || {
            Session::new(outer, Limits::default()).unwrap().nest(inner, Direct).unwrap()
        })
    };
    let mut pair = Pair::new(machine(Side::Left), machine(Side::Right));
    pair.settle();
    pair.assert_established();
    pair.send(Side::Left, PLAINTEXT);
    pair.send(Side::Right, PLAINTEXT);
    for (layer, version) in [(Layer::Outer, setup.outer), (Layer::Inner, setup.inner)] {
        if version == Version::Tls13 {
            pair.left.update_keys(layer, true);
        }
    }
    pair.settle();
    pair.left.close();
    pair.right.close();
    pair.settle();
    assert_eq!(pair.right.report().read, PLAINTEXT);
}

#[test]
fn records_are_trace_and_changes_debug_and_nothing_is_secret() {
    for setup in Setup::versions() {
        let _told = Told::new(setup);
        let secrets = Arc::new(Secrets::default());
        let lines = said(LevelFilter::Trace, || conversation(setup, &secrets));
        let count = |level, target: &str, begin: &str| {
            let fits = |(l, t, text): &&(Level, String, String)| {
                *l == level && t == target && text.starts_with(begin)
            };
            lines.iter().filter(fits).count()
        };
        for target in [OUTER, INNER] {
            // Both ends write here.
            assert_eq!(count(Level::Debug, target, "established: "), 2, "{lines:#?}");
            assert_eq!(count(Level::Debug, target, "sent alert CloseNotify"), 2);
            assert_eq!(count(Level::Debug, target, "received alert CloseNotify"), 2);
            assert!(count(Level::Trace, target, "sent ClientHello, ") == 1);
            assert!(count(Level::Trace, target, "sent ApplicationData, ") >= 2);
            assert_eq!(count(Level::Debug, target, "failed"), 0);
        }
        assert!(lines.iter().all(|(level, ..)| *level >= Level::Debug));
        let debug = lines.iter().filter(|(level, ..)| *level == Level::Debug).count();
        assert_eq!(debug, 2 * 6, "{lines:#?}");

        let text: String = lines.iter().map(|(_, _, text)| text.clone() + "\n").collect();
        let secrets = secrets.0.lock().unwrap();
        assert!(secrets.len() >= 4);
        for secret in secrets.iter().map(Vec::as_slice).chain([PLAINTEXT]) {
            assert!(is_absent(secret, &text), "{}", hexadecimal(secret));
        }
    }
    // The search finds what is there.
    assert!(!is_absent(PLAINTEXT, &format!("{PLAINTEXT:?}")));
    assert!(!is_absent(PLAINTEXT, &hexadecimal(PLAINTEXT)));
}

#[test]
fn each_failed_handshake_is_said_once_by_each_end() {
    for (layer, target) in [(Layer::Outer, OUTER), (Layer::Inner, INNER)] {
        for level in [LevelFilter::Debug, LevelFilter::Trace] {
            let lines = said(level, || {
                let ends = |of, pki: &'static pki::Pki| {
                    let client = match of == layer {
                        true => pki.anonymous_client(Version::Tls12),
                        false => pki.client(Version::Tls12),
                    };
                    (Role::client(client, pki.name()), Role::server(pki.server(Version::Tls12)))
                };
                let (outer, inner) =
                    (ends(Layer::Outer, pki::outer()), ends(Layer::Inner, pki::inner()));
                let machine = |seed, outer, inner| {
                    Machine::new(seed, || {
                        Session::new(outer, Limits::default()).unwrap().nest(inner, Direct).unwrap()
                    })
                };
                let left = machine(1, outer.0, inner.0);
                let mut pair = Pair::new(left, machine(2, outer.1, inner.1));
                pair.settle();
                pair.hang_up();
                assert!(pair.left.error().is_some() && pair.right.error().is_some());
            });
            let failed: Vec<_> =
                lines.iter().filter(|(_, _, text)| text.starts_with("failed: ")).collect();
            assert_eq!(failed.len(), 2, "{lines:#?}");
            assert!(
                failed.iter().all(|(level, at, _)| (*level, at.as_str()) == (Level::Debug, target))
            );
            let established = |(_, at, text): &&(Level, String, String)| {
                at == target && text.starts_with("established")
            };
            assert_eq!(lines.iter().filter(established).count(), 0);
            let trace = lines.iter().any(|(level, ..)| *level == Level::Trace);
            assert_eq!(trace, level == LevelFilter::Trace);
        }
    }
}
