//! A throwaway PKI with the shapes of the CloudHSM certificates: what the servers of that service present is neither
//! named nor, on the inner layer, of version 3, and a demonstration on tidier certificates would prove nothing.
//!
//! `tests/` includes this file by path; each includer uses a part of it.
#![allow(dead_code, reason = "each binary that includes this file uses a part of it")]

// The path is spelt out for those who include this file by path: without it they would look beside it.
#[path = "pki/certificate.rs"]
mod certificate;
#[path = "pki/name.rs"]
mod name;

use core::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

pub(crate) use certificate::{Issued, Key, Period, Shape, Template};
pub(crate) use name::Subject;

/// The serial number that the outer server's certificate shows.
pub(crate) const OUTER_SERVER_SERIAL: [u8; 8] = [0xb7, 0xfa, 0x7a, 0x40, 0x97, 0x6c, 0xbe, 0x82];
/// The serial number of the second certificate that clients trust.
pub(crate) const SECOND_ANCHOR_SERIAL: [u8; 8] = [0xa7, 0x52, 0x5b, 0x28, 0x5d, 0x1c, 0x2b, 0xb5];
/// The name that `c_rehash` gives to the outer server's certificate.
pub(crate) const OUTER_SERVER_FILE: &str = "21a10654.0";
/// The name that `c_rehash` gives to the second anchor.
pub(crate) const SECOND_ANCHOR_FILE: &str = "712ff948.0";

/// What may differ from one throwaway PKI to the next.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) period: Period,
    pub(crate) keys: Keys,
    /// The HSM's identifier in the cluster certificate's subject.
    pub(crate) hsm: String,
}

impl Options {
    /// P-256 keys, valid for `period`.
    pub(crate) fn new(period: Period) -> Self {
        Self { period, keys: Keys::default(), hsm: "5.3G0000-ICM000000".into() }
    }
}

/// One key per certificate.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keys {
    pub(crate) outer_server: Key,
    pub(crate) second_anchor: Key,
    pub(crate) customer_ca: Key,
    pub(crate) cluster: Key,
    pub(crate) default_client: Key,
    pub(crate) issued_client: Key,
}

/// Every certificate that a connection to a cluster needs.
#[derive(Clone, Debug)]
pub(crate) struct Pki {
    /// The host's: self-signed, an authority by its own word, without a name that could be checked.
    pub(crate) outer_server: Issued,
    /// The other certificate of the client's trust directory.
    pub(crate) second_anchor: Issued,
    /// The customer's own authority.
    pub(crate) customer_ca: Issued,
    /// The HSM's: version 1, issued by the customer's authority.
    pub(crate) cluster: Issued,
    /// The client certificate that everybody has.
    pub(crate) default_client: Issued,
    /// A client certificate that the customer's authority issued: version 1.
    pub(crate) issued_client: Issued,
}

impl Pki {
    /// Makes all of them.
    pub(crate) fn new(options: &Options) -> Result<Self, Error> {
        let Options { period, keys, hsm } = options;
        let template = |subject: Subject, shape: Shape, key: &Key| {
            Template::new(subject, shape, *period).key(key.clone())
        };
        let outer_server =
            template(Subject::aws("AWS Cryptography"), Shape::Authority, &keys.outer_server)
                .serial(OUTER_SERVER_SERIAL)
                .self_signed()?;
        let second_anchor =
            template(Subject::aws("Cryptography"), Shape::Authority, &keys.second_anchor)
                .serial(SECOND_ANCHOR_SERIAL)
                .self_signed()?;
        let customer_ca =
            template(Subject::customer("customerCA"), Shape::Authority, &keys.customer_ca)
                .self_signed()?;
        let cluster =
            template(Subject::hsm(hsm), Shape::Version1, &keys.cluster).issued_by(&customer_ca)?;
        let default_client =
            template(Subject::customer("default client"), Shape::Authority, &keys.default_client)
                .self_signed()?;
        let issued_client =
            template(Subject::customer("issued client"), Shape::Version1, &keys.issued_client)
                .issued_by(&customer_ca)?;
        Ok(Self {
            outer_server,
            second_anchor,
            customer_ca,
            cluster,
            default_client,
            issued_client,
        })
    }

    /// Writes what a client finds in `/opt/cloudhsm/etc`: two trusted server certificates under their hash names, its
    /// own certificate and key, and the customer's authority.
    pub(crate) fn write_client_dir(
        &self,
        dir: &Path,
        identity: ClientIdentity,
    ) -> Result<(), Error> {
        let certs = dir.join("certs");
        fs::create_dir_all(&certs).map_err(|e| Error::Io(certs.clone(), e))?;
        let client = match identity {
            ClientIdentity::Default => &self.default_client,
            ClientIdentity::Issued => &self.issued_client,
        };
        write(&certs.join(OUTER_SERVER_FILE), &self.outer_server.pem, 0o644)?;
        write(&certs.join(SECOND_ANCHOR_FILE), &self.second_anchor.pem, 0o644)?;
        write(&dir.join("client.crt"), &client.pem, 0o644)?;
        write(&dir.join("client.key"), &client.key_pem, 0o600)?;
        write(&dir.join("customerCA.crt"), &self.customer_ca.pem, 0o644)
    }
}

/// Which of its two possible certificates the client uses on the outer layer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ClientIdentity {
    Default,
    Issued,
}

/// Why a throwaway certificate could not be made or stored.
#[derive(Debug)]
pub(crate) enum Error {
    /// The key generator or the signer refused.
    Key(rcgen::Error),
    /// A field has no DER form.
    Encoding(der::Error),
    /// A file could not be written.
    Io(PathBuf, io::Error),
}

impl From<rcgen::Error> for Error {
    fn from(e: rcgen::Error) -> Self {
        Self::Key(e)
    }
}

impl From<der::Error> for Error {
    fn from(e: der::Error) -> Self {
        Self::Encoding(e)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(e) => write!(f, "cannot make or use a key: {e}"),
            Self::Encoding(e) => write!(f, "cannot encode a certificate: {e}"),
            Self::Io(path, e) => write!(f, "cannot write {}: {e}", path.display()),
        }
    }
}

impl core::error::Error for Error {}

/// Writes `text` to a file that nobody could read before its mode was set.
pub(crate) fn write(path: &Path, text: &str, mode: u32) -> Result<(), Error> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    options
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|e| Error::Io(path.into(), e))
}
