//! The fault matrix: for every mix of roles and every pair of versions, whatever someone on the wire
//! (W), the host with the outer keys (T) or a hostile peer (P) may do, at every place in a whole
//! session. Each cell ends in complete data or in a typed error of the right layer; never in other
//! data, an end that is none, a panic, a hang, or more memory than promised (I4 - I7, I10).
//!
//! So for connections that begin with nothing, with sessions of both layers, and with early data of
//! the outer layer that is taken, rejected, or met by a HelloRetryRequest.
//!
//! By default a seventh of the byte offsets, each with the faults in turn, and a fifth of that where
//! sessions go on; with `NESTED_TLS_SWEEP=all` every offset with every fault. `SEED` asks for other connections. Every
//! test prints how many of its cells came to what.

mod allowed;
mod conversation;
mod floods;
mod hello;
mod impostors;
mod liar;
mod road;
pub(crate) mod rogue;

use std::collections::BTreeSet;

use nested_tls::{Event, Layer, Phase, Ports};

use allowed::{Allowed, CCS, CLOSE_NOTIFY, Sight};
use conversation::{Ended, converse, expected};
use road::{End, Fault, Records, Road, Strike};

use crate::support::cast::Cast;
use crate::support::host::Host;
use crate::support::null::Strength;
use crate::support::party::Party;
use crate::support::pki::Version;
use crate::support::records::ranges;
use crate::support::schedule::Told;
use crate::support::sessions::Start;
use crate::support::setup::{Setup, Side};
use crate::support::tally::{Outcome, Place, Tally, base_seed, whole};

/// Of so many offsets one is struck by default.
const STRIDE: usize = 7;

const OF_BYTES: [Fault; 14] = [
    Fault::Cut(End::Fin),
    Fault::Flip(0),
    Fault::Flip(1),
    Fault::Flip(2),
    Fault::Cut(End::Reset),
    Fault::Flip(3),
    Fault::Flip(4),
    Fault::Cut(End::Silence),
    Fault::Flip(5),
    Fault::Again,
    Fault::Flip(6),
    Fault::Late,
    Fault::Flip(7),
    // For who has the keys.
    Fault::Cut(End::CloseNotify),
];

const OF_RECORDS: [Fault; 14] = [
    Fault::Drop,
    Fault::Double,
    Fault::Swap,
    Fault::Replay,
    Fault::Reflect,
    Fault::Splice,
    Fault::Graft,
    Fault::Insert(CCS),
    Fault::Insert(CLOSE_NOTIFY),
    // A fatal handshake_failure.
    Fault::Insert(&[21, 3, 3, 0, 2, 2, 40]),
    // Application data: none, and some that nobody sealed.
    Fault::Insert(&[23, 3, 3, 0, 0]),
    Fault::Insert(&[23, 3, 3, 0, 20, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7]),
    // A handshake message of no bytes, and a KeyUpdate.
    Fault::Insert(&[22, 3, 3, 0, 0]),
    Fault::Insert(&[22, 3, 3, 0, 5, 24, 0, 0, 1, 1]),
];

/// Lists of what may pass.
type Lists = &'static [&'static [Allowed]];

/// One row of the matrix, as far as its bytes and records go.
struct Row {
    cast: Cast,
    place: Place,
    clean: Records,
    /// Another connection's, with the same sessions.
    other: Records,
    /// What may pass, and what of that was seen to.
    allowed: Lists,
    passed: BTreeSet<&'static str>,
}

impl Row {
    fn new(setup: Setup, place: Place, allowed: Lists) -> Self {
        let seed = setup.seed + base_seed();
        let cast = Cast::new(setup.seeded(seed));
        let clean = Self::clean(&cast, place);
        let other = Self::clean(&cast.seeded(seed + 99), place);
        Self { cast, place, clean, other, allowed, passed: BTreeSet::new() }
    }

    /// The records of a conversation to which nothing happens.
    fn clean(cast: &Cast, place: Place) -> Records {
        let none = Records::default();
        let mut road = Road::new(None, &none);
        for (side, ended) in Side::BOTH.into_iter().zip(converse(cast, place, &mut road)) {
            assert!(ended.is_complete(side), "{:?}: {ended:?}", cast.setup);
            assert_eq!(ended.phase, Phase::Closed);
            let Setup { start, inner_resumes, .. } = cast.setup;
            assert_eq!(ended.resumed, [start != Start::Cold, inner_resumes]);
            assert_eq!(ended.early, start == Start::Early && cast.setup.has_early_flight());
        }
        for side in [0, 1] {
            assert_eq!(road.records[side].concat(), road.sent[side], "a record that is not whole");
        }
        road.records
    }

    fn strike(&mut self, tally: &mut Tally, from: Side, at: usize, fault: Fault) {
        let strike = Strike { place: self.place, from, at, fault };
        let setup = self.cast.setup;
        let begins = (setup.start, setup.inner_resumes);
        let told = (setup.outer, setup.inner, setup.mix, begins, setup.seed, strike);
        tally.cell(self.place, fault.name(), told, || self.judge(strike));
    }

    fn judge(&mut self, strike: Strike) -> Option<Outcome> {
        let mut road = Road::new(Some(strike), &self.other);
        let ended = converse(&self.cast, self.place, &mut road);
        let layer = strike.layer();
        for (side, ended) in Side::BOTH.into_iter().zip(&ended) {
            Self::no_lie(side, ended);
            if let Some(failure) = &ended.report.failure {
                let cut = ["Truncated", "Canceled"].contains(&&failure.what[..]);
                assert!(cut || failure.layer == layer, "{side:?} blames another: {failure:?}");
            }
        }
        if !road.struck {
            return None;
        }
        let complete = || Side::BOTH.iter().zip(&ended).all(|(side, e)| e.is_complete(*side));
        match strike.fault {
            Fault::Late => {
                assert!(complete(), "late, but all there: {ended:?}");
                return Some(Outcome::Completed);
            }
            Fault::Cut(End::Silence) => return Some(Outcome::Pending),
            _ => {}
        }
        for ended in &ended {
            assert!(matches!(ended.phase, Phase::Failed | Phase::Closed), "hangs: {ended:?}");
        }
        let [sender, receiver] =
            [&ended[strike.from as usize], &ended[strike.from.other() as usize]];
        if let (Fault::Cut(_), Some(failure)) = (strike.fault, &receiver.report.failure) {
            assert_eq!(failure.what, "Truncated");
        }
        if let Some(failure) = &receiver.report.failure {
            let own = failure.what != "Truncated" && !failure.what.starts_with("AlertReceived");
            // Whoever can be told is told.
            assert!(!own || receiver.last_words > 0 || receiver.closed, "no alert: {failure:?}");
        }
        let sight = Sight::new(strike, &self.cast.setup, &self.clean);
        let entry = self.allowed.iter().copied().flatten().find(|allowed| (allowed.passes)(&sight));
        let failure =
            [receiver, sender].into_iter().find_map(|ended| ended.report.failure.as_ref());
        let unclean = ended.iter().any(|e| e.report.events.contains(&Event::OuterUnclean));
        Some(match (failure, entry) {
            (Some(failure), None) if failure.layer == Layer::Outer => Outcome::Outer,
            (Some(_), None) => Outcome::Inner,
            (None, None) if unclean => Outcome::Unclean,
            (None, None) => panic!("nobody noticed: {ended:?}"),
            (Some(_), Some(entry)) => panic!("noticed in spite of {:?}: {ended:?}", entry.what),
            (None, Some(entry)) => {
                assert!(complete(), "nobody noticed, and something is missing: {ended:?}");
                self.passed.insert(entry.what);
                Outcome::Allowed
            }
        })
    }

    /// Nobody reads what was not written, or is told of an end before it (I7).
    fn no_lie(side: Side, ended: &Ended) {
        let report = &ended.report;
        assert!(expected(side).starts_with(&report.read), "{side:?} read other data");
        if report.end {
            assert_eq!(report.read, expected(side), "{side:?}: data is missing before the end");
        }
    }

    fn bytes(&mut self, tally: &mut Tally, offset: usize) {
        let mut turn = offset;
        let going_on = self.cast.setup.start != Start::Cold;
        let (stride, header) = if going_on { (5 * STRIDE, 8) } else { (STRIDE, 2) };
        let faults = &OF_BYTES[..OF_BYTES.len() - usize::from(self.place == Place::Wire)];
        for from in Side::BOTH {
            let sent = self.clean[from as usize].concat();
            let rows = ranges(&sent);
            for at in 0..sent.len() {
                if whole() {
                    for fault in faults {
                        self.strike(tally, from, at, *fault);
                    }
                    continue;
                }
                // Headers and what follows them say more than the rest.
                let near = rows.iter().any(|r| r.contains(&at) && at - r.start < 6);
                if at % stride == offset % stride || (near && at % header == 0) {
                    turn += 1;
                    self.strike(tally, from, at, faults[turn % faults.len()]);
                }
            }
        }
    }

    fn records(&mut self, tally: &mut Tally, offset: usize) {
        let mut turn = offset;
        let every = if whole() || self.cast.setup.start == Start::Cold { 1 } else { 3 };
        for from in Side::BOTH {
            for at in 0..self.clean[from as usize].len() {
                for fault in OF_RECORDS {
                    turn += 1;
                    if turn % every == 0 {
                        self.strike(tally, from, at, fault);
                    }
                }
            }
        }
    }
}

/// Every row of a place: what `strike` makes of it.
fn every_row(
    title: &str,
    place: Place,
    setups: impl Iterator<Item = Setup>,
    allowed: Lists,
    mut strike: impl FnMut(&mut Row, &mut Tally, usize),
) {
    let mut tally = Tally::default();
    let mut passed = BTreeSet::new();
    for (i, setup) in setups.enumerate() {
        let mut row = Row::new(setup, place, allowed);
        strike(&mut row, &mut tally, i);
        passed.extend(row.passed);
    }
    tally.finish(title);
    for Allowed { what, why, .. } in allowed.iter().copied().flatten() {
        // A sample need not meet all of them.
        let sample = title.contains("bytes") || title.contains("go on");
        let met = passed.contains(what) || (sample && !whole());
        assert!(met, "never seen to pass: {what}, because {why}");
    }
}

#[test]
fn bytes_on_the_wire() {
    let allowed = &[allowed::OF_BYTES];
    every_row("bytes on the wire", Place::Wire, Setup::all(), allowed, Row::bytes);
}

#[test]
fn bytes_between_the_layers() {
    let allowed = &[allowed::OF_BYTES];
    every_row("bytes between the layers", Place::Host, Setup::all(), allowed, Row::bytes);
}

#[test]
fn records_on_the_wire() {
    let allowed = &[allowed::OF_RECORDS];
    every_row("records on the wire", Place::Wire, Setup::all(), allowed, Row::records);
}

#[test]
fn records_between_the_layers() {
    let allowed = &[allowed::OF_RECORDS];
    every_row("records between the layers", Place::Host, Setup::all(), allowed, Row::records);
}

#[test]
fn bytes_on_the_wire_of_sessions_that_go_on() {
    let title = "bytes on the wire, sessions that go on";
    let allowed = &[allowed::OF_BYTES, allowed::OF_SKIPPED_BYTES];
    every_row(title, Place::Wire, Setup::going_on(), allowed, Row::bytes);
}

#[test]
fn bytes_between_the_layers_of_sessions_that_go_on() {
    let title = "bytes between the layers, sessions that go on";
    let allowed = &[allowed::OF_BYTES];
    every_row(title, Place::Host, Setup::going_on(), allowed, Row::bytes);
}

#[test]
fn records_on_the_wire_of_sessions_that_go_on() {
    let title = "records on the wire, sessions that go on";
    let allowed = &[allowed::OF_RECORDS, allowed::OF_SKIPPED_RECORDS];
    every_row(title, Place::Wire, Setup::going_on(), allowed, Row::records);
}

#[test]
fn records_between_the_layers_of_sessions_that_go_on() {
    let title = "records between the layers, sessions that go on";
    every_row(title, Place::Host, Setup::going_on(), &[allowed::OF_RECORDS], Row::records);
}

/// What a hello says is part of what both sides agree on in the end; where both speak every version,
/// too, so that there is one to be talked down to.
#[test]
fn hellos_rewritten() {
    let mut tally = Tally::default();
    let newest = |setup: &Setup| setup.outer == Version::Tls13 && setup.inner == Version::Tls13;
    let lenient = Setup::all().filter(newest).map(|setup| Setup { lenient: true, ..setup });
    for setup in Setup::all().chain(lenient).chain(Setup::going_on()) {
        for place in [Place::Wire, Place::Host] {
            let mut row = Row::new(setup, place, &[]);
            for from in Side::BOTH {
                let known = tally.cells();
                for n in 0..hello::MOST {
                    row.strike(&mut tally, from, 0, Fault::Rewrite(n));
                }
                assert!(tally.cells() > known + 3, "hardly any hello: {setup:?} {from:?}");
            }
        }
    }
    tally.finish("hellos rewritten");
}

/// At every step of both handshakes both sides try to speak, over cryptography that hides nothing:
/// their words are on the wire only once the peer is known (I3), and then they are.
#[test]
fn nothing_of_the_users_leaves_before_the_peer_is_known() {
    const WORDS: &[u8] = b"what only the right peer may read";
    let spoken = |bytes: &[u8]| bytes.windows(WORDS.len()).any(|w| w == WORDS);
    let none = Records::default();
    let eager = |cast: &Cast, chunk: usize, road: &mut Road<'_>| {
        let mut parties = Side::BOTH.map(|side| cast.nested(side));
        let mut written = [false; 2];
        let mut waiting = [const { Vec::new() }; 2];
        loop {
            let mut moved = false;
            for from in Side::BOTH {
                let (i, to) = (from as usize, from.other() as usize);
                if !written[i] {
                    written[i] = parties[i].write(WORDS) == WORDS.len();
                }
                let known = parties[i].has(Event::Established(Layer::Inner));
                assert!(known || !written[i], "{from:?} takes words for a stranger");
                let said = parties[i].transmit(usize::MAX);
                moved |= !said.is_empty();
                waiting[i].extend(road.pass(from, said));
                assert!(known || !spoken(&road.sent[i]), "{from:?} speaks to a stranger");
                let rest = waiting[i].split_off(chunk.min(waiting[i].len()));
                let now = std::mem::replace(&mut waiting[i], rest);
                moved |= !now.is_empty();
                parties[to].receive(&now);
                parties[to].read_all();
            }
            if !moved {
                let known = parties.map(|party| party.has(Event::Established(Layer::Inner)));
                return Side::BOTH.map(|s| (known[s as usize], spoken(&road.sent[s as usize])));
            }
        }
    };
    // Cryptography that hides nothing knows one key exchange.
    let going_on = Setup::going_on().filter(|setup| setup.start != Start::Retried);
    for setup in Setup::all().chain(going_on) {
        let setup = Setup { null: Some(Strength::Sums), ..setup }.seeded(1 + base_seed());
        let cast = Cast::new(setup);
        for chunk in [1, 7, usize::MAX] {
            let _told = Told::new((setup, chunk));
            let mut road = Road::new(None, &none);
            assert_eq!(eager(&cast, chunk, &mut road), [(true, true); 2]);
        }
        let mut road = Road::new(None, &none);
        eager(&cast, usize::MAX, &mut road);
        for from in Side::BOTH {
            let step = match setup.start {
                _ if whole() => 1,
                Start::Cold => STRIDE * STRIDE,
                _ => 5 * STRIDE * STRIDE,
            };
            for at in (0..road.sent[from as usize].len()).step_by(step) {
                for fault in [Fault::Flip(6), Fault::Cut(End::Silence), Fault::Late] {
                    let strike = Strike { place: Place::Wire, from, at, fault };
                    let _told = Told::new((setup, strike));
                    let said = eager(&cast, usize::MAX, &mut Road::new(Some(strike), &none));
                    assert!(said.iter().all(|(known, spoken)| *known || !spoken));
                }
            }
        }
    }
}

/// All that a party once sent, to a peer that has not met it; by a host that sends early what it can.
#[test]
fn a_recorded_connection_can_not_be_replayed() {
    for setup in Setup::all().chain(Setup::going_on()) {
        let _told = Told::new(setup);
        let cast = Cast::new(setup);
        let recorded = Row::clean(&cast, Place::Host);
        for (victim, at_once) in Side::BOTH.into_iter().flat_map(|v| [(v, false), (v, true)]) {
            let fresh = cast.seeded(7);
            let mut parties = [fresh.nested(Side::Left), fresh.nested(Side::Right)];
            let mut host: Host = fresh.host();
            let [left, right] = &mut parties;
            // The peer's bytes never arrive; the recorded ones do.
            let mut nothing = |_, _, _| Vec::new();
            if !at_once {
                host.run(left, right, &mut nothing);
            }
            host.inject(victim, &recorded[victim.other() as usize].concat());
            host.run(left, right, &mut nothing);
            let party = &parties[victim as usize];
            if !setup.is_client(victim).0 {
                let early = party.ports.layer(Layer::Outer).unwrap().early_data;
                assert_eq!(early, setup.start == Start::Early && at_once, "{victim:?}");
            }
            assert!(!party.has(Event::Established(Layer::Inner)), "{victim:?}");
            let report = party.report();
            assert_eq!(report.read, b"", "{victim:?}");
            assert!(!report.end);
            assert!(report.failure.is_some(), "{victim:?} did not notice");
        }
    }
}
