//! OpenSSL's directories of certificates: files named `hhhhhhhh.N` by the hash of the subject.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use rustls::pki_types::CertificateDer;

use super::authority::Authority;
use super::certificate::Certificate;
use super::error::{Error, Problem};
use super::pem::certificates_from_pem;
use super::pinned::Pin;

/// The certificates of a directory that `openssl rehash` or `c_rehash` made.
///
/// The names only say which files to read. Every certificate of every such file counts, also under a name that is not
/// its hash, and no trust follows from a name: see [`HashedDir::findings`] for the names that OpenSSL would not find.
#[derive(Clone, Debug)]
pub struct HashedDir {
    entries: Vec<HashedEntry>,
    unreadable: Vec<Error>,
}

/// One file of a [`HashedDir`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HashedEntry {
    /// The path of the file, as the directory was given.
    pub file: String,
    /// The certificates in it, in their order; at least one.
    pub certificates: Vec<CertificateDer<'static>>,
}

impl HashedDir {
    /// Reads a directory. An entry that can't be read is reported by [`HashedDir::unreadable`], and the others count.
    ///
    /// # Errors
    /// [`Problem::File`] if the directory can't be listed, [`Problem::EmptyDirectory`] if no entry gives a certificate.
    #[cfg(feature = "std")]
    pub fn read(path: impl AsRef<std::path::Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let cannot_list = |error: std::io::Error| {
            Error::new(Problem::File, "a readable directory", format!("{error}"))
                .in_file(format!("{}", path.display()))
        };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(path).map_err(cannot_list)? {
            names.push(entry.map_err(cannot_list)?.file_name());
        }
        names.sort();
        let files = names.iter().filter_map(|name| {
            let name = name.to_str().filter(|name| is_hash_name(name))?;
            let file = path.join(name);
            // No key of anybody's, which would have to be wiped.
            let contents = super::files::read(&file).map(|mut pem| core::mem::take(&mut *pem));
            Some((format!("{}", file.display()), contents))
        });
        Self::from_files(&format!("{}", path.display()), files)
    }

    /// The same from file names and contents that were read already. Names that are no hashes are passed over.
    ///
    /// # Errors
    /// [`Problem::EmptyDirectory`] if no file gives a certificate; the causes say why each one did not.
    pub fn from_files(
        directory: &str,
        files: impl IntoIterator<Item = (String, Result<Vec<u8>, Error>)>,
    ) -> Result<Self, Error> {
        let mut entries = Vec::new();
        let mut unreadable = Vec::new();
        for (file, contents) in files {
            if !is_hash_name(base_name(&file)) {
                continue;
            }
            match contents.and_then(|pem| readable_certificates(&pem)) {
                Ok(certificates) => entries.push(HashedEntry { file, certificates }),
                Err(error) => unreadable.push(error.in_file(file)),
            }
        }
        if entries.is_empty() {
            let found = match unreadable.len() {
                0 => String::from("no file with a name like 21a10654.0"),
                count => format!("{count} unreadable entries"),
            };
            return Err(Error::new(Problem::EmptyDirectory, "certificates", found)
                .because(unreadable)
                .in_file(directory));
        }
        Ok(Self { entries, unreadable })
    }

    /// The files that gave certificates, by name.
    #[must_use]
    pub fn entries(&self) -> &[HashedEntry] {
        &self.entries
    }

    /// The entries that could not be read, and why.
    #[must_use]
    pub fn unreadable(&self) -> &[Error] {
        &self.unreadable
    }

    /// A pin for each certificate, with the file it came from.
    #[must_use]
    pub fn pins(&self) -> Vec<Pin> {
        self.certificates()
            .map(|(file, certificate)| Pin::certificate(certificate.clone()).from_file(file))
            .collect()
    }

    /// An authority for each certificate, with the file it came from.
    ///
    /// # Errors
    /// [`Problem::Authority`] with the file, for a certificate that may not sign others.
    pub fn authorities(&self) -> Result<Vec<Authority>, Error> {
        self.certificates()
            .map(|(file, certificate)| {
                Authority::from_der(certificate.clone())
                    .map(|authority| authority.from_file(file))
                    .map_err(|error| error.in_file(file))
            })
            .collect()
    }

    /// What OpenSSL would not find here: unreadable entries, names that are not the hash of their first certificate, and
    /// those behind a gap: it asks for `.0`, then `.1`, to the first that is not there.
    #[must_use]
    pub fn findings(&self) -> Vec<Error> {
        let misnamed = self.entries.iter().filter_map(|entry| {
            let certificate = Certificate::from_der(entry.certificates.first()?).ok()?;
            let hash = certificate.subject().hash()?;
            let found = base_name(&entry.file);
            (!found.starts_with(hash.as_str())).then(|| {
                Error::new(
                    Problem::HashName,
                    format!("{hash}.0, the hash of {}", certificate.subject().compat()),
                    found,
                )
                .in_file(entry.file.as_str())
            })
        });
        let behind_a_gap = self.entries.iter().filter_map(|entry| {
            let (hash, number) = base_name(&entry.file).split_once('.')?;
            let before = number.parse::<u32>().ok()?.checked_sub(1)?;
            let (expected, found) = (format!("{hash}.{before}"), base_name(&entry.file));
            (!self.has(&expected)).then(|| {
                let expected = format!("{expected} before it");
                Error::new(Problem::HashName, expected, found).in_file(entry.file.as_str())
            })
        });
        self.unreadable.iter().cloned().chain(misnamed).chain(behind_a_gap).collect()
    }

    /// Whether there is a file of that name, readable or not.
    fn has(&self, name: &str) -> bool {
        let readable = self.entries.iter().map(|entry| entry.file.as_str());
        let unreadable = self.unreadable.iter().filter_map(Error::file);
        readable.chain(unreadable).any(|file| base_name(file) == name)
    }

    fn certificates(&self) -> impl Iterator<Item = (&str, &CertificateDer<'static>)> {
        self.entries.iter().flat_map(|entry| {
            entry.certificates.iter().map(|certificate| (entry.file.as_str(), certificate))
        })
    }
}

/// Every certificate of a PEM text, if all of them can be read.
fn readable_certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates = certificates_from_pem(pem)?;
    for certificate in &certificates {
        Certificate::from_der(certificate)?;
    }
    Ok(certificates)
}

/// Eight hexadecimal digits, a dot, a number. Lists of revocations (`hhhhhhhh.rN`) are no certificates.
fn is_hash_name(name: &str) -> bool {
    let Some((hash, number)) = name.split_once('.') else {
        return false;
    };
    hash.len() == 8
        && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
        && !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

fn base_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}
