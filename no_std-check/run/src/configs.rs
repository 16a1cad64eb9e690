//! The configurations of the four ends.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use nested_tls::Role;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::{Failure, Size};

macro_rules! der {
    ($file:literal) => {
        include_bytes!(concat!("../../certs/", $file, ".der"))
    };
}

/// The client's roles: outer, inner.
pub(crate) fn client(size: &Size) -> Result<(Role, Role), Failure> {
    let provider = Arc::new(provider::provider());
    let outer = client_builder(&provider, der!("outer-ca"))?
        .with_client_auth_cert(chain(der!("client")), key(der!("client.key")))?;
    let inner = client_builder(&provider, der!("inner-ca"))?.with_no_client_auth();
    let role = |mut config: ClientConfig, name| {
        config.max_fragment_size = size.fragment;
        Ok::<_, Failure>(Role::client(config, ServerName::try_from(name)?))
    };
    Ok((role(outer, "host.test")?, role(inner, "hsm.test")?))
}

/// The server's roles: outer, inner.
pub(crate) fn server(size: &Size) -> Result<(Role, Role), Failure> {
    let provider = Arc::new(provider::provider());
    let clients = Arc::new(roots(der!("outer-ca"))?);
    let verifier = WebPkiClientVerifier::builder_with_provider(clients, Arc::clone(&provider))
        .build()
        .map_err(|_| Failure::Verifier)?;
    let outer = server_builder(&provider)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain(der!("host")), key(der!("host.key")))?;
    let inner = server_builder(&provider)?
        .with_no_client_auth()
        .with_single_cert(chain(der!("hsm")), key(der!("hsm.key")))?;
    let role = |mut config: ServerConfig| {
        config.max_fragment_size = size.fragment;
        Role::server(config)
    };
    Ok((role(outer), role(inner)))
}

fn client_builder(
    provider: &Arc<CryptoProvider>,
    root: &'static [u8],
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>, Failure> {
    let builder = ClientConfig::builder_with_details(Arc::clone(provider), Arc::new(FixedTime));
    Ok(builder.with_safe_default_protocol_versions()?.with_root_certificates(roots(root)?))
}

fn server_builder(
    provider: &Arc<CryptoProvider>,
) -> Result<rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier>, Failure> {
    let builder = ServerConfig::builder_with_details(Arc::clone(provider), Arc::new(FixedTime));
    Ok(builder.with_safe_default_protocol_versions()?)
}

fn roots(root: &'static [u8]) -> Result<RootCertStore, Failure> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(root)).map_err(|_| Failure::Verifier)?;
    Ok(roots)
}

fn chain(leaf: &'static [u8]) -> Vec<CertificateDer<'static>> {
    vec![CertificateDer::from(leaf)]
}

fn key(key: &'static [u8]) -> PrivateKeyDer<'static> {
    PrivatePkcs8KeyDer::from(key).into()
}

/// A clock that stands still in 2027, when the certificates are valid.
#[derive(Debug)]
struct FixedTime;

impl TimeProvider for FixedTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000)))
    }
}
