//! When a thread gives way to more urgent work, and when it continues.
//!
//! **Protocol.** 1. The injector has a lane for each priority (`queue.rs`). Deques have normal
//! work, except for the halves of joins, whose priority is in the slot. 2. A worker looks for work
//! of the highest priority first, everywhere ([`Worker::find`]). 3. Between two items, two halves
//! of a join or two tasks of a scope, a thread looks whether something more urgent waits. Then it
//! *gives way* ([`Worker::give_way`]): it queues an entry at the front of its lane, and parks;
//! another thread runs the urgent work. Whoever takes the entry lets this thread continue, and
//! sleeps in its place.
//!
//! So unrelated work never runs inside a frame of other work, as in all waits of a worker, and code
//! may hold locks. What has given way is queued work that a parked thread waits for: if the threads
//! that run in its place are stuck in a lock that it holds, it continues by the stall rule
//! (`sleep/spares.rs`). And since it comes first in its lane, no more threads give way than the
//! pool is wide, for each priority.
//!
//! A part of a region also gives way to *urgent* work of its own priority, the first part of a
//! region or an `install` of an outside thread that waits, but only after its thread has run for
//! [`REGION_SLICE_TICKS`]; and its entry goes to the end of the queue.
//!
//! As long as no handle has another priority than the normal one, a pool has *no ranks*. The words
//! that its threads look at anyway say so: whether work is accepted (`Injector::takes_own`), and in
//! which process the pool and a handle are (`Registry::is_unranked`, `ThreadPool::target`). Only
//! between the halves of an offered join there is a look of its own.
//!
//! Rejected: running the urgent work inside the present frame (it may need a lock that the code
//! below holds); threads with another priority of the system's (more would run than the pool is
//! wide, and use up a quota).
//!
//! Tests: `tests/thread/priorities.rs`.

use std::cell::Cell;

use crate::events;
use crate::loom::Arc;
use crate::loom::atomic::Ordering;
use crate::parking::park;
use crate::thread::engine::config::REGION_SLICE_TICKS;
use crate::thread::engine::lent::raw_job::lend;
use crate::thread::engine::priority::{self, Priority};
use crate::thread::engine::queue::Work;
use crate::thread::engine::slot::{NO_PLACE, Slot};
use crate::thread::engine::worker::Worker;

/// Since when a thread has run what it runs without giving way to work of the same priority; 0:
/// since it looks for the first time.
#[derive(Default)]
pub(super) struct Turn(Cell<u64>);

impl Turn {
    /// The thread begins something else.
    pub(super) fn restart(&self) {
        self.0.set(0);
    }
}

impl Worker {
    /// Whether something more urgent may come.
    #[inline]
    pub(in crate::thread) fn may_give_way(&self) -> bool {
        let injector = &self.registry().injector;
        injector.is_ranked() && injector.ranks_above(priority::current())
    }

    /// Between two pieces of work of this thread: gives way if something more urgent waits.
    #[inline]
    pub(in crate::thread) fn between(&self) {
        if self.registry().injector.is_ranked() {
            self.give_way_to_higher();
        }
    }

    /// Between two tasks of a scope: the same. False: one of them has forked, and returned in the
    /// child, too, where nothing more is to be done.
    #[inline]
    pub(in crate::thread) fn goes_on(&self) -> bool {
        self.registry().is_unranked() || self.goes_on_ranked()
    }

    #[cold]
    fn goes_on_ranked(&self) -> bool {
        let here = !self.registry().is_foreign();
        if here {
            self.between();
        }
        here
    }

    /// Like [`between`](Self::between), in a part of a region. `now`: the time.
    // (Each time after some microseconds: it may not cost the loop around it a register.)
    #[inline(never)]
    pub(in crate::thread) fn between_items(&self, now: u64) {
        self.between();
        let began = self.turn.0.get();
        if now.saturating_sub(began) >= REGION_SLICE_TICKS {
            self.turn.0.set(now);
            if began > 0 {
                self.give_way_to_equals();
            }
        }
    }

    #[cold]
    fn give_way_to_higher(&self) {
        if !self.may_give_way() {
            return;
        }
        let mine = priority::current();
        let (registry, waits) = (self.registry(), |slot: &Arc<Slot>| {
            slot.priority() > mine && slot.public.has_jobs()
                || Priority::Normal > mine && slot.public.has_tasks()
        });
        if registry.injector.has_above(mine) || self.slots().iter().any(waits) {
            self.give_way(mine, true);
        }
    }

    #[cold]
    fn give_way_to_equals(&self) {
        let registry = self.registry();
        let is_normal = priority::current() == Priority::Normal;
        if is_normal && self.place() != NO_PLACE && registry.injector.has_urgent() {
            self.give_way(Priority::Normal, false);
        }
    }

    /// Parks until another thread of the pool has nothing better to do. `first`: before everything
    /// else in the lane.
    fn give_way(&self, lane: Priority, first: bool) {
        let registry = self.registry();
        if !self.is_counted() || registry.is_foreign() {
            return; // this thread counts as waiting already
        }
        let (slot, counts) = (self.slot(), self.place() != NO_PLACE);
        let mut continues = || {
            if counts {
                // In the name of the parked thread: now the one that runs this is surplus.
                // (Relaxed: it looks after it has seen the latch.)
                slot.continues.store(true, Ordering::Relaxed);
                registry.sleep.unblock();
            }
        };
        lend(&slot.wake_handle, &mut continues, |job, lent| {
            park::blocked(|| {
                // Others look here in the usual order, not first.
                self.return_to_queues();
                match registry.injector.push_parked(Work::Job(job), lane, first) {
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
