//! What a process must do to itself to be a worker.
//!
//! Its stream is a socket that it has inherited as its standard input.
//!
//! - **Y70** At the entry standard input is what came with the start; as a socket it is looked at
//!   first, and no other code owns it.
//! - **Y71** To end this process needs nothing of it.
//! - **Y72** Another standard input is a file that is open for ever.
//! - **Y78** `NtQueryInformationProcess` fills in what it is given, of the length that is told, in
//!   this frame; all of it are numbers, and an address that nobody uses.
//!
//! Tests: `tests/process/`, under Wine.
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

use super::child::KILLED;

/// Removes a variable from the environment, so that what this process starts does not inherit it.
pub(crate) fn forget_variable(name: &str) {
    // SAFETY: Y71: the system guards the environment against other threads; nothing here reads it
    // in another way.
    unsafe { std::env::remove_var(name) };
}

/// There are no signals.
pub(crate) fn hear_all_signals() {}

/// Ends this process at once, with whatever it was about to do.
pub(crate) fn leave(code: u32) -> ! {
    // SAFETY: Y71: a name for this process, which need not be closed.
    let own = unsafe { GetCurrentProcess() };
    // SAFETY: Y71.
    unsafe { TerminateProcess(own, code) };
    std::process::abort()
}

/// Ends this process. (What it has started ends with its parent's handle of the job that they are
/// in.)
pub(crate) fn end_all() -> ! {
    leave(KILLED)
}

/// What is inherited is not known by numbers.
pub(crate) fn handed_on() -> Vec<i32> {
    Vec::new()
}

/// Nothing is known of what was inherited.
pub(crate) fn close_inherited(_handed_on: &[i32]) {}

/// A stream in two descriptors: not here.
pub(crate) fn duplicate(_number: i32, _first: i32) -> io::Result<OwnedSocket> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A stream in two descriptors: not here.
pub(crate) fn is_stream(_number: i32) -> bool {
    false
}

/// The socket that is standard input, by another number, which no child inherits. (The library for
/// sockets knows one that was inherited well enough to duplicate it; Wine's knows no more of it.)
fn stream() -> io::Result<TcpStream> {
    // That library wants to be started before it is asked about one.
    drop(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?);
    let number = io::stdin().as_raw_handle().expose_provenance();
    // SAFETY: Y70: it is not closed here, and the one call asks the system what it is.
    let inherited = ManuallyDrop::new(unsafe { TcpStream::from_raw_socket(number as u64) });
    inherited.try_clone()
}

/// The stream that is standard input, by another number, which no child inherits.
pub(crate) fn standard_input(_first: i32) -> io::Result<OwnedSocket> {
    Ok(stream()?.into())
}

/// Nothing is read from standard input any more.
pub(crate) fn empty_standard_input() -> io::Result<()> {
    let null = File::open(super::stdio::NULL)?.into_raw_handle();
    // SAFETY: Y72: it is never closed.
    match unsafe { SetStdHandle(STD_INPUT_HANDLE, null) } {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Standard input is a socket that has another end.
pub(crate) fn has_socket() -> bool {
    stream().is_ok_and(|socket| socket.peer_addr().is_ok())
}

/// Every stream is one.
pub(crate) fn is_socket(_stream: impl AsSocket) -> bool {
    true
}

/// There is nothing to ask.
pub(crate) fn is_made_by(_parent: u32) -> bool {
    true
}

/// This process was started by the process `parent`, as far as the system tells. (Whether that one
/// lives the stream tells.)
pub(crate) fn is_child_of(parent: u32) -> bool {
    let mut told = PROCESS_BASIC_INFORMATION::default();
    let length = size_of_val(&told) as u32;
    let (what, to) = (ProcessBasicInformation, (&raw mut told).cast());
    // SAFETY: Y71: a name for this process, which need not be closed.
    let own = unsafe { GetCurrentProcess() };
    // SAFETY: Y78.
    let status = unsafe { NtQueryInformationProcess(own, what, to, length, null_mut()) };
    status < 0 || told.InheritedFromUniqueProcessId == parent as usize
}

/// There are no groups: `family`.
pub(crate) fn lead() {}

/// When this process crashes, or what it starts, no dialog asks anybody what to do, for which it
/// would wait. (It leaves no file here, unless that was asked of the system.)
pub(crate) fn leave_no_core() {
    // SAFETY: Y71: a number alone.
    let mode = unsafe { GetErrorMode() };
    let quiet = SEM_FAILCRITICALERRORS | SEM_NOGPFAULTERRORBOX | SEM_NOOPENFILEERRORBOX;
    // SAFETY: Y71: a number alone.
    unsafe { SetErrorMode(mode | quiet) };
}

/// There are no others.
pub(crate) fn has_callers_ids() -> bool {
    true
}

/// Of pipes, which no stream is.
pub(crate) fn read(_pipe: impl AsSocket, _room: &mut [u8]) -> rustix::io::Result<usize> {
    Err(Errno::OPNOTSUPP)
}

/// Of pipes, which no stream is.
pub(crate) fn write(_pipe: impl AsSocket, _bytes: &[u8]) -> rustix::io::Result<usize> {
    Err(Errno::OPNOTSUPP)
}
