//! What the dynamic loader says about this process.
//!
//! - **H56** `dl_iterate_phdr` calls the function for each loaded module, the executable first. It
//!   passes a pointer to the module's description, which is valid for that call, and the caller's
//!   pointer.
//!
//! Tests: not run yet.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};

/// Whether the program headers at this address are those of the executable.
pub(crate) fn are_executables(headers: usize) -> bool {
    let mut first = 0_usize;
    // SAFETY: H56: `note` has the signature of such a function, and the local outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(note), (&raw mut first).cast()) };
    headers == first
}

/// Notes where the headers of the first module are, and ends the iteration.
unsafe extern "C" fn note(info: *mut libc::dl_phdr_info, _: usize, first: *mut c_void) -> c_int {
    // SAFETY: H56: the pointer is valid for this call.
    let headers = unsafe { (*info).dlpi_phdr };
    // SAFETY: H56: the pointer is that of the local of `are_executables`.
    unsafe { first.cast::<usize>().write(headers.addr()) };
    1
}

/// Whether the dynamic loader was executed, with the program as its argument.
pub(crate) fn is_loader_executed() -> bool {
    let program = std::env::current_exe().ok();
    let name = program.as_deref().and_then(std::path::Path::file_name);
    name.is_some_and(|name| name.to_string_lossy().starts_with("ld-elf"))
}
