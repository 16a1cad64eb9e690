//! Two of rustls' unbuffered connections, glued.

use std::io::{Read, Write};

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};

use super::config::{INNER, Layer, OUTER};
use super::link::{Arrived, End, Wire};

/// More than a record adds to its payload.
const OVERHEAD: usize = 64;
const RECORD: usize = 1 << 14;

enum Connection {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

/// Bytes in front, space behind; reused, never shrunk.
#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    fn filled(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }

    fn space(&mut self, len: usize) -> &mut [u8] {
        if self.bytes.len() < self.end + len {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            if self.bytes.len() < self.end + len {
                self.bytes.resize(self.end + len, 0);
            }
        }
        &mut self.bytes[self.end..]
    }

    fn push(&mut self, data: &[u8]) {
        self.space(data.len())[..data.len()].copy_from_slice(data);
        self.end += data.len();
    }

    fn discard(&mut self, len: usize) {
        self.start += len;
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
        }
    }
}

struct Half {
    connection: Connection,
    incoming: Buffer,
    outgoing: Buffer,
    established: bool,
}

#[derive(PartialEq)]
enum Next {
    Again,
    Blocked,
    Established,
}

fn act<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    outgoing: &mut Buffer,
    data: &[u8],
    mut sink: impl FnMut(&[u8]),
) -> (usize, Next) {
    let UnbufferedStatus { mut discard, state } = status;
    let next = match state.unwrap() {
        ConnectionState::ReadTraffic(mut traffic) => {
            while let Some(record) = traffic.next_record() {
                let record = record.unwrap();
                discard += record.discard;
                sink(record.payload);
            }
            Next::Again
        }
        ConnectionState::EncodeTlsData(mut encode) => {
            let Err(EncodeError::InsufficientSize(size)) = encode.encode(&mut []) else {
                unreachable!("something is to be encoded");
            };
            let n = encode.encode(outgoing.space(size.required_size)).unwrap();
            outgoing.end += n;
            Next::Again
        }
        ConnectionState::TransmitTlsData(transmit) => {
            transmit.done();
            Next::Again
        }
        ConnectionState::BlockedHandshake => Next::Blocked,
        ConnectionState::WriteTraffic(mut traffic) => {
            if !data.is_empty() {
                let records = data.len().div_ceil(RECORD);
                let space = outgoing.space(data.len() + records * OVERHEAD);
                let n = traffic.encrypt(data, space).unwrap();
                outgoing.end += n;
            }
            Next::Established
        }
        state => panic!("unexpected state {state:?}"),
    };
    (discard, next)
}

impl Half {
    fn client(layer: &Layer) -> Self {
        let connection =
            UnbufferedClientConnection::new(layer.client.clone(), layer.name.clone()).unwrap();
        Self::new(Connection::Client(connection))
    }

    fn server(layer: &Layer) -> Self {
        Self::new(Connection::Server(
            UnbufferedServerConnection::new(layer.server.clone()).unwrap(),
        ))
    }

    fn new(connection: Connection) -> Self {
        let (incoming, outgoing) = Default::default();
        let mut half = Self { connection, incoming, outgoing, established: false };
        half.process(&[], |_| ());
        half
    }

    /// Take what came, seal `data`, and hand plaintext to `sink`.
    fn process(&mut self, data: &[u8], mut sink: impl FnMut(&[u8])) {
        loop {
            let input = self.incoming.filled();
            let (discard, next) = match &mut self.connection {
                Connection::Client(c) => {
                    act(c.process_tls_records(input), &mut self.outgoing, data, &mut sink)
                }
                Connection::Server(c) => {
                    act(c.process_tls_records(input), &mut self.outgoing, data, &mut sink)
                }
            };
            self.incoming.discard(discard);
            self.established |= next == Next::Established;
            if next != Next::Again {
                return;
            }
        }
    }
}

pub struct Unbuffered {
    outer: Half,
    inner: Half,
}

impl Unbuffered {
    fn wrap(&mut self) {
        if self.outer.established && !self.inner.outgoing.is_empty() {
            let records = self.inner.outgoing.filled();
            self.outer.process(records, |_| ());
            let n = records_len(&self.inner.outgoing);
            self.inner.outgoing.discard(n);
        }
    }
}

fn records_len(buffer: &Buffer) -> usize {
    buffer.end - buffer.start
}

impl End for Unbuffered {
    fn client() -> Self {
        Self { outer: Half::client(&OUTER), inner: Half::client(&INNER) }
    }

    fn server() -> Self {
        Self { outer: Half::server(&OUTER), inner: Half::server(&INNER) }
    }

    fn is_established(&self) -> bool {
        self.outer.established && self.inner.established
    }

    fn write(&mut self, data: &[u8], _: &mut Wire<'_>) {
        self.inner.process(data, |_| ());
        self.wrap();
    }

    fn transmit(&mut self, wire: &mut Wire<'_>) {
        self.wrap();
        if !self.outer.outgoing.is_empty() {
            let n = wire.write(self.outer.outgoing.filled()).unwrap();
            self.outer.outgoing.discard(n);
        }
    }

    fn receive(&mut self, mut arrived: Arrived<'_>) -> usize {
        let mut read = 0;
        while !arrived.0.is_empty() {
            let n = arrived.read(self.outer.incoming.space(RECORD + OVERHEAD)).unwrap();
            self.outer.incoming.end += n;
            let inner = &mut self.inner.incoming;
            self.outer.process(&[], |carried| inner.push(carried));
            self.inner.process(&[], |plain| read += plain.len());
        }
        read
    }
}
