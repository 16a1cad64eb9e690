//! A connector for hyper-util's client: to HTTPS origins through an HTTPS proxy.

use std::error::Error;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper::http::uri::{Authority, Scheme};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use nested_tls::adapter::tokio::Stream;
use nested_tls::preamble::HttpConnect;
use nested_tls::{Direct, Layer, Limits, Nested, Ports, Prepared, Role, Session};
use rustls::ClientConfig;
use rustls::pki_types::{InvalidDnsNameError, ServerName};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_service::Service;

type BoxError = Box<dyn Error + Send + Sync>;

/// How long it may take until both layers are there.
const LIMIT: Duration = Duration::from_secs(30);

/// An HTTPS proxy, as the way to any HTTPS origin.
#[derive(Clone)]
pub(crate) struct Proxy {
    address: Authority,
    /// With the proxy: its name, whom to trust for it, perhaps a client certificate.
    outer: Role,
    /// With any origin.
    inner: Prepared<ClientConfig>,
    /// A user and a password.
    auth: Option<(String, String)>,
}

impl Proxy {
    /// The two layers share no configuration: neither trust nor certificates, and no ALPN. What is
    /// spoken with the proxy is CONNECT, in HTTP/1.1; what is spoken with the origin, is for the
    /// origin to choose.
    pub(crate) fn new(
        address: Authority,
        outer: ClientConfig,
        mut inner: ClientConfig,
    ) -> Result<Self, InvalidDnsNameError> {
        inner.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let outer = Role::client(outer, name(address.host())?);
        Ok(Self { address, outer, inner: inner.into(), auth: None })
    }

    pub(crate) fn with_auth(mut self, user: &str, password: &str) -> Self {
        self.auth = Some((user.to_owned(), password.to_owned()));
        self
    }

    async fn tunnel(&self, origin: &Uri) -> Result<Tunnel, BoxError> {
        if origin.scheme() != Some(&Scheme::HTTPS) {
            return Err("only https goes through the tunnel".into());
        }
        let host = origin.host().ok_or("there is no host in the URI")?;
        let mut request = HttpConnect::new(host, origin.port_u16().unwrap_or(443))?;
        if let Some((user, password)) = &self.auth {
            request = request.basic_auth(user, password)?;
        }

        // The outer layer ends at the proxy, which is asked for a tunnel in it.
        let port = self.address.port_u16().unwrap_or(443);
        let socket = TcpStream::connect((unbracketed(self.address.host()), port)).await?;
        socket.set_nodelay(true)?;
        let session = Session::new(self.outer.clone(), Limits::default())?;
        let mut stream = Stream::connect(session, socket).await.map_err(io::Error::from)?;
        stream.write_all(&request.request()).await?;
        stream.flush().await?;
        loop {
            let bytes = stream.fill_buf().await?;
            if bytes.is_empty() {
                return Err("the proxy closed before it answered".into());
            }
            // What follows the answer is the inner layer's, and stays where it is.
            let (used, opened) = request.receive(bytes)?;
            stream.consume(used);
            if opened {
                break;
            }
        }

        // The inner layer ends at the origin.
        let mut stream = stream.nest(Role::client(self.inner.clone(), name(host)?), Direct)?;
        stream.handshake().await?;
        Ok(Tunnel(TokioIo::new(stream)))
    }
}

fn name(host: &str) -> Result<ServerName<'static>, InvalidDnsNameError> {
    ServerName::try_from(unbracketed(host).to_owned())
}

/// An IPv6 address stands in brackets in a URI, and nowhere else.
fn unbracketed(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

impl Service<Uri> for Proxy {
    type Response = Tunnel;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Tunnel, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, origin: Uri) -> Self::Future {
        let proxy = self.clone();
        Box::pin(async move { timeout(LIMIT, proxy.tunnel(&origin)).await? })
    }
}

/// A connection to an origin, both layers established.
pub(crate) struct Tunnel(TokioIo<Stream<Nested, TcpStream>>);

impl Connection for Tunnel {
    fn connected(&self) -> Connected {
        let connected = Connected::new();
        match self.0.inner().machine().layer(Layer::Inner) {
            Some(inner) if inner.alpn.as_deref() == Some(b"h2") => connected.negotiated_h2(),
            _ => connected,
        }
    }
}

impl Read for Tunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl Write for Tunnel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
