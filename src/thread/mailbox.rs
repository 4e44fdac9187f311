//! The mailbox of a place of the pool: where its shares of broadcasts lie. (The word is that of Intel's TBB.)
//!
//! - **P32** A share is in one mailbox or has been taken out, by one thread; and none lies in the mailbox of a thread that is away: both change
//!   under the mailbox's lock.
//!
//! Tests: `tests/thread/resize.rs`; `checks/tests/pool.rs`.

use std::collections::VecDeque;

use super::queue::Work;
use crate::loom::Mutex;
use crate::loom::atomic::{AtomicUsize, Ordering};

/// Where shares lie for one place.
pub(super) struct Mailbox<S = Work> {
    /// `None`: the thread of this place is away, and will not look here soon.
    shares: Mutex<Option<VecDeque<S>>>,
    /// How many: read without the lock, written under it.
    len: AtomicUsize,
}

impl<S> Mailbox<S> {
    /// That of a place without a thread.
    pub(super) fn new() -> Self {
        Self {
            shares: Mutex::new(None),
            len: AtomicUsize::new(0),
        }
    }

    /// Gives it back if the thread is away.
    pub(super) fn put(&self, share: S) -> Result<(), S> {
        let mut shares = self.shares.lock();
        let Some(shares) = &mut *shares else {
            return Err(share);
        };
        shares.push_back(share);
        self.len.store(shares.len(), Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn take(&self) -> Option<S> {
        if self.is_empty() {
            return None;
        }
        let mut shares = self.shares.lock();
        let shares = shares.as_mut()?;
        let share = shares.pop_front();
        self.len.store(shares.len(), Ordering::Relaxed);
        share
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len.load(Ordering::Relaxed) == 0
    }

    /// If it `is_away`, its thread has gone away: what lies here is for any worker now.
    pub(super) fn close(&self, is_away: impl FnOnce() -> bool) -> VecDeque<S> {
        let mut shares = self.shares.lock();
        if !is_away() {
            return VecDeque::new();
        }
        self.len.store(0, Ordering::Relaxed);
        shares.take().unwrap_or_default()
    }

    /// Its thread is back, or on its way.
    pub(super) fn open(&self) {
        self.shares.lock().get_or_insert_default();
    }
}
