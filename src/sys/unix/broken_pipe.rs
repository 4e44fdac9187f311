//! Writes to pipes that have no reader, without `SIGPIPE`.
//!
//! **Job.** Such a write is an error, and a signal besides, which ends the process unless it is
//! ignored. `std` has it ignored before `main`; but a host may not be Rust's, and programs that
//! want to end with the reader of their output put the default back. Sockets can be asked not to
//! raise it; pipes cannot.
//!
//! **Protocol.** ([`quietly`])
//! 1. Block the signal on this thread. It is the writer's: raised by the write, and pending here
//!    alone.
//! 2. Write. If the pipe is broken, take the signal out. (One that was pending before, of a host
//!    that blocks it, goes with it: the two would have become one anyway.)
//! 3. Put the thread's mask back.
//!
//! That costs two system calls, so code that writes often asks first whether the signal [is
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

/// It would end this process.
pub(crate) fn is_deadly() -> bool {
    signal::action(SIGPIPE).is_ok_and(|action| action.sa_sigaction == SIG_DFL)
}

/// Ignored from now on: what `std` does before `main`, which a worker may not reach.
pub(crate) fn ignore() {
    // SAFETY: Y36: it asks for nothing else.
    unsafe { libc::signal(SIGPIPE, SIG_IGN) };
}

/// Does what `write` does, and no signal comes of it.
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

/// Takes a signal of this set out, if one is pending.
#[cfg(not(target_vendor = "apple"))]
fn take(set: &libc::sigset_t) {
    let now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: Y97: set and time are in this frame, and nothing is to be filled in.
    let _ = unsafe { libc::sigtimedwait(set, std::ptr::null_mut(), &raw const now) };
}

/// Takes a signal of this set out: the one that the write has raised on this thread is pending.
#[cfg(target_vendor = "apple")]
fn take(set: &libc::sigset_t) {
    let mut number = 0;
    // SAFETY: Y97: set and number are in this frame.
    let _ = unsafe { libc::sigwait(set, &raw mut number) };
}
