//! The program's file: what is executed to start this image again.
//!
//! `/proc/self/exe` is the very file that this process runs, even if another has its name
//! meanwhile.

use std::io;
use std::os::linux::fs::MetadataExt;
use std::path::PathBuf;

const PATH: &str = "/proc/self/exe";

/// Nothing has to be remembered.
pub(crate) fn note() {}

/// What to execute.
pub(crate) fn path() -> io::Result<PathBuf> {
    Ok(PATH.into())
}

/// What names it. Empty if it is unknown.
pub(crate) fn id() -> Vec<u8> {
    let Ok(file) = std::fs::metadata(PATH) else {
        return Vec::new();
    };
    [
        file.st_dev(),
        file.st_ino(),
        file.st_size(),
        file.st_mtime() as u64,
        file.st_mtime_nsec() as u64,
    ]
    .iter()
    .flat_map(|word| word.to_ne_bytes())
    .collect()
}
