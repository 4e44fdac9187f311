//! How a process learns that it is a worker.
//!
//! A pool starts its workers by executing `/proc/self/exe`, the very file that the parent
//! runs, with the same arguments. Such a process must not do what its `main`
//! does but serve. So either `main` begins with [`init`], or the feature `auto` puts a
//! constructor into the program that runs before `main`; both end up here.
//!
//! **Protocol.**
//! 1. The parent puts [`VARIABLE`] into the worker's environment: protocol version, depth,
//!    the parent's process id, the descriptors that every child inherits, and the worker's name if it has one. The socket is the worker's standard input.
//! 2. Without the variable, [`enter`] notes that this program's workers would get here,
//!    and returns. Only after that may a pool be made ([`role`]): a
//!    program that never gets here starts no process, rather than
//!    processes that start processes.
//! 3. With it, `enter` removes it first, so that nothing that a task
//!    starts inherits it, then serves and never returns.
//! 4. A worker that makes a pool of its own passes on its depth plus one, up to [`DEEPEST`].
//!
//! A variable that stands in an environment without a socket to go with it
//! is removed and ignored, and so is one in a program that runs with other rights than its
//! caller's: whoever started that must not choose what it executes. Such a program can
//! have no pool, and neither can a worker that cannot accept (its `main` has
//! replaced standard input before `init`): its workers would do as it does, and so on.
//!
//! Tests: `tests/process.rs` (nesting, `NotInitialized`), `tests/auto.rs`.

use std::io;
use std::os::fd::AsFd;
use std::sync::OnceLock;

use rustix::fs::FileType;
use rustix::process::{Pid, getegid, geteuid, getgid, getuid};

use super::{PoolError, wire, worker};
use crate::sys;

/// Set in a worker's environment until it has been seen.
pub(crate) const VARIABLE: &str = "TREFOIL_WORKER";

/// How deep workers may make pools of their own.
pub(crate) const DEEPEST: u32 = 20;

/// What this process is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Role {
    /// 0: started by somebody else; n: the worker of a process of depth n - 1.
    pub(crate) depth: u32,
}

static ROLE: OnceLock<Role> = OnceLock::new();

/// Makes worker processes possible: call it first in `main`.
///
/// A [`ProcessPool`](crate::ProcessPool) starts its workers by executing the program again.
/// In such a process this function serves the pool and never returns; in any other it
/// does nothing but note that workers will get here. What stands before it in `main` therefore
/// runs again in every worker. Calling it more than once does no harm.
///
/// A worker begins with three standard streams. Other descriptors that this program hands on to what it executes (those
/// without close-on-exec: what a shell has given it, what a C library has opened) it closes here;
/// what stands before this call in `main`, or before `main`, may have opened in the worker itself stays open.
///
/// With the feature `auto` the call is not needed.
///
/// ```
/// use trefoil::ProcessPool;
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     trefoil::process::init();
///     let procs = ProcessPool::with_workers(1)?;
///     assert_eq!(procs.spawn(6, |x: u64| x * 7).join()?, 42);
///     Ok(())
/// }
/// ```
pub fn init() {
    enter();
}

/// The one way in, for `init` and for the constructor.
pub(crate) fn enter() {
    if ROLE.get().is_some() {
        return;
    }
    let Some(invitation) = invitation() else {
        let _ = ROLE.set(Role { depth: 0 });
        return;
    };
    if !invitation.is_acceptable() {
        if !is_child_of(invitation.parent) {
            let _ = ROLE.set(Role { depth: 0 }); // it was for somebody else
        }
        return;
    }
    if ROLE
        .set(Role {
            depth: invitation.depth,
        })
        .is_ok()
    {
        worker::serve(invitation.parent, &invitation.handed_on, &invitation.name);
    }
}

/// What this process is, once it has been through [`enter`].
pub(crate) fn role() -> Result<Role, PoolError> {
    let role = ROLE.get().copied().ok_or(PoolError::NotInitialized)?;
    if !is_as_called() {
        let words = "a program that runs with other rights than its caller's cannot have workers";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, words).into());
    }
    match role.depth < DEEPEST {
        true => Ok(role),
        false => Err(PoolError::TooDeep {
            depth: role.depth,
            limit: DEEPEST,
        }),
    }
}

/// What a parent has said to its worker-to-be.
struct Invitation {
    depth: u32,
    parent: u32,
    /// Descriptors that come with `exec`, and are not for a worker.
    handed_on: Vec<i32>,
    /// May be empty.
    name: String,
}

fn invitation() -> Option<Invitation> {
    let value = std::env::var_os(VARIABLE)?;
    sys::worker::forget_variable(VARIABLE);
    parse(value.to_str()?)
}

impl Invitation {
    fn is_acceptable(&self) -> bool {
        let stdin = rustix::fs::fstat(io::stdin().as_fd());
        let is_socket =
            stdin.is_ok_and(|stdin| FileType::from_raw_mode(stdin.st_mode) == FileType::Socket);
        is_as_called() && is_socket
    }
}

/// This process has the rights of whoever called it.
fn is_as_called() -> bool {
    getuid() == geteuid() && getgid() == getegid()
}

/// This process was started by the process `parent`, which still lives.
pub(crate) fn is_child_of(parent: u32) -> bool {
    rustix::process::getppid().map(Pid::as_raw_pid) == i32::try_from(parent).ok()
}

fn parse(value: &str) -> Option<Invitation> {
    let mut numbers = value.splitn(5, ',');
    let version: u64 = numbers.next()?.parse().ok()?;
    let depth = numbers.next()?.parse().ok()?;
    let parent = numbers.next()?.parse().ok()?;
    let list = numbers.next()?.split_terminator('.');
    let handed_on = list
        .map(|number| number.parse().ok())
        .collect::<Option<_>>()?;
    let name = numbers.next()?.to_owned();
    (version == wire::VERSION).then_some(Invitation {
        depth,
        parent,
        handed_on,
        name,
    })
}

/// What to put into a worker's environment.
pub(crate) fn variable(role: Role, handed_on: &[i32], name: &str) -> String {
    let list: String = handed_on
        .iter()
        .map(|number| format!("{number}."))
        .collect();
    format!(
        "{},{},{},{list},{name}",
        wire::VERSION,
        role.depth + 1,
        std::process::id()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invitation_is_read_as_it_was_written() {
        for (name, list) in [("", vec![]), ("A", vec![3]), ("a, b,", vec![7, 19, 4])] {
            let read = parse(&variable(Role { depth: 3 }, &list, name)).unwrap();
            assert_eq!(read.handed_on, list);
            assert_eq!((read.depth, read.parent), (4, std::process::id()));
            assert_eq!(read.name, name);
        }
        for nonsense in [
            "",
            "3",
            "3,2",
            "3,1,1",
            "x,1,1,",
            "999,1,1,",
            "3,-1,1,",
            "3,1,1,x.,",
        ] {
            assert!(parse(nonsense).is_none(), "{nonsense}");
        }
    }
}
