//! Two ends in memory, on one thread, and the wire between them.

use std::io::{IoSlice, Read, Result, Write};

/// As in the kernel, copies off the wire don't depend on how addresses lie: none is of 4 KiB or
/// more, from where the C library's copy may be many times slower. All contestants share this.
pub const PIECE: usize = 2048;

/// The wire: what is written reaches the other end at once, in one copy, which that end makes.
pub struct Wire<'a> {
    deliver: &'a mut dyn FnMut(&[u8]),
    /// All bytes that were written.
    total: u64,
}

impl Write for Wire<'_> {
    fn write(&mut self, buf: &[u8]) -> Result<usize> {
        self.total += buf.len() as u64;
        (self.deliver)(buf);
        Ok(buf.len())
    }

    /// Small pieces that are written together arrive together.
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> Result<usize> {
        let total = bufs.iter().map(|buf| buf.len()).sum();
        if bufs.len() > 1 && total <= 1 << 14 {
            let mut joined = Vec::with_capacity(total);
            bufs.iter().flat_map(|buf| buf.chunks(PIECE)).for_each(|p| joined.extend_from_slice(p));
            return self.write(&joined);
        }
        for buf in bufs {
            let _ = self.write(buf)?;
        }
        Ok(total)
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Bytes that have arrived.
pub struct Arrived<'a>(pub &'a [u8]);

impl Read for Arrived<'_> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        let n = self.0.len().min(buf.len());
        let (now, rest) = self.0.split_at(n);
        for (to, from) in buf.chunks_mut(PIECE).zip(now.chunks(PIECE)) {
            to[..from.len()].copy_from_slice(from);
        }
        self.0 = rest;
        Ok(n)
    }
}

/// One end of a connection.
pub trait End {
    fn client() -> Self;
    fn server() -> Self;
    fn is_established(&self) -> bool;
    /// Hand `data` over to be sent; what can't wait goes on the wire.
    fn write(&mut self, data: &[u8], wire: &mut Wire<'_>);
    /// Put all that waits on the wire.
    fn transmit(&mut self, wire: &mut Wire<'_>);
    /// Take what has arrived and read the plaintext in it; returns how much that was.
    fn receive(&mut self, arrived: Arrived<'_>) -> usize;
}

/// Both ends, connected.
pub struct Link<E> {
    left: E,
    right: E,
    sent: u64,
}

/// Have `from` do something with the wire to `to`; returns how much plaintext came out there, and
/// how many bytes went over the wire.
fn connect<E: End>(
    from: &mut E,
    to: &mut E,
    act: impl FnOnce(&mut E, &mut Wire<'_>),
) -> (usize, u64) {
    let mut read = 0;
    let deliver = &mut |bytes: &[u8]| read += to.receive(Arrived(bytes));
    let mut wire = Wire { deliver, total: 0 };
    act(from, &mut wire);
    let total = wire.total;
    (read, total)
}

impl<E: End> Link<E> {
    /// Both ends after their handshakes.
    pub fn new() -> Self {
        let (mut left, mut right) = (E::client(), E::server());
        for _ in 0..8 {
            connect(&mut left, &mut right, E::transmit);
            connect(&mut right, &mut left, E::transmit);
        }
        assert!(left.is_established() && right.is_established());
        Self { left, right, sent: 0 }
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

fn send<E: End>(from: &mut E, to: &mut E, data: &[u8], count: usize) -> u64 {
    let (read, sent) = connect(from, to, |from, wire| {
        for _ in 0..count {
            from.write(data, wire);
        }
        from.transmit(wire);
    });
    assert_eq!(read, data.len() * count);
    sent
}

impl<E: End> Contestant for Link<E> {
    fn send(&mut self, data: &[u8], count: usize) {
        self.sent += send(&mut self.left, &mut self.right, data, count);
    }

    fn echo(&mut self, data: &[u8]) {
        self.sent += send(&mut self.left, &mut self.right, data, 1);
        self.sent += send(&mut self.right, &mut self.left, data, 1);
    }

    fn wire_bytes(&self) -> u64 {
        self.sent
    }
}
