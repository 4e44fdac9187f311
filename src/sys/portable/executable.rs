//! The program's file: what is executed to start this image again, found by its path.
//!
//! There may be another file at that path meanwhile: a new version was installed while this one
//! runs. So what the file is was noted before the first pool is made, and each start of a worker
//! compares. A file that is replaced between that look and the start is another image, or another
//! copy of this crate, and its name tells (`image`).
//!
//! Tests: below; `tests/process/host.rs`.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

static AT_START: OnceLock<Result<(PathBuf, Vec<u8>), String>> = OnceLock::new();

/// Remembers what the file is now.
pub(crate) fn note() {
    AT_START.get_or_init(|| {
        let look = || {
            let path = std::env::current_exe()?.canonicalize()?;
            let id = look_at(&path)?;
            Ok((path, id))
        };
        look().map_err(|error: io::Error| error.to_string())
    });
}

fn at_start() -> Option<&'static (PathBuf, Vec<u8>)> {
    note();
    AT_START.get()?.as_ref().ok()
}

/// What to execute.
pub(crate) fn path() -> io::Result<PathBuf> {
    note();
    match AT_START.get() {
        Some(Ok((path, id))) => same(path, id).map(|()| path.clone()),
        Some(Err(why)) => Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("the program's file cannot be found: {why}"),
        )),
        None => Err(io::ErrorKind::NotFound.into()),
    }
}

/// The file at `path` is still what it was.
fn same(path: &Path, id: &[u8]) -> io::Result<()> {
    let now = look_at(path).map_err(|error| {
        let words = format!("the program's file {} is gone: {error}", path.display());
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
    at_start().map_or_else(Vec::new, |(_, id)| id.clone())
}

fn look_at(path: &Path) -> io::Result<Vec<u8>> {
    let file = std::fs::metadata(path)?;
    let words = [
        file.dev(),
        file.ino(),
        file.size(),
        file.mtime() as u64,
        file.mtime_nsec() as u64,
    ];
    Ok(words.iter().flat_map(|word| word.to_ne_bytes()).collect())
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
            super::path().unwrap(),
            std::env::current_exe().unwrap().canonicalize().unwrap()
        );
    }
}
