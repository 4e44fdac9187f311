//! The signal mask of a thread: which signals it blocks.
//!
//! - **H37** A thread's mask is its own, whatever other threads do. The C library's calls get
//!   pointers to sets that are local variables of the caller, and a set that a call fills in is
//!   read only after the call has succeeded.
//!
//! Tests: `tests/process/channel.rs`,
//! `tests/environments/main.rs::a_worker_hears_all_signals_and_has_its_programs_name`.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::mem::MaybeUninit;

use libc::sigset_t;

/// The set of these signals.
pub(super) fn set(signals: &[c_int]) -> Option<sigset_t> {
    let mut set = MaybeUninit::<sigset_t>::uninit();
    // SAFETY: H37: the set is a local variable.
    if unsafe { libc::sigemptyset(set.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: H37: the call has succeeded, so it has filled in the set.
    let mut set = unsafe { set.assume_init() };
    let mut all = signals.iter();
    // SAFETY: H37: the set is a local variable that was filled in.
    let added = all.all(|signal| unsafe { libc::sigaddset(&raw mut set, *signal) } == 0);
    added.then_some(set)
}

/// Changes this thread's mask by a set, as `how` says (`SIG_BLOCK`, `SIG_SETMASK`). Returns the
/// previous mask.
pub(super) fn change(how: c_int, set: &sigset_t) -> Option<sigset_t> {
    let mut before = MaybeUninit::<sigset_t>::uninit();
    // SAFETY: H37: the set is borrowed for the call, and the old mask is a local variable.
    if unsafe { libc::pthread_sigmask(how, set, before.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: H37: the call has succeeded, so it has filled in the mask.
    Some(unsafe { before.assume_init() })
}
