//! Writes to pipes without raising `SIGPIPE` if they have no reader.
//!
//! **Job.** A write to a pipe without a reader is an error, and also raises a signal, which ends
//! the process unless it is ignored. `std` ignores it before `main`; but the host program may not
//! be written in Rust, and programs that want to end together with the reader of their output
//! restore the default. Sockets can be asked not to raise it; pipes cannot.
//!
//! **Protocol.** ([`quietly`])
//! 1. Block the signal on this thread. A write raises it on the writing thread, so it is pending on
//!    this thread only.
//! 2. Write. If the pipe is broken, take the signal out. (If one was pending before, in a host that
//!    blocks it, that one is taken, too: the two would have become one anyway.)
//! 3. Restore the thread's mask.
//!
//! That costs two system calls, so code that writes often checks first whether the signal [is
//! deadly](is_deadly).
//!
//! - **Y36** To set a signal's action to one that is no function installs no handler.
//! - **Y97** `sigtimedwait` reads a set and a time that are in the caller's frame, `sigwait` a set,
//!   and writes a number there.
//!
//! Tests: `tests/process/channel.rs`.
#![allow(unsafe_code)]

use libc::{SIG_BLOCK, SIG_DFL, SIG_IGN, SIG_SETMASK, SIGPIPE};
use rustix::io::Errno;

use super::signal_mask;
use crate::sys::signal;

/// Whether the signal would end this process.
pub(crate) fn is_deadly() -> bool {
    signal::action(SIGPIPE).is_ok_and(|action| action.sa_sigaction == SIG_DFL)
}

/// Ignores the signal from now on, as `std` does before `main`, which a worker may not reach.
pub(crate) fn ignore() {
    // SAFETY: Y36: it asks for nothing else.
    unsafe { libc::signal(SIGPIPE, SIG_IGN) };
}

/// Calls `write`, without raising the signal.
pub(crate) fn quietly<T>(write: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    let alone = signal_mask::set(&[SIGPIPE]);
    let masked = alone.and_then(|alone| Some((alone, signal_mask::change(SIG_BLOCK, &alone)?)));
    let result = write();
    let Some((alone, before)) = masked else {
        return result;
    };
    if matches!(result, Err(Errno::PIPE)) {
        take(&alone);
    }
    signal_mask::change(SIG_SETMASK, &before);
    result
}

/// Takes a pending signal of this set out, if there is one.
#[cfg(not(target_vendor = "apple"))]
fn take(set: &libc::sigset_t) {
    let now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: Y97: set and time are in this frame, and nothing is to be filled in.
    let _ = unsafe { libc::sigtimedwait(set, std::ptr::null_mut(), &raw const now) };
}

/// Takes a signal of this set out: one is pending, which the write has raised on this thread.
#[cfg(target_vendor = "apple")]
fn take(set: &libc::sigset_t) {
    let mut number = 0;
    // SAFETY: Y97: set and number are in this frame.
    let _ = unsafe { libc::sigwait(set, &raw mut number) };
}
