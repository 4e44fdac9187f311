//! A thief of tiny tasks of scopes rests before its next theft.
//!
//! **Job.** Each theft takes the lines of a deque, and of the count of searchers, away from the
//! thread that queues the tasks, which waits for them at its next task: some tenths of a
//! microsecond. If tasks are shorter than that, all threads together are slower than one, because
//! thieves take each task as soon as it is queued. So a thief that has run out of such tasks soon
//! after its last theft rests, twice as long each time. Meanwhile tasks gather, and it takes a
//! batch of them, a part of what waits (`queue.rs`), or the thread that waits for the scope runs
//! them itself. A long batch needs no rest after it: so what gathers in a rest does not grow.
//!
//! It has no other work then, and has counted off what has ended. It comes back about as soon as a
//! sleeping thread wakes, and counts as running meanwhile: it looks again ((b) in
//! `docs/internals/SCHEDULER.md`).
//!
//! Rejected: fewer searchers (the one that is left takes each task, too); thefts of many only (a
//! long task may be the only one).
//!
//! Tests: below; `scope-nothing` in `benches/simulated/limits.txt`.

use std::cell::Cell;

use super::Worker;
use crate::events;
use crate::loom::{hint, thread};
use crate::sys::ticks;
use crate::thread::engine::lent::raw_scope_counter::ErasedEntry;

/// A shorter task costs more to hand over than to run.
const TINY_TASK_TICKS: u64 = ticks::MICROSECOND / 2;

/// The longest rest in a pool of up to 16 threads. One of up to 64 has as many microseconds as
/// threads, so that all of them together come back about once in a microsecond.
const LONGEST: u64 = 16 * ticks::MICROSECOND;
const WIDEST: u64 = 64;

/// How often it spins before it gives way: about a microsecond.
const SPINS: u32 = 32;

/// What a thief remembers of its thefts.
#[derive(Default)]
pub(super) struct Rest {
    /// When the tasks before those that it runs now were used up, and the rest after them over.
    began: Cell<u64>,
    /// How long that rest was; 0: there was no reason for one.
    last: Cell<u64>,
}

impl Rest {
    /// The tasks are used up: how long to rest, `longest` at most, if the last of them took from
    /// `began` to `ended`. A thief whose last theft was longer ago needs no rest.
    fn after(&self, began: u64, ended: u64, longest: u64) -> u64 {
        let is_tiny = ended.saturating_sub(began) < TINY_TASK_TICKS;
        let is_soon = ended.saturating_sub(self.began.get()) < longest;
        let rest = if is_tiny && is_soon {
            (2 * self.last.get()).clamp(2 * TINY_TASK_TICKS, longest)
        } else {
            0
        };
        self.last.set(rest);
        self.began.set(ended + rest);
        rest
    }
}

impl Worker {
    /// Runs a task of a scope at the bottom of the stack, and rests if there is a reason.
    pub(super) fn run_scoped(&self, lent: ErasedEntry) {
        let _noted = events::part("part of a scope");
        let has_more = self.has_scoped();
        let began = if has_more { 0 } else { ticks::now() };
        lent.run(&self.ended);
        // The task itself may have spawned what is queued here.
        if has_more || self.has_scoped() || self.slot().public.has_tasks() || self.is_asked_for() {
            return;
        }
        let width = self.registry.sleep.width() as u64;
        let longest = LONGEST.max(width.min(WIDEST) * ticks::MICROSECOND);
        let rest = self.rest.after(began, ticks::now(), longest);
        if rest == 0 {
            return;
        }
        self.ended.count_off(); // their scope may wait for nothing else
        let mut looks = ticks::Looks::new(rest);
        while !looks.are_over() && !self.is_asked_for() {
            for _ in 0..SPINS {
                hint::spin_loop();
            }
            thread::yield_now(); // to the thread that spawns, if there are too few processors
        }
    }

    /// Whether there is work for it that is no scope's; or this process is a forked child, in which
    /// it runs no more.
    fn is_asked_for(&self) -> bool {
        let registry = self.registry();
        registry.is_foreign() || !registry.injector.is_empty() || !self.slot().mailbox.is_empty()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{LONGEST, Rest, TINY_TASK_TICKS};

    #[test]
    fn rests_grow_while_tasks_are_tiny_and_used_up_soon() {
        let (rest, mut now) = (Rest::default(), 10 * LONGEST);
        // A thief looks for a task, and runs it for so long.
        let mut ran = |looks: u64, runs: u64| {
            now += looks + runs;
            let rest = rest.after(now - runs, now, LONGEST);
            now += rest;
            rest
        };
        assert_eq!(
            ran(TINY_TASK_TICKS, 1),
            0,
            "nothing is known of the theft before"
        );
        let growing = [
            ran(TINY_TASK_TICKS, 1),
            ran(TINY_TASK_TICKS, 1),
            ran(9 * TINY_TASK_TICKS, TINY_TASK_TICKS - 1),
        ];
        assert_eq!(
            growing,
            [
                2 * TINY_TASK_TICKS,
                4 * TINY_TASK_TICKS,
                8 * TINY_TASK_TICKS
            ]
        );
        assert_eq!(ran(1, TINY_TASK_TICKS), 0, "a longer task");
        assert_eq!((0..20).map(|_| ran(1, 1)).last(), Some(LONGEST));
        assert_eq!(ran(LONGEST, 1), 0, "long after the last theft");
        assert_eq!(ran(1, 1), 2 * TINY_TASK_TICKS);
    }
}
