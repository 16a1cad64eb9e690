//! A peer that says anything under its own keys, at every byte of a whole connection. Over
//! cryptography that hides and notices nothing, a byte that changes on the road is one that the
//! peer has chosen, in each message of the handshake and in each record behind it, with a Finished
//! and a signature that are right. Whether what it says is an error is not ours to decide: what a
//! machine makes of it, alone and inside another, is what rustls' own connection makes of it.

use std::io::Write as _;

use rustls::Connection;

use super::road::{End, Fault, Records, Road, Strike};
use super::{OF_BYTES, OF_RECORDS, STRIDE};
use crate::support::crypto;
use crate::support::glued::connection;
use crate::support::null::Strength;
use crate::support::pki::Version;
use crate::support::record_oracle::{compare, left, whole_headers};
use crate::support::records::ranges;
use crate::support::setup::{Mix, Setup, Side};
use crate::support::tally::{Outcome, Place, Tally, base_seed, whole};
use crate::support::victims::{self, Inner, Outer, Raw, Victim};

const QUESTION: &[u8] = &[0x51; 40];
const ANSWER: &[u8] = &[0xa5; 60];

/// What a connection is, for its victim.
#[derive(Clone, Copy, Debug)]
struct Row {
    version: Version,
    /// The victim is the client; of its other layer, where it has one, not if `mixed`.
    client: bool,
    mixed: bool,
    mutual: bool,
}

impl Row {
    fn all() -> impl Iterator<Item = Self> {
        let of = |n: u8| {
            let [newest, client, mixed, mutual] = [1, 2, 4, 8].map(|bit| n & bit > 0);
            let version = if newest { Version::Tls13 } else { Version::Tls12 };
            Self { version, client, mixed, mutual }
        };
        (0..16).map(of)
    }

    fn setup(&self) -> Setup {
        Setup {
            null: Some(Strength::Nothing),
            mutual: self.mutual,
            tickets: 1,
            seed: 1 + base_seed(),
            ..Setup::new(self.version, self.version, left(self.client))
        }
    }

    /// The layer around, which is in order, and may not have the same configuration.
    fn around(&self) -> Setup {
        let mix: Mix = left(self.client != self.mixed);
        Setup { mix, tickets: 0, ..self.setup() }
    }

    /// What the peer says when nothing happens to it, and what it says in another connection.
    fn clean(&self, seed: u64) -> Records {
        let setup = self.setup();
        let none = Records::default();
        let mut road = Road::new(None, &none);
        let mut victim = Raw::new(setup.seed, &setup.outer_end(Side::Left));
        let outcome = play(&mut victim, self.liar(seed), &mut road);
        assert_eq!((&outcome.read[..], outcome.closed), (QUESTION, true), "{self:?}: {outcome:?}");
        road.records
    }

    fn liar(&self, seed: u64) -> Liar {
        let before = crypto::swap(seed + base_seed());
        let connection = connection(&self.setup().outer_end(Side::Right));
        Liar { connection, randomness: crypto::swap(before), failed: false, spoken: false }
    }

    fn strike(&self, other: &Records, strike: Strike) -> Option<Outcome> {
        let setup = self.setup();
        let end = setup.outer_end(Side::Left);
        let mut struck = false;
        let mut against = |victim: &mut dyn Victim| {
            let mut road = Road::new(Some(strike), other);
            let outcome = play(victim, self.liar(3), &mut road);
            struck = road.struck;
            outcome
        };
        let oracle = against(&mut Raw::new(setup.seed, &end));
        let alone = against(&mut Outer(setup.session(Side::Left)));
        let inside = against(&mut Inner::new(&self.around(), &setup));
        if !struck {
            return None;
        }
        assert_eq!(alone, inside, "the two layers differ");
        let renegotiates = !self.client && self.version == Version::Tls12;
        compare(&alone, &oracle, renegotiates, &"");
        // What was neither an end nor an error was cut off in the end.
        Some(if alone.closed { Outcome::Completed } else { Outcome::Inner })
    }
}

/// rustls' own connection, whose words change on the road.
struct Liar {
    connection: Connection,
    randomness: u64,
    failed: bool,
    spoken: bool,
}

impl Liar {
    /// Take the victim's bytes; speak and close as soon as it may. Returns what it sends.
    fn act(&mut self, mut bytes: &[u8]) -> Vec<u8> {
        let before = crypto::swap(self.randomness);
        let connection = &mut self.connection;
        while !bytes.is_empty() && !self.failed {
            self.failed = connection.read_tls(&mut bytes).is_err()
                || connection.process_new_packets().is_err();
        }
        if !connection.is_handshaking() && !self.failed && !self.spoken {
            connection.writer().write_all(QUESTION).unwrap();
            connection.send_close_notify();
            self.spoken = true;
        }
        let mut said = Vec::new();
        while connection.wants_write() {
            connection.write_tls(&mut said).unwrap();
        }
        self.randomness = crypto::swap(before);
        said
    }
}

/// Both sides speak as soon as they may; the victim closes only with the transport: rustls has no
/// alert for what comes after its own close_notify.
fn play(victim: &mut dyn Victim, mut liar: Liar, road: &mut Road<'_>) -> victims::Outcome {
    let mut spoken = false;
    let mut said = Vec::new();
    let mut answer = Vec::new();
    let (mut came, mut fed) = (Vec::new(), 0);
    loop {
        let bytes = liar.act(&answer);
        let quiet = bytes.is_empty() && answer.is_empty();
        let late = if quiet { road.release() } else { None };
        came.extend(road.pass(Side::Right, bytes));
        came.extend(late.iter().flat_map(|(_, bytes)| bytes));
        let whole = whole_headers(&came);
        victim.feed(&came[fed..whole]);
        fed = whole;
        answer = victim.take();
        if victim.is_established() && !std::mem::replace(&mut spoken, true) {
            victim.say(ANSWER);
            answer.extend(victim.take());
        }
        said.extend_from_slice(&answer);
        if quiet && late.is_none() && answer.is_empty() {
            break;
        }
    }
    let outcome = victim.outcome();
    victim.end();
    victims::Outcome { alerts: alerts(&said), ..outcome }
}

/// The alerts in what a victim said, in clear or in the shapes of `null.rs`.
fn alerts(said: &[u8]) -> Vec<[u8; 2]> {
    let alert = |record: &[u8]| match record {
        [21, _, _, _, _, level, description] => Some([*level, *description]),
        [21, _, _, _, _, body @ ..] if body.len() == 26 => Some([body[8], body[9]]),
        [23, _, _, _, _, body @ ..] if body.len() == 19 && body[2] == 21 => {
            Some([body[0], body[1]])
        }
        _ => None,
    };
    ranges(said).into_iter().filter_map(|range| alert(&said[range])).collect()
}

#[test]
fn bytes_and_records_of_a_peer_that_lies() {
    let mut tally = Tally::default();
    for (i, row) in Row::all().enumerate() {
        let (clean, other) = (row.clean(3), row.clean(4));
        let records = &clean[Side::Right as usize];
        let mut strike = |at, fault: Fault| {
            let strike = Strike { place: Place::Peer, from: Side::Right, at, fault };
            tally.cell(Place::Peer, fault.name(), (row, strike), || row.strike(&other, strike));
        };
        let of_bytes = OF_BYTES.into_iter().filter(|fault| match fault {
            Fault::Cut(end) => *end == End::Fin,
            _ => true,
        });
        let of_bytes: Vec<_> = of_bytes.collect();
        for at in 0..records.concat().len() {
            if whole() {
                of_bytes.iter().for_each(|fault| strike(at, *fault));
            } else if at % STRIDE == i % STRIDE {
                strike(at, of_bytes[at / STRIDE % of_bytes.len()]);
            }
        }
        for at in 0..records.len() {
            OF_RECORDS.into_iter().for_each(|fault| strike(at, fault));
        }
    }
    tally.finish("bytes and records of a peer that lies");
}
