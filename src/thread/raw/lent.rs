//! What a scope lends to the pool: closures that borrow from its caller.
//!
//! **Job.** The pool's queues hold only what lives for ever; a scope's tasks live
//! for `'scope`. This file forgets that lifetime and makes up for it by counting.
//!
//! **Protocol.** 1. [`Scope::lend`] counts the entry and queues it. 2. Whoever takes an
//! entry from the brood's queue runs it, drops it, and only then counts it off.
//! 3. [`Brood::raise`] runs the body of the scope and does not return, nor
//! unwind, before the count is zero.
//!
//! - **P15** The references that have lost their lifetime are in the brood's queue or
//!   in [`Brood::consume`]; each is counted until it has been dropped.
//! - **P16** `raise` ends only when the count is zero, and nothing is lent outside
//!   of `raise`: the only `Scope` that can call `lend` is the one that `raise`
//!   passes to the body, and `'scope` ends with the body and what the body lent.
//!
//! Rejected: a queue of boxed closures in the pool itself (a waiter could not
//! tell its own from strangers'); dropping finished results with the handle, which
//! may be dropped later than the scope (they are dropped with the entry).
//!
//! Tests: `tests/thread/pool.rs` (scopes, drops counted, panics).
#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use crate::loom::Mutex;
use crate::task::context::{Lineage, inherit};
use crate::task::panic::contain;
use crate::thread::scope::{Scope, ScopedTask};
use crate::thread::tally::{Off, Tally};
use crate::thread::worker::{Slot, Worker};

/// One task of a scope, whatever its types.
pub(in crate::thread) trait Entry: Send + Sync {
    /// Runs it, unless somebody has. Does not unwind.
    fn run(&self);
    /// Somebody has run it, or begun to.
    fn is_taken(&self) -> bool;
}

/// The tasks of one scope, without their lifetime.
pub(in crate::thread) struct Brood {
    queue: Mutex<Queue>,
    /// Entries not yet dropped, and one for the body.
    tally: Tally,
    /// Who waits for the end.
    parent: Arc<Slot>,
    /// The task that the scope is in.
    lineage: Lineage,
}

struct Queue {
    entries: VecDeque<Arc<dyn Entry>>,
    /// How many tickets for entries are in the pool's queues: one for each, but no more than
    /// there are workers.
    tickets: usize,
}

impl Queue {
    /// True: there must be one more ticket. It has been counted.
    fn needs_ticket(&mut self, width: usize) -> bool {
        let needed = self.tickets < self.entries.len().min(width);
        self.tickets += usize::from(needed);
        needed
    }
}

impl Brood {
    /// An empty one, whose end `worker` will wait for.
    pub(in crate::thread) fn new(worker: &Worker) -> Self {
        Self {
            queue: Mutex::new(Queue {
                entries: VecDeque::new(),
                tickets: 0,
            }),
            tally: Tally::new(),
            parent: Arc::clone(worker.slot()),
            lineage: Lineage::current(),
        }
    }

    /// Runs `body` and then waits, helping if that is allowed, until nothing is
    /// left that was lent. Called once.
    pub(in crate::thread) fn raise<R>(
        &self,
        worker: &Worker,
        body: impl FnOnce() -> R,
        may_help: impl Fn() -> bool,
    ) -> R {
        // P16: between here and the end of the wait nothing unwinds.
        let result = catch_unwind(AssertUnwindSafe(body));
        if !self.count_off() {
            let latch = self.tally.latch();
            worker.wait(
                || latch.is_set(),
                || latch.park(),
                || may_help() && self.consume(),
            );
        }
        result.unwrap_or_else(|payload| resume_unwind(payload))
    }

    /// True: a ticket must be queued for it.
    fn queue(&self, entry: Arc<dyn Entry>, width: usize) -> bool {
        self.tally.add();
        let mut stale = Vec::new();
        let mut queue = self.queue.lock();
        // Those that their handles have run: what spawns and waits in a loop
        // must not fill the queue.
        while queue.entries.back().is_some_and(|last| last.is_taken()) {
            stale.extend(queue.entries.pop_back());
        }
        queue.entries.push_back(entry);
        let needed = queue.needs_ticket(width);
        drop(queue);
        for entry in stale {
            self.drop_entry(entry);
        }
        needed
    }

    /// Nothing is left that was lent, nor will be.
    pub(in crate::thread) fn is_over(&self) -> bool {
        self.tally.latch().is_set()
    }

    /// The ticket that was asked for is not in the pool's queues: the waiter must look
    /// again.
    pub(in crate::thread) fn ticket_refused(&self) {
        self.queue.lock().tickets -= 1;
        self.parent.wake();
    }

    /// Takes the oldest entry and runs it. False: there is none.
    pub(in crate::thread) fn consume(&self) -> bool {
        let entry = self.queue.lock().entries.pop_front();
        self.run(entry)
    }

    /// The same for a worker that has found a ticket. If there is more for the `width` workers to do than there
    /// are tickets, calls `another` before.
    pub(in crate::thread) fn redeem(&self, width: usize, another: impl FnOnce()) {
        let mut queue = self.queue.lock();
        queue.tickets -= 1;
        let entry = queue.entries.pop_front();
        let needed = queue.needs_ticket(width);
        drop(queue);
        if needed {
            another();
        }
        self.run(entry);
    }

    fn run(&self, entry: Option<Arc<dyn Entry>>) -> bool {
        let Some(entry) = entry else { return false };
        {
            // SAFETY: P15, P16: the entry is counted, so `raise`, which is inside the task that
            // the lineage was taken in, does not end before `drop_entry`.
            let _inherited = unsafe { inherit(self.lineage) };
            entry.run();
        }
        self.drop_entry(entry);
        true
    }

    /// P15: first dropped, then counted off.
    fn drop_entry(&self, entry: Arc<dyn Entry>) {
        contain(|| drop(entry));
        let _ = self.count_off();
    }

    /// True: it was the last.
    fn count_off(&self) -> bool {
        let off = self.tally.off();
        if off == Off::LastWakeWaiter {
            self.parent.wake();
        }
        off != Off::More
    }
}

impl<'scope> Scope<'scope, '_> {
    /// Queues an entry that borrows for `'scope`. True: a ticket must be queued
    /// for it.
    pub(in crate::thread) fn lend(
        &'scope self,
        entry: Arc<dyn Entry + 'scope>,
        width: usize,
    ) -> bool {
        // SAFETY: P15, P16: only the lifetime changes. The reference is dropped
        // before the count is zero, `raise` waits for that before it ends, and the
        // scope, which is borrowed for 'scope, outlives `raise`.
        let entry = unsafe { mem::transmute::<Arc<dyn Entry + 'scope>, Arc<dyn Entry>>(entry) };
        self.brood().queue(entry, width)
    }
}

impl<T> ScopedTask<'_, T> {
    /// Runs the task on this thread, unless somebody has begun it: as a part of what
    /// its scope is in, whatever else runs here.
    pub(in crate::thread) fn run_here(&self) {
        let (entry, brood) = self.entry_and_brood();
        // SAFETY: P16: who has a handle is the body or something that it lent, so `raise`
        // does not end before this call does.
        let _inherited = unsafe { inherit(brood.lineage) };
        entry.run();
    }
}
