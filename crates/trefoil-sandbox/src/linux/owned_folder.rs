//! A folder that belongs to one pool of one process, and which of those that lie about have no
//! owner any more.
//!
//! The owner holds a lock of the folder (`flock`), which the kernel drops when the owner has ended,
//! however it did. So who gets the lock knows that nobody else uses the folder: neither process
//! numbers nor times are compared.
//!
//! Tests: below.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock};

/// The lock is dropped with it; whoever owns it removes the folder before.
#[derive(Debug)]
pub(crate) struct OwnedFolder {
    pub(crate) path: PathBuf,
    _lock: File,
}

/// Opens a folder, and nothing behind a link, and locks it. `None`: somebody else has it, or it is
/// another user's.
fn locked(path: &Path) -> io::Result<Option<OwnedFolder>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let lock = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if lock.metadata()?.uid() != rustix::process::geteuid().as_raw() {
        return Ok(None);
    }
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    // (It may have been removed since it was opened, by who had the lock.)
    let is_same = std::fs::symlink_metadata(path)
        .is_ok_and(|now| lock.metadata().is_ok_and(|own| own.ino() == now.ino()));
    Ok(is_same.then(|| OwnedFolder {
        path: path.to_owned(),
        _lock: lock,
    }))
}

impl OwnedFolder {
    /// A new one, whose name begins with `prefix`, in a folder that exists.
    pub(crate) fn new(parent: &Path, prefix: &str) -> io::Result<Self> {
        for number in 0_u64.. {
            let path = parent.join(format!("{prefix}.{}.{number}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
            }
            // (Somebody who sweeps may have been faster.)
            match locked(&path) {
                Ok(Some(folder)) => return Ok(folder),
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Those whose owners have ended. Each is locked, for the caller to remove.
    pub(crate) fn stale(parent: &Path, prefix: &str) -> Vec<Self> {
        let all = std::fs::read_dir(parent).into_iter().flatten().flatten();
        let is_one = |name: &str| {
            let numbers = name
                .strip_prefix(prefix)
                .and_then(|rest| rest.strip_prefix('.'));
            let both = numbers.and_then(|rest| rest.split_once('.'));
            both.is_some_and(|(one, other)| {
                [one, other].iter().all(|part| part.parse::<u64>().is_ok())
            })
        };
        let ours = all.filter(|entry| entry.file_name().to_str().is_some_and(is_one));
        ours.filter_map(|entry| locked(&entry.path()).ok()?)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lives_is_not_stale_and_what_has_no_owner_is() {
        let parent = std::env::temp_dir();
        let prefix = format!("owned-folder-{}", std::process::id());
        let stale = || OwnedFolder::stale(&parent, &prefix);
        let (first, second) = (
            OwnedFolder::new(&parent, &prefix).unwrap(),
            OwnedFolder::new(&parent, &prefix).unwrap(),
        );
        assert_ne!(first.path, second.path);
        let link = parent.join(format!("{prefix}.1.7"));
        std::os::unix::fs::symlink(&first.path, &link).unwrap();
        assert!(stale().is_empty());
        let path = first.path.clone();
        drop(first); // as if its process had ended
        let found = stale();
        assert_eq!(
            found.iter().map(|one| &one.path).collect::<Vec<_>>(),
            [&path]
        );
        assert!(stale().is_empty(), "who sweeps it owns it");
        std::fs::remove_file(link).unwrap();
        for folder in [path, second.path] {
            std::fs::remove_dir(folder).unwrap();
        }
    }
}
