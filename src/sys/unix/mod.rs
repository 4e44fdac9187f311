//! Duties that Linux, macOS and the BSDs fulfil in the same way.

#[cfg(not(any(target_vendor = "apple", trefoil_port)))]
pub(crate) mod allowance;
pub(crate) mod broken_pipe;
pub(super) mod child_id;
pub(crate) mod clock;
#[cfg(feature = "auto")]
pub(crate) mod constructor;
pub(crate) mod descriptor;
#[cfg(any(not(target_os = "linux"), trefoil_port))]
pub(crate) mod disk;
#[cfg(not(target_vendor = "apple"))]
pub(crate) mod elf;
pub(crate) mod ends;
pub(crate) mod family;
pub(crate) mod files;
pub(crate) mod fork;
pub(crate) mod limits;
pub(crate) mod pipe_end;
pub(crate) mod poll;
pub(crate) mod refused;
pub(crate) mod signal;
mod signal_mask;
pub(crate) mod signal_name;
pub(crate) mod standard_streams;
pub(crate) mod stdio;
pub(crate) mod transfer;
pub(crate) mod view;
pub(crate) mod watch;
pub(crate) mod worker;

#[cfg(not(target_vendor = "apple"))]
pub(crate) use elf as format;
