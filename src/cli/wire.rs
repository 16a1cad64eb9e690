//! Transports that show what passes.

use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::io::{self, IoSlice};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::idle::Pulse;

/// More of a greeting is never shown.
const GREETING: usize = 48;

/// Is shown what passes a transport.
pub(crate) trait Onlooker: Unpin {
    /// These bytes were read.
    fn came(&mut self, bytes: &[u8]);

    /// These bytes were written.
    fn went(&mut self, bytes: &[u8]) {
        let _ = bytes;
    }
}

/// Keeps a copy.
impl Onlooker for &mut Vec<u8> {
    fn came(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn went(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// How the peer began: what is no TLS is best told in the peer's own words. And when anything passed last.
#[derive(Debug, Default)]
pub(crate) struct Greeting {
    said: Vec<u8>,
    pub(crate) pulse: Pulse,
}

impl Greeting {
    /// The first line that the peer sent, if it is text.
    pub(crate) fn text(&self) -> Option<String> {
        let line = self.said.split(|byte| matches!(byte, b'\r' | b'\n')).next()?;
        let is_text = line.len() > 1 && line.iter().all(|byte| matches!(byte, b' '..=b'~'));
        is_text.then(|| String::from_utf8_lossy(line).into_owned())
    }
}

impl Onlooker for Greeting {
    fn came(&mut self, bytes: &[u8]) {
        let room = GREETING - self.said.len();
        self.said.extend(bytes.iter().take(room));
        self.went(bytes);
    }

    fn went(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.pulse.beat();
        }
    }
}

/// A transport with an onlooker.
#[derive(Debug)]
pub(crate) struct Watched<T, O> {
    pub(crate) transport: T,
    pub(crate) onlooker: O,
}

/// A TCP connection that remembers how the peer began.
pub(crate) type Wire = Watched<TcpStream, Greeting>;

impl<T, O> Watched<T, O> {
    pub(crate) fn new(transport: T, onlooker: O) -> Self {
        Self { transport, onlooker }
    }
}

impl<T: AsyncRead + Unpin, O: Onlooker> AsyncRead for Watched<T, O> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.transport).poll_read(cx, buf))?;
        this.onlooker.came(buf.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin, O: Onlooker> AsyncWrite for Watched<T, O> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let n = ready!(Pin::new(&mut this.transport).poll_write(cx, buf))?;
        this.onlooker.went(buf.get(..n).unwrap_or(buf));
        Poll::Ready(Ok(n))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let n = ready!(Pin::new(&mut this.transport).poll_write_vectored(cx, slices))?;
        let mut rest = n;
        for slice in slices {
            let written = slice.get(..rest).unwrap_or(slice);
            this.onlooker.went(written);
            rest -= written.len();
        }
        Poll::Ready(Ok(n))
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().transport).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().transport).poll_shutdown(cx)
    }
}
