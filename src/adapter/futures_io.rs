//! A machine over a transport with the traits of futures-io: those of smol, async-std and others.

use alloc::boxed::Box;
use core::fmt;
use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::io::{self, IoSlice};

use ::futures_io::{AsyncBufRead, AsyncRead, AsyncWrite};

use super::polled::{Polled, Transport};
use super::{Failed, driver};
use crate::nested::{Error, Framing, Nested, Ports, Role, Session};

/// A machine and its transport as one stream of plaintext.
///
/// Reading and writing may happen in different tasks (`smol::io::split`, `AsyncReadExt::split` of the
/// crate futures). Every method and every future may be given up at any point and called again:
/// nothing is lost or repeated.
pub struct Stream<P, T>(Polled<P, Io<T>>);

impl<P: Ports, T: AsyncRead + AsyncWrite + Unpin> Stream<P, T> {
    /// A stream that has done nothing yet: its handshakes happen in [`Stream::handshake`], or with
    /// the first bytes read or written.
    pub fn new(machine: P, transport: T) -> Self {
        Self(Polled::new(machine, Io(transport)))
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
            Err(error) => Err(Failed::new(error, stream.into_parts())),
        }
    }

    /// Go on until the innermost layer is established and the peer can know it.
    ///
    /// # Errors
    /// The machine's failure, after its alert was sent; or the transport's error.
    pub async fn handshake(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.0.poll_handshake(cx)).await
    }

    /// Nothing more will be written: send the innermost layer's close_notify and flush. Reading
    /// goes on. During the handshakes it is kept until they are complete.
    ///
    /// # Errors
    /// The machine's failure, or the transport's error.
    pub async fn close_write(&mut self) -> io::Result<()> {
        self.0.machine.close_write();
        poll_fn(|cx| self.0.poll_flush(cx)).await
    }

    /// Send the close_notify of every layer and flush. Never waits for the peer, whose data can
    /// still be read, and leaves the transport open; `AsyncWriteExt::close` closes that, too.
    ///
    /// Handshakes that are not complete are given up, which is a failure. A machine that has failed
    /// sends its alert.
    ///
    /// # Errors
    /// The machine's failure, or the transport's error.
    pub async fn close_layers(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.0.poll_close(cx)).await
    }
}

impl<P, T> Stream<P, T> {
    /// The machine.
    pub fn machine(&self) -> &P {
        &self.0.machine
    }

    /// The machine, for its events, messages and keys. What that makes it send leaves with the
    /// next flush.
    pub fn machine_mut(&mut self) -> &mut P {
        &mut self.0.machine
    }

    /// The transport.
    pub fn transport(&self) -> &T {
        &self.0.transport.0
    }

    /// The transport. What is read from it or written to it here, TLS misses.
    pub fn transport_mut(&mut self) -> &mut T {
        &mut self.0.transport.0
    }

    /// The machine and the transport, as they are: flush first what has to leave.
    pub fn into_parts(self) -> (P, T) {
        (self.0.machine, self.0.transport.0)
    }
}

impl<T> Stream<Session, T> {
    /// Put an inner layer inside the outer one; see [`Session::nest`]. No I/O happens.
    ///
    /// # Errors
    /// As [`Session::nest`]. The transport is closed then.
    pub fn nest<F: Framing>(self, inner: Role, framing: F) -> Result<Stream<Nested<F>, T>, Error> {
        self.0.nest(inner, framing).map(Stream)
    }
}

impl<F: Framing, T> Stream<Nested<F>, T> {
    /// The outer layer back, once the inner one has ended; see [`Nested::into_outer`].
    ///
    /// # Errors
    /// Gives the stream back while the inner layer has not ended.
    pub fn into_outer(self) -> Result<Stream<Session, T>, Box<Self>> {
        self.0.into_outer().map(Stream).map_err(|polled| Box::new(Self(*polled)))
    }
}

// The machine is never pinned.
impl<P, T: Unpin> Unpin for Stream<P, T> {}

impl<P: Ports, T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<P, T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let mut read = 0;
        let polled = self.0.poll_read(cx, driver::fill(buf, &mut read));
        polled.map_ok(|()| read)
    }
}

impl<P: Ports, T: AsyncRead + AsyncWrite + Unpin> AsyncBufRead for Stream<P, T> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        self.get_mut().0.poll_fill_buf(cx)
    }

    fn consume(mut self: Pin<&mut Self>, n: usize) {
        self.0.consume(n);
    }
}

impl<P: Ports, T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<P, T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, &[IoSlice::new(buf)])
    }

    /// All slices are taken at once, and leave together.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, slices)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_flush(cx)
    }

    /// Send the close_notify of every layer, flush, and close the transport, which most take for the
    /// direction of writing alone, even if that failed. Never waits for the peer.
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_shutdown(cx)
    }
}

impl<P: Ports, T> fmt::Debug for Stream<P, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A transport of futures-io.
struct Io<T>(T);

impl<T: AsyncRead + AsyncWrite + Unpin> Transport for Io<T> {
    fn poll_read(&mut self, cx: &mut Context<'_>, space: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, space)
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }

    fn is_vectored(&self) -> bool {
        // Who has no better way writes the first slice.
        true
    }
}
