//! What the asynchronous adapters do, whatever their world calls its traits: a machine over a transport
//! that is polled, and who waits for what.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::task::Wake;
use core::fmt;
use core::mem;
use core::task::{Context, Poll, Waker, ready};
use std::io::{self, IoSlice};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::driver::{self, Goal, State};
use crate::nested::{Error, Framing, Nested, Plaintext, Ports, Role, Session};

/// A transport that is polled, and remembers the last waker only.
pub(super) trait Transport {
    fn poll_read(&mut self, cx: &mut Context<'_>, space: &mut [u8]) -> Poll<io::Result<usize>>;
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>>;
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Flush, and end the direction of writing.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Whether `poll_write` has use for more than one slice.
    fn is_vectored(&self) -> bool;
}

/// A machine and its transport. Every method may be given up while it is pending.
pub(super) struct Polled<P, T> {
    pub(super) machine: P,
    pub(super) transport: T,
    state: State,
    /// Nothing more can be sent, so that a shutdown goes on to the transport.
    given_up: bool,
    wakers: Wakers,
}

impl<P: Ports, T> Polled<P, T> {
    pub(super) fn new(machine: P, transport: T) -> Self {
        Self { machine, transport, state: State::new(), given_up: false, wakers: Wakers::new() }
    }

    pub(super) fn consume(&mut self, n: usize) {
        self.state.consume(&mut self.machine, n);
        self.tell(Side::Reader);
    }

    /// Let the other side look again if what `side` did concerns it.
    fn tell(&mut self, side: Side) {
        let state = (driver::is_established(&self.machine), self.machine.failure().is_some());
        if state != self.wakers.told {
            self.wakers.told = state;
            self.wakers.both.wake_side(side.other());
        }
    }
}

impl<P: Ports, T: Transport> Polled<P, T> {
    pub(super) fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.drive(Goal::Handshake, Side::Writer, cx)
    }

    /// Hands what can be read to `to`, piece by piece, until that takes less than it is given.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        to: impl FnMut(&[u8]) -> usize,
    ) -> Poll<io::Result<()>> {
        ready!(self.drive(Goal::Read, Side::Reader, cx))?;
        self.state.read_plain(&mut self.machine, to);
        self.tell(Side::Reader);
        Poll::Ready(Ok(()))
    }

    pub(super) fn poll_fill_buf(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        ready!(self.drive(Goal::Read, Side::Reader, cx))?;
        Poll::Ready(Ok(match self.machine.plain_out() {
            Plaintext::Bytes(bytes) => bytes,
            Plaintext::End | Plaintext::Pending => &[],
        }))
    }

    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.state.take_deferred()?;
        if slices.iter().all(|slice| slice.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        loop {
            match driver::take(&mut self.machine, slices) {
                Ok(0) => ready!(self.drive(Goal::Write, Side::Writer, cx))?,
                Ok(n) => {
                    if let Poll::Ready(Err(error)) = self.drive(Goal::Push, Side::Writer, cx) {
                        self.state.defer(error);
                    }
                    return Poll::Ready(Ok(n));
                }
                Err(error) => {
                    // The alert, if that is what the error comes from.
                    let _ = self.drive(Goal::Push, Side::Writer, cx);
                    return Poll::Ready(Err(error));
                }
            }
        }
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.state.take_deferred()?;
        self.drive(Goal::Flush, Side::Writer, cx)
    }

    /// The close_notify of every layer, flushed.
    pub(super) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.state.close(&mut self.machine);
        self.state.take_deferred()?;
        self.drive(Goal::Close, Side::Writer, cx)
    }

    /// As `poll_close`; then the transport's writing half is shut, even if that failed.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.given_up {
            if let Err(error) = ready!(self.poll_close(cx)) {
                self.given_up = true;
                self.state.defer(error);
            }
        }
        let cx = &mut self.wakers.join(Side::Writer, cx);
        let shut = ready!(driver::retry(|| self.transport.poll_shutdown(cx)));
        let closed = self.state.take_deferred().and_then(|()| driver::check(&self.machine));
        Poll::Ready(closed.and_then(|()| self.state.excuse(shut)))
    }

    fn drive(&mut self, goal: Goal, side: Side, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Beside the reader, a writer reads, too, as long as there is a handshake to get on with.
        let shared = side == Side::Writer || !driver::is_established(&self.machine);
        let readable = side == Side::Writer && self.machine.readiness().plain_out;
        let (transport, wakers) = (&mut self.transport, &self.wakers);
        let transport = &mut Turn { transport, cx: &mut *cx, side, shared, wakers };
        let result = driver::run(&mut self.machine, &mut self.state, goal, transport);
        if side == Side::Writer && !readable && self.machine.readiness().plain_out {
            self.wakers.both.wake_side(Side::Reader);
        }
        if result.is_pending() {
            self.wakers.both.wait(side, cx, false);
        }
        self.tell(side);
        result
    }
}

impl<T> Polled<Session, T> {
    pub(super) fn nest<F: Framing>(
        self,
        inner: Role,
        framing: F,
    ) -> Result<Polled<Nested<F>, T>, Error> {
        let Self { machine, transport, state, given_up, wakers } = self;
        Ok(Polled { machine: machine.nest(inner, framing)?, transport, state, given_up, wakers })
    }
}

impl<F: Framing, T> Polled<Nested<F>, T> {
    pub(super) fn into_outer(self) -> Result<Polled<Session, T>, Box<Self>> {
        let Self { machine, transport, state, given_up, wakers } = self;
        match machine.into_outer() {
            Ok(machine) => Ok(Polled { machine, transport, state, given_up, wakers }),
            Err(machine) => {
                Err(Box::new(Self { machine: *machine, transport, state, given_up, wakers }))
            }
        }
    }
}

impl<P: Ports, T> fmt::Debug for Polled<P, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("phase", &self.machine.phase()).finish_non_exhaustive()
    }
}

/// Which half of a stream is polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Reader,
    Writer,
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::Reader => Self::Writer,
            Self::Writer => Self::Reader,
        }
    }
}

/// Who waits for what.
struct Wakers {
    both: Arc<Both>,
    /// Wakes `both`.
    waker: Waker,
    /// What each side knows of the machine: that it is established, that it has failed.
    told: (bool, bool),
}

impl Wakers {
    fn new() -> Self {
        let both = Arc::new(Both::default());
        let waker = Waker::from(Arc::clone(&both));
        Self { both, waker, told: (false, false) }
    }

    /// A context that wakes `side`'s task, and the other side's if that has joined, too.
    fn join(&self, side: Side, cx: &Context<'_>) -> Context<'_> {
        self.both.wait(side, cx, true);
        Context::from_waker(&self.waker)
    }
}

/// Both sides where both may wait for the transport: to write always, because a reader sends
/// answers, and to read during the handshakes, because a writer drives them, too. A transport
/// remembers only the last waker that it was polled with.
#[derive(Default)]
struct Both {
    reader: Mutex<Waiting>,
    writer: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    waker: Option<Waker>,
    /// The transport will wake it through [`Both`].
    joined: bool,
}

impl Both {
    fn of(&self, side: Side) -> MutexGuard<'_, Waiting> {
        let waiting = match side {
            Side::Reader => &self.reader,
            Side::Writer => &self.writer,
        };
        waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, side: Side, cx: &Context<'_>, joined: bool) {
        let mut waiting = self.of(side);
        match &mut waiting.waker {
            Some(old) => old.clone_from(cx.waker()),
            None => waiting.waker = Some(cx.waker().clone()),
        }
        waiting.joined |= joined;
    }

    fn wake_side(&self, side: Side) {
        let Waiting { waker, .. } = mem::take(&mut *self.of(side));
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Wake for Both {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        for side in [Side::Reader, Side::Writer] {
            if self.of(side).joined {
                self.wake_side(side);
            }
        }
    }
}

/// A transport in one call.
struct Turn<'a, 'c, T> {
    transport: &'a mut T,
    cx: &'a mut Context<'c>,
    side: Side,
    /// The other side may wait to read, too.
    shared: bool,
    wakers: &'a Wakers,
}

impl<T: Transport> driver::Transport for Turn<'_, '_, T> {
    fn read(&mut self, space: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.shared {
            self.transport.poll_read(&mut self.wakers.join(self.side, self.cx), space)
        } else {
            self.transport.poll_read(self.cx, space)
        }
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.transport.poll_write(&mut self.wakers.join(self.side, self.cx), slices)
    }

    fn flush(&mut self) -> Poll<io::Result<()>> {
        self.transport.poll_flush(&mut self.wakers.join(self.side, self.cx))
    }

    fn is_vectored(&self) -> bool {
        self.transport.is_vectored()
    }
}
