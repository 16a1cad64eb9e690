//! Measuring by turns: in each round every contestant does the same work, so that what disturbs
//! one disturbs all; only ratios within a round count.

use std::time::Duration;

/// One contestant in one round: does its work so many times, and says how long that took.
pub type Turn<'a> = Box<dyn FnMut(u64) -> Duration + 'a>;

/// How long one contestant's turn should take.
const TURN: Duration = Duration::from_millis(6);

/// What the rounds came to.
#[derive(Clone, Copy, Debug)]
pub struct Ratio {
    pub median: f64,
    pub lower_quartile: f64,
    pub upper_quartile: f64,
    pub rounds: usize,
}

impl Ratio {
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |part: usize| values[(values.len() - 1) * part / 4];
        Self { median: at(2), lower_quartile: at(1), upper_quartile: at(3), rounds: values.len() }
    }

    pub fn map(self, f: impl Fn(f64) -> f64) -> Self {
        let (a, b) = (f(self.lower_quartile), f(self.upper_quartile));
        Self {
            median: f(self.median),
            lower_quartile: a.min(b),
            upper_quartile: a.max(b),
            rounds: self.rounds,
        }
    }
}

/// A small generator of numbers for orders and layouts; the same in every run.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % n
    }
}

/// Microseconds per unit of work: one list for each contestant, a figure per round.
///
/// `enter` makes fresh contestants in each round. Between them lie blocks of changing size: what
/// copies cost depends on how buffers lie in memory, and no contestant should have luck with that.
pub fn run<'a>(
    rounds: usize,
    mut enter: impl FnMut(&mut Random) -> Vec<Turn<'a>>,
) -> Vec<Vec<f64>> {
    let mut random = Random(1);
    let mut times = Vec::new();
    let mut count = 0;
    for _ in 0..rounds {
        let mut turns = enter(&mut random);
        times.resize_with(turns.len(), Vec::new);
        if count == 0 {
            count = calibrate(&mut turns);
        }
        let first = random.below(turns.len());
        for i in 0..turns.len() {
            let i = (first + i) % turns.len();
            // Warm: caches, buffers and predictions are its own.
            turns[i](count / 8 + 1);
            times[i].push(turns[i](count).as_secs_f64() * 1e6 / count as f64);
        }
    }
    times
}

fn calibrate(turns: &mut [Turn<'_>]) -> u64 {
    let mut count = 1;
    loop {
        let took = turns[0](count);
        if took >= TURN / 2 {
            return (count as f64 * TURN.as_secs_f64() / took.as_secs_f64()).ceil() as u64;
        }
        count *= 2;
    }
}

/// A block that moves what is allocated after it.
pub fn displacement(random: &mut Random) -> Vec<u8> {
    vec![0; 16 + random.below(1 << 14)]
}
