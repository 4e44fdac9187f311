//! Where shares of broadcasts lie for one place of the pool.
//!
//! - **P32** A share is in one post or has been taken, by one thread: posts change under their lock.
//!
//! Tests: `tests/thread/resize.rs`; `checks/tests/pool.rs`.

use std::collections::VecDeque;

use super::raw::share::Share;
use crate::loom::Mutex;
use crate::loom::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

/// Where shares lie for one place.
pub(super) struct Post<S = Share> {
    shares: Mutex<VecDeque<S>>,
    /// How many: read without the lock, written under it.
    len: AtomicUsize,
    /// No thread of this place will look here soon.
    away: AtomicBool,
}

impl<S> Post<S> {
    /// That of a place without a thread.
    pub(super) fn new() -> Self {
        Self {
            shares: Mutex::new(VecDeque::new()),
            len: AtomicUsize::new(0),
            away: AtomicBool::new(true),
        }
    }

    pub(super) fn put(&self, share: S) {
        let mut shares = self.shares.lock();
        shares.push_back(share);
        self.len.store(shares.len(), Ordering::Relaxed);
    }

    pub(super) fn take(&self) -> Option<S> {
        if self.is_empty() {
            return None;
        }
        let mut shares = self.shares.lock();
        let share = shares.pop_front();
        self.len.store(shares.len(), Ordering::Relaxed);
        share
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len.load(Ordering::Relaxed) == 0
    }

    /// There is something in it, and any worker may take it.
    pub(super) fn is_open(&self) -> bool {
        self.away.load(Ordering::Relaxed) && !self.is_empty()
    }

    /// Its thread goes away; afterwards the caller must look (step 4).
    pub(super) fn leave(&self) {
        self.away.store(true, Ordering::Relaxed);
        // Between the store and the look; pairs with the one of step 3.
        fence(Ordering::SeqCst);
    }

    /// Its thread is back, or on its way.
    pub(super) fn come_back(&self) {
        self.away.store(false, Ordering::Relaxed);
    }
}
