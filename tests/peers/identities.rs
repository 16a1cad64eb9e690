//! The certificates of both ends, in files for the peers and in configurations for us.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::{env, fs};

use nested_tls::identity::{
    AnyOf, Authority, ClientKey, IssuedBy, NamePolicy, Pin, Pinned, certificates_from_pem,
};
use nested_tls::{Layer, Role};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ServerConfig, SupportedProtocolVersion};

use crate::case::{Case, End, Version};
use crate::certificates::now;
use crate::pki::{self, Options, Period, Pki};

/// Certificates and keys, each as NAME.pem and NAME.key.
pub(crate) struct Identities {
    pub(crate) dir: PathBuf,
}

impl Identities {
    /// A throwaway PKI of the field's shapes, and a second one of strangers with the same names.
    pub(crate) fn throwaway() -> &'static Self {
        static MADE: OnceLock<Identities> = OnceLock::new();
        MADE.get_or_init(|| {
            let identities = Self::empty("throwaway");
            for prefix in ["", "stranger-"] {
                let pki = Pki::new(&Options::new(Period::around(now()))).unwrap();
                for (name, issued) in [
                    ("outer_server", &pki.outer_server),
                    ("customer_ca", &pki.customer_ca),
                    ("cluster", &pki.cluster),
                    ("default_client", &pki.default_client),
                    ("issued_client", &pki.issued_client),
                ] {
                    identities.add(&format!("{prefix}{name}"), &issued.pem, &issued.key_pem);
                }
            }
            identities.trust_clients();
            identities
        })
    }

    pub(crate) fn empty(name: &str) -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("peers").join(name);
        fs::create_dir_all(&dir).unwrap();
        Self { dir }
    }

    pub(crate) fn add(&self, name: &str, certificate: &str, key: &str) {
        pki::write(&self.path(name, "pem"), certificate, 0o644).unwrap();
        pki::write(&self.path(name, "key"), key, 0o600).unwrap();
    }

    /// What the host accepts: the default client certificate, or one that the customer issued.
    pub(crate) fn trust_clients(&self) {
        let trusted = ["default_client", "customer_ca"].map(|name| self.read(name, "pem")).concat();
        fs::write(self.path("outer_clients", "pem"), trusted).unwrap();
    }

    pub(crate) fn path(&self, name: &str, extension: &str) -> PathBuf {
        self.dir.join(name).with_extension(extension)
    }

    fn read(&self, name: &str, extension: &str) -> Vec<u8> {
        fs::read(self.path(name, extension)).unwrap()
    }

    /// Our role on `layer`, and where a server hears the name that it was asked for.
    pub(crate) fn role(&self, case: &Case, layer: Layer) -> (Role, Names) {
        let own_name = own(case, layer, case.end(layer), case.stranger_here == Some(layer));
        let own = ClientKey::from_pem(
            &self.read(&own_name, "pem"),
            &self.read(&own_name, "key"),
            &provider(),
        )
        .unwrap();
        let versions = [rustls_version(case.version(layer))];
        let names = Names::default();
        let alpn = vec![alpn(layer).as_bytes().to_vec()];
        let role = match case.end(layer) {
            End::Client => {
                let builder = ClientConfig::builder_with_provider(provider())
                    .with_protocol_versions(&versions)
                    .unwrap()
                    .dangerous();
                let builder = match layer {
                    Layer::Outer => builder.with_custom_certificate_verifier(self.host()),
                    Layer::Inner => builder.with_custom_certificate_verifier(self.customer()),
                };
                let mut config = builder.with_client_cert_resolver(Arc::new(own));
                config.resumption = Resumption::disabled();
                config.alpn_protocols = alpn;
                Role::client(config, ServerName::try_from(name(layer)).unwrap())
            }
            End::Server => {
                let builder = ServerConfig::builder_with_provider(provider())
                    .with_protocol_versions(&versions)
                    .unwrap();
                let builder = match layer {
                    Layer::Outer => builder.with_client_cert_verifier(self.clients()),
                    Layer::Inner => builder.with_client_cert_verifier(self.customer()),
                };
                let hearing = Hearing { key: own, names: names.clone() };
                let mut config = builder.with_cert_resolver(Arc::new(hearing));
                config.alpn_protocols = alpn;
                Role::server(config)
            }
        };
        (role, names)
    }

    fn host(&self) -> Arc<Pinned> {
        Arc::new(Pinned::new(self.pins("outer_server"), provider()).unwrap())
    }

    fn customer(&self) -> Arc<IssuedBy> {
        let authorities = Authority::from_pem(&self.read("customer_ca", "pem")).unwrap();
        Arc::new(IssuedBy::new(authorities, NamePolicy::Unchecked, provider()).unwrap())
    }

    fn clients(&self) -> Arc<AnyOf> {
        let default = Pinned::new(self.pins("default_client"), provider()).unwrap();
        Arc::new(AnyOf::new([Arc::new(default) as _, self.customer() as _], provider()).unwrap())
    }

    fn pins(&self, name: &str) -> impl Iterator<Item = Pin> {
        certificates_from_pem(&self.read(name, "pem")).unwrap().into_iter().map(Pin::certificate)
    }
}

/// The certificate that `end` presents on `layer`.
pub(crate) fn own(case: &Case, layer: Layer, end: End, stranger: bool) -> String {
    let name = match (layer, end) {
        (Layer::Outer, End::Server) => "outer_server",
        // Both that the host accepts get their turn.
        (Layer::Outer, End::Client) if case.outer == Version::Tls13 => "default_client",
        (Layer::Inner, End::Server) => "cluster",
        (_, End::Client) => "issued_client",
    };
    let prefix = if stranger { "stranger-" } else { "" };
    // A stranger's default certificate would be refused for what every default one is.
    if stranger && name == "default_client" {
        return "stranger-issued_client".into();
    }
    format!("{prefix}{name}")
}

/// The certificates that `end` trusts on `layer`.
pub(crate) fn trust(layer: Layer, end: End) -> &'static str {
    match (layer, end) {
        (Layer::Outer, End::Client) => "outer_server",
        (Layer::Outer, End::Server) => "outer_clients",
        (Layer::Inner, _) => "customer_ca",
    }
}

/// The name that clients ask for.
pub(crate) fn name(layer: Layer) -> &'static str {
    match layer {
        Layer::Outer => "host.test",
        Layer::Inner => "hsm.test",
    }
}

/// The only protocol of a layer.
pub(crate) fn alpn(layer: Layer) -> &'static str {
    match layer {
        Layer::Outer => "outer-protocol",
        Layer::Inner => "inner-protocol",
    }
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn rustls_version(version: Version) -> &'static SupportedProtocolVersion {
    match version {
        Version::Tls12 => &rustls::version::TLS12,
        Version::Tls13 => &rustls::version::TLS13,
    }
}

/// The name that the last client asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names(Arc<Mutex<Option<String>>>);

impl Names {
    pub(crate) fn last(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[derive(Debug)]
struct Hearing {
    key: ClientKey,
    names: Names,
}

impl ResolvesServerCert for Hearing {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        *self.names.0.lock().unwrap_or_else(PoisonError::into_inner) =
            hello.server_name().map(Into::into);
        ResolvesServerCert::resolve(&self.key, hello)
    }
}
