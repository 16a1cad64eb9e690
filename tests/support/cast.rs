//! A setup whose configurations are made once, for many connections, and whose sessions go on.

use std::sync::Arc;

use nested_tls::{Direct, Event, Layer, Nested, Role, Session};

use super::crypto;
use super::hop::{Eager, Hop};
use super::host::Host;
use super::pair::Pair;
use super::party::{Machine, Party};
use super::pki;
use super::sessions::{Ends, Start};
use super::setup::{Setup, Side};

/// By side: the outer layer's, the inner layer's.
type Roles = [(Role, Role); 2];

#[derive(Clone)]
pub struct Cast {
    pub setup: Setup,
    roles: Roles,
    outer: Arc<Ends>,
    inner: Arc<Ends>,
}

impl Cast {
    pub fn new(setup: Setup) -> Self {
        let inner = if setup.inner_resumes { Start::Resumed } else { Start::Cold };
        let outer = Ends::new(&setup, pki::outer(), setup.outer, setup.start);
        let inner = Ends::new(&setup, pki::inner(), setup.inner, inner);
        let roles = Self::roles(&setup, &outer, &inner, 1);
        Self { setup, roles, outer: outer.into(), inner: inner.into() }
    }

    fn roles(setup: &Setup, outer: &Ends, inner: &Ends, server: usize) -> Roles {
        let end = |ends: &Ends, client| {
            let role = if client { &ends.client } else { &ends.servers[server] };
            if setup.exporter { role.clone().with_exporter() } else { role.clone() }
        };
        Side::BOTH.map(|side| {
            let (outer_client, inner_client) = setup.is_client(side);
            (end(outer, outer_client), end(inner, inner_client))
        })
    }

    /// The same configurations and sessions for other connections.
    pub fn seeded(&self, seed: u64) -> Self {
        Self { setup: self.setup.seeded(seed), ..self.clone() }
    }

    /// The connections in which sessions begin, as often as it takes.
    fn begin(&self) {
        if !self.outer.are_short() && !self.inner.are_short() {
            return;
        }
        let roles = Self::roles(&self.setup, &self.outer, &self.inner, 0);
        let first = Self { setup: self.setup.seeded(1), roles, ..self.clone() };
        self.outer.begin(|| self.inner.begin(|| first.meet()));
    }

    fn meet(&self) {
        let [left, right] = Side::BOTH.map(|side| self.nest(side, self.outer_of(side)));
        let mut pair = Pair::new(left, right);
        pair.settle();
        pair.assert_established();
        let server = if self.setup.is_client(Side::Left).0 { Side::Right } else { Side::Left };
        if self.outer.eager.is_some() {
            let before = crypto::swap(2);
            let mut hop = self.hop_to(server);
            hop.hurry();
            // Sessions are known by what a server draws.
            let mut server = self.seeded(2).outer_of(server);
            while let Some(bytes) = hop.transmit() {
                server.receive(&bytes);
                hop.receive(&server.transmit_all());
            }
            assert!(server.has(Event::Established(Layer::Outer)));
            crypto::swap(before);
        }
    }

    fn outer_of(&self, side: Side) -> Machine<Session> {
        let outer = &self.roles[side as usize].0;
        Machine::new(self.setup.seed_of(side), || {
            Session::new(outer.clone(), self.setup.limits).unwrap()
        })
    }

    /// The machine of `side` with its inner layer.
    pub fn nest(&self, side: Side, outer: Machine<Session>) -> Machine<Nested> {
        let inner = &self.roles[side as usize].1;
        outer.map(|session| session.nest(inner.clone(), Direct).unwrap())
    }

    /// The host's end towards `side`, where that is a client that has early data.
    pub fn eager_to(&self, side: Side) -> Option<Eager> {
        match (&self.roles[side.other() as usize].0, &self.outer.eager) {
            (Role::Client { name, .. }, Some(config)) => Some(Eager::new(config, name.clone())),
            _ => None,
        }
    }

    /// The host's end towards `side`.
    fn hop_to(&self, side: Side) -> Box<dyn Hop> {
        let outer = &self.roles[side.other() as usize].0;
        match self.eager_to(side) {
            Some(eager) => Box::new(eager),
            None => Box::new(Session::new(outer.clone(), self.setup.limits).unwrap()),
        }
    }

    pub fn session(&self, side: Side) -> Machine<Session> {
        self.begin();
        self.outer_of(side)
    }

    pub fn nested(&self, side: Side) -> Machine<Nested> {
        self.nest(side, self.session(side))
    }

    /// A host that holds the outer keys of both sides; it draws from this thread's randomness.
    pub fn host(&self) -> Host {
        self.begin();
        let [towards_left, towards_right] = Side::BOTH.map(|side| self.hop_to(side));
        Host::new(towards_left, towards_right)
    }
}
