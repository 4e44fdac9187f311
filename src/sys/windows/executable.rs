//! The program's file: what is executed to start this image again, found by its path.
//!
//! The system keeps the file of a program that runs from being written to, or deleted, but it can
//! be renamed, and another one put in its place. So what the file is was noted before the first
//! pool is made, and each start of a worker compares.
//!
//! Tests: `tests/process/`, under Wine.

use std::io;
use std::os::windows::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::OnceLock;

static AT_START: OnceLock<Result<(PathBuf, Vec<u8>), String>> = OnceLock::new();

/// Remembers what the file is now.
pub(crate) fn note() {
    look_once();
}

fn look_once() -> &'static Result<(PathBuf, Vec<u8>), String> {
    AT_START.get_or_init(|| {
        let look = || {
            let path = std::env::current_exe()?;
            let id = look_at(&path)?;
            Ok((path, id))
        };
        look().map_err(|error: io::Error| error.to_string())
    })
}

/// What to execute.
pub(crate) fn path() -> io::Result<PathBuf> {
    let (path, id) = look_once().as_ref().map_err(|why| {
        let words = format!("the program's file cannot be found: {why}");
        io::Error::new(io::ErrorKind::NotFound, words)
    })?;
    let now = look_at(path).map_err(|error| {
        let words = format!("the program's file {} is gone: {error}", path.display());
        io::Error::new(error.kind(), words)
    })?;
    match now == *id {
        true => Ok(path.clone()),
        false => Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!(
                "the program's file {} was replaced while it runs, and a worker would be another program: start it again",
                path.display()
            ),
        )),
    }
}

/// What names it. Empty if it is unknown.
pub(crate) fn id() -> Vec<u8> {
    look_once()
        .as_ref()
        .map_or_else(|_| Vec::new(), |(_, id)| id.clone())
}

/// Its size, and when it was made and written. (What the system has for a number of a file is not
/// to be had through `std`.)
fn look_at(path: &std::path::Path) -> io::Result<Vec<u8>> {
    let file = std::fs::metadata(path)?;
    let words = [
        file.file_size(),
        file.creation_time(),
        file.last_write_time(),
    ];
    Ok(words.iter().flat_map(|word| word.to_ne_bytes()).collect())
}
