//! Both adapters over a transport that does what the input says: short reads and writes,
//! `WouldBlock`, `Interrupted`, errors, ends, lies. No call goes on for ever, and no byte is lost
//! or repeated.
//!
//! The input: one byte of roles and versions, one of ways; then calls and the transport's answers,
//! mixed, as they are asked for. Behind the input the transport is a faithful one.

mod adapter;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use nested_tls::{Layer, Nested, Ports};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::adapter::Adapter;
use super::{LOW, bit, setup};
use crate::support::crypto;
use crate::support::null::Strength;
use crate::support::party::{Machine, Party};
use crate::support::setup::Side;

/// What is left of the input.
#[derive(Clone)]
struct Script(Rc<RefCell<VecDeque<u8>>>);

impl Script {
    fn next(&self) -> Option<u8> {
        self.0.borrow_mut().pop_front()
    }

    fn byte(&self) -> u8 {
        self.next().unwrap_or(0)
    }

    fn is_over(&self) -> bool {
        self.0.borrow().is_empty()
    }
}

fn size(byte: u8) -> usize {
    [1, 2, 3, 5, 17, 60, 100, 333, 1000, 4000, 20_000, 40_000, 4, 7, 11, usize::MAX]
        [usize::from(byte >> 4)]
}

/// A transport with the peer at its other end.
struct Transport {
    script: Script,
    peer: Machine<Nested>,
    to_us: VecDeque<u8>,
    /// Written and, where the transport wants that, not flushed.
    held: Vec<u8>,
    wants_flush: bool,
    /// It may claim to have read more than there was room for; an asynchronous one can't.
    lies: bool,
    ended: bool,
    /// Calls since the user's last one.
    calls: usize,
    /// One of them said that it would block.
    blocked: bool,
    faults: usize,
    /// More updates of keys without data are a flood, which ends a connection.
    updates: usize,
}

impl Transport {
    fn called(&mut self) {
        self.calls += 1;
        assert!(self.calls < 100_000, "a call that does not end");
    }

    /// Until the peer has nothing to say to what it heard.
    fn pump(&mut self) {
        loop {
            let bytes = self.peer.transmit(usize::MAX);
            if bytes.is_empty() {
                return;
            }
            self.to_us.extend(bytes);
        }
    }

    fn deliver(&mut self) {
        while !self.held.is_empty() {
            let taken = self.peer.receive(&self.held);
            self.held.drain(..taken);
            if self.peer.read_all().is_empty() && taken == 0 {
                // A peer that is at its end.
                self.held.clear();
            }
        }
        self.pump();
    }

    /// Whether one more update of keys is no flood yet.
    fn may_update(&mut self) -> bool {
        self.updates = self.updates.saturating_sub(1);
        self.updates > 0
    }

    fn block(&mut self) -> io::Error {
        self.blocked = true;
        io::ErrorKind::WouldBlock.into()
    }

    fn fault(&mut self, kind: io::ErrorKind) -> io::Error {
        self.faults += 1;
        kind.into()
    }
}

impl Read for Transport {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        self.called();
        assert!(!space.is_empty(), "a read of nothing looks like an end");
        let answer = self.script.next().unwrap_or(0xf0);
        match answer & 15 {
            _ if self.ended => return Ok(0),
            0..=7 => {}
            8 | 9 => return Err(self.block()),
            10 => return Err(io::ErrorKind::Interrupted.into()),
            11 => return Err(self.fault(io::ErrorKind::ConnectionReset)),
            12 => return Err(self.fault(io::ErrorKind::Other)),
            13 => {
                self.ended = true;
                return Ok(0);
            }
            14 => {
                self.faults += 1;
                return match self.lies {
                    true => Ok(space.len() + 1),
                    false => Err(io::ErrorKind::Other.into()),
                };
            }
            _ => {
                if self.may_update() {
                    self.peer.with(|p| _ = p.update_keys(Layer::Outer, true));
                }
                self.pump();
            }
        }
        if self.to_us.is_empty() {
            return Err(self.block());
        }
        let n = size(answer).min(space.len());
        let n = self.to_us.read(&mut space[..n])?;
        Ok(n)
    }
}

impl Write for Transport {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.called();
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        assert!(!bytes.is_empty(), "a write of nothing");
        let answer = self.script.next().unwrap_or(0xf0);
        let n = match answer & 15 {
            8 | 9 => return Err(self.block()),
            10 => return Err(io::ErrorKind::Interrupted.into()),
            11 => return Err(self.fault(io::ErrorKind::BrokenPipe)),
            12 => return Err(self.fault(io::ErrorKind::Other)),
            13 => {
                self.faults += 1;
                return Ok(0);
            }
            14 => {
                self.faults += 1;
                return Ok(bytes.len() + 1);
            }
            _ => size(answer).min(bytes.len()),
        };
        self.held.extend_from_slice(&bytes[..n]);
        if !self.wants_flush {
            self.deliver();
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.called();
        match self.script.next().unwrap_or(0) & 15 {
            9 => return Err(self.block()),
            10 => return Err(io::ErrorKind::Interrupted.into()),
            11 => return Err(self.fault(io::ErrorKind::BrokenPipe)),
            12 => return Err(self.fault(io::ErrorKind::Other)),
            _ => {}
        }
        self.deliver();
        Ok(())
    }
}

fn polled<R>(result: io::Result<R>) -> Poll<io::Result<R>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        result => Poll::Ready(result),
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        space: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut bytes = vec![0; space.remaining()];
        polled(self.read(&mut bytes)).map_ok(|n| space.put_slice(&bytes[..n]))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        polled(self.write(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        polled(self.write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        !self.wants_flush
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        polled(self.flush())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        polled(self.flush())
    }
}

/// Both users' words.
struct World {
    stream: Adapter<Transport>,
    randomness: u64,
    written: Vec<u8>,
    read: Vec<u8>,
    peer_written: Vec<u8>,
    peer_shut: bool,
    shut: bool,
    gave_up: bool,
}

pub fn run(data: &[u8]) {
    let script = Script(Rc::new(RefCell::new(data.iter().copied().collect())));
    let (roles, ways) = (script.byte(), script.byte());
    let mut setup = setup(roles, Some(Strength::Sums));
    if bit(ways, 0) {
        setup.limits = LOW;
    }
    let before = crypto::swap(7);
    let machine = setup.nested(Side::Left).ports;
    let randomness = crypto::swap(before);
    let mut transport = Transport {
        script: script.clone(),
        peer: setup.nested(Side::Right),
        to_us: VecDeque::new(),
        held: Vec::new(),
        wants_flush: bit(ways, 1),
        lies: !bit(ways, 2),
        ended: false,
        calls: 0,
        blocked: false,
        faults: 0,
        updates: 15,
    };
    transport.pump();
    let mut world = World {
        stream: Adapter::new(bit(ways, 2), machine, transport),
        randomness,
        written: Vec::new(),
        read: Vec::new(),
        peer_written: Vec::new(),
        peer_shut: false,
        shut: false,
        gave_up: false,
    };
    for _ in 0..300 {
        if script.is_over() {
            break;
        }
        world.act(script.byte(), script.byte());
    }
    script.0.borrow_mut().clear();
    world.finish();
}

impl World {
    /// A call of the user, under its own randomness.
    fn call<R>(
        &mut self,
        call: impl FnOnce(&mut Adapter<Transport>) -> io::Result<R>,
    ) -> io::Result<R> {
        let transport = self.stream.transport_mut();
        (transport.calls, transport.blocked) = (0, false);
        let before = crypto::swap(self.randomness);
        let result = call(&mut self.stream);
        self.randomness = crypto::swap(before);
        if let Err(error) = &result {
            // Who is told to wait will be woken.
            let waits = error.kind() == io::ErrorKind::WouldBlock;
            assert!(!waits || self.stream.transport().blocked, "nobody blocked");
        }
        result
    }

    fn peer(&mut self) -> &mut Machine<Nested> {
        &mut self.stream.transport_mut().peer
    }

    fn act(&mut self, what: u8, much: u8) {
        match what & 15 {
            0 => _ = self.call(Adapter::handshake),
            1..=3 => self.read(size(much)),
            4..=6 => self.write(size(much)),
            7 | 8 => _ = self.call(Adapter::flush),
            9 => self.buffered(size(much)),
            10 | 11 if self.stream.transport_mut().may_update() => {
                let layer = if bit(what, 0) { Layer::Outer } else { Layer::Inner };
                let updated = |s: &mut Adapter<Transport>| {
                    Ok(s.machine_mut().update_keys(layer, bit(much, 0))?)
                };
                let _ = self.call(updated);
            }
            12 | 13 => self.peer_write(size(much)),
            14 if much & 7 == 0 => {
                self.peer_shut = true;
                self.peer().close_write();
            }
            14 if much & 7 == 1 => {
                self.shut = true;
                let _ = self.call(Adapter::close_write);
            }
            14 if much & 7 == 2 => {
                self.shut = true;
                // It may have been in the handshake, and it asks for nothing more.
                self.gave_up = true;
                let _ = self.call(Adapter::close);
            }
            _ if self.stream.transport_mut().may_update() => {
                self.peer().with(|p| _ = p.update_keys(Layer::Inner, true));
            }
            _ => {}
        }
        self.stream.transport_mut().pump();
    }

    fn read(&mut self, most: usize) {
        let mut space = vec![0; most.min(40_000)];
        if let Ok(n) = self.call(|s| s.read(&mut space)) {
            self.took(&space[..n]);
        }
    }

    fn buffered(&mut self, most: usize) {
        if let Ok(bytes) = self.call(|s| s.read_buffered(most)) {
            self.took(&bytes);
        }
    }

    /// The user was given these bytes, or an end.
    fn took(&mut self, bytes: &[u8]) {
        let from = self.read.len();
        self.read.extend_from_slice(bytes);
        assert_eq!(self.peer_written.get(from..self.read.len()), Some(bytes), "nobody wrote that");
        if bytes.is_empty() {
            assert!(self.peer_shut, "an end that was none");
            assert_eq!(self.read.len(), self.peer_written.len(), "an early end");
        }
    }

    fn write(&mut self, most: usize) {
        let at = self.written.len();
        let data: Vec<u8> = (at..at + most.min(40_000)).map(|at| (at ^ at >> 8) as u8).collect();
        if at > 200_000 {
            return;
        }
        if let Ok(n) = self.call(|s| s.write(&data)) {
            assert!(n > 0, "nothing taken, and no error");
            assert!(!self.shut, "written behind the end");
            self.written.extend_from_slice(&data[..n]);
        }
    }

    fn peer_write(&mut self, most: usize) {
        let at = self.peer_written.len();
        let data: Vec<u8> = (at..at + most.min(40_000)).map(|at| (at ^ at >> 7) as u8).collect();
        if !self.peer_shut && at < 200_000 {
            let n = self.peer().write(&data);
            self.peer_written.extend_from_slice(&data[..n]);
        }
    }

    /// With a transport that is faithful from now on, everything arrives.
    fn finish(mut self) {
        let faults = self.stream.transport().faults;
        for round in 0.. {
            assert!(round < 10_000, "this does not come to rest");
            let before = (self.read.len(), self.stream.transport().to_us.len());
            // The errors of before are told now, each once.
            for _ in 0..faults + 2 {
                if self.call(Adapter::flush).is_ok() {
                    break;
                }
            }
            self.stream.transport_mut().pump();
            self.read(40_000);
            let peer_reads = self.peer().read_all().len();
            self.stream.transport_mut().pump();
            let after = (self.read.len(), self.stream.transport().to_us.len());
            if peer_reads == 0 && before == after {
                break;
            }
        }
        self.stream.transport_mut().deliver();
        self.peer().read_all();
        let heard = self.peer().report().read.clone();
        assert_eq!(
            self.written.get(..heard.len()),
            Some(&heard[..]),
            "the peer read what nobody wrote"
        );
        if self.stream.transport().ended || self.gave_up {
            return;
        }
        assert_eq!(self.stream.machine().failure(), None);
        assert_eq!(self.peer().error(), None);
        assert_eq!(heard.len(), self.written.len(), "lost on the way out");
        assert_eq!(self.read.len(), self.peer_written.len(), "lost on the way in");
        assert_eq!(self.stream.transport().peer.report().end, self.shut);
    }
}
