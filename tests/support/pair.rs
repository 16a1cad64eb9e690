//! Two parties and the two wires between them, all in memory.

use std::collections::VecDeque;
use std::ops::Range;

use nested_tls::{Event, Layer};

use super::party::Party;
use super::schedule::{Schedule, Whole};
use super::setup::Side;

/// Bytes on their way from one party to the other.
#[derive(Default)]
pub struct Wire {
    queue: VecDeque<u8>,
    /// Every byte that was ever put on this wire.
    pub transcript: Vec<u8>,
    /// Where the flights begin and end in the transcript: a flight is what one party sends between
    /// two deliveries from the other.
    pub flights: Vec<Range<usize>>,
    flight_open: bool,
    /// Only this much fits.
    pub capacity: Option<usize>,
    /// Only this many bytes ever arrive; then the wire ends.
    pub cut: Option<usize>,
    delivered: usize,
    /// The sender's transport has ended.
    pub ended: bool,
    eof_delivered: bool,
}

impl Wire {
    fn room(&self) -> usize {
        self.capacity.map_or(usize::MAX, |most| most.saturating_sub(self.queue.len()))
    }

    fn put(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let start = self.transcript.len();
        if !self.flight_open {
            self.flights.push(start..start);
        }
        self.flight_open = true;
        self.transcript.extend_from_slice(bytes);
        self.flights.last_mut().unwrap().end = self.transcript.len();
        self.queue.extend(bytes);
    }

    /// Put bytes on the wire that nobody sent.
    pub fn inject(&mut self, bytes: &[u8]) {
        self.queue.extend(bytes);
    }

    /// Take what is on the wire off it.
    pub fn steal(&mut self) -> Vec<u8> {
        self.queue.drain(..).collect()
    }

    pub fn waiting(&self) -> usize {
        match self.cut {
            Some(cut) => self.queue.len().min(cut - self.delivered),
            None => self.queue.len(),
        }
    }

    fn is_over(&self) -> bool {
        self.ended && self.waiting() == 0 || self.cut.is_some_and(|cut| cut == self.delivered)
    }
}

/// Two connected parties.
pub struct Pair<A, B> {
    pub left: A,
    pub right: B,
    pub to_right: Wire,
    pub to_left: Wire,
    /// Readers that have stopped.
    pub stopped: (bool, bool),
    steps: usize,
}

impl<A: Party, B: Party> Pair<A, B> {
    pub fn new(left: A, right: B) -> Self {
        Self {
            left,
            right,
            to_right: Wire::default(),
            to_left: Wire::default(),
            stopped: (false, false),
            steps: 0,
        }
    }

    pub fn party(&mut self, side: Side) -> &mut dyn Party {
        match side {
            Side::Left => &mut self.left,
            Side::Right => &mut self.right,
        }
    }

    /// The wire on which `side` sends.
    pub fn wire(&mut self, side: Side) -> &mut Wire {
        match side {
            Side::Left => &mut self.to_right,
            Side::Right => &mut self.to_left,
        }
    }

    /// Move everything, at once, until nothing moves.
    pub fn settle(&mut self) {
        self.drive(&mut Whole);
    }

    /// Move what the schedule says until nothing moves.
    pub fn drive(&mut self, schedule: &mut dyn Schedule) {
        while self.step(schedule) {}
    }

    /// Both ways once; whether anything moved.
    pub fn step(&mut self, schedule: &mut dyn Schedule) -> bool {
        self.steps += 1;
        assert!(self.steps < 4_000_000, "this does not come to rest");
        let mut moved = self.transmit(Side::Left, schedule);
        moved |= self.transmit(Side::Right, schedule);
        let first = schedule.first();
        for side in [first, first.other()] {
            moved |= self.deliver(side, schedule);
            moved |= self.read(side, schedule);
            moved |= self.read(side.other(), schedule);
        }
        moved || schedule.holds_back()
    }

    /// Put on the wire what `side` has to send.
    pub fn transmit(&mut self, side: Side, schedule: &mut dyn Schedule) -> bool {
        let mut moved = false;
        loop {
            let room = self.wire(side).room().min(schedule.send());
            if room == 0 {
                return moved;
            }
            let bytes = self.party(side).transmit(room);
            if bytes.is_empty() {
                return moved;
            }
            moved = true;
            self.wire(side).put(&bytes);
        }
    }

    /// Deliver a chunk of what `side` has sent.
    pub fn deliver(&mut self, side: Side, schedule: &mut dyn Schedule) -> bool {
        let waiting = self.wire(side).waiting();
        if waiting == 0 {
            if self.wire(side).is_over() && !self.wire(side).eof_delivered {
                self.wire(side).eof_delivered = true;
                self.party(side.other()).eof();
                return true;
            }
            return false;
        }
        let n = schedule.deliver(side, waiting).min(waiting);
        if n == 0 {
            return false;
        }
        let chunk: Vec<u8> = self.wire(side).queue.iter().take(n).copied().collect();
        let taken = self.party(side.other()).receive(&chunk);
        self.wire(side.other()).flight_open = false;
        let wire = self.wire(side);
        wire.queue.drain(..taken);
        wire.delivered += taken;
        taken > 0
    }

    fn read(&mut self, side: Side, schedule: &mut dyn Schedule) -> bool {
        let stopped = match side {
            Side::Left => self.stopped.0,
            Side::Right => self.stopped.1,
        };
        let mut moved = false;
        while !stopped && self.party(side).read(schedule.read()) > 0 {
            moved = true;
        }
        // An end may have come without bytes.
        self.party(side).read(0);
        moved
    }

    /// Write `data` on `side` and move everything until it is all taken.
    pub fn send(&mut self, side: Side, data: &[u8]) {
        self.send_by(side, data, &mut Whole);
    }

    pub fn send_by(&mut self, side: Side, mut data: &[u8], schedule: &mut dyn Schedule) {
        while !data.is_empty() {
            let n = self.party(side).write(data);
            data = &data[n..];
            let moved = self.step(schedule);
            assert!(n > 0 || moved, "nothing takes the rest of {} bytes", data.len());
        }
        self.drive(schedule);
    }

    /// The transport ends in both directions, behind what is on it.
    pub fn hang_up(&mut self) {
        self.to_left.ended = true;
        self.to_right.ended = true;
        self.settle();
    }

    pub fn assert_established(&mut self) {
        for side in Side::BOTH {
            let report = self.party(side).report();
            assert_eq!(report.failure, None, "{side:?}");
            let established = [Layer::Outer, Layer::Inner].map(Event::Established);
            assert_eq!(report.events, established, "{side:?}");
        }
    }
}

impl Party for Box<dyn Party> {
    fn receive(&mut self, bytes: &[u8]) -> usize {
        (**self).receive(bytes)
    }
    fn eof(&mut self) {
        (**self).eof();
    }
    fn transmit(&mut self, max: usize) -> Vec<u8> {
        (**self).transmit(max)
    }
    fn write(&mut self, data: &[u8]) -> usize {
        (**self).write(data)
    }
    fn read(&mut self, max: usize) -> usize {
        (**self).read(max)
    }
    fn close_write(&mut self) {
        (**self).close_write();
    }
    fn close(&mut self) {
        (**self).close();
    }
    fn update_keys(&mut self, layer: Layer, request: bool) {
        (**self).update_keys(layer, request);
    }
    fn report(&self) -> &super::party::Report {
        (**self).report()
    }
}
