//! A host that holds the outer keys, and does to whole inner records what it likes: drops, doubles,
//! swaps, replays, reflects and inserts them, or takes them from another connection. It can refuse
//! service, and nothing else (I10).

use nested_tls::Ports as _;

use crate::support::host::Host;
use crate::support::party::{Party, Report};
use crate::support::pki::Version;
use crate::support::schedule::Told;
use crate::support::setup::{Mix, Setup, Side};

const REQUEST: &[u8] = &[0x51; 200];
const ANSWER: &[u8] = &[0xa5; 300];

/// What happens to the record.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Nothing,
    Drop,
    Double,
    /// It arrives behind the one that follows it.
    Swap,
    /// An earlier one of the same direction arrives behind it.
    Replay,
    /// What its receiver sent last arrives in its place.
    Reflect,
    /// The one of another connection arrives in its place.
    Splice,
    /// These bytes arrive before it.
    Insert(&'static [u8]),
}

const CCS: &[u8] = &[20, 3, 3, 0, 1, 1];
/// One that nobody sealed.
const CLOSE_NOTIFY: &[u8] = &[21, 3, 3, 0, 2, 1, 0];
const INSERTED: [&[u8]; 5] = [
    CCS,
    CLOSE_NOTIFY,
    // A fatal handshake_failure.
    &[21, 3, 3, 0, 2, 2, 40],
    // Application data: none, and some that nobody sealed.
    &[23, 3, 3, 0, 0],
    &[23, 3, 3, 0, 20, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7],
];

/// The inner records of one direction each.
type Records = [Vec<Vec<u8>>; 2];

/// The records on their way through the host.
struct Passage<'a> {
    fault: Fault,
    from: Side,
    at: usize,
    /// Another connection's records.
    other: &'a Records,
    /// Bytes of a record that is not whole.
    begun: [Vec<u8>; 2],
    seen: Records,
    held: Option<Vec<u8>>,
    /// The fault has changed something.
    struck: bool,
}

impl<'a> Passage<'a> {
    fn new(fault: Fault, from: Side, at: usize, other: &'a Records) -> Self {
        let (begun, seen) = Default::default();
        Self { fault, from, at, other, begun, seen, held: None, struck: false }
    }

    fn pass(&mut self, from: Side, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut begun = std::mem::take(&mut self.begun[from as usize]);
        begun.extend_from_slice(bytes);
        while let Some(len) =
            begun.get(3..5).map(|len| 5 + usize::from(len[0]) * 256 + usize::from(len[1]))
        {
            if begun.len() < len {
                break;
            }
            let record = begun.drain(..len).collect();
            self.record(from, record, &mut out);
        }
        self.begun[from as usize] = begun;
        out
    }

    fn record(&mut self, from: Side, record: Vec<u8>, out: &mut Vec<u8>) {
        let index = self.seen[from as usize].len();
        self.seen[from as usize].push(record.clone());
        if from != self.from || index != self.at {
            out.extend(record);
            if let Some(held) = self.held.take_if(|_| from == self.from) {
                out.extend(held);
            }
            return;
        }
        self.struck = true;
        match self.fault {
            Fault::Nothing => out.extend(record),
            Fault::Drop => {}
            Fault::Double => out.extend([record.clone(), record].concat()),
            Fault::Swap => self.held = Some(record),
            Fault::Replay => {
                let earlier = self.seen[from as usize][index / 2].clone();
                out.extend([record, earlier].concat());
            }
            Fault::Reflect => match self.seen[from.other() as usize].last() {
                Some(own) => out.extend(own),
                None => {
                    self.struck = false;
                    out.extend(record);
                }
            },
            Fault::Splice => match self.other[from as usize].get(index) {
                Some(others) if *others != record => out.extend(others),
                _ => {
                    self.struck = false;
                    out.extend(record);
                }
            },
            Fault::Insert(bytes) => out.extend([bytes, &record].concat()),
        }
    }
}

/// A question, an answer, and closes, through a host that does `passage`.
fn converse(setup: &Setup, passage: &mut Passage<'_>) -> [Report; 2] {
    let mut left = setup.nested(Side::Left);
    let mut right = setup.nested(Side::Right);
    let mut host = setup.host();
    let tamper = &mut |from, _, bytes: Vec<u8>| passage.pass(from, &bytes);
    host.run(&mut left, &mut right, tamper);
    left.write(REQUEST);
    host.run(&mut left, &mut right, tamper);
    right.write(ANSWER);
    host.run(&mut left, &mut right, tamper);
    left.close();
    right.close();
    host.run(&mut left, &mut right, tamper);
    let mut parties = [left, right];
    for (party, towards) in parties.iter_mut().zip([Side::Left, Side::Right]) {
        // Whatever the host had to say, it says its own goodbye.
        host.session(towards).close();
        while let Some(bytes) = host.session(towards).wire_out_bytes() {
            party.receive(&bytes);
        }
        party.eof();
        while party.read(usize::MAX) > 0 {}
    }
    parties.map(|party| party.report().clone())
}

fn check(setup: Setup) {
    let _told = Told::new(setup);
    let none = Records::default();
    let mut clean = Passage::new(Fault::Nothing, Side::Left, 0, &none);
    let reports = converse(&setup, &mut clean);
    assert!(reports.iter().all(|report| report.end && report.failure.is_none()), "{reports:?}");
    let mut other = Passage::new(Fault::Nothing, Side::Left, 0, &none);
    converse(&setup.seeded(99), &mut other);

    let faults =
        [Fault::Drop, Fault::Double, Fault::Swap, Fault::Replay, Fault::Reflect, Fault::Splice];
    let faults = faults.into_iter().chain(INSERTED.map(Fault::Insert));
    for (fault, from) in faults.flat_map(|fault| Side::BOTH.map(|from| (fault, from))) {
        let records = &clean.seen[from as usize];
        for at in 0..records.len() {
            let mut passage = Passage::new(fault, from, at, &other.seen);
            let reports = converse(&setup, &mut passage);
            let what = format!("{fault:?} at record {at} of {} from {from:?}", records.len());
            for (report, expected) in reports.iter().zip([ANSWER, REQUEST]) {
                assert!(expected.starts_with(&report.read), "wrong data: {what}");
                assert!(!report.end || report.read == expected, "cut without a word: {what}");
            }
            let noticed = reports.iter().any(|report| report.failure.is_some());
            if passage.struck && !noticed {
                assert!(harmless(&setup, fault, at, records), "not noticed: {what}, {reports:?}");
                assert!(reports.iter().all(|report| report.end), "{what}");
            }
        }
    }
}

/// What may pass unnoticed: it changes nothing that anybody relies on.
fn harmless(setup: &Setup, fault: Fault, at: usize, records: &[Vec<u8>]) -> bool {
    // "Any data received after a closure alert has been received MUST be ignored."
    // <https://www.rfc-editor.org/rfc/rfc8446#section-6.1>
    let last = at + 1 == records.len();
    let behind_the_end = last && matches!(fault, Fault::Double | Fault::Replay);
    // "An implementation may receive an unencrypted record of type change_cipher_spec [...] and MUST
    // simply drop it" <https://www.rfc-editor.org/rfc/rfc8446#section-5>
    let is_ccs = |record: &[u8]| record == CCS;
    let dropped_anyway = setup.inner == Version::Tls13
        && match fault {
            Fault::Insert(bytes) => is_ccs(bytes),
            Fault::Drop | Fault::Double => is_ccs(&records[at]),
            Fault::Swap => is_ccs(&records[at]) || records.get(at + 1).is_some_and(|r| is_ccs(r)),
            Fault::Replay => is_ccs(&records[at / 2]),
            _ => false,
        };
    // Before there are keys rustls takes it for one of the warnings that may be ignored, not for an
    // end: nobody has authenticated it. <https://www.rfc-editor.org/rfc/rfc5246#section-7.2.2>
    let warning = fault == Fault::Insert(CLOSE_NOTIFY)
        && (at == 0 || (setup.inner == Version::Tls12 && matches!(records[at][0], 20 | 22)));
    behind_the_end || dropped_anyway || warning
}

#[test]
fn records_of_tls13() {
    for mix in [Mix::ClientClient, Mix::ClientServer] {
        check(Setup::new(Version::Tls13, Version::Tls13, mix));
    }
}

#[test]
fn records_of_tls12() {
    for mix in [Mix::ClientClient, Mix::ClientServer] {
        check(Setup::new(Version::Tls13, Version::Tls12, mix));
    }
}

/// All that a client once sent, to a server that has not met it.
#[test]
fn a_recorded_connection_can_not_be_replayed() {
    for setup in Setup::all() {
        let _told = Told::new(setup);
        let none = Records::default();
        let mut recorded = Passage::new(Fault::Nothing, Side::Left, 0, &none);
        converse(&setup, &mut recorded);
        for victim in Side::BOTH {
            let fresh = setup.seeded(7);
            let mut parties = [fresh.nested(Side::Left), fresh.nested(Side::Right)];
            let mut host: Host = fresh.host();
            let [left, right] = &mut parties;
            // The peer's bytes never arrive; the recorded ones do.
            let mut nothing = |_, _, _| Vec::new();
            host.run(left, right, &mut nothing);
            host.inject(victim, &recorded.seen[victim.other() as usize].concat());
            host.run(left, right, &mut nothing);
            let report = parties[victim as usize].report();
            assert_eq!(report.read, b"", "{victim:?}");
            assert!(!report.end);
            assert!(report.failure.is_some(), "{victim:?} did not notice");
        }
    }
}
