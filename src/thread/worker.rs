//! A worker: one thread's place in a pool, where it finds work, and how it runs it.
//!
//! Most workers are threads of the pool itself (`thread_main.rs`); a thread from outside that calls
//! `join`, `map` or `scope` borrows a place as an *outside thread* (`enter.rs`) and takes part in its
//! own region only. `wait.rs` says how a worker waits in the middle of its work.
//!
//! It looks into its own tasks, into the injector (first, now and then, so that outside work is not
//! starved), then into the other workers' deques from a random one on.
//!
//! - **P13** Only the thread that a worker belongs to calls its methods; only
//!   slots are shared.
//!
//! Tests: `tests/thread/pool.rs`.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use super::join::raw_job::JobRef;
use super::join::splitter::Splitter;
use super::join::wake_policy::{Findings, TINY};
use super::queue::{Mode, Slots, Work};
use super::registry::{NO_PLACE, Registry};
use super::slot::{Seat, Slot};
use crate::record;
use crate::sys::ticks;
use crate::task::{TaskError, context};

/// Every so many turns, a worker asks the injector first.
const FAIRNESS: u32 = 61;

/// One thread's place in a pool.
pub(super) struct Worker {
    registry: Arc<Registry>,
    pub(super) seat: Seat,
    /// The registry's slots as this worker last saw them.
    seen: RefCell<Option<Slots<Slot>>>,
    random: Cell<u32>,
    pub(super) splitter: Splitter,
    pub(super) findings: Findings,
    /// Its place was one of the pool's own when it began, or last went to sleep.
    pub(super) is_own: Cell<bool>,
    /// How many waits this thread is parked in, one inside another; see `wait.rs`.
    pub(super) blocked: Cell<u32>,
    /// It runs a call that may block, and that counts; see `blocking.rs`.
    pub(super) in_call: Cell<bool>,
}

impl Worker {
    /// The place of one of the pool's own threads, or of an outside thread.
    pub(super) fn new(registry: Arc<Registry>, seat: Seat) -> Self {
        let splitter = Splitter::new(registry.sleep.width());
        let is_own = Cell::new(!registry.sleep.is_spare(&seat.slot.sleeper));
        let random = Cell::new((seat.slot.number as u32).wrapping_mul(0x9E37_79B9) | 1);
        Self {
            registry,
            seat,
            seen: RefCell::new(None),
            random,
            splitter,
            findings: Findings::default(),
            is_own,
            blocked: Cell::new(0),
            in_call: Cell::new(false),
        }
    }

    #[inline]
    pub(super) fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    #[inline]
    pub(super) fn slot(&self) -> &Arc<Slot> {
        &self.seat.slot
    }

    /// Its place among the pool's threads.
    pub(super) fn index(&self) -> usize {
        self.seat.slot.index()
    }

    /// It runs the pool's work now, so that the pool cannot end before that does.
    pub(super) fn is_counted(&self) -> bool {
        self.blocked.get() == 0
    }

    /// This thread may run the pool's work: it is its own, or an outside thread that helps.
    #[inline]
    pub(super) fn may_run(&self) -> bool {
        self.index() != NO_PLACE || self.registry.config.caller_helps
    }

    // ---- pushing ---------------------------------------------------------

    /// Queues a task of this worker's own. Not for outside threads, which leave.
    pub(super) fn push_task(&self, work: Work) {
        if let Work::Task(task) = &work {
            context::set_newest(task);
        }
        self.seat.local.push_task(work);
        self.registry.published();
    }

    // ---- finding ---------------------------------------------------------

    pub(super) fn next_random(&self) -> u32 {
        let mut x = self.random.get();
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        self.random.set(x);
        x
    }

    pub(super) fn with_slots<R>(&self, f: impl FnOnce(&[Arc<Slot>]) -> R) -> R {
        let mut seen = self.seen.borrow_mut();
        match &*seen {
            Some(slots) if slots.len() == self.registry.num_slots() => f(slots),
            _ => f(seen.insert(self.registry.slots())),
        }
    }

    pub(super) fn find(&self) -> Option<Work> {
        let injector = &self.registry.injector;
        let turn = self.next_random();
        let fair = turn.is_multiple_of(FAIRNESS);
        let own_share = self.slot().mailbox.take().map(Work::Share);
        let work = own_share
            .or_else(|| fair.then(|| injector.pop()).flatten())
            .or_else(|| self.seat.local.tasks.pop())
            .or_else(|| self.fetch())
            .or_else(|| {
                self.with_slots(|slots| {
                    let start = turn as usize % slots.len();
                    let (before, after) = slots.split_at(start);
                    after
                        .iter()
                        .chain(before)
                        .find_map(|slot| self.steal_from(slot))
                })
            })?;
        self.findings.stop_polling(&self.registry.wake_policy);
        self.seat.slot.count_taken();
        Some(work)
    }

    fn steal_from(&self, slot: &Slot) -> Option<Work> {
        let work = slot.public.steal()?;
        if record::is_on() && slot.number != self.seat.slot.number {
            let task = match &work {
                Work::Task(task) | Work::Item(task) => task.id().get(),
                _ => 0,
            };
            record::stolen(task, slot.number);
        }
        Some(work)
    }

    /// Some of the injector's work, of which the first is to be run now.
    fn fetch(&self) -> Option<Work> {
        let width = self.registry.sleep.width();
        let injector = &self.registry.injector;
        let (first, more) = injector.pop_some(width, &self.seat.local.tasks)?;
        if more {
            self.registry.published();
        }
        Some(first)
    }

    // ---- running ---------------------------------------------------------

    pub(super) fn run(&self, work: Work) {
        // Nothing is known about it yet.
        self.splitter.reset();
        match work {
            Work::Task(task) => {
                if self.registry.injector.mode() == Mode::Cancelling {
                    task.discard(TaskError::Cancelled);
                } else {
                    task.run();
                }
            }
            Work::Item(task) => _ = task.run(),
            Work::Job(job) => {
                let began = ticks::now();
                self.run_half(job);
                return self.findings.ran(ticks::since(began) < TINY);
            }
            Work::Ticket(scope) => {
                let _noted = record::part("part of a scope");
                let local = &self.seat.local;
                let queued = Cell::new(None);
                let another = || {
                    self.push_task(Work::Ticket(Arc::clone(&scope)));
                    queued.set(Some(local.pushes.get()));
                };
                scope.redeem(self.registry.sleep.width(), another, || {
                    // Thieves take the oldest: if its own ticket is not the newest, nothing is left.
                    let comes_next =
                        queued.get() == Some(local.pushes.get()) || local.tasks.is_empty();
                    comes_next && self.stays_in_scope()
                });
            }
            Work::Share(share) => {
                let _noted = record::part("broadcast");
                drop(share.run());
            }
        }
        self.findings.ran(false);
    }

    /// Between two tasks of a scope whose ticket is the next task of its own: nothing else comes before that.
    fn stays_in_scope(&self) -> bool {
        let (registry, sleep) = (&self.registry, &self.registry.sleep);
        let stays = !registry.is_foreign()
            && self.slot().mailbox.is_empty()
            && registry.injector.is_empty()
            && sleep.counts().running() <= sleep.target()
            && !sleep.is_unwatched();
        if stays {
            self.splitter.reset();
            self.seat.slot.count_taken();
        }
        stays
    }

    /// Runs the half of another worker's join in the middle of a wait.
    pub(super) fn run_job(&self, job: JobRef) {
        self.splitter.reset();
        self.run_half(job);
    }

    fn run_half(&self, job: JobRef) {
        let _noted = record::part("part of a join or map");
        job.run(self.seat.slot.number);
    }
}
