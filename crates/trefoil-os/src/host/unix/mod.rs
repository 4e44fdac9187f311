//! Duties that Linux, macOS and the BSDs fulfil in the same way.

#[cfg(not(any(target_vendor = "apple", trefoil_port)))]
pub(crate) mod allowance;
pub mod broken_pipe;
#[cfg(feature = "auto")]
pub mod constructor;
#[cfg(any(trefoil_port, not(target_os = "linux")))]
pub mod disk;
#[cfg(not(target_vendor = "apple"))]
pub mod elf;
pub mod ends;
pub mod inheritance;
pub mod process_group;
mod signal_mask;
pub mod standard_streams;
pub mod view;
pub mod worker;

#[cfg(not(target_vendor = "apple"))]
pub use elf as format;
