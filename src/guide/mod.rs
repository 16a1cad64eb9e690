//! The guide: what to decide, page by page.
//!
//! 1. [`roles`] - which end of which layer this side is
//! 2. [`identities`] - who each layer's peer has to be
//! 3. [`framing`] - what travels between the layers
//! 4. [`own_loop`] - driving a machine without an adapter
//! 5. [`back_pressure`] - when a port says "not now"
//! 6. [`closing`] - ends, half-closes, and what is a cut
//! 7. [`errors`] - whose fault, on which layer
//! 8. [`round_trips`] - what a connection costs before its first byte, and how to make it less
//! 9. [`cloudhsm`] - the certificates of an AWS CloudHSM client, step by step
//! 10. [`without_std`] - small devices
//! 11. [`migration`] - from stacked streams
//! 12. [`questions`] - failures that people met elsewhere, and what happens here
//! 13. [`seeing`] - what happens on the wire: traces, pictures, captures, logs
//! 14. [`operating`] - running the program for others: limits, reloads, metrics

// A page links to another by its file, which is right where the files are read, as at a forge. Here the first definition of
// a link counts: these lines.
#[doc = "[`round_trips`]: round_trips\n"]
#[doc = include_str!("roles.md")]
pub mod roles {}
#[doc = "[`round_trips`]: round_trips\n"]
#[doc = include_str!("identities.md")]
pub mod identities {}
#[doc = include_str!("framing.md")]
pub mod framing {}
#[doc = include_str!("own_loop.md")]
pub mod own_loop {}
#[doc = include_str!("back_pressure.md")]
pub mod back_pressure {}
#[doc = include_str!("closing.md")]
pub mod closing {}
#[doc = include_str!("errors.md")]
pub mod errors {}
#[doc = include_str!("round_trips.md")]
pub mod round_trips {}
#[doc = include_str!("cloudhsm.md")]
pub mod cloudhsm {}
#[doc = include_str!("without_std.md")]
pub mod without_std {}
#[doc = include_str!("migration.md")]
pub mod migration {}
#[doc = "[`closing`]: closing\n"]
#[doc = include_str!("questions.md")]
pub mod questions {}
#[doc = include_str!("seeing.md")]
pub mod seeing {}
#[doc = include_str!("operating.md")]
pub mod operating {}
