//! `PoolError`: why a pool could not be made.
//!
//! Each cause that is known before any process is started has a variant, whose message says what to
//! do; an error of the system is passed on, with the name of the missing file, which the system
//! leaves out. Which programs can have no workers: `depth` (`api/entry.rs`); which settings are
//! refused: `api/builder.rs`; which starts: `parent/driving.rs`.
//!
//! Tests: below; `tests/process/pool.rs::without_init_nothing_is_started`,
//! `tests/process/host.rs::a_file_that_may_not_be_executed_is_named`.

use std::fmt;
use std::io;
use std::path::Path;

use crate::sys::refused::is_shortage;
use crate::task::TaskError;
use trefoil_os::host::process_group::{ENDS, FORBIDS, STARTS};

/// Why a [`ProcessPool`](crate::ProcessPool) or a [`Process`](crate::Process) could not be made.
///
/// ```
/// use trefoil::{PoolError, ProcessPool};
///
/// # trefoil::init();
/// let refused = ProcessPool::with_workers(usize::MAX);
/// assert!(matches!(refused, Err(PoolError::Start(_))));
/// ```
///
/// The `Debug` form, which a `main` that returns it prints, is the variant's name with the text of
/// `Display` behind it.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// `init` was not called: a worker of this program would run `main` like any other process,
    /// make a pool there, and so on. No process was started. Call [`init()`](crate::init)
    /// in the first line of `main`.
    #[error(
        "write `trefoil::init();` as the first line of `main`, before any thread is started: that is \
         where worker processes begin. (In a `#[test]`, enable trefoil's feature `auto`. Under \
         `#[tokio::main]` threads are running already: build the runtime in an ordinary `main`, \
         after `init()`, or enable `auto` in the program.)"
    )]
    NotInitialized,
    /// Pools are nested too deeply: workers make pools whose workers make pools.
    #[error(
        "this is a worker of a worker, {depth} deep; at most {limit} levels of process pools are \
         allowed"
    )]
    TooDeep {
        /// The current depth.
        depth: u32,
        /// The greatest depth allowed.
        limit: u32,
    },
    /// The argument of the [initializer](crate::ProcessPoolBuilder::initializer) could not be
    /// encoded.
    #[error("the initializer's argument cannot be sent to a worker: {0}")]
    Initializer(#[source] TaskError),
    /// The call of a [`Process`](crate::Process) could not be encoded: no process was started.
    #[error("the call cannot be sent to a worker: {0}")]
    Argument(#[source] TaskError),
    /// The [launcher](crate::ProcessPoolBuilder::launcher) can start no workers: the message says
    /// what is missing, and what to install or change.
    #[error("workers cannot be started: {0}")]
    Launcher(String),
    /// The operating system refused a process, a thread or a descriptor; or this program runs with
    /// other rights than its caller's (set-user-id, file capabilities), or was started through the
    /// dynamic loader, or the pool is made by a library with a copy of this crate of its own; or a
    /// setting is impossible: far too many workers, for example.
    #[error("worker processes could not be started: {0}")]
    Start(#[from] io::Error),
}

impl fmt::Debug for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::NotInitialized => "NotInitialized",
            Self::TooDeep { .. } => "TooDeep",
            Self::Initializer(_) => "Initializer",
            Self::Argument(_) => "Argument",
            Self::Launcher(_) => "Launcher",
            Self::Start(_) => "Start",
        };
        write!(f, "{name}({self})")
    }
}

impl From<PoolError> for io::Error {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Start(error) => error,
            error => Self::other(error),
        }
    }
}

/// Why no worker could be started: names the program, which the system's error does not, and says
/// what may forbid its start; where the error is not about the program (no descriptor, no memory,
/// too many processes), the calls that may have failed.
pub(crate) fn not_started(program: &Path, error: io::Error) -> io::Error {
    let name = || match std::fs::read_link(program) {
        Ok(file) => format!("{} ({})", program.display(), file.display()),
        Err(_) => program.display().to_string(),
    };
    let message = match error.kind() {
        io::ErrorKind::NotFound => {
            let proc = if program.starts_with("/proc") {
                ", is /proc mounted?"
            } else {
                ""
            };
            format!("{} cannot be executed{proc} ({error})", program.display())
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported => format!(
            "the system refuses to start {}, by {STARTS}: {error}; {FORBIDS}",
            name()
        ),
        io::ErrorKind::InvalidInput => return error,
        io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory => format!("{STARTS}: {error}"),
        _ if is_shortage(&error) => format!("{STARTS}: {error}"),
        _ => format!("{} cannot be executed: {error}", name()),
    };
    io::Error::new(error.kind(), message)
}

/// Why a worker may have been ended before `init`, if not by this program.
pub(crate) fn not_begun() -> String {
    let file = std::env::current_exe().unwrap_or_default();
    format!(
        "it did not reach `trefoil::init()`; unless a user or a program has killed it, the system \
         has ended {}, {ENDS}",
        file.display()
    )
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn a_main_that_returns_it_says_what_to_do() {
        let error = PoolError::NotInitialized;
        assert_eq!(format!("{error:?}"), format!("NotInitialized({error})"));
    }

    #[test]
    fn what_is_not_found_is_named() {
        let program = Path::new("/proc/self/exe");
        let error = not_started(program, io::ErrorKind::NotFound.into());
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().starts_with("/proc/self/exe"), "{error}");
        let refused = not_started(program, io::ErrorKind::PermissionDenied.into()).to_string();
        assert!(
            refused.contains("/proc/self/exe") && refused.contains(STARTS),
            "{refused}"
        );
        assert!(refused.contains(FORBIDS), "{refused}");
        let spoilt = not_started(program, io::ErrorKind::ExecutableFileBusy.into()).to_string();
        assert!(spoilt.starts_with("/proc/self/exe"), "{spoilt}");
        for shortage in [Errno::MFILE, Errno::AGAIN, Errno::NOMEM] {
            let named = not_started(program, shortage.into()).to_string();
            assert_eq!(named, format!("{STARTS}: {}", io::Error::from(shortage)));
        }
    }
}
