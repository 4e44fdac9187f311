//! Opening files that may be something else by now, and reading and writing at a place.
//!
//! To open a FIFO waits for its other end, to read from a terminal for a person. So both are errors
//! here, as are devices and folders.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;

/// Opens a regular file.
pub(crate) fn open(path: &Path, options: &mut OpenOptions) -> io::Result<(File, Metadata)> {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(options, libc::O_NONBLOCK | libc::O_NOCTTY);
    opened(options.open(path)?)
}

/// Opens a regular file, and not one to which a link leads.
pub(crate) fn open_own(path: &Path, options: &mut OpenOptions) -> io::Result<(File, Metadata)> {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(
        options,
        libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_NOFOLLOW,
    );
    opened(options.open(path)?)
}

fn opened(file: File) -> io::Result<(File, Metadata)> {
    let about = file.metadata()?;
    match about.is_file() {
        true => Ok((file, about)),
        false => Err(io::Error::other("this is not a regular file")),
    }
}

/// Reads a regular file.
pub(crate) fn read(path: &Path) -> io::Result<(Vec<u8>, Metadata)> {
    let (file, about) = open(path, File::options().read(true))?;
    let mut bytes = reserved(about.len())?;
    (&file).take(about.len()).read_to_end(&mut bytes)?;
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

/// Reads what there is from `at` on, no more than `buffer` has room for; returns how much that is.
pub(crate) fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    if at > i64::MAX as u64 {
        return Ok(0); // no file is as long
    }
    let mut done = 0;
    while done < buffer.len() {
        let (rest, at) = (&mut buffer[done..], at.saturating_add(done as u64));
        #[cfg(unix)]
        let read = std::os::unix::fs::FileExt::read_at(file, rest, at);
        #[cfg(windows)]
        let read = std::os::windows::fs::FileExt::seek_read(file, rest, at);
        match read {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Writes all of `bytes` from `at` on.
pub(crate) fn write_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
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

/// Writes a file under a temporary name, and renames it: it appears whole or not at all.
pub(crate) fn replace(path: &Path, temporary: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(temporary)?;
    let written = file.write_all(bytes);
    drop(file); // (Windows renames no open file.)
    let done = written.and_then(|()| fs::rename(temporary, path));
    if done.is_err() {
        let _ = fs::remove_file(temporary);
    }
    done
}
