//! Where this thread's stack begins and ends, as reported by the system.
//!
//! Tests: `tests/process/callers.rs`, under Wine.
#![allow(unsafe_code)]

use windows_sys::Win32::System::Threading::GetCurrentThreadStackLimits;

/// Its lowest and its highest address.
pub(crate) fn bounds() -> Option<(usize, usize)> {
    let (mut low, mut high) = (0, 0);
    // SAFETY: Y98: the call is about this thread and writes to local variables.
    unsafe { GetCurrentThreadStackLimits(&raw mut low, &raw mut high) };
    (high > low).then_some((low, high))
}
