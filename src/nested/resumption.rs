//! Sessions that go on in a later connection, and the judgement that each connection gets all the
//! same.
//!
//! A resumed handshake shows no certificate, and rustls asks no verifier about the one of the
//! session that it resumes. So the certificates that the session began with are judged here, as if
//! the peer had sent them now.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls12Resumption,
    Tls13ClientSessionValue,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ProducesTickets, StoresServerSessions};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName,
    Error, NamedGroup, SignatureScheme,
};

use super::layer::Layer;

/// How many sessions with one server are forgotten at once; rustls' own store keeps 8.
const MOST_FORGOTTEN: usize = 64;

/// The sessions that a client may resume, and the rule that their servers' certificates must pass
/// each time.
///
/// Clones share their sessions. What two `ClientSessions` keep in one store is never taken for one
/// another's, and neither are the two layers' sessions: a session goes on only under the rule and on
/// the layer that it began with. A store of their own saves them from displacing each other.
///
/// ```
/// use std::sync::Arc;
/// use nested_tls::{ClientSessions, Prepared, Role};
/// use rustls::client::ClientSessionMemoryCache;
///
/// # fn role(
/// #     config: rustls::ClientConfig,
/// #     rule: Arc<nested_tls::identity::Pinned>,
/// #     name: rustls::pki_types::ServerName<'static>,
/// # ) -> Role {
/// let sessions = ClientSessions::new(rule, Arc::new(ClientSessionMemoryCache::new(64)));
/// Role::client(Prepared::from(config).with_resumption(sessions), name)
/// # }
/// ```
#[derive(Clone)]
pub struct ClientSessions {
    outer: Arc<Judge>,
    inner: Arc<Judge>,
    store: Arc<dyn ClientSessionStore>,
    tls12: Tls12Resumption,
}

impl ClientSessions {
    /// Sessions whose servers pass `verifier`, kept in `store`.
    #[must_use]
    pub fn new(verifier: Arc<dyn ServerCertVerifier>, store: Arc<dyn ClientSessionStore>) -> Self {
        // rustls compares the addresses of the verifiers: one for each layer keeps them apart.
        let judge = || Arc::new(Judge(verifier.clone()));
        Self { outer: judge(), inner: judge(), store, tls12: Tls12Resumption::SessionIdOrTickets }
    }

    /// How sessions of TLS 1.2 are resumed; by session ID or ticket unless said.
    #[must_use]
    pub fn tls12(mut self, how: Tls12Resumption) -> Self {
        self.tls12 = how;
        self
    }

    pub(super) fn configure(&self, layer: Layer, config: &mut ClientConfig) {
        let judge = match layer {
            Layer::Outer => &self.outer,
            Layer::Inner => &self.inner,
        };
        config.dangerous().set_certificate_verifier(judge.clone());
        let store: Arc<dyn ClientSessionStore> = match self.tls12 {
            Tls12Resumption::Disabled => Arc::new(Tls13Alone(self.store.clone())),
            _ => self.store.clone(),
        };
        config.resumption = Resumption::store(store).tls12_resumption(self.tls12);
    }

    /// Judge the certificates of a session that goes on. Where they fail now, so would they in every
    /// connection that resumes: the next one shakes hands in full.
    pub(super) fn judge(
        &self,
        certificates: Option<&[CertificateDer<'_>]>,
        name: &ServerName<'static>,
        now: UnixTime,
    ) -> Result<(), Error> {
        let judged = match certificates {
            Some([leaf, chain @ ..]) => {
                self.outer.0.verify_server_cert(leaf, chain, name, &[], now).map(drop)
            }
            _ => Err(Error::NoCertificatesPresented),
        };
        if judged.is_err() {
            self.store.remove_tls12_session(name);
            for _ in 0..MOST_FORGOTTEN {
                if self.store.take_tls13_ticket(name).is_none() {
                    break;
                }
            }
        }
        judged
    }
}

impl fmt::Debug for ClientSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSessions").field("tls12", &self.tls12).finish_non_exhaustive()
    }
}

/// A store with no sessions of TLS 1.2: where they are disabled, rustls refuses tickets for them, but
/// goes on by session ID with what it finds.
#[derive(Debug)]
struct Tls13Alone(Arc<dyn ClientSessionStore>);

impl ClientSessionStore for Tls13Alone {
    fn set_kx_hint(&self, name: ServerName<'static>, group: NamedGroup) {
        self.0.set_kx_hint(name, group);
    }

    fn kx_hint(&self, name: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.kx_hint(name)
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, name: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(name, ticket);
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(name)
    }
}

/// Judge the certificates of a client's session that goes on.
pub(super) fn judge_client(
    verifier: &dyn ClientCertVerifier,
    certificates: Option<&[CertificateDer<'_>]>,
    now: UnixTime,
) -> Result<(), Error> {
    match certificates {
        None | Some([]) if verifier.client_auth_mandatory() => Err(Error::NoCertificatesPresented),
        None | Some([]) => Ok(()),
        Some([leaf, chain @ ..]) if verifier.offer_client_auth() => {
            verifier.verify_client_cert(leaf, chain, now).map(drop)
        }
        // There was a rule for it when the session began; this one has none.
        Some(_) => Err(CertificateError::ApplicationVerificationFailure.into()),
    }
}

/// The alert for a session whose certificates fail.
pub(super) fn alert(error: &Error) -> AlertDescription {
    match error {
        Error::InvalidCertificate(reason) => reason.clone().into(),
        Error::NoCertificatesPresented => AlertDescription::CertificateRequired,
        _ => AlertDescription::InternalError,
    }
}

/// A verifier with an address of its own.
#[derive(Debug)]
struct Judge(Arc<dyn ServerCertVerifier>);

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.0.requires_raw_public_keys()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        self.0.root_hint_subjects()
    }
}

/// What a server remembers sessions by, for one layer: whatever is marked for the other is unknown
/// here, also where both layers were given one store or one ticketer.
#[derive(Debug)]
pub(super) struct OnLayer<T: ?Sized> {
    layer: Layer,
    of: Arc<T>,
}

impl<T: ?Sized> OnLayer<T> {
    pub(super) fn new(layer: Layer, of: Arc<T>) -> Arc<Self> {
        Arc::new(Self { layer, of })
    }

    fn mark(&self) -> u8 {
        match self.layer {
            Layer::Outer => b'o',
            Layer::Inner => b'i',
        }
    }

    fn marked(&self, bytes: &[u8]) -> Vec<u8> {
        [&[self.mark()], bytes].concat()
    }
}

impl StoresServerSessions for OnLayer<dyn StoresServerSessions> {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.of.put(self.marked(&key), value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.of.get(&self.marked(key))
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.of.take(&self.marked(key))
    }

    fn can_cache(&self) -> bool {
        self.of.can_cache()
    }
}

impl ProducesTickets for OnLayer<dyn ProducesTickets> {
    fn enabled(&self) -> bool {
        self.of.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.of.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.of.encrypt(&self.marked(plain))
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let mut plain = self.of.decrypt(cipher)?;
        (plain.first() == Some(&self.mark())).then(|| plain.split_off(1))
    }
}

/// No tickets that hold their session.
#[derive(Debug)]
pub(super) struct NoTickets;

impl ProducesTickets for NoTickets {
    fn enabled(&self) -> bool {
        false
    }

    fn lifetime(&self) -> u32 {
        0
    }

    fn encrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn decrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}
