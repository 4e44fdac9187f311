//! What a process must do to itself to be a worker, where that is `unsafe` or
//! a platform's own.
//!
//! **Invariants.**
//! - **Y25** The environment is changed, and a descriptor that came with `exec` is closed, where
//!   `is_alone` has just said so: no other thread runs anything, and only this one could start
//!   another.
//! - **Y93** `_exit` runs no code of this process.
//! - **Y26** To ask for the flags of a descriptor, or its kind, or for another one of the same open
//!   file, changes nothing, whatever code owns it.
//!
//! Tests: `tests/process/pool.rs`, `tests/process/host.rs`.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use rustix::fs::FileType;
use rustix::io::FdFlags;
use rustix::process::{Pid, Resource, Rlimit, Signal, getegid, geteuid, getgid, getuid};

use super::signal_mask;
use crate::sys::itself::{DESCRIPTORS, is_alone};
use crate::sys::peer::peer;
use crate::sys::refused::refused;

/// The end of a process that should be a worker and cannot. A protocol that has not begun, or
/// cannot be written, has no reader; standard error has.
pub(crate) fn ends(before: &str, why: &dyn std::fmt::Display) -> ! {
    let _ = io::Write::write_fmt(
        &mut io::stderr(),
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

/// The stream that is standard input, by another number from `first` on, which no child inherits.
pub(crate) fn standard_input(first: RawFd) -> io::Result<OwnedFd> {
    let stream = rustix::io::fcntl_dupfd_cloexec(io::stdin().as_fd(), first);
    stream.map_err(refused("fcntl"))
}

/// Nothing is read from standard input any more.
pub(crate) fn empty_standard_input() -> io::Result<()> {
    // Without the one, an empty pipe: there is nothing to read there, either.
    let null = std::fs::File::open("/dev/null").map(OwnedFd::from);
    let null = null.or_else(|_| io::pipe().map(|(empty, _)| empty.into()));
    rustix::stdio::dup2_stdin(null?).map_err(refused("dup2"))
}

/// Standard input is a socket.
pub(crate) fn has_socket() -> bool {
    is_socket(io::stdin())
}

/// It is a socket, and no pipe.
pub(crate) fn is_socket(stream: impl AsFd) -> bool {
    let stat = rustix::fs::fstat(stream);
    stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Socket)
}

/// Standard input, a socket, is a pair that the process `parent` made, whether it lives or not; as
/// far as that can be asked.
pub(crate) fn is_made_by(parent: u32) -> bool {
    peer(io::stdin()).map_or(true, |peer| peer.pid.cast_unsigned() == parent)
}

/// This process was started by the process `parent`, which still lives.
pub(crate) fn is_child_of(parent: u32) -> bool {
    rustix::process::getppid().map(Pid::as_raw_pid) == i32::try_from(parent).ok()
}

/// This process leads a group, in which all is that it starts.
pub(crate) fn lead() {
    let _ = rustix::process::setpgid(None, None);
}

/// Its end leaves no file with its memory.
pub(crate) fn leave_no_core() {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let _ = rustix::process::setrlimit(Resource::Core, none);
}

/// Ends this process and the group that it leads.
pub(crate) fn end_all() -> ! {
    let own = rustix::process::getpid();
    if rustix::process::getpgrp() == own {
        let _ = rustix::process::kill_process_group(own, Signal::KILL);
    }
    let _ = rustix::process::kill_process(own, Signal::KILL);
    leave(1) // it may not even signal itself
}

/// Its caller's rights are its own: those of users and groups.
pub(crate) fn has_callers_ids() -> bool {
    getuid() == geteuid() && getgid() == getegid()
}

/// Waits for bytes from a stream of pipes.
pub(crate) fn read(pipe: impl AsFd, room: &mut [u8]) -> rustix::io::Result<usize> {
    rustix::io::read(pipe, room)
}

/// Writes some bytes to a stream of pipes.
pub(crate) fn write(pipe: impl AsFd, bytes: &[u8]) -> rustix::io::Result<usize> {
    rustix::io::write(pipe, bytes)
}

/// Ends this process at once, with whatever it was about to do.
pub(crate) fn leave(code: c_int) -> ! {
    // SAFETY: Y93: it takes a number.
    unsafe { libc::_exit(code) }
}

/// How many are told to a worker.
const MOST: usize = 4096;

/// The descriptors that this process hands on to whatever it executes now, but for the three
/// standard streams.
pub(crate) fn handed_on() -> Vec<RawFd> {
    let Ok(open) = std::fs::read_dir(DESCRIPTORS) else {
        return Vec::new();
    };
    let number =
        |entry: io::Result<std::fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    let numbers = open.filter_map(number);
    let some = numbers.filter(|number| is_handed_on(*number));
    some.take(MOST).collect()
}

/// Closes the descriptors that came with `exec`: of those that the parent has `handed_on` when it
/// started this process. Others without close-on-exec this process has opened itself before it got
/// here (a constructor of a C library), and numbers that the parent handed on were not to be had
/// for that. Leaves them beside other threads.
pub(crate) fn close_inherited(handed_on: &[RawFd]) {
    if is_alone() != Some(true) {
        return;
    }
    for &descriptor in handed_on {
        if is_handed_on(descriptor) {
            // SAFETY: Y25: at the entry nothing owns what came with `exec`; no other thread can
            // have got the number.
            unsafe { rustix::io::close(descriptor) };
        }
    }
}

/// The pipe or socket that came with `exec` under this number, by another number from `first` on.
pub(crate) fn duplicate(number: RawFd, first: RawFd) -> io::Result<OwnedFd> {
    if !is_stream(number) {
        return Err(rustix::io::Errno::BADF.into());
    }
    // SAFETY: Y26: the one call that it is borrowed for makes another descriptor of the same; it is
    // not negative.
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
    // SAFETY: Y26: the one call that it is borrowed for asks for its flags; of a number that is not
    // open it says so.
    let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
    rustix::io::fcntl_getfd(borrowed) == Ok(FdFlags::empty())
}
