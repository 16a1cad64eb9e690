//! What a test is about: versions, roles, limits. Makes both ends of it.

use std::sync::Arc;

use nested_tls::{Direct, Framing, Limits, Nested, Prepared, Role, Session};
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::ServerName;
use rustls::server::NoClientAuth;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ClientConfig, ServerConfig};

use super::crypto::Rng;
use super::glued::Glued;
use super::host::Host;
use super::null::{self, Strength};
use super::pair::Pair;
use super::party::{Machine, Party};
use super::pki::{self, Pki, Version};
use super::sessions::Start;

/// One end of one layer.
#[derive(Clone)]
pub enum End {
    Client(Arc<ClientConfig>, ServerName<'static>),
    Server(Arc<ServerConfig>),
}

impl End {
    pub fn role(&self) -> Role {
        match self {
            Self::Client(config, name) => Role::client(config.clone(), name.clone()),
            // Where there are tickets, as rustls' own connections send them; nobody comes back.
            Self::Server(config) if config.send_tls13_tickets > 0 => {
                Role::server(Prepared::from(config.clone()).with_resumption(Arc::new(NoClientAuth)))
            }
            Self::Server(config) => Role::server(config.clone()),
        }
    }
}

/// The roles of the left party; the right one has the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    ClientClient,
    ClientServer,
    ServerClient,
    ServerServer,
}

impl Mix {
    pub const ALL: [Self; 4] =
        [Self::ClientClient, Self::ClientServer, Self::ServerClient, Self::ServerServer];

    fn left(self) -> (bool, bool) {
        match self {
            Self::ClientClient => (true, true),
            Self::ClientServer => (true, false),
            Self::ServerClient => (false, true),
            Self::ServerServer => (false, false),
        }
    }
}

/// The two parties of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Left,
    Right,
}

impl Side {
    pub const BOTH: [Self; 2] = [Self::Left, Self::Right];

    pub fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }
}

/// Everything that a run follows from, beside its schedule.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub outer: Version,
    pub inner: Version,
    pub mix: Mix,
    pub limits: Limits,
    pub seed: u64,
    /// Both layers' servers ask for certificates.
    pub mutual: bool,
    /// Session tickets sent by TLS 1.3 servers.
    pub tickets: usize,
    pub max_fragment_size: Option<usize>,
    /// Both layers' ends speak every version, and agree on the newest.
    pub lenient: bool,
    /// Both ends keep what keying material is exported from.
    pub exporter: bool,
    /// Cryptography that protects nothing in the place of the real one.
    pub null: Option<Strength>,
    /// What the outer layer begins with, in a [`super::cast::Cast`].
    pub start: Start,
    /// The inner layer goes on with a session, there.
    pub inner_resumes: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            outer: Version::Tls13,
            inner: Version::Tls13,
            mix: Mix::ClientClient,
            limits: Limits::default(),
            seed: 1,
            mutual: true,
            tickets: 2,
            max_fragment_size: None,
            lenient: false,
            exporter: false,
            null: None,
            start: Start::Cold,
            inner_resumes: false,
        }
    }
}

impl Setup {
    pub fn new(outer: Version, inner: Version, mix: Mix) -> Self {
        Self { outer, inner, mix, ..Self::default() }
    }

    /// Every pair of versions with every mix of roles.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::versions().flat_map(|setup| Mix::ALL.map(|mix| Self { mix, ..setup }))
    }

    /// Every pair of versions.
    pub fn versions() -> impl Iterator<Item = Self> {
        Version::ALL
            .into_iter()
            .flat_map(|o| Version::ALL.map(|i| Self::new(o, i, Mix::ClientClient)))
    }

    /// Connections that go on with sessions: whatever may become of early data, in every mix of roles
    /// and pair of versions that has any.
    pub fn going_on() -> impl Iterator<Item = Self> {
        let row = |start, inner_resumes| {
            Self::all().map(move |setup| Self { start, inner_resumes, ..setup })
        };
        let offered = row(Start::Early, true).filter(|setup| setup.outer == Version::Tls13);
        row(Start::Resumed, true)
            .chain(offered)
            .chain(row(Start::Early, false).filter(Self::has_early_flight))
            .chain(row(Start::Rejected, false).filter(Self::has_early_flight))
            .chain(row(Start::Retried, true).filter(Self::has_early_flight))
    }

    /// The outer client is the inner one, too, whose ClientHello can leave early.
    pub fn has_early_flight(&self) -> bool {
        self.outer == Version::Tls13 && matches!(self.mix, Mix::ClientClient | Mix::ServerServer)
    }

    pub fn seeded(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// The configuration of one layer's end.
    pub fn end(&self, pki: &'static Pki, version: Version, client: bool) -> End {
        if client {
            let mut config = match self.null {
                Some(strength) => null::client(strength, pki.name, version),
                None if self.lenient => pki.client_of(rustls::ALL_VERSIONS),
                None => pki.client(version),
            };
            config.resumption = rustls::client::Resumption::disabled();
            config.max_fragment_size = self.max_fragment_size;
            End::Client(Arc::new(config), pki.name())
        } else {
            let mut config = match self.null {
                Some(strength) => null::server(strength, pki.name, version, self.mutual),
                None if self.lenient => pki.server_of(rustls::ALL_VERSIONS),
                None if self.mutual => pki.server(version),
                None => pki.open_server(version),
            };
            config.send_tls13_tickets = self.tickets;
            config.max_fragment_size = self.max_fragment_size;
            End::Server(Arc::new(config))
        }
    }

    /// Who a layer's server and its client have to be.
    pub fn rules(&self, pki: &Pki) -> (Arc<dyn ServerCertVerifier>, Arc<dyn ClientCertVerifier>) {
        let (server, client) = match self.null {
            Some(strength) => {
                (null::server_rule(strength, pki.name), null::client_rule(strength, pki.name))
            }
            None => (pki.server_rule(), pki.client_rule()),
        };
        (server, if self.mutual { client } else { Arc::new(NoClientAuth) })
    }

    /// Whether `side` is the client: of the outer layer, of the inner one.
    pub fn is_client(&self, side: Side) -> (bool, bool) {
        let (outer, inner) = self.mix.left();
        match side {
            Side::Left => (outer, inner),
            Side::Right => (!outer, !inner),
        }
    }

    pub fn outer_end(&self, side: Side) -> End {
        self.end(pki::outer(), self.outer, self.is_client(side).0)
    }

    pub fn inner_end(&self, side: Side) -> End {
        self.end(pki::inner(), self.inner, self.is_client(side).1)
    }

    pub fn seed_of(&self, side: Side) -> u64 {
        Rng(self.seed ^ if side == Side::Left { 0 } else { 0x5eed << 32 }).next()
    }

    fn role(&self, end: End) -> Role {
        if self.exporter { end.role().with_exporter() } else { end.role() }
    }

    pub fn session(&self, side: Side) -> Machine<Session> {
        Machine::new(self.seed_of(side), || {
            Session::new(self.role(self.outer_end(side)), self.limits).unwrap()
        })
    }

    pub fn nested_in<F: Framing>(&self, side: Side, framing: F) -> Machine<Nested<F>> {
        self.session(side).map(|s| s.nest(self.role(self.inner_end(side)), framing).unwrap())
    }

    pub fn nested(&self, side: Side) -> Machine<Nested> {
        self.nested_in(side, Direct)
    }

    pub fn glued(&self, side: Side) -> Glued {
        Glued::new(self.seed_of(side), &self.outer_end(side), &self.inner_end(side))
    }

    /// Two machines, not yet connected.
    pub fn pair(&self) -> Pair<Machine<Nested>, Machine<Nested>> {
        Pair::new(self.nested(Side::Left), self.nested(Side::Right))
    }

    /// Two machines with both handshakes behind them.
    pub fn connected(&self) -> Pair<Machine<Nested>, Machine<Nested>> {
        let mut pair = self.pair();
        pair.settle();
        pair.assert_established();
        pair
    }

    /// A machine on `side`, the oracle on the other.
    pub fn against_glued(&self, side: Side) -> Pair<Box<dyn Party>, Box<dyn Party>> {
        let machine: Box<dyn Party> = Box::new(self.nested(side));
        let glued: Box<dyn Party> = Box::new(self.glued(side.other()));
        match side {
            Side::Left => Pair::new(machine, glued),
            Side::Right => Pair::new(glued, machine),
        }
    }

    /// A host that holds the outer keys of both sides.
    pub fn host(&self) -> Host {
        Host::new(
            Box::new(Session::new(self.outer_end(Side::Right).role(), self.limits).unwrap()),
            Box::new(Session::new(self.outer_end(Side::Left).role(), self.limits).unwrap()),
        )
    }
}
