//! A machine over a transport of tokio.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::task::Wake;
use core::fmt;
use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll, Waker, ready};
use std::io::{self, IoSlice};
use std::sync::{Mutex, PoisonError};

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
    wakers: Arc<Wakers>,
    /// Wakes whom `wakers` has.
    both: Waker,
}

impl<P: Ports, T: AsyncRead + AsyncWrite + Unpin> Stream<P, T> {
    /// A stream that has done nothing yet: its handshakes happen in [`Stream::handshake`], or with
    /// the first bytes read or written.
    pub fn new(machine: P, transport: T) -> Self {
        let wakers = Arc::new(Wakers::default());
        let both = Waker::from(Arc::clone(&wakers));
        Self { machine, transport, state: State::new(), wakers, both }
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
    /// Handshakes that are not complete are given up. A machine that has failed sends its alert.
    ///
    /// # Errors
    /// The transport's error.
    pub async fn close(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_close(cx)).await
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.machine.close();
        self.state.take_deferred()?;
        self.drive(Goal::Close, Side::Writer, cx)
    }

    fn drive(&mut self, goal: Goal, side: Side, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let handshaking = !driver::is_established(&self.machine);
        let transport = &mut Polled {
            transport: &mut self.transport,
            cx,
            side,
            handshaking,
            wakers: &self.wakers,
            both: &self.both,
        };
        let result = driver::run(&mut self.machine, &mut self.state, goal, transport);
        if handshaking && driver::is_established(&self.machine) {
            // From here on each side waits for its own: let the other one look.
            self.wakers.wake_side(side.other());
        }
        result
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
        let Self { machine, transport, state, wakers, both } = self;
        Ok(Stream { machine: machine.nest(inner, framing)?, transport, state, wakers, both })
    }
}

impl<F: Framing, T> Stream<Nested<F>, T> {
    /// The outer layer back, once the inner one has ended; see [`Nested::into_outer`].
    ///
    /// # Errors
    /// Gives the stream back while the inner layer has not ended.
    pub fn into_outer(self) -> Result<Stream<Session, T>, Box<Self>> {
        let Self { machine, transport, state, wakers, both } = self;
        match machine.into_outer() {
            Ok(machine) => Ok(Stream { machine, transport, state, wakers, both }),
            Err(machine) => {
                Err(Box::new(Self { machine: *machine, transport, state, wakers, both }))
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
        if !this.state.given_up() {
            if let Err(error) = ready!(this.poll_close(cx)) {
                this.state.give_up(error);
            }
        }
        this.wakers.set(Side::Writer, cx.waker());
        let cx = &mut Context::from_waker(&this.both);
        let shut = ready!(Pin::new(&mut this.transport).poll_shutdown(cx));
        Poll::Ready(this.state.take_deferred().and(shut))
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

/// Who waits for the transport where both sides may: to write always, because a reader sends
/// answers, and to read during the handshakes, because a writer drives them, too. A transport
/// remembers only the last waker that it was polled with; this wakes both.
#[derive(Default)]
struct Wakers {
    reader: Mutex<Option<Waker>>,
    writer: Mutex<Option<Waker>>,
}

impl Wakers {
    fn of(&self, side: Side) -> &Mutex<Option<Waker>> {
        match side {
            Side::Reader => &self.reader,
            Side::Writer => &self.writer,
        }
    }

    fn set(&self, side: Side, waker: &Waker) {
        let mut place = self.of(side).lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *place {
            Some(old) => old.clone_from(waker),
            None => *place = Some(waker.clone()),
        }
    }

    fn wake_side(&self, side: Side) {
        let waker = self.of(side).lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Wake for Wakers {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_side(Side::Reader);
        self.wake_side(Side::Writer);
    }
}

/// A transport in one call.
struct Polled<'a, 'c, T> {
    transport: &'a mut T,
    cx: &'a mut Context<'c>,
    side: Side,
    handshaking: bool,
    wakers: &'a Wakers,
    both: &'a Waker,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Polled<'_, '_, T> {
    fn shared<R>(&mut self, act: impl FnOnce(Pin<&mut T>, &mut Context<'_>) -> R) -> R {
        self.wakers.set(self.side, self.cx.waker());
        act(Pin::new(&mut *self.transport), &mut Context::from_waker(self.both))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> driver::Transport for Polled<'_, '_, T> {
    fn read(&mut self, space: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(space);
        let read = if self.handshaking {
            self.shared(|transport, cx| transport.poll_read(cx, &mut buf))
        } else {
            Pin::new(&mut *self.transport).poll_read(self.cx, &mut buf)
        };
        read.map_ok(|()| buf.filled().len())
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.shared(|transport, cx| match slices {
            [slice] => transport.poll_write(cx, slice),
            slices => transport.poll_write_vectored(cx, slices),
        })
    }

    fn flush(&mut self) -> Poll<io::Result<()>> {
        self.shared(AsyncWrite::poll_flush)
    }

    fn is_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }
}
