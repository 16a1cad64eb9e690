//! The crate's own machine as a contestant.

use std::io::{Read, Write};

use nested_tls::{Direct, Limits, Nested, Phase, Plaintext, Ports, Prepared, Role, Session};
use rustls::{ClientConfig, ServerConfig};
use std::sync::LazyLock;

use super::config::{INNER, Layer, OUTER};
use super::link::{Arrived, End, Wire};

/// Configurations are prepared once, as a program would.
struct Roles {
    client: Prepared<ClientConfig>,
    server: Prepared<ServerConfig>,
    layer: &'static Layer,
}

impl Roles {
    fn new(layer: &'static Layer) -> Self {
        Self { client: layer.client.clone().into(), server: layer.server.clone().into(), layer }
    }

    fn client(&self) -> Role {
        Role::client(self.client.clone(), self.layer.name.clone())
    }

    fn server(&self) -> Role {
        Role::server(self.server.clone())
    }
}

static OUTER_ROLES: LazyLock<Roles> = LazyLock::new(|| Roles::new(&OUTER));
static INNER_ROLES: LazyLock<Roles> = LazyLock::new(|| Roles::new(&INNER));

fn nested(outer: Role, inner: Role) -> Nested {
    Session::new(outer, Limits::default()).unwrap().nest(inner, Direct).unwrap()
}

pub fn client() -> Nested {
    nested(OUTER_ROLES.client(), INNER_ROLES.client())
}

pub fn server() -> Nested {
    nested(OUTER_ROLES.server(), INNER_ROLES.server())
}

impl End for Nested {
    fn client() -> Self {
        client()
    }

    fn server() -> Self {
        server()
    }

    fn is_established(&self) -> bool {
        self.phase() == Phase::Traffic
    }

    fn write(&mut self, mut data: &[u8], wire: &mut Wire<'_>) {
        loop {
            let n = self.plain_write(data).unwrap();
            data = &data[n..];
            if data.is_empty() {
                return;
            }
            self.transmit(wire);
        }
    }

    fn transmit(&mut self, wire: &mut Wire<'_>) {
        while let Some(bytes) = self.wire_out() {
            let n = wire.write(bytes).unwrap();
            self.wire_sent(n).unwrap();
        }
    }

    fn receive(&mut self, mut arrived: Arrived<'_>) -> usize {
        let mut read = 0;
        while !arrived.0.is_empty() {
            let n = arrived.read(self.wire_in().unwrap()).unwrap();
            self.wire_received(n).unwrap();
            while let Plaintext::Bytes(bytes) = self.plain_out() {
                let n = bytes.len();
                self.plain_consumed(n).unwrap();
                read += n;
            }
        }
        read
    }
}
