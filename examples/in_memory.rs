//! Two nested TLS connections in memory: both handshakes, a message, a clean end.

use std::sync::Arc;

use nested_tls::{Direct, Limits, Plaintext, Ports, Role, Session};
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// A throwaway certificate for `name`, as a client that trusts it and the server that has it.
fn layer(name: &'static str) -> Result<(Role, Role), Box<dyn std::error::Error>> {
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
    Ok((Role::client(client, ServerName::try_from(name)?), Role::server(server)))
}

/// Carry what `from` wants sent to `to`.
fn deliver(from: &mut impl Ports, to: &mut impl Ports) -> Result<(), nested_tls::Error> {
    while let Some(mut bytes) = from.wire_out_bytes() {
        to.wire_in_from(&mut bytes)?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (outer_client, outer_server) = layer("host.example")?;
    let (inner_client, inner_server) = layer("hsm.example")?;
    let limits = Limits::default();
    let mut client = Session::new(outer_client, limits)?.nest(inner_client, Direct)?;
    let mut server = Session::new(outer_server, limits)?.nest(inner_server, Direct)?;

    // Both handshakes: two round trips.
    for _ in 0..2 {
        deliver(&mut client, &mut server)?;
        deliver(&mut server, &mut client)?;
    }
    assert_eq!(client.plain_write(b"sign this")?, 9);
    client.close();
    deliver(&mut client, &mut server)?;

    assert_eq!(server.plain_out(), Plaintext::Bytes(b"sign this"));
    server.plain_consumed(9)?;
    assert_eq!(server.plain_out(), Plaintext::End);
    println!("a message through both layers, and a clean end");
    Ok(())
}
