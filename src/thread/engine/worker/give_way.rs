//! When a part of a region gives way to the next region, and when it continues.
//!
//! **Protocol.** 1. A part of a region that has run for [`REGION_SLICE_TICKS`] looks, between two
//! items, for *urgent* work: the first part of another region, or an `install`, of an outside
//! thread that waits and may not run it itself. 2. If there is some, its thread queues an entry
//! behind that, and parks; another thread runs the urgent work. 3. Whoever takes the entry lets
//! this thread continue, and sleeps in its place.
//!
//! So unrelated work never runs inside a frame of other work, as in all waits of a worker, and code
//! may hold locks. What has given way is queued work that a parked thread waits for: if the threads
//! that run in its place are stuck in a lock that it holds, it continues by the stall rule
//! (`sleep/spares.rs`).
//!
//! Rejected: running the urgent work inside the present frame (it may need a lock that the code
//! below holds).
//!
//! Tests: `tests/thread/turns.rs`.

use std::cell::Cell;

use crate::events;
use crate::loom::atomic::Ordering;
use crate::parking::park;
use crate::thread::engine::config::REGION_SLICE_TICKS;
use crate::thread::engine::lent::raw_job::lend;
use crate::thread::engine::queue::Work;
use crate::thread::engine::slot::NO_PLACE;
use crate::thread::engine::worker::Worker;

/// Since when a thread has run what it runs without giving way; 0: since it looks for the first
/// time.
#[derive(Default)]
pub(super) struct Turn(Cell<u64>);

impl Turn {
    /// The thread begins something else.
    pub(super) fn restart(&self) {
        self.0.set(0);
    }
}

impl Worker {
    /// Between two items of a region: gives way if it is time, and another region waits. `now`: the
    /// time.
    // (Each time after some microseconds: it may not cost the loop around it a register.)
    #[inline(never)]
    pub(in crate::thread) fn between_items(&self, now: u64) {
        let began = self.turn.0.get();
        if now.saturating_sub(began) >= REGION_SLICE_TICKS {
            self.turn.0.set(now);
            if began > 0 && self.place() != NO_PLACE && self.registry().injector.has_urgent() {
                self.give_way();
            }
        }
    }

    /// Parks until another thread of the pool has nothing better to do.
    #[cold]
    fn give_way(&self) {
        let registry = self.registry();
        if !self.is_counted() || registry.is_foreign() {
            return; // this thread counts as waiting already
        }
        let slot = self.slot();
        let mut continues = || {
            // In the name of the parked thread: now the one that runs this is surplus. (Relaxed: it
            // looks after it has seen the latch.)
            slot.continues.store(true, Ordering::Relaxed);
            registry.sleep.unblock();
        };
        lend(&slot.wake_handle, &mut continues, |job, lent| {
            park::blocked(|| {
                // Others look here in the usual order, not first.
                self.return_to_queues();
                match registry.injector.push_woken(Work::Job(job)) {
                    Err(Work::Job(job)) => return Some(job),
                    Err(_) => unreachable!("it gives back what it was given"),
                    Ok(()) => registry.published(),
                }
                let _noted = events::waits();
                while lent.latch().park() {
                    self.park();
                }
                None
            })
        });
    }
}
