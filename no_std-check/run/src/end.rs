//! One end of the connection, whose work is counted as its own.

use heap::Owner;
use nested_tls::{Direct, Event, Layer, Nested, Phase, Plaintext, Ports, Role, Session};

use crate::{Failure, Share, Size};

pub(crate) struct End {
    owner: Owner,
    nested: Nested,
    idle: usize,
}

impl End {
    pub(crate) fn new(
        owner: Owner,
        size: &Size,
        roles: fn(&Size) -> Result<(Role, Role), Failure>,
    ) -> Result<Self, Failure> {
        heap::restart(owner);
        let nested = heap::owned_by(owner, || {
            let (outer, inner) = roles(size)?;
            Ok::<_, Failure>(Session::new(outer, size.limits)?.nest(inner, Direct)?)
        })?;
        Ok(Self { owner, nested, idle: 0 })
    }

    /// Runs `work` on the machine, in this end's name.
    pub(crate) fn with<T>(&mut self, work: impl FnOnce(&mut Nested) -> T) -> T {
        heap::owned_by(self.owner, || work(&mut self.nested))
    }

    /// Both handshakes are complete, in the right order; nothing else has happened.
    pub(crate) fn established(&mut self) -> Result<(), Failure> {
        self.with(|nested| {
            let events = [nested.poll_event(), nested.poll_event(), nested.poll_event()];
            let [outer, inner] = [Layer::Outer, Layer::Inner].map(Event::Established);
            match events == [Some(outer), Some(inner), None] && nested.phase() == Phase::Traffic {
                true => Ok(()),
                false => Err(Failure::Wrong("the handshakes are not complete")),
            }
        })?;
        // A read that brings nothing lets the machine give its buffer back.
        self.with(|nested| {
            let _ = nested.wire_in();
            nested.wire_received(0)
        })?;
        self.idle = heap::count(self.owner).live;
        Ok(())
    }

    /// Both layers were closed by both sides.
    pub(crate) fn closed(&mut self) -> Result<(), Failure> {
        self.with(|nested| {
            let mut last = None;
            while let Some(event) = nested.poll_event() {
                last = Some(event);
            }
            match (nested.plain_out(), last) {
                (Plaintext::End, Some(Event::Closed)) => Ok(()),
                _ => Err(Failure::Wrong("the close is not clean")),
            }
        })
    }

    pub(crate) fn share(&self) -> Share {
        Share { count: heap::count(self.owner), idle: self.idle }
    }
}
