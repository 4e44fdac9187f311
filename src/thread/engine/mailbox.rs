//! The mailbox of a place of the pool, which holds its shares of broadcasts. (The term is Intel
//! TBB's.)
//!
//! A share is in one mailbox, or one thread has taken it out. The mailbox of a thread that is away
//! is empty. Both change under the mailbox's lock.
//!
//! Tests: `tests/thread/resize.rs`; `tests/trefoil-checks/tests/pool.rs`.

use std::collections::VecDeque;

use super::queue::Work;
use crate::loom::Mutex;
use crate::loom::atomic::{AtomicUsize, Ordering};

/// The shares for one place.
pub(in crate::thread) struct ShareMailbox<S = Work> {
    /// `None`: the thread of this place is away, and will not look here soon.
    shares: Mutex<Option<VecDeque<S>>>,
    /// The number of shares: read without the lock, written under it.
    len: AtomicUsize,
}

impl<S> ShareMailbox<S> {
    /// The mailbox of a place without a thread.
    pub(in crate::thread) fn new() -> Self {
        Self {
            shares: Mutex::new(None),
            len: AtomicUsize::new(0),
        }
    }

    /// Adds a share; returns it if the thread is away.
    pub(in crate::thread) fn put(&self, share: S) -> Result<(), S> {
        let mut shares = self.shares.lock();
        let Some(shares) = &mut *shares else {
            return Err(share);
        };
        shares.push_back(share);
        self.len.store(shares.len(), Ordering::Relaxed);
        Ok(())
    }

    #[inline]
    pub(in crate::thread) fn take(&self) -> Option<S> {
        if self.is_empty() {
            return None;
        }
        self.take_first(&|_| true)
    }

    /// Takes the first share that is `wanted`.
    pub(in crate::thread) fn take_first(&self, wanted: &dyn Fn(&S) -> bool) -> Option<S> {
        let mut shares = self.shares.lock();
        let shares = shares.as_mut()?;
        let share = shares.remove(shares.iter().position(wanted)?);
        self.len.store(shares.len(), Ordering::Relaxed);
        share
    }

    #[inline]
    pub(in crate::thread) fn is_empty(&self) -> bool {
        self.len.load(Ordering::Relaxed) == 0
    }

    /// Marks the thread as away if `is_away`: any worker may take the shares from here now.
    pub(in crate::thread) fn close(&self, is_away: &dyn Fn() -> bool) -> VecDeque<S> {
        let mut shares = self.shares.lock();
        if !is_away() {
            return VecDeque::new();
        }
        self.len.store(0, Ordering::Relaxed);
        shares.take().unwrap_or_default()
    }

    /// The thread of this place is back, or about to be.
    pub(in crate::thread) fn open(&self) {
        self.shares.lock().get_or_insert_default();
    }
}
