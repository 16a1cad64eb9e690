//! The machine under test and its way to the runner.

use std::io::{self, ErrorKind as IoErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, TcpStream};
use std::time::Duration;

use nested_tls::{
    Direct, Error, Layer, LayerInfo, Limits, Nested, Plaintext, Ports, Role, Session,
};
use rustls::version;

use crate::options::Options;
use crate::outer::{self, Far};

/// Longer than the runner waits.
const PATIENCE: Duration = Duration::from_secs(60);

/// The random of a ServerHello that is a HelloRetryRequest: the beginning of SHA-256 of that word.
/// <https://www.rfc-editor.org/rfc/rfc8446#section-4.1.3>
const HELLO_RETRY: [u8; 8] = [0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11];

enum Machine {
    Session(Box<Session>),
    Nested(Box<Nested<Direct>>, Box<Far>),
}

pub struct Link {
    machine: Machine,
    layer: Layer,
    server: bool,
    socket: TcpStream,
    /// Bytes for the machine that it has not taken yet.
    inbox: Vec<u8>,
    ended: bool,
    told_end: bool,
    chunk: usize,
    /// How many bytes may still go to the runner, if that is limited.
    allowance: Option<usize>,
    held_back: Vec<u8>,
    server_hello: ServerHello,
}

impl Link {
    /// Connect to the runner, and make the machine.
    pub fn new(options: &Options, role: Role) -> Result<Self, String> {
        let socket = match options.ipv6 {
            true => TcpStream::connect((Ipv6Addr::LOCALHOST, options.port)),
            false => TcpStream::connect((Ipv4Addr::LOCALHOST, options.port)),
        };
        let mut socket = socket.map_err(|error| error.to_string())?;
        let prepared = socket
            .set_nodelay(true)
            .and_then(|()| socket.set_read_timeout(Some(PATIENCE)))
            .and_then(|()| socket.write_all(&options.shim_id.to_le_bytes()));
        prepared.map_err(|error| error.to_string())?;

        // Whether the near end of the outer layer is a server, its version, and the machine's limits.
        let roomy = Limits::default();
        let narrow = Limits { wire_in: 7, plaintext: 1, wire_out: 1, ..roomy };
        let (outer, limits) = match std::env::var("BOGO_MODE").as_deref() {
            Ok("nested") => (Some((options.server, &version::TLS13)), roomy),
            Ok("crossed") => (Some((!options.server, &version::TLS12)), narrow),
            Ok("session") | Err(_) => (None, roomy),
            Ok(mode) => return Err(format!("BOGO_MODE is {mode}")),
        };
        let chunk = std::env::var("BOGO_CHUNK").map_or(usize::MAX, |n| n.parse().expect("bytes"));
        let mut inbox = Vec::new();
        let (machine, layer) = if let Some((server, version)) = outer {
            let (near, mut far) = outer::pair(server, version);
            // A client's first word.
            inbox = far.records();
            let session = Session::new(near, limits).map_err(|e| e.to_string())?;
            let nested = session.nest(role, Direct).map_err(|e| format!("{e:?}"))?;
            (Machine::Nested(Box::new(nested), Box::new(far)), Layer::Inner)
        } else {
            let session = Session::new(role, limits).map_err(|e| format!("{e:?}"))?;
            (Machine::Session(Box::new(session)), Layer::Outer)
        };
        Ok(Self {
            machine,
            layer,
            server: options.server,
            socket,
            inbox,
            ended: false,
            told_end: false,
            chunk,
            allowance: None,
            held_back: Vec::new(),
            server_hello: ServerHello::default(),
        })
    }

    pub fn ports(&mut self) -> &mut dyn Ports {
        match &mut self.machine {
            Machine::Session(session) => &mut **session,
            Machine::Nested(nested, _) => &mut **nested,
        }
    }

    /// The layer that the runner is the peer of.
    pub fn layer(&self) -> Layer {
        self.layer
    }

    pub fn info(&mut self) -> LayerInfo {
        let layer = self.layer;
        self.ports().layer(layer).cloned().unwrap_or_default()
    }

    pub fn update_keys(&mut self) -> Result<(), Error> {
        match &mut self.machine {
            Machine::Session(session) => session.update_keys(false),
            Machine::Nested(nested, _) => nested.update_keys(Layer::Inner, false),
        }
    }

    /// Whether the server's first message was a HelloRetryRequest.
    pub fn hello_retry(&self) -> bool {
        self.server_hello.is_retry()
    }

    /// Let only so many bytes more through to the runner.
    pub fn allow(&mut self, bytes: Option<usize>) {
        self.allowance = bytes;
    }

    /// Send all that waits to be sent. A runner that has gone away shows when it is read from.
    pub fn flush(&mut self) -> Result<(), Error> {
        loop {
            let Some(bytes) = self.ports().wire_out().map(<[u8]>::to_vec) else {
                self.send(&[]);
                return Ok(());
            };
            self.ports().wire_sent(bytes.len())?;
            match &mut self.machine {
                Machine::Session(_) => self.send(&bytes),
                Machine::Nested(_, far) => {
                    let plain = far.open(&bytes);
                    let answer = far.records();
                    self.send(&plain);
                    self.inbox.extend(answer);
                    self.feed()?;
                }
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        if self.server {
            self.server_hello.note(bytes);
        }
        self.held_back.extend_from_slice(bytes);
        let n = self.allowance.unwrap_or(usize::MAX).min(self.held_back.len());
        let now: Vec<u8> = self.held_back.drain(..n).collect();
        if let Some(allowance) = &mut self.allowance {
            *allowance -= n;
        }
        let _ = self.socket.write_all(&now);
    }

    /// Give the machine what it takes of what has come.
    fn feed(&mut self) -> Result<(), Error> {
        let inbox = std::mem::take(&mut self.inbox);
        let mut rest = &inbox[..];
        let chunk = self.chunk;
        let mut fed = Ok(());
        while !rest.is_empty() && fed.is_ok() {
            let Some(space) = self.ports().wire_in() else { break };
            let n = space.len().min(rest.len()).min(chunk);
            space[..n].copy_from_slice(&rest[..n]);
            rest = &rest[n..];
            fed = self.ports().wire_received(n);
        }
        let gone = self.ports().readiness();
        // What comes after the peer's end is nobody's.
        self.inbox = if gone.wire_in || gone.plain_out { rest.to_vec() } else { Vec::new() };
        fed
    }

    /// Wait for the runner, once, and give the machine what comes. `false` once nothing can come.
    pub fn receive(&mut self) -> Result<bool, Error> {
        if !self.inbox.is_empty() {
            self.feed()?;
            return Ok(true);
        }
        if self.ended {
            if !std::mem::replace(&mut self.told_end, true) {
                self.ports().wire_eof()?;
            }
            return Ok(false);
        }
        let mut buffer = [0; 16_384];
        let n = match self.socket.read(&mut buffer) {
            Ok(n) => n,
            Err(error) if error.kind() == IoErrorKind::Interrupted => return Ok(true),
            Err(error) => {
                let timeout =
                    matches!(error.kind(), IoErrorKind::WouldBlock | IoErrorKind::TimedOut);
                assert!(!timeout, "the runner says nothing");
                0
            }
        };
        self.ended = n == 0;
        let bytes = &buffer[..n];
        if !self.server {
            self.server_hello.note(bytes);
        }
        match &mut self.machine {
            Machine::Session(_) => self.inbox.extend_from_slice(bytes),
            Machine::Nested(_, far) => {
                let records = if n == 0 { far.close() } else { far.seal(bytes) };
                self.inbox.extend(records);
            }
        }
        self.feed()?;
        Ok(true)
    }

    /// A look at the plaintext that has come.
    pub fn peek(&mut self) -> Vec<u8> {
        match self.ports().plain_out() {
            Plaintext::Bytes(bytes) => bytes.to_vec(),
            Plaintext::Pending | Plaintext::End => Vec::new(),
        }
    }

    /// The plaintext that has come, at most `most` bytes of it.
    pub fn take(&mut self, most: usize) -> Taken {
        let (taken, n) = match self.ports().plain_out() {
            Plaintext::Bytes(bytes) => {
                let bytes = &bytes[..bytes.len().min(most)];
                (Taken::Bytes(bytes.to_vec()), bytes.len())
            }
            Plaintext::Pending => (Taken::Pending, 0),
            Plaintext::End => (Taken::End, 0),
        };
        self.ports().plain_consumed(n).expect("it was there");
        taken
    }

    /// Close the connection without making the runner lose what it has not read yet.
    pub fn finish(mut self) {
        let _ = self.flush();
        let _ = self.socket.shutdown(Shutdown::Write);
        let _ = io::copy(&mut self.socket, &mut io::sink());
    }
}

/// The beginning of the first message that a server sends.
#[derive(Default)]
struct ServerHello {
    records: Vec<u8>,
}

impl ServerHello {
    /// More than any test spreads the first bytes of a ServerHello over.
    const MOST: usize = 1024;

    fn note(&mut self, bytes: &[u8]) {
        let room = Self::MOST - self.records.len();
        self.records.extend_from_slice(&bytes[..room.min(bytes.len())]);
    }

    fn is_retry(&self) -> bool {
        let (mut rest, mut message) = (&self.records[..], Vec::new());
        while let [22, _, _, high, low, behind @ ..] = rest {
            let len = usize::from(u16::from_be_bytes([*high, *low])).min(behind.len());
            message.extend_from_slice(&behind[..len]);
            rest = &behind[len..];
        }
        // Type, length, version.
        matches!(&message[..], [2, _, _, _, 3, 3, random @ ..] if random.starts_with(&HELLO_RETRY))
    }
}

/// What [`Link::take`] found.
pub enum Taken {
    Bytes(Vec<u8>),
    Pending,
    End,
}
