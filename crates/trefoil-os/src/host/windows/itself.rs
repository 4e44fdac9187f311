//! What a process asks the system about itself.

use std::ffi::CStr;

/// Whether this thread is the only one of its process: unknown, because the system runs threads of
/// its own in every process.
pub fn is_alone() -> Option<bool> {
    None
}

/// Whether the calling thread is the program's first: `std` gives only that thread this name.
pub fn is_first_thread() -> bool {
    std::thread::current().name() == Some("main")
}

/// Whether the program has other rights than its caller: this system has no such programs.
pub fn has_other_rights() -> bool {
    false
}

/// Sets the name that lists of processes show: here they always show the program's file.
pub fn set_name(_name: &CStr) {}
