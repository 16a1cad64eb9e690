//! What is known of a handshake's early data.

use alloc::vec::Vec;

use rustls::ContentType;

use super::limits::RECORD_HEADER;

/// The early data of a handshake.
#[derive(Default)]
pub(super) struct Early {
    /// What a server has received of it and not handed on.
    pub(super) received: Vec<u8>,
    /// How many records a client has sent of it, and their bytes behind the headers.
    pub(super) sent: (usize, usize),
    /// The bytes, behind the headers, of the first two protected records that rustls has sent behind
    /// them.
    own: [usize; 2],
}

impl Early {
    /// A record that rustls sends behind a client's early data.
    pub(super) fn behind(&mut self, record: &[u8]) {
        if self.sent.0 > 0 && record.first() == Some(&ContentType::ApplicationData.into()) {
            if let Some(unknown) = self.own.iter_mut().find(|len| **len == 0) {
                *unknown = record.len() - RECORD_HEADER;
            }
        }
    }

    /// How much of a client's early data the server took.
    ///
    /// rustls' unbuffered connections do not say, but EndOfEarlyData does: it is sent if and only if
    /// the server took early data, and a resumed handshake has nothing else to send than Finished.
    /// It is an empty message, shorter than what comes of Finished behind it, while no record of a
    /// Finished in several is longer than the first. It is under the keys of the early data, so it
    /// also says what protection adds to each record.
    /// <https://www.rfc-editor.org/rfc/rfc8446#section-4.5>
    pub(super) fn taken(&self, resumed: bool) -> usize {
        const EMPTY_MESSAGE: usize = 4;
        let ((records, bytes), [end, next]) = (self.sent, self.own);
        match resumed && end < next {
            true => bytes.saturating_sub(records * end.saturating_sub(EMPTY_MESSAGE)),
            false => 0,
        }
    }
}
