//! `init`: how a process detects that it is a worker.
//!
//! A pool starts its workers by executing the program's file (`sys::executable`), the very one that
//! the parent runs, with the same arguments. Such a process must serve instead of running its
//! `main`. So either `main` begins with [`init`], or the feature `auto` adds a constructor that
//! runs before `main`; both call this file.
//!
//! **Protocol.**
//! 1. The parent puts [`VARIABLE`] into the worker's environment, an *invitation*: the name of the
//!    copy of this crate that it is for (`sys::image`), depth, the parent's process id, the
//!    descriptors that every child inherits, and the worker's name if it has one. The socket is the
//!    worker's standard input. (A worker on another machine has its stream in two descriptors:
//!    `wire::invitation`.)
//! 2. Without the variable, [`enter`] records that this program's workers would get here, and
//!    returns. Only after that may a pool be made ([`depth`]): a program that never gets here
//!    starts no process, rather than processes that start processes. So `init` records nothing
//!    where a worker could not begin: on a thread other than the first (a test harness runs its
//!    tests there), or beside other threads.
//! 3. With an invitation for this copy, `enter` first removes it, so that processes started by a
//!    task do not inherit it, then serves and never returns. A process that cannot accept (for the
//!    reasons above; because its `main` has replaced standard input before `init`; or because it
//!    runs with other rights than its caller's, and the caller of such a program must not choose
//!    what it executes) prints why and exits, because the rest of `main` must not run in it.
//! 4. With an invitation for another copy (two versions of this crate in one program), `enter`
//!    leaves it for that copy's `enter`, and adopts the depth. Until the other has accepted, this
//!    one makes no pool.
//! 5. A worker that makes a pool passes on its depth plus one, up to [`DEEPEST`].
//!
//! An invitation that names another parent is stale, and ignored: it was for an ancestor that could
//! not remove it because it had other threads. The first three parts of the variable are the same
//! in all versions of this crate.
//!
//! **Orphans.** A worker whose parent is gone has another parent, and must not run `main` either.
//! It is known by its standard input: the kernel has noted which process made that pair of sockets,
//! and keeps the number when that process is gone. A socket of another process, or one that has no
//! process at the other end (TCP), is no parent's, and its program runs. Where that cannot be asked
//! (a filter), any socket counts. It always sees its parent's number: a process whose children
//! would be in another process namespace can start no thread, and a thread of ours starts the
//! workers. What cannot be told from a worker: a program with a stale invitation whose parent has
//! got the very number that is named there; it ends with a sentence, or, if its standard input is a
//! socket of that parent's, waits for a welcome. An orphan whose `main` replaced standard input
//! before `init` cannot be told from an ordinary program either.
//!
//! **Is every invitation taken?** A pool of a copy is made after that copy's `enter` has returned
//! in the parent, on the first thread. A worker is the same image with the same arguments, so its
//! `main` gets there, too, unless it looks at something that has changed in between; and a copy in
//! a library makes no pools. So it is certain that some copy takes an invitation, and that each
//! copy can pass on those of others. A `main` that does lead elsewhere makes no pools, and is
//! killed as one that is too late (`sched::workers`).
//!
//! Tests: `tests/process/pool.rs` (nesting, `NotInitialized`), `tests/process/host.rs` (threads,
//! rights, orphans), `tests/auto.rs`, `checks/tests/copies.rs` (two copies, a library).

use std::io::{self, ErrorKind};
use std::sync::OnceLock;

use super::PoolError;
use super::wire::invitation::{Invitation, VARIABLE};
use super::worker::serve::serve;
use crate::sys;
use crate::sys::image::image;
use crate::sys::{executable, itself};

/// How deep workers may make pools of their own.
const DEEPEST: u32 = 20;

/// Set once this process has been through [`enter`]. 0: it was not started by a pool; n: it is the
/// worker of a process of depth n - 1.
static DEPTH: OnceLock<u32> = OnceLock::new();

/// Makes worker processes possible: call it first in `main`.
///
/// A [`ProcessPool`](crate::ProcessPool) starts its workers by executing the program again.
/// In such a process this function serves the pool and never returns; in any other it
/// does nothing but note that workers will get here. What stands before it in `main` therefore
/// runs again in every worker, which has ten seconds of processor time for it, and may not wait for
/// anything for five seconds: one that does is taken for stuck, and what it was to run ends in
/// [`TaskError::WorkerDied`](crate::TaskError::WorkerDied), whose note says so.
///
/// It must be called on the program's first thread, before any other is started. Elsewhere (in a
/// `#[test]`, in an `async` main whose runtime has threads) it does nothing: a pool is
/// [`PoolError::NotInitialized`] then, unless the call has been made in the right place, too.
/// Calling it again, wherever, does no harm. A worker that gets here too late says so on standard
/// error and ends. Where a library starts threads before `main`, use the feature `auto`.
///
/// A worker begins with three standard streams. Other descriptors that this program hands on to
/// what it executes (those without close-on-exec: what a shell has given it, what a C library has
/// opened) it closes here; what stands before this call in `main`, or before `main`, may have
/// opened in the worker itself stays open.
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
    enter(check_threads);
}

/// A worker may begin on this thread, and beside those that there are; or why not.
fn check_threads() -> Result<(), &'static str> {
    if !itself::is_first_thread() {
        return Err("`trefoil::init()` must be called on the program's first thread");
    }
    match itself::is_alone() {
        Some(false) => {
            Err("`trefoil::init()` must be called first in `main`: other threads run already")
        }
        Some(true) | None => Ok(()),
    }
}

/// The one way in, for `init` and for the constructor.
pub(super) fn enter(check_threads: fn() -> Result<(), &'static str>) {
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
        sys::worker::ends("begin", &OTHER_BUILD);
    }
    let depth = invitation.as_ref().map_or(0, |invitation| invitation.depth);
    let ours = invitation.filter(Invitation::is_ours);
    match (threads, ours) {
        (Ok(()), None) => drop(DEPTH.set(depth)),
        (Err(_), None) => {}
        (threads, Some(ours)) => {
            if let Err(why) = threads.and_then(|()| acceptable(&ours)) {
                sys::worker::ends("begin", &why);
            }
            if DEPTH.set(depth).is_ok() {
                sys::worker::forget_variable(VARIABLE);
                #[cfg(feature = "slurm")]
                if let Some(address) = &ours.dials {
                    super::machines::holder::hold(&ours, address);
                }
                serve(&ours);
            }
        }
    }
}

/// How deep this process is, if it may make pools.
pub(crate) fn depth() -> Result<u32, PoolError> {
    let refused = |kind, words: &str| Err(io::Error::new(kind, words).into());
    if let Err(words) = image().starts_again() {
        return refused(ErrorKind::Unsupported, words);
    }
    let depth = *DEPTH.get().ok_or(PoolError::NotInitialized)?;
    if !is_as_called() {
        return refused(ErrorKind::PermissionDenied, OTHER_RIGHTS);
    }
    if Invitation::read().is_some_and(|invitation| !invitation.is_ours()) {
        let words = "this process is to be a worker of another copy of trefoil in this program, whose `init` comes first";
        return refused(ErrorKind::Other, words);
    }
    match depth < DEEPEST {
        true => Ok(depth),
        false => Err(PoolError::TooDeep {
            depth,
            limit: DEEPEST,
        }),
    }
}

/// A pool's workers that are on other machines must be the program that the pool is in.
pub(crate) const OTHER_BUILD: &str =
    "the executable here is another build of the program than the one that starts it";

const OTHER_RIGHTS: &str = "a program that runs with other rights than its caller's \
    (set-user-id, file capabilities) cannot have workers, nor be one";

/// This process can be a worker; or why not.
fn acceptable(invitation: &Invitation) -> Result<(), &'static str> {
    match (is_as_called(), invitation.has_stream()) {
        (false, _) => Err(OTHER_RIGHTS),
        (true, _) if invitation.dials.is_some() => Ok(()),
        (_, false) if invitation.stream.is_some() => {
            Err("its stream was closed before `trefoil::init()`")
        }
        (_, false) => Err("its standard input was replaced before `trefoil::init()`"),
        _ => Ok(()),
    }
}

/// This process has its caller's rights, and has never had others.
fn is_as_called() -> bool {
    sys::worker::has_callers_ids() && !itself::has_other_rights()
}

#[cfg(all(test, not(feature = "auto")))] // with it, there is nothing left to do
mod tests {
    use super::*;

    #[test]
    fn init_in_a_test_of_a_harness_is_refused_in_words() {
        init();
        let refused = super::super::ProcessPool::with_workers(1).unwrap_err();
        assert!(matches!(refused, PoolError::NotInitialized), "{refused}");
        assert!(refused.to_string().contains("`auto`"), "{refused}");
    }
}
