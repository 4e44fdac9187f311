//! Duties that need nothing special of the system. With `--cfg trefoil_port`, Linux uses them, too.

#[cfg(all(unix, feature = "__descriptors"))]
pub mod bell;
#[cfg(all(feature = "processes", not(loom)))]
pub mod futex;
#[cfg(all(feature = "backtrace", not(target_os = "linux")))]
pub mod heap;
#[cfg(all(
    not(target_os = "linux"),
    any(feature = "threads", feature = "processes")
))]
pub mod large_pages;
#[cfg(all(feature = "backtrace", not(target_os = "linux")))]
pub mod modules;
#[cfg(not(target_os = "linux"))]
#[cfg(feature = "threads")]
pub mod thread_clock;
