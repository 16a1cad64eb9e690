//! What one conversation is about: who is what on each layer, and what each side says.

use std::fmt;

use nested_tls::Layer;

/// A TLS version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Tls12,
    Tls13,
}

impl Version {
    pub(crate) const ALL: [Self; 2] = [Self::Tls12, Self::Tls13];

    pub(crate) fn digits(self) -> &'static str {
        match self {
            Self::Tls12 => "1.2",
            Self::Tls13 => "1.3",
        }
    }
}

/// One end of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Client,
    Server,
}

impl End {
    pub(crate) const ALL: [Self; 2] = [Self::Client, Self::Server];

    pub(crate) fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

/// What one side says on the inner layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow {
    /// How many bytes it sends before it closes its direction.
    pub(crate) bytes: u64,
    /// How many of them at once.
    pub(crate) piece: usize,
    /// Whether it sends only after the other side's end.
    pub(crate) waits: bool,
    /// After so many bytes each it updates its keys, on every layer that has TLS 1.3, and asks the
    /// other side to do so every second time. 0 for never.
    pub(crate) update: u64,
}

impl Flow {
    pub(crate) fn of(bytes: u64) -> Self {
        Self { bytes, piece: 1 << 14, waits: false, update: 0 }
    }
}

/// How the peer breaks off instead of closing, after it has sent all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The transport ends, without a word on either layer.
    Transport,
    /// The outer layer is closed, the inner one is not: what a hostile host can do.
    Outer,
    /// The inner layer is closed by both sides, then the transport ends: what Node does.
    AfterInner,
    /// The transport is reset, as when the peer is killed with something unread.
    Reset,
}

impl Cut {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Transport => "transport",
            Self::Outer => "outer",
            Self::AfterInner => "after-inner",
            Self::Reset => "reset",
        }
    }
}

/// One conversation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) outer: Version,
    pub(crate) inner: Version,
    /// What we are on the outer layer; the peer is the other end. `None` if the peer has no outer
    /// layer, because a host stands between.
    pub(crate) outer_end: End,
    pub(crate) inner_end: End,
    pub(crate) ours: Flow,
    pub(crate) theirs: Flow,
    /// The most that the peer puts into one record of the outer layer.
    pub(crate) outer_piece: usize,
    /// The peer pads its TLS 1.3 records to multiples of this, on both layers.
    pub(crate) pad: usize,
    pub(crate) cut: Option<Cut>,
    /// We break off after we have said all, without a word on either layer.
    pub(crate) cut_here: bool,
    /// We present a stranger's certificate on this layer.
    pub(crate) stranger_here: Option<Layer>,
    /// The peer does.
    pub(crate) stranger_there: Option<Layer>,
}

impl Case {
    pub(crate) fn new(versions: (Version, Version), ends: (End, End)) -> Self {
        Self {
            outer: versions.0,
            inner: versions.1,
            outer_end: ends.0,
            inner_end: ends.1,
            ours: Flow::of(100),
            theirs: Flow::of(100),
            outer_piece: 1 << 14,
            pad: 0,
            cut: None,
            cut_here: false,
            stranger_here: None,
            stranger_there: None,
        }
    }

    /// Every pair of versions with every mix of roles.
    pub(crate) fn all() -> Vec<Self> {
        let pairs = |f: &dyn Fn(Version, Version) -> Vec<Self>| {
            Version::ALL.iter().flat_map(|o| Version::ALL.map(|i| f(*o, i))).flatten().collect()
        };
        pairs(&|outer, inner| {
            End::ALL
                .iter()
                .flat_map(|o| End::ALL.map(|i| Self::new((outer, inner), (*o, i))))
                .collect()
        })
    }

    /// One of [`Case::all`], in an order in which neighbours differ.
    pub(crate) fn some(some: usize) -> Self {
        let all = Self::all();
        all[some * 5 % all.len()]
    }

    pub(crate) fn both(self, bytes: u64) -> Self {
        Self { ours: Flow::of(bytes), theirs: Flow::of(bytes), ..self }
    }

    pub(crate) fn version(&self, layer: Layer) -> Version {
        match layer {
            Layer::Outer => self.outer,
            Layer::Inner => self.inner,
        }
    }

    pub(crate) fn end(&self, layer: Layer) -> End {
        match layer {
            Layer::Outer => self.outer_end,
            Layer::Inner => self.inner_end,
        }
    }

    pub(crate) fn has_tls13(&self) -> bool {
        self.outer == Version::Tls13 || self.inner == Version::Tls13
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { outer, inner, outer_end, inner_end, ours, theirs, .. } = self;
        write!(
            f,
            "outer {} {}, inner {} {}, {} bytes out, {} in by {}",
            outer.digits(),
            outer_end.word(),
            inner.digits(),
            inner_end.word(),
            ours.bytes,
            theirs.bytes,
            theirs.piece,
        )?;
        for (name, flow) in [("we", ours), ("they", theirs)] {
            if flow.waits {
                write!(f, ", {name} wait")?;
            }
            if flow.update > 0 {
                write!(f, ", {name} update keys")?;
            }
        }
        if self.pad > 0 {
            write!(f, ", padded to {}", self.pad)?;
        }
        if let Some(cut) = self.cut {
            write!(f, ", cut: {}", cut.word())?;
        }
        if self.cut_here {
            write!(f, ", cut by us")?;
        }
        for (name, layer) in [("our", self.stranger_here), ("their", self.stranger_there)] {
            if let Some(layer) = layer {
                write!(f, ", {name} {layer} certificate is a stranger's")?;
            }
        }
        Ok(())
    }
}

/// The bytes that each side sends: those of a period that divides no record.
pub(crate) fn pattern(at: u64, bytes: &mut [u8]) {
    let at = (at % PERIOD) as usize;
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = ((at + i) % PERIOD as usize) as u8;
    }
}

pub(crate) const PERIOD: u64 = 251;

/// What came from the other side, compared with the pattern as it comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) bytes: u64,
    /// Where it first differed.
    pub(crate) wrong: Option<u64>,
}

impl Received {
    pub(crate) fn take(&mut self, mut bytes: &[u8]) {
        let expected = expected();
        while !bytes.is_empty() {
            let at = (self.bytes % PERIOD) as usize;
            let n = bytes.len().min(expected.len() - at);
            if self.wrong.is_none() && bytes[..n] != expected[at..at + n] {
                let first = (0..n).find(|i| bytes[*i] != expected[at + i]).unwrap();
                self.wrong = Some(self.bytes + first as u64);
            }
            self.bytes += n as u64;
            bytes = &bytes[n..];
        }
    }
}

/// A long piece of the pattern.
pub(crate) fn expected() -> &'static [u8] {
    static BYTES: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    BYTES.get_or_init(|| {
        let mut bytes = vec![0; PERIOD as usize * 1024];
        pattern(0, &mut bytes);
        bytes
    })
}

/// At most `max` bytes of the pattern from `at` on.
pub(crate) fn piece(at: u64, max: usize) -> &'static [u8] {
    let start = (at % PERIOD) as usize;
    let bytes = &expected()[start..];
    &bytes[..max.min(bytes.len())]
}
