//! The rustls seam: the only file that names rustls' connection types.
//!
//! A handshake is fed one whole record at a time, so that rustls never sees a byte behind its own
//! last one: those belong to the record path that takes over.

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::iter;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::crypto::SupportedKxGroup;
use rustls::kernel::KernelConnection;
use rustls::pki_types::CertificateDer;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{
    ClientConfig, CommonState, ConnectionTrafficSecrets, ContentType, Error, ExtractedSecrets,
    HandshakeKind, PeerMisbehaved, ServerConfig, SupportedCipherSuite,
};

use super::buffer::Queue;
use super::connection::Stop;
use super::early::Early;
use super::exporter::{Exporter, Tap};
use super::layer::{Layer, LayerInfo};
use super::limits::{Limits, RECORD_HEADER};
use super::record::{self, Traffic};
use super::role::Role;
use super::trace::{Direction, Ledger};

/// A handshake under way.
pub(super) struct Handshake {
    connection: Connection,
    /// Bytes at the front of the input that rustls has seen and not discarded.
    seen: usize,
    /// The length of the last record that it has seen.
    last: usize,
    /// It wants more. Early data that it skips stays in the input and counts each time that it is
    /// called, so it is not called in vain.
    starved: bool,
    /// What comes behind this side's first flight has to wait.
    held: bool,
    /// Where the exporter's secret is kept, if it is.
    tap: Option<Arc<Tap>>,
    early: Early,
    /// What became of the session that goes on, once somebody had to know.
    judged: Option<Result<(), Error>>,
}

enum Connection {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

impl Connection {
    fn common(&self) -> &CommonState {
        match self {
            Self::Client(c) => c,
            Self::Server(c) => c,
        }
    }
}

/// How a step of a handshake left it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    NeedsMore,
    Complete,
}

impl Handshake {
    pub(super) fn new(layer: Layer, role: &Role) -> Result<Self, Error> {
        let mut tap = None;
        let connection = match role {
            Role::Client { config, name } => {
                let config = match config.exports() {
                    false => config.config(layer).clone(),
                    true => {
                        let mut own = ClientConfig::clone(config.config(layer));
                        own.key_log = tap.insert(Tap::new(own.key_log)).clone();
                        Arc::new(own)
                    }
                };
                Connection::Client(UnbufferedClientConnection::new(config, name.clone())?)
            }
            Role::Server { config } => {
                let config = match config.exports() {
                    false => config.config(layer).clone(),
                    true => {
                        let mut own = ServerConfig::clone(config.config(layer));
                        own.key_log = tap.insert(Tap::new(own.key_log)).clone();
                        Arc::new(own)
                    }
                };
                Connection::Server(UnbufferedServerConnection::new(config)?)
            }
        };
        Ok(Self {
            connection,
            seen: 0,
            last: 0,
            starved: false,
            held: false,
            tap,
            early: Early::default(),
            judged: None,
        })
    }

    /// Go on with the whole records at the front of `input`: up to the end of the handshake, or as
    /// far as they reach. Returns how much of `input` is used up; what rustls sends is in `out`,
    /// also after an error.
    pub(super) fn advance(
        &mut self,
        input: &mut [u8],
        limits: &Limits,
        out: &mut Queue,
        ledger: &mut Ledger,
    ) -> (usize, Result<Step, Stop>) {
        let mut used = 0;
        loop {
            let rest = input.get_mut(used..).unwrap_or_default();
            let (discard, done) = match self.starved {
                true => (0, Ok(Some(Step::NeedsMore))),
                false => self.step(rest, out, ledger),
            };
            used += discard;
            self.seen -= discard.min(self.seen);
            match done {
                Ok(Some(Step::Complete)) => return (used, self.check_end().map_err(Stop::Tls)),
                Ok(Some(Step::NeedsMore)) => self.starved = true,
                Ok(None) => continue,
                Err(error) => {
                    let rest = input.get_mut(used..).unwrap_or_default();
                    let before = out.len();
                    self.drain_alert(rest, out, ledger);
                    // rustls has no word for some of what peers do wrong.
                    if out.len() == before && !matches!(error, Error::AlertReceived(_)) {
                        self.refuse(rest, out, ledger);
                    }
                    return (used, Err(error.into()));
                }
            }
            if self.held && ledger.info.records_out > 0 {
                return (used, Ok(Step::NeedsMore));
            }
            // What early data leads to comes before what stands behind it, as if that had not come.
            if !self.early.received.is_empty() {
                return (used, Ok(Step::NeedsMore));
            }
            // rustls wants more: show it the next record, whole.
            let rest = input.get_mut(used..).unwrap_or_default();
            let stop =
                match record::length(rest.get(self.seen..).unwrap_or_default(), limits.record) {
                    Ok(Some(len)) => {
                        let record = rest.get(self.seen..self.seen + len);
                        ledger.handshake(Direction::Received, record.unwrap_or_default());
                        self.seen += len;
                        self.last = len;
                        self.starved = false;
                        continue;
                    }
                    Ok(None) if rest.len() < Self::max_unfinished(limits) => {
                        return (used, Ok(Step::NeedsMore));
                    }
                    Ok(None) => Stop::Handshake,
                    Err(error) => error.into(),
                };
            self.refuse(rest, out, ledger);
            return (used, Err(stop));
        }
    }

    /// Stop behind this side's first flight, or go on.
    pub(super) fn hold(&mut self, hold: bool) {
        self.held = hold;
    }

    /// The most input that can stand unused after all progress is made.
    pub(super) fn max_unfinished(limits: &Limits) -> usize {
        limits.handshake.max(limits.record)
    }

    /// Have rustls send an alert for something that it shall not see, or that it has none for. The
    /// keys for one are its own, so it is shown a header that makes no sense: decode_error. That
    /// stands in the place of the last record, which may be the one without an alert, and behind it.
    pub(super) fn refuse(&mut self, input: &mut [u8], out: &mut Queue, ledger: &mut Ledger) {
        const NONSENSE: [u8; RECORD_HEADER] = [0xff; RECORD_HEADER];
        let mut seen = input.get(..self.seen).unwrap_or_default().to_vec();
        let last = seen.len().saturating_sub(self.last);
        if let Some(header) = seen.get_mut(last..last + RECORD_HEADER) {
            header.copy_from_slice(&NONSENSE);
        }
        seen.extend_from_slice(&NONSENSE);
        self.seen = seen.len();
        let before = out.len();
        // Whole messages in front come first. There are few, or they go without an alert.
        for _ in 0..8 {
            let (discard, _) = self.step(&mut seen, out, ledger);
            seen.drain(..discard.min(seen.len()));
            self.seen = seen.len();
            if out.len() != before {
                return;
            }
        }
    }

    /// One call of rustls; `None` when it has more to do with the same input.
    fn step(
        &mut self,
        input: &mut [u8],
        out: &mut Queue,
        ledger: &mut Ledger,
    ) -> (usize, Result<Option<Step>, Error>) {
        let input = input.get_mut(..self.seen).unwrap_or_default();
        let (discard, done) = match &mut self.connection {
            Connection::Client(c) => {
                let UnbufferedStatus { discard, state } = c.process_tls_records(input);
                match state {
                    Ok(ConnectionState::TransmitTlsData(mut data)) => {
                        // Left open for early data as long as it may be sent.
                        if data.may_encrypt_early_data().is_none() {
                            data.done();
                            (discard, Ok(None))
                        } else {
                            (discard, Ok(Some(Step::NeedsMore)))
                        }
                    }
                    state => (discard, act(state, &mut self.early, out, ledger)),
                }
            }
            Connection::Server(c) => {
                let UnbufferedStatus { discard, state } = c.process_tls_records(input);
                match state {
                    Ok(ConnectionState::ReadEarlyData(mut data)) => {
                        while let Some(record) = data.next_record() {
                            match record {
                                Ok(record) => {
                                    self.early.received.extend_from_slice(record.payload);
                                }
                                Err(error) => return (discard, Err(error)),
                            }
                        }
                        (discard, Ok(None))
                    }
                    state => (discard, act(state, &mut self.early, out, ledger)),
                }
            }
        };
        // A server may write before the client's Finished has come.
        let handshaking = self.connection.common().is_handshaking();
        match done {
            Ok(Some(Step::Complete)) if handshaking => (discard, Ok(Some(Step::NeedsMore))),
            done => (discard, done),
        }
    }

    /// rustls hands out the alert for an error only when it is called once more; never more often
    /// than it has something to send, or it would meet the same error again.
    fn drain_alert(&mut self, mut input: &mut [u8], out: &mut Queue, ledger: &mut Ledger) {
        while self.connection.common().wants_write() {
            let before = out.len();
            let (discard, _) = self.step(input, out, ledger);
            self.seen -= discard.min(self.seen);
            input = input.get_mut(discard..).unwrap_or_default();
            if out.len() == before {
                return;
            }
        }
    }

    /// Keys must not change in the middle of a message.
    /// <https://www.rfc-editor.org/rfc/rfc8446#section-5.1>
    fn check_end(&self) -> Result<Step, Error> {
        match self.seen {
            0 => Ok(Step::Complete),
            _ => Err(PeerMisbehaved::KeyEpochWithPendingFragment.into()),
        }
    }

    /// Send `data` as early data, if it is the time for it; as much of it as the ticket allows.
    pub(super) fn send_early(
        &mut self,
        data: &[u8],
        max_fragment: usize,
        out: &mut Queue,
        ledger: &mut Ledger,
    ) {
        /// The most that protection adds. <https://www.rfc-editor.org/rfc/rfc8446#section-5.2>
        const MAX_OVERHEAD: usize = RECORD_HEADER + 256;
        let Connection::Client(c) = &mut self.connection else { return };
        if self.seen > 0 || self.early.sent.0 > 0 {
            return;
        }
        let Ok(ConnectionState::TransmitTlsData(mut transmit)) =
            c.process_tls_records(&mut []).state
        else {
            return;
        };
        let Some(mut early) = transmit.may_encrypt_early_data() else { return };
        // rustls must have room the first time: what it may send is counted before it looks.
        let most = data.len() + data.len().div_ceil(max_fragment.max(1)) * MAX_OVERHEAD;
        let mut sealed = vec![0; most];
        let len = early.encrypt(data, &mut sealed).unwrap_or(0);
        sealed.truncate(len);
        for record in records(&sealed) {
            ledger.sealed(ContentType::ApplicationData, record.len());
            self.early.sent.0 += 1;
            self.early.sent.1 += record.len() - RECORD_HEADER;
        }
        out.push(sealed);
    }

    /// Judge the session that goes on, once: what this said of its early data holds for the rest.
    ///
    /// # Errors
    /// What the verifier says.
    pub(super) fn judge_resumed(&mut self, role: &Role) -> Result<(), Error> {
        match &self.judged {
            Some(judged) => judged.clone(),
            None => {
                let judged = role.judge_resumed(self.peer_certificates());
                self.judged.insert(judged).clone()
            }
        }
    }

    /// The judgement, if there was one.
    pub(super) fn judged(&self) -> Option<Result<(), Error>> {
        self.judged.clone()
    }

    /// The early data that has come since this was last asked.
    pub(super) fn take_early(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.early.received)
    }

    /// The peer's certificates as far as the handshake has come.
    pub(super) fn peer_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        self.connection.common().peer_certificates()
    }

    /// Whether [`Handshake::answer_early`] has a record's beginning in its way.
    pub(super) fn is_between_records(&self) -> bool {
        self.seen == 0
    }

    /// Seal `data` for the client before its Finished has come; returns whether it was sealed.
    pub(super) fn answer_early(
        &mut self,
        data: &[u8],
        out: &mut Queue,
        ledger: &mut Ledger,
    ) -> bool {
        let Connection::Server(c) = &mut self.connection else { return false };
        let Ok(ConnectionState::WriteTraffic(mut traffic)) = c.process_tls_records(&mut []).state
        else {
            return false;
        };
        let len = match traffic.encrypt(data, &mut []) {
            Err(EncryptError::InsufficientSize(size)) => size.required_size,
            _ => return false,
        };
        let mut sealed = vec![0; len];
        let Ok(len) = traffic.encrypt(data, &mut sealed) else { return false };
        sealed.truncate(len);
        for record in records(&sealed) {
            ledger.sealed(ContentType::ApplicationData, record.len());
        }
        out.push(sealed);
        true
    }

    /// Take over the records and the exporter of a complete handshake; and how much of the early
    /// data that was sent the server took.
    pub(super) fn into_traffic(
        self,
        max_fragment: usize,
        max_message: usize,
        info: &mut LayerInfo,
    ) -> Result<(Traffic, Option<Exporter>, usize), Error> {
        let (secrets, kernel) = match self.connection {
            Connection::Client(c) => {
                learn(&c, info);
                let (secrets, kernel) = c.dangerous_into_kernel_connection()?;
                (secrets, Kernel::Client(kernel))
            }
            Connection::Server(c) => {
                learn(&c, info);
                let (secrets, kernel) = c.dangerous_into_kernel_connection()?;
                (secrets, Kernel::Server(kernel))
            }
        };
        let ExtractedSecrets { tx, rx } = secrets;
        let exporter = self.tap.and_then(|tap| tap.take(kernel.suite()));
        let traffic = Traffic::new(Box::new(kernel), tx, rx, max_fragment, max_message)?;
        Ok((traffic, exporter, self.early.taken(info.resumed)))
    }
}

fn act<Data>(
    state: Result<ConnectionState<'_, '_, Data>, Error>,
    early: &mut Early,
    out: &mut Queue,
    ledger: &mut Ledger,
) -> Result<Option<Step>, Error> {
    match state {
        Ok(ConnectionState::EncodeTlsData(mut data)) => {
            let len = match data.encode(&mut []) {
                Err(EncodeError::InsufficientSize(size)) => size.required_size,
                _ => 0,
            };
            let mut record = vec![0; len];
            match data.encode(&mut record) {
                Ok(len) => {
                    record.truncate(len);
                    for record in records(&record) {
                        ledger.handshake(Direction::Sent, record);
                        early.behind(record);
                    }
                    out.push(record);
                    Ok(None)
                }
                Err(error) => Err(Error::General(error.to_string())),
            }
        }
        Ok(ConnectionState::TransmitTlsData(data)) => {
            data.done();
            Ok(None)
        }
        Ok(ConnectionState::BlockedHandshake) => Ok(Some(Step::NeedsMore)),
        Ok(ConnectionState::WriteTraffic(_)) => Ok(Some(Step::Complete)),
        Ok(_) => Err(Error::HandshakeNotComplete),
        Err(error) => Err(error),
    }
}

/// The whole records that `bytes` are.
fn records(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    iter::from_fn(move || {
        let len = record::length(bytes, usize::MAX).ok()??;
        let (record, behind) = bytes.split_at(len);
        bytes = behind;
        Some(record)
    })
}

fn learn(connection: &CommonState, info: &mut LayerInfo) {
    info.version = connection.protocol_version();
    info.suite = connection.negotiated_cipher_suite().map(|suite| suite.suite());
    info.group = connection.negotiated_key_exchange_group().map(SupportedKxGroup::name);
    info.alpn = connection.alpn_protocol().map(Into::into);
    info.peer_certificates = connection.peer_certificates().map(Into::into);
    info.resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
}

/// What stays of rustls' connection after the handshake: key schedule and tickets.
pub(super) enum Kernel {
    Client(KernelConnection<ClientConnectionData>),
    Server(KernelConnection<ServerConnectionData>),
}

impl Kernel {
    pub(super) fn suite(&self) -> SupportedCipherSuite {
        match self {
            Self::Client(k) => k.negotiated_cipher_suite(),
            Self::Server(k) => k.negotiated_cipher_suite(),
        }
    }

    pub(super) fn is_client(&self) -> bool {
        matches!(self, Self::Client(_))
    }

    pub(super) fn next_tx(&mut self) -> Result<(u64, ConnectionTrafficSecrets), Error> {
        match self {
            Self::Client(k) => k.update_tx_secret(),
            Self::Server(k) => k.update_tx_secret(),
        }
    }

    pub(super) fn next_rx(&mut self) -> Result<(u64, ConnectionTrafficSecrets), Error> {
        match self {
            Self::Client(k) => k.update_rx_secret(),
            Self::Server(k) => k.update_rx_secret(),
        }
    }

    /// Store a ticket; `None` where this side must not be sent one.
    pub(super) fn ticket(&mut self, payload: &[u8]) -> Option<Result<(), Error>> {
        match self {
            Self::Client(k) => Some(k.handle_new_session_ticket(payload)),
            Self::Server(_) => None,
        }
    }
}
