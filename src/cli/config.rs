//! From the options of a layer to its role: rustls configurations with a rule, a certificate of ours, and a witness.

use core::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use nested_tls::identity::{
    AnyOf, Authority, Certificate, ClientKey, Error, HashedDir, IssuedBy, NamePolicy, Pin, Pinned,
    Problem, PublicRoots, Rule, TimePolicy, certificates_from_pem,
};
use nested_tls::{Layer, Role};
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ClientConfig, ServerConfig, SupportedProtocolVersion, version};

use super::failure::Failure;
use super::files::Source;
use super::options::{ClientOptions, CommonOptions, ServerOptions, Version, option};
use super::pcap::Peel;
use super::provider;
use super::witness::{NoKey, Witness};

/// One layer of one connection, ready to shake hands.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) layer: Layer,
    pub(crate) role: Role,
    pub(crate) witness: Arc<Witness>,
    pub(crate) own: Option<Own>,
    /// What stands between this layer, if it is the inner one, and the outer.
    pub(crate) peel: Peel,
}

/// What we present.
#[derive(Clone, Debug)]
pub(crate) struct Own {
    pub(crate) key: ClientKey,
    pub(crate) file: String,
}

impl Own {
    /// The subject of our certificate.
    pub(crate) fn subject(&self) -> String {
        let leaf = self.key.chain().first();
        leaf.and_then(|der| Certificate::from_der(der).ok().map(|own| own.subject().compat()))
            .unwrap_or_default()
    }
}

/// A layer in which this side is the client; each connection gets a witness of its own.
#[derive(Debug)]
pub(crate) struct ClientLayer {
    layer: Layer,
    options: ClientOptions,
    rule: ServerRule,
    name: ServerName<'static>,
    own: Option<Own>,
    /// Entries of directories that the rule does without.
    unreadable: Vec<Error>,
    provider: Arc<CryptoProvider>,
}

#[derive(Clone, Debug)]
enum ServerRule {
    Pinned(Pinned),
    IssuedBy(IssuedBy),
    AnyOf(Vec<Arc<dyn Rule>>),
    PublicRoots(PublicRoots),
}

impl ClientLayer {
    /// Reads the files. `host` is the name that the layer falls back to.
    pub(crate) fn load(
        layer: Layer,
        options: ClientOptions,
        host: Option<&str>,
    ) -> Result<Self, Failure> {
        let provider = Arc::new(provider::chosen());
        let own = load_own(layer, &options.common, &provider)?;
        let name = server_name(layer, &options, host)?;
        let mut unreadable = Vec::new();
        let rule = server_rule(layer, &options, &mut unreadable, &provider)?;
        Ok(Self { layer, options, rule, name, own, unreadable, provider })
    }

    /// The layer of one connection.
    pub(crate) fn setup(&self) -> Result<Setup, Failure> {
        let witness = Arc::new(Witness::of(&self.unreadable));
        let observer = witness.clone();
        let verifier: Arc<dyn ServerCertVerifier> = match &self.rule {
            ServerRule::Pinned(rule) => Arc::new(rule.clone().observed_by(observer)),
            ServerRule::IssuedBy(rule) => Arc::new(rule.clone().observed_by(observer)),
            ServerRule::AnyOf(rules) => Arc::new(
                AnyOf::new(rules.clone(), self.provider.clone())
                    .map_err(|error| impossible(self.layer, error))?
                    .observed_by(observer),
            ),
            ServerRule::PublicRoots(rule) => Arc::new(rule.clone().observed_by(observer)),
        };
        let common = &self.options.common;
        let builder = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(versions(common))
            .map_err(|error| impossible(self.layer, error))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &self.own {
            Some(own) => {
                let key = own.key.clone().observed_by(witness.clone());
                builder.with_client_cert_resolver(Arc::new(key))
            }
            None => builder.with_client_cert_resolver(Arc::new(NoKey(witness.clone()))),
        };
        config.alpn_protocols = alpn(common);
        if let Some(keylog) = &common.keylog {
            config.key_log = keylog.clone();
        }
        config.enable_sni = self.options.name.is_some() || !self.options.cloudhsm;
        Ok(Setup {
            layer: self.layer,
            role: Role::client(config, self.name.clone()),
            witness,
            own: self.own.clone(),
            peel: Peel::default(),
        })
    }
}

/// A layer in which this side is the server; each connection gets a witness of its own.
#[derive(Debug)]
pub(crate) struct ServerLayer {
    layer: Layer,
    options: ServerOptions,
    rules: Vec<Arc<dyn Rule>>,
    own: Own,
    /// Entries of directories that the rules do without.
    unreadable: Vec<Error>,
    provider: Arc<CryptoProvider>,
}

impl ServerLayer {
    /// Reads the files.
    pub(crate) fn load(layer: Layer, options: ServerOptions) -> Result<Self, Failure> {
        let provider = Arc::new(provider::chosen());
        let Some(own) = load_own(layer, &options.common, &provider)? else {
            let reason = format!("a server needs {}", option(layer, "cert"));
            return Err(Failure::usage(reason, "name its certificate and its key").on(layer));
        };
        let time = time_policy(&options.common);
        let mut rules: Vec<Arc<dyn Rule>> = Vec::new();
        let mut unreadable = Vec::new();
        if !options.client_pin.is_empty() {
            let pins = load_pins(layer, "client-pin", &options.client_pin, &mut unreadable)?;
            let rule = Pinned::new(pins, provider.clone())
                .map_err(|error| impossible(layer, error))?
                .time(time);
            rules.push(Arc::new(rule));
        }
        if !options.client_ca.is_empty() {
            let trust = load_trust(layer, "client-ca", &options.client_ca, &mut unreadable)?;
            let rule = IssuedBy::new(trust.authorities, NamePolicy::Unchecked, provider.clone())
                .map_err(|error| impossible(layer, error))?
                .time(time)
                .through_intermediates();
            rules.push(Arc::new(rule));
        }
        Ok(Self { layer, options, rules, own, unreadable, provider })
    }

    /// The layer of one connection.
    pub(crate) fn setup(&self) -> Result<Setup, Failure> {
        let witness = Arc::new(Witness::of(&self.unreadable));
        let builder = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(versions(&self.options.common))
            .map_err(|error| impossible(self.layer, error))?;
        let builder = if self.rules.is_empty() {
            builder.with_no_client_auth()
        } else {
            let rule = AnyOf::new(self.rules.clone(), self.provider.clone())
                .map_err(|error| impossible(self.layer, error))?
                .observed_by(witness.clone());
            let verifier: Arc<dyn ClientCertVerifier> = Arc::new(rule);
            builder.with_client_cert_verifier(verifier)
        };
        let mut config = builder.with_cert_resolver(Arc::new(self.own.key.clone()));
        // Nothing is resumed, and each connection has a configuration of its own: the usual cache takes 30 KiB.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.alpn_protocols = alpn(&self.options.common);
        if let Some(keylog) = &self.options.common.keylog {
            config.key_log = keylog.clone();
        }
        Ok(Setup {
            layer: self.layer,
            role: Role::server(config),
            witness,
            own: Some(self.own.clone()),
            peel: Peel::default(),
        })
    }
}

fn server_rule(
    layer: Layer,
    options: &ClientOptions,
    unreadable: &mut Vec<Error>,
    provider: &Arc<CryptoProvider>,
) -> Result<ServerRule, Failure> {
    let time = time_policy(&options.common);
    let mut pins = load_pins(layer, "pin", &options.pin, unreadable)?;
    pins.extend(options.pin_spki.iter().map(|hash| Pin::spki_sha256(hash.0)));
    let has_private = !pins.is_empty() || !options.ca.is_empty();
    if options.webpki_roots {
        if has_private {
            let reason = format!(
                "{} goes with no pin and no authority of your own",
                option(layer, "webpki-roots")
            );
            return Err(Failure::usage(reason, "choose one kind of trust").on(layer));
        }
        if options.no_name_check {
            let reason = "public authorities vouch for nothing but names";
            let remedy = format!("drop {}", option(layer, "no-name-check"));
            return Err(Failure::usage(reason, remedy).on(layer));
        }
        if options.common.ignore_expiry {
            let reason = "certificates of public authorities are renewed";
            let remedy = format!("drop {}", option(layer, "ignore-expiry"));
            return Err(Failure::usage(reason, remedy).on(layer));
        }
        return Ok(ServerRule::PublicRoots(PublicRoots::new(provider.clone())));
    }
    let refuse = |error| impossible(layer, error);
    if options.ca.is_empty() {
        if pins.is_empty() {
            let remedy = format!(
                "give {}, {}, {} or {}",
                option(layer, "ca"),
                option(layer, "pin"),
                option(layer, "pin-spki"),
                option(layer, "webpki-roots")
            );
            let reason = "nothing says which server certificate to accept";
            return Err(Failure::usage(reason, remedy).on(layer));
        }
        let rule = Pinned::new(pins, provider.clone()).map_err(refuse)?.time(time);
        return Ok(ServerRule::Pinned(rule));
    }
    let trust = load_trust(layer, "ca", &options.ca, unreadable)?;
    let names = match options.no_name_check {
        true => NamePolicy::Unchecked,
        false => NamePolicy::ServerName,
    };
    let issued = IssuedBy::new(trust.authorities, names.clone(), provider.clone())
        .map_err(refuse)?
        .time(time)
        .also_pinned(pins.clone());
    let issued = if options.cloudhsm { issued } else { issued.through_intermediates() };
    // As OpenSSL's -CApath: a self-signed certificate in the directory is its own authority. With pins besides, both
    // must hold, and a pinned certificate needs no other word.
    if trust.of_directories.is_empty() || !pins.is_empty() {
        return Ok(ServerRule::IssuedBy(issued));
    }
    let listed = Pinned::new(trust.of_directories, provider.clone())
        .map_err(refuse)?
        .names(names)
        .time(time);
    Ok(ServerRule::AnyOf(vec![Arc::new(listed), Arc::new(issued)]))
}

/// The name that the server must have; of no meaning to a rule that looks at none.
fn server_name(
    layer: Layer,
    options: &ClientOptions,
    host: Option<&str>,
) -> Result<ServerName<'static>, Failure> {
    let unchecked = options.no_name_check || (options.ca.is_empty() && !options.webpki_roots);
    match options.name.as_deref().or(host) {
        Some(name) => ServerName::try_from(name.to_owned()).map_err(|_| {
            let reason = format!("{name} is neither a DNS name nor an address");
            let remedy = format!("correct {}", option(layer, "name"));
            Failure::usage(reason, remedy).on(layer)
        }),
        // An address is never sent as SNI.
        None if unchecked => Ok(ServerName::IpAddress(Ipv4Addr::UNSPECIFIED.into())),
        None => {
            let remedy =
                format!("give {} or {}", option(layer, "name"), option(layer, "no-name-check"));
            Err(Failure::usage("nothing says which name the server must have", remedy).on(layer))
        }
    }
}

/// Authorities; and the certificates of directories, which may be the peer's own.
struct Trust {
    authorities: Vec<Authority>,
    of_directories: Vec<Pin>,
}

fn load_trust(
    layer: Layer,
    option: &'static str,
    paths: &[PathBuf],
    unreadable: &mut Vec<Error>,
) -> Result<Trust, Failure> {
    let mut trust = Trust { authorities: Vec::new(), of_directories: Vec::new() };
    for path in paths {
        let source = Source { layer, option, path };
        if path.is_dir() {
            let directory = HashedDir::read(path).map_err(|error| source.refused(error))?;
            unreadable.extend(directory.unreadable().iter().cloned());
            trust.of_directories.extend(directory.pins());
            trust
                .authorities
                .extend(directory.authorities().map_err(|error| source.refused(error))?);
            continue;
        }
        let authorities =
            Authority::from_pem(&source.read()?).map_err(|error| source.refused(error))?;
        trust.authorities.extend(authorities.into_iter().map(|one| one.from_file(source.name())));
    }
    Ok(trust)
}

fn load_pins(
    layer: Layer,
    option: &'static str,
    paths: &[PathBuf],
    unreadable: &mut Vec<Error>,
) -> Result<Vec<Pin>, Failure> {
    let mut pins = Vec::new();
    for path in paths {
        let source = Source { layer, option, path };
        if path.is_dir() {
            let directory = HashedDir::read(path).map_err(|error| source.refused(error))?;
            unreadable.extend(directory.unreadable().iter().cloned());
            pins.extend(directory.pins());
            continue;
        }
        let certificates =
            certificates_from_pem(&source.read()?).map_err(|error| source.refused(error))?;
        for certificate in certificates {
            Certificate::from_der(&certificate).map_err(|error| source.refused(error))?;
            pins.push(Pin::certificate(certificate).from_file(source.name()));
        }
    }
    Ok(pins)
}

fn load_own(
    layer: Layer,
    options: &CommonOptions,
    provider: &CryptoProvider,
) -> Result<Option<Own>, Failure> {
    let Some(cert) = &options.cert else {
        return match &options.key {
            None => Ok(None),
            Some(_) => {
                let reason = format!("{} alone is of no use", option(layer, "key"));
                let remedy = format!("name the certificate with {}", option(layer, "cert"));
                Err(Failure::usage(reason, remedy).on(layer))
            }
        };
    };
    let source = Source { layer, option: "cert", path: cert };
    let chain = certificates_from_pem(&source.read()?).map_err(|error| source.refused(error))?;
    let key_source = match &options.key {
        Some(path) => Source { layer, option: "key", path },
        None => source,
    };
    let key =
        nested_tls::identity::private_key_from_pem(&key_source.read()?).map_err(
            |error| match error.problem() {
                Problem::NoKey if options.key.is_none() => {
                    let remedy = format!("name it with {}", option(layer, "key"));
                    Failure::usage("no private key beside the certificate", remedy)
                        .on(layer)
                        .at(cert)
                }
                _ => key_source.refused(error),
            },
        )?;
    let key = ClientKey::new(chain, key, provider).map_err(|error| match error.problem() {
        Problem::KeyMismatch | Problem::UnsupportedKey => key_source.refused(error),
        _ => source.refused(error),
    })?;
    Ok(Some(Own { key, file: source.name() }))
}

fn time_policy(options: &CommonOptions) -> TimePolicy {
    if options.ignore_expiry { TimePolicy::IgnoreExpiry } else { TimePolicy::Strict }
}

fn versions(options: &CommonOptions) -> &'static [&'static SupportedProtocolVersion] {
    const TLS12: &[&SupportedProtocolVersion] = &[&version::TLS12];
    const TLS13: &[&SupportedProtocolVersion] = &[&version::TLS13];
    match options.tls {
        None => rustls::ALL_VERSIONS,
        Some(Version::Tls12) => TLS12,
        Some(Version::Tls13) => TLS13,
    }
}

fn alpn(options: &CommonOptions) -> Vec<Vec<u8>> {
    options.alpn.iter().map(|protocol| protocol.0.clone()).collect()
}

/// What can't happen with the options as they were checked.
fn impossible(layer: Layer, error: impl core::fmt::Display) -> Failure {
    Failure::usage(error.to_string(), "report this as an error of nested-tls").on(layer)
}
