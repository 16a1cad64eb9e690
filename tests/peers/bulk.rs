//! Much, both ways at once, with new keys in the middle.

use std::env;
use std::time::Instant;

use nested_tls::Layer;

use crate::case::{Case, End, Flow, Version};
use crate::identities::Identities;
use crate::openssl::OpenSsl;
use crate::ours::Driver;
use crate::peer::Peer as _;
use crate::table::{check, say};

const MIB: u64 = 1 << 20;

fn case(versions: (Version, Version), bytes: u64) -> Case {
    // One KeyUpdate on each layer with TLS 1.3 that asks for the other side's.
    let ours = Flow { update: bytes / 2 + 1, piece: 1 << 16, ..Flow::of(bytes) };
    Case { ours, theirs: Flow::of(bytes), ..Case::new(versions, (End::Client, End::Server)) }
}

#[test]
fn sixty_four_megabytes_both_ways() {
    for (driver, outer, inner) in [
        (Driver::Tokio, Version::Tls13, Version::Tls13),
        (Driver::Bare, Version::Tls12, Version::Tls13),
    ] {
        let outcome =
            check(&OpenSsl, Identities::throwaway(), driver, &case((outer, inner), 64 * MIB));
        // A full inner record fills one outer record: the excess over the plaintext is two headers
        // and two tags each.
        let excess = outcome.outer.bytes_out - 64 * MIB;
        assert!(excess < 64 * MIB * 4 / 1000, "{excess} bytes of overhead");
    }
}

/// `NESTED_TLS_TRANSFER_GIB` says how much; only sensible with `--release`.
#[test]
fn as_much_as_you_like() {
    let Ok(gib) = env::var("NESTED_TLS_TRANSFER_GIB") else {
        return say("SKIPPED: the long transfer: set NESTED_TLS_TRANSFER_GIB=11, with --release");
    };
    let gib: u64 = gib.parse().unwrap();
    let versions = (Version::Tls13, Version::Tls13);
    for driver in [Driver::Bare, Driver::Tokio] {
        let begun = Instant::now();
        let outcome =
            check(&OpenSsl, Identities::throwaway(), driver, &case(versions, gib * 1024 * MIB));
        let seconds = begun.elapsed().as_secs_f64();
        for (layer, info) in [(Layer::Outer, &outcome.outer), (Layer::Inner, &outcome.inner)] {
            say(&format!(
                "{layer}: {} records in, {} out, {} bytes in, {} out",
                info.records_in, info.records_out, info.bytes_in, info.bytes_out
            ));
        }
        #[expect(clippy::cast_precision_loss, reason = "a figure to read")]
        let rate = (2 * gib * 1024) as f64 / seconds;
        say(&format!(
            "{gib} GiB each way at once, {driver:?}, {}: {seconds:.0} s, {rate:.0} MiB/s together",
            OpenSsl.name()
        ));
    }
}
