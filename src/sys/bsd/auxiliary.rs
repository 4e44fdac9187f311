//! What the dynamic loader has told this process at its start.
//!
//! - **Y56** `dl_iterate_phdr` calls the function for each module that is loaded, the executable
//!   first, with a pointer to what it is about, good for that call, and with the pointer that was
//!   handed in.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::ptr;

/// The program headers at this address are those of the executable.
pub(crate) fn are_executables(headers: usize) -> bool {
    let mut first = 0_usize;
    // SAFETY: Y56: the function takes what it is called with, and the local outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(note), (&raw mut first).cast()) };
    headers == first
}

/// Notes where the headers of the first module are, and asks for no more.
unsafe extern "C" fn note(info: *mut libc::dl_phdr_info, _: usize, first: *mut c_void) -> c_int {
    // SAFETY: Y56: good for this call.
    let headers = unsafe { ptr::addr_of!((*info).dlpi_phdr).read() };
    // SAFETY: Y56: the local of `are_executables`.
    unsafe { first.cast::<usize>().write(headers.addr()) };
    1
}

/// The dynamic loader itself was executed, with the program as its argument.
pub(crate) fn is_loader_executed() -> bool {
    let program = std::env::current_exe().ok();
    let name = program.as_deref().and_then(std::path::Path::file_name);
    name.is_some_and(|name| name.to_string_lossy().starts_with("ld-elf"))
}
