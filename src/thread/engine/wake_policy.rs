//! Whether the offered halves of joins are worth a wake-up.
//!
//! **Job.** Waking a sleeping thread costs the waker some microseconds. For a half of half a
//! microsecond that is a loss, which a program of such joins would suffer again and again. The
//! length is not known beforehand, but a woken thread can measure it.
//!
//! **Protocol.** 1. A thief takes the time of each half that it has stolen. 2. If it goes to sleep,
//! and has run nothing since it slept last but halves shorter than [`TINY_HALF_TICKS`], it becomes
//! the *poller*, unless there is one: it sleeps for a short time only (`THIEF_PAUSE`), takes what
//! is on offer, and sleeps again. (The last halves of a long region are tiny, too, and say nothing
//! about the next region.) 3. While there is a poller, joins wake no thread, and threads that are
//! asleep do not count as takers. 4. While the poller runs something there is none. It stops
//! polling when that took longer, or when it has found nothing [`IN_VAIN`] times.
//!
//! A thief that has stolen [`TIRED`] halves in a row that were shorter than [`SHORTEST_HALF_TICKS`]
//! goes to sleep without looking for more: where regions follow one another, it would find the next
//! one each time, and never sleep.
//!
//! So a program of tiny joins runs at the speed of one thread, interrupted a thousand times a
//! second; one that turns from tiny to long joins has its first helper within `THIEF_PAUSE`; and an
//! idle pool sleeps without a timer.
//!
//! Likewise, outside threads that take part count as workers: a pool of two that one such thread
//! brings work to needs one of its own threads, not two. They are counted here and not in `sleep`,
//! because tasks that no thread waits for must not depend on an outside thread, which runs none.
//!
//! A miss loses parallelism, never work: the thread that offers a half takes it back if no thief
//! comes. Spawned tasks wake sleepers as always.
//!
//! Rejected: a heartbeat thread (it costs time while idle); never waking for joins (a long half
//! would wait for the next heartbeat).
//!
//! Tests: `tests/thread/pool.rs::an_idle_pool_sleeps`,
//! `tests/thread/joins.rs::long_halves_after_tiny_ones_run_at_once`.

use std::cell::Cell;

use super::config::{SHORTEST_HALF_TICKS, TINY_HALF_TICKS};
use crate::loom::atomic::{AtomicBool, AtomicU32, Ordering};

/// After this many looks without success, the poller goes to sleep like the others.
const IN_VAIN: u32 = 20;

/// After so many halves in a row that were not worth the hand-over, a thief looks for no more.
const TIRED: u32 = 16;

/// Whether a join should wake a sleeper: not while one thread polls, nor where outside threads do
/// the work of those that sleep.
#[derive(Debug, Default)]
pub(in crate::thread) struct WakePolicy {
    /// There is a poller.
    polled: AtomicBool,
    /// How many outside threads take part.
    outsiders: AtomicU32,
    /// How many threads wait for the thief of a half, and would take what it offers.
    waiters: AtomicU32,
}

/// A thread that is counted while this lives.
#[must_use]
pub(in crate::thread) struct CountGuard<'a>(&'a AtomicU32);

/// An outside thread that takes part.
#[must_use]
pub(in crate::thread) struct Helping<'a> {
    _counted: CountGuard<'a>,
    flag: &'a Cell<bool>,
}

impl Drop for Helping<'_> {
    fn drop(&mut self) {
        self.flag.set(false);
    }
}

impl<'a> CountGuard<'a> {
    fn new(count: &'a AtomicU32) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for CountGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl WakePolicy {
    /// How many sleepers do not count as takers of a join's half: all, if joins are too small;
    /// otherwise as many as there are outside threads, since no more threads should run than the
    /// pool is wide.
    #[inline]
    pub(in crate::thread) fn replaced_sleepers(&self) -> usize {
        // Hints: no data depends on them.
        if self.polled.load(Ordering::Relaxed) {
            usize::MAX
        } else {
            self.outsiders.load(Ordering::Relaxed) as usize
        }
    }

    /// Counts an outside thread that takes part, until the guard is dropped, which clears
    /// `flag`.
    pub(in crate::thread) fn outsider<'a>(&'a self, flag: &'a Cell<bool>) -> Helping<'a> {
        Helping {
            _counted: CountGuard::new(&self.outsiders),
            flag,
        }
    }

    /// Counts a thread that waits for a thief, until the guard is dropped.
    pub(in crate::thread) fn waiter(&self) -> CountGuard<'_> {
        CountGuard::new(&self.waiters)
    }

    /// How many threads wait for a thief.
    #[inline]
    pub(in crate::thread) fn waiters(&self) -> u32 {
        self.waiters.load(Ordering::Relaxed)
    }
}

/// What one worker has learnt from the halves that it has stolen: whether it polls for more, or is
/// tired of them.
#[derive(Debug, Default)]
pub(in crate::thread) struct StolenHalves {
    /// Whether this worker is the poller.
    polls: Cell<bool>,
    /// How many looks this worker has left as a poller: 0, unless the last thing that it ran was a
    /// tiny half.
    looks: Cell<u32>,
    /// Whether it has run something else since it slept.
    ran_more: Cell<bool>,
    /// How many halves in a row were not worth their hand-over.
    worthless: Cell<u32>,
}

impl StolenHalves {
    /// Called by a worker that has found work, or was woken to look for some: a worker polls only
    /// while it sleeps.
    #[inline]
    pub(in crate::thread) fn stop_polling(&self, policy: &WakePolicy) {
        if self.polls.replace(false) {
            policy.polled.store(false, Ordering::Relaxed);
        }
    }

    /// Called by a worker that has run a half of a join, which took so many ticks.
    pub(in crate::thread) fn ran_half(&self, took: u64) {
        let is_worthless = took < SHORTEST_HALF_TICKS;
        let worthless = if is_worthless {
            self.worthless.get()
        } else {
            0
        };
        self.worthless
            .set(worthless.saturating_add(is_worthless.into()));
        self.ran(took < TINY_HALF_TICKS);
    }

    /// Whether this worker, which finds nothing now, should not look for more halves.
    pub(in crate::thread) fn is_tired(&self) -> bool {
        self.worthless.get() >= TIRED
    }

    /// Called by a worker that has run something; `tiny`: a half of a join, shorter than
    /// `TINY_HALF_TICKS`.
    pub(in crate::thread) fn ran(&self, tiny: bool) {
        self.looks.set(if tiny { IN_VAIN } else { 0 });
        self.ran_more.set(self.ran_more.get() || !tiny);
    }

    /// Called by a worker that goes to sleep. True: it is the poller, because all that it ran were
    /// tiny halves, and there is no other poller.
    pub(in crate::thread) fn start_polling(&self, policy: &WakePolicy) -> bool {
        let only_tiny = !self.ran_more.replace(false) && self.looks.get() > 0;
        if !self.polls.get() && only_tiny {
            self.polls.set(!policy.polled.swap(true, Ordering::Relaxed));
        }
        self.polls.get()
    }

    /// The poller is about to sleep once more. False: it has found nothing for too long, and stops
    /// polling.
    pub(in crate::thread) fn polls_on(&self, policy: &WakePolicy) -> bool {
        let looks = self.looks.get();
        self.looks.set(looks.saturating_sub(1));
        if looks == 0 {
            self.stop_polling(policy);
        }
        looks > 0
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{SHORTEST_HALF_TICKS, StolenHalves, TIRED, WakePolicy};

    #[test]
    fn a_thief_tires_of_halves_that_are_not_worth_their_hand_over() {
        let thief = StolenHalves::default();
        (1..TIRED).for_each(|_| thief.ran_half(SHORTEST_HALF_TICKS - 1));
        assert!(!thief.is_tired());
        thief.ran_half(SHORTEST_HALF_TICKS - 1);
        assert!(thief.is_tired());
        thief.ran_half(SHORTEST_HALF_TICKS);
        assert!(!thief.is_tired());
    }

    #[test]
    fn a_thief_polls_if_it_has_run_nothing_but_tiny_halves_since_it_slept() {
        let (policy, thief) = (WakePolicy::default(), StolenHalves::default());
        thief.ran(false);
        thief.ran(true);
        assert!(!thief.start_polling(&policy), "the end of a long region");
        thief.ran(true);
        assert!(thief.start_polling(&policy));
        assert_eq!(policy.replaced_sleepers(), usize::MAX);
    }
}
