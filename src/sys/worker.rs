//! What a process must do to itself to be a worker, where that is `unsafe` or
//! a platform's own.
//!
//! **Invariants.**
//! - **Y25** The functions of this file are called at the entry of a worker, on its
//!   first thread, before the worker has started any other; but for `handed_on`, which looks only.
//! - **Y26** To ask for the flags of a descriptor changes nothing, whoever owns it.
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

/// How many are told to a worker.
const MOST: usize = 4096;

/// The descriptors that this process hands on to whatever it executes now, but for the three standard streams.
pub(crate) fn handed_on() -> Vec<RawFd> {
    let some = open().into_iter().filter(|number| is_handed_on(*number));
    some.take(MOST).collect()
}

/// Closes the descriptors that came with `exec`: those of `theirs`, what the parent handed on when it started this process.
/// Others without close-on-exec this process has opened itself before it got here (a constructor of a C library), and numbers
/// that the parent handed on were not to be had for that.
pub(crate) fn close_inherited(theirs: &[RawFd]) {
    for &descriptor in theirs {
        if descriptor > 2 && is_handed_on(descriptor) {
            // SAFETY: Y25: at the entry nothing owns what came with `exec`; no other thread can have got the number.
            unsafe { rustix::io::close(descriptor) };
        }
    }
}

fn open() -> Vec<RawFd> {
    let Ok(open) = std::fs::read_dir("/proc/self/fd") else {
        return Vec::new();
    };
    let number =
        |entry: std::io::Result<std::fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    open.filter_map(number)
        .filter(|number| *number > 2)
        .collect()
}

/// It is open, without close-on-exec.
fn is_handed_on(descriptor: RawFd) -> bool {
    if descriptor < 0 {
        return false;
    }
    // SAFETY: Y26: the one call that it is borrowed for asks for its flags; of a number that is not open it says so.
    let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
    rustix::io::fcntl_getfd(borrowed) == Ok(FdFlags::empty())
}
