//! A child process, watched by a descriptor that is readable once the child has ended: a `kqueue`.
//!
//! A child keeps its number until its status is fetched, so all other calls use the number. A
//! handle that has fetched the status does not use the number any more. (If other code of the
//! program waits for any child, it takes the status, and the number is free: then a signal could
//! reach another process. Only a descriptor of the process itself would prevent that.)
//!
//! - **Y44** `kevent` reads changes that are local variables, and is given no room for events.
//!
//! Tests: not run yet.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::thread::sleep;
use std::time::Duration;

use rustix::event::kqueue::{Event, EventFilter, EventFlags, ProcessEvents, kevent, kqueue};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::{Errno, FdFlags, Result, fcntl_setfd, retry_on_intr};
use rustix::process::{
    WaitId, WaitIdOptions, WaitOptions, kill_process, test_kill_process, waitid, waitpid,
};

use crate::loom::atomic::{AtomicBool, Ordering};
use crate::sys::bell::pipe;
use crate::sys::poll::poll;

pub use crate::sys::unix::child_id::*;

/// The exit event may precede the status; how long and how often to retry.
const MOMENT: Duration = Duration::from_millis(1);
const MOMENTS: u32 = 50;

/// The system calls that may be refused: the one that watches a child, and the one that signals it.
pub const CALLS: [&str; 2] = ["kqueue", "kill"];

/// A child process.
#[derive(Debug)]
pub struct Handle {
    end: OwnedFd,
    pid: Id,
    /// Its status was fetched through this handle.
    gone: AtomicBool,
}

impl Handle {
    /// A handle of the child with this number, whose status was not fetched yet. The error `SRCH`:
    /// the child does not exist, not even as a zombie.
    pub fn open(pid: Id) -> Result<Self> {
        let end = match register(pid) {
            // Some systems return this for a zombie, too.
            Err(Errno::SRCH) => {
                test_kill_process(pid).or_else(|error| match error {
                    Errno::PERM => Ok(()),
                    error => Err(error),
                })?;
                ended()?
            }
            end => end?,
        };
        let gone = AtomicBool::new(false);
        Ok(Self { end, pid, gone })
    }

    /// The status of the child if it has ended, which releases its number; `None` while it runs.
    pub fn fetch(&self) -> Result<Option<ExitStatus>> {
        let mut status = fetch_by_id(&self.pid);
        for _ in 0..MOMENTS {
            if !matches!(status, Ok(None)) || !self.has_ended() {
                break;
            }
            sleep(MOMENT);
            status = fetch_by_id(&self.pid);
        }
        if let Ok(Some(_)) = status {
            self.gone.store(true, Ordering::Relaxed);
        }
        status
    }

    fn has_ended(&self) -> bool {
        let mut fds = [PollFd::new(&self.end, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec::default())) == Ok(1)
    }

    /// The status of a child that has ended and that a tracer keeps: this system does not tell.
    #[must_use]
    pub fn traced_status(&self, _number: u32) -> Option<ExitStatus> {
        None
    }

    /// Sends the child a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        if self.gone.load(Ordering::Relaxed) {
            return Ok(());
        }
        kill_process(self.pid, signal)
    }

    /// Whether its number, and that of the group that it leads, can be no other's: the child runs,
    /// or it has ended and no code has fetched its status.
    pub fn has_its_number(&self) -> bool {
        let looks = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !self.gone.load(Ordering::Relaxed)
            && retry_on_intr(|| waitid(WaitId::Pid(self.pid), looks)).is_ok()
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }
}

/// A descriptor that is readable once the process has ended.
fn register(pid: Id) -> Result<OwnedFd> {
    let queue = kqueue()?; // which no child inherits: this is for `exec` alone
    fcntl_setfd(&queue, FdFlags::CLOEXEC)?;
    let filter = EventFilter::Proc {
        pid,
        flags: ProcessEvents::EXIT,
    };
    let change = Event::new(filter, EventFlags::ADD, std::ptr::null_mut());
    let mut none: [Event; 0] = [];
    // SAFETY: Y44: the change is a local variable.
    unsafe { kevent(&queue, &[change], &mut none, None) }?;
    Ok(queue)
}

/// A descriptor that is always readable, for a process that has ended.
fn ended() -> Result<OwnedFd> {
    Ok(pipe()?.0)
}

/// The status of a child by its number; see [`Handle::fetch`].
pub fn fetch_by_id(pid: &Id) -> Result<Option<ExitStatus>> {
    // (macOS's `waitid` does not report which signal has ended a process.)
    let status = retry_on_intr(|| waitpid(Some(*pid), WaitOptions::NOHANG))?;
    Ok(status.map(|(_, status)| ExitStatus::from_raw(status.as_raw())))
}
