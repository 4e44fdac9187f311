//! The program's file, found by its path: it is executed to start this image again.
//!
//! A new version may be installed at that path while the program runs. So the file's properties are
//! noted before the first pool is made, and compared at each start of a worker. If the file is
//! replaced between the comparison and the start, the worker runs another image, or another copy of
//! this crate, and its name shows the parent that (`image`). (Windows does not let other programs
//! write to the file of a running program, but lets them rename it.)
//!
//! Tests: below; `tests/process/host.rs::the_program_is_replaced_on_disk`.

use std::io;
use std::path::{Path, PathBuf};

use crate::host::disk;
use crate::sys::files;
use crate::sys::fork::PerProcess;

/// Notes the file's properties.
pub fn note() {
    let _ = at_start();
}

fn at_start() -> Result<&'static (PathBuf, Vec<u8>), &'static str> {
    static AT_START: PerProcess<Result<(PathBuf, Vec<u8>), String>> = PerProcess::new();
    let look = || {
        let path = disk::real(&std::env::current_exe()?)?;
        let id = look_at(&path)?;
        Ok((path, id))
    };
    let look = || look().map_err(|error: io::Error| error.to_string());
    let noted = AT_START.inherit_or_init(look);
    noted.as_ref().map_err(String::as_str)
}

/// The path to execute; an error if the file was replaced or removed.
pub fn path() -> io::Result<PathBuf> {
    let (path, id) = at_start().map_err(|why| {
        let message = format!("the program's file cannot be found: {why}");
        io::Error::new(io::ErrorKind::NotFound, message)
    })?;
    same(path, id).map(|()| path.clone())
}

/// The file's own path, for other programs to execute.
pub fn named() -> io::Result<PathBuf> {
    path()
}

/// Checks that the file at `path` still has the properties `id`.
fn same(path: &Path, id: &[u8]) -> io::Result<()> {
    let now = look_at(path).map_err(|error| {
        let message = format!(
            "the program's file {} is gone (removed, or put in quarantine), and workers are \
             started from it: {error}",
            path.display()
        );
        io::Error::new(error.kind(), message)
    })?;
    if now == id {
        Ok(())
    } else {
        Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!(
                "the program's file {} was replaced while the program is running, so a worker \
                 would run another program: restart this one",
                path.display()
            ),
        ))
    }
}

/// The noted properties of the file, which identify it. Empty if they are unknown.
pub fn id() -> Vec<u8> {
    at_start().map_or_else(|_| Vec::new(), |(_, id)| id.clone())
}

fn look_at(path: &Path) -> io::Result<Vec<u8>> {
    let words = files::numbers(&std::fs::metadata(path)?);
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
            super::path().unwrap().canonicalize().unwrap(),
            std::env::current_exe().unwrap().canonicalize().unwrap()
        );
    }
}
