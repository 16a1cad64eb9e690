//! Which end of a layer this is, with a configuration prepared once for many connections.

use alloc::sync::Arc;
use core::fmt;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};

use super::trace::Tracer;

/// A layer's configuration with what the record path needs, prepared once, cheap to clone.
///
/// Preparing copies the configuration it is given and changes the copy in two ways: traffic secrets
/// may be handed to the record path of this crate (they never leave it), and early data is refused.
/// Verifiers, keys, versions, suites, ALPN, resumption and key log stay as given.
pub struct Prepared<C> {
    given: Arc<C>,
    prepared: Arc<C>,
    exports: bool,
    tracer: Option<Arc<dyn Tracer>>,
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

    pub(super) fn config(&self) -> &Arc<C> {
        &self.prepared
    }

    pub(super) fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.given, &other.given)
    }
}

impl From<Arc<ClientConfig>> for Prepared<ClientConfig> {
    fn from(given: Arc<ClientConfig>) -> Self {
        let mut config = ClientConfig::clone(&given);
        config.enable_secret_extraction = true;
        // Early data can be replayed; nothing of the inner layer may ride in it.
        config.enable_early_data = false;
        Self { given, prepared: Arc::new(config), exports: false, tracer: None }
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
        Self { given, prepared: Arc::new(config), exports: false, tracer: None }
    }
}

impl From<ServerConfig> for Prepared<ServerConfig> {
    fn from(config: ServerConfig) -> Self {
        Arc::new(config).into()
    }
}

impl<C> Clone for Prepared<C> {
    fn clone(&self) -> Self {
        let (given, prepared) = (Arc::clone(&self.given), Arc::clone(&self.prepared));
        Self { given, prepared, exports: self.exports, tracer: self.tracer.clone() }
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

    pub(super) fn exports(&self) -> bool {
        match self {
            Self::Client { config, .. } => config.exports(),
            Self::Server { config } => config.exports(),
        }
    }

    pub(super) fn max_fragment_size(&self) -> Option<usize> {
        match self {
            Self::Client { config, .. } => config.config().max_fragment_size,
            Self::Server { config } => config.config().max_fragment_size,
        }
    }
}
