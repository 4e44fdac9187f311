//! A child process, watched by a descriptor that is readable once the child has ended: its pidfd.
//!
//! The pidfd stands for this child and no other process, even if its number is used again.
//!
//! Tests: `tests/io/children.rs`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::io::{Result, retry_on_intr};
use rustix::process::{
    PidfdFlags, WaitId, WaitIdOptions, WaitIdStatus, pidfd_open, pidfd_send_signal, waitid,
};

pub use crate::sys::unix::child_id::*;

/// The system calls that a filter may refuse: the one that opens a pidfd, and the one that sends a
/// signal.
pub const CALLS: [&str; 2] = ["pidfd_open", "pidfd_send_signal"];

/// A child process.
#[derive(Debug)]
pub struct Handle(OwnedFd);

impl Handle {
    /// The handle of the child with this number, whose status was not fetched yet. The error
    /// `SRCH`: the child does not exist, not even as a zombie.
    pub fn open(id: Id) -> Result<Self> {
        pidfd_open(id, PidfdFlags::empty()).map(Self)
    }

    /// The status of the child if it has ended, which can be fetched only once; `None` while it
    /// runs.
    pub fn fetch(&self) -> Result<Option<ExitStatus>> {
        fetch(WaitId::PidFd(self.0.as_fd()))
    }

    /// The status of a child that has ended and that a tracer keeps (a debugger, `strace`): until
    /// the tracer has fetched it, [`fetch`](Self::fetch) returns `None`. `number` is the child's,
    /// which no other process can have meanwhile.
    #[must_use]
    pub fn traced_status(&self, number: u32) -> Option<ExitStatus> {
        let stat = std::fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
        // After the name, which may contain anything, come the state and 49 numbers; the status is
        // the last of them.
        let (_, fields) = stat.rsplit_once(") ")?;
        let status = fields
            .strip_prefix("Z ")?
            .split_ascii_whitespace()
            .nth(48)?;
        status.parse().ok().map(ExitStatus::from_raw)
    }

    /// Sends the child a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        pidfd_send_signal(&self.0, signal)
    }

    /// Whether its number, and that of the group that it leads, can be no other's: the child runs,
    /// or it has ended and no code has fetched its status.
    pub fn has_its_number(&self) -> bool {
        let looks = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        retry_on_intr(|| waitid(WaitId::PidFd(self.0.as_fd()), looks)).is_ok()
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The status of a child by its number; see [`Handle::fetch`].
pub fn fetch_by_id(id: &Id) -> Result<Option<ExitStatus>> {
    fetch(WaitId::Pid(*id))
}

fn fetch(child: WaitId<'_>) -> Result<Option<ExitStatus>> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    let status = retry_on_intr(|| waitid(child.clone(), options))?;
    Ok(status.as_ref().map(in_std))
}

/// The status in `std`'s type.
fn in_std(status: &WaitIdStatus) -> ExitStatus {
    const CORE: i32 = 0x80;
    let raw = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => (code & 0xff) << 8,
        (None, Some(signal)) if status.dumped() => signal | CORE,
        (None, signal) => signal.unwrap_or_default(),
    };
    ExitStatus::from_raw(raw)
}
