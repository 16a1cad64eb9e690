//! All adapters behind one face, so that one table of cases serves them.

use std::future::Future;
use std::io::{self, BufRead, ErrorKind, IoSlice, Read, Write};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

#[cfg(feature = "futures-io")]
use nested_tls::adapter::futures_io;
use nested_tls::adapter::{blocking, tokio as asynchronous};
use nested_tls::{Nested, Ports};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};

use super::transport::End;

/// A stream of any adapter. Each call is one attempt: whatever future it took is dropped.
pub trait Line {
    fn handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    fn read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>>;
    /// As `read`, by `fill_buf` and `consume`.
    fn borrow(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>>;
    fn write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>>;
    fn flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    fn close_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    fn close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    fn shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    fn machine(&mut self) -> &mut Nested;
    fn transport(&mut self) -> &mut End;
    fn into_parts(self: Box<Self>) -> (Nested, End);
}

/// The adapters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adapter {
    Blocking,
    #[cfg(feature = "futures-io")]
    FuturesIo,
    Tokio,
}

impl Adapter {
    pub fn all() -> impl Iterator<Item = Self> {
        let all = [
            Self::Blocking,
            #[cfg(feature = "futures-io")]
            Self::FuturesIo,
            Self::Tokio,
        ];
        all.into_iter()
    }

    pub fn open(self, machine: Nested, end: End) -> Box<dyn Line> {
        match self {
            Self::Blocking => Box::new(blocking::Stream::new(machine, end)),
            #[cfg(feature = "futures-io")]
            Self::FuturesIo => Box::new(futures_io::Stream::new(machine, end)),
            Self::Tokio => Box::new(asynchronous::Stream::new(machine, end)),
        }
    }

    /// Whether a stalled call is woken when it can go on; else the caller has to try.
    pub fn wakes(self) -> bool {
        self != Self::Blocking
    }
}

fn pending<R>(result: io::Result<R>) -> Poll<io::Result<R>> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Poll::Pending,
        result => Poll::Ready(result),
    }
}

impl Line for blocking::Stream<Nested, End> {
    fn handshake(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        pending(self.handshake())
    }

    fn read(&mut self, _: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        pending(Read::read(self, buf))
    }

    fn borrow(&mut self, _: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let there = match pending(self.fill_buf()) {
            Poll::Ready(there) => there?,
            Poll::Pending => return Poll::Pending,
        };
        let n = there.len().min(buf.len());
        buf[..n].copy_from_slice(&there[..n]);
        self.consume(n);
        Poll::Ready(Ok(n))
    }

    fn write(&mut self, _: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        pending(match slices {
            [slice] => Write::write(self, slice),
            slices => self.write_vectored(slices),
        })
    }

    fn flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        pending(Write::flush(self))
    }

    fn close_write(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        pending(self.close_write())
    }

    fn close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        pending(self.close())
    }

    fn shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        pending(self.shutdown())
    }

    fn machine(&mut self) -> &mut Nested {
        self.machine_mut()
    }

    fn transport(&mut self) -> &mut End {
        self.transport_mut()
    }

    fn into_parts(self: Box<Self>) -> (Nested, End) {
        (*self).into_parts()
    }
}

#[cfg(feature = "futures-io")]
impl Line for futures_io::Stream<Nested, End> {
    fn handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        pin!(self.handshake()).poll(cx)
    }

    fn read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        ::futures_io::AsyncRead::poll_read(Pin::new(self), cx, buf)
    }

    fn borrow(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let there = match ::futures_io::AsyncBufRead::poll_fill_buf(Pin::new(&mut *self), cx) {
            Poll::Ready(there) => there?,
            Poll::Pending => return Poll::Pending,
        };
        let n = there.len().min(buf.len());
        buf[..n].copy_from_slice(&there[..n]);
        ::futures_io::AsyncBufRead::consume(Pin::new(self), n);
        Poll::Ready(Ok(n))
    }

    fn write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match slices {
            [slice] => ::futures_io::AsyncWrite::poll_write(Pin::new(self), cx, slice),
            slices => ::futures_io::AsyncWrite::poll_write_vectored(Pin::new(self), cx, slices),
        }
    }

    fn flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ::futures_io::AsyncWrite::poll_flush(Pin::new(self), cx)
    }

    fn close_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        pin!(self.close_write()).poll(cx)
    }

    fn close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        pin!(self.close_layers()).poll(cx)
    }

    fn shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ::futures_io::AsyncWrite::poll_close(Pin::new(self), cx)
    }

    fn machine(&mut self) -> &mut Nested {
        self.machine_mut()
    }

    fn transport(&mut self) -> &mut End {
        self.transport_mut()
    }

    fn into_parts(self: Box<Self>) -> (Nested, End) {
        (*self).into_parts()
    }
}

impl Line for asynchronous::Stream<Nested, End> {
    fn handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        pin!(self.handshake()).poll(cx)
    }

    fn read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(buf);
        let result = Pin::new(self).poll_read(cx, &mut buf);
        result.map_ok(|()| buf.filled().len())
    }

    fn borrow(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let there = match Pin::new(&mut *self).poll_fill_buf(cx) {
            Poll::Ready(there) => there?,
            Poll::Pending => return Poll::Pending,
        };
        let n = there.len().min(buf.len());
        buf[..n].copy_from_slice(&there[..n]);
        Pin::new(self).consume(n);
        Poll::Ready(Ok(n))
    }

    fn write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match slices {
            [slice] => Pin::new(self).poll_write(cx, slice),
            slices => Pin::new(self).poll_write_vectored(cx, slices),
        }
    }

    fn flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self).poll_flush(cx)
    }

    fn close_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        pin!(self.close_write()).poll(cx)
    }

    fn close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        pin!(self.close()).poll(cx)
    }

    fn shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self).poll_shutdown(cx)
    }

    fn machine(&mut self) -> &mut Nested {
        self.machine_mut()
    }

    fn transport(&mut self) -> &mut End {
        self.transport_mut()
    }

    fn into_parts(self: Box<Self>) -> (Nested, End) {
        (*self).into_parts()
    }
}

/// The failure of TLS that `error` comes from, if it does.
pub fn tls(error: &io::Error) -> Option<&nested_tls::Error> {
    error.get_ref()?.downcast_ref()
}

/// Whether the stream's machine has made both handshakes.
pub fn established(line: &mut dyn Line) -> bool {
    use nested_tls::Phase;
    !matches!(line.machine().phase(), Phase::OuterHandshake | Phase::InnerHandshake | Phase::Failed)
}
