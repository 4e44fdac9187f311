//! What a thread lends to the pool, and waits for: closures that borrow from its caller.
//!
//! **Job.** The pool's queues hold only what lives for ever; the tasks of a scope and the shares of a broadcast live
//! for `'scope`. Here that lifetime is forgotten, and made up for by counting.
//!
//! **Protocol.** 1. [`Lender::lend`] counts an entry; what it returns is the right to run it, and goes into some queue. 2. The thread
//! that takes it from there runs the entry, or does not (the pool is closed), drops it, and only then counts it off.
//! 3. [`Lender::end_after`] runs the body of the scope and does not return, nor
//! unwind, before the count is zero.
//!
//! - **P15** The references that have lost their lifetime are inside of [`Lent`]; each is counted until it has been dropped.
//!
//! Rejected: boxed closures in the pool itself (a waiter could not
//! tell its own from strangers'); dropping finished results with the handle, which
//! may be dropped later than the scope (they are dropped with the entry); a job with a latch for each share of a
//! broadcast (as many wake-ups of the waiter).
//!
//! Tests: `tests/thread/pool.rs` (scopes, drops counted, panics), `tests/thread/resize.rs` (broadcasts), also under Miri.
#![allow(unsafe_code)]

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use crate::task::context::{Inherited, inherit};
use crate::task::panic::contain;
use crate::thread::countdown::Countdown;
use crate::thread::latch::Latch;
use crate::thread::wake::WakeHandle;

/// A task of a scope, or a share of a broadcast, whatever its types.
pub(in crate::thread) trait Entry: Send + Sync {
    /// Runs it, unless it has been begun. Does not unwind.
    fn run(&self);
    /// It has been begun, perhaps ended.
    fn is_taken(&self) -> bool {
        false
    }
}

/// Counts what has been lent.
pub(in crate::thread) struct Lender {
    /// Entries not yet dropped, and one for the body.
    left: Countdown,
    /// The task that the lender is in.
    inherited: Inherited,
}

/// The right to run an entry, once. Dropping it counts the entry off.
pub(in crate::thread) struct Lent {
    entry: Option<Arc<dyn Entry>>,
    lender: Arc<Lender>,
}

impl Lender {
    /// One whose end `waiter` will wait for.
    pub(in crate::thread) fn new(waiter: WakeHandle) -> Arc<Self> {
        Arc::new(Self {
            left: Countdown::new(1, waiter),
            inherited: Inherited::current(),
        })
    }

    /// Runs `body`, and then `wait`, until nothing is left that was lent: `wait` returns when the latch is set. Called once.
    pub(super) fn end_after<R>(&self, body: impl FnOnce() -> R, wait: impl FnOnce(&Latch)) -> R {
        // P16: between here and the end of the wait nothing unwinds, but in a forked child, where no thread is that has the rest.
        let result = catch_unwind(AssertUnwindSafe(body));
        if !self.left.off() {
            wait(self.left.latch());
            assert!(self.left.latch().is_set(), "P16: something is lent");
        }
        result.unwrap_or_else(|payload| resume_unwind(payload))
    }

    /// Counts an entry.
    ///
    /// # Safety
    /// Called inside of [`end_after`](Self::end_after), and what `entry` borrows outlives that.
    pub(super) unsafe fn lend<'scope>(self: &Arc<Self>, entry: Arc<dyn Entry + 'scope>) -> Lent {
        // SAFETY: P15: only the lifetime changes. The reference is dropped before the count is zero, and `end_after` waits for
        // that before it ends: until then, the caller promises, what it borrows is there.
        let entry = unsafe { mem::transmute::<Arc<dyn Entry + 'scope>, Arc<dyn Entry>>(entry) };
        self.left.add();
        Lent {
            entry: Some(entry),
            lender: Arc::clone(self),
        }
    }

    /// Runs an entry as a part of what the lender is in.
    ///
    /// # Safety
    /// `end_after` does not end before this call does.
    pub(super) unsafe fn run(&self, entry: &dyn Entry) {
        // SAFETY: P15: `end_after`, which is inside the task that it was taken in, does not end meanwhile: the caller's promise.
        let _inherited = unsafe { inherit(self.inherited) };
        entry.run();
    }

    /// Nothing is left that was lent, nor will be.
    pub(in crate::thread) fn is_over(&self) -> bool {
        self.left.latch().is_set()
    }

    /// Has the waiter look again at what it waits for.
    pub(in crate::thread) fn stir(&self) {
        self.left.stir();
    }
}

impl Lent {
    /// Runs the entry. Never unwinds.
    pub(in crate::thread) fn run(self) {
        if let Some(entry) = &self.entry {
            // SAFETY: P15: the entry is counted until this is dropped.
            unsafe { self.lender.run(&**entry) };
        }
    }

    /// The entry has been begun, perhaps ended.
    pub(in crate::thread) fn is_taken(&self) -> bool {
        self.entry.as_ref().is_none_or(|entry| entry.is_taken())
    }
}

impl Drop for Lent {
    /// P15: first dropped, then counted off.
    fn drop(&mut self) {
        let entry = self.entry.take();
        contain(|| drop(entry));
        self.lender.left.off();
    }
}
