//! A worker and what it starts, which are ended together: a job object.
//!
//! 1. A job is made for each worker, and the worker put into it right after its start. What it
//!    starts then is in it, too. (What it has started before, which is before its `main` has begun,
//!    is not.)
//! 2. A job ends all that is in it when its last handle is closed: this process has the only one.
//!    So no worker outlives its parent, in whatever way that ends.
//! 3. Where the system refuses to put a process into a second job (before Windows 8, inside of
//!    another job), there is none: then the end of the worker's stream ends the worker, and what it
//!    has started lives on.
//!
//! - **Y68** A job's handle is open while the `Family` is there, and what it is told is in this
//!   frame, of the length that is told.
//! - **Y69** The handle of a child is open while it is borrowed.
//!
//! Tests: `tests/process/one.rs`, under Wine.
#![allow(unsafe_code)]

use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::process::{Child, Command};

use windows_sys::Win32::System::JobObjects::{
    AssignProcessToJobObject, CreateJobObjectW, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION, JobObjectExtendedLimitInformation,
    SetInformationJobObject, TerminateJobObject,
};

use super::child::KILLED;

/// A job object.
#[derive(Debug)]
pub(crate) struct Family(OwnedHandle);

/// There is nothing to say before the start.
pub(crate) fn prepare(_command: &mut Command) {}

impl Family {
    /// Of a child that was started just now. `None`: the system refuses.
    pub(crate) fn of(child: &Child) -> Option<Self> {
        // SAFETY: Y68: no name, no attributes.
        let job = unsafe { CreateJobObjectW(std::ptr::null(), std::ptr::null()) };
        if job.is_null() {
            return None;
        }
        // SAFETY: Y68: it was made just now.
        let job = unsafe { OwnedHandle::from_raw_handle(job) };
        let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
        limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
        let length = size_of_val(&limits) as u32;
        // SAFETY: Y68.
        let limited = unsafe {
            SetInformationJobObject(
                job.as_raw_handle(),
                JobObjectExtendedLimitInformation,
                (&raw const limits).cast(),
                length,
            )
        };
        // SAFETY: Y68, Y69.
        let assigned =
            unsafe { AssignProcessToJobObject(job.as_raw_handle(), child.as_raw_handle()) };
        (limited != 0 && assigned != 0).then_some(Self(job))
    }

    /// Ends all of it.
    pub(crate) fn kill(&self) {
        // SAFETY: Y68.
        unsafe { TerminateJobObject(self.0.as_raw_handle(), KILLED) };
    }
}
