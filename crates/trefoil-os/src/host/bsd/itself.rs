//! What a process asks the system about itself: its threads, its descriptors, its rights.
//!
//! - **H55** These calls have no precondition. They fill in local variables whose length they are
//!   given.
//!
//! Tests: not run yet.
#![allow(unsafe_code)]

use std::ffi::CStr;

/// The folder that lists this process's descriptors. (FreeBSD lists more than the first three only
/// if `fdescfs` is mounted.)
pub(crate) const DESCRIPTORS: &str = "/dev/fd";

/// Whether this thread is the only one of its process. `None`: unknown.
#[cfg(target_vendor = "apple")]
pub fn is_alone() -> Option<bool> {
    use std::mem::{MaybeUninit, size_of};
    let mut info = MaybeUninit::<libc::proc_taskinfo>::zeroed();
    let size = size_of::<libc::proc_taskinfo>() as libc::c_int;
    let pid = std::process::id().cast_signed();
    // SAFETY: H55: a local variable of that size.
    let filled = unsafe {
        libc::proc_pidinfo(
            pid,
            libc::PROC_PIDTASKINFO,
            0,
            info.as_mut_ptr().cast(),
            size,
        )
    };
    // SAFETY: H55: it holds zeros or what the system has written; all fields are numbers.
    let info = unsafe { info.assume_init() };
    (filled == size).then_some(info.pti_threadnum <= 1)
}

/// Whether this thread is the only one of its process. `None`: unknown.
#[cfg(target_os = "freebsd")]
pub fn is_alone() -> Option<bool> {
    Some(this_process()?.ki_numthreads <= 1)
}

/// What the system reports about this process. `None`: it reports nothing, or too little.
#[cfg(target_os = "freebsd")]
pub(super) fn this_process() -> Option<libc::kinfo_proc> {
    use std::mem::{MaybeUninit, size_of};
    let name = [
        libc::CTL_KERN,
        libc::KERN_PROC,
        libc::KERN_PROC_PID,
        std::process::id().cast_signed(),
    ];
    let mut info = MaybeUninit::<libc::kinfo_proc>::zeroed();
    let mut size = size_of::<libc::kinfo_proc>();
    let (length, place) = (name.len() as libc::c_uint, info.as_mut_ptr().cast());
    // SAFETY: H55: a name of that length and a local variable of that size; the call changes
    // nothing.
    let error = unsafe {
        libc::sysctl(
            name.as_ptr(),
            length,
            place,
            &raw mut size,
            std::ptr::null(),
            0,
        )
    };
    let is_filled = error == 0 && size == size_of::<libc::kinfo_proc>();
    // SAFETY: H55: the call has filled in all of it, or it is zeros, which are valid for all
    // fields.
    let info = unsafe { info.assume_init() };
    is_filled.then_some(info)
}

/// Whether the calling thread is the program's first.
pub fn is_first_thread() -> bool {
    // SAFETY: H55.
    unsafe { libc::pthread_main_np() != 0 }
}

/// Whether the process was started with other rights than its caller's.
pub fn has_other_rights() -> bool {
    // SAFETY: H55.
    unsafe { libc::issetugid() != 0 }
}

/// Sets the name that lists of processes show: here they always show the program's file.
pub fn set_name(_name: &CStr) {}
