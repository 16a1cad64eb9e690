//! What must hold of every machine after every call, in one place: tests and fuzzers share it.

use nested_tls::{Error, ErrorKind, Event, Layer, Misuse, Phase, Plaintext, Ports};

/// What has been seen of one machine so far.
#[derive(Debug, Default)]
pub struct Watch {
    /// Every event, in order.
    pub events: Vec<Event>,
    /// The first failure.
    pub failure: Option<Error>,
    ended: bool,
    eof: bool,
}

impl Watch {
    /// Check everything that shows from outside. Polls events; changes nothing else that shows.
    pub fn check(&mut self, machine: &mut impl Ports) {
        self.check_events(machine);
        self.check_failure(machine);
        self.check_plaintext(machine);
        self.check_bound(machine);
        self.check_readiness(machine);
        self.check_quiet(machine);
        self.check_live(machine);
    }

    /// The transport of this machine has ended.
    pub fn saw_eof(&mut self) {
        self.eof = true;
    }

    /// Forget the inner layer: `into_outer` gave the session back.
    pub fn back_to_outer(&mut self) {
        use Event::{Established, PeerClosed};
        self.ended = false;
        self.events.retain(|e| matches!(e, Established(Layer::Outer) | PeerClosed(Layer::Outer)));
    }

    pub fn has(&self, event: Event) -> bool {
        self.events.contains(&event)
    }

    /// Each at most once; a layer is established before it is closed, the outer one before the
    /// inner one; nothing after the end (I3).
    fn check_events(&mut self, machine: &mut impl Ports) {
        while let Some(event) = machine.poll_event() {
            assert!(!self.has(event), "{event:?} twice: {:?}", self.events);
            assert!(!self.has(Event::Closed), "{event:?} after Closed: {:?}", self.events);
            let needs = match event {
                Event::Established(Layer::Inner) => Some(Event::Established(Layer::Outer)),
                Event::PeerClosed(layer) => Some(Event::Established(layer)),
                Event::OuterUnclean => Some(Event::PeerClosed(Layer::Inner)),
                Event::Closed => Some(Event::PeerClosed(innermost(machine))),
                _ => None,
            };
            if let Some(needed) = needs {
                assert!(self.has(needed), "{event:?} before {needed:?}: {:?}", self.events);
            }
            if event == Event::PeerClosed(Layer::Inner) {
                let outer = Event::PeerClosed(Layer::Outer);
                assert!(!self.has(outer), "the outer layer was read past its end");
            }
            self.events.push(event);
        }
        if self.has(Event::OuterUnclean) {
            assert!(self.eof, "an unclean end without an end");
            assert!(!self.has(Event::PeerClosed(Layer::Outer)), "the end was clean");
        }
        assert_eq!(
            machine.phase() == Phase::Closed,
            self.has(Event::Closed) && machine.failure().is_none(),
            "phase {:?}, events {:?}, failure {:?}",
            machine.phase(),
            self.events,
            machine.failure(),
        );
    }

    /// The first error is final, and every commit tells it (I6).
    fn check_failure(&mut self, machine: &mut impl Ports) {
        let Some(now) = machine.failure().cloned() else {
            assert_eq!(self.failure, None, "a failure went away");
            assert_ne!(machine.phase(), Phase::Failed);
            return;
        };
        assert_eq!(machine.phase(), Phase::Failed);
        assert!(!matches!(now.kind(), ErrorKind::Misuse(_)), "a refused call became final");
        if let Some(first) = &self.failure {
            assert!(same(first, &now), "another failure took the place of {first}: {now}");
        }
        assert!(machine.wire_in().is_none());
        let told = [
            machine.plain_write(b"x").map(drop),
            machine.plain_write(b"").map(drop),
            machine.wire_received(0),
            machine.wire_eof(),
        ];
        assert!(told.iter().all(|told| same(told.as_ref().unwrap_err(), &now)), "{told:?}");
        // Asking again changes nothing, and closing a failed machine does not either.
        let output = machine.wire_out().map(<[u8]>::to_vec);
        machine.close_write();
        machine.close();
        assert_eq!(machine.wire_out().map(<[u8]>::to_vec), output);
        assert!(same(machine.failure().unwrap(), &now));
        self.failure = Some(now);
    }

    /// No plaintext before the innermost layer is established; the end only after its peer's
    /// close_notify, and then for good (I3, I7).
    fn check_plaintext(&mut self, machine: &mut impl Ports) {
        let layer = innermost(machine);
        let (established, closed) =
            (self.has(Event::Established(layer)), self.has(Event::PeerClosed(layer)));
        match machine.plain_out() {
            Plaintext::Bytes(bytes) => {
                assert!(!bytes.is_empty(), "no bytes are no bytes");
                assert!(established, "plaintext before the {layer} layer was established");
                assert!(!self.ended, "plaintext after the end");
            }
            Plaintext::Pending => assert!(!closed, "the end does not show"),
            Plaintext::End => {
                assert!(closed, "an end that the peer did not authenticate");
                self.ended = true;
            }
        }
    }

    /// What is buffered has a bound (I5).
    fn check_bound(&self, machine: &mut impl Ports) {
        let (buffered, total) = (machine.buffered(), machine.limits().total());
        assert!(buffered <= total, "{buffered} bytes buffered, {total} promised");
    }

    /// Readiness says what the ports do.
    fn check_readiness<M: Ports>(&self, machine: &mut M) {
        let ready = machine.readiness();
        let space = machine.wire_in().map_or(0, |space| space.len());
        assert_eq!(ready.wire_in, space > 0);
        assert_eq!(ready.plain_out, machine.plain_out() != Plaintext::Pending);
        assert!(!ready.message || machine.layer(Layer::Inner).is_some(), "a message of nobody");
        if !ready.wire_out {
            // Asking seals, so a machine that has something is not asked here.
            assert!(machine.wire_out().is_none(), "output without readiness");
            assert!(machine.wire_out_bytes().is_none());
            assert_eq!(machine.wire_sent(0), Ok(()));
        }
        let plain = match machine.plain_out() {
            Plaintext::Bytes(bytes) => bytes.len(),
            _ => 0,
        };
        let sealed = if ready.wire_out { usize::MAX - 1 } else { 0 };
        for (offered, commit) in [
            (space, &mut M::wire_received as &mut dyn FnMut(&mut M, usize) -> Result<(), Error>),
            (sealed, &mut M::wire_sent),
            (plain, &mut M::plain_consumed),
        ] {
            let given = offered + 1;
            let error = commit(machine, given).expect_err("more than was offered");
            assert!(
                matches!(error.kind(), ErrorKind::Misuse(Misuse::Count { given: g, .. }) if *g == given),
                "{error}"
            );
        }
        if self.failure.is_none() {
            // Nothing was received into the space offered above.
            assert_eq!(machine.wire_received(0), Ok(()));
        }
        assert_eq!(machine.readiness(), ready, "asking changed the answer");
    }

    /// Nothing can move without new input (I1): a commit that reports nothing changes nothing.
    fn check_quiet(&self, machine: &mut impl Ports) {
        let look = |m: &dyn Fn() -> (Phase, bool, usize)| m();
        let before = look(&|| view(machine));
        assert_eq!(machine.plain_consumed(0), Ok(()));
        assert_eq!(look(&|| view(machine)), before, "a layer could move without new input");
        assert_eq!(machine.poll_event(), None, "an event came without new input");
    }

    /// While neither closed nor failed, some port can move (I4).
    fn check_live(&self, machine: &mut impl Ports) {
        if matches!(machine.phase(), Phase::Closed | Phase::Failed) {
            return;
        }
        let ready = machine.readiness();
        assert!(
            ready.wire_in
                || ready.wire_out
                || ready.plain_out
                || ready.plain_write
                || ready.message,
            "stuck in phase {}: {:?}",
            machine.phase(),
            self.events
        );
    }
}

/// Whether two errors say the same; verifiers' own errors have no equality.
fn same(a: &Error, b: &Error) -> bool {
    (a.layer(), a.phase()) == (b.layer(), b.phase())
        && (a.kind() == b.kind() || format!("{:?}", a.kind()) == format!("{:?}", b.kind()))
}

fn view(machine: &impl Ports) -> (Phase, bool, usize) {
    let (end, len) = match machine.plain_out() {
        Plaintext::Bytes(bytes) => (false, bytes.len()),
        Plaintext::Pending => (false, 0),
        Plaintext::End => (true, 0),
    };
    (machine.phase(), end, len)
}

/// The layer whose plaintext is the user's.
pub fn innermost(machine: &impl Ports) -> Layer {
    match machine.layer(Layer::Inner) {
        Some(_) => Layer::Inner,
        None => Layer::Outer,
    }
}
