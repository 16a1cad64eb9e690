//! Keying material that both ends of a layer derive and nobody else can.
//!
//! rustls' unbuffered connections have no exporter, but its key log hook is told the exporter secret.
//! Each connection gets a hook of its own, which keeps that secret and passes the rest on.

use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::{AtomicU8, Ordering};

use rustls::crypto::tls13::OkmBlock;
use rustls::{KeyLog, SupportedCipherSuite, Tls13CipherSuite};
use zeroize::Zeroizing;

use super::error::Misuse;

/// The hook's name for the secret.
const LABEL: &str = "EXPORTER_SECRET";

/// The longest hash of a TLS 1.3 suite, in bytes.
const MAX_HASH: usize = 64;

/// A connection's key log: takes the exporter secret, and leaves the user's own key log what it
/// wants.
pub(super) struct Tap {
    users: Arc<dyn KeyLog>,
    secret: [AtomicU8; MAX_HASH],
    len: AtomicU8,
}

impl Tap {
    pub(super) fn new(users: Arc<dyn KeyLog>) -> Arc<Self> {
        let secret = core::array::from_fn(|_| AtomicU8::new(0));
        Arc::new(Self { users, secret, len: AtomicU8::new(0) })
    }

    /// The exporter of a complete handshake; none for TLS 1.2.
    pub(super) fn take(&self, suite: SupportedCipherSuite) -> Option<Exporter> {
        let SupportedCipherSuite::Tls13(suite) = suite else { return None };
        let len = usize::from(self.len.swap(0, Ordering::Relaxed));
        let mut secret = Zeroizing::new([0; MAX_HASH]);
        for (to, from) in secret.iter_mut().zip(&self.secret) {
            *to = from.swap(0, Ordering::Relaxed);
        }
        (len > 0).then_some(Exporter { suite, secret, len })
    }
}

impl KeyLog for Tap {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        if label == LABEL && secret.len() <= MAX_HASH {
            for (to, from) in self.secret.iter().zip(secret) {
                to.store(*from, Ordering::Relaxed);
            }
            self.len.store(secret.len().try_into().unwrap_or_default(), Ordering::Relaxed);
        }
        if self.users.will_log(label) {
            self.users.log(label, client_random, secret);
        }
    }

    fn will_log(&self, label: &str) -> bool {
        label == LABEL || self.users.will_log(label)
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        for byte in &self.secret {
            byte.store(0, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tap").finish_non_exhaustive()
    }
}

/// A layer's exporter secret.
pub(super) struct Exporter {
    suite: &'static Tls13CipherSuite,
    secret: Zeroizing<[u8; MAX_HASH]>,
    len: usize,
}

impl Exporter {
    /// Fill `out` by <https://www.rfc-editor.org/rfc/rfc8446#section-7.5>.
    pub(super) fn export(
        &self,
        out: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), Misuse> {
        let hash = self.suite.common.hash_provider;
        let secret = self.secret.get(..self.len).unwrap_or_default();
        let mut derived = Zeroizing::new([0; MAX_HASH]);
        let derived = derived.get_mut(..self.len).unwrap_or_default();
        self.expand(secret, label, hash.hash(&[]).as_ref(), derived)?;
        self.expand(derived, b"exporter", hash.hash(context).as_ref(), out)
    }

    /// HKDF-Expand-Label. <https://www.rfc-editor.org/rfc/rfc8446#section-7.1>
    fn expand(
        &self,
        secret: &[u8],
        label: &[u8],
        context: &[u8],
        out: &mut [u8],
    ) -> Result<(), Misuse> {
        const PREFIX: &[u8] = b"tls13 ";
        let out_len = u16::try_from(out.len()).map_err(|_| Misuse::ExporterLength)?.to_be_bytes();
        let label_len =
            u8::try_from(PREFIX.len() + label.len()).map_err(|_| Misuse::ExporterLength)?;
        let context_len = u8::try_from(context.len()).map_err(|_| Misuse::ExporterLength)?;
        let info: [&[u8]; 6] = [&out_len, &[label_len], PREFIX, label, &[context_len], context];
        self.suite
            .hkdf_provider
            .expander_for_okm(&OkmBlock::new(secret))
            .expand_slice(&info, out)
            .map_err(|_| Misuse::ExporterLength)
    }
}
