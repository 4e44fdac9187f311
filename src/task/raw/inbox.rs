//! A queue that any thread pushes to and one thread drains, made of the tasks
//! themselves.
//!
//! **Protocol.** A Treiber stack over the headers' `next` links: `push` links
//! the cell in front with one compare-and-exchange; `drain` takes the whole stack
//! with one swap and turns it round, so entries come out in the order in which they
//! went in. There is no pop of one entry, hence no ABA.
//!
//! - **T11** A cell is in at most one inbox at a time: a `Runnable` is the only
//!   entry of its task (`SCHEDULED` is set once per entry), and it is consumed by
//!   `push`. So `next` has one writer at a time. A future that waiters may claim can have more, stale
//!   ones, and never goes into an inbox: its executor queues `Runnable`s themselves.
//!
//! Tests: `checks/tests/models.rs::inbox_*`.
#![allow(unsafe_code)]

use std::ptr::{self, NonNull};

use super::{Header, Ref};
use crate::loom::atomic::{AtomicPtr, Ordering};
use crate::task::runnable::Runnable;

/// A lock-free multi-producer queue of runnables that never allocates.
pub(crate) struct Inbox {
    newest: AtomicPtr<Header>,
}

impl Inbox {
    #[allow(dead_code)] // the event loop's
    pub(crate) fn new() -> Self {
        Self {
            newest: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Adds one; true: it was empty before. Releases what this thread did before.
    #[allow(dead_code)] // the event loop's
    pub(crate) fn push(&self, runnable: Runnable) -> bool {
        let entry = Ref::from_entry(runnable).into_raw();
        let mut newest = ptr::null_mut(); // mostly it is empty; if not, the failure says what is there
        loop {
            // SAFETY: T6: the entry keeps the cell; T11: its link is ours to write.
            unsafe { entry.as_ref() }
                .next
                .store(newest, Ordering::Relaxed);
            match self.newest.compare_exchange_weak(
                newest,
                entry.as_ptr(),
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(before) => return before.is_null(),
                Err(actual) => newest = actual,
            }
        }
    }

    #[allow(dead_code)] // the event loop's
    pub(crate) fn is_empty(&self) -> bool {
        self.newest.load(Ordering::Acquire).is_null()
    }

    /// Takes everything that is in it now, oldest first. Acquires what the
    /// pushing threads did before.
    pub(crate) fn drain(&self) -> Drain {
        let mut newest = if self.newest.load(Ordering::Relaxed).is_null() {
            None
        } else {
            NonNull::new(self.newest.swap(ptr::null_mut(), Ordering::AcqRel))
        };
        // Turn the stack round.
        let mut oldest: *mut Header = ptr::null_mut();
        while let Some(entry) = newest {
            // SAFETY: T6: the entry, now ours, keeps the cell.
            let header = unsafe { entry.as_ref() };
            newest = NonNull::new(header.next.load(Ordering::Relaxed));
            header.next.store(oldest, Ordering::Relaxed);
            oldest = entry.as_ptr();
        }
        Drain {
            oldest: NonNull::new(oldest),
        }
    }
}

impl Drop for Inbox {
    /// What is left in it is dropped: those tasks end in `Closed`.
    fn drop(&mut self) {
        self.drain().for_each(drop);
    }
}

/// The entries of one [`Inbox::drain`].
pub(crate) struct Drain {
    oldest: Option<NonNull<Header>>,
}

// SAFETY: T6: it owns counted references only, which are `Send` (see `Ref`).
unsafe impl Send for Drain {}

impl Iterator for Drain {
    type Item = Runnable;

    fn next(&mut self) -> Option<Runnable> {
        let entry = self.oldest?;
        // SAFETY: T6: the entry keeps the cell until we hand it on.
        let next = unsafe { entry.as_ref() }.next.load(Ordering::Relaxed);
        self.oldest = NonNull::new(next);
        Some(Runnable::from_ref(Ref::from_raw(entry)))
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        self.for_each(drop);
    }
}
