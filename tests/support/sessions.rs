//! Sessions that go on: in every connection of a test those of the same first one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use nested_tls::{ClientSessions, Prepared, Role};
use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::server::StoresServerSessions;
use rustls::{ClientConfig, NamedGroup, ServerConfig};

use super::crypto::{GROUP, OTHER_GROUP, provider};
use super::pki::{Pki, Version};
use super::setup::{End, Setup};

/// What a connection's outer layer begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Nothing.
    Cold,
    /// A session.
    Resumed,
    /// A session, and early data that the server takes.
    Early,
    /// A session, and early data that the server does not take.
    Rejected,
    /// The same; the server wants another ClientHello first.
    Retried,
}

impl Start {
    /// The client offers early data.
    pub fn offers(self) -> bool {
        matches!(self, Self::Early | Self::Rejected | Self::Retried)
    }
}

/// So many tickets come of a first connection.
const TICKETS: usize = 40;

/// So many are taken between two looks at what is left.
const FEW: usize = 4;

/// Remembers what it is told while it is open, so that one connection is like the next.
#[derive(Debug, Default)]
pub struct Kept {
    open: AtomicBool,
    tls12: Mutex<Option<Tls12ClientSessionValue>>,
    tls13: Mutex<Vec<Tls13ClientSessionValue>>,
    server: Mutex<HashMap<Vec<u8>, Vec<u8>>>,
}

impl Kept {
    /// Forget everything, and remember what comes.
    fn open(&self) {
        self.open.store(true, Ordering::Relaxed);
        self.tls12.lock().unwrap().take();
        self.tls13.lock().unwrap().clear();
        self.server.lock().unwrap().clear();
    }

    fn close(&self) {
        self.open.store(false, Ordering::Relaxed);
    }

    fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    fn is_short(&self) -> bool {
        self.tls12.lock().unwrap().is_none() && self.tls13.lock().unwrap().len() < FEW
    }
}

impl ClientSessionStore for Kept {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        if self.is_open() {
            *self.tls12.lock().unwrap() = Some(value);
        }
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.tls12.lock().unwrap().clone()
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        if self.is_open() {
            self.tls13.lock().unwrap().push(value);
        }
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.tls13.lock().unwrap().pop()
    }
}

impl StoresServerSessions for Kept {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        if self.is_open() {
            self.server.lock().unwrap().insert(key, value);
        }
        true
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.server.lock().unwrap().get(key).cloned()
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.server.lock().unwrap().remove(key)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

/// Both ends of a layer.
pub struct Ends {
    pub client: Role,
    /// Of the connection that a session begins with, and of those in which it goes on.
    pub servers: [Role; 2],
    /// For a client without manners, where there is early data.
    pub eager: Option<Arc<ClientConfig>>,
    /// What goes on: nothing, or the client's, and the client's without manners.
    kept: Vec<Arc<Kept>>,
}

impl Ends {
    pub fn new(setup: &Setup, pki: &'static Pki, version: Version, start: Start) -> Self {
        let (client, server) = (setup.end(pki, version, true), setup.end(pki, version, false));
        let (asking, answering) = match (&client, &server) {
            (End::Client(asking, _), End::Server(answering)) if start != Start::Cold => {
                (asking, answering)
            }
            _ => {
                let servers = [server.role(), server.role()];
                return Self { client: client.role(), servers, eager: None, kept: Vec::new() };
            }
        };
        let kept: Vec<Arc<Kept>> =
            (0..=usize::from(start.offers())).map(|_| Arc::default()).collect();
        let (mut asking, mut answering) =
            (ClientConfig::clone(asking), [(); 2].map(|()| ServerConfig::clone(answering)));
        if start == Start::Retried {
            let with = |groups: &[_]| {
                Arc::new(CryptoProvider { kx_groups: groups.to_vec(), ..(*provider()).clone() })
            };
            asking = pki.client_with(with(&[GROUP, OTHER_GROUP]), &[version.rustls()]);
            answering[1] = pki.server_with(with(&[OTHER_GROUP]), &[version.rustls()]);
        }
        let eager = start.offers().then(|| {
            let mut eager = asking.clone();
            eager.enable_early_data = true;
            eager.resumption = Resumption::store(kept[1].clone());
            Arc::new(eager)
        });
        let (server_rule, client_rule) = setup.rules(pki);
        let mut client = Prepared::from(asking)
            .with_resumption(ClientSessions::new(server_rule, kept[0].clone()));
        if start.offers() {
            client = client.with_early_data();
        }
        let takes = [start.offers(), start.offers() && start != Start::Rejected];
        let mut takes = takes.into_iter();
        let servers = answering.map(|mut config| {
            config.session_storage = kept[0].clone();
            config.send_tls13_tickets = TICKETS;
            let prepared = Prepared::from(config).with_resumption(client_rule.clone());
            Role::server(match takes.next() {
                Some(true) => prepared.with_early_data(),
                _ => prepared,
            })
        });
        Self { client: Role::client(client, pki.name()), servers, eager, kept }
    }

    /// Whether a first connection is needed.
    pub fn are_short(&self) -> bool {
        self.kept.iter().any(|kept| kept.is_short())
    }

    /// Forget all sessions; those that begin in `connect` are those that go on.
    pub fn begin(&self, connect: impl FnOnce()) {
        self.kept.iter().for_each(|kept| kept.open());
        connect();
        self.kept.iter().for_each(|kept| kept.close());
    }
}
