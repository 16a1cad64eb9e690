//! What all adapters do, in one loop around one decision.
//!
//! [`next`] decides: it is pure, and knows no transport and no TLS. [`run`] does what it says until
//! a goal is reached, with a [`Transport`] that says [`Poll::Pending`] where it would block.

use core::task::Poll;
use std::io::{self, IoSlice};

use crate::nested::{Error, ErrorKind, Misuse, Phase, Plaintext, Ports, Readiness};

/// What a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// The innermost layer is established, and what the peer needs for that has left.
    Handshake,
    /// There is plaintext to read, or its end.
    Read,
    /// The machine takes plaintext.
    Write,
    /// The transport has all that it takes without waiting.
    Push,
    /// The transport has everything, and was flushed.
    Flush,
    /// As `Flush`, when nothing else will be sent.
    Close,
}

/// How far a machine is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    ready: Readiness,
    /// The innermost layer is established.
    established: bool,
    /// The peer's end was reached: what is still received is nobody's.
    ended: bool,
    failed: bool,
}

impl Progress {
    fn of(machine: &impl Ports) -> Self {
        Self {
            ready: machine.readiness(),
            established: is_established(machine),
            ended: machine.plain_out() == Plaintext::End,
            failed: machine.failure().is_some(),
        }
    }
}

/// Whether the innermost layer is established and the machine has not failed.
pub(super) fn is_established(machine: &impl Ports) -> bool {
    !matches!(machine.phase(), Phase::OuterHandshake | Phase::InnerHandshake | Phase::Failed)
}

/// What is known of the transport.
#[derive(Clone, Copy, Debug)]
pub(super) struct Io {
    /// Written since the last flush.
    unflushed: bool,
    /// What was received made output that only the receiving side will send.
    owed: bool,
    /// In this call: there was nothing to receive.
    starved: bool,
    /// In this call: whether it can be written to.
    out: Out,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Out {
    Open,
    /// It would block.
    Blocked,
    /// It failed.
    Broken,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Read from the transport.
    Read,
    /// Write to the transport.
    Write,
    /// Flush the transport.
    Flush,
    /// The goal is reached.
    Done,
    /// Wait for the transport.
    Wait,
    /// The machine's failure is the result.
    Fail,
    /// Neither the transport nor the peer can help: out-of-band messages wait to be taken.
    Stuck,
}

/// The decision.
///
/// Output goes before input, but never holds it up. Once the handshakes are complete, a reader
/// writes only what nobody else would send: answers to what it received, and the alert of a failure.
pub(super) fn next(goal: Goal, at: Progress, io: Io) -> Step {
    let Progress { ready, established, ended, failed } = at;
    let pending = ready.wire_out || io.unflushed;
    let done = match goal {
        Goal::Handshake => established && !pending,
        Goal::Read => false,
        Goal::Write => ready.plain_write,
        Goal::Push => !ready.wire_out || io.out != Out::Open,
        Goal::Flush | Goal::Close => !pending && !failed,
    };
    if done {
        return Step::Done;
    }

    let writes = goal != Goal::Read || io.owed || failed || !established;
    if writes && io.out == Out::Open {
        if ready.wire_out {
            return Step::Write;
        }
        if io.unflushed {
            return Step::Flush;
        }
    }
    // What came before a failure is read before the failure is told.
    if goal == Goal::Read && ready.plain_out {
        return Step::Done;
    }
    let blocked = writes && pending && io.out == Out::Blocked;
    if failed {
        // Plaintext came, so the handshakes were complete before it failed: the reader has both.
        if goal == Goal::Handshake && ready.plain_out && !blocked {
            return Step::Done;
        }
        let waits = matches!(goal, Goal::Handshake | Goal::Flush | Goal::Close);
        return if waits && blocked { Step::Wait } else { Step::Fail };
    }

    // Both sides may be closing with nobody left to read what the other one says last.
    let reads = reads(goal, established) || (goal == Goal::Close && blocked && ended);
    if reads && ready.wire_in && !io.starved {
        return Step::Read;
    }
    // What a reader's answers wait for is no help to a reader.
    let waits = (blocked && goal != Goal::Read) || (reads && ready.wire_in);
    if waits { Step::Wait } else { Step::Stuck }
}

/// Whether the goal needs input.
fn reads(goal: Goal, established: bool) -> bool {
    match goal {
        Goal::Handshake | Goal::Read => true,
        Goal::Write => !established,
        Goal::Push | Goal::Flush | Goal::Close => false,
    }
}

/// Something that can be read and written, or would block.
pub(super) trait Transport {
    fn read(&mut self, space: &mut [u8]) -> Poll<io::Result<usize>>;
    fn write(&mut self, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>>;
    fn flush(&mut self) -> Poll<io::Result<()>>;

    /// Whether `write` has use for more than one slice.
    fn is_vectored(&self) -> bool;
}

/// What outlives a call, so that a call can be given up anywhere.
#[derive(Debug)]
pub(super) struct State {
    unflushed: bool,
    owed: bool,
    /// An error of the transport that could not be told when it came, for the next writing call.
    deferred: Option<io::Error>,
    /// Both directions of the innermost layer had ended before the rest was closed.
    courtesy: bool,
}

impl State {
    pub(super) fn new() -> Self {
        // A transport that is taken over may hold something back.
        Self { unflushed: true, owed: false, deferred: None, courtesy: false }
    }

    /// Close every layer of the machine.
    pub(super) fn close(&mut self, machine: &mut impl Ports) {
        let pending = machine.readiness().wire_out || self.unflushed;
        let closed = matches!(
            machine.plain_write(&[]).as_ref().map_err(Error::kind),
            Err(ErrorKind::Misuse(Misuse::WriteAfterClose))
        );
        self.courtesy |= closed && !pending && machine.plain_out() == Plaintext::End;
        machine.close();
    }

    /// A peer that has said all and was told all may hang up before the outer close_notify.
    pub(super) fn excuse(&self, result: io::Result<()>) -> io::Result<()> {
        match result {
            Err(error) if self.courtesy && is_hang_up(&error) => Ok(()),
            result => result,
        }
    }

    /// Do something that may process input, and note whether an answer is due since then.
    fn input<P: Ports, R>(&mut self, machine: &mut P, act: impl FnOnce(&mut P) -> R) -> R {
        // Where output waits already, who made it will send it, and the answer with it. That is
        // not so during the handshakes: no side is in charge of their flights.
        let in_charge = is_established(machine) && machine.readiness().wire_out;
        let result = act(machine);
        self.owed |= !in_charge && machine.readiness().wire_out;
        result
    }

    /// The transport's error that an earlier call kept.
    pub(super) fn take_deferred(&mut self) -> io::Result<()> {
        self.deferred.take().map_or(Ok(()), Err)
    }

    pub(super) fn defer(&mut self, error: io::Error) {
        self.deferred.get_or_insert(error);
    }

    /// The first `n` bytes of the plaintext were read.
    pub(super) fn consume(&mut self, machine: &mut impl Ports, n: usize) {
        // More than there are changes nothing.
        let _ = self.input(machine, |machine| machine.plain_consumed(n));
    }

    /// Plaintext into `to`, as much as is there without reading from the transport.
    pub(super) fn read_plain(
        &mut self,
        machine: &mut impl Ports,
        mut to: impl FnMut(&[u8]) -> usize,
    ) {
        while let Plaintext::Bytes(bytes) = machine.plain_out() {
            let mut read = 0;
            for piece in bytes.chunks(PIECE) {
                let n = to(piece);
                read += n;
                if n < piece.len() {
                    break;
                }
            }
            if read == 0 {
                break;
            }
            self.consume(machine, read);
        }
    }
}

/// For [`State::read_plain`]: into `buf`, of which so much is `filled`.
pub(super) fn fill(buf: &mut [u8], filled: &mut usize) -> impl FnMut(&[u8]) -> usize {
    move |bytes| {
        let rest = buf.get_mut(*filled..).unwrap_or_default();
        let n = bytes.len().min(rest.len());
        if let (Some(to), Some(from)) = (rest.get_mut(..n), bytes.get(..n)) {
            to.copy_from_slice(from);
        }
        *filled += n;
        n
    }
}

/// Do what leads to `goal`.
pub(super) fn run<P: Ports>(
    machine: &mut P,
    state: &mut State,
    goal: Goal,
    transport: &mut impl Transport,
) -> Poll<io::Result<()>> {
    let mut starved = false;
    let mut out = Out::Open;
    // The transport's error ends this call unless the peer's last word does.
    let mut broken = false;
    loop {
        let progress = Progress::of(machine);
        let io = Io { unflushed: state.unflushed, owed: state.owed, starved, out };
        let step = next(goal, progress, io);
        let written = match step {
            Step::Done => return Poll::Ready(Ok(())),
            Step::Fail => {
                state.deferred = None;
                return Poll::Ready(check(machine));
            }
            Step::Wait | Step::Stuck if broken => {
                return Poll::Ready(Err(state.deferred.take().unwrap_or_else(stuck)));
            }
            Step::Wait => return Poll::Pending,
            Step::Stuck => return Poll::Ready(Err(stuck())),
            Step::Read => {
                match read(machine, state, transport) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => {
                        let first = if broken { state.deferred.take() } else { None };
                        return Poll::Ready(Err(first.unwrap_or(error)));
                    }
                    Poll::Pending => starved = true,
                }
                continue;
            }
            Step::Write => write(machine, state, transport),
            Step::Flush => flush(state, transport),
        };
        match written {
            Poll::Ready(Ok(())) => {}
            Poll::Pending => out = Out::Blocked,
            Poll::Ready(Err(error)) => {
                out = Out::Broken;
                state.owed = false;
                if progress.failed {
                    // The failure says more than that its alert could not be sent.
                } else if goal == Goal::Read && progress.established {
                    // The reader has lost nothing. Who writes next will be told.
                } else if reads(goal, progress.established) && is_hang_up(&error) {
                    // What the peer said before it hung up is still there: most of all its alert.
                    state.defer(error);
                    broken = true;
                } else {
                    let result = Err(error);
                    return Poll::Ready(match goal {
                        Goal::Close => state.excuse(result),
                        _ => result,
                    });
                }
            }
        }
        if !state.unflushed && !machine.readiness().wire_out {
            state.owed = false;
        }
    }
}

fn read(
    machine: &mut impl Ports,
    state: &mut State,
    transport: &mut impl Transport,
) -> Poll<io::Result<()>> {
    let Some(space) = machine.wire_in() else {
        return Poll::Ready(Ok(()));
    };
    let offered = space.len();
    match retry(|| transport.read(space)) {
        Poll::Ready(Ok(n)) if n > offered => Poll::Ready(Err(lie("read", n, offered))),
        Poll::Ready(Ok(n)) => {
            // What fails here is told when the alert has left.
            let _ = state.input(machine, |machine| match n {
                0 => machine.wire_eof(),
                n => machine.wire_received(n),
            });
            Poll::Ready(Ok(()))
        }
        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        Poll::Pending => {
            // An idle machine gives its buffer back.
            let _ = machine.wire_received(0);
            Poll::Pending
        }
    }
}

fn write(
    machine: &mut impl Ports,
    state: &mut State,
    transport: &mut impl Transport,
) -> Poll<io::Result<()>> {
    let mut slices = [&[][..]; MAX_SLICES];
    let mut filled = 0;
    if transport.is_vectored() {
        filled = machine.wire_out_slices(&mut slices);
    } else if let (Some(bytes), [first, ..]) = (machine.wire_out(), &mut slices) {
        *first = bytes;
        filled = 1;
    }
    let slices = slices.map(IoSlice::new);
    let slices = slices.get(..filled).unwrap_or_default();
    let offered = slices.iter().map(|slice| slice.len()).sum();
    if offered == 0 {
        return Poll::Ready(Ok(()));
    }
    match retry(|| transport.write(slices)) {
        Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        Poll::Ready(Ok(n)) if n > offered => Poll::Ready(Err(lie("written", n, offered))),
        Poll::Ready(Ok(n)) => {
            state.unflushed = true;
            Poll::Ready(machine.wire_sent(n).map_err(io::Error::from))
        }
        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        Poll::Pending => Poll::Pending,
    }
}

fn flush(state: &mut State, transport: &mut impl Transport) -> Poll<io::Result<()>> {
    let result = retry(|| transport.flush());
    if let Poll::Ready(Ok(())) = result {
        state.unflushed = false;
    }
    result
}

/// Do something again as long as it is only interrupted.
pub(super) fn retry<R>(mut act: impl FnMut() -> Poll<io::Result<R>>) -> Poll<io::Result<R>> {
    loop {
        match act() {
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Plaintext from the user, as much as the machine takes.
pub(super) fn take(machine: &mut impl Ports, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    let mut taken = 0;
    for slice in slices.iter().filter(|slice| !slice.is_empty()) {
        match machine.plain_write(slice) {
            Ok(n) => {
                taken += n;
                if n < slice.len() {
                    break;
                }
            }
            Err(_) if taken > 0 => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(taken)
}

/// The machine's failure as the transport's users know errors.
pub(super) fn check(machine: &impl Ports) -> io::Result<()> {
    machine.failure().map_or(Ok(()), |error| Err(error.clone().into()))
}

fn is_hang_up(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected)
}

fn lie(what: &str, n: usize, offered: usize) -> io::Error {
    io::Error::other(std::format!("the transport says it has {what} {n} bytes of {offered}"))
}

fn stuck() -> io::Error {
    let reason = "out-of-band messages wait to be taken from the machine";
    io::Error::new(io::ErrorKind::ResourceBusy, reason)
}

/// What one vectored write can take.
const MAX_SLICES: usize = 16;

/// Larger copies can be many times slower, by the distance of the addresses modulo 4096.
const PIECE: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    const GOALS: [Goal; 6] =
        [Goal::Handshake, Goal::Read, Goal::Write, Goal::Push, Goal::Flush, Goal::Close];

    /// Every combination that a machine and a transport can be in.
    fn all() -> impl Iterator<Item = (Goal, Progress, Io)> {
        let flags = (0..1u32 << 10).map(|bits| move |i: u32| bits >> i & 1 == 1);
        let outs = [Out::Open, Out::Blocked, Out::Broken];
        let all = GOALS.into_iter().flat_map(move |goal| outs.map(|out| (goal, out)));
        all.flat_map(move |(goal, out)| {
            flags.clone().map(move |flag| {
                let ready = Readiness {
                    wire_in: flag(0),
                    wire_out: flag(1),
                    plain_write: flag(2),
                    plain_out: flag(3),
                    ..Readiness::default()
                };
                let at = Progress { ready, established: flag(4), ended: flag(5), failed: flag(6) };
                let io = Io { unflushed: flag(7), owed: flag(8), starved: flag(9), out };
                (goal, at, io)
            })
        })
        .filter(|(_, at, _)| {
            let ready = at.ready;
            (ready.plain_out || !at.ended)
                && !(at.failed && (at.established || ready.wire_in || ready.plain_write))
                && (at.established || !ready.plain_write)
        })
    }

    #[test]
    fn every_step_can_be_done() {
        for (goal, at, io) in all() {
            let what = (goal, at, io);
            let ready = at.ready;
            let pending = ready.wire_out || io.unflushed;
            match next(goal, at, io) {
                Step::Read => {
                    assert!(ready.wire_in && !io.starved, "{what:?}");
                    // What the peer says is the reader's, unless the handshakes need it, or it has
                    // said all.
                    let theirs = at.established && !matches!(goal, Goal::Handshake | Goal::Read);
                    assert!(!theirs || (goal == Goal::Close && at.ended), "{what:?}");
                }
                Step::Write => assert!(ready.wire_out && io.out == Out::Open, "{what:?}"),
                Step::Flush => {
                    assert!(io.unflushed && !ready.wire_out && io.out == Out::Open, "{what:?}");
                }
                Step::Wait => {
                    let to_read = ready.wire_in && io.starved;
                    let to_write = pending && io.out == Out::Blocked;
                    assert!(to_read || to_write, "{what:?}");
                    // A reader waits to read, whatever else it waits for.
                    assert!(to_read || goal != Goal::Read, "{what:?}");
                }
                Step::Fail => assert!(at.failed, "{what:?}"),
                Step::Stuck => {
                    assert!(!at.failed, "{what:?}");
                    assert!(goal != Goal::Read || !ready.wire_in && !ready.plain_out, "{what:?}");
                }
                Step::Done => assert!(
                    match goal {
                        Goal::Handshake if at.failed => ready.plain_out,
                        Goal::Handshake => at.established && !pending,
                        Goal::Read => ready.plain_out,
                        Goal::Write => ready.plain_write,
                        Goal::Push => !ready.wire_out || io.out != Out::Open,
                        Goal::Flush | Goal::Close => !pending && !at.failed,
                    },
                    "{what:?}"
                ),
            }
        }
    }

    /// A transport that does nothing more is asked for each thing once; then the call ends.
    #[test]
    fn no_combination_goes_on_for_ever() {
        for (goal, at, io) in all() {
            for answer in [Out::Blocked, Out::Broken] {
                let mut io = io;
                let mut steps = 0;
                loop {
                    match next(goal, at, io) {
                        Step::Read => io.starved = true,
                        Step::Write | Step::Flush => io.out = answer,
                        _ => break,
                    }
                    steps += 1;
                    assert!(steps <= 2, "{goal:?} {at:?} {io:?}");
                }
            }
        }
    }

    /// One that takes and has everything leads each goal to its end, unless that is out of reach.
    #[test]
    fn every_goal_is_reached() {
        for (goal, at, io) in all() {
            let (mut at, mut io) = (at, Io { out: Out::Open, starved: false, ..io });
            let reached = (0..10).find_map(|_| {
                match next(goal, at, io) {
                    Step::Write => (at.ready.wire_out, io.unflushed) = (false, true),
                    Step::Flush => io.unflushed = false,
                    Step::Read => {
                        at.established = true;
                        at.ready.plain_write = true;
                        at.ready.plain_out = true;
                    }
                    step => return Some(step),
                }
                None
            });
            let what = (goal, at, io, reached);
            match reached {
                Some(Step::Done) => {}
                Some(Step::Fail) => assert!(at.failed, "{what:?}"),
                // Nothing is received because of messages that nobody takes; or a queue is empty
                // that could not be full.
                Some(Step::Stuck) => {
                    let reads = matches!(goal, Goal::Handshake | Goal::Read | Goal::Write);
                    assert!(reads && !at.failed, "{what:?}");
                    assert!(!at.ready.wire_in || goal == Goal::Write, "{what:?}");
                }
                _ => unreachable!("{what:?}"),
            }
        }
    }
}
