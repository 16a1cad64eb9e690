//! Over real TCP: threads for the blocking adapter, tasks for the asynchronous ones.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nested_tls::adapter::{blocking, tokio as asynchronous};
use nested_tls::{Layer, Nested, Phase, Ports};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::closing::{Wrong, unlikely_pair};
use super::faults::turned;
use super::line::tls;
use super::talk::words;
use crate::support::pki::Version;
use crate::support::schedule::Told;
use crate::support::setup::{Setup, Side};

fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let other = listener.accept().unwrap().0;
    for socket in [&one, &other] {
        socket.set_nodelay(true).unwrap();
    }
    (one, other)
}

fn asynchronous_sockets() -> (tokio::net::TcpStream, tokio::net::TcpStream) {
    let (one, other) = sockets();
    let socket = |socket: TcpStream| {
        socket.set_nonblocking(true).unwrap();
        tokio::net::TcpStream::from_std(socket).unwrap()
    };
    (socket(one), socket(other))
}

fn machines(setup: &Setup) -> (Nested, Nested) {
    (setup.nested(Side::Left).ports, setup.nested(Side::Right).ports)
}

fn saying(side: Side, len: usize) -> Vec<u8> {
    words(side, 0, usize::MAX).iter().copied().cycle().take(len).collect()
}

const LEN: usize = 150_000;

#[test]
fn a_blocking_echo_of_half_closed_sides() {
    for setup in Setup::all() {
        let _told = Told::new(setup);
        let (left, right) = machines(&setup);
        let (one, other) = sockets();
        let echo = thread::spawn(move || {
            let mut stream = blocking::Stream::connect(right, other).unwrap();
            let mut said = Vec::new();
            stream.read_to_end(&mut said).unwrap();
            assert_eq!(io::copy(&mut &said[..], &mut stream).unwrap() as usize, LEN);
            stream.shutdown().unwrap();
            let (machine, mut socket) = stream.into_parts();
            assert!(machine.failure().is_none());
            io::copy(&mut socket, &mut io::sink()).unwrap();
        });
        let mut stream = blocking::Stream::connect(left, one).unwrap();
        stream.write_all(&saying(Side::Left, LEN)).unwrap();
        stream.close_write().unwrap();
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).unwrap();
        assert!(heard == saying(Side::Left, LEN));
        stream.shutdown().unwrap();
        echo.join().unwrap();
    }
}

#[tokio::test]
async fn an_asynchronous_echo_in_both_directions_at_once() {
    for setup in Setup::all() {
        let _told = Told::new(setup);
        let (left, right) = machines(&setup);
        let (one, other) = asynchronous_sockets();
        let echo = tokio::spawn(async move {
            let stream = asynchronous::Stream::connect(right, other).await.unwrap();
            let (mut reader, mut writer) = tokio::io::split(stream);
            assert_eq!(tokio::io::copy(&mut reader, &mut writer).await.unwrap() as usize, LEN);
            writer.shutdown().await.unwrap();
        });
        let stream = asynchronous::Stream::connect(left, one).await.unwrap();
        let (mut reader, mut writer) = tokio::io::split(stream);
        let writing = tokio::spawn(async move {
            writer.write_all(&saying(Side::Left, LEN)).await.unwrap();
            writer.shutdown().await.unwrap();
        });
        let mut heard = Vec::new();
        reader.read_to_end(&mut heard).await.unwrap();
        assert!(heard == saying(Side::Left, LEN));
        writing.await.unwrap();
        echo.await.unwrap();
    }
}

#[cfg(feature = "futures-io")]
#[test]
fn an_echo_on_smol_in_both_directions_at_once() {
    use nested_tls::adapter::futures_io::Stream;
    use smol::future::zip;
    use smol::io::{AsyncReadExt, AsyncWriteExt, copy, split};

    for setup in Setup::all() {
        let _told = Told::new(setup);
        let (left, right) = machines(&setup);
        let (one, other) = sockets();
        let [one, other] = [one, other].map(|socket| smol::Async::new(socket).unwrap());
        let echo = async {
            let (reader, mut writer) = split(Stream::connect(right, other).await.unwrap());
            assert_eq!(copy(reader, &mut writer).await.unwrap() as usize, LEN);
            writer.close().await.unwrap();
        };
        let ask = async {
            let (mut reader, mut writer) = split(Stream::connect(left, one).await.unwrap());
            let write = async {
                writer.write_all(&saying(Side::Left, LEN)).await.unwrap();
                writer.close().await.unwrap();
            };
            let mut heard = Vec::new();
            let (read, ()) = zip(reader.read_to_end(&mut heard), write).await;
            assert_eq!(read.unwrap(), LEN);
            assert!(heard == saying(Side::Left, LEN));
        };
        smol::block_on(zip(ask, echo));
    }
}

/// Lines both ways, by everything that `std::io` builds on a stream.
#[test]
fn lines() {
    for setup in turned(1) {
        let (left, right) = machines(&setup);
        let (one, other) = sockets();
        let server = thread::spawn(move || {
            let mut stream = blocking::Stream::new(right, other);
            let mut line = String::new();
            let mut count = 0;
            // The handshakes come with the first line.
            while stream.read_line(&mut line).unwrap() > 0 {
                stream.write_all(line.as_bytes()).unwrap();
                stream.flush().unwrap();
                line.clear();
                count += 1;
            }
            stream.shutdown().unwrap();
            count
        });
        let mut stream = blocking::Stream::new(left, one);
        for n in 0..20 {
            writeln!(stream, "line {n}").unwrap();
            stream.flush().unwrap();
            let mut line = String::new();
            BufReader::with_capacity(8, &mut stream).read_line(&mut line).unwrap();
            assert_eq!(line, format!("line {n}\n"));
        }
        stream.close_write().unwrap();
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
        assert_eq!(server.join().unwrap(), 20);
    }
}

/// Who is refused is told why, although the refuser drops its socket at once.
#[test]
fn a_refused_handshake_gives_the_socket_back_and_has_said_why() {
    for version in Version::ALL {
        for layer in [Layer::Outer, Layer::Inner] {
            for wrong in [Wrong::NoCertificate, Wrong::Name] {
                let _told = Told::new((version, layer, wrong));
                let [client, server] = unlikely_pair(version, layer, wrong);
                let (one, other) = sockets();
                let accept = thread::spawn(move || speak(server, other));
                let said = speak(client, one);
                let heard = accept.join().unwrap();
                let (refuser, refused) = match wrong {
                    Wrong::NoCertificate => (heard, said),
                    Wrong::Name => (said, heard),
                };
                let refusal = tls(&refuser).unwrap();
                assert_eq!(refusal.layer(), layer);
                assert!(refusal.alert_received().is_none());
                let refusal = tls(&refused).unwrap();
                assert_eq!(refusal.layer(), layer);
                assert!(refusal.alert_received().is_some(), "{refusal}");
            }
        }
    }
}

/// How a conversation fails.
fn speak(machine: Nested, socket: TcpStream) -> io::Error {
    match blocking::Stream::connect(machine, socket) {
        Err(failed) => {
            assert_eq!(failed.machine.phase(), Phase::Failed);
            // The transport is whole: the peer's end can be seen on it.
            let mut socket = failed.transport;
            let _ = socket.shutdown(Shutdown::Write);
            let _ = io::copy(&mut socket, &mut io::sink());
            failed.error
        }
        // In TLS 1.3 a client is done before its server has judged it.
        Ok(mut stream) => stream.read(&mut [0; 8]).unwrap_err(),
    }
}

#[test]
fn shutdown_during_the_handshakes_of_threads() {
    for setup in Setup::all() {
        let _told = Told::new(setup);
        for side in Side::BOTH {
            let (left, right) = machines(&setup);
            let (one, other) = sockets();
            let (quits, stays) = if side == Side::Left { (left, right) } else { (right, left) };
            let waiting = thread::spawn(move || {
                let failed = blocking::Stream::connect(stays, other).unwrap_err();
                assert_eq!(failed.error.kind(), ErrorKind::UnexpectedEof);
                assert!(tls(&failed.error).is_some());
            });
            let mut stream = blocking::Stream::new(quits, one);
            let error = stream.shutdown().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
            waiting.join().unwrap();
        }
    }
}

/// A socket on which nothing leaves after so many writes, or everything in single bytes.
struct Muted<'a> {
    socket: &'a TcpStream,
    writes: &'a AtomicUsize,
    slow: Option<Duration>,
}

impl Read for Muted<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.read(buf)
    }
}

impl Write for Muted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(pause) = self.slow {
            for byte in bytes {
                self.socket.write_all(&[*byte])?;
                thread::sleep(pause);
            }
            return Ok(bytes.len());
        }
        let left = self.writes.load(Ordering::Relaxed);
        if left == 0 {
            return Ok(bytes.len());
        }
        self.writes.store(left - 1, Ordering::Relaxed);
        self.socket.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

/// `side` gives a peer that falls silent after so many writes, or is as slow, so much time. Returns
/// how many of the writes were used, too.
fn deadline(
    setup: &Setup,
    side: Side,
    writes: usize,
    slow: Option<Duration>,
    limit: Duration,
) -> (io::Result<()>, usize) {
    let (left, right) = machines(setup);
    let (one, other) = sockets();
    let (mine, theirs) = if side == Side::Left { (left, right) } else { (right, left) };
    let left = AtomicUsize::new(writes);
    let result = thread::scope(|scope| {
        scope.spawn(|| {
            let muted = Muted { socket: &other, writes: &left, slow };
            let _ = blocking::Stream::connect(theirs, muted);
            let _ = io::copy(&mut &other, &mut io::sink());
        });
        let mut stream = blocking::Stream::new(mine, one);
        let own = Some(Duration::from_secs(7));
        stream.transport().set_read_timeout(own).unwrap();
        let started = Instant::now();
        let result = stream.handshake_within(limit);
        assert_eq!(stream.transport().read_timeout().unwrap(), own);
        assert_eq!(stream.transport().write_timeout().unwrap(), None);
        if let Err(error) = &result {
            assert!(started.elapsed() >= limit, "too early: {error:?}");
            assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
            let late = error.get_ref().unwrap().downcast_ref::<blocking::TimedOut>().unwrap();
            assert_eq!(late.limit, limit);
        }
        result
    });
    (result, writes - left.load(Ordering::Relaxed))
}

#[test]
fn a_handshake_that_stalls_ends_in_time() {
    for setup in turned(2) {
        for side in Side::BOTH {
            let _told = Told::new((setup, side));
            let (result, used) = deadline(&setup, side, 1000, None, Duration::from_secs(20));
            result.unwrap();
            assert!(used >= 2);
            for writes in 0..used {
                let limit = Duration::from_millis(50);
                let (result, _) = deadline(&setup, side, writes, None, limit);
                // How the flights fall into writes is not the same each time, but it is never one.
                assert!(result.is_err() || writes > 1, "complete after {writes} writes");
            }
        }
    }
}

/// The time is for all of it, whatever each read takes.
#[test]
fn a_handshake_in_single_bytes_ends_in_time() {
    let setup = Setup::default();
    let slow = Some(Duration::from_millis(1));
    let (result, _) = deadline(&setup, Side::Left, 0, slow, Duration::from_millis(100));
    assert!(result.is_err());
}

/// A time limit of one's own on reading is `WouldBlock`, and loses nothing.
#[test]
fn a_timeout_of_the_socket_is_no_failure() {
    for setup in turned(3) {
        let (left, right) = machines(&setup);
        let (one, other) = sockets();
        one.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let (go, wait) = std::sync::mpsc::channel();
        let server = thread::spawn(move || {
            let mut stream = blocking::Stream::connect(right, other).unwrap();
            wait.recv().unwrap();
            stream.write_all(b"late").unwrap();
            stream.shutdown().unwrap();
        });
        let mut stream = blocking::Stream::new(left, one);
        let mut again = |act: &mut dyn FnMut(&mut blocking::Stream<_, _>) -> io::Result<usize>| {
            loop {
                match act(&mut stream) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    result => return result.unwrap(),
                }
            }
        };
        again(&mut |stream| stream.handshake().map(|()| 0));
        let mut buf = [0; 10];
        let mut tries = 0;
        let n = again(&mut |stream| {
            tries += 1;
            if tries == 2 {
                go.send(()).unwrap();
            }
            stream.read(&mut buf)
        });
        assert!(tries > 1);
        assert_eq!(&buf[..n], b"late");
        server.join().unwrap();
    }
}
