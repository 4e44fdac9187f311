//! Opening files that may be something else by now.
//!
//! To open a FIFO waits for its other end, to read from a terminal for a person. So both are errors
//! here, as are devices and folders.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// Opens a regular file.
pub(crate) fn open(path: &Path, options: &mut OpenOptions) -> io::Result<(File, Metadata)> {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(options, libc::O_NONBLOCK | libc::O_NOCTTY);
    let file = options.open(path)?;
    let about = file.metadata()?;
    match about.is_file() {
        true => Ok((file, about)),
        false => Err(io::Error::other("this is not a regular file")),
    }
}

/// Reads a regular file.
pub(crate) fn read(path: &Path) -> io::Result<(Vec<u8>, Metadata)> {
    let (file, about) = open(path, File::options().read(true))?;
    let mut bytes = Vec::new();
    let length = usize::try_from(about.len()).unwrap_or(usize::MAX);
    let no_memory = |_| io::Error::from(ErrorKind::OutOfMemory);
    bytes.try_reserve_exact(length).map_err(no_memory)?;
    (&file).take(length as u64).read_to_end(&mut bytes)?;
    Ok((bytes, about))
}
