//! The program's file, for another process.
//!
//! Tests: `crates/trefoil-machines/tests/slurm/copies.rs`.

use std::io;
use std::path::PathBuf;

/// A path by which other processes of this user find the file that this process runs; on Linux also
/// if it was removed or replaced.
pub(super) fn path() -> io::Result<PathBuf> {
    let own = PathBuf::from(format!("/proc/{}/exe", std::process::id()));
    match cfg!(target_os = "linux") && own.exists() {
        true => Ok(own),
        false => std::env::current_exe(),
    }
}
