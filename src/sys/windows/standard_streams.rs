//! Standard streams have no numbers here that others could get.

/// There is nothing to fill.
pub(crate) fn fill() {}
