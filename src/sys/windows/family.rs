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
//! - **Y79** `GetConsoleCP` takes nothing and gives a number: zero where there is no console.
//!
//! Tests: `job`; `tests/process/one.rs`, `host.rs` (what is refused; Ctrl-C), under Wine.
#![allow(unsafe_code)]

use std::io;
use std::os::windows::process::CommandExt;
use std::process::{Child, Command};

use windows_sys::Win32::System::Console::GetConsoleCP;
use windows_sys::Win32::System::Threading::{CREATE_NEW_PROCESS_GROUP, CREATE_NO_WINDOW};

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

/// Gives the child of `command` a process group of its own, which Ctrl-C does not reach. Where this
/// process has no console, as a service or a program with windows, the child gets one that is not
/// seen: otherwise the system would open a window for it.
pub(crate) fn prepare(command: &mut Command) {
    // SAFETY: Y79.
    let unseen = match unsafe { GetConsoleCP() } {
        0 => CREATE_NO_WINDOW,
        _ => 0,
    };
    command.creation_flags(CREATE_NEW_PROCESS_GROUP | unseen);
}

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
