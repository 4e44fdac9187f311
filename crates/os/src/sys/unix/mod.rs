//! Duties that Linux, macOS and the BSDs fulfil in the same way.

#[cfg(feature = "__descriptors")]
pub(super) mod child_id;
#[cfg(any(feature = "threads", feature = "processes"))]
pub(crate) mod clock;
#[cfg(feature = "__descriptors")]
pub(crate) mod descriptor;
#[cfg(feature = "__descriptors")]
pub(crate) mod files;
pub(crate) mod fork;
#[cfg(feature = "event-loop")]
pub(crate) mod interest;
#[cfg(feature = "__descriptors")]
pub(crate) mod limits;
#[cfg(feature = "__descriptors")]
pub(crate) mod pipe_end;
pub(crate) mod poll;
#[cfg(feature = "__descriptors")]
pub(crate) mod refused;
#[cfg(feature = "__descriptors")]
pub(crate) mod signal;
pub(crate) mod signal_name;
#[cfg(feature = "__descriptors")]
pub(crate) mod stdio;
#[cfg(feature = "__descriptors")]
pub(crate) mod transfer;
