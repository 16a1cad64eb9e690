//! Contestants over loopback TCP: this crate's adapters, and stacked streams of rustls' own.

use std::io::{self, IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use nested_tls::adapter;
use rustls::{ClientConnection, ServerConnection, StreamOwned};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::config::{INNER, OUTER};
use super::machine;

/// A connection over loopback whose writes are counted.
pub struct Counted<T> {
    stream: T,
    writes: Arc<AtomicU64>,
}

impl<T> Counted<T> {
    fn count(&self) {
        self.writes.fetch_add(1, Ordering::Relaxed);
    }
}

impl<T: Read> Read for Counted<T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buf)
    }
}

impl<T: Write> Write for Counted<T> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.count();
        self.stream.write(buf)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.count();
        self.stream.write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Counted<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Counted<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.count();
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.count();
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Both ends of a connection, and how often they were written to.
pub type Ends<T> = (Counted<T>, Counted<T>, Arc<AtomicU64>);

fn loopback() -> Ends<TcpStream> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let left = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let right = listener.accept().unwrap().0;
    let writes = Arc::new(AtomicU64::new(0));
    let count = |stream: TcpStream| {
        stream.set_nodelay(true).unwrap();
        Counted { stream, writes: Arc::clone(&writes) }
    };
    (count(left), count(right), writes)
}

fn asynchronous() -> Ends<tokio::net::TcpStream> {
    let (left, right, writes) = loopback();
    let convert = |counted: Counted<TcpStream>| {
        counted.stream.set_nonblocking(true).unwrap();
        let stream = tokio::net::TcpStream::from_std(counted.stream).unwrap();
        Counted { stream, writes: counted.writes }
    };
    (convert(left), convert(right), writes)
}

/// Work over connected streams, whatever they are made of.
pub trait Sockets {
    /// Send `data` and have it answered with as much, `count` times.
    fn echo(&mut self, data: &[u8], count: usize);
    /// Send `data`, `count` times.
    fn bulk(&mut self, data: &[u8], count: usize);
    /// How often the transport was written to.
    fn writes(&self) -> u64;
}

/// Both ends in one task of a runtime on this thread.
pub struct Asynchronous<L, R> {
    runtime: tokio::runtime::Runtime,
    pub left: L,
    pub right: R,
    writes: Arc<AtomicU64>,
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap()
}

type Tcp = Counted<tokio::net::TcpStream>;
type Nested<T> = adapter::tokio::Stream<nested_tls::Nested, T>;

pub async fn connect_nested<T>(left: T, right: T) -> (Nested<T>, Nested<T>)
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let (left, right) = tokio::join!(
        adapter::tokio::Stream::connect(machine::client(), left),
        adapter::tokio::Stream::connect(machine::server(), right),
    );
    (left.ok().unwrap(), right.ok().unwrap())
}

pub fn tokio_nested() -> Asynchronous<Nested<Tcp>, Nested<Tcp>> {
    let runtime = runtime();
    let (left, right, writes) = runtime.block_on(async {
        let (left, right, writes) = asynchronous();
        let (left, right) = connect_nested(left, right).await;
        (left, right, writes)
    });
    Asynchronous { runtime, left, right, writes }
}

type StackedClient<T> = tokio_rustls::client::TlsStream<tokio_rustls::client::TlsStream<T>>;
type StackedServer<T> = tokio_rustls::server::TlsStream<tokio_rustls::server::TlsStream<T>>;

pub async fn connect_stacked<T>(left: T, right: T) -> (StackedClient<T>, StackedServer<T>)
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let client = async {
        let outer = TlsConnector::from(OUTER.client.clone());
        let inner = TlsConnector::from(INNER.client.clone());
        let stream = outer.connect(OUTER.name.clone(), left).await.unwrap();
        inner.connect(INNER.name.clone(), stream).await.unwrap()
    };
    let server = async {
        let stream = TlsAcceptor::from(OUTER.server.clone()).accept(right).await.unwrap();
        TlsAcceptor::from(INNER.server.clone()).accept(stream).await.unwrap()
    };
    tokio::join!(client, server)
}

pub fn tokio_stacked() -> Asynchronous<StackedClient<Tcp>, StackedServer<Tcp>> {
    let runtime = runtime();
    let (left, right, writes) = runtime.block_on(async {
        let (left, right, writes) = asynchronous();
        let (left, right) = connect_stacked(left, right).await;
        (left, right, writes)
    });
    Asynchronous { runtime, left, right, writes }
}

/// No TLS at all: what the sockets and the runtime cost by themselves.
pub fn tokio_plain() -> Asynchronous<Tcp, Tcp> {
    let runtime = runtime();
    let (left, right, writes) = runtime.block_on(async { asynchronous() });
    Asynchronous { runtime, left, right, writes }
}

/// Handshakes over a pipe of tokio's: of this crate's streams, and of stacked ones.
pub fn tokio_handshakes() -> (impl FnMut(), impl FnMut()) {
    let (ours, theirs) = (runtime(), runtime());
    let pipe = || tokio::io::duplex(1 << 14);
    let nested = move || {
        let (left, right) = pipe();
        drop(ours.block_on(connect_nested(left, right)));
    };
    let stacked = move || {
        let (left, right) = pipe();
        drop(theirs.block_on(connect_stacked(left, right)));
    };
    (nested, stacked)
}

impl<L, R> Sockets for Asynchronous<L, R>
where
    L: AsyncRead + AsyncWrite + Unpin,
    R: AsyncRead + AsyncWrite + Unpin,
{
    fn echo(&mut self, data: &[u8], count: usize) {
        let Self { runtime, left, right, .. } = self;
        let ask = async {
            let mut answer = vec![0; data.len()];
            for _ in 0..count {
                left.write_all(data).await.unwrap();
                left.flush().await.unwrap();
                left.read_exact(&mut answer).await.unwrap();
            }
        };
        let answer = async {
            let mut question = vec![0; data.len()];
            for _ in 0..count {
                right.read_exact(&mut question).await.unwrap();
                right.write_all(&question).await.unwrap();
                right.flush().await.unwrap();
            }
        };
        runtime.block_on(async { tokio::join!(ask, answer) });
    }

    fn bulk(&mut self, data: &[u8], count: usize) {
        let Self { runtime, left, right, .. } = self;
        let send = async {
            for _ in 0..count {
                left.write_all(data).await.unwrap();
            }
            left.flush().await.unwrap();
        };
        let receive = async {
            let mut space = vec![0; 1 << 16];
            let mut left = data.len() * count;
            while left > 0 {
                left -= right.read(&mut space).await.unwrap();
            }
        };
        runtime.block_on(async { tokio::join!(send, receive) });
    }

    fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }
}

/// The ends on two threads.
pub struct Blocking<L, R> {
    left: L,
    right: R,
    writes: Arc<AtomicU64>,
}

type BlockingNested = adapter::blocking::Stream<nested_tls::Nested, Counted<TcpStream>>;

pub fn blocking_nested() -> Blocking<BlockingNested, BlockingNested> {
    let (left, right, writes) = loopback();
    let mut left = adapter::blocking::Stream::new(machine::client(), left);
    let mut right = adapter::blocking::Stream::new(machine::server(), right);
    std::thread::scope(|scope| {
        scope.spawn(|| right.handshake().unwrap());
        left.handshake().unwrap();
    });
    Blocking { left, right, writes }
}

type Plain = Counted<TcpStream>;

/// No TLS at all: what the sockets cost by themselves.
pub fn blocking_plain() -> Blocking<Plain, Plain> {
    let (left, right, writes) = loopback();
    Blocking { left, right, writes }
}

type StackedOwned<C> = StreamOwned<C, StreamOwned<C, Plain>>;

pub fn blocking_stacked() -> Blocking<StackedOwned<ClientConnection>, StackedOwned<ServerConnection>>
{
    let (left, right, writes) = loopback();
    let client = |layer: &super::config::Layer| {
        ClientConnection::new(layer.client.clone(), layer.name.clone()).unwrap()
    };
    let server =
        |layer: &super::config::Layer| ServerConnection::new(layer.server.clone()).unwrap();
    let left = StreamOwned::new(client(&INNER), StreamOwned::new(client(&OUTER), left));
    let right = StreamOwned::new(server(&INNER), StreamOwned::new(server(&OUTER), right));
    let mut blocking = Blocking { left, right, writes };
    // The handshakes happen with the first bytes.
    blocking.echo(&[0], 1);
    blocking
}

impl<L: Read + Write + Send, R: Read + Write + Send> Sockets for Blocking<L, R> {
    fn echo(&mut self, data: &[u8], count: usize) {
        let Self { left, right, .. } = self;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut question = vec![0; data.len()];
                for _ in 0..count {
                    right.read_exact(&mut question).unwrap();
                    right.write_all(&question).unwrap();
                    right.flush().unwrap();
                }
            });
            let mut answer = vec![0; data.len()];
            for _ in 0..count {
                left.write_all(data).unwrap();
                left.flush().unwrap();
                left.read_exact(&mut answer).unwrap();
            }
        });
    }

    fn bulk(&mut self, data: &[u8], count: usize) {
        let Self { left, right, .. } = self;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut space = vec![0; 1 << 16];
                let mut rest = data.len() * count;
                while rest > 0 {
                    rest -= right.read(&mut space).unwrap();
                }
            });
            for _ in 0..count {
                left.write_all(data).unwrap();
            }
            left.flush().unwrap();
        });
    }

    fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }
}
