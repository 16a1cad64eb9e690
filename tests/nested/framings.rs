//! Framings between the layers: messages, end marks, nonsense.

use std::cell::Cell;

use nested_tls::*;

use crate::support::framings::{Bridge, Prefixed};
use crate::support::pair::Pair;
use crate::support::party::{Machine, Party};
use crate::support::schedule::{Bytes, Coalesced, Random, Schedule, Told, Whole};
use crate::support::setup::{Setup, Side};

type Framed<F> = Pair<Machine<Nested<F>>, Machine<Nested<F>>>;

fn connected<F: Framing>(setup: &Setup, framing: fn() -> F) -> Framed<F> {
    let mut pair =
        Pair::new(setup.nested_in(Side::Left, framing()), setup.nested_in(Side::Right, framing()));
    pair.settle();
    pair.assert_established();
    pair
}

/// A machine with this framing on the left, and an outer session of the test's own on the right,
/// both inside the outer layer.
fn facing<F: Framing>(framing: F, limits: Limits) -> (Machine<Nested<F>>, Machine<Session>) {
    let setup = Setup { limits, ..Setup::default() };
    let right = Setup::default().session(Side::Right);
    let mut pair = Pair::new(setup.nested_in(Side::Left, framing), right);
    pair.settle();
    (pair.left, pair.right)
}

/// Everything of `from` to `to`.
fn pass(from: &mut dyn Party, to: &mut dyn Party) {
    while let bytes @ [_, ..] = &from.transmit(usize::MAX)[..] {
        assert_eq!(to.receive(bytes), bytes.len());
    }
}

fn conversation<F: Framing>(framing: fn() -> F) {
    for setup in Setup::all() {
        let ways: [&mut dyn Schedule; 4] =
            [&mut Whole, &mut Bytes(3), &mut Coalesced::default(), &mut Random::new(4)];
        for schedule in ways {
            let _told = Told::new(setup);
            let mut pair = Pair::new(
                setup.nested_in(Side::Left, framing()),
                setup.nested_in(Side::Right, framing()),
            );
            // Messages may travel before the inner handshake, and beside it.
            pair.left.with(|p| p.send_message(b"version 1")).unwrap();
            pair.drive(schedule);
            pair.assert_established();
            assert_eq!(pair.right.ports.poll_message().unwrap(), b"version 1"[..]);
            pair.left.write(b"before ");
            pair.left.with(|p| p.send_message(b"")).unwrap();
            pair.left.with(|p| p.send_message(&[7; 1000])).unwrap();
            pair.send_by(Side::Left, b"and behind", schedule);
            assert_eq!(pair.right.report().read, b"before and behind");
            assert_eq!(pair.right.ports.poll_message().unwrap(), b""[..]);
            assert_eq!(pair.right.ports.poll_message().unwrap(), [7; 1000][..]);
            assert_eq!(pair.right.ports.poll_message(), None);
            pair.send_by(Side::Right, &[1; 700], schedule);
            for side in Side::BOTH {
                pair.party(side).close_write();
            }
            pair.drive(schedule);
            assert!(pair.left.report().end && pair.right.report().end);
            let mut pair = Pair::new(
                pair.left.map(|n| n.into_outer().unwrap()),
                pair.right.map(|n| n.into_outer().unwrap()),
            );
            pair.send_by(Side::Right, b"outside", schedule);
            assert_eq!(&pair.left.report().read[700..], b"outside");
        }
    }
}

#[test]
fn length_prefixed() {
    conversation(Prefixed::default);
}

#[test]
fn bridge() {
    conversation(|| Bridge);
}

#[test]
fn direct_carries_no_messages() {
    let mut pair = Setup::default().connected();
    let error = pair.left.with(|p| p.send_message(b"x")).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Framing(_)), "{error}");
    pair.send(Side::Left, b"undisturbed");
    assert_eq!(pair.right.report().read, b"undisturbed");
}

#[test]
fn nonsense_is_a_typed_error_of_the_host_s_layer() {
    for nonsense in [&b"\x07\x00\x00"[..], b"\x02\x00\x01x", b"HTTP/1.1 400"] {
        let (mut left, mut right) = facing(Prefixed::default(), Limits::default());
        right.write(nonsense);
        pass(&mut right, &mut left);
        let error = left.error().unwrap();
        assert_eq!((error.layer(), error.fault()), (Layer::Outer, Fault::Peer));
        assert!(matches!(error.kind(), ErrorKind::Framing(_)), "{error}");
        // The outer layer is closed in order.
        pass(&mut left, &mut right);
        assert!(right.has(Event::PeerClosed(Layer::Outer)));
    }
}

/// A length-prefixed framing whose messages are no frames.
struct Rude(Prefixed);

impl Framing for Rude {
    fn wrap(&mut self, inner: Vec<u8>, out: &mut Outgoing<'_>) {
        self.0.wrap(inner, out);
    }
    fn unwrap(&mut self, carried: &[u8]) -> Result<Unwrapped, FramingError> {
        self.0.unwrap(carried)
    }
    fn overhead(&self) -> usize {
        self.0.overhead()
    }
    fn marks_end(&self) -> bool {
        true
    }
    fn message(&mut self, message: &[u8], out: &mut Outgoing<'_>) -> Result<(), FramingError> {
        out.push_slice(message);
        Ok(())
    }
}

/// Who breaks the framing is the host; the inner peer is told that the connection ends.
#[test]
fn the_inner_peer_hears_of_nonsense() {
    for setup in Setup::versions() {
        let mut pair = Pair::new(
            setup.nested_in(Side::Left, Prefixed::default()),
            setup.nested_in(Side::Right, Rude(Prefixed::default())),
        );
        pair.settle();
        pair.right.with(|ports| ports.send_message(&[9, 9, 9])).unwrap();
        pair.settle();
        assert_eq!(pair.left.error().unwrap().layer(), Layer::Outer);
        let told = pair.right.error().unwrap();
        let alert = Some(rustls::AlertDescription::InternalError);
        assert_eq!((told.layer(), told.alert_received()), (Layer::Inner, alert));
    }
}

#[test]
fn a_framing_that_lies_is_stopped() {
    struct Liar(Unwrapped);
    impl Framing for Liar {
        fn wrap(&mut self, inner: Vec<u8>, out: &mut Outgoing<'_>) {
            out.push(inner);
        }
        fn unwrap(&mut self, _: &[u8]) -> Result<Unwrapped, FramingError> {
            Ok(self.0)
        }
    }
    use Unwrapped::{Finish, Inner, Message};
    for lie in [
        Inner { skip: 0, len: 0 },
        Message { skip: 0, len: 0 },
        Finish { skip: 0 },
        Inner { skip: 1, len: 3 },
        Message { skip: 4, len: 0 },
        Inner { skip: usize::MAX, len: usize::MAX },
        Message { skip: 1, len: usize::MAX },
        Finish { skip: usize::MAX },
    ] {
        let (mut left, mut right) = facing(Liar(lie), Limits::default());
        right.write(b"abc");
        pass(&mut right, &mut left);
        assert!(matches!(left.error().unwrap().kind(), ErrorKind::Framing(_)), "{lie:?}");
    }
}

#[test]
fn the_end_mark_is_no_end() {
    // During the inner handshake, and after it without a close_notify.
    let (mut left, mut right) = facing(Prefixed::default(), Limits::default());
    right.write(&[2, 0, 0]);
    pass(&mut right, &mut left);
    let error = left.error().unwrap();
    assert_eq!((error.layer(), error.kind()), (Layer::Inner, &ErrorKind::Truncated));

    struct Hasty;
    impl Framing for Hasty {
        fn wrap(&mut self, inner: Vec<u8>, out: &mut Outgoing<'_>) {
            Bridge.wrap(inner, out);
        }
        fn unwrap(&mut self, carried: &[u8]) -> Result<Unwrapped, FramingError> {
            Bridge.unwrap(carried)
        }
        fn message(&mut self, bytes: &[u8], out: &mut Outgoing<'_>) -> Result<(), FramingError> {
            out.push_slice(bytes);
            Ok(())
        }
    }
    let mut pair = connected(&Setup::default(), || Hasty);
    pair.left.write(b"half of it");
    pair.left.with(|p| p.send_message(&[0x80, 0, 0, 0])).unwrap();
    pair.settle();
    assert_eq!(pair.right.report().read, b"half of it");
    assert!(!pair.right.report().end);
    let error = pair.right.error().unwrap();
    assert_eq!((error.layer(), error.kind()), (Layer::Inner, &ErrorKind::Truncated));
}

#[test]
fn the_end_mark_waits_behind_plaintext_that_nobody_reads() {
    let limits = Limits { plaintext: 100, ..Limits::default() };
    let setup = Setup { limits, ..Setup::default() };
    let mut pair = connected(&setup, || Bridge);
    pair.stopped.1 = true;
    pair.send(Side::Left, &[1; 90]);
    pair.left.write(&[2; 90]);
    pair.left.write(&[3; 90]);
    pair.left.close_write();
    pair.right.close_write();
    pair.settle();
    assert_eq!(pair.right.error(), None);
    pair.stopped.1 = false;
    pair.settle();
    assert_eq!(pair.right.report().read.len(), 270);
    assert!(pair.right.report().end);
    pair.right.map(|n| n.into_outer().unwrap());
}

#[test]
fn messages_that_nobody_takes_stop_the_input() {
    let limits = Limits { messages: 2000, ..Limits::default() };
    let setup = Setup { limits, ..Setup::default() };
    let mut pair = connected(&setup, Prefixed::default);
    let mut sent = 0;
    for _ in 0..40 {
        pair.left.with(|p| p.send_message(&[9; 500])).unwrap();
        sent += 1;
        pair.settle();
    }
    assert!(!pair.right.ports.readiness().wire_in, "messages wait");
    pair.left.write(b"data behind");
    let mut taken = 0;
    loop {
        pair.settle();
        let Some(message) = pair.right.with(Nested::poll_message) else { break };
        assert_eq!(message, [9; 500][..]);
        taken += 1;
    }
    assert_eq!(taken, sent);
    assert_eq!(pair.right.report().read, b"data behind");
}

#[test]
fn the_end_is_marked_once() {
    let mut pair = connected(&Setup::default(), Prefixed::default);
    pair.left.close_write();
    pair.settle();
    pair.left.close_write();
    assert_eq!(pair.left.transmit(usize::MAX), b"");
}

#[test]
fn messages_have_their_bounds() {
    let limits = Limits { messages: 2000, ..Limits::default() };
    let setup = Setup { limits, ..Setup::default() };
    let mut pair = connected(&setup, Prefixed::default);
    let error = pair.left.with(|p| p.send_message(&[9; 2001])).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Limit { limit: 2000, .. }), "{error}");
    assert_eq!(pair.left.with(|p| p.send_message(&[9; 2000])), Ok(()));
    // Room for as many as were taken, and for no more.
    let mut pair = connected(&setup, Prefixed::default);
    for i in 0..12 {
        if i >= 4 {
            assert!(!pair.right.ports.readiness().wire_in, "4 messages wait");
            assert_eq!(pair.right.with(Nested::poll_message).unwrap(), [9; 500][..]);
        }
        assert!(pair.right.ports.readiness().wire_in);
        pair.left.with(|p| p.send_message(&[9; 500])).unwrap();
        let bytes = pair.left.transmit(usize::MAX);
        assert_eq!(pair.right.receive(&bytes), bytes.len());
    }
}

#[test]
fn empty_messages_take_memory_too() {
    let limits = Limits { messages: 2000, ..Limits::default() };
    let (mut left, mut right) = facing(Prefixed::default(), limits);
    for _ in 0..1000 {
        right.write(&[1, 0, 0].repeat(5000));
        let mut stuck = false;
        while let bytes @ [_, ..] = &right.transmit(usize::MAX)[..] {
            stuck |= left.receive(bytes) < bytes.len();
        }
        if stuck {
            break;
        }
    }
    assert!(!left.ports.readiness().wire_in, "100 000 messages wait");
    let waiting = left.with(|ports| ports.buffered());
    assert!(waiting < limits.wire_in + 20_000, "{waiting} bytes for {} allowed", limits.messages);
    let mut count = 0;
    while left.with(Nested::poll_message).is_some() {
        count += 1;
    }
    assert!(count > 10, "{count}");
}

#[test]
fn a_message_beyond_the_limit_is_refused_however_it_comes() {
    let limits = Limits { messages: 1000, ..Limits::default() };
    for len in [990, 997, 998, 1000, 1500, 5000, 60_000] {
        for size in [1, 100, 999, 1003, 20_000] {
            let (mut left, mut right) = facing(Prefixed::default(), limits);
            let mut frame = vec![1];
            frame.extend((len as u16).to_be_bytes());
            frame.extend(vec![5; len]);
            for chunk in frame.chunks(size) {
                right.write(chunk);
                while let bytes @ [_, ..] = &right.transmit(usize::MAX)[..] {
                    left.receive(bytes);
                }
            }
            let fits = len + 3 <= limits.messages;
            assert_eq!(left.ports.poll_message().is_some(), fits, "{len} by {size}");
            if !fits {
                let error = left.error().unwrap();
                assert_eq!(error.layer(), Layer::Outer);
                assert!(
                    matches!(error.kind(), ErrorKind::Limit { limit: 1000, .. }),
                    "{len} by {size}: {error}"
                );
            }
        }
    }
}

#[test]
fn messages_to_send_have_a_bound_too() {
    let limits = Limits { wire_out: 10_000, messages: 2000, ..Limits::default() };
    let setup = Setup { limits, ..Setup::default() };
    let mut pair = connected(&setup, Prefixed::default);
    let mut accepted = 0;
    let error = loop {
        match pair.left.with(|p| p.send_message(&[1; 1500])) {
            Ok(()) => accepted += 1,
            Err(error) => break error,
        }
        assert!(accepted < 1000, "messages without end");
    };
    assert!(matches!(error.kind(), ErrorKind::Limit { .. }), "{error}");
    assert_eq!(pair.left.error(), None, "the refusal changed nothing");
    let mut taken = 0;
    loop {
        pair.settle();
        match pair.right.with(Nested::poll_message) {
            Some(_) => taken += 1,
            None => break,
        }
    }
    assert_eq!(taken, accepted);
    pair.left.with(|p| p.send_message(&[1; 1500])).unwrap();
}

#[test]
fn no_message_after_close_or_failure() {
    let mut pair = connected(&Setup::default(), || Bridge);
    pair.left.close_write();
    pair.left.with(|p| p.send_message(b"still outside")).unwrap();
    pair.left.close();
    let error = pair.left.with(|p| p.send_message(b"x")).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Misuse(Misuse::WriteAfterClose));
    pair.right.eof();
    let failure = pair.right.error().unwrap().clone();
    assert_eq!(pair.right.with(|p| p.send_message(b"x")), Err(failure));
}

/// A length-prefixed framing whose sender puts junk between its close_notify and the end mark.
#[derive(Default)]
struct Junky {
    framing: Prefixed,
    junk: Vec<u8>,
    /// Empty frames before every other one.
    empty_frames: bool,
    /// What is said from now on comes in one frame with the junk.
    holds: Cell<bool>,
    held: Vec<u8>,
}

impl Framing for Junky {
    fn wrap(&mut self, inner: Vec<u8>, out: &mut Outgoing<'_>) {
        if self.empty_frames {
            out.push_slice(&[0, 0, 0]);
        }
        match self.holds.get() {
            true => self.held.extend(inner),
            false => self.framing.wrap(inner, out),
        }
    }
    fn unwrap(&mut self, carried: &[u8]) -> Result<Unwrapped, FramingError> {
        self.framing.unwrap(carried)
    }
    fn overhead(&self) -> usize {
        self.framing.overhead()
    }
    fn marks_end(&self) -> bool {
        true
    }
    fn finish(&mut self, out: &mut Outgoing<'_>) {
        let last = [&self.held[..], &self.junk].concat();
        if !last.is_empty() {
            self.framing.wrap(last, out);
        }
        self.framing.finish(out);
    }
}

#[test]
fn what_shares_a_frame_with_the_inner_end_is_nobody_s() {
    for setup in Setup::versions() {
        let late = Junky { junk: b"junk".to_vec(), ..Junky::default() };
        let left = setup.nested_in(Side::Left, Prefixed::default());
        let mut pair = Pair::new(left, setup.nested_in(Side::Right, late));
        pair.settle();
        pair.right.ports.framing().holds.set(true);
        pair.right.close_write();
        pair.left.close_write();
        pair.settle();
        let left = pair.left.map(|n| n.into_outer().unwrap());
        let mut pair = Pair::new(left, pair.right.map(|n| n.into_outer().unwrap()));
        let before = pair.left.report().read.len();
        pair.send(Side::Right, b"the host's");
        assert_eq!(pair.left.report().read[before..], *b"the host's");
    }
}

#[test]
fn what_comes_before_the_end_mark_is_nobody_s() {
    let record = |len: u16| [&[23, 3, 3][..], &len.to_be_bytes(), &vec![7; len.into()]].concat();
    let junk = [
        vec![],
        b"x".to_vec(),
        record(30),
        record(30)[..20].to_vec(),
        [record(5), record(16_000), record(9)].concat(),
        vec![0xff; 300],
        vec![0x16; 40_000],
    ];
    let small = Limits { plaintext: 100, messages: 1000, ..Limits::default() };
    for (i, setup) in Setup::versions().enumerate() {
        for (j, junk) in junk.iter().enumerate() {
            // Closed before the handshake, so that the end comes with its last flight; or later.
            for early in [false, true] {
                let limits = if (i + j) % 3 == 0 { small } else { Limits::default() };
                let setup = Setup { limits, ..setup };
                let ways: [&mut dyn Schedule; 3] =
                    [&mut Whole, &mut Bytes(1000), &mut Random::new((i * j) as u64)];
                let schedule = ways.into_iter().nth((i + j + usize::from(early)) % 3).unwrap();
                let junk = &junk[..junk.len().min(schedule.most())];
                let _told = Told::new((setup, junk.len(), early));
                let framing =
                    || Junky { junk: junk.to_vec(), empty_frames: j % 2 == 0, ..Junky::default() };
                let mut pair = Pair::new(
                    setup.nested_in(Side::Left, framing()),
                    setup.nested_in(Side::Right, framing()),
                );
                let data: &[u8] = if early { b"" } else { b"all of it" };
                if !early {
                    pair.drive(schedule);
                    pair.assert_established();
                    pair.send_by(Side::Left, data, schedule);
                }
                pair.left.close_write();
                pair.right.close_write();
                pair.drive(schedule);
                assert_eq!(pair.right.error(), None);
                assert_eq!(pair.right.report().read, data);
                let mut pair = Pair::new(
                    pair.left.map(|n| n.into_outer().unwrap()),
                    pair.right.map(|n| n.into_outer().unwrap()),
                );
                pair.send_by(Side::Right, b"outside", schedule);
                assert_eq!(pair.left.report().read, b"outside");
            }
        }
    }
}
