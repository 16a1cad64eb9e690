//! The CloudHSM profile: from a client directory to two layers that connect, and each file broken in turn.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use nested_tls::identity::cloudhsm::{
    ClientDirectory, ClientPaths, Layers, host_rule, server_config,
};
use nested_tls::identity::{Authority, ClientKey, Error, Pin, Problem, TimePolicy};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ServerConfig};

use crate::forge::{
    Draft, Key, Kind, certificate_pem, cn, hsm_name, own, pem, provider, seed_name,
};
use crate::live::{Ear, Failure, Fixed, connect};
use crate::names::Scratch;

/// A cluster as `initialize-cluster` leaves it, with the directory of its client.
pub(crate) struct Cluster {
    pub(crate) directory: Scratch,
    host: ClientKey,
    hsm: ClientKey,
    pub(crate) default_client: CertificateDer<'static>,
    pub(crate) cluster_certificate: CertificateDer<'static>,
    pub(crate) customer: Key,
    customer_ca: CertificateDer<'static>,
}

pub(crate) fn cluster(name: &str) -> Cluster {
    let (host_key, client_key, customer, hsm_key) = (
        Key::new(Kind::Rsa2048),
        Key::new(Kind::P256),
        Key::new(Kind::Rsa4096),
        Key::new(Kind::Rsa2048),
    );
    let host_name = seed_name("AWS Cryptography");
    let host = Draft::authority(&host_name, &host_key).sign(&host_key);
    let other_name = seed_name("Cryptography");
    let rotation = Key::new(Kind::P256);
    let other = Draft::authority(&other_name, &rotation).sign(&rotation);
    let default_client =
        Draft::v1(&cn("client"), &client_key.spki, &cn("client")).sign(&client_key);
    let customer_ca = Draft::authority(&cn("customerCA"), &customer).sign(&customer);
    let cluster_certificate =
        Draft::v1(&hsm_name("5.3G1953-ICM001225"), &hsm_key.spki, &cn("customerCA"))
            .sign(&customer);
    let directory = Scratch::new(name);
    fs::create_dir(directory.0.join("certs")).unwrap();
    let write = |file: &str, text: String| fs::write(directory.0.join(file), text).unwrap();
    write("certs/21a10654.0", certificate_pem(&host));
    write("certs/712ff948.0", certificate_pem(&other));
    write("client.crt", certificate_pem(&default_client));
    write("client.key", pem("PRIVATE KEY", client_key.private().secret_der()));
    write("customerCA.crt", certificate_pem(&customer_ca));
    owner_only(&directory.0.join("client.key"));
    Cluster {
        host: own(&[&host], &host_key),
        hsm: own(&[&cluster_certificate], &hsm_key),
        directory,
        default_client,
        cluster_certificate,
        customer,
        customer_ca,
    }
}

/// The mode in which a key belongs on a disk.
fn owner_only(path: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    #[cfg(not(unix))]
    let _ = path;
}

impl Cluster {
    fn read(&self) -> Result<ClientDirectory, Error> {
        ClientDirectory::read(ClientPaths::in_directory(&self.directory.0), provider())
    }

    fn host(&self) -> ServerConfig {
        let authority = Authority::from_der(self.customer_ca.clone()).unwrap();
        let rule = host_rule(self.default_client.clone(), [authority], provider()).unwrap();
        fixed_server(server_config(self.host.clone(), Some(Arc::new(rule)), &provider()).unwrap())
    }

    fn hsm(&self) -> ServerConfig {
        fixed_server(server_config(self.hsm.clone(), None, &provider()).unwrap())
    }

    pub(crate) fn write(&self, file: &str, text: impl AsRef<[u8]>) {
        fs::write(self.directory.0.join(file), text).unwrap();
    }
}

fn fixed_server(mut config: ServerConfig) -> ServerConfig {
    config.time_provider = Arc::new(Fixed);
    config
}

fn fixed(mut config: ClientConfig) -> ClientConfig {
    config.time_provider = Arc::new(Fixed);
    config
}

#[test]
fn both_layers_connect() {
    let cluster = cluster("both-layers");
    let directory = cluster.read().unwrap();
    assert_eq!(directory.server_certificates().entries().len(), 2);
    assert_eq!(directory.client().chain(), core::slice::from_ref(&cluster.default_client));
    assert_eq!(directory.authorities()[0].certificate(), &cluster.customer_ca);
    let (outer_ear, inner_ear) = (Arc::new(Ear::default()), Arc::new(Ear::default()));
    let directory = directory.observed_by(outer_ear.clone(), inner_ear.clone());
    let Layers { outer, inner, .. } = directory.layers().unwrap();
    for config in [&outer, &inner] {
        assert!(!config.enable_sni);
        assert!(config.alpn_protocols.is_empty());
    }
    assert!(outer.client_auth_cert_resolver.has_certs());
    assert!(!inner.client_auth_cert_resolver.has_certs());
    connect(fixed(outer.clone()), cluster.host()).unwrap();
    connect(fixed(inner.clone()), cluster.hsm()).unwrap();
    let (by_pin, by_issuer) = (outer_ear.verdict().unwrap(), inner_ear.verdict().unwrap());
    assert!(by_pin.file.unwrap().ends_with("21a10654.0"));
    assert!(by_issuer.file.unwrap().ends_with("customerCA.crt"));
    // The host can't pass for the HSM, nor the HSM for the host.
    assert!(connect(fixed(inner), cluster.host()).is_err());
    assert!(connect(fixed(outer), cluster.hsm()).is_err());
}

#[test]
fn the_host_accepts_what_customer_ca_issued() {
    let cluster = cluster("replaced-client");
    let key = Key::new(Kind::P256);
    let issued = Draft::v1(&cn("my client"), &key.spki, &cn("customerCA")).sign(&cluster.customer);
    cluster.write("client.crt", certificate_pem(&issued));
    cluster.write("client.key", pem("PRIVATE KEY", key.private().secret_der()));
    connect(fixed(cluster.read().unwrap().layers().unwrap().outer), cluster.host()).unwrap();
    let foreign = Draft::v1(&cn("my client"), &key.spki, &cn("my client")).sign(&key);
    cluster.write("client.crt", certificate_pem(&foreign));
    let result = connect(fixed(cluster.read().unwrap().layers().unwrap().outer), cluster.host());
    assert!(matches!(result, Err(Failure::Server(_))), "{result:?}");
}

#[test]
fn the_very_cluster_certificate() {
    let cluster = cluster("very-certificate");
    let text = certificate_pem(&cluster.cluster_certificate);
    let pinned = cluster
        .read()
        .unwrap()
        .with_cluster_certificate(text.as_bytes(), Some("cluster.crt"))
        .unwrap();
    connect(fixed(pinned.layers().unwrap().inner), cluster.hsm()).unwrap();
    let unnamed = cluster.read().unwrap().with_cluster_certificate(text.as_bytes(), None).unwrap();
    connect(fixed(unnamed.layers().unwrap().inner), cluster.hsm()).unwrap();
    let wrong = cluster.read().unwrap().with_cluster_pin(Pin::spki_sha256([1; 32]));
    let ear = Arc::new(Ear::default());
    let wrong = wrong.observed_by(ear.clone(), ear.clone());
    assert!(connect(fixed(wrong.layers().unwrap().inner), cluster.hsm()).is_err());
    assert_eq!(ear.verdict().unwrap_err().problem(), Problem::Pin);
}

#[test]
fn mutual_inner_layer() {
    let cluster = cluster("mutual-inner");
    let (anchor, key) = (Key::new(Kind::P384), Key::new(Kind::Rsa4096));
    let root = Draft::authority(&cn("mtls anchor"), &anchor).sign(&anchor);
    let client = Draft::v1(&cn("ssl-client"), &key.spki, &cn("mtls anchor")).sign(&anchor);
    let rule = nested_tls::identity::IssuedBy::new(
        [Authority::from_der(root.clone()).unwrap()],
        nested_tls::identity::NamePolicy::Unchecked,
        provider(),
    );
    let hsm = || {
        let config =
            server_config(cluster.hsm.clone(), Some(Arc::new(rule.clone().unwrap())), &provider());
        fixed_server(config.unwrap())
    };
    // AWS' tutorial sends the root as well.
    cluster.write("inner.crt", certificate_pem(&client) + &certificate_pem(&root));
    cluster.write("inner.key", pem("PRIVATE KEY", key.private().secret_der()));
    let mut paths = ClientPaths::in_directory(&cluster.directory.0);
    let file = |name| cluster.directory.0.join(name);
    paths.inner_client = Some((file("inner.crt"), file("inner.key")));
    let from_files = ClientDirectory::read(paths, provider()).unwrap();
    connect(fixed(from_files.layers().unwrap().inner), hsm()).unwrap();
    let with = cluster.read().unwrap().with_inner_client(own(&[&client, &root], &key));
    connect(fixed(with.layers().unwrap().inner), hsm()).unwrap();
    assert!(connect(fixed(cluster.read().unwrap().layers().unwrap().inner), hsm()).is_err());
}

#[test]
fn one_file_broken() {
    let cluster = cluster("broken-file");
    let key = Key::new(Kind::P256);
    let other_secret = pem("PRIVATE KEY", key.private().secret_der());
    let rows: [(&str, Option<&str>, Problem); 8] = [
        ("client.crt", None, Problem::File),
        ("client.crt", Some("text"), Problem::NoCertificate),
        ("client.key", None, Problem::File),
        ("client.key", Some(&other_secret), Problem::KeyMismatch),
        (
            "client.key",
            Some(
                "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
            ),
            Problem::EncryptedKey,
        ),
        ("customerCA.crt", None, Problem::File),
        ("customerCA.crt", Some(&other_secret), Problem::NoCertificate),
        ("certs/21a10654.0", Some("text"), Problem::EmptyDirectory),
    ];
    fs::remove_file(cluster.directory.0.join("certs/712ff948.0")).unwrap();
    for (file, text, problem) in rows {
        let path = cluster.directory.0.join(file);
        let before = fs::read(&path).unwrap();
        match text {
            Some(text) => fs::write(&path, text).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        let error = cluster.read().unwrap_err();
        assert_eq!(error.problem(), problem, "{file}: {error}");
        let named = error.file().unwrap();
        assert!(
            Path::new(named) == path || Path::new(named) == cluster.directory.0.join("certs"),
            "{error}"
        );
        fs::write(&path, before).unwrap();
    }
}

/// The host's certificate was changed, the cluster's was issued by another customerCA of the same name.
#[test]
fn a_peer_of_another_cluster() {
    let (ours, theirs) = (cluster("ours"), cluster("theirs"));
    let ear = Arc::new(Ear::default());
    let layers = ours.read().unwrap().observed_by(ear.clone(), ear.clone()).layers().unwrap();
    let stranger = Key::new(Kind::P256);
    let name = seed_name("AWS Cryptography");
    let host = own(&[&Draft::authority(&name, &stranger).sign(&stranger)], &stranger);
    let host = fixed_server(server_config(host, None, &provider()).unwrap());
    assert!(connect(fixed(layers.outer), host).is_err());
    assert_eq!(ear.verdict().unwrap_err().problem(), Problem::Pin);
    let customer = Key::new(Kind::P256);
    let hsm_key = Key::new(Kind::P256);
    let leaf = Draft::v1(&hsm_name("5.3G1953-ICM001225"), &hsm_key.spki, &cn("customerCA"))
        .sign(&customer);
    let hsm = fixed_server(server_config(own(&[&leaf], &hsm_key), None, &provider()).unwrap());
    assert!(connect(fixed(layers.inner), hsm).is_err());
    let error = ear.verdict().unwrap_err();
    assert_eq!(error.problem(), Problem::Signature);
    assert!(error.expected().contains("/CN=customerCA"), "{error}");
    assert!(error.file().unwrap().ends_with("customerCA.crt"));
    drop(theirs);
}

#[test]
fn expiry_of_what_cannot_be_renewed() {
    let cluster = cluster("expiry");
    let key = Key::new(Kind::P256);
    let leaf = Draft::v1(&hsm_name("old"), &key.spki, &cn("customerCA"))
        .edit(|draft| draft.not_after = "20260801000000Z")
        .sign(&cluster.customer);
    let hsm = || fixed_server(server_config(own(&[&leaf], &key), None, &provider()).unwrap());
    assert!(connect(fixed(cluster.read().unwrap().layers().unwrap().inner), hsm()).is_err());
    let ear = Arc::new(Ear::default());
    let lenient = cluster
        .read()
        .unwrap()
        .time(TimePolicy::IgnoreExpiry)
        .observed_by(ear.clone(), ear.clone());
    connect(fixed(lenient.layers().unwrap().inner), hsm()).unwrap();
    assert!(ear.verdict().unwrap().notes[0].to_string().starts_with("expired at 2026-08-01"));
}
