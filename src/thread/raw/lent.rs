//! What a thread lends to the pool, and waits for: closures that borrow from its caller.
//!
//! **Job.** The pool's queues hold only what lives for ever; the tasks of a scope and the shares of a broadcast live
//! for `'scope`. Here that lifetime is forgotten, and made up for by counting.
//!
//! **Protocol.** 1. [`Lender::lend`] counts an entry; what it returns is the right to run it, and goes into some queue. 2. The thread
//! that takes it from there runs the entry, or does not (the pool is closed), drops it, and only then counts it off, perhaps together with
//! others that it has run since.
//! 3. [`Lender::end_after`] runs the body of the scope and does not return, nor
//! unwind, before the count is zero. 4. The thread that has counted off the last one sets the latch that `end_after` waits for. After
//! that the lender may be gone, so it knows before which thread to wake (as P5).
//!
//! - **P15** The references that have lost their lifetime are inside of [`Lent`]: those of the entry, and the pointer to the lender. Each
//!   `Lent` is counted until its entry has been dropped, and the lender lives until the last one has set the latch.
//!
//! Rejected: boxed closures in the pool itself (a waiter could not
//! tell its own from strangers'); dropping finished results with the handle, which
//! may be dropped later than the scope (they are dropped with the entry); a job with a latch for each share of a
//! broadcast (as many wake-ups of the waiter); a counted reference to the lender in each (two writes more to the line that all
//! threads share, for each entry).
//!
//! Tests: `tests/thread/pool.rs` (scopes, drops counted, panics), `tests/thread/resize.rs` (broadcasts), also under Miri.
#![allow(unsafe_code)]

use std::mem::{self, ManuallyDrop};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use crate::loom::Mutex;
use crate::task::Panic;
use crate::task::context::{Inherited, inherit};
use crate::task::panic::contain;
use crate::thread::countdown::Countdown;
use crate::thread::latch::Latch;
use crate::thread::wake::WakeHandle;

/// A task of a scope, or a share of a broadcast, whatever its types.
pub(in crate::thread) trait Entry: Send + Sync {
    /// Runs it, unless it has been begun. Does not unwind.
    fn run(&self, lender: &Lender);
    /// It has been begun, perhaps ended.
    fn is_taken(&self) -> bool {
        false
    }
}

/// Counts what has been lent. The count, which each loan changes, is apart from what each run reads.
#[repr(C)]
pub(in crate::thread) struct Lender {
    /// Entries not yet dropped, and one for the body.
    left: Countdown,
    /// The panics of entries, in the order in which they happened; `None`: it has been taken.
    pub(in crate::thread) panics: Mutex<Vec<Option<Panic>>>,
    /// The threads that wait for one entry each, and the addresses of these.
    joining: Mutex<Vec<(usize, WakeHandle)>>,
    /// Set by the last.
    latch: Latch,
    /// The thread that waits for it.
    waiter: WakeHandle,
    /// The task that the lender is in.
    inherited: Inherited,
}

/// The right to run an entry, once. Dropping it counts the entry off.
pub(in crate::thread) struct Lent {
    entry: Option<Arc<dyn Entry>>,
    lender: NonNull<Lender>,
}

// SAFETY: P15: entries are `Send` and `Sync`, and so is the lender, of which only what many threads may use at once is used.
unsafe impl Send for Lent {}

/// So many entries of one lender that have been dropped, and are still counted. Dropping it counts them off.
pub(in crate::thread) struct Ended {
    entries: usize,
    lender: NonNull<Lender>,
}

impl Lender {
    /// One whose end `waiter` will wait for.
    pub(in crate::thread) fn new(waiter: WakeHandle) -> Self {
        Self {
            left: Countdown::new(),
            latch: Latch::new(),
            waiter,
            inherited: Inherited::current(),
            panics: Mutex::default(),
            joining: Mutex::default(),
        }
    }

    /// Runs `body`, and then `wait`, until nothing is left that was lent: `wait` returns when the latch is set. Called once.
    pub(super) fn end_after<R>(&self, body: impl FnOnce() -> R, wait: impl FnOnce(&Latch)) -> R {
        // P16: between here and the end of the wait nothing unwinds, but in a forked child, where no thread is that has the rest.
        let result = catch_unwind(AssertUnwindSafe(body));
        if self.left.off(1) {
            let _no_waiter = self.latch.set();
        } else {
            wait(&self.latch);
            assert!(self.latch.is_set(), "P16: something is lent");
        }
        result.unwrap_or_else(|payload| resume_unwind(payload))
    }

    /// Counts an entry.
    ///
    /// # Safety
    /// Called inside of [`end_after`](Self::end_after), and what `entry` borrows outlives that.
    pub(super) unsafe fn lend<'scope>(&self, entry: Arc<dyn Entry + 'scope>) -> Lent {
        // SAFETY: P15: only the lifetime changes. The reference is dropped before the count is zero, and `end_after` waits for
        // that before it ends: until then, the caller promises, what it borrows is there.
        let entry = unsafe { mem::transmute::<Arc<dyn Entry + 'scope>, Arc<dyn Entry>>(entry) };
        self.left.add();
        Lent {
            entry: Some(entry),
            lender: NonNull::from(self),
        }
    }

    /// Runs an entry as a part of what the lender is in.
    ///
    /// # Safety
    /// `end_after` does not end before this call does.
    pub(super) unsafe fn run(&self, entry: &dyn Entry) {
        // SAFETY: P15: `end_after`, which is inside the task that it was taken in, does not end meanwhile: the caller's promise.
        let _inherited = unsafe { inherit(self.inherited) };
        entry.run(self);
    }

    /// Keeps what an entry has panicked with: its place in the list.
    pub(in crate::thread) fn keep_panic(&self, panic: Panic) -> usize {
        let mut panics = self.panics.lock();
        panics.push(Some(panic));
        panics.len() - 1
    }

    /// A thread waits for an entry until `wait` returns.
    pub(in crate::thread) fn join(
        &self,
        entry: &dyn Entry,
        thread: WakeHandle,
        wait: impl FnOnce(),
    ) {
        let address = ptr::from_ref(entry).addr();
        self.joining.lock().push((address, thread));
        wait();
        self.joining.lock().retain(|(other, _)| *other != address);
    }

    /// Wakes the thread that has parked for an entry.
    pub(in crate::thread) fn wake_joining(&self, entry: &dyn Entry) {
        let address = ptr::from_ref(entry).addr();
        let joining = self.joining.lock();
        let found = joining.iter().find(|(other, _)| *other == address);
        let thread = found.map(|(_, thread)| thread.clone());
        drop(joining);
        if let Some(thread) = thread {
            thread.wake();
        }
    }

    /// Nothing is left that was lent, nor will be.
    pub(in crate::thread) fn is_over(&self) -> bool {
        self.latch.is_set()
    }

    /// Has the waiter look again at what it waits for.
    pub(in crate::thread) fn wake_waiter(&self) {
        self.waiter.wake();
    }
}

impl Lent {
    /// Runs the entry, and drops it. Never unwinds.
    pub(in crate::thread) fn run(self) -> Ended {
        let mut lent = ManuallyDrop::new(self);
        if let Some(entry) = &lent.entry {
            // SAFETY: P15: this is counted until it is dropped, so the lender is there.
            let lender = unsafe { lent.lender.as_ref() };
            // SAFETY: P15: as above: `end_after` has not ended.
            unsafe { lender.run(&**entry) };
        }
        lent.end()
    }

    /// P15: drops the entry, which is still counted. Called once.
    fn end(&mut self) -> Ended {
        let entry = self.entry.take();
        contain(|| drop(entry));
        Ended {
            entries: 1,
            lender: self.lender,
        }
    }

    /// The entry has been begun, perhaps ended.
    pub(in crate::thread) fn is_taken(&self) -> bool {
        self.entry.as_ref().is_none_or(|entry| entry.is_taken())
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        drop(self.end());
    }
}

impl Ended {
    /// Together with those before.
    pub(in crate::thread) fn and(mut self, before: Option<Self>) -> Self {
        if let Some(mut before) = before.filter(|before| before.lender == self.lender) {
            self.entries += mem::take(&mut before.entries);
        }
        self
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        if self.entries == 0 {
            return;
        }
        let lender = self.lender.as_ptr();
        // SAFETY: P15: they are counted still. What follows borrows the count alone, which `off` does not touch once it has counted.
        let left = unsafe { &(*lender).left };
        if left.off(self.entries) {
            // SAFETY: P15: they were the last, and have not set the latch.
            let waiter = unsafe { &(*lender).waiter }.clone();
            // SAFETY: P15: as above; this borrows the latch alone, which `set` does not touch after its swap (P5).
            let latch = unsafe { &(*lender).latch };
            if latch.set() {
                waiter.wake();
            }
        }
    }
}
