//! How a process turns itself into a worker, where that is `unsafe` or differs between systems.
//!
//! **Invariants.**
//! - **H25** The environment is changed, and descriptors that came with `exec` are closed, only
//!   after `is_alone` has returned true: no other thread runs, and only this one could start
//!   another.
//! - **H93** `_exit` runs no code of this process; `getpgid` takes and returns a number.
//! - **H26** Asking for the flags or the kind of a descriptor, or for another descriptor of the
//!   same open file, changes nothing, whatever code owns it.
//!
//! Tests: `tests/process/pool.rs::{a_worker_is_a_clean_place,
//! a_worker_leads_its_group_and_leaves_no_core_and_no_descriptor}`,
//! `tests/process/host.rs::init_does_nothing_beside_other_threads`.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use rustix::fs::FileType;
use rustix::io::FdFlags;
use rustix::process::{Pid, Resource, Rlimit, Signal, getegid, geteuid, getgid, getuid};

use super::signal_mask;
use crate::host::itself::{DESCRIPTORS, is_alone};
use crate::sys::limits::limit;
use crate::sys::peer::peer;
use crate::sys::refused::refused;
use crate::sys::stdio;

/// Removes a variable from the environment, so that children of this process do not inherit it.
/// Does nothing if there are other threads.
pub fn forget_variable(name: &str) {
    if is_alone() == Some(true) {
        // SAFETY: H25: no other thread reads or writes the environment now.
        unsafe { std::env::remove_var(name) };
    }
}

/// Unblocks all signals: the mask of the thread that started this process was not meant for it.
pub fn unblock_all_signals() {
    let none = signal_mask::set(&[]);
    none.and_then(|none| signal_mask::change(libc::SIG_SETMASK, &none));
}

/// Restores the default actions of the signals that a shell makes its background commands ignore.
pub fn restore_interrupts() {
    for signal in [libc::SIGINT, libc::SIGQUIT] {
        // SAFETY: H36: `SIG_DFL` is no function.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Standard input, duplicated to a number from `first` on, which no child inherits.
pub fn standard_input(first: RawFd) -> io::Result<OwnedFd> {
    let stream = rustix::io::fcntl_dupfd_cloexec(io::stdin().as_fd(), first);
    stream.map_err(refused("fcntl"))
}

/// Replaces standard input by an empty file.
pub fn empty_standard_input() -> io::Result<()> {
    // If there is no `/dev/null`, an empty pipe: there is nothing to read from it, either.
    let null = std::fs::File::open(stdio::NULL).map(OwnedFd::from);
    let null = null.or_else(|_| io::pipe().map(|(empty, _)| empty.into()));
    rustix::stdio::dup2_stdin(null?).map_err(refused("dup2"))
}

/// Makes standard output another handle of standard error.
pub fn join_output() -> io::Result<()> {
    rustix::stdio::dup2_stdout(io::stderr()).map_err(refused("dup2"))
}

/// Discards what this process writes to standard output.
pub fn discard_output() -> io::Result<()> {
    rustix::stdio::dup2_stdout(stdio::null()?).map_err(refused("dup2"))
}

/// Whether standard input is a socket.
pub fn has_socket() -> bool {
    is_socket(io::stdin())
}

/// Whether the stream is a socket, and not a pipe.
pub fn is_socket(stream: impl AsFd) -> bool {
    let stat = rustix::fs::fstat(stream);
    stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Socket)
}

/// Whether both are handles of one socket.
pub fn is_one_socket(one: impl AsFd, other: impl AsFd) -> bool {
    let name = |end: BorrowedFd<'_>| rustix::fs::fstat(end).map(|stat| (stat.st_dev, stat.st_ino));
    let one = one.as_fd();
    is_socket(one) && name(one).is_ok_and(|one| name(other.as_fd()) == Ok(one))
}

/// Whether the process `parent` made the pair of sockets that standard input belongs to, whether it
/// still lives or not; as far as the system can say.
pub fn is_made_by(parent: u32) -> bool {
    peer(io::stdin()).map_or(true, |peer| peer.pid.cast_unsigned() == parent)
}

/// Whether this is a socket, of a pair that the process `parent` made.
pub fn is_socket_of(stream: impl AsFd, parent: u32) -> bool {
    peer(stream).is_ok_and(|peer| peer.pid.cast_unsigned() == parent)
}

/// Whether this process was started by the process `parent`, which still lives. `None`: a filter
/// refuses the call that would show it.
pub fn is_child_of(parent: u32) -> Option<bool> {
    let known = std::os::unix::process::parent_id();
    // (The call has no errors of its own. That of a filter is a negative number, as no process
    // has.)
    i32::try_from(known).is_ok().then_some(known == parent)
}

/// Makes this process the leader of a session, and so of a group, which processes that it starts
/// belong to. A session of its own has no terminal, so none of them can be stopped because it
/// writes to the terminal of this program (`stty tostop`) or asks it for a password: it writes all
/// the same, and finds no `/dev/tty`. Where that is refused, those two signals are ignored.
pub fn lead() {
    // The leader of a group begins no session, so it goes back to its parent's group first. (Which
    // may have no number here: 0.)
    let parent = std::os::unix::process::parent_id().cast_signed();
    // SAFETY: H93: the call takes and returns a number.
    let group = unsafe { libc::getpgid(parent) };
    if let Some(group) = Pid::from_raw(group.max(0)) {
        let _ = rustix::process::setpgid(None, Some(group));
    }
    if rustix::process::setsid().is_ok() {
        return;
    }
    let _ = rustix::process::setpgid(None, None);
    for signal in [libc::SIGTTIN, libc::SIGTTOU] {
        // SAFETY: H36: `SIG_IGN` is no function.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Disables core files. (For Linux, a limit of zero bytes does not count where they go to a
/// program, and a limit of one byte does.)
pub fn leave_no_core() {
    let most = if cfg!(target_os = "linux") {
        [1, 0]
    } else {
        [0; 2]
    };
    for bytes in most.map(Some) {
        let none = Rlimit {
            current: bytes,
            maximum: bytes,
        };
        if rustix::process::setrlimit(Resource::Core, none).is_ok() {
            return;
        }
    }
}

/// Ends this process and the group that it leads.
pub fn end_all() -> ! {
    let own = rustix::process::getpid();
    if rustix::process::getpgrp() == own {
        let _ = rustix::process::kill_process_group(own, Signal::KILL);
    }
    let _ = rustix::process::kill_process(own, Signal::KILL);
    leave(1) // in case it may not signal itself
}

/// Whether this process has its caller's rights: those of the user and of the group.
pub fn has_callers_ids() -> bool {
    getuid() == geteuid() && getgid() == getegid()
}

/// Reads bytes from a stream of pipes.
pub fn read(pipe: impl AsFd, room: &mut [u8]) -> rustix::io::Result<usize> {
    rustix::io::read(pipe, room)
}

/// Writes some bytes to a stream of pipes.
pub fn write(pipe: impl AsFd, bytes: &[u8]) -> rustix::io::Result<usize> {
    rustix::io::write(pipe, bytes)
}

/// Ends this process at once, without running any more of its code.
pub fn leave(code: c_int) -> ! {
    // SAFETY: H93: the call takes a number.
    unsafe { libc::_exit(code) }
}

/// Closes the descriptors that a program which this process executes now would inherit, except the
/// three standard streams: those without close-on-exec. They came with `exec`, or were opened since
/// as if for such programs; which of the two, no call reports. (What the parent had when it started
/// this process says less: another of its threads may have opened one meanwhile.) Does nothing if
/// there are other threads.
pub fn close_inherited() {
    if is_alone() != Some(true) {
        return;
    }
    for descriptor in open_descriptors() {
        if is_handed_on(descriptor) {
            // SAFETY: H25: what is left without close-on-exec has no owner in this process (`init`
            // demands that), and no other thread can have got the number.
            unsafe { rustix::io::close(descriptor) };
        }
    }
}

/// Where the descriptors are not listed, those below this number are looked at.
const DESCRIPTORS_BELOW: u64 = 1 << 20;

/// The numbers of the open descriptors, and perhaps others.
fn open_descriptors() -> Vec<RawFd> {
    let number =
        |entry: io::Result<std::fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    let listed = std::fs::read_dir(DESCRIPTORS).into_iter().flatten();
    let listed: Vec<_> = listed.filter_map(number).collect();
    // A full list has the descriptor through which it was read.
    if listed.iter().any(|number| *number > 2) {
        listed
    } else {
        let most = limit(Resource::Nofile).ok().and_then(|limit| limit.current);
        (3..most.unwrap_or(DESCRIPTORS_BELOW).min(DESCRIPTORS_BELOW) as RawFd).collect()
    }
}

/// Duplicates the pipe or socket that came with `exec` under this number, or is standard input or
/// output, to a number from `first` on.
pub fn duplicate(number: RawFd, first: RawFd) -> io::Result<OwnedFd> {
    if !is_stream(number) {
        return Err(rustix::io::Errno::BADF.into());
    }
    // SAFETY: H26: the one call that it is borrowed for duplicates it; the number is not negative.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    Ok(rustix::io::fcntl_dupfd_cloexec(borrowed, first)?)
}

/// Whether the descriptor came with `exec`, or is standard input or output, and is a pipe or a
/// socket.
pub fn is_stream(number: RawFd) -> bool {
    // (`std` opens the three standard streams that are closed when the program begins.)
    if !matches!(number, 0 | 1) && !is_handed_on(number) {
        return false;
    }
    // SAFETY: H26: the one call that it is borrowed for asks for its kind; the number is not
    // negative.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    let kind = rustix::fs::fstat(borrowed).map(|stat| FileType::from_raw_mode(stat.st_mode));
    matches!(kind, Ok(FileType::Fifo | FileType::Socket))
}

/// Whether the descriptor is open, without close-on-exec, and none of the three standard streams.
fn is_handed_on(descriptor: RawFd) -> bool {
    if descriptor <= 2 {
        return false;
    }
    // SAFETY: H26: the one call that it is borrowed for reads its flags, and reports a number that
    // is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
    rustix::io::fcntl_getfd(borrowed) == Ok(FdFlags::empty())
}
