//! What tokio's world builds on a stream, and who is woken.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_core::Stream as _;
use futures_sink::Sink;
use nested_tls::Nested;
use nested_tls::adapter::tokio::Stream;
use tokio::io::{
    AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf,
};
use tokio_util::codec::{Framed, LinesCodec};

use super::faults::turned;
use super::line::Adapter;
use super::talk::{Op, Talk};
use super::transport::{End, Manners, pair};
use crate::support::pki::Version;
use crate::support::setup::{Mix, Setup, Side};

type Duplex = Stream<Nested, DuplexStream>;

/// Two streams over so many bytes of pipe.
fn streams(setup: &Setup, capacity: usize) -> (Duplex, Duplex) {
    let (one, other) = tokio::io::duplex(capacity);
    let machine = |side| setup.nested(side).ports;
    (Stream::new(machine(Side::Left), one), Stream::new(machine(Side::Right), other))
}

#[tokio::test]
async fn copy_bidirectional_passes_half_closes_on() {
    for setup in turned(0) {
        // Client, two streams with a copy between them, server.
        let (mut client, mut proxy_in) = streams(&setup, 1000);
        let (mut proxy_out, mut server) = streams(&setup, 300);
        let proxy = tokio::spawn(async move {
            tokio::io::copy_bidirectional(&mut proxy_in, &mut proxy_out).await.unwrap()
        });
        let serving = tokio::spawn(async move {
            let mut said = Vec::new();
            server.read_to_end(&mut said).await.unwrap();
            server.write_all(&vec![1; said.len() * 2]).await.unwrap();
            server.shutdown().await.unwrap();
            server
        });
        client.write_all(&vec![2; 50_000]).await.unwrap();
        client.close_write().await.unwrap();
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard.len(), 100_000);
        client.shutdown().await.unwrap();
        assert_eq!(proxy.await.unwrap(), (50_000, 100_000));
        serving.await.unwrap();
    }
}

#[tokio::test]
async fn framed_lines() {
    for setup in turned(1) {
        let (client, mut server) = streams(&setup, 100);
        let serving = tokio::spawn(async move {
            let mut line = String::new();
            while server.read_line(&mut line).await.unwrap() > 0 {
                server.write_all(line.as_bytes()).await.unwrap();
                server.flush().await.unwrap();
                line.clear();
            }
            server.shutdown().await.unwrap();
            server
        });
        let mut framed = pin!(Framed::new(client, LinesCodec::new()));
        for n in 0..10 {
            let line = format!("{n}: {}", "x".repeat(n * 50));
            poll_fn(|cx| Sink::<String>::poll_ready(framed.as_mut(), cx)).await.unwrap();
            framed.as_mut().start_send(line.clone()).unwrap();
            poll_fn(|cx| Sink::<String>::poll_flush(framed.as_mut(), cx)).await.unwrap();
            let heard = poll_fn(|cx| framed.as_mut().poll_next(cx)).await;
            assert_eq!(heard.unwrap().unwrap(), line);
        }
        poll_fn(|cx| Sink::<String>::poll_close(framed.as_mut(), cx)).await.unwrap();
        assert!(poll_fn(|cx| framed.as_mut().poll_next(cx)).await.is_none());
        serving.await.unwrap();
    }
}

/// A handshake under a time limit that it can't keep is gone on with under the next one.
#[tokio::test]
async fn a_handshake_that_timed_out_goes_on() {
    for setup in Setup::all() {
        let (mut one, mut other) = streams(&setup, 50);
        let mut handshakes = 0;
        // Each side goes on only while the other one does not.
        while !(established(&one) && established(&other)) {
            for stream in [&mut one, &mut other] {
                let _ = tokio::time::timeout(Duration::ZERO, stream.handshake()).await;
                handshakes += 1;
            }
        }
        assert!(handshakes > 20);
        let writing = tokio::spawn(async move {
            one.write_all(&[7; 1000]).await.unwrap();
            one.shutdown().await.unwrap();
            one
        });
        let mut heard = Vec::new();
        other.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, [7; 1000]);
        writing.await.unwrap();
    }
}

fn established(stream: &Duplex) -> bool {
    use nested_tls::{Phase, Ports};
    stream.machine().phase() == Phase::Traffic
}

/// Counts how often it is woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Count {
    fn take(&self) -> usize {
        self.0.swap(0, Ordering::Relaxed)
    }
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn counted() -> (Arc<Count>, Waker) {
    let count = Arc::new(Count::default());
    (count.clone(), Waker::from(count))
}

type Fake = Stream<Nested, End>;

fn poll_read(stream: &mut Fake, waker: &Waker) -> Poll<usize> {
    let mut space = [0; 100];
    let mut buf = ReadBuf::new(&mut space);
    let read = Pin::new(stream).poll_read(&mut Context::from_waker(waker), &mut buf);
    read.map(|result| result.map(|()| buf.filled().len()).unwrap())
}

fn poll_write(stream: &mut Fake, waker: &Waker) -> Poll<usize> {
    let write = Pin::new(stream).poll_write(&mut Context::from_waker(waker), &[3; 5000]);
    write.map(Result::unwrap)
}

fn poll_flush(stream: &mut Fake, waker: &Waker) -> Poll<()> {
    Pin::new(stream).poll_flush(&mut Context::from_waker(waker)).map(Result::unwrap)
}

fn poll_handshake(stream: &mut Fake, waker: &Waker) -> Poll<()> {
    use std::future::Future;
    pin!(stream.handshake()).poll(&mut Context::from_waker(waker)).map(Result::unwrap)
}

/// Two established streams over pipes of this capacity.
fn fakes(capacity: usize) -> (Fake, Fake) {
    let setup =
        Setup { tickets: 0, ..Setup::new(Version::Tls13, Version::Tls13, Mix::ClientClient) };
    let manners = Manners { capacity, ..Manners::GOOD };
    let (one, other, _) = pair(manners, manners);
    let machine = |side| setup.nested(side).ports;
    let (mut one, mut other) =
        (Stream::new(machine(Side::Left), one), Stream::new(machine(Side::Right), other));
    while poll_handshake(&mut one, Waker::noop()).is_pending()
        | poll_handshake(&mut other, Waker::noop()).is_pending()
    {}
    (one, other)
}

#[test]
fn the_last_caller_is_woken() {
    // To read.
    let (mut one, mut other) = fakes(1000);
    let ((first, first_waker), (last, last_waker)) = (counted(), counted());
    assert!(poll_read(&mut one, &first_waker).is_pending());
    assert!(poll_read(&mut one, &last_waker).is_pending());
    assert!(poll_write(&mut other, Waker::noop()).is_ready());
    assert_eq!((first.take(), last.take()), (0, 1));

    // To write, and to flush: until the peer has read it all.
    type Act = fn(&mut Fake, &Waker) -> bool;
    let write: Act = |stream, waker| poll_write(stream, waker).is_pending();
    let flush: Act = |stream, waker| poll_flush(stream, waker).is_pending();
    let shutdown: Act = |stream, waker| {
        Pin::new(stream).poll_shutdown(&mut Context::from_waker(waker)).is_pending()
    };
    for act in [write, flush, shutdown] {
        let (mut one, mut other) = fakes(1000);
        while poll_write(&mut one, Waker::noop()).is_ready() {}
        assert!(act(&mut one, &first_waker));
        assert!(act(&mut one, &last_waker));
        assert!(poll_read(&mut other, Waker::noop()).is_pending());
        assert_eq!((first.take(), last.take()), (0, 1));
    }

    // During the handshakes.
    let setup = Setup::default();
    let (end, peer, _) = pair(Manners::GOOD, Manners::GOOD);
    let mut server = Stream::new(setup.nested(Side::Right).ports, end);
    assert!(poll_handshake(&mut server, &first_waker).is_pending());
    assert!(poll_handshake(&mut server, &last_waker).is_pending());
    drop(peer);
    assert_eq!((first.take(), last.take()), (0, 1));
}

/// A reader and a writer in different tasks are both woken, each by its own; and not by the other's.
#[test]
fn both_halves_are_woken() {
    let ((reader, reader_waker), (writer, writer_waker)) = (counted(), counted());
    for reader_first in [false, true] {
        let (mut one, mut other) = fakes(1000);
        // Nothing of the run before.
        let _ = (reader.take(), writer.take());
        if reader_first {
            assert!(poll_read(&mut one, &reader_waker).is_pending());
        }
        while poll_write(&mut one, &writer_waker).is_ready() {}
        if !reader_first {
            assert!(poll_read(&mut one, &reader_waker).is_pending());
        }
        assert!(poll_read(&mut other, Waker::noop()).is_pending());
        assert_eq!((reader.take(), writer.take()), (0, 1), "room to write");
        assert!(poll_write(&mut one, &writer_waker).is_pending());
        assert!(poll_write(&mut other, Waker::noop()).is_ready());
        assert_eq!(reader.take(), 1, "something to read");
    }
}

/// A reader whose answer is stuck waits for the transport beside the writer: both are woken.
#[test]
fn an_answer_that_is_stuck_takes_no_waker_away() {
    use nested_tls::Layer;
    let ((reader, reader_waker), (writer, writer_waker)) = (counted(), counted());
    let (mut one, mut other) = fakes(1000);
    assert!(poll_write(&mut one, &writer_waker).is_ready());
    assert!(poll_flush(&mut one, &writer_waker).is_pending());
    other.machine_mut().update_keys(Layer::Outer, true).unwrap();
    assert!(poll_flush(&mut other, Waker::noop()).is_ready());
    assert!(poll_read(&mut one, &reader_waker).is_pending());
    while poll_read(&mut other, Waker::noop()).is_pending() && writer.take() == 0 {
        assert!(poll_flush(&mut one, Waker::noop()).is_pending());
    }
    let _ = reader.take();
    // What is left of it still leaves.
    let _ = poll_flush(&mut one, &writer_waker);
    for _ in 0..100 {
        let _ = poll_read(&mut other, Waker::noop());
        let _ = poll_flush(&mut one, &writer_waker);
    }
    assert!(poll_flush(&mut one, &writer_waker).is_ready());
}

/// Vectored writes are true: all slices are taken by one call, and leave together.
#[test]
fn vectored_writes_leave_in_one_record() {
    use nested_tls::{Layer, Ports};
    use std::io::IoSlice;
    for adapter in Adapter::all() {
        let mut talk = Talk::connected(adapter, &Setup::default(), [Manners::GOOD; 2]);
        let mut cx = Context::from_waker(Waker::noop());
        let parts = [b"one".as_slice(), b"", b"two", b"three"].map(IoSlice::new);
        let line = talk.left.line();
        let before = line.machine().layer(Layer::Outer).unwrap().records_out;
        assert!(matches!(line.write(&mut cx, &parts), Poll::Ready(Ok(11))));
        assert_eq!(line.machine().layer(Layer::Outer).unwrap().records_out, before + 1);
        let mut buf = [0; 20];
        assert!(matches!(talk.right.line().read(&mut cx, &mut buf), Poll::Ready(Ok(11))));
        assert_eq!(&buf[..11], b"onetwothree");
        talk.left.then(&[], &[Op::Flush]);
        talk.succeed();
    }
}
