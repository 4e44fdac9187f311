//! Duties that Linux, macOS and the BSDs fulfil in the same way.

pub(crate) mod broken_pipe;
pub(crate) mod clock;
pub(crate) mod fork;
pub(crate) mod limits;
pub(crate) mod poll;
pub(crate) mod signal;
pub(crate) mod signal_mask;
