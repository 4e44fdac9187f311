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
//! - **H36** Setting a signal's action to one that is no function installs no handler.
//! - **H97** `sigtimedwait` reads a set and a time, which are local variables of the caller.
//!
//! Tests: `tests/process/channel.rs`.
#![allow(unsafe_code)]

use libc::{SIG_DFL, SIG_IGN, SIGPIPE};
use rustix::io::Errno;

#[cfg(not(target_vendor = "apple"))]
use super::signal_mask;
use crate::sys::signal;

/// Whether a write without a reader ends the process.
pub fn is_deadly() -> bool {
    signal::action(SIGPIPE).is_ok_and(|action| action.sa_sigaction == SIG_DFL)
}

/// Ignores `SIGPIPE` from now on, as `std` does before `main`, which a worker may not reach.
pub fn ignore() {
    // SAFETY: H36: `SIG_IGN` is no function.
    unsafe { libc::signal(SIGPIPE, SIG_IGN) };
}

/// Calls `write`. (macOS raises the signal on the process, so another thread would get it: only
/// `F_SETNOSIGPIPE` for the pipe would help. Nothing calls this: there are no channels,
/// `channel_files`.)
#[cfg(target_vendor = "apple")]
pub fn quietly<T>(write: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    write()
}

/// Calls `write`, without raising the signal.
#[cfg(not(target_vendor = "apple"))]
pub fn quietly<T>(write: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    let alone = signal_mask::set(&[SIGPIPE]);
    let masked =
        alone.and_then(|alone| Some((alone, signal_mask::change(libc::SIG_BLOCK, &alone)?)));
    let result = write();
    let Some((alone, before)) = masked else {
        return result;
    };
    if matches!(result, Err(Errno::PIPE)) {
        remove_pending(&alone);
    }
    signal_mask::change(libc::SIG_SETMASK, &before);
    result
}

/// Removes a pending signal of this set, if there is one.
#[cfg(not(target_vendor = "apple"))]
fn remove_pending(set: &libc::sigset_t) {
    let now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: H97: set and time are local variables, and the call fills in nothing.
    let _ = unsafe { libc::sigtimedwait(set, std::ptr::null_mut(), &raw const now) };
}
