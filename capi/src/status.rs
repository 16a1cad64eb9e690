//! The values that cross the boundary.

use std::ffi::{CStr, c_char};

use nested_tls::{ErrorKind, Layer};

/// How a call went.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It did what it says.
    Ok = 0,
    /// A pointer is NULL or misaligned, a length is impossible, or a value is none of its kind. Nothing changed.
    Argument = 1,
    /// The call came at the wrong time. Nothing changed.
    Misuse = 2,
    /// A certificate, a key, a name or a file can't be used. Nothing changed.
    Configuration = 3,
    /// TLS failed: what the peer sent, what it refused, or what could not be verified. Final.
    Tls = 4,
    /// A layer ended without its peer's close_notify: someone cut it. Final.
    Truncated = 5,
    /// The peer wanted more memory than the limits allow. Final.
    Limit = 6,
    /// What came between the layers is nonsense. Final.
    Framing = 7,
    /// This side closed before the handshakes were complete. Final.
    Canceled = 8,
    /// A bug of this library. The handle can only be freed.
    Internal = 9,
}

impl Status {
    pub(crate) fn of(kind: &ErrorKind) -> Self {
        match kind {
            ErrorKind::Canceled => Self::Canceled,
            ErrorKind::Framing(_) => Self::Framing,
            ErrorKind::Limit { .. } => Self::Limit,
            ErrorKind::Misuse(_) => Self::Misuse,
            ErrorKind::Tls(_) => Self::Tls,
            ErrorKind::Truncated => Self::Truncated,
            _ => Self::Internal,
        }
    }

    const ALL: [Self; 10] = [
        Self::Ok,
        Self::Argument,
        Self::Misuse,
        Self::Configuration,
        Self::Tls,
        Self::Truncated,
        Self::Limit,
        Self::Framing,
        Self::Canceled,
        Self::Internal,
    ];

    fn text(self) -> &'static CStr {
        match self {
            Self::Ok => c"ok",
            Self::Argument => c"a pointer, a length or a value can't be right",
            Self::Misuse => c"the call came at the wrong time",
            Self::Configuration => c"a certificate, a key, a name or a file can't be used",
            Self::Tls => c"TLS failed",
            Self::Truncated => c"a layer was cut short",
            Self::Limit => c"the peer wanted more memory than the limits allow",
            Self::Framing => c"what came between the layers is nonsense",
            Self::Canceled => c"closed by this side before the handshakes were complete",
            Self::Internal => c"a bug of the library",
        }
    }
}

/// A few words for a status, where there is no handle that could say more. Never NULL, never freed.
#[unsafe(no_mangle)]
pub extern "C" fn nested_tls_status_text(status: u32) -> *const c_char {
    let known = Status::ALL.into_iter().find(|known| *known as u32 == status);
    known.map_or(c"no status", Status::text).as_ptr()
}

/// Which end of a layer this side is.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// This side sends the ClientHello.
    Client = 1,
    /// This side answers it.
    Server = 2,
}

impl Side {
    pub(crate) fn from_c(value: u32) -> Option<Self> {
        [Self::Client, Self::Server].into_iter().find(|side| *side as u32 == value)
    }
}

/// One of the two TLS connections.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerId {
    /// The connection to the host, next to the transport.
    Outer = 1,
    /// The connection through the host, end to end.
    Inner = 2,
}

impl LayerId {
    pub(crate) fn from_c(value: u32) -> Option<Layer> {
        match value {
            value if value == Self::Outer as u32 => Some(Layer::Outer),
            value if value == Self::Inner as u32 => Some(Layer::Inner),
            _ => None,
        }
    }
}

/// A version of TLS, as it stands on the wire.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// TLS 1.2.
    Tls12 = 0x0303,
    /// TLS 1.3.
    Tls13 = 0x0304,
}

impl Version {
    pub(crate) fn from_c(value: u32) -> Option<Self> {
        [Self::Tls12, Self::Tls13].into_iter().find(|version| *version as u32 == value)
    }
}

/// Something that happened to a connection; each occurs at most once.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Nothing new.
    None = 0,
    /// The outer layer's peer is authenticated and its handshake complete.
    OuterEstablished = 1,
    /// The inner layer's peer is authenticated and its handshake complete.
    InnerEstablished = 2,
    /// The outer layer's peer has closed it.
    OuterPeerClosed = 3,
    /// The inner layer's peer has closed it: what it had to say is complete.
    InnerPeerClosed = 4,
    /// The inner layer ended cleanly, but then the transport ended with the outer one open. The data is complete.
    OuterUnclean = 5,
    /// All is closed.
    Closed = 6,
}

impl Event {
    /// `None` for an event that this library's C interface has no word for.
    pub(crate) fn of(event: nested_tls::Event) -> Option<Self> {
        use nested_tls::Event as E;
        Some(match event {
            E::Established(Layer::Outer) => Self::OuterEstablished,
            E::Established(Layer::Inner) => Self::InnerEstablished,
            E::PeerClosed(Layer::Outer) => Self::OuterPeerClosed,
            E::PeerClosed(Layer::Inner) => Self::InnerPeerClosed,
            E::OuterUnclean => Self::OuterUnclean,
            E::Closed => Self::Closed,
            _ => return None,
        })
    }
}

/// How far a connection has come.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The outer layer shakes hands.
    OuterHandshake = 1,
    /// The outer layer's plaintext is the user's.
    Preamble = 2,
    /// The inner layer shakes hands.
    InnerHandshake = 3,
    /// Application data flows.
    Traffic = 4,
    /// One side has closed the innermost layer.
    Closing = 5,
    /// All is closed.
    Closed = 6,
    /// The first error was final.
    Failed = 7,
}

impl Phase {
    pub(crate) fn of(phase: nested_tls::Phase) -> Self {
        use nested_tls::Phase as P;
        match phase {
            P::OuterHandshake => Self::OuterHandshake,
            P::Preamble => Self::Preamble,
            P::InnerHandshake => Self::InnerHandshake,
            P::Traffic => Self::Traffic,
            P::Closing => Self::Closing,
            P::Closed => Self::Closed,
            _ => Self::Failed,
        }
    }
}

/// What a connection can do now, one bit each.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// It takes bytes from the transport.
    WireIn = 1,
    /// It has bytes for the transport.
    WireOut = 2,
    /// It takes plaintext.
    PlainWrite = 4,
    /// It has plaintext to read, or its end.
    PlainOut = 8,
}

/// A part of what is known of a failure.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// All of it, in one line.
    Message = 0,
    /// The layer: `outer`, `inner`, or nothing.
    Layer = 1,
    /// How far the connection had come.
    Phase = 2,
    /// What was wrong.
    Reason = 3,
    /// What would have been right.
    Expected = 4,
    /// What was there.
    Found = 5,
    /// What a person can do about it.
    Remedy = 6,
}

impl Field {
    pub(crate) const ALL: [Self; 7] = [
        Self::Message,
        Self::Layer,
        Self::Phase,
        Self::Reason,
        Self::Expected,
        Self::Found,
        Self::Remedy,
    ];
}
