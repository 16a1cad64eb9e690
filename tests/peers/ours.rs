//! Our end of a conversation, driven in three ways.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use nested_tls::adapter::{blocking, tokio as asynchronous};
use nested_tls::{Direct, Error, Event, Layer, LayerInfo, Limits, Nested, Plaintext};
use nested_tls::{Ports, Session};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::case::{Case, Flow, Received, Version, piece};
use crate::duplex::{self, Engine};
use crate::identities::{Identities, Names};

/// Nothing here takes long; what does is a hang.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// Who moves the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Driver {
    /// The ports, by hand.
    Bare,
    Blocking,
    Tokio,
}

impl Driver {
    pub(crate) const ALL: [Self; 3] = [Self::Bare, Self::Blocking, Self::Tokio];
}

/// What we have seen of a conversation.
pub(crate) struct Outcome {
    pub(crate) received: Received,
    pub(crate) end: bool,
    pub(crate) error: Option<Error>,
    /// What the transport said, if that was it.
    pub(crate) transport: Option<io::Error>,
    pub(crate) events: Vec<Event>,
    pub(crate) outer: LayerInfo,
    pub(crate) inner: LayerInfo,
    /// The names that clients asked for, of the outer and the inner layer.
    pub(crate) asked: [Option<String>; 2],
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { received, end, error, transport, events, outer, inner, asked } = self;
        writeln!(f, "{received:?}, end {end}, events {events:?}, asked for {asked:?}")?;
        writeln!(f, "error {error:?}, transport {transport:?}")?;
        for (layer, info) in [("outer", outer), ("inner", inner)] {
            let LayerInfo { version, suite, bytes_in, bytes_out, records_in, records_out, .. } =
                info;
            write!(
                f,
                "{layer}: {version:?} {suite:?}, in {bytes_in} bytes in {records_in} records, "
            )?;
            writeln!(f, "out {bytes_out} in {records_out}")?;
        }
        Ok(())
    }
}

/// Our end of `case` over `socket`.
pub(crate) fn converse(
    driver: Driver,
    identities: &Identities,
    case: &Case,
    socket: TcpStream,
) -> Outcome {
    let (outer, outer_names) = identities.role(case, Layer::Outer);
    let (inner, inner_names) = identities.role(case, Layer::Inner);
    let session = Session::new(outer, Limits::default()).unwrap();
    let machine = session.nest(inner, Direct).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket.set_write_timeout(Some(LIMIT)).unwrap();
    socket.set_nodelay(true).unwrap();
    let talk = Talk::new(case);
    let (machine, talk, transport) = match driver {
        Driver::Bare => bare(machine, talk, &socket),
        Driver::Blocking => with_blocking(machine, talk, socket),
        Driver::Tokio => with_tokio(machine, talk, socket),
    };
    outcome(machine, talk, transport.err(), [outer_names, inner_names])
}

fn outcome(
    mut machine: Nested,
    talk: Talk,
    transport: Option<io::Error>,
    names: [Names; 2],
) -> Outcome {
    Outcome {
        received: talk.received,
        end: machine.plain_out() == Plaintext::End,
        error: machine.failure().cloned(),
        transport,
        events: std::iter::from_fn(|| machine.poll_event()).collect(),
        outer: machine.layer(Layer::Outer).unwrap().clone(),
        inner: machine.layer(Layer::Inner).unwrap().clone(),
        asked: names.map(|names| names.last()),
    }
}

/// What we say, and how far that is.
struct Talk {
    flow: Flow,
    /// How many bytes will come.
    expected: u64,
    cut: bool,
    /// The layers that can update their keys.
    tls13: Vec<Layer>,
    sent: u64,
    updates: u64,
    received: Received,
}

impl Talk {
    fn new(case: &Case) -> Self {
        let mut tls13 = vec![Layer::Outer, Layer::Inner];
        tls13.retain(|layer| case.version(*layer) == Version::Tls13);
        Self {
            flow: case.ours,
            expected: case.theirs.bytes,
            cut: case.cut_here,
            tls13,
            sent: 0,
            updates: 0,
            received: Received::default(),
        }
    }

    /// The next bytes to write; empty when all is said.
    fn next(&self) -> &'static [u8] {
        let mut max = self.flow.bytes - self.sent;
        if self.flow.update > 0 {
            max = max.min((self.updates + 1) * self.flow.update - self.sent);
        }
        piece(self.sent, self.flow.piece.min(usize::try_from(max).unwrap_or(usize::MAX)))
    }

    /// `n` bytes were taken by the machine, which now may have to update its keys.
    fn said(&mut self, n: usize, machine: &mut Nested) {
        self.sent += n as u64;
        if self.flow.update > 0 && self.sent == (self.updates + 1) * self.flow.update {
            for layer in &self.tls13 {
                // What fails here is told by `failure`.
                let _ = machine.update_keys(*layer, self.updates % 2 == 0);
            }
            self.updates += 1;
        }
    }
}

fn bare(machine: Nested, talk: Talk, socket: &TcpStream) -> (Nested, Talk, io::Result<()>) {
    let (bare, result) = duplex::run(Bare { machine, talk, closed: false }, socket);
    (bare.machine, bare.talk, result)
}

struct Bare {
    machine: Nested,
    talk: Talk,
    closed: bool,
}

impl Bare {
    fn listen(&mut self) {
        while let Some(bytes) = self.machine.plain_out_bytes() {
            self.talk.received.take(&bytes);
        }
    }

    fn speak(&mut self) {
        let end = self.machine.plain_out() == Plaintext::End;
        if self.talk.flow.waits && !end {
            return;
        }
        loop {
            let bytes = self.talk.next();
            if bytes.is_empty() {
                break;
            }
            match self.machine.plain_write(bytes) {
                Ok(0) | Err(_) => return,
                Ok(n) => self.talk.said(n, &mut self.machine),
            }
        }
        if !self.closed {
            self.closed = true;
            if !self.talk.cut {
                self.machine.close_write();
            }
        }
        if end && !self.talk.cut {
            self.machine.close();
        }
    }
}

impl Engine for Bare {
    fn receive(&mut self, mut bytes: &[u8]) {
        if bytes.is_empty() {
            let _ = self.machine.wire_eof();
        }
        // A machine that has failed or is closed takes nothing more.
        while !bytes.is_empty() && matches!(self.machine.wire_in_from(&mut bytes), Ok(1..)) {
            self.listen();
        }
        self.listen();
    }

    fn transmit(&mut self) -> Vec<u8> {
        self.speak();
        let mut bytes = Vec::new();
        self.machine.wire_out_into(&mut bytes);
        bytes
    }

    fn is_done(&self) -> bool {
        // After both closes nothing but the peer's close_notify can follow.
        let closed = self.closed && (self.talk.cut || self.machine.plain_out() == Plaintext::End);
        self.machine.failure().is_some() || closed
    }
}

fn with_blocking(
    machine: Nested,
    mut talk: Talk,
    socket: TcpStream,
) -> (Nested, Talk, io::Result<()>) {
    let mut stream = match blocking::Stream::connect(machine, socket) {
        Ok(stream) => stream,
        Err(failed) => return finish(failed.machine, talk, failed.transport, Err(failed.error)),
    };
    let mut run = || {
        if talk.flow.waits {
            read_to_end(&mut stream, &mut talk.received)?;
        }
        let said = say(&mut stream, &mut talk);
        if talk.cut {
            return said;
        }
        // What came before a failure can be read all the same.
        let heard = read_to_end(&mut stream, &mut talk.received);
        said.and(heard)
    };
    let result = run();
    // Also where that failed.
    let shut = if talk.cut { Ok(()) } else { stream.shutdown() };
    let (machine, socket) = stream.into_parts();
    finish(machine, talk, socket, result.and(shut))
}

fn say(stream: &mut blocking::Stream<Nested, TcpStream>, talk: &mut Talk) -> io::Result<()> {
    while !talk.next().is_empty() {
        let n = stream.write(talk.next())?;
        talk.said(n, stream.machine_mut());
    }
    if talk.cut { stream.flush() } else { stream.close_write() }
}

fn read_to_end(stream: &mut impl Read, received: &mut Received) -> io::Result<()> {
    let mut space = vec![0; 40_000];
    loop {
        match stream.read(&mut space)? {
            0 => return Ok(()),
            n => received.take(&space[..n]),
        }
    }
}

fn with_tokio(
    machine: Nested,
    mut talk: Talk,
    socket: TcpStream,
) -> (Nested, Talk, io::Result<()>) {
    socket.set_nonblocking(true).unwrap();
    // What takes longer is more than a megabyte a second.
    let bytes = talk.flow.bytes + talk.expected;
    let limit = LIMIT + Duration::from_secs(bytes >> 20);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let work = async {
        let socket = tokio::net::TcpStream::from_std(socket).unwrap();
        let mut stream = match asynchronous::Stream::connect(machine, socket).await {
            Ok(stream) => stream,
            Err(failed) => return (failed.machine, failed.transport, Err(failed.error)),
        };
        let result = duplex_by_tokio(&mut stream, &mut talk).await;
        let shut = if talk.cut { Ok(()) } else { stream.shutdown().await };
        let (machine, socket) = stream.into_parts();
        (machine, socket, result.and(shut))
    };
    let (machine, socket, result) =
        runtime.block_on(async { tokio::time::timeout(limit, work).await.expect("a hang") });
    let socket = socket.into_std().unwrap();
    socket.set_nonblocking(false).unwrap();
    finish(machine, talk, socket, result)
}

/// Both directions in one task.
async fn duplex_by_tokio(
    stream: &mut asynchronous::Stream<Nested, tokio::net::TcpStream>,
    talk: &mut Talk,
) -> io::Result<()> {
    let mut space = vec![0; 40_000];
    let (mut end, mut closed) = (false, false);
    std::future::poll_fn(|cx| {
        loop {
            let mut moved = false;
            if !end {
                let mut buf = ReadBuf::new(&mut space);
                if Pin::new(&mut *stream).poll_read(cx, &mut buf)?.is_ready() {
                    end = buf.filled().is_empty();
                    talk.received.take(buf.filled());
                    moved = true;
                }
            }
            if !closed && (end || !talk.flow.waits) {
                let bytes = talk.next();
                if bytes.is_empty() {
                    if !talk.cut {
                        stream.machine_mut().close_write();
                    }
                    if Pin::new(&mut *stream).poll_flush(cx)?.is_ready() {
                        closed = true;
                        moved = true;
                    }
                } else if let Poll::Ready(n) = Pin::new(&mut *stream).poll_write(cx, bytes)? {
                    talk.said(n, stream.machine_mut());
                    moved = true;
                }
            }
            match moved {
                _ if closed && (end || talk.cut) => return Poll::Ready(Ok(())),
                true => {}
                false => return Poll::Pending,
            }
        }
    })
    .await
}

/// Wait for what the peer says at the very end, so that it is not met with a reset.
fn finish(
    mut machine: Nested,
    talk: Talk,
    mut socket: TcpStream,
    result: io::Result<()>,
) -> (Nested, Talk, io::Result<()>) {
    let _ = socket.shutdown(std::net::Shutdown::Write);
    let mut space = vec![0; 1 << 14];
    let result = result.and_then(|()| {
        loop {
            let n = socket.read(&mut space)?;
            if n == 0 {
                let _ = machine.wire_eof();
                return Ok(());
            }
            let _ = machine.wire_in_from(&mut &space[..n]);
        }
    });
    if result.is_err() && machine.failure().is_some() {
        // The failure is TLS's; the rest of the transport is nobody's.
        while matches!(socket.read(&mut space), Ok(1..)) {}
    }
    (machine, talk, result)
}
