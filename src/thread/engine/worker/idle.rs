//! A worker that has found no work: how long it looks on before it sleeps, and how it sleeps.
//!
//! `sleep` has the protocol by which no wake-up is lost; its numbers of steps are meant here.
//!
//! Tests: `tests/thread/pool.rs::{an_idle_pool_sleeps, an_idle_pool_of_two_sleeps}`; the same steps
//! without deques in `src/thread/model.rs`.

use std::time::{Duration, Instant};

use crate::events;
use crate::loom::{hint, thread};
use crate::thread::engine::config::{KEEP_SPARE, SEARCH_ROUNDS, THIEF_PAUSE};
use crate::thread::engine::queue::Work;
use crate::thread::engine::sleep::WakeReason;
use crate::thread::engine::worker::Worker;

/// How many of the [`SEARCH_ROUNDS`] come before the first that yields the processor.
const SPIN_ROUNDS: u32 = 2;

/// From this one on they are equally long. Before it, each is twice as long as the last.
const SLOWEST: u32 = 6;

/// Where more than these search, another one does not look on. Each look is at the deques of all,
/// so a wide pool, all of whose threads begin as searchers, would take long to begin.
const MANY: usize = 64;

/// How often a thread that is no searcher spins before it looks again.
const SPINS: u32 = 16;

impl Worker {
    /// Looks for work for some tens of microseconds.
    pub(super) fn look_around(&self) -> Option<Work> {
        let now = self.registry().sleep.counts();
        if now.searching() > MANY && !self.others_are_quicker() {
            return None;
        }
        let rounds = if now.is_closing() {
            // At the pool's end only what is there is run. To wait for more would give a thread the
            // processor that wakes a future each time.
            0..1
        } else {
            // Where others look already, work is not found sooner by one more that looks as often:
            // they would only take its lines from each other.
            (now.searching() as u32).saturating_sub(1).min(SLOWEST)..SEARCH_ROUNDS
        };
        self.registry().sleep.watch();
        let look = |round: u32| {
            for _ in 0..1 << round.min(SLOWEST) {
                hint::spin_loop();
            }
            // A thread that waits for this pool, or a worker with work, may need this processor.
            if round >= SPIN_ROUNDS {
                thread::yield_now();
            }
            self.find()
        };
        loop {
            let found = rounds.clone().find_map(look);
            if found.is_some() || !self.others_are_quicker() {
                return found;
            }
            thread::yield_now();
        }
    }

    /// Whether there is work that this thread may take, and has not got so far: its look after
    /// going to sleep would see that, too, but only after it has taken the sleepers' lock.
    pub(super) fn others_are_quicker(&self) -> bool {
        let registry = self.registry();
        !registry.sleep.has_surplus() && registry.has_work_in(&self.slots(), false)
    }

    /// Lets others take what they are about to take, before a thread that is no searcher, because
    /// enough are, looks again.
    pub(super) fn give_time(&self) {
        (0..SPINS).for_each(|_| hint::spin_loop());
        thread::yield_now();
    }

    /// Goes to sleep, unless there is work after all.
    pub(super) fn go_to_sleep(&self, searching: bool) -> WakeReason {
        let (registry, sleep) = (self.registry(), &self.registry().sleep);
        self.leaves();
        self.leave_index();
        // This deque may hold work that may not be begun now, because too many workers wait.
        self.leave_queues();
        if !sleep.fall_asleep(&self.slot().sleeper, searching) {
            registry.recheck();
            return WakeReason::End;
        }
        // Step 4: the look after the subtraction.
        let polls = self.stolen_halves.start_polling(&registry.wake_policy);
        let seen = registry.has_work_in(&self.slots(), !polls);
        if seen {
            if sleep.wake_if_wanted(&self.slot().sleeper) {
                return WakeReason::Work;
            }
            registry.published();
        }
        let _noted = events::sleeps();
        if polls { self.poll() } else { self.sleep() }
    }

    /// Sleeps as the poller; see `wake_policy.rs`.
    fn poll(&self) -> WakeReason {
        while self.stolen_halves.polls_on(&self.registry().wake_policy) {
            if let Some(reason) = self.sleep_until(Some(Instant::now() + THIEF_PAUSE)) {
                self.stolen_halves
                    .stop_polling(&self.registry().wake_policy);
                return reason;
            }
            // While this thread searches, it counts as an idle one, for which halves are offered.
            if self.registry().sleep.wake_if_wanted(&self.slot().sleeper) {
                return WakeReason::Work;
            }
        }
        self.sleep()
    }

    /// Sleeps until another thread gives it a reason to wake.
    pub(super) fn sleep(&self) -> WakeReason {
        let sleep = &self.registry().sleep;
        loop {
            let is_spare = sleep.is_spare(&self.slot().sleeper);
            // A place that was removed because the pool has become narrower is not kept.
            let keep = if self.is_own.replace(!is_spare) {
                Duration::ZERO
            } else {
                KEEP_SPARE
            };
            let until = is_spare.then(|| Instant::now() + keep);
            if let Some(reason) = self.sleep_until(until) {
                return reason;
            }
            if sleep.end_spare(&self.slot().sleeper) {
                return WakeReason::End;
            }
        }
    }

    /// Sleeps until another thread gives it a reason to wake, or until `until`.
    fn sleep_until(&self, until: Option<Instant>) -> Option<WakeReason> {
        let (sleep, sleeper) = (&self.registry().sleep, &self.slot().sleeper);
        loop {
            if let Some(reason) = sleep.reason(sleeper) {
                return Some(reason);
            }
            // Step 7: after it has gone to sleep.
            if !self.slot().mailbox.is_empty() && sleep.stop_sleeping(sleeper) {
                return Some(WakeReason::Work);
            }
            match until {
                None => {
                    let _asleep = events::falls_asleep(false);
                    self.owned.parker.park();
                }
                Some(until) if Instant::now() < until => self.owned.parker.park_deadline(until),
                Some(_) => return None,
            }
        }
    }
}
