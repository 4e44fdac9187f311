//! What a process must do to itself to be a worker, where that is `unsafe` or
//! a platform's own.
//!
//! **Invariants.**
//! - **Y25** The environment is changed, and a descriptor that came with `exec` is closed, where `is_alone` has just
//!   said so: no other thread runs anything, and only this one could start another.
//! - **Y93** `_exit` runs no code of this process.
//! - **Y26** To ask for the flags of a descriptor, or its kind, or for another one of the same open file, changes nothing, whatever
//!   code owns it.
//!
//! Tests: `tests/process/pool.rs`, `tests/process/host.rs`.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

use rustix::fs::FileType;
use rustix::io::FdFlags;

use super::signal_mask;
use crate::sys::itself::{DESCRIPTORS, is_alone};

/// The end of a process that should be a worker and cannot. A protocol that has not begun, or cannot be written, has no
/// reader; standard error has.
pub(crate) fn ends(before: &str, why: &dyn std::fmt::Display) -> ! {
    let _ = std::io::Write::write_fmt(
        &mut std::io::stderr(),
        format_args!("trefoil: a worker could not {before}: {why}\n"),
    );
    std::process::exit(1)
}

/// Removes a variable from the environment, so that what this process starts
/// does not inherit it. Leaves it beside other threads.
pub(crate) fn forget_variable(name: &str) {
    if is_alone() == Some(true) {
        // SAFETY: Y25: no other thread reads or writes the environment now.
        unsafe { std::env::remove_var(name) };
    }
}

/// No signal is blocked: the mask of the thread that started this process was not meant for it.
pub(crate) fn hear_all_signals() {
    let none = signal_mask::set(&[]);
    none.and_then(|none| signal_mask::change(libc::SIG_SETMASK, &none));
}

/// Ends this process at once, with whatever it was about to do.
pub(crate) fn leave(code: c_int) -> ! {
    // SAFETY: Y93: it takes a number.
    unsafe { libc::_exit(code) }
}

/// How many are told to a worker.
const MOST: usize = 4096;

/// The descriptors that this process hands on to whatever it executes now, but for the three standard streams.
pub(crate) fn handed_on() -> Vec<RawFd> {
    let Ok(open) = std::fs::read_dir(DESCRIPTORS) else {
        return Vec::new();
    };
    let number =
        |entry: std::io::Result<std::fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    let numbers = open.filter_map(number);
    let some = numbers.filter(|number| is_handed_on(*number));
    some.take(MOST).collect()
}

/// Closes the descriptors that came with `exec`: of those that the parent has `handed_on` when it started this process.
/// Others without close-on-exec this process has opened itself before it got here (a constructor of a C library), and numbers
/// that the parent handed on were not to be had for that. Leaves them beside other threads.
pub(crate) fn close_inherited(handed_on: &[RawFd]) {
    if is_alone() != Some(true) {
        return;
    }
    for &descriptor in handed_on {
        if is_handed_on(descriptor) {
            // SAFETY: Y25: at the entry nothing owns what came with `exec`; no other thread can have got the number.
            unsafe { rustix::io::close(descriptor) };
        }
    }
}

/// The pipe or socket that came with `exec` under this number, by another number from `first` on.
pub(crate) fn duplicate(number: RawFd, first: RawFd) -> std::io::Result<OwnedFd> {
    if !is_stream(number) {
        return Err(rustix::io::Errno::BADF.into());
    }
    // SAFETY: Y26: the one call that it is borrowed for makes another descriptor of the same; it is not negative.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    Ok(rustix::io::fcntl_dupfd_cloexec(borrowed, first)?)
}

/// It came with `exec`, and is a pipe or a socket.
pub(crate) fn is_stream(number: RawFd) -> bool {
    if !is_handed_on(number) {
        return false;
    }
    // SAFETY: Y26: the one call that it is borrowed for asks what it is; it is not negative.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    let kind = rustix::fs::fstat(borrowed).map(|stat| FileType::from_raw_mode(stat.st_mode));
    matches!(kind, Ok(FileType::Fifo | FileType::Socket))
}

/// It is open, without close-on-exec, and none of the three standard streams.
fn is_handed_on(descriptor: RawFd) -> bool {
    if descriptor <= 2 {
        return false;
    }
    // SAFETY: Y26: the one call that it is borrowed for asks for its flags; of a number that is not open it says so.
    let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
    rustix::io::fcntl_getfd(borrowed) == Ok(FdFlags::empty())
}
