//! The program's file, which is executed to start this image again.
//!
//! `/proc/self/exe` is the file that this process runs, even if another file has its name by now.

use std::io;
use std::os::linux::fs::MetadataExt;
use std::path::PathBuf;

const PATH: &str = "/proc/self/exe";

/// Nothing to note.
pub(crate) fn note() {}

/// The path to execute.
pub(crate) fn path() -> io::Result<PathBuf> {
    Ok(PATH.into())
}

/// Identifies the file. Empty if that is not known.
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
