//! Who is measured.

use nested_tls::Nested;

use super::ciphers::Bare;
use super::glued::{Eager, Lazy, Single};
use super::limit::Limit;
use super::link::{Contestant, End, Link};
use super::unbuffered::Unbuffered;

/// The names under which contestants are reported.
pub const NESTED: &str = "nested-tls";
pub const GLUED: &str = "two glued rustls connections";
pub const GLUED_LAZY: &str = "the same, glued once per transmission";
pub const UNBUFFERED: &str = "two glued unbuffered rustls connections";
pub const SINGLE: &str = "one rustls connection";
pub const LIMIT: &str = "bare AEAD";
pub const CIPHERS: &str = "rustls' encrypters and decrypters alone";
pub const STACKED: &str = "stacked tokio-rustls streams";
pub const PLAIN: &str = "plain TCP, no TLS";
pub const STACKED_OWNED: &str = "stacked rustls StreamOwned";

/// A new contestant, or none with this provider.
pub type Enter = fn() -> Option<Box<dyn Contestant>>;

fn link<E: End + 'static>() -> Option<Box<dyn Contestant>> {
    Some(Box::new(Link::<E>::new()))
}

fn limit() -> Option<Box<dyn Contestant>> {
    Limit::new().map(|limit| -> Box<dyn Contestant> { Box::new(limit) })
}

fn ciphers() -> Option<Box<dyn Contestant>> {
    Some(Box::new(Bare::new()))
}

/// All that can carry data in memory, ours first.
pub const IN_MEMORY: [(&str, Enter); 7] = [
    (NESTED, link::<Nested>),
    (GLUED, link::<Eager>),
    (GLUED_LAZY, link::<Lazy>),
    (UNBUFFERED, link::<Unbuffered>),
    (SINGLE, link::<Single>),
    (CIPHERS, ciphers),
    (LIMIT, limit),
];

/// All of these that there are with this provider.
pub fn in_memory() -> Vec<(&'static str, Box<dyn Contestant>)> {
    IN_MEMORY.into_iter().filter_map(|(name, enter)| Some((name, enter()?))).collect()
}

/// All that can shake hands in memory, ours first.
pub fn handshakes() -> Vec<(&'static str, fn())> {
    fn shake<E: End>() {
        drop(Link::<E>::new());
    }
    vec![
        (NESTED, shake::<Nested>),
        (GLUED, shake::<Lazy>),
        (UNBUFFERED, shake::<Unbuffered>),
        (SINGLE, shake::<Single>),
    ]
}
