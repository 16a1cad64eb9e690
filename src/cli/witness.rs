//! What happened to the certificates of one connection, for its report and for the diagnosis of its failure.

use std::sync::{Mutex, MutexGuard, PoisonError};

use nested_tls::identity::{Acceptance, Error, Judgement, Observer, OwnCertificate};

/// Hears what the rule of one layer of one connection says.
#[derive(Debug, Default)]
pub(crate) struct Witness(Mutex<Testimony>);

/// What a [`Witness`] has heard.
#[derive(Clone, Debug, Default)]
pub(crate) struct Testimony {
    /// The peer's certificates and the verdict on them.
    pub(crate) judgement: Option<Judgement>,
    /// Files of the rule that could not be read: the peer's certificate may be in one of them.
    pub(crate) unreadable: Vec<Error>,
    /// What the peer asked of our own certificate.
    pub(crate) asked: Option<OwnCertificate>,
}

impl Witness {
    /// A witness of a rule that some files are missing from.
    pub(crate) fn of(unreadable: &[Error]) -> Self {
        let testimony = Testimony { unreadable: unreadable.to_vec(), ..Testimony::default() };
        Self(Mutex::new(testimony))
    }

    pub(crate) fn testimony(&self) -> Testimony {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Testimony> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Testimony {
    pub(crate) fn acceptance(&self) -> Option<&Acceptance> {
        self.judgement.as_ref()?.verdict.as_ref().ok()
    }
}

impl Observer for Witness {
    fn judged(&self, judgement: &Judgement) {
        self.lock().judgement = Some(judgement.clone());
    }

    fn asked(&self, own: &OwnCertificate) {
        self.lock().asked = Some(own.clone());
    }
}
