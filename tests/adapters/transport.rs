//! A transport in memory that behaves badly in every way that a transport may.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use nested_tls::adapter::blocking::Socket;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::support::setup::Side;

/// How a transport treats its user.
#[derive(Clone, Copy, Debug)]
pub struct Manners {
    /// The most bytes that one read gives.
    pub read: usize,
    /// The most bytes that one write takes.
    pub write: usize,
    /// Every other call of a kind would block.
    pub hesitant: bool,
    /// Every third call of a kind is interrupted.
    pub interrupted: bool,
    /// What is written reaches the peer only when it is flushed.
    pub lazy: bool,
    /// `poll_write_vectored` is more than `poll_write`.
    pub vectored: bool,
    /// The bytes that fit between the two ends, in each direction.
    pub capacity: usize,
}

impl Manners {
    pub const GOOD: Self = Self {
        read: usize::MAX,
        write: usize::MAX,
        hesitant: false,
        interrupted: false,
        lazy: false,
        vectored: true,
        capacity: 64 * 1024,
    };

    /// One bad habit each, then all of them.
    pub const BAD: [Self; 9] = [
        Self { read: 1, ..Self::GOOD },
        Self { write: 1, ..Self::GOOD },
        Self { read: 7, write: 5, vectored: false, ..Self::GOOD },
        Self { hesitant: true, ..Self::GOOD },
        Self { interrupted: true, ..Self::GOOD },
        Self { lazy: true, ..Self::GOOD },
        Self { lazy: true, hesitant: true, capacity: 600, ..Self::GOOD },
        Self { capacity: 1, ..Self::GOOD },
        Self {
            read: 100,
            write: 90,
            hesitant: true,
            interrupted: true,
            lazy: true,
            vectored: false,
            capacity: 50,
        },
    ];
}

/// A kind of call on a transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Read,
    Write,
    Flush,
    Shutdown,
}

/// What goes wrong at one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call fails, once; nothing else happens.
    Error(ErrorKind),
    /// The connection is reset: what has not arrived never will.
    Reset,
    /// The peer's end has come, or seems to.
    Eof,
    /// A write takes nothing.
    Zero,
    /// One byte more than was offered.
    Lie,
}

/// One direction.
#[derive(Default)]
struct Direction {
    queue: VecDeque<u8>,
    /// The writer has shut its half, or is gone.
    ended: bool,
    /// The reader is gone.
    deaf: bool,
    reset: bool,
    /// As any transport, this remembers the last waker only.
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Direction {
    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

#[derive(Default)]
struct State {
    /// By the side that writes.
    directions: [Direction; 2],
    /// Anything that happened.
    moves: usize,
}

/// Watches a connection from outside.
#[derive(Clone)]
pub struct Watch(Arc<Mutex<State>>);

impl Watch {
    /// How much has happened so far.
    pub fn moves(&self) -> usize {
        self.0.lock().unwrap().moves
    }

    /// The bytes on their way from `side`.
    pub fn waiting(&self, side: Side) -> usize {
        self.0.lock().unwrap().directions[index(side)].queue.len()
    }
}

/// One end of a connection in memory.
pub struct End {
    shared: Arc<Mutex<State>>,
    side: Side,
    pub manners: Manners,
    /// What goes wrong, and at which call, counted from 0 over all kinds.
    pub fault: Option<(usize, Fault)>,
    /// The calls so far that were neither put off nor interrupted.
    pub log: Arc<Mutex<Vec<Call>>>,
    /// Calls so far, by kind.
    asked: [usize; 4],
    held_back: VecDeque<u8>,
    /// Bytes read.
    pub received: usize,
    /// Only so many bytes are ever read; then it is as if the peer had ended.
    pub cut: Option<usize>,
}

fn index(side: Side) -> usize {
    usize::from(side == Side::Right)
}

/// Two ends.
pub fn pair(left: Manners, right: Manners) -> (End, End, Watch) {
    let shared = Arc::<Mutex<State>>::default();
    let end = |side, manners| End {
        shared: shared.clone(),
        side,
        manners,
        fault: None,
        log: Arc::default(),
        asked: [0; 4],
        held_back: VecDeque::new(),
        received: 0,
        cut: None,
    };
    (end(Side::Left, left), end(Side::Right, right), Watch(shared.clone()))
}

impl End {
    /// What a test does behind the adapter's back.
    pub fn raw_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.read_call(Some(cx), buf)
    }

    /// What a test does behind the adapter's back.
    pub fn raw_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write_call(Some(cx), slices)
    }

    /// Read to the end of the transport.
    pub fn drain(&mut self) -> Poll<()> {
        self.manners = Manners::GOOD;
        self.fault = None;
        loop {
            match self.read_call(None, &mut [0; 1000]) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Whether the caller has to come again first, for no other reason than manners.
    fn put_off(&mut self, call: Call) -> Option<ErrorKind> {
        let asked = &mut self.asked[call as usize];
        *asked += 1;
        if self.manners.interrupted && *asked % 3 == 0 {
            Some(ErrorKind::Interrupted)
        } else if self.manners.hesitant && *asked % 2 == 1 {
            Some(ErrorKind::WouldBlock)
        } else {
            None
        }
    }

    /// What happens at this call, if not what should.
    fn next_fault(&mut self, call: Call) -> Option<Fault> {
        let at = self.log.lock().unwrap().len();
        let (when, fault) = self.fault?;
        if when != at {
            return None;
        }
        // What can't go wrong with this kind of call goes wrong with the next.
        let fits = match fault {
            Fault::Error(_) | Fault::Reset => true,
            Fault::Eof => call == Call::Read,
            Fault::Zero => call == Call::Write,
            Fault::Lie => matches!(call, Call::Read | Call::Write),
        };
        if !fits {
            self.fault = Some((when + 1, fault));
            return None;
        }
        Some(fault)
    }

    /// Do `act` when it can be done.
    fn attempt<R>(
        &mut self,
        call: Call,
        cx: Option<&Context<'_>>,
        act: impl FnOnce(&mut Self, &mut State, Option<Fault>) -> Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        match self.put_off(call) {
            Some(ErrorKind::WouldBlock) => {
                if let Some(cx) = cx {
                    cx.waker().wake_by_ref();
                }
                return Poll::Pending;
            }
            Some(ErrorKind::Interrupted) => {
                return Poll::Ready(Err(ErrorKind::Interrupted.into()));
            }
            _ => {}
        }
        let fault = self.next_fault(call);
        let shared = self.shared.clone();
        let mut state = shared.lock().unwrap();
        if let Some(Fault::Error(kind)) = fault {
            self.log.lock().unwrap().push(call);
            state.moves += 1;
            return Poll::Ready(Err(kind.into()));
        }
        if fault == Some(Fault::Reset) {
            for direction in &mut state.directions {
                direction.queue.clear();
                direction.reset = true;
                direction.wake();
            }
        }
        let result = act(self, &mut state, fault);
        if result.is_ready() {
            self.log.lock().unwrap().push(call);
            state.moves += 1;
        } else if let Some(cx) = cx {
            let mine = index(self.side);
            let waker = Some(cx.waker().clone());
            match call {
                Call::Read => state.directions[1 - mine].reader = waker,
                _ => state.directions[mine].writer = waker,
            }
        }
        result
    }

    fn read_now(
        &mut self,
        state: &mut State,
        fault: Option<Fault>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let direction = &mut state.directions[1 - index(self.side)];
        if direction.reset {
            return Poll::Ready(Err(ErrorKind::ConnectionReset.into()));
        }
        let left = self.cut.map_or(usize::MAX, |cut| cut - self.received);
        if fault == Some(Fault::Eof) || left == 0 {
            return Poll::Ready(Ok(0));
        }
        if fault == Some(Fault::Lie) {
            return Poll::Ready(Ok(buf.len() + 1));
        }
        let n = direction.queue.len().min(buf.len()).min(self.manners.read).min(left);
        if n == 0 {
            let ended = direction.ended;
            return if ended { Poll::Ready(Ok(0)) } else { Poll::Pending };
        }
        direction.queue.read_exact(&mut buf[..n])?;
        self.received += n;
        direction.wake();
        Poll::Ready(Ok(n))
    }

    fn write_now(
        &mut self,
        state: &mut State,
        fault: Option<Fault>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_writable(state)?;
        match fault {
            Some(Fault::Zero) => return Poll::Ready(Ok(0)),
            Some(Fault::Lie) => {
                return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum::<usize>() + 1));
            }
            _ => {}
        }
        let direction = &mut state.directions[index(self.side)];
        let (to, room) = if self.manners.lazy {
            (&mut self.held_back, usize::MAX)
        } else {
            let room = self.manners.capacity.saturating_sub(direction.queue.len());
            (&mut direction.queue, room)
        };
        let mut room = room.min(self.manners.write);
        if room == 0 {
            return Poll::Pending;
        }
        let mut written = 0;
        let used = if self.manners.vectored { slices.len() } else { 1 };
        for slice in slices.iter().take(used) {
            let n = slice.len().min(room);
            to.extend(&slice[..n]);
            written += n;
            room -= n;
        }
        direction.wake();
        Poll::Ready(Ok(written))
    }

    fn check_writable(&self, state: &State) -> io::Result<()> {
        let direction = &state.directions[index(self.side)];
        if direction.reset {
            return Err(ErrorKind::ConnectionReset.into());
        }
        if direction.deaf || direction.ended {
            return Err(ErrorKind::BrokenPipe.into());
        }
        Ok(())
    }

    fn flush_now(&mut self, state: &mut State) -> Poll<io::Result<()>> {
        if self.held_back.is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.check_writable(state)?;
        let direction = &mut state.directions[index(self.side)];
        let room = self.manners.capacity.saturating_sub(direction.queue.len());
        let n = room.min(self.held_back.len());
        direction.queue.extend(self.held_back.drain(..n));
        if n > 0 {
            state.moves += 1;
            direction.wake();
        }
        if self.held_back.is_empty() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn end(&mut self, state: &mut State) {
        let direction = &mut state.directions[index(self.side)];
        direction.ended = true;
        direction.wake();
    }

    fn read_call(&mut self, cx: Option<&Context<'_>>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.attempt(Call::Read, cx, |end, state, fault| end.read_now(state, fault, buf))
    }

    fn write_call(
        &mut self,
        cx: Option<&Context<'_>>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.attempt(Call::Write, cx, |end, state, fault| end.write_now(state, fault, slices))
    }

    fn flush_call(&mut self, cx: Option<&Context<'_>>) -> Poll<io::Result<()>> {
        self.attempt(Call::Flush, cx, |end, state, _| end.flush_now(state))
    }

    fn shutdown_call(&mut self, cx: Option<&Context<'_>>) -> Poll<io::Result<()>> {
        self.attempt(Call::Shutdown, cx, |end, state, _| {
            if end.flush_now(state)?.is_pending() {
                return Poll::Pending;
            }
            end.end(state);
            Poll::Ready(Ok(()))
        })
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = Side::BOTH.map(|side| self.waiting(side));
        f.debug_struct("Watch").field("waiting", &waiting).finish_non_exhaustive()
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mine = index(self.side);
        let mut state = self.shared.lock().unwrap();
        state.directions[mine].ended = true;
        state.directions[1 - mine].deaf = true;
        state.directions.iter_mut().for_each(Direction::wake);
        state.moves += 1;
    }
}

fn or_would_block<R>(result: Poll<io::Result<R>>) -> io::Result<R> {
    match result {
        Poll::Ready(result) => result,
        Poll::Pending => Err(ErrorKind::WouldBlock.into()),
    }
}

impl Read for End {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        or_would_block(self.read_call(None, buf))
    }
}

impl Write for End {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        or_would_block(self.write_call(None, &[IoSlice::new(buf)]))
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        or_would_block(self.write_call(None, slices))
    }

    fn flush(&mut self) -> io::Result<()> {
        or_would_block(self.flush_call(None))
    }
}

impl Socket for End {
    fn read_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(None)
    }

    fn write_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(None)
    }

    fn set_read_timeout(&self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    fn set_write_timeout(&self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        or_would_block(self.shutdown_call(None))
    }
}

/// A buffer that is never freed, and that LeakSanitizer finds held.
fn for_ever(len: usize) -> &'static mut [u8] {
    static HELD: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    let buffer = vec![0; len].leak();
    HELD.lock().unwrap().push(buffer.as_ptr() as usize);
    buffer
}

impl AsyncRead for End {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let space = buf.initialize_unfilled();
        let offered = space.len();
        match self.read_call(Some(cx), space) {
            Poll::Ready(Ok(n)) if n > offered => {
                // Safe code has one way to lie: another buffer in the place of the one it was given.
                *buf = ReadBuf::new(for_ever(n));
                buf.set_filled(n);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Ok(n)) => {
                buf.advance(n);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncWrite for End {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write_call(Some(cx), &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        assert!(self.manners.vectored, "a vectored write that has no use");
        self.write_call(Some(cx), slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.manners.vectored
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.flush_call(Some(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shutdown_call(Some(cx))
    }
}

impl futures_io::AsyncRead for End {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.read_call(Some(cx), buf)
    }
}

impl futures_io::AsyncWrite for End {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write_call(Some(cx), &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write_call(Some(cx), slices)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.flush_call(Some(cx))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shutdown_call(Some(cx))
    }
}
