//! A child process by its handle, and a bell that is rung when it has ended.
//!
//! The handle names this child and no other process, whatever happens to its number, and its status
//! can be asked for as long as it is open: no other code can take it away.
//!
//! 1. A thread of the system's waits for the handles of all children, and rings a child's bell when
//!    it has ended. A bell is a socket, so it can be waited for as everything else; it is rung once
//!    and stays so.
//! 2. Before a bell goes, that wait is ended.
//!
//! - **Y62** The system calls the function at most once, with the bell that it was given. The bell
//!   is in an `Arc` that the wait owns, and `UnregisterWaitEx` returns when no call is under way
//!   and none will follow.
//! - **Y63** The handle of a process is open while its `Id` is there, and has the rights that a
//!   parent has. What waits for it is dropped first.
//!
//! Rejected: a thread for each child.
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

/// The calls that may be refused: to watch one, to end it.
pub(crate) const CALLS: [&str; 2] = ["RegisterWaitForSingleObject", "TerminateProcess"];

/// The status of a child that was killed, as `std` has it.
pub(super) const KILLED: u32 = 1;

/// What a call fails with.
pub(crate) type Error = io::Error;

/// There is no such child any more, not even its status: never, while its handle is open.
pub(crate) fn is_gone(_error: &Error) -> bool {
    false
}

/// It has ended, and its status was fetched elsewhere: never.
pub(crate) fn is_lost(_error: &Error) -> bool {
    false
}

/// What can be sent to a process: nothing but its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signal;

impl Signal {
    pub(crate) const KILL: Self = Self;
    /// It cannot be asked.
    pub(crate) const TERM: Self = Self;
}

/// The signal that has ended it: there is none.
pub(crate) fn signal_of(_status: ExitStatus) -> Option<i32> {
    None
}

/// It has ended itself, as the allocator does when there is no memory. (`abort` fails fast.)
pub(crate) fn is_abort(code: Option<i32>, _signal: Option<i32>) -> bool {
    code.is_some_and(|code| [STATUS_STACK_BUFFER_OVERRUN, STATUS_FATAL_APP_EXIT].contains(&code))
}

/// Whether a process may have been ended by the system, which does not want it to run.
pub(crate) fn is_unwanted(code: Option<i32>, _signal: Option<i32>) -> bool {
    const REASONS: [i32; 4] = [
        STATUS_ACCESS_DENIED,
        STATUS_INVALID_IMAGE_HASH,
        STATUS_VIRUS_DELETED,
        STATUS_VIRUS_INFECTED,
    ];
    code.is_some_and(|code| REASONS.contains(&code))
}

/// Names a child.
#[derive(Debug, Clone)]
pub(crate) struct Id(Arc<OwnedHandle>);

/// Of a child that `std` has started.
pub(crate) fn id(child: &std::process::Child) -> Result<Id> {
    let handle = child.as_handle().try_clone_to_owned()?;
    Ok(Id(Arc::new(handle)))
}

/// A child process.
#[derive(Debug)]
pub(crate) struct Handle {
    /// Dropped before the handle that it waits for.
    end: End,
    id: Id,
}

impl Handle {
    pub(crate) fn open(id: Id) -> Result<Self> {
        let end = End::of(&id)?;
        Ok(Self { end, id })
    }

    /// Its status if it has ended; `None` while it runs.
    pub(crate) fn fetch(&self) -> Result<Option<ExitStatus>> {
        fetch_by_id(&self.id)
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        signal_by_id(&self.id, signal)
    }
}

impl AsSocket for Handle {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        self.end.bell.as_socket()
    }
}

/// As [`Handle::fetch`].
pub(crate) fn fetch_by_id(id: &Id) -> Result<Option<ExitStatus>> {
    // SAFETY: Y63.
    match unsafe { WaitForSingleObject(id.0.as_raw_handle(), 0) } {
        WAIT_OBJECT_0 => {}
        WAIT_TIMEOUT => return Ok(None),
        _ => return Err(io::Error::last_os_error()),
    }
    let mut code = 0;
    // SAFETY: Y63; the code is in this frame.
    match unsafe { GetExitCodeProcess(id.0.as_raw_handle(), &raw mut code) } {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(Some(ExitStatus::from_raw(code))),
    }
}

/// As [`Handle::signal`]. A child that has ended is left in peace.
pub(crate) fn signal_by_id(id: &Id, _signal: Signal) -> Result<()> {
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

/// The wait for the end of a process.
#[derive(Debug)]
struct End {
    bell: Arc<Bell>,
    wait: HANDLE,
}

// SAFETY: Y62: the handle of a wait may be used by any thread, and is used once: at the drop.
unsafe impl Send for End {}
// SAFETY: Y62: through a shared reference only the bell is used, which any thread may.
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
        // SAFETY: Y62: made by `of`, and ended once.
        unsafe { UnregisterWaitEx(self.wait, INVALID_HANDLE_VALUE) };
    }
}

/// A process has ended.
unsafe extern "system" fn ring(bell: *mut c_void, _timed_out: bool) {
    // SAFETY: Y62: it is what `End::of` gave.
    let bell = unsafe { &*bell.cast::<Bell>() };
    bell.ring();
}
