//! How many threads of this process wait, for any pool.
//!
//! A pool knows which of its own workers are blocked (`blocked.rs`), but not who else waits for its
//! work: a thread from outside, or a worker of another pool, perhaps for a group or a promise that
//! leads to it. So all waits of the crate are counted, once for all pools together, where a thread
//! parks. An event loop that sleeps is not counted: it waits for nothing in particular.
//!
//! **Protocol**, step 8. A pool whose queued work has no free thread, and no watch, needs a watch
//! if some thread waits. Two threads may be late for that: the one that queues the work, and the
//! one that begins to wait.
//! - The publisher (step 1) reads this count after its push and a fence. If it is zero, it leaves a
//!   *note*, fence, and reads the count again.
//! - The waiter adds itself to the count, fence, and then reads the note. If there is one, it takes
//!   it away, fence, and looks into the queues of all pools as a publisher does.
//!
//! Of the two pairs of a store and a load, one load sees the other thread's store.
//!
//! Rejected: counting the waiters of each pool (a wait for a race, a promise or a future does not
//! know which pools it leads to); a look into all pools at each wait (a lock that all share).
//!
//! Tests: `tests/thread/stuck.rs`; loom models in `checks/tests/pool.rs`.

use crate::loom::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

/// The waits of one process.
pub(in crate::thread) struct Waiters {
    parked: AtomicUsize,
    /// Some pool may have queued work, no free thread, and no watch.
    note: AtomicBool,
}

impl Waiters {
    pub(in crate::thread) fn new() -> Self {
        Self {
            parked: AtomicUsize::new(0),
            note: AtomicBool::new(false),
        }
    }

    /// A thread is about to wait. True: it must look into the queues of all pools.
    pub(in crate::thread) fn begin(&self) -> bool {
        self.parked.fetch_add(1, Ordering::SeqCst);
        // Between the addition and the look at the note: step 8.
        fence(Ordering::SeqCst);
        let noted = self.note.load(Ordering::Relaxed) && self.note.swap(false, Ordering::SeqCst);
        // Before the caller's look into the queues: a publisher that saw the note pushed before.
        fence(Ordering::SeqCst);
        noted
    }

    /// For a broken twin in the models.
    #[cfg(loom)]
    pub(in crate::thread) fn begin_blindly(&self) -> bool {
        self.parked.fetch_add(1, Ordering::SeqCst);
        false
    }

    /// It continues. In a forked child the wait may have begun in the parent.
    pub(in crate::thread) fn end(&self) {
        let end = |parked: usize| parked.checked_sub(1);
        let _in_child = self
            .parked
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, end);
    }

    /// Whether some thread waits.
    #[inline]
    pub(in crate::thread) fn any(&self) -> bool {
        self.parked.load(Ordering::Relaxed) > 0
    }

    /// For a publisher whose work has no free thread and no watch: whether some thread waits. If
    /// none does, the next one that begins to will look into the queues.
    #[inline]
    pub(super) fn any_or_note(&self) -> bool {
        self.any() || (!self.note.load(Ordering::Relaxed) && self.leave_note())
    }

    #[cold]
    fn leave_note(&self) -> bool {
        self.note.store(true, Ordering::SeqCst);
        // Between the note and the look at the count: step 8.
        fence(Ordering::SeqCst);
        self.any()
    }
}
