//! What a transport can do to its user beside bad manners, at every single call.

use std::io::ErrorKind;

use nested_tls::{ErrorKind as Tls, Layer, Misuse};

use super::line::{Adapter, tls};
use super::talk::{Leaves, Op, Talk, base_seed};
use super::transport::{Call, Fault, Manners};
use crate::support::schedule::Told;
use crate::support::setup::{Mix, Setup, Side};
use crate::support::tally::{Outcome, Place, Tally, whole};

const LEN: usize = 2500;

fn talk(adapter: Adapter, setup: &Setup, manners: Manners) -> Talk {
    let mut talk = Talk::new(adapter, setup, [manners, Manners::GOOD]);
    for side in Side::BOTH {
        let writer = [Op::Handshake, Op::Write(LEN - 500), Op::Flush, Op::Write(500), Op::Shutdown];
        talk.speaker(side).then(&[Op::ReadToEnd], &writer);
    }
    talk
}

/// Every pair of versions, each with another mix of roles.
pub fn turned(by: usize) -> impl Iterator<Item = Setup> {
    let mixes = Mix::ALL.into_iter().cycle().skip(by);
    Setup::versions().zip(mixes).map(|(setup, mix)| Setup { mix, ..setup })
}

/// Run it with a fault at each of the left transport's calls, until there is no such call.
fn at_every_call(
    tally: &mut Tally,
    fault: Fault,
    adapters: impl Iterator<Item = Adapter>,
    mut check: impl FnMut(&mut Talk),
) {
    for adapter in adapters {
        let setups = turned(0).enumerate().filter(|(i, _)| whole() || [1, 2].contains(i));
        for (i, setup) in setups {
            let odd = i % 2 == 1;
            let manners = Manners { lazy: odd, vectored: !odd, ..Manners::GOOD };
            for k in 0.. {
                let _told = Told::new((adapter, setup, fault, k));
                let mut talk = talk(adapter, &setup.seeded(base_seed() + k as u64), manners);
                talk.left.line().transport().fault = Some((k, fault));
                let calls = talk.left.line().transport().log.clone();
                check(&mut talk);
                tally.count(Place::Wire, name(fault), outcome(&talk));
                if calls.lock().unwrap().len() <= k {
                    assert!(k > 10, "only {k} calls");
                    break;
                }
            }
        }
    }
}

fn name(fault: Fault) -> &'static str {
    match fault {
        Fault::Reset => "a call resets the connection",
        Fault::Zero => "a write takes nothing",
        Fault::Lie => "a call lies about its bytes",
        Fault::Eof => "a call says the end",
        Fault::Error(ErrorKind::Interrupted) => "a call is interrupted",
        Fault::Error(ErrorKind::WouldBlock) => "a call would block",
        Fault::Error(_) => "a call fails once",
    }
}

/// What the side whose transport it is was told.
fn outcome(talk: &Talk) -> Outcome {
    match talk.left.error() {
        None => Outcome::Completed,
        Some(error) => match tls(error).map(nested_tls::Error::layer) {
            Some(Layer::Outer) => Outcome::Outer,
            Some(Layer::Inner) => Outcome::Inner,
            None => Outcome::Transport,
        },
    }
}

/// Nobody is told of an end who has not read everything; nobody reads what was not written.
fn no_lies(talk: &Talk) {
    for (one, other) in [(&talk.left, &talk.right), (&talk.right, &talk.left)] {
        assert!(one.read <= other.written);
        if let Some(Ok(())) = one.reader() {
            if one.error().is_none() {
                assert_eq!(one.read, LEN, "a clean end before the end: {one:?}");
            }
        }
        if let Some(error) = one.error().filter(|error| error.kind() == ErrorKind::UnexpectedEof) {
            let error = tls(error).unwrap();
            assert_eq!(error.kind(), &Tls::Truncated);
        }
    }
}

#[test]
fn every_call_fails_for_good() {
    let mut tally = Tally::default();
    for fault in [Fault::Reset, Fault::Zero, Fault::Lie, Fault::Eof] {
        at_every_call(&mut tally, fault, Adapter::all(), |talk| {
            talk.left.leaves = Leaves::AtOnce;
            talk.right.leaves = Leaves::AtOnce;
            let transport = talk.left.line().transport();
            let (log, (from, _)) = (transport.log.clone(), transport.fault.unwrap());
            talk.end();
            no_lies(talk);
            if fault == Fault::Lie {
                // The machine has not heard of bytes that there can't be.
                let said = |call: &Call| matches!(call, Call::Read | Call::Write);
                let said = log.lock().unwrap().iter().skip(from).any(said);
                let text = talk.left.error().map(ToString::to_string).unwrap_or_default();
                assert_eq!(text.starts_with("the transport says"), said, "{text}");
            }
        });
    }
    tally.finish("calls of the transport that fail for good");
}

#[test]
fn every_call_fails_once_and_nothing_is_lost() {
    let mut tally = Tally::default();
    for kind in [ErrorKind::TimedOut, ErrorKind::Interrupted, ErrorKind::WouldBlock] {
        // Who has a waker is not told that a call would block: it waits.
        let told = |adapter: &Adapter| kind != ErrorKind::WouldBlock || !adapter.wakes();
        let adapters = Adapter::all().filter(told);
        at_every_call(&mut tally, Fault::Error(kind), adapters, |talk| {
            talk.left.retries = Some((ErrorKind::TimedOut, 1));
            talk.left.leaves = Leaves::AtOnce;
            talk.end();
            no_lies(talk);
            if talk.left.error().is_some() {
                // The one call that has no second attempt.
                assert!(
                    matches!(talk.left.writer(), Some(Err(failed)) if failed.op == Op::Shutdown)
                );
                assert_eq!(kind, ErrorKind::TimedOut);
            } else {
                assert_eq!((talk.left.read, talk.right.read), (LEN, LEN));
                assert!(talk.right.error().is_none(), "{:?}", talk.right);
            }
        });
    }
    tally.finish("calls of the transport that fail once");
}

#[test]
fn the_transport_ends_anywhere() {
    for adapter in Adapter::all() {
        for setup in turned(adapter as usize) {
            for cut in (0..).step_by(331) {
                let _told = Told::new((adapter, setup, cut));
                let mut talk =
                    talk(adapter, &setup.seeded(base_seed() + cut as u64), Manners::GOOD);
                talk.left.line().transport().cut = Some(cut);
                talk.left.leaves = Leaves::AtOnce;
                talk.right.leaves = Leaves::AtOnce;
                talk.end();
                no_lies(&talk);
                match talk.left.error() {
                    None => break,
                    Some(error) if error.kind() == ErrorKind::UnexpectedEof => {}
                    // Written after the end of both.
                    Some(error) => assert!(
                        matches!(error.kind(), ErrorKind::BrokenPipe) && talk.left.read == LEN
                            || matches!(
                                tls(error).map(nested_tls::Error::kind),
                                Some(Tls::Misuse(Misuse::WriteAfterClose))
                            ),
                        "{:?}",
                        talk.left
                    ),
                }
            }
        }
    }
}
