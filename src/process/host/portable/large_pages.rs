//! Large pages for large buffers: these systems are not asked for them.

/// Asks for large pages behind the unused part of `buffer`: does nothing here.
#[inline]
pub(crate) fn advise<T>(_buffer: &mut Vec<T>) {}
