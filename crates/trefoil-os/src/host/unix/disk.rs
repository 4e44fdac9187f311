//! Files that have no name, the room for them, and paths without links.
//!
//! Tests: `host::memory_file`, `host::executable`, with `--cfg trefoil_port`.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A new file that is unlinked at once.
pub(crate) fn nameless(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create_new(true).mode(0o600);
    let file = options.open(path)?;
    std::fs::remove_file(path)?;
    Ok(file)
}

/// Checks `RLIMIT_FSIZE`, because exceeding it raises a signal.
pub(crate) fn may_be(length: usize) -> io::Result<()> {
    if length as u64 > crate::sys::files::longest() {
        Err(rustix::io::Errno::FBIG.into())
    } else {
        Ok(())
    }
}

/// How many bytes the disk of this folder has free.
pub fn free(folder: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// The path from the root, without links: it stays that of the file, wherever this process goes.
pub(crate) fn real(path: &Path) -> io::Result<PathBuf> {
    path.canonicalize()
}
