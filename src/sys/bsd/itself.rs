//! What a process asks the system about itself: its threads, its descriptors, its rights.
//!
//! - **Y55** These calls have no precondition, and what they fill in is in this frame, as long as
//!   they are told.
#![allow(unsafe_code)]

use std::ffi::CStr;

/// The folder with the numbers of its descriptors. (On FreeBSD it shows more than three where
/// `fdescfs` is mounted.)
pub(crate) const DESCRIPTORS: &str = "/dev/fd";

/// No other thread of this process runs, now. `None`: that cannot be told.
#[cfg(target_vendor = "apple")]
pub(crate) fn is_alone() -> Option<bool> {
    use std::mem::{MaybeUninit, size_of};
    let mut info = MaybeUninit::<libc::proc_taskinfo>::zeroed();
    let size = size_of::<libc::proc_taskinfo>() as libc::c_int;
    let pid = std::process::id().cast_signed();
    // SAFETY: Y55: a local of that size.
    let filled = unsafe {
        libc::proc_pidinfo(
            pid,
            libc::PROC_PIDTASKINFO,
            0,
            info.as_mut_ptr().cast(),
            size,
        )
    };
    // SAFETY: Y55: zeros, or what the system has written there: numbers in either case.
    let info = unsafe { info.assume_init() };
    (filled == size).then_some(info.pti_threadnum <= 1)
}

/// No other thread of this process runs, now. `None`: that cannot be told.
#[cfg(target_os = "freebsd")]
pub(crate) fn is_alone() -> Option<bool> {
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
    // SAFETY: Y55: a name of that length and a local of that size, and nothing is changed.
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
    // SAFETY: Y55: the call has filled all of it in, or it is zeros, which all of its fields may
    // be.
    let info = unsafe { info.assume_init() };
    is_filled.then_some(info.ki_numthreads <= 1)
}

/// The calling thread is the program's first.
pub(crate) fn is_first_thread() -> bool {
    // SAFETY: Y55: it takes nothing.
    unsafe { libc::pthread_main_np() != 0 }
}

/// The system has started this process with other rights than its caller's.
pub(crate) fn has_other_rights() -> bool {
    // SAFETY: Y55: it takes nothing.
    unsafe { libc::issetugid() != 0 }
}

/// What lists of processes show: that is the program's file here.
pub(crate) fn set_name(_name: &CStr) {}
