//! What errors and machines say of themselves.

use std::error::Error as _;

use nested_tls::*;

use crate::support::framings::Prefixed;
use crate::support::party::Party;
use crate::support::pki;
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

/// What failures and refusals of each kind say, and which error is behind them.
#[test]
fn each_kind_has_its_own_words_and_source() {
    let limits = Limits { messages: 100, ..Limits::default() };
    let mut pair = Setup { limits, ..Setup::default() }.connected();
    let framing = pair.left.with(|ports| ports.send_message(b"to the host").unwrap_err());
    let limit = pair.left.with(|ports| ports.send_message(&[0; 101]).unwrap_err());
    pair.left.close_write();
    let misuse = pair.left.with(|ports| ports.plain_write(b"more").unwrap_err());
    pair.right.receive(&[0xff; 5]);
    let tls = pair.right.error().unwrap();
    for (error, words, has_source) in [
        (&framing, "framing between the layers failed in the traffic phase: this framing", true),
        (&limit, "outer TLS exceeded a limit in the traffic phase: more than 100 bytes of", false),
        (&misuse, "the layer was closed for writing", false),
        (tls, "outer TLS failed in the traffic phase: ", true),
    ] {
        assert!(error.to_string().starts_with(words), "{error}");
        assert_eq!(error.source().is_some(), has_source, "{error}");
        if let Some(source) = error.source() {
            assert!(error.to_string().ends_with(&source.to_string()), "{error}");
        }
    }
}

#[test]
fn a_configuration_that_rustls_refuses() {
    let refused = |pki: &pki::Pki| {
        let mut config = pki.client(pki::Version::Tls13);
        config.max_fragment_size = Some(1);
        Role::client(config, pki.name())
    };
    let outer = Session::new(refused(pki::outer()), Limits::default()).map(drop).unwrap_err();
    let session = Setup::default().session(Side::Left).ports;
    let inner = session.nest(refused(pki::inner()), Direct).map(drop).unwrap_err();
    for (error, layer) in [(outer, Layer::Outer), (inner, Layer::Inner)] {
        assert_eq!((error.layer(), error.fault()), (layer, Fault::Local));
        assert_eq!(error.kind(), &ErrorKind::Tls(rustls::Error::BadMaxFragmentSize));
    }
}

/// A framing is shown what stands in the queue, and not what it is.
#[test]
fn what_is_shown_of_the_rest() {
    struct Shown(String);
    impl Framing for Shown {
        fn wrap(&mut self, inner: Vec<u8>, out: &mut Outgoing<'_>) {
            out.push(inner);
            self.0 = format!("{out:?}");
        }
        fn unwrap(&mut self, carried: &[u8]) -> Result<Unwrapped, FramingError> {
            Direct.unwrap(carried)
        }
    }
    let nested = Setup::default().nested_in(Side::Left, Shown(String::new())).ports;
    let shown = &nested.framing().0;
    assert!(shown.starts_with("Outgoing { len: ") && shown.ends_with(", .. }"), "{shown}");
    assert_eq!(Direct.unwrap(b"").unwrap(), Unwrapped::Incomplete);

    let pki = pki::outer();
    let sessions = ClientSessions::new(pki.server_rule(), crate::resumption::memory());
    assert_eq!(format!("{sessions:?}"), "ClientSessions { tls12: SessionIdOrTickets, .. }");
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
fn buffers_of_one_s_own_may_be_too_small() {
    let mut pair = Setup::default().connected();
    pair.stopped.0 = true;
    pair.send(Side::Right, b"seven bytes and more");
    let mut small = [0; 7];
    assert_eq!(pair.left.with(|ports| ports.plain_out_into(&mut &mut small[..])), 7);
    assert_eq!(&small, b"seven b");
    assert_eq!(pair.left.read_all(), b"ytes and more");
    pair.left.write(b"data");
    let whole = pair.left.with(|ports| ports.wire_out().unwrap().to_vec());
    assert_eq!(pair.left.with(|ports| ports.wire_out_into(&mut &mut small[..])), 7);
    assert_eq!([&small[..], &pair.left.transmit_all()].concat(), whole);
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
