//! The clients of a load, and what stands behind the host.

use core::task::{Context, Poll};
use std::fs;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use nested_tls::adapter::tokio::Stream;
use nested_tls::identity::{ClientKey, Pin, Pinned, certificates_from_pem, private_key_from_pem};
use nested_tls::{Direct, Limits, Nested, Role, Session};
use rustls::crypto::{CryptoProvider, ring};
use rustls::{ClientConfig, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::files;

/// A client's stream through both layers.
pub(super) type Both<T = TcpStream> = Stream<Nested, T>;

/// What every client is; made once.
#[derive(Clone)]
pub(super) struct Client {
    address: SocketAddr,
    outer: Role,
    inner: Role,
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn read(name: &str) -> Vec<u8> {
    fs::read(files().join(name)).unwrap()
}

fn key(name: &str) -> ClientKey {
    let chain = certificates_from_pem(&read(&format!("{name}.crt"))).unwrap();
    let key = private_key_from_pem(&read(&format!("{name}.key"))).unwrap();
    ClientKey::new(chain, key, &provider()).unwrap()
}

/// The role of a client that takes the server of `name` and no other.
fn client_of(name: &str, own: Option<&str>) -> Role {
    let certificates = certificates_from_pem(&read(&format!("{name}.crt"))).unwrap();
    let pins = certificates.into_iter().map(Pin::certificate);
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned::new(pins, provider()).unwrap()));
    let config = match own {
        Some(own) => builder.with_client_cert_resolver(Arc::new(key(own))),
        None => builder.with_no_client_auth(),
    };
    Role::client(config, "load.test".try_into().unwrap())
}

impl Client {
    pub(super) fn new(address: &str) -> Self {
        Self {
            address: address.parse().unwrap(),
            outer: client_of("host", Some("client")),
            inner: client_of("hsm", None),
        }
    }

    pub(super) async fn tcp(&self) -> io::Result<TcpStream> {
        let tcp = TcpStream::connect(self.address).await?;
        tcp.set_nodelay(true)?;
        Ok(tcp)
    }

    /// A connection of whose answers little waits in the system of the client. Here that is the system of the host,
    /// which has to find room for what waits on the host's own side alone.
    pub(super) async fn narrow_tcp(&self) -> io::Result<TcpStream> {
        let socket = narrow()?;
        let tcp = socket.connect(self.address).await?;
        tcp.set_nodelay(true)?;
        Ok(tcp)
    }

    /// A stream that has shaken hands on both layers.
    pub(super) async fn connect(&self) -> io::Result<Both> {
        self.over(self.tcp().await?).await
    }

    /// The same over any transport.
    pub(super) async fn over<T: AsyncRead + AsyncWrite + Unpin>(
        &self,
        transport: T,
    ) -> io::Result<Both<T>> {
        let session = Session::new(self.outer.clone(), Limits::default()).unwrap();
        let machine = session.nest(self.inner.clone(), Direct).unwrap();
        Ok(Stream::connect(machine, transport).await?)
    }
}

/// A socket in which hardly anything waits: with those that the system would give it, a hundred clients that don't read
/// take all the memory that it has for TCP.
fn narrow() -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(128 * 1024)?;
    socket.set_send_buffer_size(128 * 1024)?;
    Ok(socket)
}

/// Sends a single byte at a time.
pub(super) struct Dribble(pub(super) TcpStream);

impl AsyncRead for Dribble {
    fn poll_read(
        mut self: core::pin::Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        core::pin::Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Dribble {
    fn poll_write(
        mut self: core::pin::Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        core::pin::Pin::new(&mut self.0).poll_write(cx, buf.get(..1).unwrap_or_default())
    }

    fn poll_write_vectored(
        self: core::pin::Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = slices.iter().find(|slice| !slice.is_empty());
        self.poll_write(cx, first.map_or(&[], |slice| slice))
    }

    fn poll_flush(
        mut self: core::pin::Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        core::pin::Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(
        mut self: core::pin::Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        core::pin::Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Starts what stands behind a host: it terminates the inner layer alone, and echoes. It runs for as long as the tests do.
pub(super) fn endpoint() -> SocketAddr {
    let (tell, told) = std::sync::mpsc::channel();
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(key("hsm")));
    let role = Role::server(config);
    thread::spawn(move || {
        super::runtime().block_on(async {
            let socket = narrow().unwrap();
            socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let listener = socket.listen(1024).unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                tcp.set_nodelay(true).unwrap();
                let machine = Session::new(role.clone(), Limits::default()).unwrap();
                tokio::spawn(echo(Stream::new(machine, tcp)));
            }
        });
    });
    told.recv().unwrap()
}

/// Errors are the clients' affair: most of them are meant to misbehave.
async fn echo(mut stream: Stream<Session, TcpStream>) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let n = stream.read(&mut buffer).await?;
        if n == 0 {
            return stream.shutdown().await;
        }
        stream.write_all(buffer.get(..n).unwrap_or_default()).await?;
        stream.flush().await?;
    }
}
