//! The auxiliary vector: what the kernel gave this process at its start.
//!
//! - **H35** `getauxval` may be called at any time: the table that it reads exists before the first
//!   constructor runs, and for a number that is not in it the result is 0.
//!
//! Tests: `host::image`,
//! `tests/process/host.rs::a_program_with_capabilities_has_no_workers_and_is_none`.
#![allow(unsafe_code)]

fn value(what: libc::c_ulong) -> usize {
    // SAFETY: H35: any number may be asked for.
    unsafe { libc::getauxval(what) as usize }
}

/// Whether the kernel has given this process other rights than its caller has: because of its
/// file's owner or capabilities, or a security module.
pub fn has_other_rights() -> bool {
    value(libc::AT_SECURE) != 0
}

/// Whether the program headers at this address are those of the executable.
pub(crate) fn are_executables(headers: usize) -> bool {
    headers == value(libc::AT_PHDR)
}

/// Whether the kernel has mapped no dynamic loader. For a program that needs one this means that
/// the loader itself was executed.
pub(crate) fn is_loader_executed() -> bool {
    value(libc::AT_BASE) == 0
}
