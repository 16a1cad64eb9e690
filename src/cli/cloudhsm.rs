//! Where the files of a CloudHSM client are: its directory, or a configuration that names them.

use std::fs;
use std::path::{Path, PathBuf};

use nested_tls::identity;
use nested_tls::identity::cloudhsm::ClientPaths;

use super::failure::{Failure, Status};
use super::files::{read, words};
use super::options::ClientOptions;

/// The files of one cluster's client.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) paths: ClientPaths,
    /// The configuration that names them.
    pub(crate) config: Option<PathBuf>,
}

/// One client, or the reason why the configuration names none.
pub(crate) type Found = Result<Client, identity::Error>;

/// Every client of a directory, of its configurations, or of one configuration.
pub(crate) fn locate(path: &Path) -> Result<Vec<Found>, Failure> {
    if path.is_file() {
        return of_configuration(path);
    }
    let unreadable = |error: &std::io::Error| {
        let reason = format!("the directory can't be read: {}", words(error));
        Failure::usage(reason, "name the directory of a CloudHSM client, or its configuration")
            .at(path)
    };
    let mut configurations = Vec::new();
    for entry in fs::read_dir(path).map_err(|error| unreadable(&error))? {
        let name = entry.map_err(|error| unreadable(&error))?.file_name();
        if name.to_str().is_some_and(is_configuration) {
            configurations.push(path.join(name));
        }
    }
    configurations.sort();
    let mut clients: Vec<Found> = Vec::new();
    for configuration in &configurations {
        for found in of_configuration(configuration)? {
            // The programs of one client have a configuration each, most often with the same files.
            let is_known = |one: &Client| {
                clients.iter().flatten().any(|known| same_files(&known.paths, &one.paths))
            };
            if !found.as_ref().is_ok_and(is_known) {
                clients.push(found);
            }
        }
    }
    if clients.is_empty() {
        let paths = ClientPaths::in_directory(path);
        let ClientPaths {
            server_certificates, client_certificate, client_key, customer_ca, ..
        } = &paths;
        if ![server_certificates, client_certificate, client_key, customer_ca]
            .iter()
            .any(|file| file.exists())
        {
            let remedy = "name the directory of a CloudHSM client, or its configuration";
            return Err(Failure::usage("this is no directory of a CloudHSM client", remedy)
                .compared(
                    "a configuration, or certs, client.crt, client.key and customerCA.crt",
                    "none of them",
                )
                .at(path));
        }
        clients.push(Ok(Client { paths, config: None }));
    }
    Ok(clients)
}

/// The one client there is.
pub(crate) fn only(path: &Path) -> Result<Client, Failure> {
    let mut clients = locate(path)?;
    match (clients.pop(), clients.is_empty()) {
        (Some(Ok(client)), true) => Ok(client),
        (Some(Err(error)), true) => Err(Failure::unlayered(Status::Usage, &error)),
        (last, _) => {
            clients.extend(last);
            let files = clients.iter().map(|found| match found {
                Ok(client) => client.config.as_deref().unwrap_or(path).display().to_string(),
                Err(error) => error.file().unwrap_or_default().into(),
            });
            let files = files.collect::<Vec<_>>().join(", ");
            Err(Failure::usage(
                format!("there are several clients, by {files}"),
                "name the configuration of one cluster",
            )
            .at(path))
        }
    }
}

impl Client {
    /// Fills what the options of both layers leave open.
    ///
    /// An option that says whom to trust takes the place of the directory's word for its layer, but pins of the inner
    /// layer stand beside customerCA: both must hold.
    pub(crate) fn fill(self, outer: &mut ClientOptions, inner: &mut ClientOptions) {
        let ClientPaths { server_certificates, client_certificate, client_key, .. } = self.paths;
        outer.cloudhsm = true;
        inner.cloudhsm = true;
        if outer.ca.is_empty() && outer.pin.is_empty() && outer.pin_spki.is_empty() {
            outer.pin.push(server_certificates);
        }
        if inner.ca.is_empty() {
            inner.ca.push(self.paths.customer_ca);
            // The certificates of clusters carry no name.
            inner.no_name_check |= inner.name.is_none();
        }
        present(outer, Some((client_certificate, client_key)));
        present(inner, self.paths.inner_client);
    }
}

fn present(options: &mut ClientOptions, own: Option<(PathBuf, PathBuf)>) {
    if let (None, None, Some((certificate, key))) = (&options.common.cert, &options.common.key, own)
    {
        options.common.cert = Some(certificate);
        options.common.key = Some(key);
    }
}

fn of_configuration(path: &Path) -> Result<Vec<Found>, Failure> {
    let json = read(path, "the configuration")?;
    let directory = path.parent().unwrap_or_else(|| Path::new(""));
    Ok(match ClientPaths::each_from_config(&json, directory) {
        Ok(clusters) => clusters
            .into_iter()
            .map(|paths| Ok(Client { paths, config: Some(path.into()) }))
            .collect(),
        Err(error) => vec![Err(error.in_file(path.display().to_string()))],
    })
}

/// `cloudhsm-pkcs11.cfg` and its like of SDK 5, `cloudhsm_client.cfg` of SDK 3.
fn is_configuration(name: &str) -> bool {
    let of_sdk_5 = name.starts_with("cloudhsm-") && name.ends_with(".cfg");
    of_sdk_5 || name == "cloudhsm_client.cfg"
}

fn same_files(one: &ClientPaths, other: &ClientPaths) -> bool {
    let without_servers = |paths: &ClientPaths| {
        let mut paths = paths.clone();
        paths.servers.clear();
        paths
    };
    without_servers(one) == without_servers(other)
}
