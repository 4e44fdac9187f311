//! The program's file: what is executed to start this image again, found by its path.
//!
//! There may be another file at that path meanwhile: a new version was installed while this one
//! runs. So what the file is was noted before the first pool is made, and each start of a worker
//! compares. A file that is replaced between that look and the start is another image, or another
//! copy of this crate, and its name tells (`image`). (Windows lets nobody write to the file of a
//! program that runs, but rename it.)
//!
//! Tests: below; `tests/process/host.rs`.

use std::fs::Metadata;
use std::io;
#[cfg(unix)]
use std::os::unix::fs::MetadataExt;
#[cfg(windows)]
use std::os::windows::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Remembers what the file is now.
pub(crate) fn note() {
    let _ = at_start();
}

fn at_start() -> Result<&'static (PathBuf, Vec<u8>), &'static str> {
    static AT_START: OnceLock<Result<(PathBuf, Vec<u8>), String>> = OnceLock::new();
    let look = || {
        let mut path = std::env::current_exe()?;
        if cfg!(unix) {
            path = path.canonicalize()?;
        }
        let id = look_at(&path)?;
        Ok((path, id))
    };
    let noted = AT_START.get_or_init(|| look().map_err(|error: io::Error| error.to_string()));
    noted.as_ref().map_err(String::as_str)
}

/// What to execute.
pub(crate) fn path() -> io::Result<PathBuf> {
    let (path, id) = at_start().map_err(|why| {
        let words = format!("the program's file cannot be found: {why}");
        io::Error::new(io::ErrorKind::NotFound, words)
    })?;
    same(path, id).map(|()| path.clone())
}

/// The file at `path` is still what it was.
fn same(path: &Path, id: &[u8]) -> io::Result<()> {
    let now = look_at(path).map_err(|error| {
        let words = format!(
            "the program's file {} is gone, removed or put in quarantine; workers are started from it: {error}",
            path.display()
        );
        io::Error::new(error.kind(), words)
    })?;
    match now == id {
        true => Ok(()),
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
    at_start().map_or_else(|_| Vec::new(), |(_, id)| id.clone())
}

fn look_at(path: &Path) -> io::Result<Vec<u8>> {
    let words = numbers(&std::fs::metadata(path)?);
    Ok(words.iter().flat_map(|word| word.to_ne_bytes()).collect())
}

/// What tells one file from another at the same path.
#[cfg(unix)]
fn numbers(file: &Metadata) -> [u64; 5] {
    let (seconds, nanos) = (file.mtime() as u64, file.mtime_nsec() as u64);
    [file.dev(), file.ino(), file.size(), seconds, nanos]
}

/// The same. (What the system has for a number of a file is not to be had of metadata.)
#[cfg(windows)]
fn numbers(file: &Metadata) -> [u64; 3] {
    [
        file.file_size(),
        file.creation_time(),
        file.last_write_time(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_replaced_is_known() {
        let path = std::env::temp_dir().join(format!("trefoil-replaced-{}", std::process::id()));
        std::fs::write(&path, "one").unwrap();
        let id = look_at(&path).unwrap();
        assert!(same(&path, &id).is_ok());
        std::fs::remove_file(&path).unwrap();
        assert!(
            same(&path, &id)
                .unwrap_err()
                .to_string()
                .contains("is gone")
        );
        std::fs::write(&path, "another").unwrap();
        let error = same(&path, &id).unwrap_err();
        assert!(error.to_string().contains("was replaced"), "{error}");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(
            super::path().unwrap().canonicalize().unwrap(),
            std::env::current_exe().unwrap().canonicalize().unwrap()
        );
    }
}
