//! `--keylog`: the secrets of both layers in the form that Wireshark reads.

use core::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::KeyLog;

use super::failure::Failure;
use super::files::words;

/// Lines of `label client_random secret`; the client's random tells the layers apart.
/// <https://www.ietf.org/archive/id/draft-ietf-tls-keylogfile-02.html>
#[derive(Debug)]
pub(crate) struct KeyFile(Mutex<File>);

impl KeyFile {
    /// Appends to a file that only its owner may read.
    pub(crate) fn open(path: &Path) -> Result<Arc<Self>, Failure> {
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        match options.open(path) {
            Ok(file) => Ok(Arc::new(Self(Mutex::new(file)))),
            Err(error) => {
                let reason = format!("the file of --keylog can't be written: {}", words(&error));
                Err(Failure::usage(reason, "name a file that this user may write").at(path))
            }
        }
    }
}

impl KeyLog for KeyFile {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let mut line = String::from(label);
        for bytes in [client_random, secret] {
            line.push(' ');
            for byte in bytes {
                let _ = write!(line, "{byte:02x}");
            }
        }
        line.push('\n');
        // In one piece: several connections write here. A full disk harms no connection.
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = file.write_all(line.as_bytes());
    }
}
