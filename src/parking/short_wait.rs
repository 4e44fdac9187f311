//! A few looks before a blocking wait.
//!
//! To put a thread to sleep and to wake it takes 5 to 40 microseconds, if the processor has gone to
//! sleep, too: more than most critical sections and most answers do. So a thread looks for about as
//! long before it sleeps: it loses at most as much again. It does not yield: where other programs
//! compute, a yield takes a whole time slice.
//!
//! A thread whose looks find nothing, because what it waits for takes longer, or because the other
//! thread has no processor, soon sleeps at once. So does one that is *interrupted* while it looks:
//! what it finds then, the other thread has done on this processor, and sooner without the looks.
//! Now and then it tries whether looking pays again. Where items come in batches, it looks each
//! time: one sleep for each item would cost more than all looks.
//!
//! Tests: below.

use std::cell::Cell;

use crate::loom::{hint, per_thread};
use crate::sys::ticks;

/// How many hints to the processor are between the first look and the last: 12 to 25 µs.
const MOST: usize = if cfg!(loom) { 0 } else { 511 };
/// The longest pause between two looks. The pauses double up to this.
const LONGEST: usize = 64;
/// Two looks that lie so far apart were interrupted.
const INTERRUPTED: u64 = 5 * ticks::MICROSECOND;

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

/// Pauses for so many hints to the processor, at most [`LONGEST`].
#[cold]
pub(crate) fn pause_for(hints: usize) {
    (0..hints.min(LONGEST)).for_each(|_| hint::spin_loop());
}

/// Calls `look` a few times, until it finds something.
#[inline]
pub(crate) fn look_for_a_while<R>(mut look: impl FnMut() -> Option<R>) -> Option<R> {
    look().or_else(|| look_after(1, look))
}

/// The same after a first pause, of so many hints to the processor as items came together lately.
#[cold]
pub(crate) fn look_after<R>(came: usize, look: impl FnMut() -> Option<R>) -> Option<R> {
    look_by(ticks::now, came, look)
}

/// The same by this clock.
fn look_by<R>(
    now: impl Fn() -> u64,
    came: usize,
    mut look: impl FnMut() -> Option<R>,
) -> Option<R> {
    let (credit, slept) = LOOKS.try_with(Cell::get).unwrap_or_default();
    let keep = |credit, slept| {
        let _ = LOOKS.try_with(|here| here.set((credit, slept)));
    };
    if came <= 1 && credit == 0 && slept + 1 < SELDOM {
        keep(credit, slept + 1);
        return look();
    }
    let (mut paused, mut pause) = (0, came.clamp(1, LONGEST));
    let (mut found, mut last) = (None, now());
    while found.is_none() && paused + pause <= MOST {
        (0..pause).for_each(|_| hint::spin_loop());
        found = look();
        if found.is_some() && paused == 0 {
            return found; // it may have been there before
        }
        let before = std::mem::replace(&mut last, now());
        if last.saturating_sub(before) > INTERRUPTED {
            keep(credit.saturating_sub(1), 0);
            return found;
        }
        paused += pause;
        pause = (2 * pause).min(LONGEST);
    }
    let credit = match found {
        Some(_) => (credit + FOUND).min(CREDIT),
        None => credit.saturating_sub(1),
    };
    keep(credit, 0);
    found
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Looks until look number `at` finds something. Returns how many looks there were, by a clock
    /// that goes on by `step` each time.
    fn looks_until(at: u32, came: usize, step: u64) -> u32 {
        let (mut looks, time) = (0, Cell::new(0));
        let now = || {
            time.set(time.get() + step);
            time.get()
        };
        look_by(now, came, || {
            looks += 1;
            (looks == at).then_some(())
        });
        looks
    }

    /// How often each of these waits looks, which finds nothing.
    fn looks(came: usize, waits: u32) -> Vec<u32> {
        (0..waits).map(|_| looks_until(0, came, 1)).collect()
    }

    #[test]
    fn a_thread_that_never_finds_anything_seldom_looks() {
        assert_eq!(looks(1, CREDIT), [13; CREDIT as usize]);
        let mut seldom = vec![1; SELDOM as usize];
        seldom[SELDOM as usize - 1] = 13;
        assert_eq!(looks(1, SELDOM), seldom);
        assert_eq!(looks(1, 1), [1]);
        assert_eq!(looks(LONGEST, 2), [7; 2]);
        assert_eq!(looks(8, 2), [10; 2], "batches");
    }

    #[test]
    fn what_was_found_is_credit_again() {
        looks(1, CREDIT + SELDOM - 1);
        assert_eq!(looks_until(2, 1, 1), 2);
        assert_eq!(looks(1, 4), [13, 13, 1, 1]);
    }

    #[test]
    fn what_was_there_before_is_none() {
        looks(1, CREDIT + SELDOM - 1);
        assert_eq!(looks_until(1, 1, 1), 1);
        assert_eq!(looks(1, 2), [13, 1]);
    }

    #[test]
    fn what_was_found_after_an_interruption_is_none() {
        looks(1, CREDIT + SELDOM - 1);
        assert_eq!(looks_until(2, 1, INTERRUPTED + 1), 1, "it sleeps");
        assert_eq!(looks(1, 2), [1, 1]);
    }
}
