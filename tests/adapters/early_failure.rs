//! A failure that comes together with the peer's last flight and its first data.

use std::io::{self, Read, Write};

use nested_tls::adapter::blocking;
use nested_tls::*;

use crate::support::pki::{self, Version};

/// A client in memory that says all at once, and what no record can be behind it.
struct Client {
    machine: Nested,
    said: bool,
}

impl Read for Client {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        let mut bytes = Vec::new();
        self.machine.wire_out_into(&mut bytes);
        if !self.said && self.machine.plain_write(b"hello").unwrap() > 0 {
            self.said = true;
            self.machine.wire_out_into(&mut bytes);
            bytes.extend([0xff; 5]);
        }
        space[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }
}

impl Write for Client {
    fn write(&mut self, mut bytes: &[u8]) -> io::Result<usize> {
        let len = bytes.len();
        while !bytes.is_empty() && matches!(self.machine.wire_in_from(&mut bytes), Ok(1..)) {}
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_came_before_it_is_read_first() {
    let (outer, inner) = (pki::outer(), pki::inner());
    let version = Version::Tls13;
    let client = Session::new(Role::client(outer.client(version), outer.name()), Limits::default())
        .unwrap()
        .nest(Role::client(inner.client(version), inner.name()), Direct)
        .unwrap();
    let server = Session::new(Role::server(outer.server(version)), Limits::default())
        .unwrap()
        .nest(Role::server(inner.server(version)), Direct)
        .unwrap();
    // Whether data came in the segment of the last flight or behind it must make no difference.
    let mut stream = blocking::Stream::connect(server, Client { machine: client, said: false })
        .expect("the handshakes were complete");
    let mut data = Vec::new();
    let error = stream.read_to_end(&mut data).unwrap_err();
    assert_eq!(data, b"hello");
    assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
}
