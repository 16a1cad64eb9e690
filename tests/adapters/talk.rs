//! A conversation between two streams in memory, on one thread: each has a reading and a writing
//! task, which run only when they are woken. Who is not woken in time stalls, and that is seen.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind, IoSlice};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};

use nested_tls::{Layer, Nested};

use super::line::{Adapter, Line};
use super::transport::{self, End, Manners, Watch};
use crate::support::crypto::{self, Rng};
use crate::support::setup::{Setup, Side};
pub use crate::support::tally::base_seed;

/// What a task does, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Handshake,
    /// So many attempts at the handshakes, whatever comes of them.
    Attempts(usize),
    /// So many bytes, in pieces of any size.
    Write(usize),
    Flush,
    CloseWrite,
    Close,
    Shutdown,
    /// So many bytes.
    Read(usize),
    ReadToEnd,
    UpdateKeys(Layer, bool),
}

/// One side of a conversation.
pub struct Speaker {
    pub line: Option<Box<dyn Line>>,
    side: Side,
    adapter: Adapter,
    randomness: u64,
    /// What was read.
    pub read: usize,
    /// What writing calls have said to be written.
    pub written: usize,
    tasks: [Task; 2],
    pub leaves: Leaves,
    /// How many errors of this kind are met with a second attempt.
    pub retries: Option<(ErrorKind, usize)>,
}

/// When a speaker is gone, and its transport with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaves {
    /// As soon as both tasks are done, or one has failed and the other can't go on.
    AtOnce,
    /// Then, but what the peer still sends is taken off the transport first.
    Lingering,
    Never,
}

/// Who does what a speaker does.
#[derive(Default)]
struct Task {
    ops: VecDeque<Op>,
    /// What is done of the first one.
    done: usize,
    result: Option<Result<(), Failed>>,
    woken: Arc<Flag>,
}

/// Where and why a task ended early.
#[derive(Debug)]
pub struct Failed {
    pub op: Op,
    pub error: io::Error,
}

struct Flag(AtomicBool);

impl Default for Flag {
    fn default() -> Self {
        Self(AtomicBool::new(true))
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What each side says over and over; a lost, repeated or moved byte is seen.
fn tune(side: Side) -> &'static [u8] {
    static TUNES: OnceLock<[Vec<u8>; 2]> = OnceLock::new();
    // No multiple of any size of a record or buffer.
    let tunes = TUNES.get_or_init(|| Side::BOTH.map(|side| Rng(side as u64).bytes(65_521)));
    &tunes[side as usize]
}

/// A part of what `side` says, of at most `len` bytes.
pub fn words(side: Side, from: usize, len: usize) -> &'static [u8] {
    let tune = tune(side);
    let from = from % tune.len();
    &tune[from..tune.len().min(from + len)]
}

impl Speaker {
    fn check(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let expected = words(self.side.other(), self.read, bytes.len());
            let (now, rest) = bytes.split_at(expected.len());
            assert!(now == expected, "{:?} reads nonsense after {}", self.side, self.read);
            self.read += now.len();
            bytes = rest;
        }
    }

    /// One attempt at `op`, of which `done` is done.
    fn attempt(
        &mut self,
        op: Op,
        done: &mut usize,
        rng: &mut Rng,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(line) = self.line.as_mut() else {
            panic!("{:?} has left", self.side);
        };
        match op {
            Op::Handshake => line.handshake(cx),
            Op::Attempts(most) => {
                while *done < most {
                    *done += 1;
                    match line.handshake(cx) {
                        Poll::Pending if *done < most => return Poll::Pending,
                        Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                        _ => {}
                    }
                }
                Poll::Ready(Ok(()))
            }
            Op::Flush => line.flush(cx),
            Op::CloseWrite => line.close_write(cx),
            Op::Close => line.close(cx),
            Op::Shutdown => line.shutdown(cx),
            Op::UpdateKeys(layer, request) => {
                Poll::Ready(line.machine().update_keys(layer, request).map_err(io::Error::from))
            }
            Op::Write(len) => {
                while *done < len {
                    let n = piece(rng, len).min(len - *done);
                    let bytes = words(self.side, self.written, n);
                    let (a, b) = bytes.split_at(rng.below(bytes.len() + 1));
                    let result = match rng.below(3) {
                        0 => line.write(cx, &[IoSlice::new(a), IoSlice::new(&[]), IoSlice::new(b)]),
                        _ => line.write(cx, &[IoSlice::new(bytes)]),
                    };
                    match result {
                        Poll::Ready(Ok(n)) => {
                            assert!(0 < n && n <= bytes.len(), "wrote {n} of {}", bytes.len());
                            self.written += n;
                            *done += n;
                        }
                        Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                        Poll::Pending => return Poll::Pending,
                    }
                }
                Poll::Ready(Ok(()))
            }
            Op::Read(_) | Op::ReadToEnd => {
                let len = if let Op::Read(len) = op { len } else { usize::MAX };
                while *done < len {
                    let mut buf = vec![0; piece(rng, 1 << 16).min(len - *done)];
                    let line = self.line.as_mut().unwrap();
                    let result = match rng.below(2) {
                        0 => line.read(cx, &mut buf),
                        _ => line.borrow(cx, &mut buf),
                    };
                    match result {
                        Poll::Ready(Ok(0)) if op == Op::ReadToEnd => return Poll::Ready(Ok(())),
                        Poll::Ready(Ok(0)) => {
                            let short = io::Error::other(format!("the end after {done} of {len}"));
                            return Poll::Ready(Err(short));
                        }
                        Poll::Ready(Ok(n)) => {
                            self.check(&buf[..n]);
                            *done += n;
                        }
                        Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                        Poll::Pending => return Poll::Pending,
                    }
                }
                Poll::Ready(Ok(()))
            }
        }
    }

    /// As `attempt`, with this side's randomness.
    pub fn attempt_once(
        &mut self,
        op: Op,
        done: &mut usize,
        rng: &mut Rng,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let before = crypto::swap(self.randomness);
        let result = self.attempt(op, done, rng, cx);
        self.randomness = crypto::swap(before);
        result
    }

    /// One turn of a task. Whether anything moved.
    fn turn(&mut self, which: usize, rng: &mut Rng) -> bool {
        let mut task = std::mem::take(&mut self.tasks[which]);
        task.woken.0.store(false, Ordering::Relaxed);
        let waker = Waker::from(task.woken.clone());
        let mut cx = Context::from_waker(&waker);
        let mut moved = false;
        while let Some(&op) = task.ops.front() {
            let before = task.done;
            match self.attempt_once(op, &mut task.done, rng, &mut cx) {
                Poll::Ready(Ok(())) => {
                    task.ops.pop_front();
                    task.done = 0;
                    moved = true;
                }
                Poll::Ready(Err(error)) if self.retries(op, &error) => moved = true,
                Poll::Ready(Err(error)) => {
                    task.ops.clear();
                    task.result = Some(Err(Failed { op, error }));
                    moved = true;
                }
                Poll::Pending => {
                    moved |= task.done > before;
                    break;
                }
            }
        }
        if task.ops.is_empty() && task.result.is_none() {
            task.result = Some(Ok(()));
            moved = true;
        }
        self.tasks[which] = task;
        moved
    }

    /// A shutdown that failed has shut the transport all the same.
    fn retries(&mut self, op: Op, error: &io::Error) -> bool {
        match &mut self.retries {
            Some((kind, left)) if *left > 0 && *kind == error.kind() && op != Op::Shutdown => {
                *left -= 1;
                true
            }
            _ => false,
        }
    }

    /// Be gone, if it is time.
    fn leave(&mut self) {
        let done = self.is_done();
        let Some(line) = self.line.as_mut() else { return };
        let leaves = match self.leaves {
            _ if !done => false,
            Leaves::AtOnce => true,
            Leaves::Lingering => line.transport().drain().is_ready(),
            Leaves::Never => false,
        };
        if leaves {
            self.line = None;
        }
    }

    /// Nothing moves any more. Whether this side gave up, one of its tasks having failed.
    fn give_up(&mut self) -> bool {
        let gives_up =
            self.leaves != Leaves::Never && self.line.is_some() && self.error().is_some();
        if gives_up {
            self.line = None;
            for task in &mut self.tasks {
                task.result.get_or_insert(Ok(()));
            }
        }
        gives_up
    }

    pub fn is_done(&self) -> bool {
        self.tasks.iter().all(|task| task.result.is_some())
    }

    /// Give the tasks more to do.
    pub fn then(&mut self, reader: &[Op], writer: &[Op]) {
        for (task, ops) in self.tasks.iter_mut().zip([reader, writer]) {
            task.ops.extend(ops);
            if !task.ops.is_empty() {
                task.result = None;
                task.woken.0.store(true, Ordering::Relaxed);
            }
        }
    }

    pub fn line(&mut self) -> &mut dyn Line {
        self.line.as_mut().unwrap().as_mut()
    }

    pub fn reader(&self) -> Option<&Result<(), Failed>> {
        self.tasks[0].result.as_ref()
    }

    pub fn writer(&self) -> Option<&Result<(), Failed>> {
        self.tasks[1].result.as_ref()
    }

    /// The first error of either task.
    pub fn error(&self) -> Option<&io::Error> {
        self.tasks.iter().find_map(|task| match &task.result {
            Some(Err(failed)) => Some(&failed.error),
            _ => None,
        })
    }
}

impl fmt::Debug for Speaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut s = f.debug_struct("Speaker");
        s.field("side", &self.side).field("read", &self.read).field("written", &self.written);
        for (name, task) in ["reader", "writer"].iter().zip(&self.tasks) {
            s.field(name, &(&task.ops, task.done, &task.result));
        }
        s.finish()
    }
}

/// A size between one byte and `most`, small and large ones alike.
fn piece(rng: &mut Rng, most: usize) -> usize {
    let bits = most.max(1).ilog2() as usize + 1;
    let most = most.max(1).min(1 << rng.below(bits + 1));
    1 + rng.below(most)
}

/// Two speakers.
#[derive(Debug)]
pub struct Talk {
    pub left: Speaker,
    pub right: Speaker,
    pub watch: Watch,
    rng: Rng,
}

impl Talk {
    pub fn new(adapter: Adapter, setup: &Setup, manners: [Manners; 2]) -> Self {
        let machine = |side| setup.nested(side).ports;
        let machines = [machine(Side::Left), machine(Side::Right)];
        Self::with(adapter, setup.seed, machines, manners)
    }

    pub fn with(
        adapter: Adapter,
        seed: u64,
        [left, right]: [Nested; 2],
        manners: [Manners; 2],
    ) -> Self {
        let (l, r, watch) = transport::pair(manners[0], manners[1]);
        let speaker = |side, machine, end: End| Speaker {
            line: Some(adapter.open(machine, end)),
            side,
            adapter,
            randomness: Rng(seed ^ (side as u64) << 20).next(),
            read: 0,
            written: 0,
            tasks: Default::default(),
            leaves: Leaves::Lingering,
            retries: None,
        };
        Self {
            left: speaker(Side::Left, left, l),
            right: speaker(Side::Right, right, r),
            watch,
            rng: Rng(seed ^ 0x7a1c),
        }
    }

    pub fn speaker(&mut self, side: Side) -> &mut Speaker {
        match side {
            Side::Left => &mut self.left,
            Side::Right => &mut self.right,
        }
    }

    /// Let every task run until all are done, or nobody can go on. Whether all are done.
    pub fn run(&mut self) -> bool {
        let mut quiet = 0;
        for _ in 0..20_000_000 {
            let all = [(Side::Left, 0), (Side::Left, 1), (Side::Right, 0), (Side::Right, 1)];
            let able: Vec<_> = all
                .into_iter()
                .filter(|&(side, which)| {
                    let speaker = self.speaker(side);
                    let task = &speaker.tasks[which];
                    task.result.is_none()
                        && (!speaker.adapter.wakes() || task.woken.0.load(Ordering::Relaxed))
                })
                .collect();
            let before = self.watch.moves();
            self.left.leave();
            self.right.leave();
            if able.is_empty() {
                if self.watch.moves() == before && !self.left.give_up() && !self.right.give_up() {
                    break;
                }
                continue;
            }
            let (side, which) = able[self.rng.below(able.len())];
            let mut rng = self.rng.clone();
            let moved = self.speaker(side).turn(which, &mut rng);
            self.rng = rng;
            // Who is not woken has to try; when all have tried in vain for long, that is the end.
            quiet = if moved || self.watch.moves() != before { 0 } else { quiet + 1 };
            if quiet > 100 {
                if !self.left.give_up() && !self.right.give_up() {
                    break;
                }
                quiet = 0;
            }
        }
        self.left.is_done() && self.right.is_done()
    }

    /// As `run`; everything must be done and have gone well.
    pub fn succeed(&mut self) {
        let done = self.run();
        assert!(done, "stalled: {:?} {:?}", self.left, self.right);
        for speaker in [&self.left, &self.right] {
            assert!(speaker.error().is_none(), "failed: {:?} {:?}", self.left, self.right);
        }
    }

    /// As `run`; everything must end, well or not.
    pub fn end(&mut self) {
        let done = self.run();
        assert!(done, "stalled: {:?} {:?}", self.left, self.right);
    }

    /// Both sides with both handshakes behind them.
    pub fn connected(adapter: Adapter, setup: &Setup, manners: [Manners; 2]) -> Self {
        let mut talk = Self::new(adapter, setup, manners);
        for side in Side::BOTH {
            talk.speaker(side).leaves = Leaves::Never;
            talk.speaker(side).then(&[], &[Op::Handshake]);
        }
        talk.succeed();
        talk
    }
}
