//! What several launchers need: scripts for a shell elsewhere, copies of the executable, a
//! conversation with a program, and a thread that waits for several things.

#[cfg(feature = "slurm")]
pub(crate) mod bell;
#[cfg(any(feature = "slurm", feature = "ssh"))]
pub(crate) mod conversation;
#[cfg(any(feature = "slurm", feature = "ssh"))]
pub(crate) mod copy;
pub(crate) mod descriptors;
#[cfg(feature = "dial")]
pub(crate) mod dial;
#[cfg(feature = "dial")]
pub(crate) mod listen;
#[cfg(feature = "slurm")]
pub(crate) mod poll;
#[cfg(any(feature = "slurm", feature = "ssh"))]
pub(crate) mod shell;

use std::ffi::{OsStr, OsString};
use std::path::Path;

use trefoil::PoolError;
use trefoil::process::launch::Program;

/// The build, by which a copy of this executable is known elsewhere.
pub(crate) fn build_id(program: &Program) -> Result<&'static str, PoolError> {
    program.build_id().ok_or_else(|| {
        PoolError::Launcher(
            "this executable has no build id, by which its copies elsewhere are known: link it \
             with `-C link-arg=-Wl,--build-id` in RUSTFLAGS"
                .to_owned(),
        )
    })
}

/// A path by which another process finds the file that this process runs; on Linux also if it was
/// removed or replaced.
#[cfg(feature = "dial")]
pub(crate) fn own_path() -> std::io::Result<std::path::PathBuf> {
    let own = std::path::PathBuf::from(format!("/proc/{}/exe", std::process::id()));
    if cfg!(target_os = "linux") && own.exists() {
        Ok(own)
    } else {
        std::env::current_exe()
    }
}

/// The program's name.
pub(crate) fn program_name() -> OsString {
    let path = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&path).file_name();
    name.unwrap_or(OsStr::new("program")).to_owned()
}
