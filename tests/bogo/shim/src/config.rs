//! The runner's flags as a layer's role.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nested_tls::{ClientSessions, Prepared, Role};
use rustls::client::Tls12Resumption;
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    NoClientAuth, ProducesTickets, ServerSessionMemoryCache, StoresServerSessions,
};
use rustls::sign::CertifiedKey;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use rustls::{
    ClientConfig, DistinguishedName, NamedGroup, ServerConfig, SignatureScheme,
    SupportedProtocolVersion, version,
};

use crate::crypto;
use crate::identity::{Particular, Refusal, Resolver, Verifier, Witness};
use crate::options::Options;
use crate::sessions::Sessions;

const TLS12: u16 = 0x0303;
const TLS13: u16 = 0x0304;

/// What the connections of one case have in common.
#[derive(Default)]
pub struct Shared {
    pub witness: Witness,
    client: Option<(ClientSessions, Arc<Verifier>, Arc<Resolver>)>,
    /// What judges the clients whose sessions go on: the rule that they began under.
    began_under: Option<Arc<dyn ClientCertVerifier>>,
    sessions: Option<Arc<dyn StoresServerSessions>>,
    ticketer: Option<Arc<dyn ProducesTickets>>,
}

/// The role that `options` ask for.
///
/// # Errors
/// What of it can't be had.
pub fn role(options: &Options, shared: &mut Shared) -> Result<Role, String> {
    let provider = Arc::new(provider(options)?);
    let versions = versions(options)?;
    let own = own_key(options, &provider)?;
    let algorithms = provider.signature_verification_algorithms;
    let mut schemes = algorithms.supported_schemes();
    if !options.verify_prefs.is_empty() {
        let wanted: Vec<_> =
            options.verify_prefs.iter().map(|&s| SignatureScheme::from(s)).collect();
        if let Some(unknown) = wanted.iter().find(|scheme| !schemes.contains(scheme)) {
            return Err(format!("signature scheme {unknown:?}"));
        }
        schemes = wanted;
    }
    let verifier = Arc::new(Verifier {
        algorithms,
        schemes,
        refusal: refusal(options),
        mandatory: options.require_client_certificate,
        hints: options.client_ca_list.iter().cloned().map(DistinguishedName::from).collect(),
        witness: shared.witness.clone(),
    });
    let resolver = Arc::new(Resolver { own, witness: shared.witness.clone() });
    match options.server {
        true => server(options, shared, provider, &versions, verifier, resolver),
        false => client(options, shared, provider, &versions, verifier, resolver),
    }
}

fn client(
    options: &Options,
    shared: &mut Shared,
    provider: Arc<CryptoProvider>,
    versions: &[&'static SupportedProtocolVersion],
    verifier: Arc<Verifier>,
    resolver: Arc<Resolver>,
) -> Result<Role, String> {
    // A session is resumed only under the verifier and the key that it was made with.
    let (sessions, verifier, resolver) = shared
        .client
        .get_or_insert_with(|| {
            let sessions = ClientSessions::new(verifier.clone(), Arc::new(Sessions::new()));
            (sessions, verifier, resolver)
        })
        .clone();
    let mut config = ClientConfig::builder_with_details(provider, Arc::new(Clock))
        .with_protocol_versions(versions)
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(resolver);
    config.alpn_protocols = options.advertise_alpn.clone();
    config.max_fragment_size = fragment(options);
    let tls12 = match options.no_ticket {
        true => Tls12Resumption::SessionIdOnly,
        false => Tls12Resumption::SessionIdOrTickets,
    };
    config.require_ems = options.expect.extended_master_secret;
    config.enable_sni = options.host_name.is_some();
    let name = options.host_name.clone().unwrap_or_else(|| "unnamed".into());
    let name = ServerName::try_from(name).map_err(|_| "a host name that is none".to_owned())?;
    let config = Prepared::from(config).with_resumption(sessions.tls12(tls12));
    Ok(Role::client(config, name).with_exporter())
}

fn server(
    options: &Options,
    shared: &mut Shared,
    provider: Arc<CryptoProvider>,
    versions: &[&'static SupportedProtocolVersion],
    verifier: Arc<Verifier>,
    resolver: Arc<Resolver>,
) -> Result<Role, String> {
    let builder = ServerConfig::builder_with_details(provider, Arc::new(Clock))
        .with_protocol_versions(versions)
        .map_err(|error| error.to_string())?;
    if options.ocsp_callback_fails {
        return Err("a callback for OCSP responses".into());
    }
    let asks = options.verify_peer || options.require_client_certificate || options.verify_fail;
    let verifier: Arc<dyn ClientCertVerifier> = match asks {
        true => verifier,
        false => Arc::new(NoClientAuth),
    };
    let began_under = shared.began_under.get_or_insert_with(|| verifier.clone()).clone();
    let builder = builder.with_client_cert_verifier(verifier);
    let mut config = builder.with_cert_resolver(resolver);
    config.max_fragment_size = fragment(options);
    config.require_ems = options.expect.extended_master_secret;
    config.alpn_protocols = options.select_alpn.iter().cloned().collect();
    if options.reject_alpn {
        config.alpn_protocols = vec![b"a protocol that no client offers".to_vec()];
    }
    config.session_storage =
        shared.sessions.get_or_insert_with(|| ServerSessionMemoryCache::new(32)).clone();
    if options.no_ticket {
        config.send_tls13_tickets = 0;
    } else {
        config.ticketer = shared
            .ticketer
            .get_or_insert_with(|| crypto::Ticketer::new().expect("randomness"))
            .clone();
    }
    Ok(Role::server(Prepared::from(config).with_resumption(began_under)).with_exporter())
}

/// The alerts that BoringSSL's ways to refuse a certificate send.
fn refusal(options: &Options) -> Option<Refusal> {
    match options {
        Options { verify_fail: true, custom_verifier: true, .. } => Some(Refusal::Certificate),
        Options { verify_fail: true, .. } => Some(Refusal::Handshake),
        Options { ocsp_callback_fails: true, .. } => Some(Refusal::CertificateStatus),
        _ => None,
    }
}

/// rustls counts the header in; the runner means the payload.
fn fragment(options: &Options) -> Option<usize> {
    options.max_send_fragment.map(|size| size + 5)
}

fn provider(options: &Options) -> Result<CryptoProvider, String> {
    let mut provider = crypto::default_provider();
    if !options.curves.is_empty() {
        let known = provider.kx_groups;
        provider.kx_groups = options
            .curves
            .iter()
            .map(|&curve| NamedGroup::from(curve))
            .map(|curve| {
                known
                    .iter()
                    .copied()
                    .find(|group: &&'static dyn SupportedKxGroup| group.name() == curve)
                    .ok_or_else(|| format!("group {curve:?}"))
            })
            .collect::<Result<_, _>>()?;
    }
    Ok(provider)
}

fn versions(options: &Options) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
    let within = |version| {
        options.min_version.is_none_or(|min| version >= min)
            && options.max_version.is_none_or(|max| version <= max)
    };
    let mut versions = Vec::new();
    if within(TLS13) && !options.no_tls13 {
        versions.push(&version::TLS13);
    }
    if within(TLS12) && !options.no_tls12 {
        versions.push(&version::TLS12);
    }
    match versions.is_empty() {
        true => Err("TLS 1.1 and older".into()),
        false => Ok(versions),
    }
}

fn own_key(
    options: &Options,
    provider: &CryptoProvider,
) -> Result<Option<Arc<CertifiedKey>>, String> {
    let (Some(cert), Some(key)) = (&options.cert_file, &options.key_file) else {
        return Ok(None);
    };
    let chain = certificates(cert);
    let key = PrivateKeyDer::from_pem_file(key).expect("a key");
    let mut key = provider
        .key_provider
        .load_private_key(key)
        .map_err(|_| "a kind of private key".to_owned())?;
    if !options.signing_prefs.is_empty() {
        let schemes = options.signing_prefs.iter().map(|&s| SignatureScheme::from(s)).collect();
        key = Arc::new(Particular { key, schemes });
    }
    let mut own = CertifiedKey::new(chain, key);
    own.ocsp = options.ocsp_response.clone().filter(|_| !options.ocsp_declined);
    Ok(Some(Arc::new(own)))
}

/// The certificates of a PEM file.
pub fn certificates(path: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(path)
        .expect("a file of certificates")
        .collect::<Result<_, _>>()
        .expect("certificates")
}

/// A clock that the runner moves forward.
#[derive(Debug)]
struct Clock;

static AHEAD: AtomicU64 = AtomicU64::new(0);

/// Move the clock forward.
pub fn advance_clock(seconds: u64) {
    AHEAD.fetch_add(seconds, Ordering::Relaxed);
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        let now = DefaultTimeProvider.current_time()?.as_secs();
        let ahead = AHEAD.load(Ordering::Relaxed);
        Some(UnixTime::since_unix_epoch(Duration::from_secs(now + ahead)))
    }
}
