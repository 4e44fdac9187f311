//! Writes to pipes that nobody reads, without `SIGPIPE`.
//!
//! **Job.** Such a write is an error, and a signal besides, which ends the process unless it is ignored. `std` has it
//! ignored before `main`; but a host may not be Rust's, and programs that want to end with whoever reads their output
//! put the default back. Sockets can be asked not to raise it; pipes cannot.
//!
//! **Protocol.** ([`quietly`])
//! 1. Block the signal on this thread. It is the writer's: raised by the write, and pending here alone.
//! 2. Write. If the pipe is broken and the signal was not pending before, take it out.
//! 3. Put the thread's mask back.
//!
//! That costs two system calls, so who writes often asks first whether the signal [is deadly](is_deadly).
//!
//! **Invariants.**
//! - **Y97** The C library's calls get pointers to what lives in the caller's frame or none, and the sets that they fill
//!   are not read before they have succeeded.
//!
//! Tests: `tests/process/channel.rs`.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::ptr;

use libc::{SIG_BLOCK, SIG_DFL, SIG_SETMASK, SIGPIPE, sigset_t};
use rustix::io::Errno;

/// It would end this process.
pub(crate) fn is_deadly() -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: Y97: nothing is installed, and what is filled in is in this frame.
    if unsafe { libc::sigaction(SIGPIPE, ptr::null(), action.as_mut_ptr()) } != 0 {
        return false;
    }
    // SAFETY: Y97: the call has succeeded, so it has filled it in.
    let action = unsafe { action.assume_init() };
    action.sa_sigaction == SIG_DFL
}

/// Does what `write` does, and no signal comes of it.
pub(crate) fn quietly<T>(write: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    let Some(alone) = alone() else {
        return write();
    };
    let mut before = MaybeUninit::<sigset_t>::uninit();
    // SAFETY: Y97: both sets are in this frame; the mask is this thread's own.
    if unsafe { libc::pthread_sigmask(SIG_BLOCK, &raw const alone, before.as_mut_ptr()) } != 0 {
        return write();
    }
    // SAFETY: Y97: the call has succeeded, so it has filled it in.
    let before = unsafe { before.assume_init() };
    // Only who has it blocked can have it pending.
    let was_pending = contains(&before) && is_pending();
    let result = write();
    if matches!(result, Err(Errno::PIPE)) && !was_pending {
        let now = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: Y97: set and time are in this frame, and nothing is to be filled in.
        let _ = unsafe { libc::sigtimedwait(&raw const alone, ptr::null_mut(), &raw const now) };
    }
    // SAFETY: Y97: the set is in this frame: the mask that this thread had.
    let _ = unsafe { libc::pthread_sigmask(SIG_SETMASK, &raw const before, ptr::null_mut()) };
    result
}

/// The set of this signal.
fn alone() -> Option<sigset_t> {
    let mut set = MaybeUninit::<sigset_t>::uninit();
    // SAFETY: Y97: it fills in a set in this frame.
    if unsafe { libc::sigemptyset(set.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: Y97: the call has succeeded, so it has filled it in.
    let mut set = unsafe { set.assume_init() };
    // SAFETY: Y97: a set in this frame, which has been filled in.
    let added = unsafe { libc::sigaddset(&raw mut set, SIGPIPE) };
    (added == 0).then_some(set)
}

/// It waits for this thread, or for any, to let it in.
fn is_pending() -> bool {
    let mut set = MaybeUninit::<sigset_t>::uninit();
    // SAFETY: Y97: it fills in a set in this frame.
    if unsafe { libc::sigpending(set.as_mut_ptr()) } != 0 {
        return true; // and is left alone
    }
    // SAFETY: Y97: the call has succeeded, so it has filled it in.
    contains(&unsafe { set.assume_init() })
}

fn contains(set: &sigset_t) -> bool {
    // SAFETY: Y97: a set that has been filled in, borrowed for the call.
    unsafe { libc::sigismember(set, SIGPIPE) == 1 }
}
