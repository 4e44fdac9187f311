//! Duties that Linux, macOS and the BSDs fulfil in the same way.

pub(super) mod child_id;
pub(crate) mod clock;
pub(crate) mod descriptor;
pub(crate) mod files;
pub(crate) mod fork;
pub(crate) mod interest;
pub(crate) mod limits;
pub(crate) mod pipe_end;
pub(crate) mod poll;
pub(crate) mod refused;
pub(crate) mod signal;
pub(crate) mod signal_name;
pub(crate) mod stdio;
pub(crate) mod transfer;
