//! The record path beside a raw rustls connection: the same records, sealed with the right keys and
//! then bent, to both; the same plaintext, the same end, the same alert must come of it.
//!
//! A [`Script`] says what a [`Hostile`] peer sends. [`Script::play`] sends it to a [`Session`], to
//! the inner layer of a `Nested`, and to rustls; [`compare`] judges. Where the crate is stricter
//! than rustls, [`stricter`] names the rule and the RFC; nothing else may differ. [`Script::read`]
//! makes a script from any bytes, for fuzzers.

use std::fmt::Debug;

use rustls::{AlertDescription, InvalidMessage, PeerMisbehaved};

use super::crypto::Rng;
use super::hostile::{self, ALERT, DATA, HANDSHAKE, Hostile};
use super::null::Strength;
use super::pki::Version;
use super::setup::{Mix, Setup, Side};
use super::victims::{Inner, Outcome, Outer, Raw, Victim};

/// One thing that the hostile peer does.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Seal a record under the next sequence number.
    Seal { typ: u8, payload: Vec<u8>, padding: usize },
    /// Seal a KeyUpdate, and go on under the next keys.
    KeyUpdate { requested: bool },
    /// Seal a record under the sequence number that lies so far from the next one.
    SealOff { typ: u8, payload: Vec<u8>, off: i8 },
    /// Bytes that nobody sealed.
    Raw(Vec<u8>),
    /// Flip bits of the last record's byte at this place, counted modulo its length.
    Flip { at: usize, mask: u8 },
    /// Cut the last record short by so many bytes, counted modulo its length; its header stays.
    Cut(usize),
    /// Send the last record twice.
    Repeat,
    /// Do not send the last record.
    Drop,
    /// Send the last two records in the other order.
    Swap,
}

/// What the hostile peer sends, and in what pieces.
#[derive(Clone, Debug)]
pub struct Script {
    pub version: Version,
    /// The victim is the client.
    pub client: bool,
    /// Inside a `Nested`, the victim's other layer has the other role.
    pub mixed: bool,
    pub ops: Vec<Op>,
    /// The sizes of the pieces that reach the victim, used in turn; empty for one piece.
    pub pieces: Vec<usize>,
    /// Cryptography that protects nothing in the place of the real one.
    pub null: Option<Strength>,
}

impl Script {
    pub fn new(version: Version, client: bool, ops: impl Into<Vec<Op>>) -> Self {
        Self { version, client, mixed: false, ops: ops.into(), pieces: Vec::new(), null: None }
    }

    /// A script from bytes that a fuzzer made up: any bytes are one.
    pub fn read(bytes: &[u8]) -> Self {
        let mut bytes = bytes.iter().copied();
        let mut next = || bytes.next().unwrap_or_default();
        let flags = next();
        let version = Version::ALL[usize::from(flags & 1)];
        let pieces = match flags >> 2 & 3 {
            0 => vec![],
            // Through a header byte by byte, then on with a stride.
            1 => [&[1; 7][..], &[500 + usize::from(next()) * 8]].concat(),
            _ => vec![1 + usize::from(next()), 200 + usize::from(next()) * 8],
        };
        let mut ops = Vec::new();
        while ops.len() < 48 {
            let kind = next();
            if kind == 0 {
                break;
            }
            ops.push(Op::read(kind, &mut next));
        }
        Self { version, client: flags & 2 != 0, mixed: flags & 16 != 0, ops, pieces, null: None }
    }

    fn setup(&self) -> Setup {
        let mix = left(self.client);
        Setup { tickets: 1, null: self.null, ..Setup::new(self.version, self.version, mix) }
    }

    /// What lies around the victim's layer inside a `Nested`. The layers may not share a
    /// configuration, so it has one of its own kind.
    fn around(&self) -> Setup {
        let mix = left(self.client != self.mixed);
        Setup { mutual: false, tickets: 0, mix, ..self.setup() }
    }

    fn has_handshake(&self) -> bool {
        let may_be = |op: &Op| match op {
            Op::Seal { typ, .. } | Op::SealOff { typ, .. } => *typ == HANDSHAKE,
            op => matches!(op, Op::Raw(_)),
        };
        self.ops.iter().any(may_be)
    }

    /// The bytes that the script makes of a peer's keys.
    fn records(&self, peer: &mut Hostile) -> Vec<u8> {
        let mut records: Vec<Vec<u8>> = Vec::new();
        for op in &self.ops {
            match op {
                Op::Seal { typ, payload, padding } => {
                    records.push(peer.seal_padded(*typ, payload, *padding));
                }
                Op::KeyUpdate { requested } => {
                    let body = if *requested {
                        hostile::KEY_UPDATE_REQUESTED
                    } else {
                        hostile::KEY_UPDATE
                    };
                    records.push(peer.seal(HANDSHAKE, &body));
                    if peer.is_tls13() {
                        peer.update_tx();
                    }
                }
                Op::SealOff { typ, payload, off } => {
                    let sequence = peer.sequence().wrapping_add_signed((*off).into());
                    records.push(peer.seal_at(*typ, payload, sequence));
                }
                Op::Raw(bytes) => records.push(bytes.clone()),
                Op::Flip { at, mask } => {
                    if let Some(last) = records.last_mut().filter(|r| !r.is_empty()) {
                        let at = at % last.len();
                        last[at] ^= mask;
                    }
                }
                Op::Cut(n) => {
                    if let Some(last) = records.last_mut().filter(|r| r.len() > 5) {
                        let len = last.len() - 1 - n % (last.len() - 5);
                        last.truncate(len.max(5));
                        let [high, low] = ((last.len() - 5) as u16).to_be_bytes();
                        last[3..5].copy_from_slice(&[high, low]);
                    }
                }
                Op::Repeat => records.extend(records.last().cloned()),
                Op::Drop => drop(records.pop()),
                Op::Swap => {
                    let n = records.len();
                    if n > 1 {
                        records.swap(n - 1, n - 2);
                    }
                }
            }
        }
        let mut bytes = records.concat();
        bytes.truncate(whole_headers(&bytes));
        bytes
    }

    fn play_to(&self, victim: &mut dyn Victim) -> Outcome {
        let setup = self.setup();
        let mut peer = Hostile::new(99, &setup.outer_end(Side::Right));
        peer.connect(&mut |bytes| {
            victim.feed(bytes);
            victim.take()
        });
        let bytes = self.records(&mut peer);
        let mut rest = &bytes[..];
        let mut pieces = self.pieces.iter().copied().cycle();
        while !rest.is_empty() {
            let n = pieces.next().unwrap_or(rest.len()).clamp(1, rest.len());
            victim.feed(&rest[..n]);
            rest = &rest[n..];
        }
        let sent = victim.take();
        let mut outcome = victim.outcome();
        for (typ, payload) in peer.open(&sent) {
            match (typ, &payload[..]) {
                (ALERT, &[level, description]) => outcome.alerts.push([level, description]),
                (HANDSHAKE, [24, ..]) => outcome.key_updates += 1,
                // A server's tickets.
                (HANDSHAKE, [4, ..]) => {}
                record => panic!("the victim sent {record:?}"),
            }
        }
        outcome
    }

    /// What came of it in a `Session`, inside a `Nested`, and in rustls.
    pub fn play(&self) -> [Outcome; 3] {
        let setup = self.setup();
        let session = self.play_to(&mut Outer(setup.session(Side::Left)));
        let nested = self.play_to(&mut Inner::new(&self.around(), &setup));
        let oracle = self.play_to(&mut Raw::new(setup.seed, &setup.outer_end(Side::Left)));
        [session, nested, oracle]
    }

    /// Play, and judge; what came of it in a `Session`.
    pub fn check(&self) -> Outcome {
        let [mut session, mut nested, oracle] = self.play();
        // One answer may serve several requests; none is due from a connection that failed.
        for outcome in [&mut session, &mut nested] {
            let due = outcome.key_updates > 0 && outcome.error.is_none();
            outcome.key_updates = usize::from(due);
            let failed = outcome.error.is_some();
            outcome.alerts.retain(|alert| alert[0] == 2 || !failed);
        }
        assert_eq!(session, nested, "the two layers differ: {self:?}");
        let renegotiates = !self.client && self.version == Version::Tls12 && self.has_handshake();
        compare(&session, &oracle, renegotiates, self);
        session
    }
}

impl Op {
    fn read(kind: u8, next: &mut dyn FnMut() -> u8) -> Self {
        let typ = |n: u8| [DATA, HANDSHAKE, ALERT, 20, HEARTBEAT, 0, 99, DATA][usize::from(n % 8)];
        const HEARTBEAT: u8 = hostile::HEARTBEAT;
        let payload = |next: &mut dyn FnMut() -> u8| -> Vec<u8> {
            match next() {
                // A few bytes of the fuzzer's own.
                n @ 0..=127 => (0..n % 32).map(|_| next()).collect(),
                128..=159 => hostile::handshake(next(), &Rng(next().into()).bytes(next().into())),
                160..=191 => hostile::ticket(next().into()),
                192..=207 => hostile::KEY_UPDATE.repeat(1 + usize::from(next() % 3)),
                208..=223 => hostile::HELLO_REQUEST.to_vec(),
                224..=239 => vec![1 + next() % 2, next() % 121],
                // Lengths around the largest.
                240..=255 => vec![7; 16_384 - 4 + usize::from(next() % 12)],
            }
        };
        match kind % 16 {
            0..=3 => Self::Seal { typ: DATA, payload: payload(next), padding: 0 },
            4..=6 => Self::Seal { typ: HANDSHAKE, payload: payload(next), padding: 0 },
            7 => Self::Seal { typ: ALERT, payload: payload(next), padding: 0 },
            8 => Self::Seal { typ: typ(next()), payload: payload(next), padding: next().into() },
            9 => Self::KeyUpdate { requested: next() & 1 == 1 },
            10 => Self::SealOff { typ: typ(next()), payload: payload(next), off: next() as i8 },
            11 => Self::Raw((0..next() % 32).map(|_| next()).collect()),
            12 => Self::Flip { at: usize::from(next()) | usize::from(next()) << 8, mask: next() },
            13 => Self::Cut(next().into()),
            14 => Self::Repeat,
            15 if next() & 1 == 0 => Self::Drop,
            _ => Self::Swap,
        }
    }
}

/// The hostile peer is on the right, so the victim on the left decides.
pub fn left(client: bool) -> Mix {
    if client { Mix::ClientClient } else { Mix::ServerServer }
}

/// The length of `bytes` without the beginning of a header at their end: rustls judges its first
/// byte alone, the crate all five.
pub fn whole_headers(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(&[_, _, _, high, low]) = bytes.get(at..at + 5) {
        at += 5 + usize::from(u16::from_be_bytes([high, low]));
    }
    at.min(bytes.len())
}

/// What the crate refuses and rustls does not, or with another alert. Each with its rule.
fn stricter(ours: &rustls::Error, theirs: Option<&rustls::Error>) -> bool {
    use rustls::Error::{
        DecryptError, InappropriateHandshakeMessage, InappropriateMessage,
        InvalidMessage as Invalid, PeerMisbehaved as Misbehaved, PeerSentOversizedRecord,
    };
    match (ours, theirs) {
        // RFC 8446 §5: a protected record has the outer type application_data; an unexpected type
        // is answered by unexpected_message. rustls opens the record as if it had, or takes an
        // alert's type for a record in clear, or says decode_error. If it opens the record, it goes
        // on, to whatever is in it or comes behind.
        (InappropriateMessage { .. }, _) => true,
        (
            Invalid(InvalidMessage::InvalidContentType),
            Some(Invalid(InvalidMessage::InvalidContentType | InvalidMessage::InvalidCcs)),
        ) => true,
        // RFC 5246 §6.2.1: the major version is 3. rustls also knows 0x0002, for SSL 2.
        (Invalid(InvalidMessage::UnknownProtocolVersion), _) => true,
        // RFC 8446 §5.1 and §5.2 want record_overflow for a length that rustls finds nonsense or
        // does not look at before the record is whole.
        (
            PeerSentOversizedRecord,
            None | Some(Invalid(InvalidMessage::MessageTooLarge) | DecryptError),
        ) => true,
        // RFC 5246 §7.4.1.1: a HelloRequest is empty. rustls goes on, to whatever comes behind.
        (Invalid(InvalidMessage::TrailingData("HelloRequest")), _) => true,
        // RFC 8446 §5.4: no handshake or alert record without content: unexpected_message.
        (Invalid(InvalidMessage::InvalidEmptyPayload), _) => true,
        // Rules of ours on floods: what has no data in it does not make up for more of it. rustls
        // goes on, to whatever comes behind.
        (
            Misbehaved(
                PeerMisbehaved::TooManyKeyUpdateRequests | PeerMisbehaved::TooManyEmptyFragments,
            ),
            _,
        ) => true,
        // RFC 8446 §5.1: nothing may follow a KeyUpdate in its record, whatever is in it.
        (Misbehaved(PeerMisbehaved::KeyEpochWithPendingFragment), Some(Invalid(_))) => true,
        // A message that has no place here is refused for its type, whatever is in it.
        (
            InappropriateHandshakeMessage { .. }
            | Misbehaved(PeerMisbehaved::TooManyRenegotiationRequests),
            Some(Invalid(_)),
        ) => true,
        _ => false,
    }
}

/// The same plaintext, the same end, the same alert.
///
/// # Panics
/// If `ours` differs from `oracle` in anything that [`stricter`] does not allow. What may be a wish
/// for another handshake, in TLS 1.2, `renegotiates`.
pub fn compare(ours: &Outcome, oracle: &Outcome, renegotiates: bool, told: &dyn Debug) {
    let told = || format!("\nours   {ours:?}\nrustls {oracle:?}\n{told:?}");
    // rustls reads a ClientHello before it refuses to renegotiate; here its type is enough, and
    // what comes behind it counts.
    if renegotiates {
        let unread = matches!(oracle.error, Some(rustls::Error::InvalidMessage(_)));
        let differ = (&ours.error, &ours.read) != (&oracle.error, &oracle.read);
        let refused = ours.alerts.contains(&[1, 100]) || ours.error.is_some();
        if unread && differ && refused && ours.read.starts_with(&oracle.read) {
            return;
        }
    }
    let is_stricter = ours.error.as_ref().is_some_and(|e| stricter(e, oracle.error.as_ref()));
    if is_stricter {
        assert!(oracle.read.starts_with(&ours.read), "other plaintext{}", told());
        let fatal: Vec<_> = ours.alerts.iter().filter(|alert| alert[0] == 2).collect();
        assert_eq!(fatal.len(), 1, "a refusal has an alert{}", told());
        if let Some(rustls::Error::InappropriateMessage { .. }) = ours.error {
            let alert = AlertDescription::UnexpectedMessage.into();
            assert_eq!(fatal, [&[2, alert]], "another alert{}", told());
        }
        return;
    }
    assert_eq!(ours.read, oracle.read, "other plaintext{}", told());
    assert_eq!(ours.established, oracle.established, "established or not{}", told());
    assert_eq!(ours.closed, oracle.closed, "another end{}", told());
    assert_eq!(ours.error.is_some(), oracle.error.is_some(), "one refuses{}", told());
    let fatal = |outcome: &Outcome| outcome.alerts.iter().copied().find(|alert| alert[0] == 2);
    match (fatal(oracle), &ours.error) {
        (Some(alert), _) => assert_eq!(fatal(ours), Some(alert), "another alert{}", told()),
        // rustls says nothing of some misbehaviour; an alert may not be answered by one.
        (None, Some(rustls::Error::AlertReceived(_)) | None) => {
            assert_eq!(fatal(ours), None, "an alert for nothing{}", told());
        }
        // In a handshake nobody but rustls has the keys for one.
        (None, Some(_)) if !ours.established => assert!(fatal(ours).is_some(), "{}", told()),
        (None, Some(error)) => {
            let alert = match error {
                rustls::Error::InvalidMessage(_) => AlertDescription::DecodeError,
                _ => AlertDescription::UnexpectedMessage,
            };
            assert_eq!(fatal(ours), Some([2, alert.into()]), "{}", told());
        }
    }
    if ours.error.is_none() && !ours.closed {
        assert!(ours.key_updates.min(1) >= oracle.key_updates.min(1), "no answer{}", told());
    }
}
