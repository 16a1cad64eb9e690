//! The JSON configurations of CloudHSM clients: `cloudhsm-pkcs11.cfg` and its like of SDK 5, `cloudhsm_client.cfg` of
//! SDK 3.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::cloudhsm::ClientPaths;
use super::error::{Error, Problem};

impl ClientPaths {
    /// Reads the paths out of the configuration of one cluster; what it does not name is looked for in `directory`.
    ///
    /// SDK 5 keeps the host's certificates inside its libraries and names no directory of them: they are expected in
    /// `certs/` of `directory`, as SDK 3 installs them.
    ///
    /// # Errors
    /// As [`ClientPaths::each_from_config`], and [`Problem::Configuration`] for several clusters.
    pub fn from_config(json: &[u8], directory: impl AsRef<Path>) -> Result<Self, Error> {
        let mut clusters = Self::each_from_config(json, directory)?;
        match (clusters.pop(), clusters.len()) {
            (Some(only), 0) => Ok(only),
            (_, more) => Err(Error::new(
                Problem::Configuration,
                "one cluster",
                format!("{} clusters", more + 1),
            )),
        }
    }

    /// Reads the paths of each cluster of a configuration, at least one.
    ///
    /// # Errors
    /// [`Problem::Configuration`] for what is not JSON, names no cluster, has a value of a wrong kind, or half of a
    /// pair of certificate and key.
    pub fn each_from_config(json: &[u8], directory: impl AsRef<Path>) -> Result<Vec<Self>, Error> {
        let directory = directory.as_ref();
        let config: Value = serde_json::from_slice(json).map_err(|error| {
            let found = format!("none from line {}, column {}", error.line(), error.column());
            Error::new(Problem::Configuration, "JSON", found)
        })?;
        match (config.get("clusters").and_then(Value::as_array), config.get("ssl")) {
            (Some(clusters), _) if !clusters.is_empty() => clusters
                .iter()
                .map(|entry| match entry.get("cluster") {
                    Some(cluster) => read_sdk_5(cluster, directory),
                    None => Err(wrong("clusters", "a cluster in each entry", entry)),
                })
                .collect(),
            (None, Some(_)) => Ok(Vec::from([read_sdk_3(&config, directory)?])),
            _ => Err(Error::new(
                Problem::Configuration,
                "clusters with a cluster (SDK 5), or ssl (SDK 3)",
                "neither",
            )),
        }
    }
}

fn read_sdk_5(cluster: &Value, directory: &Path) -> Result<ClientPaths, Error> {
    let mut paths = ClientPaths::in_directory(directory);
    paths.bundled = true;
    if let Some(path) = path(cluster, "/hsm_ca_file", directory)? {
        paths.customer_ca = path;
    }
    if let Some((certificate, key)) =
        pair(cluster, "/client_cert_path", "/client_key_path", directory)?
    {
        paths.client_certificate = certificate;
        paths.client_key = key;
    }
    paths.inner_client =
        pair(cluster, "/client_cert_hsm_tls_path", "/client_key_hsm_tls_path", directory)?;
    if let Some(servers) = cluster.get("servers") {
        let servers = servers.as_array().ok_or_else(|| wrong("servers", "a list", servers))?;
        for server in servers {
            if server.get("enable").and_then(Value::as_bool) != Some(false) {
                paths.servers.push(address(server)?);
            }
        }
    }
    Ok(paths)
}

fn read_sdk_3(config: &Value, directory: &Path) -> Result<ClientPaths, Error> {
    let mut paths = ClientPaths::in_directory(directory);
    if let Some(path) = path(config, "/client/e2e_owner_crt_path", directory)? {
        paths.customer_ca = path;
    }
    if let Some(path) = path(config, "/ssl/CApath", directory)? {
        paths.server_certificates = path;
    }
    if let Some((certificate, key)) = pair(config, "/ssl/certificate", "/ssl/pkey", directory)? {
        paths.client_certificate = certificate;
        paths.client_key = key;
    }
    if let Some(server) = config.get("server") {
        paths.servers.push(address(server)?);
    }
    Ok(paths)
}

/// Both of a certificate and its key, or neither.
fn pair(
    value: &Value,
    certificate: &str,
    key: &str,
    directory: &Path,
) -> Result<Option<(PathBuf, PathBuf)>, Error> {
    match (path(value, certificate, directory)?, path(value, key, directory)?) {
        (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(missing(certificate, key)),
        (None, Some(_)) => Err(missing(key, certificate)),
    }
}

/// A path, against the directory where it is relative. An empty one is an error: blanking a setting is how users try
/// to remove it.
fn path(value: &Value, pointer: &str, directory: &Path) -> Result<Option<PathBuf>, Error> {
    match value.pointer(pointer) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(path)) if !path.is_empty() => Ok(Some(directory.join(path))),
        Some(other) => Err(wrong(pointer, "a path (remove the setting to do without it)", other)),
    }
}

fn address(server: &Value) -> Result<(String, u16), Error> {
    let host = match server.get("hostname") {
        Some(Value::String(host)) if !host.is_empty() => host.clone(),
        other => {
            return Err(wrong("hostname", "a name or an address", other.unwrap_or(&Value::Null)));
        }
    };
    let port = match server.get("port") {
        None => DEFAULT_PORT,
        Some(port) => port
            .as_u64()
            .and_then(|port| u16::try_from(port).ok())
            .filter(|port| *port != 0)
            .ok_or_else(|| wrong("port", "a number from 1 to 65535", port))?,
    };
    Ok((host, port))
}

fn wrong(setting: &str, expected: &str, found: &Value) -> Error {
    let setting = setting.trim_start_matches('/');
    Error::new(Problem::Configuration, format!("{setting}: {expected}"), format!("{found}"))
}

fn missing(present: &str, absent: &str) -> Error {
    let (present, absent) = (present.trim_start_matches('/'), absent.trim_start_matches('/'));
    Error::new(Problem::Configuration, format!("{absent} beside {present}"), "only one of the two")
}

const DEFAULT_PORT: u16 = 2223;
