//! What all peers have in common.

use std::collections::BTreeMap;
use std::fmt;
use std::net::TcpStream;

use crate::case::Case;
use crate::identities::Identities;

/// Another implementation of TLS, nested.
pub(crate) trait Peer {
    /// Its name and version.
    fn name(&self) -> String;

    /// What it can do.
    fn can(&self) -> Can;

    /// The peer's end of `case`, and our end of its connection.
    fn start(&self, identities: &Identities, case: &Case) -> (TcpStream, Running);
}

/// What a peer can do; what it can't is skipped and said.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Can {
    /// Be the outer layer, too; else a host is, which is always a server and tells nothing.
    pub(crate) outer: bool,
    /// Play all cases in good time; else a part of them will do.
    pub(crate) hurry: bool,
    /// Choose the outer layer's protocol.
    pub(crate) outer_alpn: bool,
    /// Close its direction and go on reading.
    pub(crate) half_close: bool,
    /// Go on sending after the other side's close, in TLS 1.2, which says that one must not.
    pub(crate) half_close_by_tls12: bool,
    /// Tell a cut from an end.
    pub(crate) tell_truncation: bool,
    /// Cut one of its outer records where it is told.
    pub(crate) outer_pieces: bool,
    pub(crate) update_keys: bool,
    /// How many KeyUpdates of either side it bears within a second; half of them may be asked for.
    pub(crate) most_updates: u64,
    /// Bear to be asked for new keys while it asks.
    pub(crate) crossing_updates: bool,
    pub(crate) pad: bool,
    /// Close the outer layer alone.
    pub(crate) cut_outer: bool,
    pub(crate) reset: bool,
    /// End both layers with close_notify, and see the other side do so.
    pub(crate) close_outer: bool,
    /// Wait for our end of the transport, so that our last words are not met with a reset.
    pub(crate) lingers: bool,
    /// End the transport with the outer layer open.
    pub(crate) leave_outer: bool,
    /// Refuse a certificate with an alert; a host that can't does so on the outer layer only.
    pub(crate) alert: bool,
}

impl Can {
    pub(crate) const ALL: Self = Self {
        outer: true,
        hurry: true,
        outer_alpn: true,
        half_close: true,
        half_close_by_tls12: true,
        tell_truncation: true,
        outer_pieces: true,
        update_keys: true,
        most_updates: u64::MAX,
        crossing_updates: true,
        pad: true,
        cut_outer: true,
        reset: true,
        close_outer: true,
        lingers: true,
        leave_outer: true,
        alert: true,
    };
}

/// A conversation that the peer is having.
pub(crate) struct Running(Box<dyn FnOnce() -> Report>);

impl Running {
    pub(crate) fn new(finish: impl FnOnce() -> Report + 'static) -> Self {
        Self(Box::new(finish))
    }

    /// What the peer has seen.
    pub(crate) fn finish(self) -> Report {
        (self.0)()
    }
}

/// What a peer has seen of a conversation.
///
/// `end`: how the inner layer's data ended, `clean`, `truncated`, `error` or `none`; then `layer` and
/// `reason`. `received` bytes, `wrong`: where they first differed, or -1. `outer_end`: `clean` or
/// `unclean`. For each layer its `version`, `alpn` and, of servers, `sni`.
#[derive(Clone, Default)]
pub(crate) struct Report(BTreeMap<String, String>);

impl Report {
    pub(crate) fn parse(line: &str) -> Self {
        let pairs = line.split_whitespace().filter_map(|pair| pair.split_once('='));
        Self(pairs.map(|(key, value)| (key.into(), value.into())).collect())
    }

    pub(crate) fn set(&mut self, key: &str, value: impl ToString) {
        self.0.insert(key.into(), value.to_string());
    }

    pub(crate) fn get(&self, key: &str) -> &str {
        self.0.get(key).map_or("", String::as_str)
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(key, value)| write!(f, "{key}={value} "))
    }
}
