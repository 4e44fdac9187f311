//! What a process hangs by: when it is cut, or its holder is gone, the kernel kills that process.
//!
//! **Job.** To end a child where a signal cannot: before its first line (it cannot have asked the
//! kernel for a parent-death signal yet), or when its parent has no right to signal it any more.
//! The kernel does it, so it does not matter what the child does meanwhile, or whether it has been
//! stopped.
//!
//! **Protocol.** A pair of sockets through which nothing is ever sent. The child's end is set to
//! send its owner a signal when something happens to it (`O_ASYNC`), the signal is `SIGKILL`
//! (`F_SETSIG`), the owner the child (`F_SETOWN`). The one thing that can happen is that the other
//! end, which the parent has, is closed or shut down. The right to send that signal was
//! checked, and noted by the kernel, when the owner was set. The child's end must stay open: it
//! lies in a message to the child from then on, and then with the child. (In the parent alone it
//! might be closed first.)
//!
//! Where the kernel or a filter knows nothing of this, nothing happens when it is cut.
//!
//! - **Y27** `fcntl` with these commands takes numbers, for a descriptor that is open.
//!
//! Rejected: the signal on a socket or a pipe that is there anyway, since whatever is sent through
//! it would be the end.
//!
//! Tests: below; `tests/environments/`.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use libc::c_int;
use rustix::net::{Shutdown, shutdown};
use rustix::process::{Pid, Signal};

use crate::sys::child::Handle;
use crate::sys::refused::refused;

/// Not in `libc` for every C library; the same number on each kind of Linux.
const F_SETSIG: c_int = 10;

/// The parent's end.
#[derive(Debug)]
pub(crate) struct Lifeline(OwnedFd);

impl Lifeline {
    /// For the child `pid`, which has not been reaped; and the end that the child is to have.
    pub(crate) fn tie(pid: Pid) -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = UnixStream::pair().map_err(refused("socketpair"))?;
        for (command, value) in [
            (F_SETSIG, Signal::KILL.as_raw()),
            (libc::F_SETOWN, pid.as_raw_nonzero().get()),
            (libc::F_SETFL, libc::O_ASYNC),
        ] {
            // SAFETY: Y27: it is open, and no other code has it yet.
            unsafe { libc::fcntl(theirs.as_raw_fd(), command, value) };
        }
        Ok((Self(ours.into()), theirs.into()))
    }

    /// The end of the child.
    pub(crate) fn cut(&self) {
        let _ = shutdown(&self.0, Shutdown::Both);
    }
}

/// This process is to end with the thread that started it: the kernel sees to that, at any time.
/// (Where that is refused the stream's end and the lifeline do it, nearly as soon.) So there is
/// nothing to watch.
pub(crate) fn hold_on(_parent: u32) -> Option<Handle> {
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    None
}

#[cfg(all(test, not(any(loom, miri))))]
#[allow(clippy::disallowed_methods)] // a child of the test's
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Child, Command};

    fn sleeper() -> (Child, Pid) {
        let child = Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = Pid::from_raw(child.id() as i32).unwrap();
        (child, pid)
    }

    #[test]
    fn a_stopped_process_ends_when_its_lifeline_is_cut_or_gone() {
        for is_cut in [true, false] {
            let (mut child, pid) = sleeper();
            let (lifeline, theirs) = Lifeline::tie(pid).unwrap();
            rustix::process::kill_process(pid, Signal::STOP).unwrap();
            match is_cut {
                true => lifeline.cut(),
                false => drop(lifeline),
            }
            assert_eq!(child.wait().unwrap().signal(), Some(9));
            drop(theirs);
        }
    }

    #[test]
    fn no_process_ends_without_it() {
        let (mut child, pid) = sleeper();
        let (lifeline, theirs) = Lifeline::tie(pid).unwrap();
        drop(theirs); // what is closed first sends nothing
        drop(lifeline);
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
