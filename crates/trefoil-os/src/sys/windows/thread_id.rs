//! The system's number of a thread.
//!
//! - **Y48** `GetCurrentThreadId` has no precondition.
//!
//! Tests: not run yet.
#![allow(unsafe_code)]

/// The number of the calling thread, as the system's own tools show it.
#[inline]
pub fn mine() -> u64 {
    // SAFETY: Y48.
    u64::from(unsafe { windows_sys::Win32::System::Threading::GetCurrentThreadId() })
}
