//! How far a machine has come.

use core::fmt;

/// How far a machine has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// The outer layer shakes hands.
    OuterHandshake,
    /// The outer layer is established and its plaintext is the user's.
    Preamble,
    /// The outer layer is established and the inner one shakes hands.
    InnerHandshake,
    /// Both layers are established and application data flows.
    Traffic,
    /// One side has closed the innermost layer.
    Closing,
    /// Both sides have closed every layer.
    Closed,
    /// The first error was final.
    Failed,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OuterHandshake => "outer handshake",
            Self::Preamble => "preamble",
            Self::InnerHandshake => "inner handshake",
            Self::Traffic => "traffic",
            Self::Closing => "closing",
            Self::Closed => "closed",
            Self::Failed => "failed",
        })
    }
}
