//! Providers that break their contract with rustls, or keep to themselves what protects the records: the layer fails in
//! words, nothing of it is read, and its peer is told of no end.

use nested_tls::*;
use rustls::Error::{self as TlsError, EncryptError, General, PeerSentOversizedRecord};
use rustls::{AlertDescription, PeerMisbehaved};

use crate::handshakes::{Machines, pair_of};
use crate::support::limited::{Wrong, with_limit, with_wrong};
use crate::support::pair::Pair;
use crate::support::party::Party;
use crate::support::pki::{self, Pki, Version};
use crate::support::schedule::Told;
use crate::support::setup::{Mix, Setup, Side};

const LAYERS: [Layer; 2] = [Layer::Outer, Layer::Inner];

/// Each layer, version and role of the left party, whose provider can do wrong.
fn cases() -> impl Iterator<Item = (Layer, Version, bool)> {
    LAYERS.into_iter().flat_map(|layer| {
        Version::ALL.into_iter().flat_map(move |version| {
            [true, false].into_iter().map(move |client| (layer, version, client))
        })
    })
}

/// The roles of one layer: the left party's, then the right one's.
fn roles(pki: &'static Pki, version: Version, client: bool) -> (Role, Role) {
    let role = |client| match client {
        true => Role::client(pki.client(version), pki.name()),
        false => Role::server(pki.server(version)),
    };
    (role(client), role(!client))
}

fn pair((layer, version, client): (Layer, Version, bool)) -> Machines {
    let breakable = |pki, version| {
        let (left, _) = with_limit(1 << 20, || roles(pki, version, client));
        (left, roles(pki, version, client).1)
    };
    match layer {
        Layer::Outer => {
            pair_of(breakable(pki::outer(), version), roles(pki::inner(), Version::Tls13, client))
        }
        Layer::Inner => {
            pair_of(roles(pki::outer(), Version::Tls13, client), breakable(pki::inner(), version))
        }
    }
}

/// The left party has failed in `layer` by `expected`, the right one knows of no clean end, and nothing was read.
fn assert_failed(pair: &Machines, layer: Layer, expected: &TlsError) {
    let error = pair.left.error().expect("it fails");
    assert_eq!((error.layer(), error.fault()), (layer, Fault::Local));
    assert_eq!(error.kind(), &ErrorKind::Tls(expected.clone()));
    for report in [pair.left.report(), pair.right.report()] {
        assert!(report.read.is_empty() && !report.end, "{report:?}");
    }
}

fn words(text: &str) -> TlsError {
    General(text.into())
}

#[test]
fn secrets_kept_from_the_beginning() {
    for case in cases() {
        let _told = Told::new(case);
        let pair = with_wrong(Wrong::Secrets, || pair(case));
        assert_failed(&pair, case.0, &words("operation not supported"));
    }
}

#[test]
fn the_next_secrets_kept() {
    for case @ (layer, version, _) in cases() {
        if version == Version::Tls12 {
            continue;
        }
        for asks in Side::BOTH {
            let _told = Told::new((case, asks));
            let mut pair = pair(case);
            pair.assert_established();
            with_wrong(Wrong::Secrets, || {
                pair.party(asks).update_keys(layer, false);
                pair.settle();
            });
            assert_failed(&pair, layer, &words("operation not supported"));
            let told = pair.right.error().unwrap();
            assert_eq!(told.alert_received(), Some(AlertDescription::InternalError));
        }
    }
}

/// Both ends have to take the same keys out of the same bytes, so both do it wrong.
#[test]
fn an_iv_of_an_unknown_form() {
    for mix in Mix::ALL {
        for layer in LAYERS {
            let _told = Told::new((mix, layer));
            let (outer, inner) = match layer {
                Layer::Outer => (Version::Tls12, Version::Tls13),
                Layer::Inner => (Version::Tls13, Version::Tls12),
            };
            let setup = Setup::new(outer, inner, mix);
            let pair = with_wrong(Wrong::Iv, || {
                let mut pair = with_limit(1 << 20, || setup.pair());
                pair.settle();
                pair
            });
            assert_failed(&pair, layer, &words("the cipher suite's IV has an unknown form"));
        }
    }
}

#[test]
fn plaintext_in_another_place() {
    for case in cases() {
        let _told = Told::new(case);
        let mut pair = pair(case);
        pair.assert_established();
        with_wrong(Wrong::Place, || {
            pair.right.write(b"data");
            pair.settle();
        });
        assert_failed(&pair, case.0, &words("the decrypter did not work in place"));
        let told = pair.right.error().unwrap();
        assert_eq!(told.alert_received(), Some(AlertDescription::InternalError));
    }
}

#[test]
fn plaintext_that_is_too_long() {
    for case @ (layer, ..) in cases() {
        let _told = Told::new(case);
        let mut pair = pair(case);
        pair.assert_established();
        with_wrong(Wrong::Length, || {
            pair.right.write(b"data");
            pair.settle();
        });
        let error = pair.left.error().unwrap();
        assert_eq!((error.layer(), error.kind()), (layer, &PeerSentOversizedRecord.into()));
        assert!(pair.left.report().read.is_empty());
        let told = pair.right.error().unwrap();
        assert_eq!(told.alert_received(), Some(AlertDescription::RecordOverflow));
    }
}

#[test]
fn records_that_can_not_be_sealed() {
    for case in cases() {
        let _told = Told::new(case);
        let mut pair = pair(case);
        pair.assert_established();
        with_wrong(Wrong::Seal, || {
            pair.left.write(b"data");
            // There seems to be output until it has to be sealed.
            pair.left.with(|ports| _ = ports.wire_out());
        });
        pair.hang_up();
        assert_failed(&pair, case.0, &EncryptError);
        assert_eq!(pair.right.error().unwrap().kind(), &ErrorKind::Truncated);
    }
}

/// What was taken is lost, so the layer does not end as if all had been said.
#[test]
fn a_close_behind_what_can_not_be_sealed() {
    for case @ (layer, ..) in cases() {
        let _told = Told::new(case);
        let mut pair = pair(case);
        pair.assert_established();
        with_wrong(Wrong::Seal, || {
            pair.left.write(b"data");
            pair.left.close_write();
            pair.left.with(|ports| _ = ports.wire_out());
        });
        pair.hang_up();
        assert_failed(&pair, layer, &EncryptError);
        assert_eq!(pair.right.error().unwrap().kind(), &ErrorKind::Truncated);
    }
}

/// The inner layer is cut, and that can't be told to the host: the first error stays.
#[test]
fn the_first_of_two_failures_is_told() {
    for version in Version::ALL {
        let mut pair = pair((Layer::Outer, version, true));
        pair.assert_established();
        with_wrong(Wrong::Seal, || {
            pair.left.write(b"data");
            pair.left.eof();
        });
        assert_failed(&pair, Layer::Outer, &EncryptError);
    }
}

#[test]
fn a_layer_alone() {
    for version in Version::ALL {
        let setup = Setup::new(version, Version::Tls13, Mix::ClientClient);
        let left = with_limit(1 << 20, || setup.session(Side::Left));
        let mut pair = Pair::new(left, setup.session(Side::Right));
        pair.settle();
        let error = with_wrong(Wrong::Seal, || {
            pair.left.with(|ports| ports.plain_write(b"data").unwrap_err())
        });
        assert_eq!((error.layer(), error.kind()), (Layer::Outer, &EncryptError.into()));
        pair.hang_up();
        assert_eq!(pair.right.error().unwrap().kind(), &ErrorKind::Truncated);
    }
}

/// Keys must not change in the middle of a message; here it is the peer that does wrong.
#[test]
fn a_message_begun_behind_the_handshake_s_last() {
    for case @ (layer, ..) in cases() {
        let _told = Told::new(case);
        let pair = with_wrong(Wrong::Behind, || pair(case));
        let error = pair.right.error().unwrap();
        let misbehaved = TlsError::from(PeerMisbehaved::KeyEpochWithPendingFragment);
        assert_eq!((error.layer(), error.kind()), (layer, &misbehaved.into()));
        assert!(!pair.right.has(Event::Established(layer)));
        assert_eq!(pair.left.error().unwrap().layer(), layer);
    }
}
