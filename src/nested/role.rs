//! Which end of a layer this is, with a configuration prepared once for many connections.

use alloc::sync::Arc;
use core::fmt;

use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::ClientCertVerifier;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, Error, ServerConfig};

use super::layer::Layer;
use super::resumption::{self, ClientSessions, NoTickets, OnLayer};
use super::trace::Tracer;

/// A layer's configuration with what the record path needs, prepared once, cheap to clone.
///
/// Preparing copies the configuration it is given and changes the copy: traffic secrets may be
/// handed to the record path of this crate (they never leave it), early data is refused, and no
/// session is resumed, since a resumed handshake shows no certificate to judge.
/// `with_resumption` turns that on again, with the judgement. Verifiers, keys, versions, suites,
/// ALPN and key log stay as given.
pub struct Prepared<C> {
    given: Arc<C>,
    outer: Arc<C>,
    inner: Arc<C>,
    resumes: Option<Resumes>,
    early: bool,
    exports: bool,
    tracer: Option<Arc<dyn Tracer>>,
}

/// How much early data a server takes, or skips: much more than any ClientHello. What rustls skips
/// counts twice and more, as a record stays in its input until one comes that is not skipped.
const MAX_EARLY_DATA: u32 = 1 << 16;

/// Whose sessions go on, and who judges them.
#[derive(Clone)]
enum Resumes {
    Client(ClientSessions),
    Server(Arc<dyn ClientCertVerifier>),
}

impl<C> Prepared<C> {
    /// Keep each connection's exporter secret, for
    /// [`Ports::export_keying_material`](super::Ports::export_keying_material). Costs each
    /// connection a copy of the configuration.
    #[must_use]
    pub fn with_exporter(mut self) -> Self {
        self.exports = true;
        self
    }

    /// Tell `tracer` of each record of each connection, in this layer.
    #[must_use]
    pub fn traced_by(mut self, tracer: Arc<dyn Tracer>) -> Self {
        self.tracer = Some(tracer);
        self
    }

    pub(super) fn exports(&self) -> bool {
        self.exports
    }

    pub(super) fn config(&self, layer: Layer) -> &Arc<C> {
        match layer {
            Layer::Outer => &self.outer,
            Layer::Inner => &self.inner,
        }
    }

    pub(super) fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.given, &other.given)
    }
}

impl<C: Clone> Prepared<C> {
    fn new(given: Arc<C>, prepared: C) -> Self {
        let prepared = Arc::new(prepared);
        Self {
            given,
            outer: prepared.clone(),
            inner: prepared,
            resumes: None,
            early: false,
            exports: false,
            tracer: None,
        }
    }

    fn edit(&mut self, edit: impl Fn(Layer, &mut C)) {
        edit(Layer::Outer, Arc::make_mut(&mut self.outer));
        edit(Layer::Inner, Arc::make_mut(&mut self.inner));
    }
}

impl Prepared<ClientConfig> {
    /// Resume `sessions`, and keep new ones there.
    ///
    /// The verifier of `sessions` takes the place of the configuration's, and judges each session
    /// that goes on, by the certificates that it began with, as of now: with name, validity and pin,
    /// without a stapled OCSP response. If they fail, so does the connection, its server's sessions
    /// are forgotten, and the next connection shakes hands in full.
    #[must_use]
    pub fn with_resumption(mut self, sessions: ClientSessions) -> Self {
        self.edit(|layer, config| sessions.configure(layer, config));
        self.resumes = Some(Resumes::Client(sessions));
        self
    }

    /// Send the inner client's first flight as early data of the outer layer, where that resumes a
    /// TLS 1.3 session whose server takes early data: both handshakes then take one round trip less.
    ///
    /// Early data can be replayed. What leaves in it is an inner ClientHello, in the framing's words,
    /// which anybody may send; no application byte and no message does. Early data that the server
    /// does not take leaves once more behind the handshake, and the inner layer does not notice.
    ///
    /// For outer layers with [`Prepared::with_resumption`], nested at once; the inner layer never
    /// has early data.
    #[must_use]
    pub fn with_early_data(mut self) -> Self {
        Arc::make_mut(&mut self.outer).enable_early_data = true;
        self.early = true;
        self
    }
}

impl Prepared<ServerConfig> {
    /// Let clients resume sessions, as the configuration says: `session_storage`, `ticketer` and
    /// `send_tls13_tickets`. Both layers may have the same ones; a session goes on only on the layer
    /// that it began on.
    ///
    /// `verifier`, which should be the configuration's own, judges each session that goes on, by the
    /// certificates that it began with, as of now. For a server that asks for none it is
    /// [`NoClientAuth`](rustls::server::NoClientAuth).
    #[must_use]
    pub fn with_resumption(mut self, verifier: Arc<dyn ClientCertVerifier>) -> Self {
        let given = self.given.clone();
        self.edit(|layer, config| {
            config.session_storage = OnLayer::new(layer, given.session_storage.clone());
            if config.max_early_data_size == 0 {
                config.ticketer = OnLayer::new(layer, given.ticketer.clone());
            }
            config.send_tls13_tickets = given.send_tls13_tickets;
            config.max_tls13_tickets = given.max_tls13_tickets;
        });
        self.resumes = Some(Resumes::Server(verifier));
        self
    }

    /// Take early data in the outer layer, and answer the inner ClientHello in it at once.
    ///
    /// Until the outer handshake is complete the inner server sees one flight, and answers it with
    /// one: nothing else that came early is looked at before, by anybody. Each session takes early
    /// data once, as long as its store hands it out once: sessions are in `session_storage` for that,
    /// and the configuration's `ticketer` is not used. A store that several servers share must not
    /// give one session to two of them.
    ///
    /// For outer layers with [`Prepared::with_resumption`]; the inner layer never has early data.
    #[must_use]
    pub fn with_early_data(mut self) -> Self {
        let config = Arc::make_mut(&mut self.outer);
        config.max_early_data_size = MAX_EARLY_DATA;
        config.send_half_rtt_data = true;
        config.ticketer = Arc::new(NoTickets);
        self.early = true;
        self
    }
}

impl From<Arc<ClientConfig>> for Prepared<ClientConfig> {
    fn from(given: Arc<ClientConfig>) -> Self {
        let mut config = ClientConfig::clone(&given);
        config.enable_secret_extraction = true;
        // Early data can be replayed.
        config.enable_early_data = false;
        config.resumption = Resumption::disabled();
        Self::new(given, config)
    }
}

impl From<ClientConfig> for Prepared<ClientConfig> {
    fn from(config: ClientConfig) -> Self {
        Arc::new(config).into()
    }
}

impl From<Arc<ServerConfig>> for Prepared<ServerConfig> {
    fn from(given: Arc<ServerConfig>) -> Self {
        let mut config = ServerConfig::clone(&given);
        config.enable_secret_extraction = true;
        config.max_early_data_size = 0;
        // Data before the client's Finished would leave before the client is authenticated.
        config.send_half_rtt_data = false;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = Arc::new(NoTickets);
        config.send_tls13_tickets = 0;
        config.max_tls13_tickets = 0;
        Self::new(given, config)
    }
}

impl From<ServerConfig> for Prepared<ServerConfig> {
    fn from(config: ServerConfig) -> Self {
        Arc::new(config).into()
    }
}

impl<C> Clone for Prepared<C> {
    fn clone(&self) -> Self {
        Self {
            given: self.given.clone(),
            outer: self.outer.clone(),
            inner: self.inner.clone(),
            resumes: self.resumes.clone(),
            early: self.early,
            exports: self.exports,
            tracer: self.tracer.clone(),
        }
    }
}

impl<C> fmt::Debug for Prepared<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared").finish_non_exhaustive()
    }
}

/// Which end of a layer a machine is. The two layers' roles are independent of each other.
#[derive(Clone, Debug)]
pub enum Role {
    /// This side sends the ClientHello.
    Client {
        /// The layer's own configuration.
        config: Prepared<ClientConfig>,
        /// Who the peer must be, and the SNI unless it is an address.
        name: ServerName<'static>,
    },
    /// This side answers a ClientHello.
    Server {
        /// The layer's own configuration.
        config: Prepared<ServerConfig>,
    },
}

impl Role {
    /// A client that expects `name`. Prepares `config` unless that is done already.
    pub fn client(config: impl Into<Prepared<ClientConfig>>, name: ServerName<'static>) -> Self {
        Self::Client { config: config.into(), name }
    }

    /// A server. Prepares `config` unless that is done already.
    pub fn server(config: impl Into<Prepared<ServerConfig>>) -> Self {
        Self::Server { config: config.into() }
    }

    /// The same role with [`Prepared::with_exporter`].
    #[must_use]
    pub fn with_exporter(self) -> Self {
        match self {
            Self::Client { config, name } => Self::Client { config: config.with_exporter(), name },
            Self::Server { config } => Self::Server { config: config.with_exporter() },
        }
    }

    /// The same role with [`Prepared::traced_by`].
    #[must_use]
    pub fn traced_by(self, tracer: Arc<dyn Tracer>) -> Self {
        match self {
            Self::Client { config, name } => {
                Self::Client { config: config.traced_by(tracer), name }
            }
            Self::Server { config } => Self::Server { config: config.traced_by(tracer) },
        }
    }

    pub(super) fn tracer(&self) -> Option<Arc<dyn Tracer>> {
        match self {
            Self::Client { config, .. } => config.tracer.clone(),
            Self::Server { config } => config.tracer.clone(),
        }
    }

    pub(super) fn shares_config(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Client { config: a, .. }, Self::Client { config: b, .. }) => a.same(b),
            (Self::Server { config: a }, Self::Server { config: b }) => a.same(b),
            _ => false,
        }
    }

    pub(super) fn is_client(&self) -> bool {
        matches!(self, Self::Client { .. })
    }

    /// Whether this role is for an outer layer with early data.
    pub(super) fn is_early(&self) -> bool {
        match self {
            Self::Client { config, .. } => config.early,
            Self::Server { config } => config.early,
        }
    }

    pub(super) fn exports(&self) -> bool {
        match self {
            Self::Client { config, .. } => config.exports(),
            Self::Server { config } => config.exports(),
        }
    }

    pub(super) fn max_fragment_size(&self) -> Option<usize> {
        match self {
            Self::Client { config, .. } => config.given.max_fragment_size,
            Self::Server { config } => config.given.max_fragment_size,
        }
    }

    /// Judge whom a session goes on with, by the certificates that it began with.
    ///
    /// # Errors
    /// What the verifier says.
    pub(super) fn judge_resumed(
        &self,
        certificates: Option<&[CertificateDer<'_>]>,
    ) -> Result<(), Error> {
        let now =
            |time: &dyn TimeProvider| time.current_time().ok_or(Error::FailedToGetCurrentTime);
        match self {
            Self::Client { config, name } => match &config.resumes {
                Some(Resumes::Client(sessions)) => {
                    sessions.judge(certificates, name, now(&*config.given.time_provider)?)
                }
                _ => Err(Error::General("a session went on that should not".into())),
            },
            Self::Server { config } => match &config.resumes {
                Some(Resumes::Server(verifier)) => {
                    let now = now(&*config.given.time_provider)?;
                    resumption::judge_client(&**verifier, certificates, now)
                }
                _ => Err(Error::General("a session went on that should not".into())),
            },
        }
    }
}
