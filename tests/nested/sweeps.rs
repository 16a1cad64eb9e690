//! Every byte that one side sends, cut, flipped or doubled on its way, on the wire or by a host that
//! holds the outer keys: a typed error naming the layer, with an alert where one can be sent, or
//! nothing at all where the RFC says so. Never a hang, wrong data, or an end that is none.
//!
//! By default a sample of the offsets, each with one of the faults in turn; with
//! `NESTED_TLS_SWEEP=all` each offset with each fault.

use std::ops::Range;

use nested_tls::{Event, Layer, Nested, Phase, Ports};

use crate::support::party::{Machine, Party, Report};
use crate::support::pki::Version;
use crate::support::schedule::Told;
use crate::support::setup::{Mix, Setup, Side};

/// What happens to a byte.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// It never arrives, nor does anything behind it; the layer below ends.
    Cut,
    /// This bit of it is another one.
    Flip(u8),
    /// It arrives twice.
    Double,
}

const FAULTS: [Fault; 10] = [
    Fault::Cut,
    Fault::Flip(0),
    Fault::Flip(1),
    Fault::Flip(2),
    Fault::Flip(3),
    Fault::Flip(4),
    Fault::Flip(5),
    Fault::Flip(6),
    Fault::Flip(7),
    Fault::Double,
];

/// A place in what one side sends on one layer.
#[derive(Clone, Copy, Debug)]
struct Place {
    layer: Layer,
    from: Side,
    at: usize,
}

const REQUEST: &[u8] = &[0x51; 200];
const ANSWER: &[u8] = &[0xa5; 300];

fn expected(side: Side) -> &'static [u8] {
    if side == Side::Left { ANSWER } else { REQUEST }
}

/// The bytes that one side sends, on their way to the fault.
struct Road {
    fault: Option<(Place, Fault)>,
    /// What each side sent, before the fault.
    sent: [Vec<u8>; 2],
}

impl Road {
    fn new(fault: Option<(Place, Fault)>) -> Self {
        Self { fault, sent: Default::default() }
    }

    fn is_cut(&self, from: Side) -> bool {
        let sent = self.sent[from as usize].len();
        self.fault.is_some_and(|(p, f)| f == Fault::Cut && p.from == from && sent > p.at)
    }

    fn pass(&mut self, from: Side, mut bytes: Vec<u8>) -> Vec<u8> {
        let sent = &mut self.sent[from as usize];
        let before = sent.len();
        sent.extend_from_slice(&bytes);
        let Some((place, fault)) = self.fault.filter(|(place, _)| place.from == from) else {
            return bytes;
        };
        let Some(at) = place.at.checked_sub(before) else {
            // Behind the place, and nothing passes a cut.
            return if fault == Fault::Cut { Vec::new() } else { bytes };
        };
        if at < bytes.len() {
            match fault {
                Fault::Cut => bytes.truncate(at),
                Fault::Flip(bit) => bytes[at] ^= 1 << bit,
                Fault::Double => bytes.insert(at, bytes[at]),
            }
        }
        bytes
    }
}

/// How one side ended.
struct Ended {
    report: Report,
    phase: Phase,
    /// Bytes it sent after it failed.
    last_words: usize,
    /// It had closed before that, so it had nothing to say any more.
    closed: bool,
}

type Two = [Machine<Nested>; 2];

/// Something that brings bytes from one side to the other until nothing moves.
trait Link {
    fn settle(&mut self, parties: &mut Two, road: &mut Road, words: &mut [usize; 2]);
    fn end(&mut self, parties: &mut Two, road: &mut Road, words: &mut [usize; 2]);
}

/// The transport alone.
struct Wire {
    ended: [bool; 2],
}

impl Link for Wire {
    fn settle(&mut self, parties: &mut Two, road: &mut Road, words: &mut [usize; 2]) {
        loop {
            let mut moved = false;
            for from in Side::BOTH {
                let sender = &mut parties[from as usize];
                let failed = sender.report().failure.is_some();
                let mut bytes = Vec::new();
                while let more @ [_, ..] = &sender.transmit(usize::MAX)[..] {
                    bytes.extend_from_slice(more);
                }
                moved |= !bytes.is_empty();
                if failed {
                    words[from as usize] += bytes.len();
                }
                let receiver = &mut parties[from.other() as usize];
                if !self.ended[from as usize] {
                    let bytes = road.pass(from, bytes);
                    receiver.receive(&bytes);
                    if road.is_cut(from) {
                        self.ended[from as usize] = true;
                        receiver.eof();
                        moved = true;
                    }
                }
                moved |= !receiver.read_all().is_empty();
            }
            if !moved {
                return;
            }
        }
    }

    fn end(&mut self, parties: &mut Two, road: &mut Road, words: &mut [usize; 2]) {
        for side in Side::BOTH {
            if !std::mem::replace(&mut self.ended[side as usize], true) {
                parties[side.other() as usize].eof();
            }
        }
        self.settle(parties, road, words);
    }
}

/// The host between the layers.
struct Host(crate::support::host::Host);

impl Link for Host {
    fn settle(&mut self, parties: &mut Two, road: &mut Road, words: &mut [usize; 2]) {
        let [left, right] = parties;
        let before = [self.0.from_left.len(), self.0.from_right.len()];
        let failed = [left, right].map(|party| party.report().failure.is_some());
        let [left, right] = parties;
        self.0.run(left, right, &mut |from, _, bytes| road.pass(from, bytes));
        // A failure of this round is told in it.
        let after = [self.0.from_left.len(), self.0.from_right.len()];
        for side in [0, 1] {
            let now = parties[side].report().failure.is_some();
            if failed[side] || now {
                words[side] += after[side] - before[side];
            }
        }
        for from in Side::BOTH {
            if road.is_cut(from) {
                self.0.session(from.other()).close();
            }
        }
        let [left, right] = parties;
        self.0.run(left, right, &mut |from, _, bytes| road.pass(from, bytes));
    }

    fn end(&mut self, parties: &mut Two, road: &mut Road, words: &mut [usize; 2]) {
        for side in Side::BOTH {
            self.0.session(side).close();
        }
        self.settle(parties, road, words);
        for party in parties.iter_mut() {
            party.eof();
        }
        self.settle(parties, road, words);
    }
}

/// A whole conversation; what both sides say of it.
fn converse(setup: &Setup, layer: Layer, road: &mut Road) -> [Ended; 2] {
    let mut parties: Two = Side::BOTH.map(|side| setup.nested(side));
    let mut link: Box<dyn Link> = match layer {
        Layer::Outer => Box::new(Wire { ended: [false; 2] }),
        Layer::Inner => Box::new(Host(setup.host())),
    };
    let mut words = [0; 2];
    link.settle(&mut parties, road, &mut words);
    let mut closed = [false; 2];
    // Who waits for a handshake that stands still is not told so by closing.
    if parties.iter().all(|party| party.has(Event::Established(Layer::Inner))) {
        parties[0].write(REQUEST);
        parties[1].write(ANSWER);
        link.settle(&mut parties, road, &mut words);
        for side in [0, 1] {
            closed[side] = parties[side].report().failure.is_none();
            parties[side].close();
            link.settle(&mut parties, road, &mut words);
        }
    }
    link.end(&mut parties, road, &mut words);
    let [left, right] = parties;
    let mut said = words.into_iter().zip(closed);
    [left, right].map(|mut party| {
        party.read_all();
        let (last_words, closed) = said.next().unwrap();
        Ended { phase: party.ports.phase(), report: party.report().clone(), last_words, closed }
    })
}

/// The records of a layer's bytes.
fn records(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut records = Vec::new();
    let mut at = 0;
    while let Some([_, _, _, high, low]) = bytes.get(at..at + 5) {
        let end = at + 5 + usize::from(u16::from_be_bytes([*high, *low]));
        records.push(at..end);
        at = end;
    }
    assert_eq!(at, bytes.len());
    records
}

/// What may pass unnoticed, with the reason.
fn may_pass(
    version: Version,
    sent: &[u8],
    records: &[Range<usize>],
    at: usize,
    fault: Fault,
) -> bool {
    let record = records.iter().find(|r| r.contains(&at)).unwrap();
    let protected = sent[record.start] == 23;
    match (fault, at - record.start) {
        // "legacy_record_version: [...] MUST be ignored for all purposes"; in TLS 1.2 it is
        // protected with the record. <https://www.rfc-editor.org/rfc/rfc8446#section-5.1>
        (Fault::Flip(_), 2) => version == Version::Tls13 || sent[record.start] != 23,
        // rustls opens the protected records of a handshake whatever type stands outside; the
        // type in the additional data is the right one, so nothing else can change.
        (Fault::Flip(_), 0) => version == Version::Tls13 && protected,
        // What comes behind the end is nobody's.
        (Fault::Double, _) => at + 1 == sent.len(),
        _ => false,
    }
}

fn check(setup: &Setup, place: Place, fault: Fault, clean: &Road, rows: &[Range<usize>]) {
    let _told = Told::new((setup.outer, setup.inner, setup.mix, place, fault));
    let ended = converse(setup, place.layer, &mut Road::new(Some((place, fault))));
    let sender = &ended[place.from as usize];
    let receiver = &ended[place.from.other() as usize];
    for (side, ended) in Side::BOTH.into_iter().zip(&ended) {
        let Ended { report, phase, .. } = ended;
        assert!(expected(side).starts_with(&report.read), "{side:?} read other data");
        if report.end {
            assert_eq!(report.read, expected(side), "{side:?}: data is missing before the end");
        }
        assert!(matches!(phase, Phase::Failed | Phase::Closed), "{side:?} hangs in {phase}");
    }
    let Some(failure) = &receiver.report.failure else {
        assert!(receiver.report.end, "no failure and no end");
        let sent = &clean.sent[place.from as usize];
        let version = if place.layer == Layer::Outer { setup.outer } else { setup.inner };
        let row = rows.iter().find(|r| r.contains(&place.at)).unwrap();
        let passes = may_pass(version, sent, rows, place.at, fault);
        // Behind the inner layer's end, what is lost of the outer one's is told by an event.
        let unclean = receiver.report.events.contains(&Event::OuterUnclean);
        assert!(
            passes || unclean,
            "nobody noticed, in {row:?} of {rows:?}: {:?}",
            &sent[row.start..row.start + 5]
        );
        assert_eq!(sender.report.failure, None);
        return;
    };
    match fault {
        Fault::Cut => assert!(failure.what == "Truncated", "{failure:?}"),
        _ => {
            let truncated = failure.what == "Truncated";
            assert!(truncated || failure.layer == place.layer, "{failure:?}");
        }
    }
    if failure.what != "Truncated" && !failure.what.starts_with("AlertReceived") {
        assert!(receiver.last_words > 0 || receiver.closed, "no alert for {failure:?}");
        // Whoever can be told is told: the failure of both has one layer.
        if let Some(told) = &sender.report.failure {
            assert!(told.layer == place.layer || told.what == "Truncated", "{told:?}");
        }
    }
}

fn sweep(setup: Setup, layer: Layer, stride: usize) {
    let all = std::env::var("NESTED_TLS_SWEEP").is_ok_and(|what| what == "all");
    let mut clean = Road::new(None);
    for (side, ended) in Side::BOTH.into_iter().zip(converse(&setup, layer, &mut clean)) {
        assert_eq!(ended.report.failure, None, "{setup:?} {side:?}");
        assert_eq!(ended.phase, Phase::Closed);
        assert_eq!(ended.report.read, expected(side));
    }
    let mut turn = 0;
    for from in Side::BOTH {
        let sent = &clean.sent[from as usize];
        let rows = records(sent);
        for at in 0..sent.len() {
            let place = Place { layer, from, at };
            if all {
                for fault in FAULTS {
                    check(&setup, place, fault, &clean, &rows);
                }
                continue;
            }
            // Headers and what follows them say more than the rest.
            let near = rows.iter().any(|r| r.contains(&at) && at - r.start < 6);
            if at % stride == 0 || (near && at % 2 == 0) {
                turn += 1;
                check(&setup, place, FAULTS[turn * 3 % FAULTS.len()], &clean, &rows);
            }
        }
    }
}

macro_rules! sweeps {
    ($($name:ident: $outer:ident / $inner:ident, $mix:ident;)*) => {$(
        #[test]
        fn $name() {
            let setup = Setup::new(Version::$outer, Version::$inner, Mix::$mix);
            sweep(setup, Layer::Outer, 7);
            sweep(setup, Layer::Inner, 7);
        }
    )*};
}

sweeps! {
    tls13_in_tls13: Tls13 / Tls13, ClientClient;
    tls12_in_tls13: Tls13 / Tls12, ClientClient;
    tls13_in_tls12: Tls12 / Tls13, ClientClient;
    tls12_in_tls12: Tls12 / Tls12, ClientClient;
    a_server_in_a_client: Tls13 / Tls13, ClientServer;
}
