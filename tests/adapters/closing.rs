//! Ends: orderly ones, halves, refusals, and ends in the middle of something.

use std::io::{self, ErrorKind};
use std::task::{Context, Poll, Waker};

use nested_tls::{
    Direct, ErrorKind as Tls, Event, Layer, Limits, Misuse, Nested, Phase, Plaintext, Ports, Role,
    Session,
};

use super::line::{Adapter, established, tls};
use super::talk::{Leaves, Op, Talk};
use super::transport::{Call, Fault, Manners};
use crate::support::pki::{self, Version};
use crate::support::schedule::Told;
use crate::support::setup::{Setup, Side};

fn all() -> impl Iterator<Item = (Adapter, Setup)> {
    Adapter::all().flat_map(|adapter| Setup::all().map(move |setup| (adapter, setup)))
}

fn versions() -> impl Iterator<Item = (Adapter, Setup)> {
    all().filter(|(_, setup)| setup.mix == crate::support::setup::Mix::ClientClient)
}

const GOOD: [Manners; 2] = [Manners::GOOD; 2];

/// What the rest of the transport holds for this side's machine.
fn rest_of_the_wire(talk: &mut Talk, side: Side) -> Vec<Event> {
    let mut cx = Context::from_waker(Waker::noop());
    let line = talk.speaker(side).line();
    let mut bytes = Vec::new();
    let mut buf = [0; 1000];
    while let Poll::Ready(Ok(n @ 1..)) = line.transport().raw_read(&mut cx, &mut buf) {
        bytes.extend_from_slice(&buf[..n]);
    }
    let machine = line.machine();
    machine.wire_in_from(&mut &bytes[..]).unwrap();
    std::iter::from_fn(|| machine.poll_event()).collect()
}

#[test]
fn shutdown_sends_both_close_notify_and_does_not_wait_for_the_peer() {
    for (adapter, setup) in all() {
        let _told = Told::new((adapter, setup));
        let mut talk = Talk::connected(adapter, &setup, GOOD);
        // The peer does nothing at all.
        talk.left.then(&[], &[Op::Write(100_000 / 2), Op::Shutdown]);
        talk.succeed();
        // Then it reads.
        talk.right.then(&[Op::ReadToEnd], &[]);
        talk.succeed();
        assert_eq!(talk.right.read, 50_000);
        let events = rest_of_the_wire(&mut talk, Side::Right);
        for event in [Event::PeerClosed(Layer::Inner), Event::PeerClosed(Layer::Outer)] {
            assert_eq!(events.iter().filter(|e| **e == event).count(), 1, "{event:?}: {events:?}");
        }
        // And what it still has to say is read.
        talk.right.then(&[], &[Op::Write(1000), Op::Shutdown]);
        talk.left.then(&[Op::ReadToEnd], &[]);
        talk.succeed();
        assert_eq!(talk.left.read, 1000);
    }
}

#[test]
fn close_leaves_the_transport_open() {
    for (adapter, setup) in versions() {
        let mut talk = Talk::connected(adapter, &setup, GOOD);
        talk.left.then(&[], &[Op::Close, Op::Close]);
        talk.right.then(&[Op::ReadToEnd], &[Op::Close]);
        talk.left.then(&[Op::ReadToEnd], &[]);
        talk.succeed();
        for side in Side::BOTH {
            let events = rest_of_the_wire(&mut talk, side);
            assert_eq!(events.last(), Some(&Event::Closed), "{events:?}");
            let log = talk.speaker(side).line().transport().log.clone();
            assert!(!log.lock().unwrap().contains(&Call::Shutdown));
        }
    }
}

/// At each point of the handshakes one side shuts down.
#[test]
fn shutdown_during_the_handshakes() {
    let slow = Manners { read: 97, ..Manners::GOOD };
    for (adapter, setup) in all() {
        for side in Side::BOTH {
            for attempts in (0..).step_by(3) {
                let silent = attempts == 0;
                let _told = Told::new((adapter, setup, side, attempts, silent));
                let mut talk = Talk::new(adapter, &setup, [slow; 2]);
                let one = talk.speaker(side);
                // It must end by itself, not because its stream is dropped.
                one.leaves = Leaves::Never;
                one.then(&[Op::ReadToEnd], &[Op::Attempts(attempts), Op::Shutdown]);
                let other = talk.speaker(side.other());
                other.leaves = Leaves::Never;
                if silent {
                    // As long as it takes.
                    talk.run();
                    assert!(talk.speaker(side).is_done(), "{talk:?}");
                }
                let other = talk.speaker(side.other());
                other.then(&[Op::ReadToEnd], &[Op::Handshake, Op::Write(10), Op::Shutdown]);
                talk.end();
                let was_established = match talk.speaker(side).writer() {
                    Some(Ok(())) => true,
                    Some(Err(failed)) => {
                        assert_eq!(tls(&failed.error).unwrap().kind(), &Tls::Canceled);
                        assert_eq!(failed.error.kind(), ErrorKind::ConnectionAborted);
                        false
                    }
                    None => unreachable!(),
                };
                for side in Side::BOTH {
                    let speaker = talk.speaker(side);
                    assert_eq!(speaker.error().is_none(), was_established, "{speaker:?}");
                    if let Some(error) = speaker.error() {
                        assert!(tls(error).is_some(), "{error:?}");
                    }
                }
                if was_established {
                    break;
                }
            }
        }
    }
}

#[test]
fn one_megabyte_after_the_peer_has_closed_its_half() {
    for (adapter, setup) in versions() {
        let mut talk = Talk::new(adapter, &setup, GOOD);
        talk.left.then(&[Op::ReadToEnd], &[Op::Handshake, Op::Write(100), Op::CloseWrite]);
        talk.right.then(&[Op::Handshake, Op::ReadToEnd, Op::Write(1 << 20), Op::Shutdown], &[]);
        talk.left.leaves = Leaves::Never;
        talk.succeed();
        assert_eq!((talk.left.read, talk.right.read), (1 << 20, 100));
        talk.left.then(&[], &[Op::Shutdown]);
        talk.end();
    }
}

/// A close_write before the handshakes are complete is kept for then.
#[test]
fn a_half_closed_before_the_handshakes() {
    for (adapter, setup) in versions() {
        let mut talk = Talk::new(adapter, &setup, GOOD);
        talk.left.then(&[Op::ReadToEnd], &[Op::CloseWrite, Op::Handshake, Op::Flush]);
        talk.right.then(&[Op::ReadToEnd], &[Op::Write(1000), Op::Shutdown]);
        talk.succeed();
        assert_eq!((talk.left.read, talk.right.read), (1000, 0));
    }
}

#[test]
fn writing_after_the_close_is_an_error() {
    for (adapter, setup) in versions() {
        for close in [Op::CloseWrite, Op::Close, Op::Shutdown] {
            let mut talk = Talk::connected(adapter, &setup, GOOD);
            talk.left.then(&[], &[close, Op::Write(1)]);
            assert!(talk.run());
            let error = talk.left.error().unwrap();
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
            assert_eq!(tls(error).unwrap().kind(), &Tls::Misuse(Misuse::WriteAfterClose));
        }
    }
}

/// The peer is gone without a word.
#[test]
fn an_early_end_is_told_after_the_data() {
    for (adapter, setup) in all() {
        let mut talk = Talk::connected(adapter, &setup, GOOD);
        talk.left.leaves = Leaves::AtOnce;
        talk.left.then(&[], &[Op::Write(30_000), Op::Flush]);
        talk.run();
        assert!(talk.left.line.is_none());
        talk.right.then(&[Op::ReadToEnd], &[]);
        talk.end();
        assert_eq!(talk.right.read, 30_000);
        let error = talk.right.error().unwrap();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        let error = tls(error).unwrap();
        assert_eq!((error.layer(), error.kind()), (Layer::Inner, &Tls::Truncated));
        // And ever after.
        for op in [Op::ReadToEnd, Op::Write(1), Op::Flush, Op::Handshake, Op::Close, Op::Shutdown] {
            talk.right.then(&[], &[op]);
            talk.end();
            let error = talk.right.error().unwrap();
            assert_eq!(tls(error).unwrap().kind(), &Tls::Truncated, "{op:?}");
        }
    }
}

/// What came before a failure is read, on either layer, before it is told.
#[test]
fn data_before_a_failure_is_read() {
    for (adapter, setup) in versions() {
        let _told = Told::new((adapter, setup));
        let mut talk = Talk::connected(adapter, &setup, GOOD);
        talk.left.then(&[], &[Op::Write(5000), Op::Flush]);
        talk.succeed();
        let mut cx = Context::from_waker(Waker::noop());
        let junk = io::IoSlice::new(b"\x17\x03\x03\x00\x20this is no ciphertext of any sort..");
        assert!(talk.left.line().transport().raw_write(&mut cx, &[junk]).is_ready());
        talk.right.then(&[Op::ReadToEnd], &[]);
        talk.left.then(&[Op::ReadToEnd], &[]);
        talk.end();
        assert_eq!(talk.right.read, 5000);
        let error = tls(talk.right.error().unwrap()).unwrap().clone();
        assert_eq!(
            (error.layer(), error.kind()),
            (Layer::Outer, &Tls::Tls(rustls::Error::DecryptError))
        );
        // The reader itself has told the peer.
        let told = tls(talk.left.error().unwrap()).unwrap();
        assert_eq!(told.layer(), Layer::Outer);
        assert_eq!(told.alert_received(), Some(rustls::AlertDescription::BadRecordMac));
    }
}

/// The alert of a failure waits while the transport takes nothing, and shutdown sends it.
#[test]
fn shutdown_sends_the_alert_that_the_reader_could_not() {
    for (adapter, setup) in versions() {
        let _told = Told::new((adapter, setup));
        let mut talk = Talk::connected(adapter, &setup, GOOD);
        // Until nothing fits any more.
        talk.right.then(&[], &[Op::Write(1 << 20)]);
        assert!(!talk.run());
        let mut cx = Context::from_waker(Waker::noop());
        let junk = io::IoSlice::new(b"\x17\x03\x03\x00\x20this is no ciphertext of any sort..");
        assert!(talk.left.line().transport().raw_write(&mut cx, &[junk]).is_ready());
        talk.right.then(&[Op::ReadToEnd], &[]);
        talk.run();
        // The writer is told, too, without having to wait for the transport.
        for result in [talk.right.reader(), talk.right.writer()] {
            let failed = result.unwrap().as_ref().unwrap_err();
            assert_eq!(tls(&failed.error).unwrap().kind(), &Tls::Tls(rustls::Error::DecryptError));
        }
        talk.left.then(&[Op::ReadToEnd], &[]);
        talk.right.then(&[], &[Op::Shutdown]);
        talk.end();
        let told = tls(talk.left.error().unwrap()).unwrap();
        assert_eq!(told.alert_received(), Some(rustls::AlertDescription::BadRecordMac));
    }
}

/// The transport is shut even if TLS has failed, or could not say its last words.
#[test]
fn shutdown_reaches_the_transport_whatever_happens() {
    for (adapter, setup) in versions() {
        for fault in [Fault::Error(ErrorKind::TimedOut), Fault::Zero] {
            let mut talk = Talk::connected(adapter, &setup, GOOD);
            let transport = talk.left.line().transport();
            let calls = transport.log.lock().unwrap().len();
            transport.fault = Some((calls, fault));
            talk.left.then(&[], &[Op::Shutdown]);
            talk.end();
            assert!(talk.left.error().is_some());
            let log = talk.left.line().transport().log.clone();
            assert_eq!(log.lock().unwrap().last(), Some(&Call::Shutdown));
        }
        let mut talk = Talk::connected(adapter, &setup, GOOD);
        talk.right.line = None;
        talk.left.then(&[Op::ReadToEnd], &[]);
        talk.end();
        talk.left.then(&[], &[Op::Shutdown, Op::Shutdown]);
        talk.end();
        assert_eq!(tls(talk.left.error().unwrap()).unwrap().kind(), &Tls::Truncated);
        let log = talk.left.line().transport().log.clone();
        assert_eq!(log.lock().unwrap().last(), Some(&Call::Shutdown));
    }
}

/// How far this side's inner close_notify is when the peer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Farewell {
    Unsaid,
    Unwritten,
    Unflushed,
    Heard,
}

/// The left side has read all; the right one has said all, and goes when it `leaves`.
fn farewell(adapter: Adapter, setup: &Setup, farewell: Farewell, leaves: Leaves) -> Talk {
    let mut talk = Talk::connected(adapter, setup, GOOD);
    talk.left.then(&[], &[Op::Write(10), Op::Flush]);
    talk.succeed();
    match farewell {
        Farewell::Unsaid => {}
        Farewell::Unwritten => talk.left.line().machine().close_write(),
        Farewell::Unflushed => {
            fail_call(&mut talk, 1, ErrorKind::TimedOut);
            talk.left.then(&[], &[Op::CloseWrite]);
            talk.end();
            assert_eq!(talk.left.error().map(io::Error::kind), Some(ErrorKind::TimedOut));
        }
        Farewell::Heard => {
            talk.left.then(&[], &[Op::CloseWrite]);
            talk.right.then(&[Op::ReadToEnd], &[]);
        }
    }
    talk.left.then(&[Op::ReadToEnd], &[]);
    talk.right.then(&[], &[Op::Write(10), Op::Shutdown]);
    talk.right.leaves = leaves;
    talk.end();
    assert_eq!(talk.left.read, 10);
    talk
}

/// The left transport's call after `skipped` more ones fails.
fn fail_call(talk: &mut Talk, skipped: usize, kind: ErrorKind) {
    let transport = talk.left.line().transport();
    let calls = transport.log.lock().unwrap().len();
    transport.fault = Some((calls + skipped, Fault::Error(kind)));
}

/// A peer that has said all and was told all may be gone before the outer close_notify comes.
#[test]
fn the_outer_close_is_a_courtesy_between_sides_that_are_done() {
    for (adapter, setup) in versions() {
        let error_of = |mut talk: Talk| {
            talk.left.then(&[], &[Op::Shutdown]);
            talk.end();
            talk.left.error().map(io::Error::kind)
        };
        for (how, expected) in [
            (Farewell::Unsaid, Some(ErrorKind::BrokenPipe)),
            (Farewell::Unwritten, Some(ErrorKind::BrokenPipe)),
            (Farewell::Unflushed, Some(ErrorKind::BrokenPipe)),
            (Farewell::Heard, None),
        ] {
            let _told = Told::new((adapter, setup, how));
            assert_eq!(error_of(farewell(adapter, &setup, how, Leaves::AtOnce)), expected);
        }
        // Only a hang-up is excused.
        let mut talk = farewell(adapter, &setup, Farewell::Heard, Leaves::AtOnce);
        fail_call(&mut talk, 0, ErrorKind::TimedOut);
        assert_eq!(error_of(talk), Some(ErrorKind::TimedOut));
        // Which may come as late as when the transport is shut.
        let mut talk = farewell(adapter, &setup, Farewell::Heard, Leaves::Never);
        talk.left.then(&[], &[Op::Close]);
        talk.succeed();
        fail_call(&mut talk, 0, ErrorKind::NotConnected);
        assert_eq!(error_of(talk), None);
    }
}

/// What one side finds wrong with the other.
#[derive(Clone, Copy, Debug)]
pub enum Wrong {
    NoCertificate,
    Name,
}

fn roles(pki: &'static pki::Pki, version: Version, wrong: Option<Wrong>) -> (Role, Role) {
    let server = Role::server(pki.server(version));
    let client = match wrong {
        None => Role::client(pki.client(version), pki.name()),
        Some(Wrong::NoCertificate) => Role::client(pki.anonymous_client(version), pki.name()),
        Some(Wrong::Name) => Role::client(pki.client(version), "other.test".try_into().unwrap()),
    };
    (client, server)
}

/// A client and a server with something wrong on one layer.
pub fn unlikely_pair(version: Version, layer: Layer, wrong: Wrong) -> [Nested; 2] {
    let wrong = |this| (this == layer).then_some(wrong);
    let outer = roles(pki::outer(), version, wrong(Layer::Outer));
    let inner = roles(pki::inner(), version, wrong(Layer::Inner));
    [(outer.0, inner.0), (outer.1, inner.1)].map(|(outer, inner)| {
        Session::new(outer, Limits::default()).unwrap().nest(inner, Direct).unwrap()
    })
}

#[test]
fn a_refusal_reaches_the_refused() {
    for adapter in Adapter::all() {
        for version in Version::ALL {
            for layer in [Layer::Outer, Layer::Inner] {
                for wrong in [Wrong::NoCertificate, Wrong::Name] {
                    for manners in [
                        Manners::GOOD,
                        Manners { lazy: true, read: 100, hesitant: true, ..Manners::GOOD },
                    ] {
                        let _told = Told::new((adapter, version, layer, wrong, manners));
                        let machines = unlikely_pair(version, layer, wrong);
                        let mut talk = Talk::with(adapter, 1, machines, [manners; 2]);
                        for side in Side::BOTH {
                            let speaker = talk.speaker(side);
                            // As who gives up at once, and drops everything.
                            speaker.leaves = Leaves::AtOnce;
                            speaker.then(&[Op::Handshake, Op::ReadToEnd], &[]);
                        }
                        talk.end();
                        let (refuser, refused) = match wrong {
                            Wrong::NoCertificate => (&talk.right, &talk.left),
                            Wrong::Name => (&talk.left, &talk.right),
                        };
                        let said = tls(refuser.error().unwrap()).unwrap();
                        assert_eq!(said.layer(), layer);
                        assert!(said.alert_received().is_none(), "{said}");
                        let heard = tls(refused.error().unwrap()).unwrap();
                        assert_eq!(heard.layer(), layer);
                        assert!(heard.alert_received().is_some(), "{heard}");
                        assert_eq!(refused.error().unwrap().kind(), ErrorKind::ConnectionAborted);
                    }
                }
            }
        }
    }
}

/// A writer during the handshakes sees the refusal, too, not just that the transport broke.
#[test]
fn a_refusal_reaches_a_writer_behind_a_broken_transport() {
    for adapter in Adapter::all() {
        for version in Version::ALL {
            let _told = Told::new((adapter, version));
            let machines = unlikely_pair(version, Layer::Outer, Wrong::NoCertificate);
            let mut talk = Talk::with(adapter, 1, machines, GOOD);
            talk.right.leaves = Leaves::AtOnce;
            talk.right.then(&[Op::Handshake], &[]);
            talk.left.then(&[], &[Op::Write(1), Op::Flush]);
            talk.end();
            let error = tls(talk.left.error().unwrap()).unwrap();
            assert!(error.alert_received().is_some());
        }
    }
}

/// Nobody waits for the last word of a peer that has said none.
#[test]
fn a_broken_transport_is_told_at_once_during_the_handshakes() {
    for (adapter, setup) in versions() {
        for kind in [ErrorKind::BrokenPipe, ErrorKind::TimedOut] {
            for (reader, writer) in [
                (&[][..], &[Op::Handshake][..]),
                (&[], &[Op::Write(1), Op::Flush]),
                (&[Op::ReadToEnd], &[]),
            ] {
                let _told = Told::new((adapter, setup, kind, reader, writer));
                let mut talk = Talk::new(adapter, &setup, GOOD);
                fail_call(&mut talk, 0, kind);
                talk.left.then(reader, writer);
                talk.run();
                assert_eq!(talk.left.error().map(io::Error::kind), Some(kind));
            }
        }
    }
}

#[test]
fn the_parts_of_a_stream_go_on_without_it() {
    for (adapter, setup) in versions() {
        let mut talk = Talk::connected(adapter, &setup, GOOD);
        talk.left.then(&[], &[Op::Write(1000), Op::Flush]);
        talk.succeed();
        assert!(established(talk.right.line()));
        let (mut machine, mut end) = talk.right.line.take().unwrap().into_parts();
        assert_eq!(machine.phase(), Phase::Traffic);
        let mut cx = Context::from_waker(Waker::noop());
        let mut read = 0;
        loop {
            if let Plaintext::Bytes(bytes) = machine.plain_out() {
                read += bytes.len();
                let n = bytes.len();
                machine.plain_consumed(n).unwrap();
            }
            let Some(space) = machine.wire_in() else { break };
            match end.raw_read(&mut cx, space) {
                Poll::Ready(Ok(n @ 1..)) => machine.wire_received(n).unwrap(),
                _ => break,
            }
        }
        assert_eq!(read, 1000);
    }
}
