//! How bytes are split, joined, delayed: everything about a run that must not change its outcome.

use super::crypto::Rng;
use super::setup::Side;

/// Says how much moves, and which way first.
pub trait Schedule {
    /// How many of `waiting` bytes that `side` has sent to deliver; 0 holds them back.
    fn deliver(&mut self, side: Side, waiting: usize) -> usize;
    /// The most to take from a party's output at once.
    fn send(&mut self) -> usize {
        usize::MAX
    }
    /// The most plaintext to read at once.
    fn read(&mut self) -> usize {
        usize::MAX
    }
    fn first(&mut self) -> Side {
        Side::Left
    }
    /// How much data a run by this schedule can afford.
    fn most(&self) -> usize {
        40_000
    }
    /// Whether the last round held something back, so that rest is not the end.
    fn holds_back(&mut self) -> bool {
        false
    }
}

/// As much as there is.
pub struct Whole;

impl Schedule for Whole {
    fn deliver(&mut self, _: Side, waiting: usize) -> usize {
        waiting
    }
}

/// At most so many bytes at once.
pub struct Bytes(pub usize);

impl Schedule for Bytes {
    fn deliver(&mut self, _: Side, _: usize) -> usize {
        self.0
    }
    fn send(&mut self) -> usize {
        self.0
    }
    fn most(&self) -> usize {
        (self.0 * 500).min(40_000)
    }
}

/// Chunks of any size, either way first, stalls of one direction, all from one seed.
pub struct Random {
    rng: Rng,
    most: usize,
    stalled: Option<(Side, usize)>,
    held: bool,
}

impl Random {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng(seed ^ 0xc0de);
        let most = [1, 3, 7, 64, 1000, 20_000, 100_000][rng.below(7)];
        Self { rng, most, stalled: None, held: false }
    }
}

impl Schedule for Random {
    fn deliver(&mut self, side: Side, _: usize) -> usize {
        if let Some((stalled, rounds)) = &mut self.stalled {
            if *stalled == side {
                *rounds -= 1;
                self.held = true;
                if *rounds == 0 {
                    self.stalled = None;
                }
                return 0;
            }
        } else if self.rng.below(50) == 0 {
            self.stalled = Some((side, 1 + self.rng.below(20)));
        }
        1 + self.rng.below(self.most)
    }
    fn send(&mut self) -> usize {
        1 + self.rng.below(self.most * 2)
    }
    fn read(&mut self) -> usize {
        1 + self.rng.below(self.most * 4)
    }
    fn first(&mut self) -> Side {
        Side::BOTH[self.rng.below(2)]
    }
    fn most(&self) -> usize {
        (self.most * 500).min(40_000)
    }
    fn holds_back(&mut self) -> bool {
        std::mem::take(&mut self.held)
    }
}

/// Nothing arrives until its sender has nothing more to say: whole flights in one piece.
#[derive(Default)]
pub struct Coalesced {
    waiting: [usize; 2],
    held: bool,
}

impl Schedule for Coalesced {
    fn deliver(&mut self, side: Side, waiting: usize) -> usize {
        let last = &mut self.waiting[usize::from(side == Side::Right)];
        if *last == waiting {
            *last = 0;
            return waiting;
        }
        *last = waiting;
        self.held = true;
        0
    }
    fn holds_back(&mut self) -> bool {
        std::mem::take(&mut self.held)
    }
}

/// Tells which run failed, when one does.
pub struct Told(pub String);

impl Told {
    pub fn new(what: impl std::fmt::Debug) -> Self {
        Self(format!("{what:?}"))
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the run that failed: {}", self.0);
        }
    }
}
