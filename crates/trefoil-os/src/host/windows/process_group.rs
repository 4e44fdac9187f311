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
//! - **H79** `GetConsoleCP` takes nothing and returns a number: zero where there is no console.
//!
//! Tests: `job`; `tests/process/one.rs::kill_takes_its_children_along`,
//! `tests/process/host.rs::{a_job_that_is_refused_is_told_and_leaves_no_process,
//! ctrl_c_reaches_the_program_and_not_its_workers}`, under Wine.
#![allow(unsafe_code)]

use std::io;
use std::os::windows::process::CommandExt;
use std::process::{Child, Command};

use windows_sys::Win32::System::Console::GetConsoleCP;
use windows_sys::Win32::System::Threading::{CREATE_NEW_PROCESS_GROUP, CREATE_NO_WINDOW};

use super::job::Job;
use crate::sys::child::Id;

/// The system call that starts a worker.
pub const STARTS: &str = "CreateProcess";

/// What may forbid the start, and where the user finds the reason.
pub const FORBIDS: &str = "its rights, a policy or a virus scanner may forbid it: look at the \
     system's event log and at the scanner's quarantine";

/// What may end a process that has just been started, and where the user finds the reason.
pub const ENDS: &str = "on the order of a policy or a virus scanner: look at the system's \
    event log and at the scanner's quarantine";

/// The job of a worker.
#[derive(Debug)]
pub struct ProcessGroup(Job);

/// Gives the child of `command` a process group of its own, which Ctrl-C does not reach. Where this
/// process has no console (a service, or a program with windows) the child gets an invisible one:
/// otherwise the system would open a window for it.
pub fn prepare(command: &mut Command) {
    // SAFETY: H79: the call takes nothing and returns a number.
    let invisible = match unsafe { GetConsoleCP() } {
        0 => CREATE_NO_WINDOW,
        _ => 0,
    };
    command.creation_flags(CREATE_NEW_PROCESS_GROUP | invisible);
}

impl ProcessGroup {
    /// A job with a child that has just been started. `None`: the child has already ended.
    pub fn of(child: &Child) -> io::Result<Option<Self>> {
        let job = Job::new()?;
        job.ends_with_us()?;
        Ok(job.adopt(child)?.then_some(Self(job)))
    }

    /// The group that a process leads: a job has no leader.
    #[must_use]
    pub fn led_by(_id: Id) -> Option<Self> {
        None
    }

    /// Ends the worker and everything that it started.
    pub fn kill(&self) {
        self.0.kill();
    }
}
