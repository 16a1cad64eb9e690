//! Files that options name: read whole, with one sentence for each way in which that fails.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use nested_tls::{Layer, identity};
use zeroize::Zeroizing;

use super::failure::{Failure, Status};
use super::options::option;

/// No PEM file comes near this; a device that never ends does.
const LARGEST: u64 = 4 * 1024 * 1024;

/// Where a file's name came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source<'a> {
    pub(crate) layer: Layer,
    /// The option without its prefix.
    pub(crate) option: &'static str,
    pub(crate) path: &'a Path,
}

impl Source<'_> {
    /// The whole file.
    pub(crate) fn read(self) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let what = format!("the file of {}", option(self.layer, self.option));
        read(self.path, &what).map_err(|failure| failure.on(self.layer))
    }

    /// Says which file a refusal is about.
    pub(crate) fn refused(self, error: identity::Error) -> Failure {
        let error = error.in_file(self.path.display().to_string());
        Failure::identity(Status::Usage, self.layer, &error)
    }

    /// The path as text.
    pub(crate) fn name(self) -> String {
        self.path.display().to_string()
    }
}

/// The whole of a file, which `what` names; it may be a key.
pub(crate) fn read(path: &Path, what: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let refuse = |reason: String, remedy: &str| Err(Failure::usage(reason, remedy).at(path));
    if path.is_dir() {
        return refuse(format!("{what} is a directory"), "name a file");
    }
    let mut bytes = Zeroizing::new(Vec::new());
    let read = File::open(path).and_then(|file| {
        // What grows leaves copies behind.
        let len = file.metadata()?.len().min(LARGEST);
        bytes.reserve_exact(usize::try_from(len).unwrap_or_default() + 1);
        file.take(LARGEST).read_to_end(&mut bytes)
    });
    match read {
        Ok(_) if bytes.len() as u64 == LARGEST => {
            refuse(format!("{what} has no end"), "name an ordinary file")
        }
        Ok(_) => Ok(bytes),
        Err(error) => {
            let remedy = match error.kind() {
                ErrorKind::NotFound => "check the path",
                ErrorKind::PermissionDenied => "give this user the right to read it",
                _ => "check that the path names a readable file",
            };
            refuse(format!("{what} can't be read: {}", words(&error)), remedy)
        }
    }
}

/// A file that only its owner may read, to be written: at its end, or from its begin.
pub(crate) fn private(path: &Path, what: &str, append: bool) -> Result<File, Failure> {
    let mut options = OpenOptions::new();
    options.write(true).append(append).truncate(!append).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let opened = options.open(path).and_then(|file| {
        // One that was there may have been open to others.
        #[cfg(unix)]
        if file.metadata()?.is_file() {
            use std::os::unix::fs::PermissionsExt as _;
            file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        }
        Ok(file)
    });
    opened.map_err(|error| {
        let reason = format!("{what} can't be written: {}", words(&error));
        Failure::usage(reason, "name a file that this user may write").at(path)
    })
}

/// An operating system's error without its number.
pub(crate) fn words(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    match (chars.next(), chars.as_str()) {
        // Only the first letter, and not of an abbreviation.
        (Some(first), rest) if !rest.starts_with(char::is_uppercase) => {
            first.to_lowercase().chain(rest.chars()).collect()
        }
        _ => text.to_owned(),
    }
}
