//! `--provider`: whose cryptography, among those that this program was built with.

use std::sync::OnceLock;

use clap::ValueEnum;
use rustls::crypto::{self, CryptoProvider};

/// benches/README.md says which is how fast at what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Provider {
    /// The fastest at records
    Ring,
    /// Has P-521, ML-KEM and ML-DSA
    #[cfg(feature = "aws-lc-rs")]
    AwsLcRs,
    /// The fastest at handshakes; only for recent processors
    #[cfg(feature = "graviola")]
    Graviola,
}

/// One choice for all that the program does.
static CHOSEN: OnceLock<Provider> = OnceLock::new();

impl Provider {
    /// What [`chosen`] is from now on; the first choice stands.
    pub(crate) fn choose(self) {
        let _ = CHOSEN.set(self);
    }
}

/// The cryptography that was asked for, or else ring's.
pub(crate) fn chosen() -> CryptoProvider {
    match CHOSEN.get().unwrap_or(&Provider::Ring) {
        Provider::Ring => crypto::ring::default_provider(),
        #[cfg(feature = "aws-lc-rs")]
        Provider::AwsLcRs => crypto::aws_lc_rs::default_provider(),
        #[cfg(feature = "graviola")]
        Provider::Graviola => rustls_graviola::default_provider(),
    }
}
