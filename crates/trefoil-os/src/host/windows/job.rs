//! Job objects: groups of processes that end together, or that share a limit.
//!
//! - **H68** A job's handle is open while the `Job` exists, and the data of a call is a local
//!   variable whose length the call is given.
//! - **H69** The handle of a process is open while it is borrowed. The pseudo-handle of this
//!   process need not be closed.
//!
//! Tests: below; `tests/process/host.rs::a_job_that_is_refused_is_told_and_leaves_no_process`,
//! `tests/process/one.rs::what_its_function_started_ends_with_it`, under Wine.
#![allow(unsafe_code)]

use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::process::Child;

use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::System::JobObjects::{
    AssignProcessToJobObject, CreateJobObjectW, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
    JOB_OBJECT_LIMIT_PROCESS_MEMORY, JOBOBJECT_EXTENDED_LIMIT_INFORMATION,
    JobObjectExtendedLimitInformation, SetInformationJobObject, TerminateJobObject,
};
use windows_sys::Win32::System::Threading::GetCurrentProcess;

use crate::sys::child::{KILLED, fetch_by_id, id};
use crate::sys::refused::refused;

/// A job object, which no child inherits.
#[derive(Debug)]
pub(super) struct Job(OwnedHandle);

impl Job {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: H68: the call takes null for the attributes and the name.
        let job = unsafe { CreateJobObjectW(std::ptr::null(), std::ptr::null()) };
        if job.is_null() {
            return Err(refused("CreateJobObject")(io::Error::last_os_error()));
        }
        // SAFETY: H68: the handle was made just now.
        Ok(Self(unsafe { OwnedHandle::from_raw_handle(job) }))
    }

    /// Makes the system end all processes of the job when its last handle is closed.
    pub(super) fn ends_with_us(&self) -> io::Result<()> {
        let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
        limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
        self.set(&limits)
    }

    /// Limits how many bytes each process of the job can commit; `None`: no limit.
    pub(super) fn allow(&self, bytes: Option<usize>) -> io::Result<()> {
        let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
        if let Some(bytes) = bytes {
            limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_PROCESS_MEMORY;
            limits.ProcessMemoryLimit = bytes;
        }
        self.set(&limits)
    }

    fn set(&self, limits: &JOBOBJECT_EXTENDED_LIMIT_INFORMATION) -> io::Result<()> {
        let length = size_of_val(limits) as u32;
        let limits = std::ptr::from_ref(limits).cast();
        let what = JobObjectExtendedLimitInformation;
        // SAFETY: H68.
        match unsafe { SetInformationJobObject(self.0.as_raw_handle(), what, limits, length) } {
            0 => Err(refused("SetInformationJobObject")(
                io::Error::last_os_error(),
            )),
            _ => Ok(()),
        }
    }

    /// Puts a child into the job. `false`: the child has already ended.
    pub(super) fn adopt(&self, child: &Child) -> io::Result<bool> {
        let ended = || matches!(id(child).and_then(|id| fetch_by_id(&id)), Ok(Some(_)));
        match self.assign(child.as_raw_handle()) {
            Ok(()) => Ok(true),
            Err(_) if ended() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Puts this process into the job, with everything that it starts later.
    pub(super) fn enter(&self) -> io::Result<()> {
        // SAFETY: H69.
        self.assign(unsafe { GetCurrentProcess() })
    }

    fn assign(&self, process: HANDLE) -> io::Result<()> {
        // SAFETY: H68, H69.
        match unsafe { AssignProcessToJobObject(self.0.as_raw_handle(), process) } {
            0 => Err(refused("AssignProcessToJobObject")(
                io::Error::last_os_error(),
            )),
            _ => Ok(()),
        }
    }

    /// Ends all processes of the job.
    pub(super) fn kill(&self) {
        // SAFETY: H68.
        unsafe { TerminateJobObject(self.0.as_raw_handle(), KILLED) };
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // children of the test's
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// A process that waits for input.
    fn child() -> Child {
        let mut command = Command::new("cmd");
        let command = command.stdin(Stdio::piped()).stdout(Stdio::null());
        command.spawn().unwrap()
    }

    #[test]
    fn a_job_that_cannot_be_nested_is_an_error_and_an_ended_child_is_none() {
        let [outer, inner, other] = [(); 3].map(|()| Job::new().unwrap());
        let (mut one, mut two) = (child(), child());
        assert!(outer.adopt(&one).unwrap() && inner.adopt(&one).unwrap());
        assert!(other.adopt(&two).unwrap());
        // `inner` belongs to `outer`, in which `two` is not.
        let error = inner.adopt(&two).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        let call = "AssignProcessToJobObject";
        assert!(error.to_string().contains(call), "{error}");
        outer.kill();
        assert!(!one.wait().unwrap().success());
        assert!(!Job::new().unwrap().adopt(&one).unwrap(), "it has ended");
        two.kill().unwrap();
        two.wait().unwrap();
    }
}
