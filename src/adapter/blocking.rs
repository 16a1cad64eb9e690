//! A machine over a transport of `std::io`.

use alloc::boxed::Box;
use core::fmt;
use core::task::Poll;
use core::time::Duration;
use std::io::{self, BufRead, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::time::Instant;

use super::Failed;
use super::driver::{self, Goal, State};
use crate::nested::{Error, Framing, Nested, Phase, Plaintext, Ports, Role, Session};

/// A machine and its transport as one stream of plaintext.
///
/// The transport may block, or answer [`WouldBlock`](io::ErrorKind::WouldBlock): each method then
/// says that too, has lost nothing, and goes on where it was when called again. A transport that
/// does not block has to be waited for by the caller: to read always, and to write while
/// [`Ports::readiness`] of [`Stream::machine`] says `wire_out`; call [`Write::flush`] then.
pub struct Stream<P, T> {
    machine: P,
    transport: T,
    state: State,
}

impl<P: Ports, T: Read + Write> Stream<P, T> {
    /// A stream that has done nothing yet: its handshakes happen in [`Stream::handshake`], or with
    /// the first bytes read or written.
    pub fn new(machine: P, transport: T) -> Self {
        Self { machine, transport, state: State::new() }
    }

    /// A stream whose handshakes are complete, whatever the roles.
    ///
    /// # Errors
    /// What [`Stream::handshake`] says, with the machine and the transport.
    pub fn connect(machine: P, transport: T) -> Result<Self, Failed<P, T>> {
        let mut stream = Self::new(machine, transport);
        match stream.handshake() {
            Ok(()) => Ok(stream),
            Err(error) => Err(Failed::new(error, stream.into_parts())),
        }
    }

    /// Go on until the innermost layer is established and the peer can know it.
    ///
    /// # Errors
    /// The machine's failure, after its alert was sent; or the transport's error.
    pub fn handshake(&mut self) -> io::Result<()> {
        self.drive(Goal::Handshake)
    }

    /// Nothing more will be written: send the innermost layer's close_notify and flush. Reading
    /// goes on. During the handshakes it is kept until they are complete.
    ///
    /// # Errors
    /// As [`Write::flush`].
    pub fn close_write(&mut self) -> io::Result<()> {
        self.machine.close_write();
        self.flush()
    }

    /// Send the close_notify of every layer and flush. Never waits for the peer, whose data can
    /// still be read, and leaves the transport open: see [`Stream::shutdown`].
    ///
    /// Handshakes that are not complete are given up, which is a failure. A machine that has failed
    /// sends its alert.
    ///
    /// # Errors
    /// The machine's failure, or the transport's error.
    pub fn close(&mut self) -> io::Result<()> {
        self.state.close(&mut self.machine);
        self.state.take_deferred()?;
        self.drive(Goal::Close)
    }

    /// As [`Stream::close`], then shut the transport's writing half, even if that failed.
    ///
    /// # Errors
    /// The machine's failure, or the transport's first error. `WouldBlock` means that the transport
    /// is not shut yet.
    pub fn shutdown(&mut self) -> io::Result<()>
    where
        T: Socket,
    {
        let closed = self.close();
        if matches!(&closed, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
            return closed;
        }
        let shut = driver::retry(|| pending(self.transport.shutdown_write()));
        closed.and_then(|()| self.state.excuse(would_block(shut)))
    }

    fn drive(&mut self, goal: Goal) -> io::Result<()> {
        let transport = &mut Direct(&mut self.transport);
        would_block(driver::run(&mut self.machine, &mut self.state, goal, transport))
    }
}

impl<P: Ports, T: Socket> Stream<P, T> {
    /// As [`Stream::handshake`], in `limit` altogether, however the peer divides it. The socket
    /// must be in blocking mode; its own timeouts are put back afterwards.
    ///
    /// # Errors
    /// As [`Stream::handshake`]. When the time is up, `TimedOut` with [`TimedOut`]
    /// as the source, which says what was waited for.
    pub fn handshake_within(&mut self, limit: Duration) -> io::Result<()> {
        let old = (self.transport.read_timeout()?, self.transport.write_timeout()?);
        let deadline = Instant::now().checked_add(limit);
        let (socket, spent) = (&mut self.transport, [Duration::ZERO; 2]);
        let mut timed = Timed { socket, deadline, spent, late: false };
        let mut result = would_block(driver::run(
            &mut self.machine,
            &mut self.state,
            Goal::Handshake,
            &mut timed,
        ));
        if timed.late {
            let waited_for = timed.waited_for();
            let late = TimedOut { phase: self.machine.phase(), waited_for, limit };
            result = Err(match self.machine.failure() {
                Some(error) => error.clone().into(),
                None => io::Error::new(io::ErrorKind::TimedOut, late),
            });
        }
        let read = self.transport.set_read_timeout(old.0);
        let write = self.transport.set_write_timeout(old.1);
        result.and(read).and(write)
    }
}

impl<P, T> Stream<P, T> {
    /// The machine.
    pub fn machine(&self) -> &P {
        &self.machine
    }

    /// The machine, for its events, messages and keys. What that makes it send leaves with the
    /// next [`Write::flush`].
    pub fn machine_mut(&mut self) -> &mut P {
        &mut self.machine
    }

    /// The transport.
    pub fn transport(&self) -> &T {
        &self.transport
    }

    /// The transport. What is read from it or written to it here, TLS misses.
    pub fn transport_mut(&mut self) -> &mut T {
        &mut self.transport
    }

    /// The machine and the transport, as they are: flush first what has to leave.
    pub fn into_parts(self) -> (P, T) {
        (self.machine, self.transport)
    }
}

impl<T> Stream<Session, T> {
    /// Put an inner layer inside the outer one; see [`Session::nest`]. No I/O happens.
    ///
    /// # Errors
    /// As [`Session::nest`]. The transport is closed then.
    pub fn nest<F: Framing>(self, inner: Role, framing: F) -> Result<Stream<Nested<F>, T>, Error> {
        let Self { machine, transport, state } = self;
        Ok(Stream { machine: machine.nest(inner, framing)?, transport, state })
    }
}

impl<F: Framing, T> Stream<Nested<F>, T> {
    /// The outer layer back, once the inner one has ended; see [`Nested::into_outer`].
    ///
    /// # Errors
    /// Gives the stream back while the inner layer has not ended.
    pub fn into_outer(self) -> Result<Stream<Session, T>, Box<Self>> {
        let Self { machine, transport, state } = self;
        match machine.into_outer() {
            Ok(machine) => Ok(Stream { machine, transport, state }),
            Err(machine) => Err(Box::new(Self { machine: *machine, transport, state })),
        }
    }
}

impl<P: Ports, T: Read + Write> Read for Stream<P, T> {
    /// # Errors
    /// The machine's failure, once all that came before it is read; or the transport's error.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        self.drive(Goal::Read)?;
        let mut read = 0;
        self.state.read_plain(&mut self.machine, driver::fill(buf, &mut read));
        Ok(read)
    }
}

impl<P: Ports, T: Read + Write> BufRead for Stream<P, T> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.drive(Goal::Read)?;
        match self.machine.plain_out() {
            Plaintext::Bytes(bytes) => Ok(bytes),
            Plaintext::End | Plaintext::Pending => Ok(&[]),
        }
    }

    fn consume(&mut self, n: usize) {
        self.state.consume(&mut self.machine, n);
    }
}

impl<P: Ports, T: Read + Write> Write for Stream<P, T> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(buf)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.state.take_deferred()?;
        if slices.iter().all(|slice| slice.is_empty()) {
            return Ok(0);
        }
        loop {
            match driver::take(&mut self.machine, slices) {
                Ok(0) => self.drive(Goal::Write)?,
                Ok(n) => {
                    if let Err(error) = self.drive(Goal::Push) {
                        self.state.defer(error);
                    }
                    return Ok(n);
                }
                Err(error) => {
                    // The alert, if that is what the error comes from.
                    let _ = self.drive(Goal::Push);
                    return Err(error);
                }
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.state.take_deferred()?;
        self.drive(Goal::Flush)
    }
}

impl<P: Ports, T> fmt::Debug for Stream<P, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("phase", &self.machine.phase()).finish_non_exhaustive()
    }
}

/// A transport that is a socket: with timeouts, and halves that can be shut.
pub trait Socket: Read + Write {
    /// How long a read may wait.
    ///
    /// # Errors
    /// As [`TcpStream::read_timeout`].
    fn read_timeout(&self) -> io::Result<Option<Duration>>;

    /// How long a write may wait.
    ///
    /// # Errors
    /// As [`TcpStream::write_timeout`].
    fn write_timeout(&self) -> io::Result<Option<Duration>>;

    /// Let a read wait only so long. It says `WouldBlock` or `TimedOut` then.
    ///
    /// # Errors
    /// As [`TcpStream::set_read_timeout`].
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;

    /// Let a write wait only so long. It says `WouldBlock` or `TimedOut` then.
    ///
    /// # Errors
    /// As [`TcpStream::set_write_timeout`].
    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;

    /// Nothing more will be written.
    ///
    /// # Errors
    /// As [`TcpStream::shutdown`].
    fn shutdown_write(&mut self) -> io::Result<()>;
}

macro_rules! socket {
    ($kind:ty, $for:ty) => {
        impl Socket for $for {
            fn read_timeout(&self) -> io::Result<Option<Duration>> {
                <$kind>::read_timeout(self)
            }

            fn write_timeout(&self) -> io::Result<Option<Duration>> {
                <$kind>::write_timeout(self)
            }

            fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
                <$kind>::set_read_timeout(self, timeout)
            }

            fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
                <$kind>::set_write_timeout(self, timeout)
            }

            fn shutdown_write(&mut self) -> io::Result<()> {
                self.shutdown(Shutdown::Write)
            }
        }
    };
}

socket!(TcpStream, TcpStream);
socket!(TcpStream, &TcpStream);
#[cfg(unix)]
socket!(UnixStream, UnixStream);
#[cfg(unix)]
socket!(UnixStream, &UnixStream);

/// A handshake took longer than it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TimedOut {
    /// Which layer's handshake it was.
    pub phase: Phase,
    /// What the peer did not do, or took most of the time for.
    pub waited_for: WaitedFor,
    /// The time given to all of it.
    pub limit: Duration,
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { phase, waited_for, limit } = self;
        let what = match waited_for {
            WaitedFor::Send => "the peer did not send",
            WaitedFor::Receive => "the peer did not receive",
        };
        write!(f, "the {phase} was not complete after {limit:?}: {what}")
    }
}

impl core::error::Error for TimedOut {}

/// What a peer did not do in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitedFor {
    /// Take what was sent to it.
    Receive,
    /// Send its answer.
    Send,
}

/// A transport as it is.
struct Direct<'a, T>(&'a mut T);

impl<T: Read + Write> driver::Transport for Direct<'_, T> {
    fn read(&mut self, space: &mut [u8]) -> Poll<io::Result<usize>> {
        pending(self.0.read(space))
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        pending(self.0.write_vectored(slices))
    }

    fn flush(&mut self) -> Poll<io::Result<()>> {
        pending(self.0.flush())
    }

    fn is_vectored(&self) -> bool {
        // Who has no better way writes the first slice.
        true
    }
}

/// A socket until a point in time.
struct Timed<'a, T> {
    socket: &'a mut T,
    /// `None` where the time to come can't be expressed.
    deadline: Option<Instant>,
    /// The time that the peer took to receive, and to send.
    spent: [Duration; 2],
    /// The time is up.
    late: bool,
}

impl<T: Socket> Timed<'_, T> {
    fn waited_for(&self) -> WaitedFor {
        let [receive, send] = self.spent;
        if receive > send { WaitedFor::Receive } else { WaitedFor::Send }
    }

    fn until<R>(
        &mut self,
        waited_for: WaitedFor,
        mut act: impl FnMut(&mut T, Option<Duration>) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        loop {
            let begin = Instant::now();
            let left = self.deadline.map(|at| at.saturating_duration_since(begin));
            if left.is_some_and(|left| left.is_zero()) {
                self.late = true;
                return Poll::Pending;
            }
            let result = act(self.socket, left);
            let [receive, send] = &mut self.spent;
            *match waited_for {
                WaitedFor::Receive => receive,
                WaitedFor::Send => send,
            } += begin.elapsed();
            match result {
                Err(error) if is_timeout(&error) => {}
                result => return Poll::Ready(result),
            }
        }
    }
}

impl<T: Socket> driver::Transport for Timed<'_, T> {
    fn read(&mut self, space: &mut [u8]) -> Poll<io::Result<usize>> {
        self.until(WaitedFor::Send, |socket, left| {
            socket.set_read_timeout(left)?;
            socket.read(space)
        })
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.until(WaitedFor::Receive, |socket, left| {
            socket.set_write_timeout(left)?;
            socket.write_vectored(slices)
        })
    }

    fn flush(&mut self) -> Poll<io::Result<()>> {
        self.until(WaitedFor::Receive, |socket, left| {
            socket.set_write_timeout(left)?;
            socket.flush()
        })
    }

    fn is_vectored(&self) -> bool {
        true
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn pending<R>(result: io::Result<R>) -> Poll<io::Result<R>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        result => Poll::Ready(result),
    }
}

fn would_block(result: Poll<io::Result<()>>) -> io::Result<()> {
    match result {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}
