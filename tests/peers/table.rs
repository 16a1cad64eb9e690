//! What every peer is put through.

use std::fmt::Debug;
use std::io::{self, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use nested_tls::{ErrorKind, Event, Layer};
use rustls::ProtocolVersion;

use crate::case::{Case, Cut, End, Flow, Received, Version};
use crate::identities::{Identities, alpn, name};
use crate::ours::{Driver, LIMIT, Outcome, converse};
use crate::peer::{Can, Peer, Report};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// The sizes around those of a record.
const SIZES: [u64; 6] = [0, 1, 100, 16 * KIB - 1, 16 * KIB, 16 * KIB + 1];

/// Puts `peer` through all that it can do, and says what that was.
pub(crate) fn run(peer: &dyn Peer) {
    let identities = Identities::throwaway();
    let mut said = 0;
    let mut skipped = Vec::new();
    for row in ROWS {
        if !(row.possible)(&peer.can()) {
            skipped.push(row.name);
            continue;
        }
        let cases = (row.cases)().into_iter().filter_map(|case| possible(&peer.can(), case));
        let step = if peer.can().hurry { 1 } else { 3 };
        for (i, case) in cases.step_by(step).enumerate() {
            let driver = Driver::ALL[i % Driver::ALL.len()];
            check(peer, identities, driver, &case);
            said += 1;
        }
    }
    tell(&peer.name(), said, &skipped);
}

/// The case as the peer can play it.
fn possible(can: &Can, mut case: Case) -> Option<Case> {
    // A host is the server of the outer layer, with its own certificate.
    let host = case.outer_end == End::Client && case.stranger_there != Some(Layer::Outer);
    if !can.outer && !host {
        return None;
    }
    // "The other party MUST respond with a close_notify alert of its own and close down the
    // connection immediately, discarding any pending writes."
    // <https://www.rfc-editor.org/rfc/rfc5246#section-7.2.1>
    if !can.half_close_by_tls12 && case.inner == Version::Tls12 {
        case.ours.waits = true;
        if case.theirs.waits {
            return None;
        }
    }
    for flow in [&mut case.ours, &mut case.theirs] {
        if flow.update > 0 {
            flow.update = flow.update.max(flow.bytes / can.most_updates);
        }
    }
    Some(case)
}

/// A line for the user, past the test harness, which keeps back what passing tests print.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

pub(crate) fn tell(name: &str, conversations: usize, skipped: &[&str]) {
    let rest = match skipped {
        [] => String::new(),
        skipped => format!("; not in this peer's power: {}", skipped.join(", ")),
    };
    say(&format!("peer: {name}: {conversations} conversations{rest}"));
}

struct Row {
    name: &'static str,
    cases: fn() -> Vec<Case>,
    possible: fn(&Can) -> bool,
}

const ROWS: &[Row] = &[
    Row { name: "sizes", cases: sizes, possible: |_| true },
    Row { name: "a megabyte", cases: || each(|case| case.both(MIB)), possible: |_| true },
    Row {
        name: "64 MiB",
        cases: || {
            let ends = (End::Client, End::Server);
            vec![Case::new((Version::Tls13, Version::Tls12), ends).both(64 * MIB)]
        },
        possible: |_| true,
    },
    Row {
        name: "half-close by us",
        cases: || {
            each(|case| {
                let theirs = Flow { waits: true, ..Flow::of(100_000) };
                Case { ours: Flow::of(50_000), theirs, ..case }
            })
        },
        possible: |_| true,
    },
    Row {
        name: "half-close by the peer",
        cases: || {
            each(|case| {
                let ours = Flow { waits: true, ..Flow::of(100_000) };
                Case { ours, theirs: Flow::of(50_000), ..case }
            })
        },
        possible: |can| can.half_close,
    },
    Row {
        name: "one-byte records inside",
        cases: || {
            each(|case| Case { theirs: Flow { piece: 1, ..Flow::of(1000) }, ..case.both(1000) })
        },
        possible: |_| true,
    },
    Row {
        name: "one-byte records outside",
        cases: || each(|case| Case { outer_piece: 1, ..case.both(1000) }),
        possible: |can| can.outer_pieces,
    },
    Row {
        name: "our KeyUpdates",
        cases: || {
            let with = |case: Case, update| Case {
                ours: Flow { update, ..Flow::of(100_000) },
                theirs: Flow::of(100_000),
                ..case
            };
            tls13(&|case| vec![with(case, 5000), with(case, 16 * KIB)])
        },
        possible: |_| true,
    },
    Row {
        name: "the peer's KeyUpdates",
        cases: || {
            let with = |case: Case, update| Case {
                theirs: Flow { update, ..Flow::of(100_000) },
                ours: Flow::of(100_000),
                ..case
            };
            tls13(&|case| vec![with(case, 5000), with(case, 16 * KIB)])
        },
        possible: |can| can.update_keys,
    },
    Row {
        name: "KeyUpdates of both sides",
        cases: || {
            let flow = Flow { update: 3000, ..Flow::of(50_000) };
            tls13(&|case| vec![Case { ours: flow, theirs: flow, ..case }])
        },
        possible: |can| can.update_keys && can.crossing_updates,
    },
    Row {
        name: "padding",
        cases: || tls13(&|case| vec![Case { pad: 512, ..case.both(50_000) }]),
        possible: |can| can.pad,
    },
    Row { name: "the transport ends", cases: || cut(Cut::Transport), possible: |_| true },
    Row {
        name: "only the outer layer ends",
        cases: || cut(Cut::Outer),
        possible: |can| can.cut_outer,
    },
    Row { name: "the transport is reset", cases: || cut(Cut::Reset), possible: |can| can.reset },
    Row {
        name: "the transport ends by us",
        cases: || {
            each(|case| Case {
                cut_here: true,
                ours: Flow::of(20_000),
                theirs: Flow::of(0),
                ..case
            })
        },
        possible: |can| can.tell_truncation,
    },
    Row {
        name: "the transport ends after the inner layer",
        cases: || cut(Cut::AfterInner),
        possible: |can| can.leave_outer,
    },
    Row {
        name: "our certificate refused",
        cases: || strangers(|case, layer| Case { stranger_here: Some(layer), ..case }),
        possible: |_| true,
    },
    Row {
        name: "the peer's certificate refused",
        cases: || strangers(|case, layer| Case { stranger_there: Some(layer), ..case }),
        possible: |_| true,
    },
];

fn sizes() -> Vec<Case> {
    let all = Case::all().into_iter().enumerate();
    all.flat_map(|(i, case)| {
        SIZES.iter().enumerate().map(move |(j, size)| {
            let other = SIZES[(i + j) % SIZES.len()];
            Case { ours: Flow::of(*size), theirs: Flow::of(other), ..case }
        })
    })
    .collect()
}

/// Every pair of versions, in roles that change with each.
fn each(with: fn(Case) -> Case) -> Vec<Case> {
    (0..16).map(|i| with(Case::some(i))).collect()
}

fn tls13(with: &dyn Fn(Case) -> Vec<Case>) -> Vec<Case> {
    Case::all().into_iter().filter(Case::has_tls13).flat_map(with).collect()
}

fn cut(cut: Cut) -> Vec<Case> {
    let case = |i| Case { cut: Some(cut), ..Case::some(i).both(20_000) };
    (0..16).map(case).collect()
}

fn strangers(with: fn(Case, Layer) -> Case) -> Vec<Case> {
    let layers = [Layer::Outer, Layer::Inner];
    Case::all().into_iter().flat_map(|case| layers.map(|layer| with(case, layer))).collect()
}

/// One conversation, and what both sides must have seen of it.
pub(crate) fn check(
    peer: &dyn Peer,
    identities: &Identities,
    driver: Driver,
    case: &Case,
) -> Outcome {
    let (socket, running) = peer.start(identities, case);
    let outcome = converse(driver, identities, case, socket);
    let report = running.finish();
    let at = Talk { name: peer.name(), can: peer.can(), driver, case, outcome, report };
    at.judge();
    at.outcome
}

/// The peer's connection. A peer that has died makes none.
pub(crate) fn accept(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let begun = Instant::now();
    loop {
        match listener.accept() {
            Ok((socket, _)) => {
                socket.set_nonblocking(false).unwrap();
                return socket;
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock && begun.elapsed() < LIMIT => {
                thread::sleep(Duration::from_millis(1));
            }
            Err(e) => panic!("the peer does not connect: {e}"),
        }
    }
}

/// A conversation that is over.
struct Talk<'a> {
    name: String,
    can: Can,
    driver: Driver,
    case: &'a Case,
    outcome: Outcome,
    report: Report,
}

impl Talk<'_> {
    fn judge(&self) {
        if let Some(layer) = self.case.stranger_here {
            return self.we_are_refused(layer);
        }
        if let Some(layer) = self.case.stranger_there {
            return self.peer_is_refused(layer);
        }
        self.what_was_agreed();
        if self.case.cut_here {
            self.reports("end", "truncated");
            self.reports("received", &self.case.ours.bytes.to_string());
            return self.reports("wrong", "-1");
        }
        if self.case.cut == Some(Cut::Reset) {
            return self.reset();
        }
        self.is("what we received", &self.outcome.received, &whole(self.case.theirs));
        match self.case.cut {
            Some(Cut::AfterInner) | None => self.clean(),
            Some(Cut::Transport | Cut::Outer | Cut::Reset) => self.truncated(),
        }
    }

    /// Both sides have all, and know that it is all.
    fn clean(&self) {
        let Outcome { end, error, transport, events, .. } = &self.outcome;
        self.is("our error", error, &None);
        if self.can.lingers {
            self.is("our transport's error", &transport.as_ref().map(ToString::to_string), &None);
        }
        self.is("our end", end, &true);
        let mut expected = vec![
            Event::Established(Layer::Outer),
            Event::Established(Layer::Inner),
            Event::PeerClosed(Layer::Inner),
        ];
        if self.case.cut.is_none() && self.can.close_outer {
            expected.extend([Event::PeerClosed(Layer::Outer), Event::Closed]);
        } else {
            expected.extend([Event::OuterUnclean, Event::Closed]);
        }
        self.is("our events", events, &expected);
        self.reports("end", "clean");
        self.reports("received", &self.case.ours.bytes.to_string());
        self.reports("wrong", "-1");
        if self.can.outer && self.can.close_outer {
            self.reports("outer_end", "clean");
        }
    }

    /// We have what came before the cut, and know that it was one.
    fn truncated(&self) {
        self.is("our end", &self.outcome.end, &false);
        let Some(error) = &self.outcome.error else { return self.complain("no error") };
        self.is("our error", error.kind(), &ErrorKind::Truncated);
        self.is("the layer of our error", &error.layer(), &Layer::Inner);
    }

    /// Some of what the peer sent may be lost; that must not look like its end.
    fn reset(&self) {
        let Outcome { received, end, error, transport, .. } = &self.outcome;
        self.is("our end", end, &false);
        self.is("where it differs", &received.wrong, &None);
        if received.bytes > self.case.theirs.bytes || (error.is_none() && transport.is_none()) {
            self.complain("not an error");
        }
    }

    fn we_are_refused(&self, layer: Layer) {
        let Outcome { error, transport, .. } = &self.outcome;
        let silent = !self.can.alert && (self.can.outer || layer == Layer::Outer);
        self.nothing_was_received();
        match error {
            // The transport was reset with something of ours unread.
            None if silent && !self.can.lingers && transport.is_some() => {}
            None => return self.complain("no error"),
            Some(error) if silent => self.is("our error", error.kind(), &ErrorKind::Truncated),
            Some(error) => {
                self.is("the layer of our error", &error.layer(), &layer);
                if error.alert_received().is_none() {
                    self.complain("no alert came");
                }
            }
        }
        if self.is_theirs(layer) {
            self.reports("end", "error");
            self.reports("layer", &layer.to_string());
        }
    }

    fn peer_is_refused(&self, layer: Layer) {
        let Some(error) = &self.outcome.error else { return self.complain("no error") };
        self.is("the layer of our error", &error.layer(), &layer);
        if !matches!(error.kind(), ErrorKind::Tls(rustls::Error::InvalidCertificate(_))) {
            self.complain("not the certificate");
        }
        self.nothing_was_received();
        self.reports("end", "error");
        self.reports("layer", &layer.to_string());
        if !self.report.get("reason").to_lowercase().contains("alert") {
            self.complain("the peer saw no alert");
        }
    }

    fn nothing_was_received(&self) {
        self.is("what we received", &self.outcome.received, &Received::default());
        self.is("our end", &self.outcome.end, &false);
        if self.outcome.events.contains(&Event::Closed) {
            self.complain("a refused connection is not a closed one");
        }
    }

    /// What the peer says of `layer` is its own to say.
    fn is_theirs(&self, layer: Layer) -> bool {
        self.can.outer || layer == Layer::Inner
    }

    fn what_was_agreed(&self) {
        let sides = [(Layer::Outer, &self.outcome.outer), (Layer::Inner, &self.outcome.inner)];
        for (i, (layer, info)) in sides.into_iter().enumerate() {
            let version = match self.case.version(layer) {
                Version::Tls12 => ProtocolVersion::TLSv1_2,
                Version::Tls13 => ProtocolVersion::TLSv1_3,
            };
            self.is("our version", &info.version, &Some(version));
            let protocol = self.can.outer_alpn || layer == Layer::Inner;
            self.is("our protocol", &info.alpn, &protocol.then(|| alpn(layer).into()));
            self.is("our peer's certificates", &info.peer_certificates.is_some(), &true);
            if !self.is_theirs(layer) {
                continue;
            }
            self.reports(&format!("{layer}_version"), self.case.version(layer).digits());
            self.reports(&format!("{layer}_alpn"), alpn(layer));
            match self.case.end(layer) {
                End::Client => self.reports(&format!("{layer}_sni"), name(layer)),
                End::Server => {
                    self.is(
                        "the name asked for",
                        &self.outcome.asked[i],
                        &Some(name(layer).into()),
                    );
                }
            }
        }
    }

    fn is<T: Debug + PartialEq>(&self, what: &str, found: &T, expected: &T) {
        if found != expected {
            self.complain(&format!("{what}: expected {expected:?}, found {found:?}"));
        }
    }

    fn reports(&self, key: &str, expected: &str) {
        let found = self.report.get(key);
        if found != expected {
            self.complain(&format!("the peer's {key}: expected {expected:?}, found {found:?}"));
        }
    }

    fn complain(&self, what: &str) {
        let Self { name, driver, case, outcome, report, .. } = self;
        panic!("{what}\n{name}, {driver:?}: {case}\nours: {outcome:?}\ntheirs: {report:?}");
    }
}

fn whole(flow: Flow) -> Received {
    Received { bytes: flow.bytes, wrong: None }
}
