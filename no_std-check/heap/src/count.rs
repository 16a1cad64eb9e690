//! Who holds how much of the heap.

/// To whom an allocation belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Owner {
    /// The peers, and whatever else the program has.
    Rest = 1,
    /// The nested client with its configurations.
    Client = 2,
}

impl Owner {
    pub(crate) fn from_tag(tag: u32) -> Self {
        if tag == Self::Client as u32 { Self::Client } else { Self::Rest }
    }
}

/// Bytes and allocations.
#[derive(Clone, Copy, Debug)]
pub struct Count {
    /// Bytes asked for and not given back.
    pub live: usize,
    /// The most that `live` ever was.
    pub peak: usize,
    /// As `live`, with headers and padding.
    pub taken: usize,
    /// The most that `taken` ever was.
    pub peak_taken: usize,
    /// How often something was allocated.
    pub allocations: usize,
}

impl Count {
    const NONE: Self = Self { live: 0, peak: 0, taken: 0, peak_taken: 0, allocations: 0 };

    fn added(&mut self, size: usize, taken: usize) {
        self.live += size;
        self.taken += taken;
        self.peak = self.peak.max(self.live);
        self.peak_taken = self.peak_taken.max(self.taken);
        self.allocations += 1;
    }

    fn removed(&mut self, size: usize, taken: usize) {
        self.live -= size;
        self.taken -= taken;
    }

    fn reset_peak(&mut self) {
        self.peak = self.live;
        self.peak_taken = self.taken;
    }
}

pub(crate) struct Counts {
    pub(crate) current: Owner,
    pub(crate) total: Count,
    client: Count,
    rest: Count,
}

impl Counts {
    pub(crate) const NONE: Self =
        Self { current: Owner::Rest, total: Count::NONE, client: Count::NONE, rest: Count::NONE };

    pub(crate) fn of(&self, owner: Owner) -> Count {
        match owner {
            Owner::Client => self.client,
            Owner::Rest => self.rest,
        }
    }

    pub(crate) fn added(&mut self, owner: Owner, size: usize, taken: usize) {
        self.total.added(size, taken);
        self.of_mut(owner).added(size, taken);
    }

    pub(crate) fn removed(&mut self, owner: Owner, size: usize, taken: usize) {
        self.total.removed(size, taken);
        self.of_mut(owner).removed(size, taken);
    }

    pub(crate) fn reset_peaks(&mut self) {
        self.total.reset_peak();
        self.client.reset_peak();
        self.rest.reset_peak();
    }

    fn of_mut(&mut self, owner: Owner) -> &mut Count {
        match owner {
            Owner::Client => &mut self.client,
            Owner::Rest => &mut self.rest,
        }
    }
}
