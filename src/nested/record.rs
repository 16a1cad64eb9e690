//! The data path: records after the handshake, sealed and opened in place.
//!
//! rustls shakes hands; from then on its suite's encrypter and decrypter are driven from here. What
//! a record layer owes beyond them is here too: sequence numbers, KeyUpdate, tickets, fragments of
//! post-handshake messages, alerts, limits.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;

use rustls::crypto::cipher::{
    InboundOpaqueMessage, MessageDecrypter, MessageEncrypter, OutboundChunks, OutboundPlainMessage,
};
use rustls::{
    AlertDescription, ConnectionTrafficSecrets, ContentType, Error, HandshakeType, InvalidMessage,
    PeerMisbehaved, ProtocolVersion, SupportedCipherSuite,
};

pub(super) use super::buffer::PIECE;
use super::buffer::Queue;
use super::handshake::Kernel;
use super::limits::{MAX_FRAGMENT, MAX_HANDSHAKE, MAX_RECORD, RECORD_HEADER};
use super::trace::Ledger;

/// Sequence numbers must not wrap; nothing is sealed or opened beyond this one.
/// <https://www.rfc-editor.org/rfc/rfc8446#section-5.3>
const LAST_SEQUENCE: u64 = u64::MAX - 0xffff;

/// Numbers of a TLS 1.2 key kept for its last alerts: it has no successor.
const LAST_WORDS: u64 = 2;

/// How many messages without data a peer may send before one with data. A forged record ends the
/// connection, so limits on how many of them a key may see are never near.
const MAX_EMPTY_RECORDS: u8 = 32;
const MAX_KEY_UPDATES: u8 = 32;
const MAX_WARNINGS: u8 = 4;
const MAX_RENEGOTIATIONS: u8 = 1;

/// The slices of one record's payload: a full record in pieces, and small chunks beside them.
pub(super) const MAX_PIECES: usize = 20;

/// The length of the record at the front of `bytes`, once all of it is there.
///
/// # Errors
/// If no record begins like that, or it is longer than `max`.
pub(super) fn length(bytes: &[u8], max: usize) -> Result<Option<usize>, Error> {
    let &[typ, major, _, high, low, ..] = bytes else {
        return Ok(None);
    };
    if !(20..=24).contains(&typ) {
        return Err(InvalidMessage::InvalidContentType.into());
    }
    if major != 3 {
        return Err(InvalidMessage::UnknownProtocolVersion.into());
    }
    let payload = usize::from(u16::from_be_bytes([high, low]));
    // "Implementations MUST NOT send zero-length fragments of Handshake types [...]"
    // <https://www.rfc-editor.org/rfc/rfc8446#section-5.1>
    if payload == 0 && typ != u8::from(ContentType::ApplicationData) {
        return Err(InvalidMessage::InvalidEmptyPayload.into());
    }
    let len = RECORD_HEADER + payload;
    if len > max.min(MAX_RECORD) {
        return Err(Error::PeerSentOversizedRecord);
    }
    Ok((bytes.len() >= len).then_some(len))
}

/// Why a record was refused, and the alert that says so to the peer.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) error: Error,
    pub(super) alert: Option<AlertDescription>,
}

impl Refusal {
    pub(super) fn new(alert: AlertDescription, error: impl Into<Error>) -> Self {
        Self { error: error.into(), alert: Some(alert) }
    }
}

impl From<Error> for Refusal {
    /// The alert that TLS wants for an error of the record layer.
    /// <https://www.rfc-editor.org/rfc/rfc8446#section-6.2>
    fn from(error: Error) -> Self {
        let alert = match &error {
            Error::AlertReceived(_) => None,
            Error::DecryptError => Some(AlertDescription::BadRecordMac),
            Error::PeerSentOversizedRecord => Some(AlertDescription::RecordOverflow),
            // "If a TLS implementation receives an unexpected record type, it MUST terminate the
            // connection with an 'unexpected_message' alert."
            Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
                Some(AlertDescription::UnexpectedMessage)
            }
            Error::InvalidMessage(invalid) => Some((*invalid).into()),
            Error::PeerMisbehaved(_)
            | Error::InappropriateMessage { .. }
            | Error::InappropriateHandshakeMessage { .. } => {
                Some(AlertDescription::UnexpectedMessage)
            }
            _ => Some(AlertDescription::InternalError),
        };
        Self { error, alert }
    }
}

/// What an opened record held.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// Application data, at this place of the record's bytes.
    Data(Range<usize>),
    /// Something between the two TLS ends.
    Control,
    /// The peer's close_notify.
    CloseNotify,
}

/// One layer's records after its handshake.
pub(super) struct Traffic {
    kernel: Box<Kernel>,
    suite: SupportedCipherSuite,
    decrypter: Box<dyn MessageDecrypter>,
    encrypter: Box<dyn MessageEncrypter>,
    read_sequence: u64,
    write_sequence: u64,
    /// How many records one key may seal.
    write_limit: u64,
    max_fragment: usize,
    /// The bytes that a record adds to its payload.
    overhead: usize,
    max_message: usize,
    /// The beginning of a post-handshake message that goes on in the next record.
    message: Vec<u8>,
    owed: Owed,
    seen: Seen,
}

/// Answers due before the next data.
#[derive(Debug, Default)]
struct Owed {
    /// A KeyUpdate that answers the peer's request, or that this side wants.
    key_update: bool,
    /// A KeyUpdate that asks for one of the peer's.
    key_update_request: bool,
    no_renegotiation: bool,
}

/// What the peer has sent without any use.
#[derive(Debug, Default)]
struct Seen {
    empty_records: u8,
    key_updates: u8,
    warnings: u8,
    renegotiations: u8,
}

impl Traffic {
    pub(super) fn new(
        kernel: Box<Kernel>,
        (write_sequence, tx): (u64, ConnectionTrafficSecrets),
        (read_sequence, rx): (u64, ConnectionTrafficSecrets),
        max_fragment: usize,
        max_message: usize,
    ) -> Result<Self, Error> {
        let suite = kernel.suite();
        let mut encrypter = encrypter(suite, tx)?;
        if write_sequence > 0 {
            // Some encrypters (AWS-LC's) take the first nonce they see for that of sequence number
            // 0 and insist that the next ones follow it. rustls' encrypter has seen number 0; this
            // new one is shown it here. The record is dropped: no two sealed with this number
            // leave.
            let _ = encrypter.encrypt(message(ContentType::Alert, &[]), 0);
        }
        let limit = match suite {
            SupportedCipherSuite::Tls12(suite) => suite.common.confidentiality_limit,
            SupportedCipherSuite::Tls13(suite) => suite.common.confidentiality_limit,
        };
        Ok(Self {
            overhead: RECORD_HEADER + encrypter.encrypted_payload_len(0),
            decrypter: decrypter(suite, rx)?,
            encrypter,
            kernel,
            suite,
            read_sequence,
            write_sequence,
            write_limit: limit.min(LAST_SEQUENCE),
            max_fragment: max_fragment.clamp(1, MAX_FRAGMENT),
            max_message: max_message.min(MAX_HANDSHAKE),
            message: Vec::new(),
            owed: Owed::default(),
            seen: Seen::default(),
        })
    }

    pub(super) fn is_tls13(&self) -> bool {
        matches!(self.suite, SupportedCipherSuite::Tls13(_))
    }

    /// The bytes that a record adds to its payload.
    pub(super) fn overhead(&self) -> usize {
        self.overhead
    }

    /// The largest record that the peer may send: TLS 1.3 lets protection add 256 bytes.
    /// <https://www.rfc-editor.org/rfc/rfc8446#section-5.2>
    pub(super) fn max_record(&self) -> usize {
        if self.is_tls13() { RECORD_HEADER + MAX_FRAGMENT + 256 } else { MAX_RECORD }
    }

    /// Bytes held of a message that goes on in the next record.
    pub(super) fn held(&self) -> usize {
        self.message.len()
    }

    /// The largest payload of a record that this side sends.
    pub(super) fn max_fragment(&self) -> usize {
        self.max_fragment
    }

    /// Open `record`, a whole one with its header, in place.
    pub(super) fn open(
        &mut self,
        record: &mut [u8],
        ledger: &mut Ledger,
    ) -> Result<Opened, Refusal> {
        let (base, len) = (record.as_ptr() as usize, record.len());
        let Some((&mut [typ, major, minor, ..], payload)) =
            record.split_first_chunk_mut::<RECORD_HEADER>()
        else {
            return Err(Error::from(InvalidMessage::MessageTooShort).into());
        };
        let typ = ContentType::from(typ);
        let version = ProtocolVersion::from(u16::from_be_bytes([major, minor]));
        // After the handshake, TLS 1.3 has one outer type, TLS 1.2 no more ChangeCipherSpec.
        // <https://www.rfc-editor.org/rfc/rfc8446#section-5>
        let tls13 = self.is_tls13();
        if typ == ContentType::ChangeCipherSpec || (tls13 && typ != ContentType::ApplicationData) {
            return Err(unexpected(typ).into());
        }
        if self.read_sequence >= LAST_SEQUENCE {
            return Err(Error::DecryptError.into());
        }
        let opaque = InboundOpaqueMessage::new(typ, version, payload);
        let plain = self
            .decrypter
            .decrypt(opaque, self.read_sequence)
            .inspect_err(|_| ledger.unopened(len))?;
        self.read_sequence += 1;
        let (typ, payload) = (plain.typ, plain.payload);
        ledger.opened(typ, payload, len);
        if payload.len() > MAX_FRAGMENT {
            return Err(Error::PeerSentOversizedRecord.into());
        }

        if payload.is_empty() {
            self.seen.empty_records += 1;
            if self.seen.empty_records > MAX_EMPTY_RECORDS {
                return Err(Error::from(PeerMisbehaved::TooManyEmptyFragments).into());
            }
        }
        if !self.message.is_empty() && typ != ContentType::Handshake {
            return Err(Error::from(PeerMisbehaved::MessageInterleavedWithHandshakeMessage).into());
        }
        match typ {
            ContentType::ApplicationData => {
                if !payload.is_empty() {
                    self.seen.key_updates = 0;
                    self.seen.empty_records = 0;
                }
                match (payload.as_ptr() as usize).checked_sub(base) {
                    _ if payload.is_empty() => Ok(Opened::Data(0..0)),
                    Some(start) if start + payload.len() <= len => {
                        Ok(Opened::Data(start..start + payload.len()))
                    }
                    _ => Err(Error::General("the decrypter did not work in place".into()).into()),
                }
            }
            // "Implementations MUST NOT send Handshake and Alert records that have a zero-length
            // TLSInnerPlaintext.content; if such a message is received, the receiving
            // implementation MUST terminate the connection with an 'unexpected_message' alert."
            // <https://www.rfc-editor.org/rfc/rfc8446#section-5.4>
            ContentType::Alert | ContentType::Handshake if payload.is_empty() => {
                let error = InvalidMessage::InvalidEmptyPayload;
                Err(Refusal::new(AlertDescription::UnexpectedMessage, error))
            }
            ContentType::Alert => self.alert(payload),
            ContentType::Handshake => self.handshake(payload),
            typ => Err(unexpected(typ).into()),
        }
    }

    fn alert(&mut self, payload: &[u8]) -> Result<Opened, Refusal> {
        let (level, description) = match payload {
            &[level, description] => (level, description),
            [] | [_] => return Err(Error::from(InvalidMessage::MessageTooShort).into()),
            // "alert messages MUST NOT be fragmented across records, and multiple alert messages
            // MUST NOT be coalesced" <https://www.rfc-editor.org/rfc/rfc8446#section-5.1>
            _ => return Err(Error::from(InvalidMessage::TrailingData("Alert")).into()),
        };
        let description = AlertDescription::from(description);
        let error = Error::AlertReceived(description);
        if !matches!(level, 1 | 2) {
            return Err(Refusal::new(AlertDescription::IllegalParameter, error));
        }
        if description == AlertDescription::CloseNotify {
            return Ok(Opened::CloseNotify);
        }
        if level == 2 {
            return Err(error.into());
        }
        self.seen.warnings += 1;
        if self.seen.warnings > MAX_WARNINGS {
            return Err(Error::from(PeerMisbehaved::TooManyWarningAlertsReceived).into());
        }
        // "All the alerts listed in Section 6.2 MUST be sent with AlertLevel=fatal"
        // <https://www.rfc-editor.org/rfc/rfc8446#section-6>
        if self.is_tls13() && description != AlertDescription::UserCanceled {
            return Err(Refusal::new(AlertDescription::DecodeError, error));
        }
        Ok(Opened::Control)
    }

    /// Handle the post-handshake messages that end in this record; keep what goes on in the next.
    fn handshake(&mut self, payload: &[u8]) -> Result<Opened, Refusal> {
        let mut joined = core::mem::take(&mut self.message);
        let messages: &[u8] = if joined.is_empty() {
            payload
        } else {
            joined.extend_from_slice(payload);
            &joined
        };
        let mut used = 0;
        while let Some((&[typ, a, b, c], behind)) =
            messages.get(used..).and_then(<[u8]>::split_first_chunk::<4>)
        {
            let len = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
            if len > self.max_message {
                let error = Error::from(InvalidMessage::HandshakePayloadTooLarge);
                return Err(Refusal::new(AlertDescription::DecodeError, error));
            }
            let Some((body, behind)) = behind.split_at_checked(len) else {
                break;
            };
            self.post_handshake(HandshakeType::from(typ), body, behind.is_empty())?;
            used += 4 + len;
        }
        self.message = if joined.is_empty() || used == joined.len() {
            messages.get(used..).unwrap_or_default().to_vec()
        } else {
            // A message dribbled in small records is not copied anew for each of them.
            joined.drain(..used);
            joined
        };
        Ok(Opened::Control)
    }

    fn post_handshake(
        &mut self,
        typ: HandshakeType,
        body: &[u8],
        last_in_record: bool,
    ) -> Result<(), Refusal> {
        match (self.is_tls13(), typ) {
            (true, HandshakeType::KeyUpdate) => self.key_update(body, last_in_record),
            (true, HandshakeType::NewSessionTicket) => match self.kernel.ticket(body) {
                Some(stored) => stored.map_err(Refusal::from),
                None => Err(unexpected_handshake(typ).into()),
            },
            // "The client MAY respond with a no_renegotiation alert [or] ignore"; a server is asked
            // with a ClientHello. <https://www.rfc-editor.org/rfc/rfc5246#section-7.4.1.1>
            (false, HandshakeType::HelloRequest) if self.kernel.is_client() => {
                if !body.is_empty() {
                    return Err(Error::from(InvalidMessage::TrailingData("HelloRequest")).into());
                }
                self.renegotiation()
            }
            (false, HandshakeType::ClientHello) if !self.kernel.is_client() => self.renegotiation(),
            _ => Err(unexpected_handshake(typ).into()),
        }
    }

    fn key_update(&mut self, body: &[u8], last_in_record: bool) -> Result<(), Refusal> {
        // The next record is under other keys, so a message that began before can't end in it.
        // <https://www.rfc-editor.org/rfc/rfc8446#section-5.1>
        if !last_in_record {
            return Err(Error::from(PeerMisbehaved::KeyEpochWithPendingFragment).into());
        }
        self.seen.key_updates += 1;
        if self.seen.key_updates > MAX_KEY_UPDATES {
            return Err(Error::from(PeerMisbehaved::TooManyKeyUpdateRequests).into());
        }
        match body {
            [0] => {}
            // One answer serves all requests that come before it leaves.
            [1] => self.owed.key_update = true,
            [_] => {
                let error = InvalidMessage::InvalidKeyUpdate;
                return Err(Refusal::new(AlertDescription::IllegalParameter, error));
            }
            _ => return Err(Error::from(InvalidMessage::InvalidKeyUpdate).into()),
        }
        let (sequence, secrets) = self.kernel.next_rx()?;
        self.decrypter = decrypter(self.suite, secrets)?;
        self.read_sequence = sequence;
        Ok(())
    }

    fn renegotiation(&mut self) -> Result<(), Refusal> {
        self.seen.renegotiations += 1;
        if self.seen.renegotiations > MAX_RENEGOTIATIONS {
            return Err(Error::from(PeerMisbehaved::TooManyRenegotiationRequests).into());
        }
        self.owed.no_renegotiation = true;
        Ok(())
    }

    /// Whether an answer is due.
    pub(super) fn owes(&self) -> bool {
        self.owed.key_update || self.owed.key_update_request || self.owed.no_renegotiation
    }

    /// Send the answers that are due.
    pub(super) fn answer(&mut self, out: &mut Queue, ledger: &mut Ledger) -> Result<(), Error> {
        if core::mem::take(&mut self.owed.no_renegotiation) {
            const WARNING: u8 = 1;
            let alert = [WARNING, AlertDescription::NoRenegotiation.into()];
            self.seal_control(ContentType::Alert, &alert, out, ledger)?;
        }
        // A request must be answered by a KeyUpdate that is none.
        // <https://www.rfc-editor.org/rfc/rfc8446#section-4.6.3>
        if core::mem::take(&mut self.owed.key_update) {
            self.key_update_record(false, out, ledger)?;
        }
        if core::mem::take(&mut self.owed.key_update_request) {
            self.key_update_record(true, out, ledger)?;
        }
        Ok(())
    }

    /// Seal what follows under new keys, and ask the peer to do the same if `request`. The
    /// KeyUpdate is sealed with the next thing that leaves, so that asking often queues one.
    pub(super) fn update_keys(&mut self, request: bool) {
        if request {
            self.owed.key_update_request = true;
        } else {
            self.owed.key_update = true;
        }
    }

    fn key_update_record(
        &mut self,
        request: bool,
        out: &mut Queue,
        ledger: &mut Ledger,
    ) -> Result<(), Error> {
        let body = [HandshakeType::KeyUpdate.into(), 0, 0, 1, u8::from(request)];
        // Before the peer is told of new keys, which an alert would need if there were none.
        let (sequence, secrets) = self.kernel.next_tx()?;
        let next = encrypter(self.suite, secrets)?;
        self.seal_control(ContentType::Handshake, &body, out, ledger)?;
        self.encrypter = next;
        self.write_sequence = sequence;
        Ok(())
    }

    /// Seal one record of application data, at most [`Traffic::max_fragment`] bytes, after the
    /// answers that are due.
    ///
    /// # Errors
    /// If no record may be sealed any more: TLS 1.2 has no new keys when these are used up.
    pub(super) fn seal_data(
        &mut self,
        payload: &[&[u8]],
        out: &mut Queue,
        ledger: &mut Ledger,
    ) -> Result<(), Error> {
        if self.owes() {
            self.answer(out, ledger)?;
        }
        if self.is_tls13() {
            if self.write_sequence + 1 >= self.write_limit {
                self.key_update_record(false, out, ledger)?;
            }
        } else if self.write_sequence + LAST_WORDS >= self.write_limit {
            return Err(Error::EncryptError);
        }
        self.seal(ContentType::ApplicationData, payload, out, ledger)
    }

    pub(super) fn alert_record(
        &mut self,
        description: AlertDescription,
        out: &mut Queue,
        ledger: &mut Ledger,
    ) {
        let level = if description == AlertDescription::CloseNotify { 1 } else { 2 };
        let alert = [level, description.into()];
        // An alert that can't be sealed leaves the peer with a cut connection, which it reports.
        let _ = self.seal_control(ContentType::Alert, &alert, out, ledger);
    }

    fn seal_control(
        &mut self,
        typ: ContentType,
        payload: &[u8],
        out: &mut Queue,
        ledger: &mut Ledger,
    ) -> Result<(), Error> {
        self.seal(typ, &[payload], out, ledger)?;
        ledger.sealed_control(typ, payload);
        Ok(())
    }

    fn seal(
        &mut self,
        typ: ContentType,
        payload: &[&[u8]],
        out: &mut Queue,
        ledger: &mut Ledger,
    ) -> Result<(), Error> {
        if self.write_sequence >= LAST_SEQUENCE {
            return Err(Error::EncryptError);
        }
        let sealed = self.encrypter.encrypt(message(typ, payload), self.write_sequence)?;
        self.write_sequence += 1;
        let record = sealed.encode();
        ledger.sealed(typ, record.len());
        out.push(record);
        Ok(())
    }
}

/// Fill `places` with the slices that make up one record: as many of `chunks` as fit `max` bytes, in
/// pieces that copy fast. Chunks stay whole unless the first alone is too long. Returns how many
/// pieces there are and how many bytes.
pub(super) fn gather<'a>(
    chunks: impl Iterator<Item = &'a [u8]>,
    max: usize,
    places: &mut [&'a [u8]; MAX_PIECES],
) -> (usize, usize) {
    let (mut count, mut len) = (0, 0);
    for chunk in chunks {
        let room = max - len;
        if len > 0 && (chunk.len() > room || chunk.len().div_ceil(PIECE) > MAX_PIECES - count) {
            break;
        }
        let chunk = chunk.get(..room).unwrap_or(chunk);
        for (place, piece) in places.iter_mut().skip(count).zip(chunk.chunks(PIECE)) {
            *place = piece;
            count += 1;
            len += piece.len();
        }
        if len == max {
            break;
        }
    }
    (count, len)
}

fn message<'a>(typ: ContentType, payload: &'a [&'a [u8]]) -> OutboundPlainMessage<'a> {
    let payload = OutboundChunks::new(payload);
    OutboundPlainMessage { typ, version: ProtocolVersion::TLSv1_2, payload }
}

fn unexpected(got_type: ContentType) -> Error {
    let expect_types = [ContentType::ApplicationData, ContentType::Handshake].to_vec();
    Error::InappropriateMessage { expect_types, got_type }
}

fn unexpected_handshake(got_type: HandshakeType) -> Error {
    let expect_types = [HandshakeType::KeyUpdate, HandshakeType::NewSessionTicket].to_vec();
    Error::InappropriateHandshakeMessage { expect_types, got_type }
}

fn encrypter(
    suite: SupportedCipherSuite,
    secrets: ConnectionTrafficSecrets,
) -> Result<Box<dyn MessageEncrypter>, Error> {
    let (key, iv) = key_and_iv(secrets)?;
    Ok(match suite {
        SupportedCipherSuite::Tls13(suite) => suite.aead_alg.encrypter(key, iv),
        SupportedCipherSuite::Tls12(suite) => {
            let (fixed, explicit) = split_iv(suite, &iv)?;
            suite.aead_alg.encrypter(key, fixed, explicit)
        }
    })
}

fn decrypter(
    suite: SupportedCipherSuite,
    secrets: ConnectionTrafficSecrets,
) -> Result<Box<dyn MessageDecrypter>, Error> {
    let (key, iv) = key_and_iv(secrets)?;
    Ok(match suite {
        SupportedCipherSuite::Tls13(suite) => suite.aead_alg.decrypter(key, iv),
        SupportedCipherSuite::Tls12(suite) => {
            suite.aead_alg.decrypter(key, split_iv(suite, &iv)?.0)
        }
    })
}

fn key_and_iv(
    secrets: ConnectionTrafficSecrets,
) -> Result<(rustls::crypto::cipher::AeadKey, rustls::crypto::cipher::Iv), Error> {
    match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => Ok((key, iv)),
        _ => Err(Error::General("the cipher suite's secrets have an unknown form".into())),
    }
}

/// TLS 1.2 hands the key block's two IV parts out as one; suites want them apart.
fn split_iv<'a>(
    suite: &rustls::Tls12CipherSuite,
    iv: &'a rustls::crypto::cipher::Iv,
) -> Result<(&'a [u8], &'a [u8]), Error> {
    let shape = suite.aead_alg.key_block_shape();
    let (fixed, rest) = iv
        .as_ref()
        .split_at_checked(shape.fixed_iv_len)
        .ok_or_else(|| Error::General("the cipher suite's IV has an unknown form".into()))?;
    Ok((fixed, rest.get(..shape.explicit_nonce_len).unwrap_or_default()))
}
