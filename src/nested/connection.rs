//! One TLS connection without buffers of its own: a handshake, then records.

use alloc::boxed::Box;
use core::iter;

use rustls::{AlertDescription, Error};

use super::buffer::{Queue, Region};
use super::error::Misuse;
use super::exporter::Exporter;
use super::handshake::{Handshake, Step};
use super::layer::{Layer, LayerInfo};
use super::limits::{Limits, MAX_FRAGMENT, RECORD_HEADER};
use super::record::{self, Opened, Refusal, Traffic};
use super::resumption;
use super::role::Role;
use super::trace::Ledger;

/// One TLS connection.
pub(super) struct Connection {
    state: State,
    pub(super) ledger: Ledger,
    exporter: Option<Box<Exporter>>,
    role: Role,
    /// A server has been given early data; a client has had so many bytes of it taken.
    early: usize,
    /// The peer's close_notify has come.
    peer_closed: bool,
    /// Our close_notify is on its way.
    closed: bool,
}

enum State {
    Handshake(Box<Handshake>),
    Traffic(Box<Traffic>),
    Failed,
}

/// What one step with the input did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing; more input is needed.
    None,
    /// A record was used up.
    Some,
    /// The handshake is complete.
    Established,
    /// The peer's close_notify came.
    PeerClosed,
}

/// What stops a connection.
#[derive(Debug)]
pub(super) enum Stop {
    Tls(Error),
    /// An unfinished handshake message beyond the limit.
    Handshake,
    /// More early data than may wait for the end of the handshake.
    EarlyData,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Tls(error)
    }
}

impl Connection {
    /// A new connection; a client's first flight is in `out`.
    pub(super) fn new(
        layer: Layer,
        role: Role,
        limits: &Limits,
        out: &mut Queue,
    ) -> Result<Self, Error> {
        let mut handshake = Handshake::new(layer, &role)?;
        let mut ledger = Ledger::new(layer, role.tracer());
        match handshake.advance(&mut [], limits, out, &mut ledger).1 {
            Err(Stop::Tls(error)) => return Err(error),
            Ok(_) | Err(Stop::Handshake | Stop::EarlyData) => {}
        }
        Ok(Self {
            state: State::Handshake(Box::new(handshake)),
            ledger,
            exporter: None,
            role,
            early: 0,
            peer_closed: false,
            closed: false,
        })
    }

    pub(super) fn info(&self) -> &LayerInfo {
        &self.ledger.info
    }

    pub(super) fn role(&self) -> &Role {
        &self.role
    }

    /// Keying material of a complete handshake.
    pub(super) fn export(
        &self,
        out: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), Misuse> {
        match &self.exporter {
            Some(exporter) => exporter.export(out, label, context),
            None if !self.role.exports() => Err(Misuse::ExporterOff),
            None if self.was_established() => Err(Misuse::ExporterVersion),
            None => Err(Misuse::NotEstablished),
        }
    }

    pub(super) fn is_established(&self) -> bool {
        matches!(self.state, State::Traffic(_))
    }

    /// Whether the handshake was completed once, whatever came of it later.
    pub(super) fn was_established(&self) -> bool {
        self.ledger.info.version.is_some()
    }

    pub(super) fn is_handshaking(&self) -> bool {
        matches!(self.state, State::Handshake(_))
    }

    pub(super) fn peer_closed(&self) -> bool {
        self.peer_closed
    }

    /// Whether our close_notify is on its way.
    pub(super) fn closed(&self) -> bool {
        self.closed
    }

    /// The most input that can stand unused after all progress is made.
    pub(super) fn max_unfinished(&self, limits: &Limits) -> usize {
        match self.state {
            State::Handshake(_) => Handshake::max_unfinished(limits),
            _ => limits.record,
        }
    }

    /// Use up what stands at the front of `cipher`: all handshake records, or one record after
    /// them, whose plaintext joins `plain`. What TLS wants sent is in `out`, also after an error.
    pub(super) fn advance(
        &mut self,
        bytes: &mut [u8],
        cipher: &mut Region,
        plain: &mut Region,
        limits: &Limits,
        out: &mut Queue,
    ) -> Result<Progress, Stop> {
        if self.peer_closed || cipher.is_empty() {
            return Ok(Progress::None);
        }
        match &mut self.state {
            State::Handshake(_) => self.shake_hands(bytes, cipher, plain, limits, out),
            State::Traffic(traffic) => {
                let refusal =
                    match record::length(cipher.of(bytes), limits.record.min(traffic.max_record()))
                    {
                        Ok(None) => return Ok(Progress::None),
                        Ok(Some(len)) => {
                            self.ledger.came(len);
                            let record = Region::new(cipher.start, len);
                            match traffic.open(record.of_mut(bytes), &mut self.ledger) {
                                Ok(opened) => {
                                    cipher.consume(len);
                                    return Ok(match opened {
                                        Opened::Data(at) => {
                                            let at = Region::new(record.start + at.start, at.len());
                                            plain.append(bytes, at);
                                            Progress::Some
                                        }
                                        Opened::Control => Progress::Some,
                                        Opened::CloseNotify => {
                                            self.peer_closed = true;
                                            Progress::PeerClosed
                                        }
                                    });
                                }
                                Err(refusal) => refusal,
                            }
                        }
                        Err(error) => Refusal::from(error),
                    };
                if let Some(alert) = refusal.alert {
                    self.fail(alert, out);
                }
                self.state = State::Failed;
                Err(Stop::Tls(refusal.error))
            }
            State::Failed => Ok(Progress::None),
        }
    }

    /// As [`Connection::advance`], in the handshake.
    fn shake_hands(
        &mut self,
        bytes: &mut [u8],
        cipher: &mut Region,
        plain: &mut Region,
        limits: &Limits,
        out: &mut Queue,
    ) -> Result<Progress, Stop> {
        let State::Handshake(handshake) = &mut self.state else {
            return Ok(Progress::None);
        };
        let (used, step) = handshake.advance(cipher.of_mut(bytes), limits, out, &mut self.ledger);
        cipher.consume(used);
        let early = handshake.take_early();
        // A session that must not go on fails, in words, when the handshake is complete. What came
        // before that is nobody's.
        if !early.is_empty() && handshake.judge_resumed(&self.role).is_ok() {
            // It fits where its records stood.
            let place = Region::new(cipher.start.saturating_sub(early.len()), early.len());
            if early.len() > used || self.early + early.len() > limits.frame() {
                handshake.refuse(cipher.of_mut(bytes), out, &mut self.ledger);
                self.state = State::Failed;
                return Err(Stop::EarlyData);
            }
            place.of_mut(bytes).copy_from_slice(&early);
            plain.append(bytes, place);
            self.early += early.len();
        }
        match step {
            Ok(Step::Complete) => {
                self.take_over(limits, out)?;
                Ok(Progress::Established)
            }
            Ok(Step::NeedsMore) if used > 0 => Ok(Progress::Some),
            Ok(Step::NeedsMore) => Ok(Progress::None),
            Err(stop) => {
                self.state = State::Failed;
                Err(stop)
            }
        }
    }

    fn take_over(&mut self, limits: &Limits, out: &mut Queue) -> Result<(), Error> {
        let State::Handshake(handshake) = core::mem::replace(&mut self.state, State::Failed) else {
            return Err(Error::HandshakeNotComplete);
        };
        let max_fragment = self.max_fragment();
        let judged = handshake.judged();
        // What a refused session has negotiated is nobody's.
        let mut info = self.ledger.info.clone();
        let (mut traffic, exporter, taken) =
            handshake.into_traffic(max_fragment, limits.handshake, &mut info)?;
        self.early += taken;
        info.early_data = self.early > 0;
        if info.resumed {
            let judge = || self.role.judge_resumed(info.peer_certificates.as_deref());
            if let Err(error) = judged.unwrap_or_else(judge) {
                traffic.alert_record(resumption::alert(&error), out, &mut self.ledger);
                return Err(error);
            }
        }
        self.ledger.info = info;
        self.exporter = exporter.map(Box::new);
        self.state = State::Traffic(Box::new(traffic));
        self.ledger.established();
        Ok(())
    }

    /// The most that one record may hold. rustls counts the header in, but not what protection adds.
    fn max_fragment(&self) -> usize {
        let size = self.role.max_fragment_size();
        size.map_or(MAX_FRAGMENT, |size| size.saturating_sub(RECORD_HEADER))
    }

    /// The end of this connection by an alert, where the keys for one are at hand and no
    /// close_notify has ended what this side says.
    pub(super) fn fail(&mut self, alert: AlertDescription, out: &mut Queue) {
        if let (State::Traffic(traffic), false) = (&mut self.state, self.closed) {
            traffic.alert_record(alert, out, &mut self.ledger);
        }
        self.state = State::Failed;
    }

    /// Queue our close_notify, once, if the handshake is complete.
    pub(super) fn close(&mut self, out: &mut Queue) {
        if let (State::Traffic(traffic), false) = (&mut self.state, self.closed) {
            self.closed = true;
            traffic.alert_record(AlertDescription::CloseNotify, out, &mut self.ledger);
        }
    }

    /// In a handshake, stop behind this side's first flight, or go on.
    pub(super) fn hold(&mut self, hold: bool) {
        if let State::Handshake(handshake) = &mut self.state {
            handshake.hold(hold);
        }
    }

    /// Send `data` as early data, if it is the time for it.
    pub(super) fn send_early(&mut self, data: &[u8], out: &mut Queue) {
        let max_fragment = self.max_fragment();
        if let State::Handshake(handshake) = &mut self.state {
            handshake.send_early(data, max_fragment, out, &mut self.ledger);
        }
    }

    /// How much early data of a complete handshake the server took.
    pub(super) fn early(&self) -> usize {
        self.early
    }

    /// Whether early data came that may be answered before the handshake is complete.
    pub(super) fn answers_early(&self) -> bool {
        matches!(&self.state, State::Handshake(h) if self.early > 0 && h.is_between_records())
    }

    /// Seal all of `data` as an answer to early data; returns whether it was sealed.
    pub(super) fn answer_early(&mut self, data: &[u8], out: &mut Queue) -> bool {
        match &mut self.state {
            State::Handshake(handshake) => handshake.answer_early(data, out, &mut self.ledger),
            _ => false,
        }
    }

    /// The largest payload of a record, and what sealing adds to it.
    pub(super) fn record_size(&self) -> (usize, usize) {
        match &self.state {
            State::Traffic(traffic) => (traffic.max_fragment(), traffic.overhead()),
            _ => (0, 0),
        }
    }

    /// Seal one record from the front of `chunks`. Returns how many bytes were taken.
    pub(super) fn seal<'a>(
        &mut self,
        chunks: impl Iterator<Item = &'a [u8]>,
        out: &mut Queue,
    ) -> Result<usize, Error> {
        let State::Traffic(traffic) = &mut self.state else {
            return Ok(0);
        };
        let max = traffic.max_fragment();
        let mut chunks = chunks.fuse();
        let (first, second) = (chunks.next().unwrap_or_default(), chunks.next());
        if second.is_none() && first.len() <= record::PIECE.min(max) {
            if !first.is_empty() {
                traffic.seal_data(&[first], out, &mut self.ledger)?;
            }
            return Ok(first.len());
        }
        let mut pieces = [&[][..]; record::MAX_PIECES];
        let chunks = iter::once(first).chain(second).chain(chunks);
        let (count, len) = record::gather(chunks, max, &mut pieces);
        let pieces = pieces.get(..count).unwrap_or_default();
        traffic.seal_data(pieces, out, &mut self.ledger)?;
        Ok(len)
    }

    /// Whether an answer to the peer is due and may still be sent.
    pub(super) fn owes(&self) -> bool {
        matches!(&self.state, State::Traffic(traffic) if traffic.owes() && !self.closed)
    }

    pub(super) fn answer(&mut self, out: &mut Queue) -> Result<(), Error> {
        match &mut self.state {
            State::Traffic(traffic) => traffic.answer(out, &mut self.ledger),
            _ => Ok(()),
        }
    }

    /// Whether [`Connection::update_keys`] can be called; `None` before the handshake is complete.
    pub(super) fn can_update_keys(&self) -> Option<bool> {
        match &self.state {
            State::Traffic(traffic) if !self.closed => Some(traffic.is_tls13()),
            _ => None,
        }
    }

    pub(super) fn update_keys(&mut self, request: bool) {
        if let State::Traffic(traffic) = &mut self.state {
            traffic.update_keys(request);
        }
    }

    /// Bytes held beside the buffers: the beginning of a message.
    pub(super) fn held(&self) -> usize {
        match &self.state {
            State::Traffic(traffic) => traffic.held(),
            _ => 0,
        }
    }
}
