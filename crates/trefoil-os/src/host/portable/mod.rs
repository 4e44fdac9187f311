//! Duties that need nothing special of the system.
//!
//! With these, worker processes are plain, as on macOS, FreeBSD and Windows: only bytes are handed
//! over, and the program's file is found by its path. Linux has better ways, but uses these if the
//! crate is built with `--cfg trefoil_port`, so that the tests of worker processes run them
//! (`.ci/long platforms`).

#[cfg(not(target_os = "linux"))]
pub mod activity;
pub mod affinity;
pub mod channel_files;
#[cfg(feature = "backtrace")]
pub mod crash_handler;
pub mod executable;
#[cfg(not(target_os = "linux"))]
pub mod free_memory;
pub mod handover;
#[cfg(not(target_os = "linux"))]
pub mod kernel_kills;
pub mod lifeline;
pub mod memory_file;
pub mod own_memory;
#[cfg(any(target_vendor = "apple", trefoil_port))]
pub mod private_memory;
pub mod sibling;
