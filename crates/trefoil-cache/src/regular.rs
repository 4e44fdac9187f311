//! Opening files that may be something else by now, and reading and writing at a place.
//!
//! To open a FIFO waits for its other end, to read from a terminal for a person. So both are errors
//! here, as are devices and folders.

use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Opens a regular file.
pub(crate) fn open(path: &Path, options: &mut OpenOptions) -> io::Result<(File, Metadata)> {
    let file = open_any(path, options)?;
    let about = about(&file)?;
    Ok((file, about))
}

/// Opens a file that may be something else, and so must be read with [`read_at`]: that fails for
/// what one could wait for.
pub(crate) fn open_any(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(options, libc::O_NONBLOCK | libc::O_NOCTTY);
    options.open(path)
}

/// What there is to know about a regular file.
pub(crate) fn about(file: &File) -> io::Result<Metadata> {
    let about = file.metadata()?;
    if about.is_file() {
        Ok(about)
    } else {
        Err(io::Error::other("this is not a regular file"))
    }
}

/// Opens what is at this path, unless it is a link. It may be no regular file.
pub(crate) fn open_own(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(
        options,
        libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_NOFOLLOW,
    );
    options.open(path)
}

/// Reads a regular file, if its first bytes, as many as `head`, and its length are what
/// `is_sound` expects. Otherwise no more is read, and the error is of the kind `InvalidData`.
pub(crate) fn read(
    path: &Path,
    head: usize,
    is_sound: impl FnOnce(&[u8], usize) -> bool,
) -> io::Result<(Vec<u8>, Metadata)> {
    let (file, about) = open(path, File::options().read(true))?;
    let length = usize::try_from(about.len()).unwrap_or(usize::MAX);
    let mut first = Vec::new();
    (&file).take(head as u64).read_to_end(&mut first)?;
    if !is_sound(&first, length) {
        return Err(ErrorKind::InvalidData.into());
    }
    let mut bytes = reserved(about.len())?;
    bytes.extend_from_slice(&first);
    let left = about.len().saturating_sub(first.len() as u64);
    (&file).take(left).read_to_end(&mut bytes)?;
    Ok((bytes, about))
}

/// Room for so many bytes.
pub(crate) fn reserved(length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let reserved = bytes.try_reserve_exact(length);
    reserved.map_err(|_| io::Error::from(ErrorKind::OutOfMemory))?;
    Ok(bytes)
}

/// Reads what there is from `at` on, as much as `buffer` has room for; returns how much that is.
pub(crate) fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    if at > i64::MAX as u64 {
        return Ok(0); // no file is as long
    }
    loop {
        // (A regular file gives less than was asked for only at its end.)
        #[cfg(unix)]
        let read = std::os::unix::fs::FileExt::read_at(file, buffer, at);
        #[cfg(windows)]
        let read = std::os::windows::fs::FileExt::seek_read(file, buffer, at);
        match read {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// An error if a file must not be as long as this: to write beyond its limit for files
/// (`RLIMIT_FSIZE`) ends a program by a signal.
pub(crate) fn may_be(length: u64) -> io::Result<()> {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, getrlimit};
        let limit = getrlimit(Resource::Fsize).current;
        if limit.is_some_and(|limit| length > limit) {
            return Err(rustix::io::Errno::FBIG.into());
        }
    }
    let _ = length; // elsewhere there is no limit
    Ok(())
}

/// Writes all of `bytes` from `at` on.
pub(crate) fn write_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    may_be(at.saturating_add(bytes.len() as u64))?;
    let mut done = 0;
    while done < bytes.len() {
        let (rest, at) = (&bytes[done..], at.saturating_add(done as u64));
        #[cfg(unix)]
        let written = std::os::unix::fs::FileExt::write_at(file, rest, at);
        #[cfg(windows)]
        let written = std::os::windows::fs::FileExt::seek_write(file, rest, at);
        match written {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => done += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What has happened to a file when it gets its name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    /// It is on the disk.
    Synced,
    /// The system has it.
    ToTheSystem,
}

/// Writes a file under a temporary name, and renames it: it appears whole or not at all. Nothing
/// may have the temporary name, not even a link. The file is locked until it has its name, so that
/// [`is_left`] knows it from one whose writer was killed. (If it is taken for one of those in the
/// moment before its lock, the error is of the kind `NotFound`.)
pub(crate) fn replace(
    path: &Path,
    temporary: &Path,
    bytes: &[u8],
    written: Written,
) -> io::Result<()> {
    may_be(bytes.len() as u64)?;
    let mut file = File::create_new(temporary)?;
    let _ = file.try_lock(); // there may be no locks here
    let mut written_all = || {
        file.write_all(bytes)?;
        match written {
            Written::Synced => file.sync_data(),
            Written::ToTheSystem => Ok(()),
        }
    };
    let written = written_all();
    let file = (!cfg!(windows)).then_some(file); // (Windows renames no open file.)
    let done = written.and_then(|()| fs::rename(temporary, path));
    if let Some(file) = file {
        let _ = file.unlock(); // a process that is just being started has the file, too
    }
    if done.is_err() {
        let _ = fs::remove_file(temporary);
    }
    done
}

/// Files of this name that are older were left behind, where there are no locks.
const LEFT: Duration = Duration::from_secs(86_400);

/// Whether a temporary file was left behind by a writer that was killed.
pub(crate) fn is_left(path: &Path, modified: SystemTime) -> bool {
    let Ok(file) = open_own(path, File::options().read(true)) else {
        return false;
    };
    match file.try_lock() {
        Ok(()) => true,
        Err(TryLockError::WouldBlock) => false,
        Err(TryLockError::Error(_)) => modified.elapsed().is_ok_and(|age| age > LEFT),
    }
}

/// How names of temporary files begin.
pub(crate) const TEMPORARY: &str = "tmp-";

/// A number that nobody else has, and that nobody can guess.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one((std::process::id(), SystemTime::now()))
}
