//! Certificates for the examples, thrown away at their end.

use std::error::Error;
use std::sync::Arc;

use nested_tls::Role;
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// Both ends of a layer: a server with a certificate for `name`, and a client that trusts it.
#[allow(dead_code, reason = "one example needs the configurations")]
pub(crate) fn layer(name: &'static str) -> Result<(Role, Role), Box<dyn Error>> {
    let (client, server) = configs(name)?;
    Ok((Role::client(client, ServerName::try_from(name)?), Role::server(server)))
}

/// The configurations of both ends.
pub(crate) fn configs(name: &'static str) -> Result<(ClientConfig, ServerConfig), Box<dyn Error>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let made = rcgen::generate_simple_self_signed([name.to_owned()])?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone())?;

    let client = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())?;
    Ok((client, server))
}
