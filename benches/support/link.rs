//! Two ends in memory, on one thread, and the wire between them.

use std::io::{IoSlice, Read, Result, Write};

/// As in the kernel, copies to and from the wire don't depend on how addresses lie: none is of
/// 4 KiB or more, from where the C library's copy may be many times slower. All contestants share
/// this.
const PIECE: usize = 2048;

/// Bytes on their way from one end to the other.
#[derive(Default)]
pub struct Wire {
    bytes: Vec<u8>,
    read: usize,
    /// All bytes that were ever written.
    pub total: u64,
    /// How often was written.
    pub writes: u64,
}

impl Wire {
    pub fn is_empty(&self) -> bool {
        self.read == self.bytes.len()
    }

    fn append(&mut self, buf: &[u8]) {
        for piece in buf.chunks(PIECE) {
            self.bytes.extend_from_slice(piece);
        }
        self.total += buf.len() as u64;
    }
}

impl Write for Wire {
    fn write(&mut self, buf: &[u8]) -> Result<usize> {
        self.append(buf);
        self.writes += 1;
        Ok(buf.len())
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> Result<usize> {
        for buf in bufs {
            self.append(buf);
        }
        self.writes += 1;
        Ok(bufs.iter().map(|buf| buf.len()).sum())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

impl Read for Wire {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        let waiting = &self.bytes[self.read..];
        let n = waiting.len().min(buf.len());
        for (to, from) in buf[..n].chunks_mut(PIECE).zip(waiting[..n].chunks(PIECE)) {
            to.copy_from_slice(from);
        }
        self.read += n;
        if self.is_empty() {
            self.bytes.clear();
            self.read = 0;
        }
        Ok(n)
    }
}

/// One end of a connection.
pub trait End {
    fn client() -> Self;
    fn server() -> Self;
    fn is_established(&self) -> bool;
    /// Hand `data` over to be sent; what can't wait goes on the wire.
    fn write(&mut self, data: &[u8], wire: &mut Wire);
    /// Put all that waits on the wire.
    fn transmit(&mut self, wire: &mut Wire);
    /// Take all that is on the wire and read the plaintext in it; returns how much that was.
    fn receive(&mut self, wire: &mut Wire) -> usize;
}

/// Both ends, connected.
pub struct Link<E> {
    pub left: E,
    pub right: E,
    pub wire: Wire,
}

impl<E: End> Link<E> {
    /// Both ends after their handshakes.
    pub fn new() -> Self {
        let (mut left, mut right, mut wire) = (E::client(), E::server(), Wire::default());
        for _ in 0..8 {
            left.transmit(&mut wire);
            right.receive(&mut wire);
            right.transmit(&mut wire);
            left.receive(&mut wire);
        }
        assert!(left.is_established() && right.is_established());
        Self { left, right, wire: Wire::default() }
    }
}

/// What a contestant can be made to do.
pub trait Contestant {
    /// Send `count` times `data`, all in one transmission, and read it at the other end.
    fn send(&mut self, data: &[u8], count: usize);
    /// Send `data` and have it answered with as much.
    fn echo(&mut self, data: &[u8]);
    /// The bytes that went over the wire.
    fn wire_bytes(&self) -> u64;
}

impl<E: End> Contestant for Link<E> {
    fn send(&mut self, data: &[u8], count: usize) {
        let Self { left, right, wire } = self;
        for _ in 0..count {
            left.write(data, wire);
        }
        left.transmit(wire);
        assert_eq!(right.receive(wire), data.len() * count);
    }

    fn echo(&mut self, data: &[u8]) {
        self.send(data, 1);
        let Self { left, right, wire } = self;
        right.write(data, wire);
        right.transmit(wire);
        assert_eq!(left.receive(wire), data.len());
    }

    fn wire_bytes(&self) -> u64 {
        self.wire.total
    }
}
