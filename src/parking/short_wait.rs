//! A few looks before a blocking wait.
//!
//! To put a thread to sleep and to wake it takes some microseconds, more than most critical
//! sections and most answers do. So a thread looks for about as long before it sleeps: it loses at
//! most as much again. It does not yield: where other programs compute, a yield takes a whole time
//! slice.

use crate::loom::hint;

/// The pauses between looks double from one hint to the processor to 2^(this - 1).
const PAUSES: u32 = if cfg!(loom) { 0 } else { 7 };

/// Calls `look` a few times, until it finds something.
#[inline]
pub(crate) fn look_for_a_while<R>(mut look: impl FnMut() -> Option<R>) -> Option<R> {
    look().or_else(|| look_again(look))
}

#[cold]
fn look_again<R>(mut look: impl FnMut() -> Option<R>) -> Option<R> {
    (0..PAUSES).find_map(|pause| {
        (0..1_u32 << pause).for_each(|_| hint::spin_loop());
        look()
    })
}
