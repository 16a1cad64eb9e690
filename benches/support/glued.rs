//! rustls' buffered connections as contestants: one alone, and two glued.

use std::io::{BufRead, ErrorKind, Write};

use rustls::{ClientConnection, Connection, ServerConnection};

use super::config::{INNER, Layer, OUTER};
use super::link::{Arrived, End, Wire};

fn client(layer: &Layer) -> Connection {
    let mut connection = ClientConnection::new(layer.client.clone(), layer.name.clone()).unwrap();
    connection.set_buffer_limit(None);
    connection.into()
}

fn server(layer: &Layer) -> Connection {
    let mut connection = ServerConnection::new(layer.server.clone()).unwrap();
    connection.set_buffer_limit(None);
    connection.into()
}

fn send(connection: &mut Connection, to: &mut impl Write) {
    while connection.wants_write() {
        connection.write_tls(to).unwrap();
    }
}

/// Read all plaintext where it lies.
fn drain(connection: &mut Connection) -> usize {
    let mut read = 0;
    let mut reader = connection.reader();
    loop {
        match reader.fill_buf() {
            Ok([]) => return read,
            Ok(bytes) => {
                let n = bytes.len();
                reader.consume(n);
                read += n;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                return read;
            }
        }
    }
}

/// One layer of TLS.
pub struct Single(Connection);

impl End for Single {
    fn client() -> Self {
        Self(client(&OUTER))
    }

    fn server() -> Self {
        Self(server(&OUTER))
    }

    fn is_established(&self) -> bool {
        !self.0.is_handshaking()
    }

    fn write(&mut self, data: &[u8], _: &mut Wire<'_>) {
        self.0.writer().write_all(data).unwrap();
    }

    fn transmit(&mut self, wire: &mut Wire<'_>) {
        send(&mut self.0, wire);
    }

    fn receive(&mut self, mut arrived: Arrived<'_>) -> usize {
        let mut read = 0;
        while !arrived.0.is_empty() {
            self.0.read_tls(&mut arrived).unwrap();
            self.0.process_new_packets().unwrap();
            read += drain(&mut self.0);
        }
        read
    }
}

/// Two connections, the inner one's records being the outer one's plaintext. What one hands out
/// goes straight into the other, without a buffer between them.
pub struct Glued<const AT_ONCE: bool> {
    outer: Connection,
    inner: Connection,
}

/// Each write goes through both layers, as in stacked streams.
pub type Eager = Glued<true>;
/// The outer layer is given all that waits when it has to be transmitted: one record for many.
pub type Lazy = Glued<false>;

impl<const AT_ONCE: bool> End for Glued<AT_ONCE> {
    fn client() -> Self {
        Self { outer: client(&OUTER), inner: client(&INNER) }
    }

    fn server() -> Self {
        Self { outer: server(&OUTER), inner: server(&INNER) }
    }

    fn is_established(&self) -> bool {
        !self.outer.is_handshaking() && !self.inner.is_handshaking()
    }

    fn write(&mut self, data: &[u8], _: &mut Wire<'_>) {
        self.inner.writer().write_all(data).unwrap();
        if AT_ONCE {
            send(&mut self.inner, &mut self.outer.writer());
        }
    }

    fn transmit(&mut self, wire: &mut Wire<'_>) {
        send(&mut self.inner, &mut self.outer.writer());
        send(&mut self.outer, wire);
    }

    fn receive(&mut self, mut arrived: Arrived<'_>) -> usize {
        let mut read = 0;
        while !arrived.0.is_empty() {
            self.outer.read_tls(&mut arrived).unwrap();
            self.outer.process_new_packets().unwrap();
            while let Ok(1..) = self.inner.read_tls(&mut self.outer.reader()) {
                self.inner.process_new_packets().unwrap();
                read += drain(&mut self.inner);
            }
        }
        read
    }
}
