//! A machine on a TCP connection: its handshakes with a time limit each, and its end.

use core::future::{Future as _, poll_fn};
use core::pin::pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::io;
use std::time::Instant;

use nested_tls::adapter::tokio::Stream;
use nested_tls::{ErrorKind, Event, Layer, Limits, Nested, Phase, Ports, Session};
use rustls::{Error as Tls, ProtocolVersion};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::config::Setup;
use super::diagnosis::Broken;
use super::idle::Pulse;
use super::net;
use super::pcap::Peel;
use super::wire::{Greeting, Watched, Wire};

/// How long a closed connection is kept, so that the peer gets what was sent last.
const LINGER: Duration = Duration::from_secs(2);

/// Both layers.
pub(crate) type Both = Nested<Peel>;

/// A machine on a TCP connection.
pub(crate) struct Link<M> {
    pub(crate) stream: Stream<M, Wire>,
    started: Instant,
    pub(crate) times: Times,
    /// How many records the outer and the inner peer needed for their handshakes.
    shaken: (u64, u64),
}

/// When each layer was established, counted from the begin of the outer handshake.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    pub(crate) outer: Option<Duration>,
    pub(crate) inner: Option<Duration>,
}

impl Times {
    pub(crate) fn of(self, layer: Layer) -> Option<Duration> {
        match layer {
            Layer::Outer => self.outer,
            Layer::Inner => self.inner,
        }
    }
}

impl Link<Both> {
    /// Both layers on one connection.
    pub(crate) fn nested(outer: &Setup, inner: &Setup, tcp: TcpStream) -> Result<Self, Broken> {
        let session = Session::new(outer.role.clone(), Limits::default())?;
        Ok(Self::new(session.nest(inner.role.clone(), inner.peel.clone())?, tcp))
    }
}

impl Link<Session> {
    /// One layer alone.
    pub(crate) fn single(setup: &Setup, tcp: TcpStream) -> Result<Self, Broken> {
        Ok(Self::new(Session::new(setup.role.clone(), Limits::default())?, tcp))
    }

    /// The inner layer inside this one.
    pub(crate) fn nest(self, inner: &Setup) -> Result<Link<Both>, Broken> {
        let Self { stream, started, times, shaken } = self;
        let stream = stream.nest(inner.role.clone(), inner.peel.clone())?;
        Ok(Link { stream, started, times, shaken })
    }
}

impl<M: Ports> Link<M> {
    fn new(machine: M, tcp: TcpStream) -> Self {
        let stream = Stream::new(machine, Wire::new(tcp, Greeting::default()));
        Self { stream, started: Instant::now(), times: Times::default(), shaken: (0, 0) }
    }

    pub(crate) fn machine(&self) -> &M {
        self.stream.machine()
    }

    /// When something passed last.
    pub(crate) fn pulse(&self) -> Pulse {
        self.stream.transport().onlooker.pulse.clone()
    }

    /// The handshakes of all layers; each may take `limit`.
    pub(crate) async fn handshake(&mut self, limit: Duration) -> Result<(), Broken> {
        loop {
            let layer = match self.machine().phase() {
                Phase::InnerHandshake => Layer::Inner,
                _ => Layer::Outer,
            };
            match timeout(limit, poll_fn(|cx| self.poll_handshake(cx))).await {
                Ok(Ok(true)) => return Ok(()),
                Ok(Ok(false)) => {}
                Ok(Err(error)) => return Err(Broken::of(&mut self.stream, error)),
                Err(_) => return Err(Broken::Timeout(layer, limit)),
            }
        }
    }

    /// Ready when all is done (true), or when a layer was established (false).
    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let result = pin!(self.stream.handshake()).poll(cx);
        let mut advanced = false;
        while let Some(event) = self.stream.machine_mut().poll_event() {
            let Event::Established(layer) = event else { continue };
            let (time, records) = match layer {
                Layer::Outer => (&mut self.times.outer, &mut self.shaken.0),
                Layer::Inner => (&mut self.times.inner, &mut self.shaken.1),
            };
            *time = Some(self.started.elapsed());
            *records = self.stream.machine().layer(layer).map_or(0, |info| info.records_in);
            advanced = true;
        }
        match result {
            Poll::Ready(result) => Poll::Ready(result.map(|()| true)),
            Poll::Pending if advanced => Poll::Ready(Ok(false)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Whether the peer's verdict on the certificate of `setup` may be still to come. In TLS 1.3 a server judges it when our
    /// handshake is complete; what it says from then on, a ticket or data, it says to a client that it accepts.
    pub(crate) fn awaits_verdict(&self, setup: &Setup) -> bool {
        let shaken = match setup.layer {
            Layer::Outer => self.shaken.0,
            Layer::Inner => self.shaken.1,
        };
        // A record that could not be opened has told nothing.
        let unopened = self.machine().failure().is_some_and(|error| {
            error.layer() == setup.layer
                && matches!(error.kind(), ErrorKind::Tls(Tls::DecryptError))
        });
        setup.witness.testimony().asked.is_some()
            && self.times.of(setup.layer).is_some()
            && self.machine().layer(setup.layer).is_some_and(|layer| {
                layer.version == Some(ProtocolVersion::TLSv1_3)
                    && layer.records_in == shaken + u64::from(unopened)
            })
    }

    /// Tells the witnesses how it stands with our certificates now that the peer is gone.
    pub(crate) fn testify(&self, setups: &[&Setup]) {
        setups
            .iter()
            .filter(|setup| self.awaits_verdict(setup))
            .for_each(|setup| setup.witness.stays_unjudged());
    }

    /// Hangs up without a word: the peer must not take for an end what is none.
    pub(crate) async fn abandon(self) {
        let (_, Watched { transport: mut tcp, .. }) = self.stream.into_parts();
        let _ = tcp.shutdown().await;
        net::drain(tcp, LINGER).await;
    }

    /// Closes all layers, or sends the alert of a failure, and waits a little for the peer: a connection that is closed
    /// with unread bytes is reset, and a reset destroys what the peer has not read yet.
    pub(crate) async fn finish(self) -> M {
        let mut stream = self.stream;
        let _ = timeout(LINGER, stream.shutdown()).await;
        let (machine, wire) = stream.into_parts();
        net::drain(wire.transport, LINGER).await;
        machine
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use std::sync::Arc;

    use nested_tls::Role;
    use nested_tls::identity::{Pin, Pinned};
    use rustls::crypto::ring;
    use rustls::pki_types::PrivateKeyDer;
    use rustls::{ClientConfig, ServerConfig};
    use tokio::net::TcpListener;

    use super::*;
    use crate::net::prepare;
    use crate::pki::{Period, Shape, Subject, Template};
    use crate::witness::Witness;

    /// A client and a server of one layer, connected.
    pub(crate) async fn pair() -> (Link<Session>, Link<Session>) {
        let period = Period::around(rustls::pki_types::UnixTime::now().as_secs());
        let subject = Subject::customer("server");
        let server = Template::new(subject, Shape::Authority, period).self_signed().unwrap();
        let provider = Arc::new(ring::default_provider());
        let pin = Pin::certificate(server.der.clone().into());
        let rule = Pinned::new(vec![pin], provider.clone()).unwrap();
        let client = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(rustls::ALL_VERSIONS)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(rule))
            .with_no_client_auth();
        let key = PrivateKeyDer::try_from(server.key).unwrap();
        let server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(rustls::ALL_VERSIONS)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![server.der.into()], key)
            .unwrap();
        let setup = |role| Setup {
            layer: Layer::Outer,
            role,
            witness: Arc::new(Witness::default()),
            own: None,
            peel: Peel::default(),
        };
        let name = "server".try_into().unwrap();
        let client = setup(Role::client(client, name));
        let server = setup(Role::server(server));

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tcp, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (tcp, accepted) = (tcp.unwrap(), accepted.unwrap().0);
        prepare(&tcp);
        prepare(&accepted);
        let mut client = Link::single(&client, tcp).unwrap();
        let mut server = Link::single(&server, accepted).unwrap();
        let limit = Duration::from_secs(10);
        let (one, other) = tokio::join!(client.handshake(limit), server.handshake(limit));
        one.unwrap();
        other.unwrap();
        (client, server)
    }
}
