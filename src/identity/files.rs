//! Small files, read whole.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use zeroize::Zeroizing;

use super::error::{Error, Problem};

/// Reads a file of certificates, a key or a configuration; the error names it.
pub(super) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    let file = path.display().to_string();
    let refuse =
        |found: String| Error::new(Problem::File, "a readable file", found).in_file(file.as_str());
    // To open a pipe is to wait for its writer.
    let metadata = std::fs::metadata(path).map_err(|error| refuse(error.to_string()))?;
    if !metadata.is_file() {
        return Err(refuse(String::from(if metadata.is_dir() {
            "a directory"
        } else {
            "a device"
        })));
    }
    // What grows leaves copies behind.
    let len = usize::try_from(metadata.len().min(MAX_SIZE)).unwrap_or_default();
    let mut contents = Zeroizing::new(Vec::with_capacity(len + 1));
    let size = File::open(path)
        .and_then(|open| open.take(MAX_SIZE + 1).read_to_end(&mut contents))
        .map_err(|error| refuse(error.to_string()))?;
    if u64::try_from(size).is_ok_and(|size| size <= MAX_SIZE) {
        Ok(contents)
    } else {
        Err(Error::new(Problem::File, format!("at most {MAX_SIZE} bytes"), "more").in_file(file))
    }
}

/// Far more than any chain, and little enough for a path that leads to a device.
const MAX_SIZE: u64 = 1 << 20;
