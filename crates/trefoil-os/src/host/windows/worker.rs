//! How a process turns itself into a worker.
//!
//! Its stream is a socket that it has inherited as standard input.
//!
//! - **H70** When this code runs, standard input is still what the process was started with. The
//!   call that uses it as a socket checks its kind first, and no other code owns it.
//! - **H71** Ending this process has no precondition, nor has naming it or changing its
//!   environment.
//! - **H72** The new standard input is a file that is never closed.
//! - **H78** `NtQueryInformationProcess` fills in a local variable of the length that it is given.
//!   All fields are numbers, except one address, which no code uses.
//!
//! Tests: `tests/process/everywhere.rs::{each_death_is_of_one_item_and_says_why,
//! no_worker_outlives_its_parent}`, under Wine.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::os::windows::io::{AsRawHandle, AsSocket, FromRawSocket, IntoRawHandle, OwnedSocket};
use std::ptr::null_mut;

use rustix::io::Errno;
use windows_sys::Wdk::System::Threading::{NtQueryInformationProcess, ProcessBasicInformation};
use windows_sys::Win32::System::Console::{STD_INPUT_HANDLE, SetStdHandle};
use windows_sys::Win32::System::Diagnostics::Debug::{
    GetErrorMode, SEM_FAILCRITICALERRORS, SEM_NOGPFAULTERRORBOX, SEM_NOOPENFILEERRORBOX,
    SetErrorMode,
};
use windows_sys::Win32::System::Threading::{
    GetCurrentProcess, PROCESS_BASIC_INFORMATION, TerminateProcess,
};

use crate::sys::child::KILLED;

/// Removes a variable from the environment, so that processes that this one starts do not inherit
/// it.
pub fn forget_variable(name: &str) {
    // SAFETY: H71: the system guards the environment against other threads; no code here reads it
    // in another way.
    unsafe { std::env::remove_var(name) };
}

/// Unblocks all signals: this system has none.
pub fn unblock_all_signals() {}

/// Restores the default actions of signals: this system has none.
pub fn restore_interrupts() {}

/// Ends this process at once, without running any more of its code.
pub fn leave(code: u32) -> ! {
    // SAFETY: H71: the pseudo-handle of this process need not be closed.
    let own = unsafe { GetCurrentProcess() };
    // SAFETY: H71.
    unsafe { TerminateProcess(own, code) };
    std::process::abort()
}

/// Ends this process. (The processes that it has started end when the parent closes the handle of
/// their job.)
pub fn end_all() -> ! {
    leave(KILLED)
}

/// Closes what was inherited by accident: unknown here, so nothing.
pub fn close_inherited() {}

/// Duplicates one half of a stream that has two descriptors: no stream has two here.
pub fn duplicate(_number: i32, _first: i32) -> io::Result<OwnedSocket> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Whether the number is one half of a stream that has two descriptors: never here.
pub fn is_stream(_number: i32) -> bool {
    false
}

/// The socket that is standard input, as a duplicate that no child inherits. (The socket library
/// can duplicate an inherited socket; Wine can do no more than that with one.)
fn stream() -> io::Result<TcpStream> {
    // The socket library must be initialised before it is asked about a socket.
    drop(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?);
    let number = io::stdin().as_raw_handle().expose_provenance();
    // SAFETY: H70: the socket is not closed here, and the only call asks the system what it is.
    let inherited = ManuallyDrop::new(unsafe { TcpStream::from_raw_socket(number as u64) });
    inherited.try_clone()
}

/// The stream that is standard input, as a duplicate that no child inherits.
pub fn standard_input(_first: i32) -> io::Result<OwnedSocket> {
    Ok(stream()?.into())
}

/// Replaces standard input by the null device.
pub fn empty_standard_input() -> io::Result<()> {
    let null = File::open(crate::sys::stdio::NULL)?.into_raw_handle();
    // SAFETY: H72: the file is never closed.
    match unsafe { SetStdHandle(STD_INPUT_HANDLE, null) } {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Makes standard output another handle of standard error: no stream is standard output here.
pub fn join_output() -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Discards what this process writes to standard output: its parent does that here.
pub fn discard_output() -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Whether standard input is a connected socket.
pub fn has_socket() -> bool {
    stream().is_ok_and(|socket| socket.peer_addr().is_ok())
}

/// Whether the stream is a socket, and not a pipe: always here.
pub fn is_socket(_stream: impl AsSocket) -> bool {
    true
}

/// Whether both are handles of one socket: this system does not say.
pub fn is_one_socket<T>(_one: &T, _other: &T) -> bool {
    false
}

/// Whether this is a socket, of a pair that the process `parent` made: there are no pairs.
pub fn is_socket_of<T>(_stream: &T, _parent: u32) -> bool {
    false
}

/// Whether the process `parent` made the stream: this system cannot say, so always true.
pub fn is_made_by(_parent: u32) -> bool {
    true
}

/// Whether this process was started by the process `parent`. `None`: the system does not say. (The
/// stream shows whether that process still lives.)
pub fn is_child_of(parent: u32) -> Option<bool> {
    let mut info = PROCESS_BASIC_INFORMATION::default();
    let length = size_of_val(&info) as u32;
    let (what, to) = (ProcessBasicInformation, (&raw mut info).cast());
    // SAFETY: H71: the pseudo-handle of this process need not be closed.
    let own = unsafe { GetCurrentProcess() };
    // SAFETY: H78.
    let status = unsafe { NtQueryInformationProcess(own, what, to, length, null_mut()) };
    (status >= 0).then_some(info.InheritedFromUniqueProcessId == parent as usize)
}

/// Makes this process the leader of a group: this system has jobs instead (`process_group`).
pub fn lead() {}

/// A crash of this process, or of one that it starts, shows no dialog, which would wait for a user.
/// (This system writes no core file unless the administrator asked for it.)
pub fn leave_no_core() {
    // SAFETY: H71: the call takes and returns a number.
    let mode = unsafe { GetErrorMode() };
    let quiet = SEM_FAILCRITICALERRORS | SEM_NOGPFAULTERRORBOX | SEM_NOOPENFILEERRORBOX;
    // SAFETY: H71: the call takes and returns a number.
    unsafe { SetErrorMode(mode | quiet) };
}

/// Whether this process has its caller's rights: there are no others here.
pub fn has_callers_ids() -> bool {
    true
}

/// Reads from a stream of pipes: no stream is one here.
pub fn read(_pipe: impl AsSocket, _room: &mut [u8]) -> rustix::io::Result<usize> {
    Err(Errno::OPNOTSUPP)
}

/// Writes to a stream of pipes: no stream is one here.
pub fn write(_pipe: impl AsSocket, _bytes: &[u8]) -> rustix::io::Result<usize> {
    Err(Errno::OPNOTSUPP)
}
