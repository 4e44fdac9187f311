//! What a process asks the system about itself.

use std::ffi::CStr;

/// No other thread of this process runs, now: that cannot be told, for the system's own run in
/// every process.
pub(crate) fn is_alone() -> Option<bool> {
    None
}

/// The calling thread is the program's first, as far as `std` knows it by its name.
pub(crate) fn is_first_thread() -> bool {
    std::thread::current().name() == Some("main")
}

/// Nothing gives a program other rights than its caller's.
pub(crate) fn has_other_rights() -> bool {
    false
}

/// What lists of processes show: that is the program's file here.
pub(crate) fn set_name(_name: &CStr) {}
