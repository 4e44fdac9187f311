//! A lifeline: when its other end is closed, by the parent or because the parent is gone, the
//! kernel kills the child.
//!
//! **Job.** Ends a child where a signal cannot: before its first line (when it cannot have asked
//! the kernel for a parent-death signal yet), or when its parent has no right to signal it any
//! more. The kernel does it, so it does not matter what the child does meanwhile, or whether it has
//! been stopped.
//!
//! **Protocol.** It is a pair of sockets through which nothing is ever sent. The child's end is set
//! to send its owner a signal when something happens to it (`O_ASYNC`); the signal is `SIGKILL`
//! (`F_SETSIG`), and the owner is the child (`F_SETOWN`). The only thing that can happen is that
//! the other end, which the parent has, is closed or shut down. The kernel checked and noted the
//! right to send that signal when the owner was set. The child's end must stay open: at first it is
//! in a message to the child, then in the child. (If only the parent had it, it might be closed
//! first.)
//!
//! Where the kernel or a filter does not support this, nothing happens when the other end is
//! closed.
//!
//! - **H27** `fcntl` with these commands takes numbers, for a descriptor that is open.
//!
//! Rejected: setting the signal on a socket or pipe that exists anyway, because anything sent
//! through it would kill the child.
//!
//! Tests: below; `tests/environments/main.rs::{a_worker_that_hangs_before_init_is_no_orphan,
//! workers_that_may_not_be_signalled_end_all_the_same}`.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use libc::c_int;
use rustix::net::{Shutdown, shutdown};
use rustix::process::{Pid, Signal};

use crate::sys::child::Handle;
use crate::sys::refused::failed;

/// Not in `libc` for every C library; the same number on each kind of Linux.
const F_SETSIG: c_int = 10;

/// The parent's end.
#[derive(Debug)]
pub struct Lifeline(OwnedFd);

impl Lifeline {
    /// Makes a lifeline for the child `pid`. Returns the parent's end and the end that the child
    /// must get. `None`: the child has been reaped, and its number may be another process's.
    pub fn tie(pid: Pid, child: &Handle) -> io::Result<Option<(Self, OwnedFd)>> {
        let (ours, theirs) = UnixStream::pair().map_err(failed("socketpair"))?;
        let set = |command: c_int, value: c_int| {
            // SAFETY: H27: the descriptor is open, and no other code has it yet.
            unsafe { libc::fcntl(theirs.as_raw_fd(), command, value) };
        };
        set(F_SETSIG, Signal::KILL.as_raw());
        set(libc::F_SETOWN, pid.as_raw_nonzero().get());
        // If the number is the child's now, it was when the owner was set.
        if !child.has_its_number() {
            return Ok(None);
        }
        set(libc::F_SETFL, libc::O_ASYNC);
        Ok(Some((Self(ours.into()), theirs.into())))
    }

    /// Kills the child.
    pub fn cut(&self) {
        let _ = shutdown(&self.0, Shutdown::Both);
    }
}

/// Makes the kernel kill this process when the thread that started it ends. (If the kernel refuses,
/// the end of the stream and the lifeline do it, nearly as soon.) So there is nothing to watch.
pub fn hold_on(_parent: u32) -> Option<Handle> {
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    None
}

#[cfg(all(test, not(any(loom, miri))))]
#[allow(clippy::disallowed_methods)] // a child of the test's
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Child, Command};

    fn sleeper() -> (Child, Pid, Handle) {
        let child = Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = Pid::from_raw(child.id() as i32).unwrap();
        (child, pid, Handle::open(pid).unwrap())
    }

    #[test]
    fn a_number_whose_process_was_reaped_gets_none() {
        let (mut gone, _, handle) = sleeper();
        gone.kill().unwrap();
        gone.wait().unwrap();
        // Another process has the number, as it seems.
        let (mut other, pid, _) = sleeper();
        assert!(Lifeline::tie(pid, &handle).unwrap().is_none());
        assert!(other.try_wait().unwrap().is_none(), "it was killed");
        other.kill().unwrap();
        other.wait().unwrap();
    }

    #[test]
    fn a_stopped_process_ends_when_its_lifeline_is_cut_or_gone() {
        for is_cut in [true, false] {
            let (mut child, pid, handle) = sleeper();
            let (lifeline, theirs) = Lifeline::tie(pid, &handle).unwrap().unwrap();
            rustix::process::kill_process(pid, Signal::STOP).unwrap();
            if is_cut {
                lifeline.cut();
            } else {
                drop(lifeline);
            }
            assert_eq!(child.wait().unwrap().signal(), Some(9));
            drop(theirs);
        }
    }

    #[test]
    fn no_process_ends_without_it() {
        let (mut child, pid, handle) = sleeper();
        let (lifeline, theirs) = Lifeline::tie(pid, &handle).unwrap().unwrap();
        drop(theirs); // the end that is closed first sends no signal
        drop(lifeline);
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
