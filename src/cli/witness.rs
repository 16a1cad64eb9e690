//! What happened to the certificates of one connection, for its report and for the diagnosis of its failure.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use nested_tls::Layer;
use nested_tls::identity::{Acceptance, Error, Judgement, Observer, OwnCertificate};
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;

use super::trace::ConnectionTrace;

/// Hears what the rule of one layer of one connection says.
#[derive(Debug, Default)]
pub(crate) struct Witness {
    testimony: Mutex<Testimony>,
    /// Who else hears of it.
    traced: OnceLock<(Layer, Arc<ConnectionTrace>)>,
}

/// What a [`Witness`] has heard.
#[derive(Clone, Debug, Default)]
pub(crate) struct Testimony {
    /// The peer's certificates and the verdict on them.
    pub(crate) judgement: Option<Judgement>,
    /// Files of the rule that could not be read: the peer's certificate may be in one of them.
    pub(crate) unreadable: Vec<Error>,
    /// What the peer asked of our own certificate.
    pub(crate) asked: Option<Asked>,
    /// Whether the peer was gone before anything told its verdict on our certificate.
    pub(crate) unjudged: bool,
}

/// A request for our certificate.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// The signature schemes that the peer accepts.
    pub(crate) schemes: Vec<SignatureScheme>,
    /// Whether a certificate of ours goes out.
    pub(crate) answered: bool,
}

impl Witness {
    /// A witness of a rule that some files are missing from.
    pub(crate) fn of(unreadable: &[Error]) -> Self {
        let testimony = Testimony { unreadable: unreadable.to_vec(), ..Testimony::default() };
        Self { testimony: Mutex::new(testimony), traced: OnceLock::new() }
    }

    /// Has it written down, too.
    pub(crate) fn also_tell(&self, layer: Layer, traced: Arc<ConnectionTrace>) {
        let _ = self.traced.set((layer, traced));
    }

    pub(crate) fn testimony(&self) -> Testimony {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Testimony> {
        self.testimony.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The peer is gone, and nothing has told its verdict on our certificate.
    pub(crate) fn stays_unjudged(&self) {
        self.lock().unjudged = true;
    }

    fn hear(&self, asked: Asked) {
        if let Some((layer, traced)) = self.traced.get() {
            traced.asked(*layer, asked.answered);
        }
        self.lock().asked = Some(asked);
    }
}

impl Testimony {
    pub(crate) fn acceptance(&self) -> Option<&Acceptance> {
        self.judgement.as_ref()?.verdict.as_ref().ok()
    }
}

impl Observer for Witness {
    fn judged(&self, judgement: &Judgement) {
        if let Some((layer, traced)) = self.traced.get() {
            traced.judged(*layer, judgement);
        }
        self.lock().judgement = Some(judgement.clone());
    }

    fn asked(&self, own: &OwnCertificate) {
        self.hear(Asked { schemes: own.schemes.clone(), answered: own.usable });
    }
}

/// No certificate of ours, and a witness of the request for one.
#[derive(Debug)]
pub(crate) struct NoKey(pub(crate) Arc<Witness>);

impl ResolvesClientCert for NoKey {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.hear(Asked { schemes: schemes.to_vec(), answered: false });
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}
