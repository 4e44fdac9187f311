//! A child process by a descriptor that is readable once it has ended: its pidfd.
//!
//! It names this child and no other process, whatever happens to its number.
//!
//! Tests: `tests/event_loop/children.rs`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::{Result, retry_on_intr};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus, pidfd_open, pidfd_send_signal,
    waitid,
};

/// The calls that a filter may refuse: to open one, to signal.
pub(crate) const CALLS: [&str; 2] = ["pidfd_open", "pidfd_send_signal"];

/// A child process.
#[derive(Debug)]
pub(crate) struct Handle(OwnedFd);

impl Handle {
    /// Of the child with this number, which has not been waited for. `SRCH`: not even a zombie is left.
    pub(crate) fn open(pid: Pid) -> Result<Self> {
        pidfd_open(pid, PidfdFlags::empty()).map(Self)
    }

    /// Its status if it has ended, which is then gone; `None` while it runs.
    pub(crate) fn fetch(&self) -> Result<Option<WaitIdStatus>> {
        fetch(WaitId::PidFd(self.0.as_fd()))
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        pidfd_send_signal(&self.0, signal)
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// As [`Handle::fetch`], by its number.
pub(crate) fn fetch_by_number(pid: Pid) -> Result<Option<WaitIdStatus>> {
    fetch(WaitId::Pid(pid))
}

fn fetch(child: WaitId<'_>) -> Result<Option<WaitIdStatus>> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    retry_on_intr(|| waitid(child.clone(), options))
}
