//! What one layer trusts, presents and speaks.

use std::ffi::c_char;
use std::net::Ipv4Addr;
use std::sync::Arc;

use nested_tls::identity::cloudhsm::{ClientDirectory, ClientPaths};
use nested_tls::identity::{
    AnyOf, Authority, ClientKey, IssuedBy, NamePolicy, Pin, Pinned, PublicRoots, Rule, TimePolicy,
    certificates_from_pem,
};
use nested_tls::{Layer, Role};
use rustls::client::Resumption;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::ServerName;
use rustls::server::NoServerSessionStorage;
use rustls::{ClientConfig, ServerConfig, SupportedProtocolVersion, version};

use crate::boundary::{Handle, Trouble, exclusive, free, give, slice, string, text, with};
use crate::report::Report;
use crate::status::{Side, Status, Version};
use crate::witness::Witness;

/// The settings of one layer, for any number of connections. A connection copies what it needs: the layer may be changed or
/// freed afterwards.
#[derive(Debug)]
pub struct NestedTlsLayer {
    side: Side,
    provider: Arc<CryptoProvider>,
    own: Option<ClientKey>,
    roots: Vec<Authority>,
    pins: Vec<Pin>,
    public_roots: bool,
    anonymous_clients: bool,
    name: Option<ServerName<'static>>,
    no_name_check: bool,
    time: TimePolicy,
    alpn: Vec<Vec<u8>>,
    versions: Vec<&'static SupportedProtocolVersion>,
    /// The whole layer comes from the files of a CloudHSM client.
    profile: Option<(ClientDirectory, Layer)>,
    /// What tells this layer from others.
    pub(crate) identity: Arc<()>,
    trouble: Trouble,
}

impl Handle for NestedTlsLayer {
    fn trouble(&mut self) -> &mut Trouble {
        &mut self.trouble
    }
}

impl NestedTlsLayer {
    fn new(side: Side) -> Self {
        Self {
            side,
            provider: Arc::new(ring::default_provider()),
            own: None,
            roots: Vec::new(),
            pins: Vec::new(),
            public_roots: false,
            anonymous_clients: false,
            name: None,
            no_name_check: false,
            time: TimePolicy::Strict,
            alpn: Vec::new(),
            versions: vec![&version::TLS13, &version::TLS12],
            profile: None,
            identity: Arc::new(()),
            trouble: Trouble::default(),
        }
    }

    /// The role of one connection, whose refusals `witness` hears.
    pub(crate) fn role(&self, witness: &Arc<Witness>) -> Result<Role, Report> {
        match (&self.profile, self.side) {
            (Some((directory, layer)), _) => profile_role(directory, *layer, witness),
            (None, Side::Client) => self.client(witness),
            (None, Side::Server) => self.server(witness),
        }
    }

    fn client(&self, witness: &Arc<Witness>) -> Result<Role, Report> {
        let builder = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&self.versions)
            .map_err(|error| unusable(&error))?
            .dangerous()
            .with_custom_certificate_verifier(self.server_rule(witness)?);
        let mut config = match &self.own {
            Some(own) => builder.with_client_cert_resolver(Arc::new(own.clone())),
            None => builder.with_no_client_auth(),
        };
        // A resumed handshake would skip the rule.
        config.resumption = Resumption::disabled();
        config.alpn_protocols = self.alpn.clone();
        let unchecked = self.no_name_check || (self.roots.is_empty() && !self.public_roots);
        let name = match &self.name {
            Some(name) => name.clone(),
            // An address is never sent as SNI.
            None if unchecked => ServerName::IpAddress(Ipv4Addr::UNSPECIFIED.into()),
            None => {
                let found = "neither a name nor a word that it is of no interest";
                return Err(Report::configuration("server name", "the server's name", found));
            }
        };
        Ok(Role::client(config, name))
    }

    fn server_rule(&self, witness: &Arc<Witness>) -> Result<Arc<dyn ServerCertVerifier>, Report> {
        let (provider, observer) = (self.provider.clone(), witness.clone());
        if self.public_roots {
            let private = !self.roots.is_empty() || !self.pins.is_empty();
            if private || self.no_name_check || self.time != TimePolicy::Strict {
                let found = "public roots beside roots, pins or exceptions of your own";
                return Err(Report::configuration("trust", "one kind of trust", found));
            }
            return Ok(Arc::new(PublicRoots::new(provider).observed_by(observer)));
        }
        if self.roots.is_empty() {
            let rule = Pinned::new(self.pins.clone(), provider).map_err(|_| no_trust())?;
            return Ok(Arc::new(rule.time(self.time).observed_by(observer)));
        }
        let names = match self.no_name_check {
            true => NamePolicy::Unchecked,
            false => NamePolicy::ServerName,
        };
        let rule = IssuedBy::new(self.roots.clone(), names, provider)
            .map_err(|error| Report::identity(&error))?
            .time(self.time)
            .also_pinned(self.pins.clone())
            .through_intermediates();
        Ok(Arc::new(rule.observed_by(observer)))
    }

    fn server(&self, witness: &Arc<Witness>) -> Result<Role, Report> {
        let Some(own) = &self.own else {
            return Err(Report::configuration("own certificate", "a server's own", "none"));
        };
        let builder = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&self.versions)
            .map_err(|error| unusable(&error))?;
        let rules = self.client_rules()?;
        let builder = match (rules.is_empty(), self.anonymous_clients) {
            (false, false) => {
                let rule = AnyOf::new(rules, self.provider.clone())
                    .map_err(|error| Report::identity(&error))?
                    .observed_by(witness.clone());
                builder.with_client_cert_verifier(Arc::new(rule))
            }
            (true, true) => builder.with_no_client_auth(),
            (true, false) => return Err(no_trust()),
            (false, true) => {
                let found = "roots or pins, and anonymous clients";
                return Err(Report::configuration("trust", "one kind of trust", found));
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(own.clone()));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.alpn_protocols = self.alpn.clone();
        Ok(Role::server(config))
    }

    fn client_rules(&self) -> Result<Vec<Arc<dyn Rule>>, Report> {
        let refuse = |error| Report::identity(&error);
        let mut rules: Vec<Arc<dyn Rule>> = Vec::new();
        if !self.pins.is_empty() {
            let rule = Pinned::new(self.pins.clone(), self.provider.clone()).map_err(refuse)?;
            rules.push(Arc::new(rule.time(self.time)));
        }
        if !self.roots.is_empty() {
            let names = NamePolicy::Unchecked;
            let rule = IssuedBy::new(self.roots.clone(), names, self.provider.clone())
                .map_err(refuse)?
                .time(self.time)
                .through_intermediates();
            rules.push(Arc::new(rule));
        }
        Ok(rules)
    }

    /// For what only a client can be told.
    fn client_only(&self, what: &str) -> Result<(), Report> {
        match self.side {
            Side::Client => Ok(()),
            Side::Server => Err(Report::misuse(what, "a layer of a client", "a server's")),
        }
    }
}

fn profile_role(
    directory: &ClientDirectory,
    layer: Layer,
    witness: &Arc<Witness>,
) -> Result<Role, Report> {
    let observed = directory.clone().observed_by(witness.clone(), witness.clone());
    let layers = observed.layers().map_err(|error| Report::identity(&error))?;
    let config = match layer {
        Layer::Outer => layers.outer,
        Layer::Inner => layers.inner,
    };
    // Names are no part of this profile.
    Ok(Role::client(config, ServerName::IpAddress(Ipv4Addr::UNSPECIFIED.into())))
}

fn no_trust() -> Report {
    Report::configuration("trust", "a word on which peer to accept", "none")
}

fn unusable(error: &rustls::Error) -> Report {
    Report::configuration("versions", "a version of TLS with cipher suites", &error.to_string())
}

/// Changes a setting of a layer that is not a profile's.
///
/// # Safety
/// As [`with`].
unsafe fn change(
    layer: *mut NestedTlsLayer,
    body: impl FnOnce(&mut NestedTlsLayer) -> Result<(), Report>,
) -> Status {
    let body = |layer: &mut NestedTlsLayer| match layer.profile {
        Some(_) => Err(Report::misuse("setting", "a layer of your own", "a profile's")),
        None => body(layer),
    };
    // SAFETY: as the caller says.
    unsafe { with(layer, body) }
}

/// A layer in which this side is `side`, one of `enum nested_tls_side`; NULL for anything else. It trusts nobody yet.
#[unsafe(no_mangle)]
pub extern "C" fn nested_tls_layer_new(side: u32) -> *mut NestedTlsLayer {
    match Side::from_c(side) {
        Some(side) => give(|| NestedTlsLayer::new(side)),
        None => std::ptr::null_mut(),
    }
}

/// Free a layer. NULL is nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nested_tls_layer_free(layer: *mut NestedTlsLayer) {
    // SAFETY: the contract.
    unsafe { free(layer) }
}

/// A part of what the last failing call with this layer had to say, one of `enum nested_tls_field`; "" if there is nothing.
/// Never NULL. Valid until the next failing call with this layer, or its end.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nested_tls_layer_error(
    layer: *mut NestedTlsLayer,
    field: u32,
) -> *const c_char {
    // SAFETY: the contract.
    unsafe { text(layer, field) }
}

/// Accept peers that one of these authorities issued: one or more certificates in PEM. Servers must have the name of
/// `nested_tls_layer_server_name`, unless their names are not checked. Adds to what is there; where a client has pins
/// besides, both must hold; where a server has, either is enough.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nested_tls_layer_trust_roots(
    layer: *mut NestedTlsLayer,
    pem: *const u8,
    pem_len: usize,
) -> Status {
    let body = |layer: &mut NestedTlsLayer| {
        // SAFETY: the contract.
        let pem = unsafe { slice("pem", pem, pem_len) }?;
        layer.roots.extend(Authority::from_pem(pem).map_err(|error| Report::identity(&error))?);
        Ok(())
    };
    // SAFETY: the contract.
    unsafe { change(layer, body) }
}

/// Accept servers that a public authority certified for the name of `nested_tls_layer_server_name`: for a layer that faces a
/// public host. Goes with no other trust.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nested_tls_layer_trust_public_roots(layer: *mut NestedTlsLayer) -> Status {
    let body = |layer: &mut NestedTlsLayer| {
        layer.client_only("public roots")?;
        layer.public_roots = true;
        Ok(())
    };
    // SAFETY: the contract.
    unsafe { change(layer, body) }
}

/// Accept the peer with this very certificate: one or more in PEM. Adds to what is there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nested_tls_layer_pin_certificate(
    layer: *mut NestedTlsLayer,
    pem: *const u8,
    pem_len: usize,
) -> Status {
    let body = |layer: &mut NestedTlsLayer| {
        // SAFETY: the contract.
        let pem = unsafe { slice("pem", pem, pem_len) }?;
        let certificates = certificates_from_pem(pem).map_err(|error| Report::identity(&error))?;
        layer.pins.extend(certificates.into_iter().map(Pin::certificate));
        Ok(())
    };
    // SAFETY: the contract.
    unsafe { change(layer, body) }
}

/// Accept the peer whose public key with its algorithm (SubjectPublicKeyInfo) has this SHA-256, which must have 32 bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nested_tls_layer_pin_spki_sha256(
    layer: *mut NestedTlsLayer,
    hash: *const u8,
    hash_len: usize,
) -> Status {
    let body = |layer: &mut NestedTlsLayer| {
        // SAFETY: the contract.
        let hash = unsafe { slice("hash", hash, hash_len) }?;
        let hash = hash
            .try_into()
            .map_err(|_| Report::argument("hash", "32 bytes", &hash.len().to_string()))?;
        layer.pins.push(Pin::spki_sha256(hash));
        Ok(())
    };
    // SAFETY: the contract.
    unsafe { change(layer, body) }
}

/// Let clients be anonymous: a server then asks for no certificate. Goes with no roots and no pins.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nested_tls_layer_anonymous_clients(layer: *mut NestedTlsLayer) -> Status {
    let body = |layer: &mut NestedTlsLayer| match layer.side {
        Side::Server => {
            layer.anonymous_clients = true;
            Ok(())
        }
        Side::Client => {
            Err(Report::misuse("anonymous clients", "a layer of a server", "a client's"))
        }
    };
    // SAFETY: the contract.
    unsafe { change(layer, body) }
}

/// Present this chain, the own certificate first, with its key, both in PEM. What was there is replaced. The key's bytes are
/// the caller's to wipe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nested_tls_layer_own_certificate(
    layer: *mut NestedTlsLayer,
    chain_pem: *const u8,
    chain_pem_len: usize,
    key_pem: *const u8,
    key_pem_len: usize,
) -> Status {
    let body = |layer: &mut NestedTlsLayer| {
        // SAFETY: the contract.
        let chain = unsafe { slice("chain_pem", chain_pem, chain_pem_len) }?;
        // SAFETY: the contract.
        let key = unsafe { slice("key_pem", key_pem, key_pem_len) }?;
        let own = ClientKey::from_pem(chain, key, &layer.provider);
        layer.own = Some(own.map_err(|error| Report::identity(&error))?);
        Ok(())
    };
    // SAFETY: the contract.
    unsafe { change(layer, body) }
}

/// The name that the server must have, and that it is asked for in the clear of this layer: a DNS name, or an address, which
/// is not sent.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nested_tls_layer_server_name(
    layer: *mut NestedTlsLayer,
    name: *const c_char,
) -> Status {
    let body = |layer: &mut NestedTlsLayer| {
        layer.client_only("server name")?;
        // SAFETY: the contract.
        let name = unsafe { string("name", name) }?;
        let parsed = ServerName::try_from(name.to_owned());
        layer.name =
            Some(parsed.map_err(|_| {
                Report::configuration("server name", "a DNS name or an address", name)
            })?);
        Ok(())
    };
    // SAFETY: the contract.
    unsafe { change(layer, body) }
}

/// Do not look at the server's name: the roots, or the pins, are private and are its whole identity.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nested_tls_layer_no_name_check(layer: *mut NestedTlsLayer) -> Status {
    let body = |layer: &mut NestedTlsLayer| {
        layer.client_only("no name check")?;
        layer.no_name_check = true;
        Ok(())
    };
    // SAFETY: the contract.
    unsafe { change(layer, body) }
}

/// Accept certificates that have expired, for peers that can't renew theirs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nested_tls_layer_ignore_expiry(layer: *mut NestedTlsLayer) -> Status {
    let body = |layer: &mut NestedTlsLayer| {
        layer.time = TimePolicy::IgnoreExpiry;
        Ok(())
    };
    // SAFETY: the contract.
    unsafe { change(layer, body) }
}

/// Offer, or accept, this protocol by ALPN, after those added before: 1 to 255 bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nested_tls_layer_add_alpn(
    layer: *mut NestedTlsLayer,
    protocol: *const u8,
    protocol_len: usize,
) -> Status {
    let body = |layer: &mut NestedTlsLayer| {
        // SAFETY: the contract.
        let protocol = unsafe { slice("protocol", protocol, protocol_len) }?;
        if !(1..=255).contains(&protocol.len()) {
            let found = protocol.len().to_string();
            return Err(Report::argument("protocol", "1 to 255 bytes", &found));
        }
        layer.alpn.push(protocol.to_vec());
        Ok(())
    };
    // SAFETY: the contract.
    unsafe { change(layer, body) }
}

/// Speak no version below `lowest` and none above `highest`, both of `enum nested_tls_version_id`. TLS 1.2 and 1.3 unless said.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nested_tls_layer_versions(
    layer: *mut NestedTlsLayer,
    lowest: u32,
    highest: u32,
) -> Status {
    let body = |layer: &mut NestedTlsLayer| {
        let of = |name, value| {
            let refuse = || Report::argument(name, "a version of TLS", &format!("{value:#x}"));
            Version::from_c(value).ok_or_else(refuse)
        };
        layer.versions = match (of("lowest", lowest)?, of("highest", highest)?) {
            (Version::Tls12, Version::Tls12) => vec![&version::TLS12],
            (Version::Tls12, Version::Tls13) => vec![&version::TLS13, &version::TLS12],
            (Version::Tls13, Version::Tls13) => vec![&version::TLS13],
            (Version::Tls13, Version::Tls12) => {
                return Err(Report::argument("highest", "no less than `lowest`", "TLS 1.2"));
            }
        };
        Ok(())
    };
    // SAFETY: the contract.
    unsafe { change(layer, body) }
}

/// Make `outer` and `inner`, two layers of clients, those of an AWS CloudHSM client from the files of its directory, such as
/// `/opt/cloudhsm/etc`: the host's pinned certificates, the client's own, and the customer's authority. All other settings
/// of them are dropped, and can't be changed any more. What fails is told by `outer`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nested_tls_layers_cloudhsm(
    outer: *mut NestedTlsLayer,
    inner: *mut NestedTlsLayer,
    directory: *const c_char,
) -> Status {
    let body = |outer: &mut NestedTlsLayer| {
        // A layer twice would be two exclusive references to one.
        if std::ptr::eq(outer, inner) {
            return Err(Report::argument("inner", "another layer than `outer`", "the same"));
        }
        // SAFETY: the contract, and it is another than the one in use.
        let inner = unsafe { exclusive(inner) };
        let inner = inner.ok_or_else(|| Report::argument("inner", "a layer", "NULL"))?;
        outer.client_only("CloudHSM")?;
        inner.client_only("CloudHSM")?;
        // SAFETY: the contract.
        let path = unsafe { string("directory", directory) }?;
        let paths = ClientPaths::in_directory(path);
        let files = ClientDirectory::read(paths, outer.provider.clone())
            .map_err(|error| Report::identity(&error))?;
        outer.profile = Some((files.clone(), Layer::Outer));
        inner.profile = Some((files, Layer::Inner));
        Ok(())
    };
    // SAFETY: the contract.
    unsafe { with(outer, body) }
}
