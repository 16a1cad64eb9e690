//! `--keylog` and `SSLKEYLOGFILE`: the secrets of both layers in the form that Wireshark reads.

use core::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::KeyLog;
use zeroize::Zeroizing;

use super::failure::Failure;
use super::files;

/// Lines of `label client_random secret`; the client's random tells the layers apart.
/// <https://www.ietf.org/archive/id/draft-ietf-tls-keylogfile-02.html>
#[derive(Debug)]
pub(crate) struct KeyFile(Mutex<File>);

impl KeyFile {
    /// Appends to a file that only its owner may read, and that `what` names.
    pub(crate) fn open(path: &Path, what: &str) -> Result<Arc<Self>, Failure> {
        let file = files::private(path, what, true)?;
        Ok(Arc::new(Self(Mutex::new(file))))
    }
}

impl KeyLog for KeyFile {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        // In one piece: several connections write here. A full disk harms no connection.
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = file.write_all(line(label, client_random, secret).as_bytes());
    }
}

/// One secret, with the end of its line.
pub(crate) fn line(label: &str, client_random: &[u8], secret: &[u8]) -> Zeroizing<String> {
    // What grows leaves copies behind.
    let len = label.len() + 2 * (1 + client_random.len() + secret.len()) + 1;
    let mut line = Zeroizing::new(String::with_capacity(len));
    line.push_str(label);
    for bytes in [client_random, secret] {
        line.push(' ');
        for byte in bytes {
            let _ = write!(line, "{byte:02x}");
        }
    }
    line.push('\n');
    line
}
