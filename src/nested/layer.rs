//! Which of the two connections, and what is known of each.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use rustls::pki_types::CertificateDer;
use rustls::{CipherSuite, NamedGroup, ProtocolVersion};

/// One of the two TLS connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Layer {
    /// The connection to the host, next to the transport.
    Outer,
    /// The connection through the host, end to end.
    Inner,
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Outer => "outer",
            Self::Inner => "inner",
        })
    }
}

/// What a layer has agreed with its peer, and how much it has carried.
///
/// The negotiated facts are `None` until that layer's handshake is complete. The counts run from
/// the first byte on; they are of records as they stand on that layer's wire, headers included.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct LayerInfo {
    /// The protocol version.
    pub version: Option<ProtocolVersion>,
    /// The cipher suite.
    pub suite: Option<CipherSuite>,
    /// The key exchange group; `None` for a resumed TLS 1.2 session, which has no key exchange.
    pub group: Option<NamedGroup>,
    /// The protocol that ALPN chose.
    pub alpn: Option<Vec<u8>>,
    /// The peer's certificates as it sent them, end entity first. A resumed session has those of
    /// the session that it resumes.
    pub peer_certificates: Option<Box<[CertificateDer<'static>]>>,
    /// Whether the handshake resumed an earlier session.
    pub resumed: bool,
    /// Whether early data went, and the server took it. Only ever in the outer layer.
    pub early_data: bool,
    /// Bytes of records processed.
    pub bytes_in: u64,
    /// Bytes of records produced.
    pub bytes_out: u64,
    /// Records processed.
    pub records_in: u64,
    /// Records produced.
    pub records_out: u64,
}

impl LayerInfo {
    pub(super) fn count_in(&mut self, bytes: usize) {
        self.records_in += 1;
        self.bytes_in += bytes as u64;
    }

    pub(super) fn count_out(&mut self, bytes: usize) {
        self.records_out += 1;
        self.bytes_out += bytes as u64;
    }
}
