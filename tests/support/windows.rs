//! What the tests do to other processes, and ask about them, by the system's own calls.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr::null_mut;

use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, HANDLE, INVALID_HANDLE_VALUE, STATUS_ACCESS_VIOLATION,
    STATUS_STACK_BUFFER_OVERRUN, SetLastError, WAIT_TIMEOUT,
};
use windows_sys::Win32::System::Console::{
    CTRL_C_EVENT, FreeConsole, GenerateConsoleCtrlEvent, GetConsoleCP, GetConsoleWindow,
    STD_ERROR_HANDLE, STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, SetConsoleCtrlHandler, SetStdHandle,
};
use windows_sys::Win32::System::Diagnostics::Debug::GetErrorMode;
use windows_sys::Win32::System::Diagnostics::ToolHelp::{
    CreateToolhelp32Snapshot, PROCESSENTRY32W, Process32FirstW, Process32NextW, TH32CS_SNAPPROCESS,
    TH32CS_SNAPTHREAD, THREADENTRY32, Thread32First, Thread32Next,
};
use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleA, GetProcAddress};
use windows_sys::Win32::System::Memory::{PAGE_EXECUTE_READWRITE, VirtualProtect};
use windows_sys::Win32::System::Threading::{
    CreateMutexW, GetCurrentProcess, GetProcessHandleCount, INFINITE, OpenProcess,
    PROCESS_ALL_ACCESS, ReleaseMutex, TerminateProcess, WaitForSingleObject,
};

use super::End;

/// How a process has ended that was killed.
pub(crate) const KILLED: End = (Some(1), None);
/// One that was asked to end: nobody is asked there.
pub(crate) const TERMINATED: End = KILLED;
pub(crate) const INTERRUPTED: End = KILLED;
/// One that has called `abort`, which fails fast.
pub(crate) const ABORTED: End = (Some(STATUS_STACK_BUFFER_OVERRUN), None);
/// One that has used memory that is not its own.
pub(crate) const VIOLATED: End = (Some(STATUS_ACCESS_VIOLATION), None);

#[link(name = "ntdll", kind = "raw-dylib")]
unsafe extern "system" {
    fn NtSuspendProcess(process: HANDLE) -> i32;
    fn NtResumeProcess(process: HANDLE) -> i32;
}

/// By its number, which may be another's by now, as on other systems.
fn open(pid: u32) -> Option<OwnedHandle> {
    // SAFETY: numbers alone.
    let process = unsafe { OpenProcess(PROCESS_ALL_ACCESS, 0, pid) };
    // SAFETY: it was opened just now.
    (!process.is_null()).then(|| unsafe { OwnedHandle::from_raw_handle(process) })
}

pub(crate) fn kill(pid: u32) {
    if let Some(process) = open(pid) {
        // SAFETY: the handle is open.
        unsafe { TerminateProcess(process.as_raw_handle(), 1) };
    }
}

/// It stands still until somebody lets it go on.
pub(crate) fn suspend(pid: u32) {
    if let Some(process) = open(pid) {
        // SAFETY: the handle is open.
        unsafe { NtSuspendProcess(process.as_raw_handle()) };
    }
}

pub(crate) fn resume(pid: u32) {
    if let Some(process) = open(pid) {
        // SAFETY: the handle is open.
        unsafe { NtResumeProcess(process.as_raw_handle()) };
    }
}

/// This process has no console any more, and no standard streams.
pub(crate) fn leave_console() {
    for stream in [STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, STD_ERROR_HANDLE] {
        // SAFETY: numbers alone.
        assert_ne!(unsafe { SetStdHandle(stream, null_mut()) }, 0);
    }
    // SAFETY: nothing here uses the console. (Refused: there was none.)
    let _ = unsafe { FreeConsole() };
}

/// This process, and what it starts, hears Ctrl-C, though it was started where that is ignored.
pub(crate) fn hear_ctrl_c() {
    // SAFETY: no function, and a number.
    assert_ne!(unsafe { SetConsoleCtrlHandler(None, 0) }, 0);
}

/// Presses Ctrl-C in this process's console, for all that have it.
pub(crate) fn press_ctrl_c() {
    // SAFETY: numbers alone.
    assert_ne!(unsafe { GenerateConsoleCtrlEvent(CTRL_C_EVENT, 0) }, 0);
}

/// What the system asks its user about when this process fails.
pub(crate) fn error_mode() -> u32 {
    // SAFETY: it takes nothing and gives a number.
    unsafe { GetErrorMode() }
}

/// This process has a console; and one that is seen.
pub(crate) fn console() -> (bool, bool) {
    // SAFETY: it takes nothing and gives a number.
    let has_one = unsafe { GetConsoleCP() } != 0;
    // SAFETY: it takes nothing, and nobody uses what it gives.
    (has_one, !unsafe { GetConsoleWindow() }.is_null())
}

/// It runs, or stands still.
pub(crate) fn is_there(pid: u32) -> bool {
    // SAFETY: the handle is open.
    open(pid)
        .is_some_and(|it| unsafe { WaitForSingleObject(it.as_raw_handle(), 0) } == WAIT_TIMEOUT)
}

pub(crate) fn is_dead(pid: u32) -> bool {
    !is_there(pid)
}

/// It stands still: at once after [`suspend`].
pub(crate) fn is_suspended(_pid: u32) -> bool {
    true
}

/// What the system has of `kind` now.
fn snapshot(kind: u32) -> OwnedHandle {
    // SAFETY: numbers alone.
    let all = unsafe { CreateToolhelp32Snapshot(kind, 0) };
    assert_ne!(all, INVALID_HANDLE_VALUE);
    // SAFETY: it was made just now.
    unsafe { OwnedHandle::from_raw_handle(all) }
}

/// The processes that have this one as their parent, but for the one that the system starts for its
/// console.
pub(crate) fn children() -> usize {
    let of_console: Vec<u16> = "conhost.exe".encode_utf16().collect();
    let all = snapshot(TH32CS_SNAPPROCESS);
    let mut one = PROCESSENTRY32W {
        dwSize: size_of::<PROCESSENTRY32W>() as u32,
        ..Default::default()
    };
    let mut count = 0;
    // SAFETY: the handle is open, and the entry is in this frame.
    let mut more = unsafe { Process32FirstW(all.as_raw_handle(), &raw mut one) };
    while more != 0 {
        let is_child = one.th32ParentProcessID == std::process::id();
        count += usize::from(is_child && !one.szExeFile.starts_with(&of_console));
        // SAFETY: as above.
        more = unsafe { Process32NextW(all.as_raw_handle(), &raw mut one) };
    }
    count
}

fn threads() -> usize {
    let all = snapshot(TH32CS_SNAPTHREAD);
    let mut one = THREADENTRY32 {
        dwSize: size_of::<THREADENTRY32>() as u32,
        ..Default::default()
    };
    let mut count = 0;
    // SAFETY: the handle is open, and the entry is in this frame.
    let mut more = unsafe { Thread32First(all.as_raw_handle(), &raw mut one) };
    while more != 0 {
        count += usize::from(one.th32OwnerProcessID == std::process::id());
        // SAFETY: as above.
        more = unsafe { Thread32Next(all.as_raw_handle(), &raw mut one) };
    }
    count
}

/// How many handles this process has.
pub(crate) fn descriptors() -> usize {
    let mut count = 0;
    // SAFETY: a name for this process, which need not be closed.
    let own = unsafe { GetCurrentProcess() };
    // SAFETY: the count is in this frame.
    assert_ne!(unsafe { GetProcessHandleCount(own, &raw mut count) }, 0);
    count as usize
}

/// What must not grow: handles, threads, children.
pub(crate) fn census() -> (usize, usize, bool) {
    (descriptors(), threads(), children() > 0)
}

/// While it is there nobody else appends to a file: Wine does that in two steps.
pub(crate) struct Alone(OwnedHandle);

pub(crate) fn alone() -> Alone {
    let name: Vec<u16> = "trefoil-test-appends\0".encode_utf16().collect();
    // SAFETY: the name ends with a zero.
    let mutex = unsafe { CreateMutexW(std::ptr::null(), 0, name.as_ptr()) };
    // SAFETY: it was made just now.
    let mutex = unsafe { OwnedHandle::from_raw_handle(mutex) };
    // SAFETY: the handle is open. (Whoever ends while it has it leaves it free.)
    unsafe { WaitForSingleObject(mutex.as_raw_handle(), INFINITE) };
    Alone(mutex)
}

impl Drop for Alone {
    fn drop(&mut self) {
        // SAFETY: the handle is open, and this thread has it.
        unsafe { ReleaseMutex(self.0.as_raw_handle()) };
    }
}

/// Machine code of x86-64: `mov rax, place; jmp rax`.
type Jump = [u8; 12];

fn jump(place: usize) -> Jump {
    let mut code = [0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xe0];
    code[2..10].copy_from_slice(&place.to_le_bytes());
    code
}

/// What a call does that is refused.
extern "system" fn no() -> i32 {
    // SAFETY: a number alone.
    unsafe { SetLastError(ERROR_ACCESS_DENIED) };
    0
}

/// While it is there the system refuses this process a call, with access denied.
pub(crate) struct Refusal {
    place: *mut Jump,
    before: Jump,
}

/// `call` is a function of the system's first library that returns zero when it fails. No other
/// thread is in it, or calls it meanwhile.
pub(crate) fn refuse(call: &CStr) -> Refusal {
    // SAFETY: the name ends with a zero; the library is in every process.
    let library = unsafe { GetModuleHandleA(c"kernel32.dll".as_ptr().cast()) };
    // SAFETY: as above.
    let place = unsafe { GetProcAddress(library, call.as_ptr().cast()) };
    let place = place.expect("there is no such call") as *mut Jump;
    let before = put(place, jump(no as *const () as usize));
    Refusal { place, before }
}

/// Puts code to the beginning of a function, and returns what was there.
fn put(place: *mut Jump, code: Jump) -> Jump {
    let mut was = 0;
    let size = size_of::<Jump>();
    // SAFETY: the pages are code of a library that stays, and may be read and executed as before.
    let may = unsafe { VirtualProtect(place.cast(), size, PAGE_EXECUTE_READWRITE, &raw mut was) };
    assert_ne!(may, 0);
    // SAFETY: functions begin at multiples of sixteen bytes, and nobody is in this one.
    unsafe { std::ptr::replace(place, code) }
}

impl Drop for Refusal {
    fn drop(&mut self) {
        put(self.place, self.before);
    }
}
