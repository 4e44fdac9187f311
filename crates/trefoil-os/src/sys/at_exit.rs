//! What is called when this process ends by `exit`, or by the end of `main`.
//!
//! - **Y33** A handler may run on any thread, while other threads still run, and as long as this
//!   program's statics exist: it is a safe function without state of its own, and does not unwind.
//!
//! Tests: `tests/process/unread.rs`.
#![allow(unsafe_code)]

/// Makes the end of this process call `handler` first (Y33). If there is no memory to note it, it
/// is not called; nor is it if the process is killed, or ends by `_exit` or `abort`.
pub fn at_exit(handler: extern "C" fn()) {
    // SAFETY: Y33: the C library keeps the pointer to a function of this program. (If a library
    // that has this code is unloaded, the C library calls the handler before that.)
    unsafe { libc::atexit(handler) };
}
