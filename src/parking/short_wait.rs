//! A few looks before a blocking wait.
//!
//! To put a thread to sleep and to wake it takes some microseconds, more than most critical
//! sections and most answers do. So a thread looks for about as long before it sleeps: it loses at
//! most as much again. It does not yield: where other programs compute, a yield takes a whole time
//! slice.
//!
//! A thread whose looks find nothing, because what it waits for takes longer, or because the other
//! thread has no processor, soon sleeps at once. Now and then it tries whether looking pays again.
//! Where items come in batches, it looks each time: one sleep for each item would cost more than
//! all looks.
//!
//! Tests: below.

use std::cell::Cell;

use crate::loom::{hint, per_thread};

/// How many hints to the processor are between the first look and the last. The pauses between
/// looks double.
const MOST: usize = if cfg!(loom) { 0 } else { 127 };
/// The longest first pause.
const LONGEST: usize = 64;

/// How many looks in vain a thread has to its credit at most; one that has found something adds
/// [`FOUND`] to it: a sleep costs more than a wait in vain.
const CREDIT: u32 = 16;
const FOUND: u32 = 2;
/// Without credit, one wait in so many looks.
const SELDOM: u32 = 16;

per_thread! {
    /// This thread's credit; and how many waits have not looked since the last one that did.
    static LOOKS: Cell<(u32, u32)> = Cell::new((CREDIT, 0));
}

/// Calls `look` a few times, until it finds something.
#[inline]
pub(crate) fn look_for_a_while<R>(mut look: impl FnMut() -> Option<R>) -> Option<R> {
    look().or_else(|| look_after(1, look))
}

/// The same after a first pause, of so many hints to the processor as items came together lately.
#[cold]
pub(crate) fn look_after<R>(came: usize, mut look: impl FnMut() -> Option<R>) -> Option<R> {
    let (credit, slept) = LOOKS.try_with(Cell::get).unwrap_or_default();
    let keep = |credit, slept| {
        let _ = LOOKS.try_with(|here| here.set((credit, slept)));
    };
    if came <= 1 && credit == 0 && slept + 1 < SELDOM {
        keep(credit, slept + 1);
        return look();
    }
    let (mut paused, mut pause) = (0, came.clamp(1, LONGEST));
    while paused + pause <= MOST {
        (0..pause).for_each(|_| hint::spin_loop());
        if let Some(found) = look() {
            keep((credit + FOUND).min(CREDIT), 0);
            return Some(found);
        }
        paused += pause;
        pause *= 2;
    }
    keep(credit.saturating_sub(1), 0);
    None
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// How often each of these waits looks, which finds nothing.
    fn looks(came: usize, waits: u32) -> Vec<u32> {
        let wait = |_| {
            let mut count = 0;
            let found = look_after(came, || {
                count += 1;
                None::<()>
            });
            assert_eq!(found, None);
            count
        };
        (0..waits).map(wait).collect()
    }

    #[test]
    fn a_thread_that_never_finds_anything_seldom_looks() {
        assert_eq!(looks(1, CREDIT), [7; CREDIT as usize]);
        let mut seldom = vec![1; SELDOM as usize];
        seldom[SELDOM as usize - 1] = 7;
        assert_eq!(looks(1, SELDOM), seldom);
        assert_eq!(looks(1, 1), [1]);
        assert_eq!(looks(LONGEST, 2), [1; 2], "a pause as long as all others");
        assert_eq!(looks(8, 2), [4, 4], "batches");
    }

    #[test]
    fn what_was_found_is_credit_again() {
        looks(1, CREDIT + SELDOM - 1);
        assert_eq!(look_after(1, || Some(3)), Some(3));
        assert_eq!(looks(1, 4), [7, 7, 1, 1]);
    }
}
