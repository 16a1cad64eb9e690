//! Both adapters behind one set of calls, each of which is asked once: `WouldBlock` is `Pending`,
//! and an asynchronous call that is pending is given up.

use std::future::Future;
use std::io::{self, BufRead, Read, Write};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use ::tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};
use nested_tls::Nested;
use nested_tls::adapter::{blocking, tokio};

/// A machine over `T`, by either adapter.
pub(super) enum Adapter<T> {
    Blocking(blocking::Stream<Nested, T>),
    Tokio(tokio::Stream<Nested, T>),
}

/// The same for either adapter.
macro_rules! either {
    ($adapter:expr, $stream:ident => $do:expr) => {
        match $adapter {
            Adapter::Blocking($stream) => $do,
            Adapter::Tokio($stream) => $do,
        }
    };
}

fn once<R>(poll: impl FnOnce(&mut Context<'_>) -> Poll<io::Result<R>>) -> io::Result<R> {
    match poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

fn asked<R>(call: impl Future<Output = io::Result<R>>) -> io::Result<R> {
    let call = pin!(call);
    once(|cx| call.poll(cx))
}

impl<T: Read + Write + AsyncRead + AsyncWrite + Unpin> Adapter<T> {
    pub(super) fn new(with_tokio: bool, machine: Nested, transport: T) -> Self {
        match with_tokio {
            true => Self::Tokio(tokio::Stream::new(machine, transport)),
            false => Self::Blocking(blocking::Stream::new(machine, transport)),
        }
    }

    pub(super) fn machine(&self) -> &Nested {
        either!(self, stream => stream.machine())
    }

    pub(super) fn machine_mut(&mut self) -> &mut Nested {
        either!(self, stream => stream.machine_mut())
    }

    pub(super) fn transport(&self) -> &T {
        either!(self, stream => stream.transport())
    }

    pub(super) fn transport_mut(&mut self) -> &mut T {
        either!(self, stream => stream.transport_mut())
    }

    pub(super) fn handshake(&mut self) -> io::Result<()> {
        match self {
            Self::Blocking(stream) => stream.handshake(),
            Self::Tokio(stream) => asked(stream.handshake()),
        }
    }

    pub(super) fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Blocking(stream) => stream.read(space),
            Self::Tokio(stream) => once(|cx| {
                let mut space = ReadBuf::new(space);
                let polled = Pin::new(stream).poll_read(cx, &mut space);
                polled.map_ok(|()| space.filled().len())
            }),
        }
    }

    /// What can be read; then at most `most` of it is.
    pub(super) fn read_buffered(&mut self, most: usize) -> io::Result<Vec<u8>> {
        let bytes = match self {
            Self::Blocking(stream) => stream.fill_buf()?.to_vec(),
            Self::Tokio(stream) => {
                once(|cx| Pin::new(stream).poll_fill_buf(cx).map_ok(<[u8]>::to_vec))?
            }
        };
        let read = bytes[..most.min(bytes.len())].to_vec();
        match self {
            Self::Blocking(stream) => stream.consume(read.len()),
            Self::Tokio(stream) => Pin::new(stream).consume(read.len()),
        }
        Ok(read)
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Blocking(stream) => stream.write(bytes),
            Self::Tokio(stream) => once(|cx| Pin::new(stream).poll_write(cx, bytes)),
        }
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Blocking(stream) => stream.flush(),
            Self::Tokio(stream) => once(|cx| Pin::new(stream).poll_flush(cx)),
        }
    }

    pub(super) fn close_write(&mut self) -> io::Result<()> {
        match self {
            Self::Blocking(stream) => stream.close_write(),
            Self::Tokio(stream) => asked(stream.close_write()),
        }
    }

    pub(super) fn close(&mut self) -> io::Result<()> {
        match self {
            Self::Blocking(stream) => stream.close(),
            Self::Tokio(stream) => asked(stream.close()),
        }
    }
}
