//! What happened, each at most once.

use super::layer::Layer;

/// Something that happened to a machine; each occurs at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Event {
    /// The layer's handshake is complete and its peer authenticated as its configuration asks.
    Established(Layer),
    /// The layer's peer sent its close_notify: what it had to say is complete.
    PeerClosed(Layer),
    /// The inner layer ended cleanly, but the transport then ended without the host's
    /// close_notify. The inner data is complete all the same.
    OuterUnclean,
    /// Both sides have closed every layer; or the inner one, and the transport has ended
    /// ([`Event::OuterUnclean`]).
    Closed,
}

/// The events not polled yet. As each event occurs once, six places hold any history.
#[derive(Debug, Default)]
pub(super) struct Events {
    queue: [Option<Event>; 6],
    pushed: usize,
    polled: usize,
}

impl Events {
    pub(super) fn push(&mut self, event: Event) {
        if self.queue.contains(&Some(event)) {
            return;
        }
        if let Some(place) = self.queue.get_mut(self.pushed) {
            *place = Some(event);
            self.pushed += 1;
        }
    }

    pub(super) fn poll(&mut self) -> Option<Event> {
        let event = *self.queue.get(self.polled)?;
        self.polled += usize::from(event.is_some());
        event
    }

    /// Forget that the inner layer of this machine was there, so that a second one can report.
    pub(super) fn without_inner(self) -> Self {
        let mut kept = Self::default();
        for (place, event) in self.queue.iter().enumerate() {
            let outer = matches!(
                event,
                Some(Event::Established(Layer::Outer) | Event::PeerClosed(Layer::Outer))
            );
            if let (true, Some(event)) = (outer, *event) {
                kept.push(event);
                kept.polled += usize::from(place < self.polled);
            }
        }
        kept
    }
}
