//! A worker and what it starts, which are ended together: a job object.
//!
//! 1. A job is made for each worker, and the worker put into it right after its start. What it
//!    starts then is in it, too. (What it has started before, which is before its `main` has begun,
//!    is not.)
//! 2. A job ends all that is in it when its last handle is closed: this process has the only one.
//!    So no worker outlives its parent, in whatever way that ends.
//! 3. Where the system refuses to put a process into a second job (it does where the first one
//!    limits the use of windows), no worker is started, and the error names the call: a worker that
//!    could outlive its parent is worse than none.
//!
//! Tests: `job`; `tests/process/one.rs`, `host.rs` (what is refused), under Wine.

use std::io;
use std::process::{Child, Command};

use super::job::Job;

/// The call by which a worker is started.
pub(crate) const STARTS: &str = "CreateProcess";

/// What may forbid the start, and where to look.
pub(crate) const FORBIDS: &str = "its rights, a policy, or a scanner for viruses may forbid it: \
     look at the events of the system and at the scanner's quarantine";

/// What may end a process that has just been started, and where to look.
pub(crate) const ENDS: &str = "by a policy, or for a scanner for viruses: \
     look at the events of the system and at the scanner's quarantine";

/// A worker's job.
#[derive(Debug)]
pub(crate) struct Family(Job);

/// There is nothing to say before the start.
pub(crate) fn prepare(_command: &mut Command) {}

impl Family {
    /// Of a child that was started just now. `None`: it has ended.
    pub(crate) fn of(child: &Child) -> io::Result<Option<Self>> {
        let job = Job::new()?;
        job.ends_with_us()?;
        Ok(job.take(child)?.then_some(Self(job)))
    }

    /// Ends all of it.
    pub(crate) fn kill(&self) {
        self.0.kill();
    }
}
