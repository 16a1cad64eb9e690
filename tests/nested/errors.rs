//! What errors and machines say of themselves.

use std::error::Error as _;

use nested_tls::*;

use crate::support::framings::Prefixed;
use crate::support::party::Party;
use crate::support::setup::{Setup, Side};

#[test]
fn each_misuse_has_its_own_words() {
    let all = [
        Misuse::Count { given: 7, offered: 5 },
        Misuse::ExporterLength,
        Misuse::ExporterOff,
        Misuse::ExporterVersion,
        Misuse::InnerEarlyData,
        Misuse::KeyUpdateVersion,
        Misuse::NotEstablished,
        Misuse::SharedConfig,
        Misuse::WriteAfterClose,
    ];
    let words: std::collections::BTreeSet<String> = all.iter().map(Misuse::to_string).collect();
    assert_eq!(words.len(), all.len(), "{words:?}");
    assert_eq!(all[0].to_string(), "7 bytes were reported where 5 had been offered");
}

#[test]
fn each_failure_has_its_own_words() {
    let setup = Setup::default();
    let mut cut = setup.session(Side::Left);
    cut.eof();
    let mut canceled = setup.session(Side::Left);
    canceled.close();
    for (machine, words) in [
        (&cut, "outer TLS was cut short in the outer handshake phase"),
        (&canceled, "closed by this side in the outer handshake phase"),
    ] {
        let error = machine.error().unwrap();
        assert!(error.to_string().starts_with(words), "{error}");
        assert!(error.source().is_none());
    }
    let refused = FramingError::new("a frame of 9 bytes");
    assert_eq!(refused.to_string(), "a frame of 9 bytes");
}

#[test]
fn a_machine_shows_its_phase_and_nothing_else() {
    let setup = Setup::default();
    let session = setup.session(Side::Left).ports;
    assert_eq!(format!("{session:?}"), "Session { phase: OuterHandshake, .. }");
    let nested = setup.nested_in(Side::Left, Prefixed::default()).ports;
    assert_eq!(format!("{nested:?}"), "Nested { phase: OuterHandshake, .. }");
}

#[test]
fn a_buffer_of_one_s_own_is_taken_as_far_as_there_is_room() {
    let limits = Limits { wire_out: 1000, ..Limits::default() };
    let mut pair = Setup { limits, ..Setup::default() }.connected();
    let sent: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
    let mut rest = &sent[..];
    while !rest.is_empty() {
        let before = rest.len();
        let taken = pair.left.with(|ports| ports.plain_write_from(&mut rest).unwrap());
        assert_eq!(taken, before - rest.len());
        assert!(taken > 0);
        pair.settle();
    }
    assert!(pair.right.report().read == sent);
}
