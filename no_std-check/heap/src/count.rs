//! Who holds how much of the heap.

/// To whom an allocation belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Owner {
    /// Whatever belongs to no end of the connection.
    Program = 1,
    /// The nested client with its configurations.
    Client = 2,
    /// The nested server with its configurations.
    Server = 3,
}

impl Owner {
    pub(crate) fn from_tag(tag: u32) -> Self {
        match tag {
            2 => Self::Client,
            3 => Self::Server,
            _ => Self::Program,
        }
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
}

pub(crate) struct Counts {
    pub(crate) current: Owner,
    program: Count,
    client: Count,
    server: Count,
}

impl Counts {
    pub(crate) const NONE: Self = Self {
        current: Owner::Program,
        program: Count::NONE,
        client: Count::NONE,
        server: Count::NONE,
    };

    pub(crate) fn added(&mut self, owner: Owner, size: usize, taken: usize) {
        self.of(owner).added(size, taken);
    }

    pub(crate) fn removed(&mut self, owner: Owner, size: usize, taken: usize) {
        self.of(owner).removed(size, taken);
    }

    /// Starts the peak and the number of allocations again, from what is allocated.
    pub(crate) fn restart(&mut self, owner: Owner) {
        let count = self.of(owner);
        count.peak = count.live;
        count.peak_taken = count.taken;
        count.allocations = 0;
    }

    pub(crate) fn of(&mut self, owner: Owner) -> &mut Count {
        match owner {
            Owner::Program => &mut self.program,
            Owner::Client => &mut self.client,
            Owner::Server => &mut self.server,
        }
    }
}
