//! A TCP connection that remembers how the peer began: what is no TLS is best told in the peer's own words.

use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::io::{self, IoSlice};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// More of a greeting is never shown.
const GREETING: usize = 48;

/// A TCP connection, and the first bytes that came.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) tcp: TcpStream,
    greeting: Vec<u8>,
}

impl Wire {
    pub(crate) fn new(tcp: TcpStream) -> Self {
        Self { tcp, greeting: Vec::new() }
    }

    /// The first line that the peer sent, if it is text.
    pub(crate) fn greeting(&self) -> Option<String> {
        let line = self.greeting.split(|byte| matches!(byte, b'\r' | b'\n')).next()?;
        let is_text = line.len() > 1 && line.iter().all(|byte| matches!(byte, b' '..=b'~'));
        is_text.then(|| String::from_utf8_lossy(line).into_owned())
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.tcp).poll_read(cx, buf))?;
        let room = GREETING - this.greeting.len();
        if room > 0 {
            let came = buf.filled().get(before..).unwrap_or_default();
            this.greeting.extend(came.iter().take(room));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tcp).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tcp).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(cx)
    }
}
