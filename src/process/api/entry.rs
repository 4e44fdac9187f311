//! `init`: how a process detects that it is a worker, and that a program without it has none.
//!
//! A pool starts its workers by executing the file that the parent runs (`host::executable`), with
//! the same arguments. Such a process must serve instead of running its `main`. So either `main`
//! begins with [`init`], or the feature `auto` adds a constructor that runs before `main`; both
//! call [`enter`].
//!
//! **Protocol.**
//! 1. The parent puts an *invitation* into the worker's environment ([`VARIABLE`],
//!    `wire::invitation`): the copy of this crate that it is for (`host::image`), depth, the
//!    parent's process id, the worker's name. The socket is standard input.
//! 2. Without an invitation, `enter` records that it was called, where a worker could begin: on the
//!    first thread, with no other running. Only after that may a pool be made ([`depth`]): a
//!    program that never calls it starts no process, instead of processes that run `main` and start
//!    further ones.
//! 3. With an invitation for this copy, `enter` removes it, so that processes started by a task do
//!    not inherit it, then serves and never returns. A process that cannot serve ([`acceptable`])
//!    prints why and exits, because the rest of `main` must not run in it.
//! 4. With an invitation for another copy (two versions of this crate in one program), `enter`
//!    leaves it for that copy, and adopts the depth. Until the other has accepted, this one makes
//!    no pool.
//! 5. A worker that makes a pool passes on its depth plus one, up to [`DEEPEST`].
//!
//! An invitation that names another parent is stale, and ignored: it was meant for an ancestor that
//! could not remove it. An orphan, whose parent is gone, is recognised by its standard input: the
//! kernel remembers which process made that socket. `docs/internals/decisions/invitation.md` says
//! why each invitation is accepted by some copy, and which two cases cannot be distinguished.
//!
//! Tests: `tests/process/pool.rs::{without_init_nothing_is_started, nested_pools_end_in_words}`,
//! `tests/process/host.rs::{init_does_nothing_beside_other_threads,
//! a_program_with_capabilities_has_no_workers_and_is_none}`, `tests/auto.rs`,
//! `tests/trefoil-checks/tests/copies.rs`.

use std::io::{self, ErrorKind};
use std::sync::OnceLock;

use crate::chaos;
use crate::process::PoolError;
use crate::process::launch::raw_program::{self, Program};
use crate::process::limits::DEEPEST;
use crate::process::wire::invitation::{Invitation, VARIABLE};
use crate::process::worker::parent_stream::end_process;
use crate::process::worker::serve::serve;
use trefoil_os::host::image::image;
use trefoil_os::host::worker::{forget_variable, unblock_all_signals};
use trefoil_os::host::{executable, itself};

/// Set once [`enter`] has been called in this process. 0: it was not started by a pool; n: it is
/// the worker of a process of depth n - 1.
static DEPTH: OnceLock<u32> = OnceLock::new();

/// Makes worker processes possible: call it first in `main`.
///
/// A [`ProcessPool`](crate::ProcessPool) starts its workers by executing the program again. In such
/// a process this function serves the pool and never returns; in any other it only records that it
/// was called. The code before it in `main` therefore runs again in every worker. It may use ten
/// seconds of processor time, and may not wait for anything for five seconds (a launcher's has
/// thirty in all): a worker that takes longer counts as stuck, and its tasks end in
/// [`TaskError::WorkerDied`](crate::TaskError::WorkerDied), whose note says so.
///
/// It must be called on the program's first thread, before any other is started. Elsewhere (in a
/// `#[test]`, in an `async` main whose runtime has threads) it records nothing, and making a pool
/// fails with [`PoolError::NotInitialized`], unless `init` has also been called in the right place.
/// Calling it again, wherever, does no harm. A worker that gets here too late reports it on
/// standard error and ends. Where a library starts threads before `main`, use the feature `auto`.
///
/// A worker begins with three standard streams. This function closes all other descriptors without
/// close-on-exec: those that the worker has inherited (from a shell or a C library for example),
/// and those that code before this call has opened in the same way, because the system does not
/// distinguish them. So what such code keeps for itself must have close-on-exec, as everything has
/// that Rust's library opens.
///
/// The variable `TREFOIL_WORKER` makes a process a worker, or calls a function of the program
/// ([`Program::entry`](crate::process::launch::Program::entry)). Like `LD_PRELOAD`, it is trusted:
/// the one who sets the environment of a program decides what it runs. A program with other rights
/// than its caller's is no worker: it prints why, and ends.
///
/// With the feature `auto` the call is not needed: for tests, and for programs that keep
/// `#[tokio::main]`. [This page](crate::_documentation::how_a_worker_starts) says what differs.
///
/// ```
/// use trefoil::ProcessPool;
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     trefoil::init();
///     let procs = ProcessPool::with_workers(1)?;
///     assert_eq!(procs.spawn(6, |x: u64| x * 7).join()?, 42);
///     Ok(())
/// }
/// ```
pub fn init() {
    enter(check_threads);
}

/// Whether a worker may begin on this thread, and with the other threads that run; or why not.
fn check_threads() -> Result<(), &'static str> {
    if !itself::is_first_thread() {
        return Err("`trefoil::init()` must be called on the program's first thread");
    }
    if itself::is_alone() == Some(false) {
        return Err(
            "`trefoil::init()` must be called first in `main`: other threads are already \
                running",
        );
    }
    Ok(())
}

/// What `init` and the constructor call.
pub(in crate::process) fn enter(check_threads: fn() -> Result<(), &'static str>) {
    if DEPTH.get().is_some() {
        return;
    }
    executable::note();
    let threads = check_threads();
    let invitation = Invitation::read();
    if invitation
        .as_ref()
        .is_some_and(Invitation::is_of_another_build)
    {
        end_process("begin", &OTHER_BUILD);
    }
    let depth = invitation.as_ref().map_or(0, |invitation| invitation.depth);
    let ours = invitation.filter(Invitation::is_ours);
    match (threads, ours) {
        (Ok(()), None) => drop(DEPTH.set(depth)),
        (Err(_), None) => {}
        (threads, Some(ours)) => {
            if let Err(why) = threads.and_then(|()| acceptable(&ours)) {
                end_process("begin", &why);
            }
            if DEPTH.set(depth).is_ok() {
                forget_variable(VARIABLE);
                chaos::in_worker();
                match ours.entry {
                    Some(offset) => call(offset, &ours),
                    None => serve(&ours),
                }
            }
        }
    }
}

/// Calls the function that the invitation names, and exits with the code that it returns. What it
/// starts is as deep as what the pool starts.
fn call(offset: u64, invitation: &Invitation) -> ! {
    unblock_all_signals();
    let program = Program {
        depth: invitation.depth.saturating_sub(1),
        variables: Vec::new(),
        workers: None,
        left_free: 0,
        shares: false,
        discards: invitation.discards,
    };
    match raw_program::enter(offset, &program, &invitation.name) {
        Some(code) => std::process::exit(code),
        None => end_process("begin", &"its invitation names no function of this program"),
    }
}

/// The depth of this process, if it may make pools.
pub(crate) fn depth() -> Result<u32, PoolError> {
    let refused = |kind, message: &str| Err(io::Error::new(kind, message).into());
    if let Err(message) = image().starts_again() {
        return refused(ErrorKind::Unsupported, message);
    }
    let depth = *DEPTH.get().ok_or(PoolError::NotInitialized)?;
    if !is_as_called() {
        return refused(ErrorKind::PermissionDenied, OTHER_RIGHTS);
    }
    if Invitation::read().is_some_and(|invitation| !invitation.is_ours()) {
        let message = "this process was started as a worker of another copy of trefoil in this \
            program, whose `init` must come first";
        return refused(ErrorKind::Other, message);
    }
    if depth < DEEPEST {
        Ok(depth)
    } else {
        Err(PoolError::TooDeep {
            depth,
            limit: DEEPEST,
        })
    }
}

/// Workers must be the same build of the program as their pool, wherever they are.
pub(crate) const OTHER_BUILD: &str =
    "the executable here is another build of the program, not the build that starts it";

const OTHER_RIGHTS: &str = "a program that runs with other rights than its caller's (set-user-id, \
    file capabilities) can neither have workers nor be one";

const NO_STREAM: &str = "its standard input or output is neither a pipe nor a socket: the program \
    that starts it must pass on its own, as `docker run -i` does, and not attach a terminal";

/// Whether this process can be a worker; or why not.
fn acceptable(invitation: &Invitation) -> Result<(), &'static str> {
    if !is_as_called() {
        return Err(OTHER_RIGHTS);
    }
    if invitation.entry.is_some() || invitation.has_stream() {
        return Ok(());
    }
    Err(match invitation.stream {
        Some([0, 1]) => NO_STREAM,
        Some(_) => "its stream was closed before `trefoil::init()`",
        None => "its standard input was replaced before `trefoil::init()`",
    })
}

/// Whether this process has its caller's rights, and has never had others.
fn is_as_called() -> bool {
    trefoil_os::host::worker::has_callers_ids() && !itself::has_other_rights()
}

#[cfg(all(test, not(feature = "auto")))] // with it, there is nothing left to do
mod tests {
    use super::*;

    #[test]
    fn init_in_a_test_of_a_harness_fails_with_an_explanation() {
        init();
        let refused = crate::process::ProcessPool::with_workers(1).unwrap_err();
        assert!(matches!(refused, PoolError::NotInitialized), "{refused}");
        assert!(refused.to_string().contains("`auto`"), "{refused}");
    }
}
