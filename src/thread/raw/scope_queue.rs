//! What a scope lends to the pool: closures that borrow from its caller.
//!
//! **Job.** The pool's queues hold only what lives for ever; a scope's tasks live
//! for `'scope`. Here that lifetime is forgotten, and made up for by counting.
//!
//! **Protocol.** 1. [`ScopeQueue::lend`] counts the entry and queues it. 2. The thread that takes an
//! entry from the queue runs it, drops it, and only then counts it off.
//! 3. [`ScopeQueue::end_after`] runs the body of the scope and does not return, nor
//! unwind, before the count is zero.
//!
//! - **P15** The references that have lost their lifetime are in the queue or
//!   in [`ScopeQueue::run_next`]; each is counted until it has been dropped.
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
use crate::task::context::{Inherited, inherit};
use crate::task::panic::contain;
use crate::thread::countdown::Countdown;
use crate::thread::latch::Latch;
use crate::thread::wake::WakeHandle;

/// One task of a scope, whatever its types.
pub(in crate::thread) trait Entry: Send + Sync {
    /// Runs it, unless it has been begun. Does not unwind.
    fn run(&self);
    /// It has been begun, perhaps ended.
    fn is_taken(&self) -> bool;
}

/// The tasks of one scope, without their lifetime.
pub(in crate::thread) struct ScopeQueue {
    queue: Mutex<Queue>,
    /// Entries not yet dropped, and one for the body.
    left: Countdown,
    /// The task that the scope is in.
    inherited: Inherited,
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

impl ScopeQueue {
    /// An empty one, whose end `waiter` will wait for.
    pub(in crate::thread) fn new(waiter: WakeHandle) -> Self {
        Self {
            queue: Mutex::new(Queue {
                entries: VecDeque::new(),
                tickets: 0,
            }),
            left: Countdown::new(1, waiter),
            inherited: Inherited::current(),
        }
    }

    /// Runs `body`, and then `wait`, until nothing is left that was lent: `wait` returns when the latch is set. Called once.
    pub(super) fn end_after<R>(&self, body: impl FnOnce() -> R, wait: impl FnOnce(&Latch)) -> R {
        // P16: between here and the end of the wait nothing unwinds.
        let result = catch_unwind(AssertUnwindSafe(body));
        if !self.left.off() {
            wait(self.left.latch());
            assert!(self.left.latch().is_set(), "P16: a task is left");
        }
        result.unwrap_or_else(|payload| resume_unwind(payload))
    }

    /// Queues an entry. True: a ticket must be queued for it.
    ///
    /// # Safety
    /// Called inside of [`end_after`](Self::end_after), and what `entry` borrows outlives that.
    pub(super) unsafe fn lend<'scope>(&self, entry: Arc<dyn Entry + 'scope>, width: usize) -> bool {
        // SAFETY: P15: only the lifetime changes. The reference is dropped before the count is zero, and `end_after` waits for
        // that before it ends: until then, the caller promises, what it borrows is there.
        let entry = unsafe { mem::transmute::<Arc<dyn Entry + 'scope>, Arc<dyn Entry>>(entry) };
        self.left.add();
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
        self.left.latch().is_set()
    }

    /// The ticket that was asked for is not in the pool's queues: the waiter must look
    /// again.
    pub(in crate::thread) fn ticket_refused(&self) {
        self.queue.lock().tickets -= 1;
        self.left.stir();
    }

    /// Takes the oldest entry and runs it. False: there is none.
    pub(in crate::thread) fn run_next(&self) -> bool {
        let entry = self.queue.lock().entries.pop_front();
        entry.map(|entry| self.run_and_drop(entry)).is_some()
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
        if let Some(entry) = entry {
            self.run_and_drop(entry);
        }
    }

    fn run_and_drop(&self, entry: Arc<dyn Entry>) {
        // SAFETY: P15: the entry is counted until `drop_entry`.
        unsafe { self.run(&*entry) };
        self.drop_entry(entry);
    }

    /// Runs an entry as a part of what the scope is in.
    ///
    /// # Safety
    /// `end_after` does not end before this call does.
    pub(super) unsafe fn run(&self, entry: &dyn Entry) {
        // SAFETY: P15: `end_after`, which is inside the task that it was taken in, does not end meanwhile: the caller's promise.
        let _inherited = unsafe { inherit(self.inherited) };
        entry.run();
    }

    /// P15: first dropped, then counted off.
    fn drop_entry(&self, entry: Arc<dyn Entry>) {
        contain(|| drop(entry));
        self.left.off();
    }
}
