//! `--pcap`: the inner layer as if it had travelled alone, the outer one peeled off, in a form that Wireshark reads.
//!
//! <https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-03.html>

use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use etherparse::{PacketBuilder, TcpHeader};
use nested_tls::{Direct, Direction, Framing, FramingError, Outgoing, Unwrapped};
use rustls::KeyLog;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider as _};
use zeroize::Zeroizing;

use super::failure::Failure;
use super::wire::Onlooker;
use super::{files, keylog};

/// What one synthetic segment carries at most; IP has room for little more.
const SEGMENT: usize = 32 * 1024;

/// The types of blocks.
const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const PACKET: u32 = 6;
const SECRETS: u32 = 10;

/// Packets that begin with their IP header.
const LINKTYPE_RAW: u16 = 101;
/// Secrets of TLS in a block of secrets.
const TLS_KEY_LOG: u32 = 0x544c_534b;

/// The file of one run.
#[derive(Debug)]
pub(crate) struct Capture {
    file: Mutex<File>,
    /// Since the epoch, when this began.
    epoch: Duration,
    begun: Instant,
    /// Lines of secrets that are not in the file yet, if they shall be there. Each stays where it was made, for what grows
    /// leaves copies behind.
    secrets: Option<Mutex<Vec<Zeroizing<String>>>>,
}

impl Capture {
    /// A new file in the place of one that is there, for its owner only.
    pub(crate) fn create(path: &Path, with_secrets: bool) -> Result<Arc<Self>, Failure> {
        let file = files::private(path, "the file of --pcap", false)?;
        let now = DefaultTimeProvider.current_time().map_or(0, |now| now.as_secs());
        let capture = Self {
            file: Mutex::new(file),
            epoch: Duration::from_secs(now),
            begun: Instant::now(),
            secrets: with_secrets.then(Mutex::default),
        };
        let mut section = Vec::new();
        section.extend(0x1a2b_3c4d_u32.to_le_bytes());
        section.extend([1_u16, 0].map(u16::to_le_bytes).concat());
        // Of no stated length.
        section.extend(u64::MAX.to_le_bytes());
        let mut interface = Vec::new();
        interface.extend([LINKTYPE_RAW, 0].map(u16::to_le_bytes).concat());
        // Whatever length.
        interface.extend(0_u32.to_le_bytes());
        capture.put(&[block(SECTION, &section), block(INTERFACE, &interface)].concat());
        Ok(Arc::new(capture))
    }

    /// A connection between these two, of which the client is on this side or the other.
    pub(crate) fn conversation(
        self: &Arc<Self>,
        client: SocketAddr,
        server: SocketAddr,
        is_client: bool,
    ) -> Arc<Conversation> {
        Arc::new(Conversation {
            capture: self.clone(),
            ends: [client, server],
            is_client,
            stream: Mutex::new(Stream {
                sequence: [0; 2],
                begun: false,
                held: self.secrets.is_some().then(Vec::new),
            }),
        })
    }

    /// Writes whole blocks, at once and in one piece. A full disk harms no connection.
    fn put(&self, bytes: &[u8]) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = file.write_all(bytes);
    }

    /// The block of the secrets that were not written yet.
    fn take_secrets(&self) -> Zeroizing<Vec<u8>> {
        let Some(secrets) = &self.secrets else { return Zeroizing::default() };
        let lines = core::mem::take(&mut *lock(secrets));
        if lines.is_empty() {
            return Zeroizing::default();
        }
        let len: usize = lines.iter().map(|line| line.len()).sum();
        let mut body = Zeroizing::new(Vec::with_capacity(8 + len));
        body.extend(TLS_KEY_LOG.to_le_bytes());
        body.extend((len as u32).to_le_bytes());
        for line in &lines {
            body.extend_from_slice(line.as_bytes());
        }
        Zeroizing::new(block(SECRETS, &body))
    }
}

/// Takes the secrets of the inner layer.
impl KeyLog for Capture {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        if let Some(secrets) = &self.secrets {
            lock(secrets).push(keylog::line(label, client_random, secret));
        }
    }
}

/// One connection of the file.
#[derive(Debug)]
pub(crate) struct Conversation {
    capture: Arc<Capture>,
    /// The client's address and the server's.
    ends: [SocketAddr; 2],
    is_client: bool,
    stream: Mutex<Stream>,
}

#[derive(Debug)]
struct Stream {
    /// How much each end has sent: the client, the server.
    sequence: [u32; 2],
    begun: bool,
    /// Packets of the handshake: its secrets have to stand before them.
    held: Option<Vec<u8>>,
}

impl Conversation {
    /// These bytes of the inner layer passed.
    pub(crate) fn pass(&self, direction: Direction, bytes: &[u8]) {
        let mut stream = lock(&self.stream);
        if bytes.is_empty() {
            return;
        }
        if !core::mem::replace(&mut stream.begun, true) {
            self.packet(&mut stream, 0, &[], |tcp| tcp.syn = true);
            self.packet(&mut stream, 1, &[], |tcp| (tcp.syn, tcp.ack) = (true, true));
            self.packet(&mut stream, 0, &[], |tcp| tcp.ack = true);
        }
        let from = usize::from((direction == Direction::Sent) != self.is_client);
        for piece in bytes.chunks(SEGMENT) {
            self.packet(&mut stream, from, piece, |tcp| (tcp.ack, tcp.psh) = (true, true));
        }
    }

    /// The handshake is over: what was held back is written behind its secrets, the rest at once.
    pub(crate) fn release(&self) {
        let mut stream = lock(&self.stream);
        if let Some(held) = stream.held.take() {
            self.capture.put(&self.capture.take_secrets());
            self.capture.put(&held);
        }
    }

    /// One packet of the end `from`.
    fn packet(
        &self,
        stream: &mut Stream,
        from: usize,
        payload: &[u8],
        flags: impl FnOnce(&mut TcpHeader),
    ) {
        let (ours, theirs) = match from {
            0 => (self.ends[0], self.ends[1]),
            _ => (self.ends[1], self.ends[0]),
        };
        let mut tcp = TcpHeader::new(ours.port(), theirs.port(), stream.sequence[from], u16::MAX);
        flags(&mut tcp);
        if tcp.ack {
            tcp.acknowledgment_number = stream.sequence[1 - from];
        }
        let step = payload.len() as u32 + u32::from(tcp.syn) + u32::from(tcp.fin);
        stream.sequence[from] = stream.sequence[from].wrapping_add(step);
        let ip = match (ours.ip(), theirs.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                PacketBuilder::ipv4(from.octets(), to.octets(), 64)
            }
            (from, to) => PacketBuilder::ipv6(version6(from).octets(), version6(to).octets(), 64),
        };
        let builder = ip.tcp_header(tcp);
        let mut packet = Vec::with_capacity(builder.size(payload.len()));
        // A segment is never too long for IP.
        let _ = builder.write(&mut packet, payload);
        let time = (self.capture.epoch + self.capture.begun.elapsed()).as_micros() as u64;
        let len = packet.len() as u32;
        let mut body = Vec::with_capacity(20 + packet.len());
        for word in [0, (time >> 32) as u32, time as u32, len, len] {
            body.extend(word.to_le_bytes());
        }
        body.extend_from_slice(&packet);
        let block = block(PACKET, &body);
        match &mut stream.held {
            Some(held) => held.extend_from_slice(&block),
            None => self.capture.put(&block),
        }
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.release();
        let mut stream = lock(&self.stream);
        if stream.begun {
            for from in [0, 1] {
                self.packet(&mut stream, from, &[], |tcp| (tcp.fin, tcp.ack) = (true, true));
            }
        }
    }
}

/// No framing between the layers; what passes there is shown to a capture, if there is one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peel(pub(crate) Option<Arc<Conversation>>);

impl Peel {
    fn pass(&self, direction: Direction, bytes: &[u8]) {
        if let Some(conversation) = &self.0 {
            conversation.pass(direction, bytes);
        }
    }
}

impl Framing for Peel {
    fn wrap(&mut self, inner: Vec<u8>, out: &mut Outgoing<'_>) {
        self.pass(Direction::Sent, &inner);
        Direct.wrap(inner, out);
    }

    fn unwrap(&mut self, carried: &[u8]) -> Result<Unwrapped, FramingError> {
        let unwrapped = Direct.unwrap(carried)?;
        if let Unwrapped::Inner { skip, len } = unwrapped {
            self.pass(Direction::Received, carried.get(skip..skip + len).unwrap_or_default());
        }
        Ok(unwrapped)
    }
}

/// Between a host and what it forwards to: what it reads there it sends to the client.
impl Onlooker for Peel {
    fn came(&mut self, bytes: &[u8]) {
        self.pass(Direction::Sent, bytes);
    }

    fn went(&mut self, bytes: &[u8]) {
        self.pass(Direction::Received, bytes);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn version6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

fn block(typ: u32, body: &[u8]) -> Vec<u8> {
    let padded = body.len().next_multiple_of(4);
    let len = (12 + padded) as u32;
    let mut block = Vec::with_capacity(12 + padded);
    block.extend(typ.to_le_bytes());
    block.extend(len.to_le_bytes());
    block.extend_from_slice(body);
    block.resize(8 + padded, 0);
    block.extend(len.to_le_bytes());
    block
}
