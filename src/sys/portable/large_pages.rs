//! Large pages for large buffers: nothing asks for them here.

/// Asks for large pages behind the room that `buffer` has left: not here.
#[inline]
pub(crate) fn advise<T>(_buffer: &mut Vec<T>) {}
