//! Why a certificate was refused, in more words than TLS has for it.

use std::sync::{Mutex, PoisonError};

use nested_tls::identity::{Error, Judgement, Observer};

/// Hears what the rule of one layer of one connection says.
#[derive(Debug, Default)]
pub(crate) struct Witness(Mutex<Option<Error>>);

impl Witness {
    /// The refusal, if there was one.
    pub(crate) fn refusal(&self) -> Option<Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Observer for Witness {
    fn judged(&self, judgement: &Judgement) {
        let refusal = judgement.verdict.as_ref().err().cloned();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = refusal;
    }
}
