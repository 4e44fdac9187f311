//! Why a value could not be encoded or decoded, on this thread: the codec's errors have no message.
//!
//! A trait that fails [`set`]s the reason, and the codec [`take`]s it. It is also taken before
//! something else begins, so that an old reason is not used for a later error.
//!
//! Tests: `value::scope`.

use std::cell::Cell;
use std::mem::ManuallyDrop;

use crate::loom::per_thread;

per_thread! {
    // It has no destructor, so it can be used as long as the thread runs.
    static REASON: ManuallyDrop<Cell<Option<Box<str>>>> = ManuallyDrop::new(Cell::new(None));
}

/// Keeps the reason of an error. Returns it as well.
pub(crate) fn set(reason: &str) -> String {
    REASON.with(|kept| kept.set(Some(reason.into())));
    reason.to_owned()
}

/// Takes the reason that was [`set`] last.
#[inline]
pub(crate) fn take() -> Option<Box<str>> {
    REASON.with(|kept| kept.take())
}
