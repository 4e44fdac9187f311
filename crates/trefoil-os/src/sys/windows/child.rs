//! A child process by its handle, and a bell that is rung when it has ended.
//!
//! The handle names this child and no other process, even if the system reuses its number. As long
//! as the handle is open the status can be asked for: no other code can take it away.
//!
//! 1. A thread of the system waits for the handles of all children, and rings a child's bell when
//!    the child has ended. A bell is a socket, so a poller can wait for it; it is rung once and
//!    stays ready.
//! 2. The wait is ended before its bell is dropped.
//!
//! - **Y62** The system calls `ring` at most once, with the bell that `End::of` registered. The
//!   bell is in an `Arc` that the wait owns, and `UnregisterWaitEx` returns when no call is under
//!   way and none will follow.
//! - **Y63** The handle of a process is open while its `Id` exists, and has the rights that a
//!   parent has. The wait for it ends before it is closed.
//!
//! Rejected: a thread for each child. It would wait for that child alone.
//!
//! Tests: `tests/io/child_processes.rs`.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::io::{self, Result};
use std::os::windows::io::{AsHandle, AsRawHandle, AsSocket, BorrowedSocket, OwnedHandle};
use std::os::windows::process::ExitStatusExt;
use std::process::ExitStatus;
use std::ptr::null_mut;
use std::sync::Arc;

use windows_sys::Win32::Foundation::{
    HANDLE, INVALID_HANDLE_VALUE, STATUS_ACCESS_DENIED, STATUS_FATAL_APP_EXIT,
    STATUS_INVALID_IMAGE_HASH, STATUS_STACK_BUFFER_OVERRUN, STATUS_VIRUS_DELETED,
    STATUS_VIRUS_INFECTED, WAIT_OBJECT_0, WAIT_TIMEOUT,
};
use windows_sys::Win32::System::Threading::{
    GetExitCodeProcess, INFINITE, RegisterWaitForSingleObject, TerminateProcess, UnregisterWaitEx,
    WT_EXECUTEINWAITTHREAD, WT_EXECUTEONLYONCE, WaitForSingleObject,
};

use super::bell::Bell;

/// The system calls that may be refused: the one that watches a child, and the one that ends it.
pub const CALLS: [&str; 2] = ["RegisterWaitForSingleObject", "TerminateProcess"];

/// The exit status of a child that was killed, the same that `std` uses.
pub(crate) const KILLED: u32 = 1;

/// The error of calls on children.
pub type Error = io::Error;

/// Whether neither the child nor its status exists any more: never, while its handle is open.
pub fn is_gone(_error: &Error) -> bool {
    false
}

/// Whether the child has ended and other code has fetched its status: never here.
pub fn is_lost(_error: &Error) -> bool {
    false
}

/// What can be sent to a process. This system can only end it.
#[derive(Debug, Clone, Copy)]
pub struct Signal;

impl Signal {
    /// Ends the process.
    pub const KILL: Self = Self;
    /// Ends the process as `KILL` does: this system cannot ask it to end.
    pub const TERM: Self = Self;
    /// Ends the process as `KILL` does.
    pub const INT: Self = Self;
}

/// The number of the signal that ended the process: this system has none.
pub fn signal_of(_status: ExitStatus) -> Option<i32> {
    None
}

/// Whether the process ended itself, as the allocator does when there is no memory. (`abort` ends a
/// process with `STATUS_STACK_BUFFER_OVERRUN`.)
pub fn is_abort(code: Option<i32>, _signal: Option<i32>) -> bool {
    code.is_some_and(|code| [STATUS_STACK_BUFFER_OVERRUN, STATUS_FATAL_APP_EXIT].contains(&code))
}

/// Whether the system may have ended the process because a policy or a virus scanner forbids it.
pub fn is_unwanted(code: Option<i32>, _signal: Option<i32>) -> bool {
    const REASONS: [i32; 4] = [
        STATUS_ACCESS_DENIED,
        STATUS_INVALID_IMAGE_HASH,
        STATUS_VIRUS_DELETED,
        STATUS_VIRUS_INFECTED,
    ];
    code.is_some_and(|code| REASONS.contains(&code))
}

/// The handle of a child, which names it.
#[derive(Debug, Clone)]
pub struct Id(Arc<OwnedHandle>);

impl Id {
    /// The name of the process with this number: `None`, for a number is not enough here.
    pub fn from_raw(_number: i32) -> Option<Self> {
        None
    }
}

/// The name of a child that `std` has started.
pub fn id(child: &std::process::Child) -> Result<Id> {
    let handle = child.as_handle().try_clone_to_owned()?;
    Ok(Id(Arc::new(handle)))
}

/// A child process.
#[derive(Debug)]
pub struct Handle {
    /// Dropped before the handle that it waits for.
    end: End,
    id: Id,
}

impl Handle {
    /// A handle of the child, which has not been reaped.
    pub fn open(id: Id) -> Result<Self> {
        let end = End::of(&id)?;
        Ok(Self { end, id })
    }

    /// The status of the child if it has ended; `None` while it runs.
    pub fn fetch(&self) -> Result<Option<ExitStatus>> {
        fetch_by_id(&self.id)
    }

    /// No tracer keeps the status of a child here.
    #[must_use]
    pub fn traced_status(&self, _number: u32) -> Option<ExitStatus> {
        None
    }

    /// Ends the child.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        signal_by_id(&self.id, signal)
    }

    /// Always: what stands for the child and its job here are handles, and no numbers.
    pub fn has_its_number(&self) -> bool {
        true
    }
}

impl AsSocket for Handle {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        self.end.bell.as_socket()
    }
}

/// The status of a child by its name; see [`Handle::fetch`].
pub fn fetch_by_id(id: &Id) -> Result<Option<ExitStatus>> {
    // SAFETY: Y63.
    match unsafe { WaitForSingleObject(id.0.as_raw_handle(), 0) } {
        WAIT_OBJECT_0 => {}
        WAIT_TIMEOUT => return Ok(None),
        _ => return Err(io::Error::last_os_error()),
    }
    let mut code = 0;
    // SAFETY: Y63; the code is a local variable.
    match unsafe { GetExitCodeProcess(id.0.as_raw_handle(), &raw mut code) } {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(Some(ExitStatus::from_raw(code))),
    }
}

/// Ends a child by its name; see [`Handle::signal`]. For a child that has ended this is not an
/// error.
pub fn signal_by_id(id: &Id, _signal: Signal) -> Result<()> {
    // SAFETY: Y63.
    if unsafe { TerminateProcess(id.0.as_raw_handle(), KILLED) } != 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    // Refused to the parent, which has all rights: it is about to end. (So says `std`, too.)
    let ends = error.kind() == io::ErrorKind::PermissionDenied;
    match fetch_by_id(id) {
        Ok(Some(_)) => Ok(()),
        Ok(None) if ends => Ok(()),
        _ => Err(error),
    }
}

/// The system's wait for the end of a process, and the bell that it rings.
#[derive(Debug)]
struct End {
    bell: Arc<Bell>,
    wait: HANDLE,
}

// SAFETY: Y62: any thread may use the handle of a wait, and it is used once, when it is dropped.
unsafe impl Send for End {}
// SAFETY: Y62: a shared reference gives access to the bell only, which any thread may use.
unsafe impl Sync for End {}

impl End {
    fn of(id: &Id) -> Result<Self> {
        let bell = Arc::new(Bell::new()?);
        let mut wait = null_mut();
        let how = WT_EXECUTEONLYONCE | WT_EXECUTEINWAITTHREAD;
        let context = Arc::as_ptr(&bell).cast();
        // SAFETY: Y62, Y63.
        let registered = unsafe {
            RegisterWaitForSingleObject(
                &raw mut wait,
                id.0.as_raw_handle(),
                Some(ring),
                context,
                INFINITE,
                how,
            )
        };
        match registered {
            0 => Err(io::Error::last_os_error()),
            _ => Ok(Self { bell, wait }),
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        // SAFETY: Y62: `of` has made the wait, and only this drop ends it.
        unsafe { UnregisterWaitEx(self.wait, INVALID_HANDLE_VALUE) };
    }
}

/// Rings the bell of a process that has ended. The system calls this.
unsafe extern "system" fn ring(bell: *mut c_void, _timed_out: bool) {
    // SAFETY: Y62: the pointer is the one that `End::of` registered.
    let bell = unsafe { &*bell.cast::<Bell>() };
    bell.ring();
}
