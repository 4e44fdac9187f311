//! What several launchers need: scripts for a shell elsewhere, copies of the executable, and a
//! conversation with a program.

#[cfg(feature = "ssh")]
pub(crate) mod conversation;
#[cfg(feature = "ssh")]
pub(crate) mod copy;
#[cfg(feature = "ssh")]
pub(crate) mod shell;
