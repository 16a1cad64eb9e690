//! A machine over a transport of tokio.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::task::Wake;
use core::fmt;
use core::future::poll_fn;
use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll, Waker, ready};
use std::io::{self, IoSlice};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ::tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};

use super::Failed;
use super::driver::{self, Goal, State};
use crate::nested::{Error, Framing, Nested, Plaintext, Ports, Role, Session};

/// A machine and its transport as one stream of plaintext.
///
/// Reading and writing may happen in different tasks (`tokio::io::split`). Every method and every
/// future may be given up at any point and called again: nothing is lost or repeated.
pub struct Stream<P, T> {
    machine: P,
    transport: T,
    state: State,
    /// Nothing more can be sent, so that a shutdown goes on to the transport.
    given_up: bool,
    wakers: Wakers,
}

impl<P: Ports, T: AsyncRead + AsyncWrite + Unpin> Stream<P, T> {
    /// A stream that has done nothing yet: its handshakes happen in [`Stream::handshake`], or with
    /// the first bytes read or written.
    pub fn new(machine: P, transport: T) -> Self {
        Self { machine, transport, state: State::new(), given_up: false, wakers: Wakers::new() }
    }

    /// A stream whose handshakes are complete, whatever the roles.
    ///
    /// Giving up the future drops the machine and the transport; [`Stream::new`] and
    /// [`Stream::handshake`] keep them.
    ///
    /// # Errors
    /// What [`Stream::handshake`] says, with the machine and the transport.
    pub async fn connect(machine: P, transport: T) -> Result<Self, Failed<P, T>> {
        let mut stream = Self::new(machine, transport);
        match stream.handshake().await {
            Ok(()) => Ok(stream),
            Err(error) => {
                let (machine, transport) = stream.into_parts();
                Err(Failed { error, machine, transport })
            }
        }
    }

    /// Go on until the innermost layer is established and the peer can know it.
    ///
    /// # Errors
    /// The machine's failure, after its alert was sent; or the transport's error.
    pub async fn handshake(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.drive(Goal::Handshake, Side::Writer, cx)).await
    }

    /// Nothing more will be written: send the innermost layer's close_notify and flush. Reading
    /// goes on. During the handshakes it is kept until they are complete.
    ///
    /// # Errors
    /// The machine's failure, or the transport's error.
    pub async fn close_write(&mut self) -> io::Result<()> {
        self.machine.close_write();
        poll_fn(|cx| Pin::new(&mut *self).poll_flush(cx)).await
    }

    /// Send the close_notify of every layer and flush. Never waits for the peer, whose data can
    /// still be read, and leaves the transport open; `AsyncWriteExt::shutdown` shuts its writing
    /// half, too.
    ///
    /// Handshakes that are not complete are given up, which is a failure. A machine that has failed
    /// sends its alert.
    ///
    /// # Errors
    /// The machine's failure, or the transport's error.
    pub async fn close(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_close(cx)).await
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.state.close(&mut self.machine);
        self.state.take_deferred()?;
        self.drive(Goal::Close, Side::Writer, cx)
    }

    fn drive(&mut self, goal: Goal, side: Side, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Beside the reader, a writer reads, too, as long as there is a handshake to get on with.
        let shared = side == Side::Writer || !driver::is_established(&self.machine);
        let readable = side == Side::Writer && self.machine.readiness().plain_out;
        let (transport, wakers) = (&mut self.transport, &self.wakers);
        let transport = &mut Polled { transport, cx: &mut *cx, side, shared, wakers };
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

    /// Let the other side look again if what `side` did concerns it.
    fn tell(&mut self, side: Side) {
        let state = (driver::is_established(&self.machine), self.machine.failure().is_some());
        if state != self.wakers.told {
            self.wakers.told = state;
            self.wakers.both.wake_side(side.other());
        }
    }
}

impl<P, T> Stream<P, T> {
    /// The machine.
    pub fn machine(&self) -> &P {
        &self.machine
    }

    /// The machine, for its events, messages and keys. What that makes it send leaves with the
    /// next flush.
    pub fn machine_mut(&mut self) -> &mut P {
        &mut self.machine
    }

    /// The transport.
    pub fn transport(&self) -> &T {
        &self.transport
    }

    /// The transport. What is read from it or written to it here, TLS misses.
    pub fn transport_mut(&mut self) -> &mut T {
        &mut self.transport
    }

    /// The machine and the transport, as they are: flush first what has to leave.
    pub fn into_parts(self) -> (P, T) {
        (self.machine, self.transport)
    }
}

impl<T> Stream<Session, T> {
    /// Put an inner layer inside the outer one; see [`Session::nest`]. No I/O happens.
    ///
    /// # Errors
    /// As [`Session::nest`]. The transport is closed then.
    pub fn nest<F: Framing>(self, inner: Role, framing: F) -> Result<Stream<Nested<F>, T>, Error> {
        let Self { machine, transport, state, given_up, wakers } = self;
        Ok(Stream { machine: machine.nest(inner, framing)?, transport, state, given_up, wakers })
    }
}

impl<F: Framing, T> Stream<Nested<F>, T> {
    /// The outer layer back, once the inner one has ended; see [`Nested::into_outer`].
    ///
    /// # Errors
    /// Gives the stream back while the inner layer has not ended.
    pub fn into_outer(self) -> Result<Stream<Session, T>, Box<Self>> {
        let Self { machine, transport, state, given_up, wakers } = self;
        match machine.into_outer() {
            Ok(machine) => Ok(Stream { machine, transport, state, given_up, wakers }),
            Err(machine) => {
                Err(Box::new(Self { machine: *machine, transport, state, given_up, wakers }))
            }
        }
    }
}

// The machine is never pinned.
impl<P, T: Unpin> Unpin for Stream<P, T> {}

impl<P: Ports, T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<P, T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        ready!(this.drive(Goal::Read, Side::Reader, cx))?;
        this.state.read_plain(&mut this.machine, |bytes| {
            let n = bytes.len().min(buf.remaining());
            buf.put_slice(bytes.get(..n).unwrap_or_default());
            n
        });
        this.tell(Side::Reader);
        Poll::Ready(Ok(()))
    }
}

impl<P: Ports, T: AsyncRead + AsyncWrite + Unpin> AsyncBufRead for Stream<P, T> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        ready!(this.drive(Goal::Read, Side::Reader, cx))?;
        Poll::Ready(Ok(match this.machine.plain_out() {
            Plaintext::Bytes(bytes) => bytes,
            Plaintext::End | Plaintext::Pending => &[],
        }))
    }

    fn consume(self: Pin<&mut Self>, n: usize) {
        let this = self.get_mut();
        this.state.consume(&mut this.machine, n);
        this.tell(Side::Reader);
    }
}

impl<P: Ports, T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<P, T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.state.take_deferred()?;
        if slices.iter().all(|slice| slice.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        loop {
            match driver::take(&mut this.machine, slices) {
                Ok(0) => ready!(this.drive(Goal::Write, Side::Writer, cx))?,
                Ok(n) => {
                    if let Poll::Ready(Err(error)) = this.drive(Goal::Push, Side::Writer, cx) {
                        this.state.defer(error);
                    }
                    return Poll::Ready(Ok(n));
                }
                Err(error) => {
                    // The alert, if that is what the error comes from.
                    let _ = this.drive(Goal::Push, Side::Writer, cx);
                    return Poll::Ready(Err(error));
                }
            }
        }
    }

    /// All slices are taken at once, and leave together.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.state.take_deferred()?;
        this.drive(Goal::Flush, Side::Writer, cx)
    }

    /// Send the close_notify of every layer, flush, and shut the transport's writing half, even if
    /// that failed. Never waits for the peer.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.given_up {
            if let Err(error) = ready!(this.poll_close(cx)) {
                this.given_up = true;
                this.state.defer(error);
            }
        }
        let cx = &mut this.wakers.join(Side::Writer, cx);
        let shut = ready!(driver::retry(|| Pin::new(&mut this.transport).poll_shutdown(cx)));
        let closed = this.state.take_deferred().and_then(|()| driver::check(&this.machine));
        Poll::Ready(closed.and_then(|()| this.state.excuse(shut)))
    }
}

impl<P: Ports, T> fmt::Debug for Stream<P, T> {
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
struct Polled<'a, 'c, T> {
    transport: &'a mut T,
    cx: &'a mut Context<'c>,
    side: Side,
    /// The other side may wait to read, too.
    shared: bool,
    wakers: &'a Wakers,
}

impl<T: AsyncRead + AsyncWrite + Unpin> driver::Transport for Polled<'_, '_, T> {
    fn read(&mut self, space: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(space);
        let transport = Pin::new(&mut *self.transport);
        let read = if self.shared {
            transport.poll_read(&mut self.wakers.join(self.side, self.cx), &mut buf)
        } else {
            transport.poll_read(self.cx, &mut buf)
        };
        read.map_ok(|()| buf.filled().len())
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let transport = Pin::new(&mut *self.transport);
        let cx = &mut self.wakers.join(self.side, self.cx);
        match slices {
            [slice] => transport.poll_write(cx, slice),
            slices => transport.poll_write_vectored(cx, slices),
        }
    }

    fn flush(&mut self) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.transport).poll_flush(&mut self.wakers.join(self.side, self.cx))
    }

    fn is_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }
}
