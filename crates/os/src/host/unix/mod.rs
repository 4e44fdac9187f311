//! Duties that Linux, macOS and the BSDs fulfil in the same way.

#[cfg(not(any(target_vendor = "apple", trefoil_port)))]
pub(crate) mod allowance;
pub(crate) mod broken_pipe;
#[cfg(feature = "auto")]
pub(crate) mod constructor;
#[cfg(any(not(target_os = "linux"), trefoil_port))]
pub(crate) mod disk;
#[cfg(not(target_vendor = "apple"))]
pub(crate) mod elf;
pub(crate) mod ends;
pub(crate) mod family;
mod signal_mask;
pub(crate) mod standard_streams;
pub(crate) mod sysconf;
pub(crate) mod view;
pub(crate) mod worker;

#[cfg(not(target_vendor = "apple"))]
pub(crate) use elf as format;
