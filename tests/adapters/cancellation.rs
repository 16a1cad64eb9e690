//! Every await point of the adapters, given up at every poll; in the blocking one, every call that
//! would block.
//!
//! A script of operations runs over a transport that puts off every single call once. For each
//! operation and each number of polls: the operation is given up after so many, another one is
//! begun in its place, then it is done again to its end, and the script goes on. What was reported as
//! written arrives once, what arrives is read once, and whoever is told to wait is woken.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker, ready};

use nested_tls::adapter::tokio::Stream;
use nested_tls::{Layer, Nested, Ports};
use rustls::ProtocolVersion;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};

use super::faults::turned;
use super::line::{self, Adapter};
use super::talk::{base_seed, words};
use super::transport::{End, Manners, pair};
use crate::support::crypto;
use crate::support::limited::{self, with_limit};
use crate::support::schedule::Told;
use crate::support::setup::{Setup, Side};
use crate::support::tally::whole;

/// What is awaited.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Op {
    Handshake,
    Read,
    FillBuf,
    Write,
    WriteVectored,
    Flush,
    UpdateKeys,
    CloseWrite,
    Close,
    Shutdown,
    ReadToEnd,
}

use Op::*;

/// Everything that there is to await, and reading beside writing.
const SCRIPT: [Op; 14] = [
    Handshake,
    Write,
    Read,
    Flush,
    UpdateKeys,
    WriteVectored,
    FillBuf,
    Write,
    Flush,
    Read,
    CloseWrite,
    ReadToEnd,
    Close,
    Shutdown,
];

/// One that begins without an end of its half.
const HALF_WAY: [Op; 5] = [Write, Shutdown, Read, ReadToEnd, Shutdown];

/// What one piece of writing offers: more than the transport holds.
const PIECE: usize = 1500;

/// What the peer has to say altogether.
const ANSWER: usize = 4000;

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What has been reported.
#[derive(Default)]
struct Book {
    written: usize,
    /// Of that, what was flushed.
    flushed: usize,
    read: usize,
    ended: bool,
}

impl Book {
    fn read(&mut self, bytes: &[u8]) {
        let expected = words(Side::Right, self.read, bytes.len());
        assert!(bytes.starts_with(expected), "nonsense after {}", self.read);
        self.read += expected.len();
        if expected.len() < bytes.len() {
            self.read(&bytes[expected.len()..]);
        }
    }
}

type Left = Stream<Nested, End>;

async fn perform(stream: &mut Left, op: Op, book: &mut Book) -> io::Result<()> {
    match op {
        Handshake => stream.handshake().await?,
        Read | ReadToEnd => {
            let mut buf = [0; 700];
            loop {
                let n = stream.read(&mut buf).await?;
                book.read(&buf[..n]);
                book.ended |= n == 0;
                if n == 0 || op == Read {
                    break;
                }
            }
        }
        FillBuf => {
            let bytes = stream.fill_buf().await?;
            let n = bytes.len().div_ceil(2);
            book.read(&bytes[..n]);
            book.ended |= n == 0;
            stream.consume(n);
        }
        Write => book.written += stream.write(words(Side::Left, book.written, PIECE)).await?,
        WriteVectored => {
            let bytes = words(Side::Left, book.written, PIECE);
            let (a, b) = bytes.split_at(bytes.len() / 3);
            let slices = [IoSlice::new(a), IoSlice::new(b""), IoSlice::new(b)];
            book.written += stream.write_vectored(&slices).await?;
        }
        Flush => {
            let written = book.written;
            stream.flush().await?;
            book.flushed = written;
        }
        UpdateKeys => update_keys(stream.machine_mut())?,
        CloseWrite => stream.close_write().await?,
        Close => stream.close().await?,
        Shutdown => stream.shutdown().await?,
    }
    Ok(())
}

/// The same by single calls, each of which is given up when it has to wait.
fn attempt(
    line: &mut dyn line::Line,
    op: Op,
    book: &mut Book,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    let mut buf = [0; 700];
    match op {
        Handshake => return line.handshake(cx),
        Read | ReadToEnd | FillBuf => loop {
            let read =
                if op == FillBuf { line.borrow(cx, &mut buf) } else { line.read(cx, &mut buf) };
            let n = ready!(read)?;
            book.read(&buf[..n]);
            book.ended |= n == 0;
            if n == 0 || op != ReadToEnd {
                break;
            }
        },
        Write | WriteVectored => {
            let bytes = words(Side::Left, book.written, PIECE);
            let (a, b) = bytes.split_at(if op == Write { 0 } else { bytes.len() / 3 });
            let slices = [IoSlice::new(a), IoSlice::new(b)];
            let slices = if op == Write { &slices[1..] } else { &slices };
            book.written += ready!(line.write(cx, slices))?;
        }
        UpdateKeys => update_keys(line.machine())?,
        Flush => {
            ready!(line.flush(cx))?;
            book.flushed = book.written;
        }
        CloseWrite => return line.close_write(cx),
        Close => return line.close(cx),
        Shutdown => return line.shutdown(cx),
    }
    Poll::Ready(Ok(()))
}

/// Of whatever layer has keys that change.
fn update_keys(machine: &mut Nested) -> io::Result<()> {
    let layers = [Layer::Outer, Layer::Inner];
    let old = |layer| machine.layer(layer).unwrap().version != Some(ProtocolVersion::TLSv1_3);
    match layers.into_iter().find(|layer| !old(*layer)) {
        Some(layer) => machine.update_keys(layer, true).map_err(io::Error::from),
        None => Ok(()),
    }
}

/// The other side: does whatever it can whenever it is asked, and has manners.
struct Peer {
    line: Option<Box<dyn line::Line>>,
    read: usize,
    written: usize,
    ended: bool,
    error: Option<io::Error>,
    shut: bool,
}

impl Peer {
    fn new(line: Box<dyn line::Line>) -> Self {
        Self { line: Some(line), read: 0, written: 0, ended: false, error: None, shut: false }
    }

    /// One round; whether anything moved.
    fn turn(&mut self) -> bool {
        if self.error.is_some() {
            return false;
        }
        let before = (self.read, self.written, self.ended, self.shut);
        match self.attempt() {
            Ok(()) => {}
            Err(error) => self.error = Some(error),
        }
        before != (self.read, self.written, self.ended, self.shut) || self.error.is_some()
    }

    fn attempt(&mut self) -> io::Result<()> {
        let cx = &mut Context::from_waker(Waker::noop());
        let Some(line) = &mut self.line else { return Ok(()) };
        let mut buf = [0; 900];
        while !self.ended {
            let Poll::Ready(n) = line.read(cx, &mut buf)? else { break };
            let mut rest = &buf[..n];
            while !rest.is_empty() {
                let expected = words(Side::Left, self.read, rest.len());
                assert!(rest.starts_with(expected), "the peer reads nonsense after {}", self.read);
                self.read += expected.len();
                rest = &rest[expected.len()..];
            }
            self.ended = n == 0;
        }
        while self.written < ANSWER && !self.shut {
            let bytes = words(Side::Right, self.written, ANSWER - self.written);
            let Poll::Ready(n) = line.write(cx, &[IoSlice::new(bytes)])? else { break };
            self.written += n;
        }
        if self.ended && self.written == ANSWER && !self.shut {
            self.shut = line.shutdown(cx)?.is_ready();
        } else if !self.shut {
            let _ = line.flush(cx)?;
        }
        Ok(())
    }
}

/// The stream under test: by its futures, or call by call.
enum Under {
    Futures(Box<Left>),
    Calls(Box<dyn line::Line>, Adapter),
}

struct Play {
    stream: Option<Under>,
    peer: Peer,
    book: Book,
    /// Left's randomness.
    state: u64,
    /// Every waker ever given.
    flags: Vec<Arc<Flag>>,
    /// How many times something was given up.
    given_up: usize,
}

/// What came of so many polls.
enum Polled {
    Done(io::Result<()>),
    GivenUp,
}

impl Play {
    fn new(adapter: Adapter, setup: &Setup, manners: Manners) -> Self {
        let (left, right) = ends(manners);
        let machine = |side| setup.nested(side).ports;
        let peer = Peer::new(Adapter::Tokio.open(machine(Side::Right), right));
        let stream = match adapter {
            Adapter::Tokio => Under::Futures(Box::new(Stream::new(machine(Side::Left), left))),
            _ => Under::Calls(adapter.open(machine(Side::Left), left), adapter),
        };
        Self {
            stream: Some(stream),
            peer,
            book: Book::default(),
            state: setup.seed,
            flags: Vec::new(),
            given_up: 0,
        }
    }

    /// Poll `op` at most so often, each time only when it was woken, then give it up.
    fn poll(&mut self, op: Op, most: usize) -> Polled {
        let flag = Arc::new(Flag(AtomicBool::new(true)));
        self.flags.push(flag.clone());
        let waker = Waker::from(flag.clone());
        let mut cx = Context::from_waker(&waker);
        let Self { stream, peer, book, state, given_up, .. } = self;
        type Step<'a> = Box<dyn FnMut(&mut Context<'_>) -> Poll<io::Result<()>> + 'a>;
        let (mut step, wakes): (Step<'_>, bool) = match stream.as_mut().unwrap() {
            Under::Futures(stream) => {
                let mut future = Box::pin(perform(stream, op, book));
                (Box::new(move |cx| future.as_mut().poll(cx)), true)
            }
            Under::Calls(line, adapter) => {
                (Box::new(move |cx| attempt(line.as_mut(), op, book, cx)), adapter.wakes())
            }
        };
        for _ in 0..most {
            let woken = flag.0.swap(false, Ordering::Relaxed);
            assert!(woken || !wakes, "{op:?} waits and nobody wakes it");
            let before = crypto::swap(*state);
            let polled = step(&mut cx);
            *state = crypto::swap(before);
            if let Poll::Ready(result) = polled {
                return Polled::Done(result);
            }
            while peer.turn() {}
        }
        *given_up += 1;
        Polled::GivenUp
    }

    fn finish(&mut self, op: Op) {
        match self.poll(op, 10_000) {
            Polled::Done(result) => result.unwrap_or_else(|error| panic!("{op:?}: {error}")),
            Polled::GivenUp => panic!("{op:?} does not end"),
        }
    }

    /// Something else in the place of what was given up: as much of it as one poll does.
    fn instead(&mut self, op: Op, closed: bool, turn: usize) {
        let others = [Read, Flush, FillBuf, Write, WriteVectored, Handshake];
        let others = &others[..if closed { 3 } else { 6 }];
        let other = others[turn % others.len()];
        for most in [1, 2] {
            if let Polled::Done(result) = self.poll(other, most) {
                result.unwrap_or_else(|error| panic!("{other:?} instead of {op:?}: {error}"));
            }
        }
    }

    /// All that was reported as written has arrived, all that was sent is read, both ends came.
    fn check(mut self) {
        while self.peer.turn() {}
        assert!(self.peer.error.is_none(), "{:?}", self.peer.error);
        assert_eq!(self.peer.read, self.book.written);
        assert!(self.peer.ended && self.book.ended);
        assert_eq!(self.book.read, ANSWER);
        self.leave();
    }

    /// Nothing holds on to a waker, or to a key, once both are gone.
    fn leave(mut self) {
        self.stream = None;
        self.peer.line = None;
        assert!(self.flags.iter().all(|flag| Arc::strong_count(flag) == 1), "a waker is kept");
        assert_eq!(limited::alive(), 0, "keys are kept");
    }
}

/// Two ends of a transport that does not hold much, and puts off every call on the left.
fn ends(manners: Manners) -> (End, End) {
    let narrow = |manners| Manners { capacity: 600, ..manners };
    let (left, right, _) =
        pair(narrow(Manners { hesitant: true, ..manners }), narrow(Manners::GOOD));
    (left, right)
}

/// Every mix of roles with every pair of versions, or by default each once.
fn setups() -> impl Iterator<Item = Setup> {
    let setups: Vec<_> = if whole() { Setup::all().collect() } else { turned(1).collect() };
    setups.into_iter().map(|setup| setup.seeded(7 + base_seed()))
}

/// Every operation of `script` and every number of polls after which it is given up. `visit` says
/// when that was more than it took.
fn everywhere(
    script: &[Op],
    mut visit: impl FnMut(Adapter, &Setup, Manners, (usize, usize)) -> bool,
) -> usize {
    let manners = [
        Manners::GOOD,
        Manners { lazy: true, ..Manners::GOOD },
        Manners { interrupted: true, vectored: false, ..Manners::GOOD },
    ];
    let mut points = 0;
    for (i, setup) in setups().enumerate() {
        let manners = manners[i % manners.len()];
        for adapter in Adapter::all() {
            for (at, op) in script.iter().enumerate() {
                for polls in 0..1000 {
                    assert!(polls < 999, "{op:?} does not end");
                    let _told = Told::new((adapter, setup, manners, op, at, polls));
                    // Keys that are counted.
                    if with_limit(1 << 20, || visit(adapter, &setup, manners, (at, polls))) {
                        break;
                    }
                    points += 1;
                }
            }
        }
    }
    points
}

#[test]
fn what_is_given_up_anywhere_loses_nothing() {
    let mut given_up = 0;
    let mut points = 0;
    for script in [&SCRIPT[..], &HALF_WAY] {
        points += everywhere(script, |adapter, setup, manners, (at, polls)| {
            let mut play = Play::new(adapter, setup, manners);
            let mut whole = false;
            for (i, op) in script.iter().enumerate() {
                if i == at {
                    whole = match play.poll(*op, polls) {
                        Polled::Done(result) => {
                            result.unwrap();
                            true
                        }
                        Polled::GivenUp => {
                            let closes = |op| matches!(op, &(CloseWrite | Close | Shutdown));
                            let closed = script[..=at].iter().any(closes);
                            play.instead(*op, closed, polls);
                            false
                        }
                    };
                }
                if !(i == at && whole) {
                    play.finish(*op);
                }
            }
            given_up += play.given_up;
            play.check();
            whole
        });
    }
    eprintln!("{points} points of cancellation, {given_up} operations given up");
    assert!(points > 300 * Adapter::all().count(), "{points}");
}

/// Whoever goes away in the middle leaves nothing behind, and has sent all that was flushed; the peer
/// is told of no end that there was not.
#[test]
fn who_leaves_anywhere_has_sent_what_was_flushed() {
    let points = everywhere(&SCRIPT, |adapter, setup, manners, (at, polls)| {
        let mut play = Play::new(adapter, setup, manners);
        for op in &SCRIPT[..at] {
            play.finish(*op);
        }
        let whole = matches!(play.poll(SCRIPT[at], polls), Polled::Done(_));
        play.stream = None;
        while play.peer.turn() {}
        let Peer { read, ended, error, .. } = &play.peer;
        assert!(*read >= play.book.flushed, "{read} of {} flushed bytes", play.book.flushed);
        assert!(*read <= play.book.written);
        let closes = SCRIPT.iter().position(|op| *op == CloseWrite).unwrap();
        assert!(at >= closes || !ended, "an end that nobody sent");
        assert!(*ended || error.is_some(), "the peer is told nothing");
        play.leave();
        whole
    });
    eprintln!("{points} points at which a stream was dropped");
}

/// A connection that is given up during its handshakes is gone, and its peer is told so.
#[test]
fn a_connection_given_up_is_gone() {
    let mut points = 0;
    for setup in setups() {
        for polls in 0.. {
            let _told = Told::new((setup.outer, setup.inner, setup.mix, polls));
            let (end, right) = ends(Manners::GOOD);
            let mut peer = Peer::new(Adapter::Tokio.open(setup.nested(Side::Right).ports, right));
            let machine = setup.nested(Side::Left).ports;
            let transport = Arc::downgrade(&end.log);
            let flag = Arc::new(Flag(AtomicBool::new(true)));
            let waker = Waker::from(flag.clone());
            let mut future = Box::pin(Stream::connect(machine, end));
            let mut connected = false;
            for _ in 0..polls {
                assert!(flag.0.swap(false, Ordering::Relaxed), "nobody wakes it");
                if let Poll::Ready(result) = future.as_mut().poll(&mut Context::from_waker(&waker))
                {
                    connected = result.is_ok();
                    break;
                }
                while peer.turn() {}
            }
            drop(future);
            drop(waker);
            assert_eq!(transport.strong_count(), 0, "the transport is kept");
            while peer.turn() {}
            assert!(peer.error.is_some() && !peer.ended, "the peer is told nothing");
            peer.line = None;
            assert_eq!(Arc::strong_count(&flag), 1);
            points += 1;
            if connected {
                assert!(polls > 10, "{polls}");
                break;
            }
        }
    }
    eprintln!("{points} points at which a connection was given up");
}

/// A reader and a writer in two tasks, each given up and begun anew after so many polls of its own.
#[test]
fn two_halves_given_up_anywhere() {
    let mut points = 0;
    for setup in turned(1) {
        for (reader_most, writer_most) in (1..12).flat_map(|r| (1..12).map(move |w| (r, w))) {
            let _told = Told::new((setup.outer, setup.inner, setup.mix, reader_most, writer_most));
            let (left, right) = ends(Manners::GOOD);
            let mut peer = Peer::new(Adapter::Tokio.open(setup.nested(Side::Right).ports, right));
            let stream = Stream::new(setup.nested(Side::Left).ports, left);
            let (mut reader, mut writer) = tokio::io::split(stream);
            let flags = [0; 2].map(|_| Arc::new(Flag(AtomicBool::new(true))));
            let [mut reading, mut writing] = [Book::default(), Book::default()];
            let mut done = [false; 2];
            while done != [true; 2] {
                let mut woken = false;
                for i in [0, 1] {
                    if done[i] || !flags[i].0.swap(false, Ordering::Relaxed) {
                        continue;
                    }
                    woken = true;
                    let waker = Waker::from(flags[i].clone());
                    let mut cx = Context::from_waker(&waker);
                    let mut future: Pin<Box<dyn Future<Output = bool> + '_>> = if i == 0 {
                        Box::pin(read_some(&mut reader, &mut reading))
                    } else {
                        Box::pin(write_some(&mut writer, &mut writing))
                    };
                    for _ in 0..[reader_most, writer_most][i] {
                        match future.as_mut().poll(&mut cx) {
                            Poll::Ready(end) => {
                                done[i] = end;
                                flags[i].0.store(true, Ordering::Relaxed);
                                break;
                            }
                            Poll::Pending => while peer.turn() {},
                        }
                        if !flags[i].0.swap(false, Ordering::Relaxed) {
                            break;
                        }
                        // Begun anew, it has to be polled again.
                        flags[i].0.store(true, Ordering::Relaxed);
                    }
                    points += 1;
                }
                let moved = peer.turn();
                assert!(woken || moved, "both halves wait, and nobody wakes them: {done:?}");
            }
            while peer.turn() {}
            assert!(peer.error.is_none(), "{:?}", peer.error);
            assert_eq!((peer.read, reading.read), (writing.written, ANSWER));
            drop((reader, writer));
            assert!(flags.iter().all(|flag| Arc::strong_count(flag) == 1), "a waker is kept");
        }
    }
    eprintln!("{points} futures of halves given up");
}

async fn read_some(reader: &mut ReadHalf<Left>, book: &mut Book) -> bool {
    let mut buf = [0; 500];
    let n = reader.read(&mut buf).await.unwrap();
    book.read(&buf[..n]);
    n == 0
}

async fn write_some(writer: &mut WriteHalf<Left>, book: &mut Book) -> bool {
    if book.written >= 3 * PIECE {
        writer.shutdown().await.unwrap();
        return true;
    }
    book.written += writer.write(words(Side::Left, book.written, PIECE)).await.unwrap();
    false
}
