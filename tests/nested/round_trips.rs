//! What a connection costs before its first request: flights, round trips, bytes; and what a line
//! with a delay makes of it. The guide shows the table that this prints.

use std::collections::VecDeque;
use std::fmt;

use nested_tls::*;

use super::early_data::outer as early_outer;
use super::resumption::{Ends, ends, machines, resumed};
use crate::support::party::Party;
use crate::support::pki::{self, Version};
use crate::support::setup::{Setup, Side};

/// How long a byte travels, in milliseconds of virtual time.
const DELAY: u64 = 100;

/// How far bytes may be from what the guide says: names in certificates, another rustls.
const VARIANCE: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sessions {
    Cold,
    Resumed,
    Early,
}

/// A line of the table.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    outer: Version,
    inner: Version,
    sessions: Sessions,
    /// Up to the one that carries the first request, and with it.
    flights: u64,
    /// Before the client may send it.
    round_trips: u64,
    /// When its answer is there, in milliseconds.
    answered: u64,
    sent: usize,
    received: usize,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = |version| match version {
            Version::Tls12 => "1.2",
            Version::Tls13 => "1.3",
        };
        let sessions = match self.sessions {
            Sessions::Cold => "none",
            Sessions::Resumed => "resumed",
            Sessions::Early => "resumed, early data",
        };
        let (outer, inner) = (version(self.outer), version(self.inner));
        let Self { flights, round_trips, answered, sent, received, .. } = self;
        write!(
            f,
            "| {outer} | {inner} | {sessions} | {flights} | {round_trips} | {answered} ms | {sent} | {received} |"
        )
    }
}

/// A line between two parties on which every byte takes its time.
struct Line<'a> {
    parties: [&'a mut dyn Party; 2],
    on_its_way: VecDeque<(u64, Side, Vec<u8>)>,
    now: u64,
    flights: u64,
}

impl Line<'_> {
    /// Send what the parties have to say; then wait until something arrives. Whether it did.
    fn step(&mut self) -> bool {
        for side in Side::BOTH {
            let party = &mut *self.parties[usize::from(side == Side::Right)];
            let flight: Vec<u8> =
                std::iter::from_fn(|| Some(party.transmit(usize::MAX)).filter(|b| !b.is_empty()))
                    .flatten()
                    .collect();
            if !flight.is_empty() {
                self.flights += 1;
                self.on_its_way.push_back((self.now + DELAY, side, flight));
            }
        }
        let Some((due, side, flight)) = self.on_its_way.pop_front() else { return false };
        self.now = due;
        let party = &mut *self.parties[usize::from(side == Side::Left)];
        assert_eq!(party.receive(&flight), flight.len());
        party.read_all();
        true
    }
}

/// One request and its answer: flights until the request has left, and when the client may send it
/// and has the answer.
fn ask(outer: &Ends, inner: &Ends, seed: u64) -> (u64, u64, u64) {
    let mut pair = machines(outer, inner, seed);
    let (mut asked, mut answered) = (None, false);
    let mut line = Line {
        parties: [&mut pair.left, &mut pair.right],
        on_its_way: VecDeque::new(),
        now: 0,
        flights: 0,
    };
    loop {
        assert!(line.step(), "no answer");
        let now = line.now;
        let [client, server] = &mut line.parties;
        let established = client.report().events.contains(&Event::Established(Layer::Inner));
        if established && asked.is_none() {
            assert_eq!(client.write(b"request"), 7);
            // It leaves with the next one.
            asked = Some((line.flights + 1, now));
        }
        if !answered && server.report().read == b"request" {
            assert_eq!(server.write(b"answer"), 6);
            answered = true;
        }
        if client.report().read == b"answer" {
            let (flights, at) = asked.unwrap();
            return (flights, at, now);
        }
    }
}

fn measure(setup: &Setup, sessions: Sessions) -> Row {
    let outer = match sessions {
        Sessions::Early => early_outer(),
        _ => ends(pki::outer(), setup.outer, true),
    };
    let inner = ends(pki::inner(), setup.inner, true);
    if sessions != Sessions::Cold {
        ask(&outer, &inner, 1);
    }
    // Handshakes and tickets alone, to count their bytes.
    let mut pair = machines(&outer, &inner, 2);
    pair.settle();
    pair.assert_established();
    assert_eq!(resumed(&pair.left), [sessions != Sessions::Cold; 2]);
    let taken = pair.left.ports.layer(Layer::Outer).unwrap().early_data;
    assert_eq!(taken, sessions == Sessions::Early);
    let (sent, received) = (pair.to_right.transcript.len(), pair.to_left.transcript.len());

    let (outer, inner) = match sessions {
        Sessions::Cold => {
            (ends(pki::outer(), setup.outer, true), ends(pki::inner(), setup.inner, true))
        }
        _ => (outer, inner),
    };
    let (flights, at, answered) = ask(&outer, &inner, 3);
    assert_eq!(at % (2 * DELAY), 0);
    Row {
        outer: setup.outer,
        inner: setup.inner,
        sessions,
        flights,
        round_trips: at / (2 * DELAY),
        answered,
        sent,
        received,
    }
}

fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for setup in Setup::versions() {
        rows.extend([Sessions::Cold, Sessions::Resumed].map(|sessions| measure(&setup, sessions)));
        if setup.outer == Version::Tls13 {
            rows.push(measure(&setup, Sessions::Early));
        }
    }
    rows
}

#[test]
fn resumption_and_early_data_save_what_they_promise() {
    for row in rows() {
        let of = |version| match (version, row.sessions) {
            (Version::Tls12, Sessions::Cold) => 2,
            _ => 1,
        };
        let saved = u64::from(row.sessions == Sessions::Early);
        assert_eq!(row.round_trips, of(row.outer) + of(row.inner) - saved, "{row}");
        assert_eq!(row.flights, 2 * row.round_trips + 1, "{row}");
        assert_eq!(row.answered, 2 * DELAY * (row.round_trips + 1), "{row}");
    }
}

#[test]
fn the_guide_says_what_a_connection_costs() {
    let rows = rows();
    rows.iter().for_each(|row| println!("{row}"));
    let page = include_str!("../../src/guide/round_trips.md");
    let said: Vec<_> = page.lines().filter(|line| line.starts_with("| 1.")).collect();
    assert_eq!(said.len(), rows.len());
    for (said, row) in said.into_iter().zip(rows) {
        let cells = |line: &str| line.split('|').map(|c| c.trim().to_owned()).collect::<Vec<_>>();
        let (said, row) = (cells(said), cells(&row.to_string()));
        assert_eq!(said[..7], row[..7], "the guide says something else");
        for (said, found) in said[7..9].iter().zip(&row[7..9]) {
            let [said, found] = [said, found].map(|cell| cell.parse::<usize>().unwrap());
            assert!(said.abs_diff(found) <= VARIANCE, "the guide says {said}, not {found}");
        }
    }
}
