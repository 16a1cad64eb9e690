//! The oracle: two rustls connections with buffers of their own, glued by hand.

use std::io::{ErrorKind, Read, Write};

use nested_tls::{Event, Layer};
use rustls::{ClientConnection, Connection, ServerConnection};

use super::crypto;
use super::party::{Failure, Party, Report};
use super::setup::End;

/// Two rustls connections, one inside the other. Slow and unbounded, but plain.
pub struct Glued {
    outer: Connection,
    inner: Connection,
    /// Outer plaintext that the inner connection has not taken.
    carried: Vec<u8>,
    /// Inner plaintext that the user has not taken.
    plain: Vec<u8>,
    /// Output that the transport has not taken.
    output: Vec<u8>,
    eof: bool,
    closing: bool,
    outer_ended: bool,
    ended: bool,
    randomness: u64,
    report: Report,
}

/// A rustls connection of one layer.
pub fn connection(end: &End) -> Connection {
    let mut connection = match end {
        End::Client(config, name) => {
            ClientConnection::new(config.clone(), name.clone()).unwrap().into()
        }
        End::Server(config) => Connection::from(ServerConnection::new(config.clone()).unwrap()),
    };
    connection.set_buffer_limit(None);
    connection
}

impl Glued {
    pub fn new(seed: u64, outer: &End, inner: &End) -> Self {
        let before = crypto::swap(seed);
        let mut glued = Self {
            outer: connection(outer),
            inner: connection(inner),
            carried: Vec::new(),
            plain: Vec::new(),
            output: Vec::new(),
            eof: false,
            closing: false,
            outer_ended: false,
            ended: false,
            randomness: 0,
            report: Report::default(),
        };
        glued.pump();
        glued.randomness = crypto::swap(before);
        glued
    }

    /// The inner connection, to be driven in ways that the crate has no words for.
    pub fn with(&mut self, call: impl FnOnce(&mut Connection, &mut Connection)) {
        let before = crypto::swap(self.randomness);
        call(&mut self.outer, &mut self.inner);
        self.pump();
        self.randomness = crypto::swap(before);
    }

    fn event(&mut self, event: Event) {
        if !self.report.events.contains(&event) {
            self.report.events.push(event);
        }
    }

    fn fail(&mut self, layer: Layer, what: &rustls::Error) {
        self.fail_with(layer, format!("{what:?}"));
    }

    fn fail_with(&mut self, layer: Layer, what: String) {
        self.report.failure.get_or_insert(Failure { layer, what });
    }

    /// Until nothing moves any more.
    fn pump(&mut self) {
        while self.report.failure.is_none() && self.step() {}
        if self.report.failure.as_ref().is_some_and(|f| f.layer == Layer::Inner) {
            self.inner_to_outer();
            self.outer.send_close_notify();
        }
        self.send();
        let closed = self.report.events.contains(&Event::PeerClosed(Layer::Outer));
        if self.report.failure.is_none() && (closed || self.eof) {
            if !self.ended {
                let established = !self.outer.is_handshaking();
                let layer = if established { Layer::Inner } else { Layer::Outer };
                self.fail_with(layer, "Truncated".into());
                return;
            }
            if !closed {
                self.event(Event::OuterUnclean);
            }
            if self.closing {
                self.event(Event::Closed);
            }
        }
    }

    fn step(&mut self) -> bool {
        let mut moved = self.open_outer();
        moved |= self.report.failure.is_none() && self.open_inner();
        if self.outer_ended {
            self.event(Event::PeerClosed(Layer::Outer));
        }
        self.inner_to_outer();
        self.send();
        moved
    }

    fn open_outer(&mut self) -> bool {
        let mut moved = false;
        let mut bytes = [0; 4096];
        if let Connection::Server(outer) = &mut self.outer {
            while let Some(n @ 1..) = outer.early_data().and_then(|mut d| d.read(&mut bytes).ok()) {
                self.carried.extend_from_slice(&bytes[..n]);
                moved = true;
            }
        }
        loop {
            match self.outer.reader().read(&mut bytes) {
                Ok(0) => {
                    self.outer_ended = true;
                    return moved;
                }
                Ok(n) => {
                    self.carried.extend_from_slice(&bytes[..n]);
                    moved = true;
                }
                Err(_) => return moved,
            }
        }
    }

    fn open_inner(&mut self) -> bool {
        let mut moved = false;
        while !self.carried.is_empty() && !self.ended {
            let n = self.inner.read_tls(&mut &self.carried[..]).unwrap();
            self.carried.drain(..n);
            moved |= n > 0;
            let processed = self.inner.process_new_packets();
            if !self.inner.is_handshaking() {
                self.event(Event::Established(Layer::Inner));
            }
            self.take_plaintext();
            if let Err(error) = processed {
                // An error behind the peer's end is no error.
                if !self.ended {
                    self.fail(Layer::Inner, &error);
                }
                break;
            }
        }
        self.take_plaintext();
        moved
    }

    fn take_plaintext(&mut self) {
        let mut bytes = [0; 4096];
        loop {
            match self.inner.reader().read(&mut bytes) {
                Ok(0) => {
                    self.event(Event::PeerClosed(Layer::Inner));
                    self.ended = true;
                    return;
                }
                Ok(n) => self.plain.extend_from_slice(&bytes[..n]),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    return;
                }
            }
        }
    }

    fn inner_to_outer(&mut self) {
        let mut sealed = Vec::new();
        while self.inner.wants_write() {
            self.inner.write_tls(&mut sealed).unwrap();
        }
        self.outer.writer().write_all(&sealed).unwrap();
    }

    fn send(&mut self) {
        while self.outer.wants_write() {
            self.outer.write_tls(&mut self.output).unwrap();
        }
    }
}

impl Party for Glued {
    fn receive(&mut self, bytes: &[u8]) -> usize {
        let before = crypto::swap(self.randomness);
        let mut rest = bytes;
        let closed = |report: &Report| report.events.contains(&Event::PeerClosed(Layer::Outer));
        while !rest.is_empty() && self.report.failure.is_none() && !closed(&self.report) {
            self.outer.read_tls(&mut rest).unwrap();
            let processed = self.outer.process_new_packets();
            if !self.outer.is_handshaking() {
                self.event(Event::Established(Layer::Outer));
            }
            self.pump();
            if let Err(error) = processed {
                self.fail(Layer::Outer, &error);
                self.send();
            }
        }
        self.randomness = crypto::swap(before);
        bytes.len()
    }

    fn eof(&mut self) {
        self.eof = true;
        self.pump();
    }

    fn transmit(&mut self, max: usize) -> Vec<u8> {
        let n = self.output.len().min(max);
        self.output.drain(..n).collect()
    }

    fn write(&mut self, data: &[u8]) -> usize {
        if self.inner.is_handshaking() || self.report.failure.is_some() || self.closing {
            return 0;
        }
        let n = self.inner.writer().write(data).unwrap();
        self.with(|_, _| ());
        n
    }

    fn read(&mut self, max: usize) -> usize {
        let n = self.plain.len().min(max);
        self.report.read.extend(self.plain.drain(..n));
        self.report.end = self.ended && self.plain.is_empty();
        n
    }

    fn close_write(&mut self) {
        self.with(|_, inner| inner.send_close_notify());
    }

    fn close(&mut self) {
        self.with(|_, inner| inner.send_close_notify());
        self.closing = true;
        self.with(|outer, _| outer.send_close_notify());
    }

    fn update_keys(&mut self, layer: Layer, _: bool) {
        self.with(|outer, inner| {
            let connection = if layer == Layer::Outer { outer } else { inner };
            connection.refresh_traffic_keys().unwrap();
        });
    }

    fn report(&self) -> &Report {
        &self.report
    }
}
