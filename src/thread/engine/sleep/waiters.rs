//! How many threads of this process wait, for any pool.
//!
//! A pool knows which of its own workers are blocked (`spares.rs`), but not who else waits for its
//! work: a thread from outside, or a worker of another pool, perhaps for a group or a promise that
//! leads to it. So all waits of the crate are counted, once for all pools together, where a thread
//! parks, and where one from outside begins to take part in a pool's work (`enter.rs`). An event
//! loop that sleeps is not counted: it waits for nothing in particular.
//!
//! **Protocol**, step 8. A pool whose queued work has no free thread, and no stall monitor, needs a
//! stall monitor if some thread waits. The one that queues the work may come before the one that
//! begins to wait, or after it:
//! - the publisher (step 1) looks at the count after its push and a fence. If it is zero, it leaves
//!   a *note* in the same word, unless there is one;
//! - the waiter adds itself to the count, fence, and if there was a note, takes it away and looks
//!   into the queues of all pools, as a publisher does.
//!
//! Both change the same word, so one of them sees the other. Where the publisher found a note, the
//! waiter that takes it away does so later; by the two fences it sees the push.
//!
//! Rejected: counting the waiters of each pool (a wait for a race, a promise or a future does not
//! know which pools it leads to); a look into all pools at each wait (a lock that all share).
//!
//! Tests: `tests/thread/stuck.rs`; loom models in `tests/trefoil-checks/tests/pool.rs`.

use crate::loom::atomic::{AtomicUsize, Ordering, fence};

/// The note: some pool may have queued work, no free thread, and no stall monitor.
const NOTE: usize = 1;
const WAITER: usize = 2;

/// The waits of one process: their number, and the note.
pub(in crate::thread) struct ProcessWaiters(AtomicUsize);

impl ProcessWaiters {
    pub(in crate::thread) fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    /// A thread is about to wait. True: it must look into the queues of all pools.
    pub(in crate::thread) fn begin(&self) -> bool {
        let before = self.0.fetch_add(WAITER, Ordering::SeqCst);
        // Between the addition and the caller's look: step 8.
        fence(Ordering::SeqCst);
        before & NOTE != 0 && self.0.fetch_and(!NOTE, Ordering::SeqCst) & NOTE != 0
    }

    /// For a broken twin in the models.
    #[cfg(loom)]
    pub(in crate::thread) fn begin_blindly(&self) -> bool {
        self.0.fetch_add(WAITER, Ordering::SeqCst);
        false
    }

    /// A thread has waited. In a forked child, the wait may have begun in the parent, and is not
    /// counted here.
    pub(in crate::thread) fn end(&self) {
        let end = |word: usize| word.checked_sub(WAITER);
        let _in_child = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, end);
    }

    /// Whether some thread waits.
    pub(in crate::thread) fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= WAITER
    }

    /// For a publisher whose work has no free thread and no stall monitor: whether some thread
    /// waits. If none does, the next one that begins to will look into the queues.
    #[inline]
    pub(super) fn any_or_note(&self) -> bool {
        match self.0.load(Ordering::Relaxed) {
            NOTE => false,
            0 => self.leave_note(),
            _ => true,
        }
    }

    #[cold]
    fn leave_note(&self) -> bool {
        self.0.fetch_or(NOTE, Ordering::SeqCst) >= WAITER
    }
}
