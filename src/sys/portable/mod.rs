//! What needs nothing of one system.
//!
//! Worker processes that are plain, in the form that macOS, FreeBSD and Windows have them: nothing
//! here is handed over but bytes, and what a file is, is found by its path. Linux has better ways,
//! and takes these in their place if it is built with `--cfg trefoil_port`: so the tests of worker
//! processes run them (`.ci/long platforms`).

#[cfg(unix)]
pub(crate) mod bell;
pub(crate) mod conduit;
pub(crate) mod executable;
#[cfg(not(target_os = "linux"))]
pub(crate) mod free_memory;
pub(crate) mod handover;
#[cfg(not(target_os = "linux"))]
pub(crate) mod large_pages;
pub(crate) mod lifeline;
pub(crate) mod memory_file;
#[cfg(unix)]
pub(crate) mod private_memory;
#[cfg(not(target_os = "linux"))]
pub(crate) mod thread_clock;
