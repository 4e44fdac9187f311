//! The signal mask of a thread: which signals it blocks.
//!
//! - **Y37** A thread's mask is its own, whatever other threads there are. The C library's calls
//!   get pointers to sets in the caller's frame, and what they fill in is not read before they have
//!   succeeded.
//!
//! Tests: `tests/process/channel.rs`, `tests/environments/`.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::mem::MaybeUninit;

use libc::sigset_t;

/// The set of these signals.
pub(super) fn set(signals: &[c_int]) -> Option<sigset_t> {
    let mut set = MaybeUninit::<sigset_t>::uninit();
    // SAFETY: Y37: it fills in a set in this frame.
    if unsafe { libc::sigemptyset(set.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: Y37: the call has succeeded, so it has filled it in.
    let mut set = unsafe { set.assume_init() };
    let mut all = signals.iter();
    // SAFETY: Y37: a set in this frame, which has been filled in.
    let added = all.all(|signal| unsafe { libc::sigaddset(&raw mut set, *signal) } == 0);
    added.then_some(set)
}

/// Changes this thread's mask by a set, as `how` says (`SIG_BLOCK`, `SIG_SETMASK`). Returns the
/// previous mask.
pub(super) fn change(how: c_int, set: &sigset_t) -> Option<sigset_t> {
    let mut before = MaybeUninit::<sigset_t>::uninit();
    // SAFETY: Y37: the set is borrowed for the call, and what is filled in is in this frame.
    if unsafe { libc::pthread_sigmask(how, set, before.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: Y37: the call has succeeded, so it has filled it in.
    Some(unsafe { before.assume_init() })
}
