//! The CloudHSM profile: a client directory turned into two prepared layers, and the server half for bridges and tests.
//!
//! It only assembles the rules of [`identity`](super). Who sends what, and who checks it against what:
//!
//! | layer | who sends | what | who checks | against | replaceable |
//! |---|---|---|---|---|---|
//! | outer | server (the host) | its self-signed certificate | client | the files of `certs/`, such as `21a10654.0`: [`Pinned`] | no: it can be neither changed nor renewed |
//! | outer | client | `client.crt` with `client.key` | server | the default client certificate, or issued by `customerCA.crt`: [`AnyOf`], [`host_rule`] | yes |
//! | inner | server (the HSM) | the cluster certificate, made when the cluster was initialised | client | issued by `customerCA.crt`: [`IssuedBy`]; the very certificate too, where it is given | no: it can be neither changed nor renewed |
//! | inner | client | nothing, or its own certificate (hsm2m.medium with mutual TLS) | server | the trust anchors registered with the cluster | yes |
//!
//! Both server certificates carry no usable name, and the address of an HSM changes: names are
//! [unchecked](NamePolicy::Unchecked), and pin and authority are the identity. What the two server certificates have in
//! common is that nobody can renew them; [`ClientDirectory::time`] is where their expiry may be accepted, and each
//! acceptance says so.
//!
//! The layers share nothing: each has its own configuration, without session resumption (a resumed session skips the
//! check of certificates), without ALPN and without a server name in the clear.
//!
//! The messages that CloudHSM exchanges between the two layers are proprietary and unpublished; this module is about
//! certificates only.

use std::path::{Path, PathBuf};

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ClientConfig, ServerConfig};

use super::any_of::AnyOf;
use super::authority::Authority;
use super::client_key::ClientKey;
use super::error::{Error, Problem};
use super::files;
use super::hashed_dir::HashedDir;
use super::issued_by::IssuedBy;
use super::pem::certificates_from_pem;
use super::pinned::{Pin, Pinned};
use super::policy::{NamePolicy, TimePolicy};
use super::rule::{Observer, Rule};

/// Where the files of a client are.
///
/// [`ClientPaths::in_directory`] is the layout that the client package of SDK 3 installs; with the feature `cli`,
/// `ClientPaths::from_config` reads the paths out of a configuration of SDK 3 or 5.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientPaths {
    /// The directory of the host's certificates, by hash.
    pub server_certificates: PathBuf,
    /// The certificate presented to the host, with what must follow it.
    pub client_certificate: PathBuf,
    /// The key of the certificate presented to the host.
    pub client_key: PathBuf,
    /// The authority that issued the cluster's certificate.
    pub customer_ca: PathBuf,
    /// The certificate and the key presented to the HSM, where it asks for one.
    pub inner_client: Option<(PathBuf, PathBuf)>,
    /// The hosts of the configuration, with their ports.
    pub servers: Vec<(String, u16)>,
    /// Whether the client's own libraries bring certificates of the host and of a client along, as those of SDK 5 do:
    /// then it works without these files, though nothing else does.
    pub bundled: bool,
}

impl ClientPaths {
    /// `certs/`, `client.crt`, `client.key` and `customerCA.crt` in one directory: `/opt/cloudhsm/etc`.
    #[must_use]
    pub fn in_directory(directory: impl AsRef<Path>) -> Self {
        let directory = directory.as_ref();
        Self {
            server_certificates: directory.join("certs"),
            client_certificate: directory.join("client.crt"),
            client_key: directory.join("client.key"),
            customer_ca: directory.join("customerCA.crt"),
            inner_client: None,
            servers: Vec::new(),
            bundled: false,
        }
    }
}

/// The identities of a CloudHSM client, read and checked: the material of both layers.
///
/// ```no_run
/// use std::sync::Arc;
/// use nested_tls::identity::cloudhsm::{ClientDirectory, ClientPaths};
///
/// # fn main() -> Result<(), nested_tls::identity::Error> {
/// # let provider: Arc<rustls::crypto::CryptoProvider> = unimplemented!();
/// let directory = ClientDirectory::read(ClientPaths::in_directory("/opt/cloudhsm/etc"), provider)?;
/// let layers = directory.layers()?;
/// // layers.outer and layers.inner are the configurations of the two TLS clients.
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ClientDirectory {
    provider: Arc<CryptoProvider>,
    server_certificates: HashedDir,
    client: ClientKey,
    authorities: Vec<Authority>,
    cluster_pins: Vec<Pin>,
    inner_client: Option<ClientKey>,
    time: TimePolicy,
    observers: Observers,
}

#[derive(Clone, Debug, Default)]
struct Observers {
    outer: Option<Arc<dyn Observer>>,
    inner: Option<Arc<dyn Observer>>,
}

/// The two TLS clients of a nested connection to a CloudHSM. They share nothing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Layers {
    /// To the host: pinned to the directory's certificates, presenting the client certificate.
    pub outer: ClientConfig,
    /// To the HSM: issued by customerCA, presenting the inner client certificate where there is one.
    pub inner: ClientConfig,
}

impl ClientDirectory {
    /// Reads the files of a client.
    ///
    /// # Errors
    /// The first file that can't be used, with what was expected of it.
    pub fn read(paths: ClientPaths, provider: Arc<CryptoProvider>) -> Result<Self, Error> {
        let server_certificates = HashedDir::read(&paths.server_certificates)?;
        let client = read_own(&paths.client_certificate, &paths.client_key, &provider)?;
        let authorities = read_authorities(&paths.customer_ca)?;
        let inner_client = match &paths.inner_client {
            Some((certificate, key)) => Some(read_own(certificate, key, &provider)?),
            None => None,
        };
        Ok(Self {
            provider,
            server_certificates,
            client,
            authorities,
            cluster_pins: Vec::new(),
            inner_client,
            time: TimePolicy::Strict,
            observers: Observers::default(),
        })
    }

    /// Asks the HSM for this very cluster certificate besides its issuer: the PEM that
    /// `aws cloudhsmv2 describe-clusters` prints.
    ///
    /// # Errors
    /// As [`certificates_from_pem`].
    pub fn with_cluster_certificate(
        mut self,
        pem: &[u8],
        file: Option<&str>,
    ) -> Result<Self, Error> {
        for certificate in certificates_from_pem(pem)? {
            let pin = Pin::certificate(certificate);
            self.cluster_pins.push(match file {
                Some(file) => pin.from_file(file),
                None => pin,
            });
        }
        Ok(self)
    }

    /// Asks the HSM for this public key besides its issuer: what [`attestation`](super::attestation) yields.
    #[must_use]
    pub fn with_cluster_pin(mut self, pin: Pin) -> Self {
        self.cluster_pins.push(pin);
        self
    }

    /// Presents this to the HSM.
    #[must_use]
    pub fn with_inner_client(mut self, own: ClientKey) -> Self {
        self.inner_client = Some(own);
        self
    }

    /// What to do about expiry of the two server certificates, which can't be renewed.
    #[must_use]
    pub fn time(mut self, time: TimePolicy) -> Self {
        self.time = time;
        self
    }

    /// Who hears of the judgements in each layer.
    #[must_use]
    pub fn observed_by(mut self, outer: Arc<dyn Observer>, inner: Arc<dyn Observer>) -> Self {
        self.observers = Observers { outer: Some(outer), inner: Some(inner) };
        self
    }

    /// The host's certificates.
    #[must_use]
    pub fn server_certificates(&self) -> &HashedDir {
        &self.server_certificates
    }

    /// What is presented to the host.
    #[must_use]
    pub fn client(&self) -> &ClientKey {
        &self.client
    }

    /// The authorities of `customerCA.crt`.
    #[must_use]
    pub fn authorities(&self) -> &[Authority] {
        &self.authorities
    }

    /// The rule about the host's certificate: one of the directory's.
    ///
    /// # Errors
    /// None for a directory that was read.
    pub fn outer_rule(&self) -> Result<Pinned, Error> {
        Ok(Pinned::new(self.server_certificates.pins(), self.provider.clone())?.time(self.time))
    }

    /// The rule about the HSM's certificate: issued by customerCA, and pinned where a pin was given.
    ///
    /// # Errors
    /// None for a directory that was read.
    pub fn inner_rule(&self) -> Result<IssuedBy, Error> {
        let rule =
            IssuedBy::new(self.authorities.clone(), NamePolicy::Unchecked, self.provider.clone())?;
        Ok(rule.time(self.time).also_pinned(self.cluster_pins.clone()))
    }

    /// The configurations of both clients.
    ///
    /// # Errors
    /// [`Problem::Configuration`] if the provider has no cipher suite for any version of TLS.
    pub fn layers(&self) -> Result<Layers, Error> {
        let (mut outer, mut inner) = (self.outer_rule()?, self.inner_rule()?);
        if let Some(observer) = &self.observers.outer {
            outer = outer.observed_by(observer.clone());
        }
        if let Some(observer) = &self.observers.inner {
            inner = inner.observed_by(observer.clone());
        }
        let observed = |own: &ClientKey, observer: &Option<Arc<dyn Observer>>| match observer {
            Some(observer) => own.clone().observed_by(observer.clone()),
            None => own.clone(),
        };
        let outer_own = observed(&self.client, &self.observers.outer);
        let inner_own = self.inner_client.as_ref().map(|own| observed(own, &self.observers.inner));
        Ok(Layers {
            outer: client_config(Arc::new(outer), Some(outer_own), &self.provider)?,
            inner: client_config(Arc::new(inner), inner_own, &self.provider)?,
        })
    }
}

/// The host's rule about clients: the default client certificate, **or** one that customerCA issued, itself or through
/// version 3 intermediates that the client sends along.
///
/// # Errors
/// [`Problem::NoCertificate`] if `authorities` is empty.
pub fn host_rule(
    default_client: CertificateDer<'static>,
    authorities: impl IntoIterator<Item = Authority>,
    provider: Arc<CryptoProvider>,
) -> Result<AnyOf, Error> {
    let default = Pinned::new([Pin::certificate(default_client)], provider.clone())?;
    let issued = IssuedBy::new(authorities, NamePolicy::Unchecked, provider.clone())?
        .through_intermediates();
    let rules: [Arc<dyn Rule>; 2] = [Arc::new(default), Arc::new(issued)];
    AnyOf::new(rules, provider)
}

/// A client's configuration as this profile wants it: no resumption, no server name in the clear, no ALPN.
///
/// # Errors
/// [`Problem::Configuration`] if the provider has no cipher suite for any version of TLS.
pub fn client_config(
    rule: Arc<dyn rustls::client::danger::ServerCertVerifier>,
    own: Option<ClientKey>,
    provider: &Arc<CryptoProvider>,
) -> Result<ClientConfig, Error> {
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(unusable_provider)?
        .dangerous()
        .with_custom_certificate_verifier(rule);
    let mut config = match own {
        Some(own) => builder.with_client_cert_resolver(Arc::new(own)),
        None => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    Ok(config)
}

/// A server's configuration as this profile wants it: no resumption. Without a rule, clients stay anonymous.
///
/// # Errors
/// [`Problem::Configuration`] if the provider has no cipher suite for any version of TLS.
pub fn server_config(
    own: ClientKey,
    clients: Option<Arc<dyn ClientCertVerifier>>,
    provider: &Arc<CryptoProvider>,
) -> Result<ServerConfig, Error> {
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(unusable_provider)?;
    let builder = match clients {
        Some(rule) => builder.with_client_cert_verifier(rule),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(own));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn read_own(certificate: &Path, key: &Path, provider: &CryptoProvider) -> Result<ClientKey, Error> {
    let chain = certificates_from_pem(&files::read(certificate)?)
        .map_err(|error| error.in_file(certificate.display().to_string()))?;
    super::pem::private_key_from_pem(&files::read(key)?)
        .and_then(|key| ClientKey::new(chain, key, provider))
        .map_err(|error| error.in_file(key.display().to_string()))
}

fn read_authorities(path: &Path) -> Result<Vec<Authority>, Error> {
    let file = path.display().to_string();
    let authorities =
        Authority::from_pem(&files::read(path)?).map_err(|error| error.in_file(file.as_str()))?;
    Ok(authorities.into_iter().map(|authority| authority.from_file(file.as_str())).collect())
}

fn unusable_provider(error: rustls::Error) -> Error {
    Error::new(
        Problem::Configuration,
        "a provider with cipher suites for TLS 1.2 or 1.3",
        error.to_string(),
    )
}
