//! A child process by a descriptor that is readable once it has ended: a `kqueue` that was asked
//! for that.
//!
//! The number stays the child's until its status is fetched, so everything else goes by the number.
//! A handle that has fetched the status does not use the number any more. (Code of the host that
//! waits for any child takes the status and the number away: then a signal could meet another
//! process. Only a descriptor of the process itself would rule that out.)
//!
//! - **Y44** `kevent` reads changes that are in this frame, and is given no room for events.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::event::kqueue::{Event, EventFilter, EventFlags, ProcessEvents, kevent, kqueue};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::{Errno, FdFlags, Result, fcntl_setfd, retry_on_intr};
use rustix::process::{WaitOptions, kill_process, test_kill_process, waitpid};

use crate::loom::atomic::{AtomicBool, Ordering};
use crate::sys::poll::poll;

pub(crate) use crate::sys::unix::child_id::*;

/// The end may be told a moment before there is a status: how long to wait for that, and how often.
const MOMENT: Duration = Duration::from_millis(1);
const MOMENTS: u32 = 50;

/// The calls that may be refused: to open one, to signal.
pub(crate) const CALLS: [&str; 2] = ["kqueue", "kill"];

/// A child process.
#[derive(Debug)]
pub(crate) struct Handle {
    end: OwnedFd,
    pid: Id,
    /// Its status was fetched here.
    gone: AtomicBool,
}

impl Handle {
    /// Of the child with this number, which has not been waited for. `SRCH`: not even a zombie is
    /// left.
    pub(crate) fn open(pid: Id) -> Result<Self> {
        let end = match watch(pid) {
            // Some systems say so of a zombie, too.
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

    /// Its status if it has ended, which is then gone; `None` while it runs.
    pub(crate) fn fetch(&self) -> Result<Option<ExitStatus>> {
        let mut status = fetch_by_id(&self.pid);
        for _ in 0..MOMENTS {
            if !matches!(status, Ok(None)) || !self.has_ended() {
                break;
            }
            if let Ok(moment) = Timespec::try_from(MOMENT) {
                let _ = rustix::thread::nanosleep(&moment);
            }
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

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        if self.gone.load(Ordering::Relaxed) {
            return Ok(());
        }
        kill_process(self.pid, signal)
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }
}

/// Readable once it has ended.
fn watch(pid: Id) -> Result<OwnedFd> {
    let queue = kqueue()?;
    fcntl_setfd(&queue, FdFlags::CLOEXEC)?;
    let filter = EventFilter::Proc {
        pid,
        flags: ProcessEvents::EXIT,
    };
    let change = Event::new(filter, EventFlags::ADD, std::ptr::null_mut());
    let mut none: [Event; 0] = [];
    // SAFETY: Y44: one change, in this frame, of a process by its number.
    unsafe { kevent(&queue, &[change], &mut none, None) }?;
    Ok(queue)
}

/// Readable now and for ever.
fn ended() -> Result<OwnedFd> {
    let (read, _write) = rustix::pipe::pipe()?;
    fcntl_setfd(&read, FdFlags::CLOEXEC)?;
    Ok(read)
}

/// As [`Handle::fetch`], by its number.
pub(crate) fn fetch_by_id(pid: &Id) -> Result<Option<ExitStatus>> {
    // (`waitid` of macOS does not tell the signal that has ended a process.)
    let status = retry_on_intr(|| waitpid(Some(*pid), WaitOptions::NOHANG))?;
    Ok(status.map(|(_, status)| ExitStatus::from_raw(status.as_raw())))
}
