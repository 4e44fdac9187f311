//! A job object, which ends a worker and everything that the worker started together.
//!
//! 1. The parent makes a job for each worker and puts the worker into it right after its start.
//!    Processes that the worker starts later are in the job, too. (A process that it starts before
//!    that, and so before its `main`, is not.)
//! 2. The system ends all processes of a job when the job's last handle is closed. Only this
//!    process has a handle, so no worker outlives its parent, however the parent ends.
//! 3. The system may refuse to put a process into a second job. (It does so if the first job limits
//!    the use of windows.) Then no worker is started, and the error names the call: a worker that
//!    could outlive its parent is worse than none.
//!
//! Tests: `job`; `tests/process/one.rs` and `host.rs` (refused calls), under Wine.

use std::io;
use std::process::{Child, Command};

use super::job::Job;

/// The system call that starts a worker.
pub(crate) const STARTS: &str = "CreateProcess";

/// What may forbid the start, and where the user finds the reason.
pub(crate) const FORBIDS: &str = "its rights, a policy, or a scanner for viruses may forbid it: \
     look at the events of the system and at the scanner's quarantine";

/// What may end a process that has just been started, and where the user finds the reason.
pub(crate) const ENDS: &str = "by a policy, or for a scanner for viruses: \
     look at the events of the system and at the scanner's quarantine";

/// The job of a worker.
#[derive(Debug)]
pub(crate) struct Family(Job);

/// Prepares the start of a worker: this system needs nothing before the start.
pub(crate) fn prepare(_command: &mut Command) {}

impl Family {
    /// A job with a child that has just been started. `None`: the child has already ended.
    pub(crate) fn of(child: &Child) -> io::Result<Option<Self>> {
        let job = Job::new()?;
        job.ends_with_us()?;
        Ok(job.take(child)?.then_some(Self(job)))
    }

    /// Ends the worker and everything that it started.
    pub(crate) fn kill(&self) {
        self.0.kill();
    }
}
