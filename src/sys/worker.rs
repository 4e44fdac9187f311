//! What a process must do to itself to be a worker, where that is `unsafe` or
//! a platform's own.
//!
//! **Invariants.**
//! - **Y25** The functions of this file are called at the entry of a worker, on its
//!   first thread, before the worker has started any other.
//!
//! Tests: `tests/process.rs`.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::os::fd::{BorrowedFd, RawFd};

use rustix::io::FdFlags;

const SIGPIPE: c_int = 13;
const SIG_IGN: usize = 1;

unsafe extern "C" {
    /// `signal(2)`, with the handler as a word.
    fn signal(signum: c_int, handler: usize) -> usize;
}

/// Removes a variable from the environment, so that what this process starts
/// does not inherit it.
pub(crate) fn forget_variable(name: &str) {
    // SAFETY: Y25: no other thread reads or writes the environment now.
    unsafe { std::env::remove_var(name) };
}

/// A write to a pipe without a reader is an error, not death: what `std` does
/// before `main`, which a worker may not reach.
pub(crate) fn ignore_broken_pipes() {
    // SAFETY: Y25: ignoring a signal installs no handler, and nobody else
    // changes dispositions now.
    unsafe { signal(SIGPIPE, SIG_IGN) };
}

/// Closes the descriptors that came with `exec`, but for the three standard streams: those that the parent keeps open for
/// whatever it executes. What this process has opened itself before it got here has close-on-exec, if `std` has opened it.
pub(crate) fn close_inherited() {
    let Ok(open) = std::fs::read_dir("/proc/self/fd") else {
        return;
    };
    let number =
        |entry: std::io::Result<std::fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    let open: Vec<RawFd> = open.filter_map(number).collect();
    for descriptor in open.into_iter().filter(|number| *number > 2) {
        // SAFETY: Y25: it was open a moment ago, and there is no other thread to close it.
        let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
        if rustix::io::fcntl_getfd(borrowed) == Ok(FdFlags::empty()) {
            // SAFETY: Y25: at the entry nothing owns what came with `exec`; no other thread can have got the number.
            unsafe { rustix::io::close(descriptor) };
        }
    }
}
