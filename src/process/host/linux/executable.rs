//! The program's file, which is executed to start this image again.
//!
//! `/proc/self/exe` is the file that this process runs, even if another file has its name by now.

use std::io;
use std::path::PathBuf;

use crate::sys::files;

const PATH: &str = "/proc/self/exe";

/// Notes the file's properties: not needed here.
pub(crate) fn note() {}

/// The path to execute.
pub(crate) fn path() -> io::Result<PathBuf> {
    Ok(PATH.into())
}

/// Identifies the file. Empty if it is unknown.
pub(crate) fn id() -> Vec<u8> {
    let Ok(file) = std::fs::metadata(PATH) else {
        return Vec::new();
    };
    let words = files::numbers(&file);
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}
