//! The program's file, which is executed to start this image again.
//!
//! `/proc/self/exe` is the file that this process runs, even if another file has its name by now.

use std::io;
use std::path::{Path, PathBuf};

use crate::sys::files;

const PATH: &str = "/proc/self/exe";

/// Notes the file's properties: not needed here.
pub fn note() {}

/// The path to execute.
pub fn path() -> io::Result<PathBuf> {
    Ok(PATH.into())
}

/// The file's own path, for other programs to execute; an error if the file was replaced or
/// removed.
pub fn named() -> io::Result<PathBuf> {
    let path = std::fs::read_link(PATH)?;
    if id() == id_of(&path) {
        return Ok(path);
    }
    let message = format!(
        "the program's file was removed or replaced while the program is running ({}), so a worker \
         would run another program: restart this one",
        path.display()
    );
    Err(io::Error::new(io::ErrorKind::NotFound, message))
}

/// Identifies the file. Empty if it is unknown.
pub fn id() -> Vec<u8> {
    id_of(Path::new(PATH))
}

fn id_of(path: &Path) -> Vec<u8> {
    let Ok(file) = std::fs::metadata(path) else {
        return Vec::new();
    };
    let words = files::numbers(&file);
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}
