//! Duties that Linux, macOS and the BSDs fulfil in the same way.

#[cfg(feature = "__descriptors")]
pub(super) mod child_id;
#[cfg(any(feature = "threads", feature = "processes"))]
pub mod clock;
#[cfg(feature = "__descriptors")]
pub mod descriptor;
#[cfg(all(feature = "processes", not(target_vendor = "apple")))]
pub(crate) mod elf_notes;
#[cfg(feature = "__descriptors")]
pub mod errors;
#[cfg(feature = "__descriptors")]
pub mod files;
pub mod fork;
#[cfg(feature = "event-loop")]
pub(crate) mod interest;
#[cfg(feature = "__descriptors")]
pub mod limits;
#[cfg(feature = "__descriptors")]
pub mod peer;
#[cfg(feature = "__descriptors")]
pub mod pipe_end;
#[cfg(feature = "__descriptors")]
pub mod poll;
#[cfg(feature = "__descriptors")]
pub mod signal;
pub mod signal_name;
#[cfg(feature = "__descriptors")]
pub mod sockets;
pub(crate) mod stack_end;
pub mod stderr;
#[cfg(feature = "__descriptors")]
pub mod stdio;
#[cfg(any(feature = "threads", feature = "processes"))]
pub mod sysconf;
#[cfg(feature = "__descriptors")]
pub mod transfer;
