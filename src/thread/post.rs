//! Where shares of broadcasts lie for one place of the pool.
//!
//! - **P32** A share is in one post or has been taken out, by one thread; and none lies in the post of a thread that is away: both change
//!   under the post's lock.
//!
//! Tests: `tests/thread/resize.rs`; `checks/tests/pool.rs`.

use std::collections::VecDeque;

use super::raw::lent::Lent;
use crate::loom::Mutex;
use crate::loom::atomic::{AtomicUsize, Ordering};

/// Where shares lie for one place.
pub(super) struct Post<S = Lent> {
    state: Mutex<State<S>>,
    /// How many: read without the lock, written under it.
    len: AtomicUsize,
}

struct State<S> {
    shares: VecDeque<S>,
    /// No thread of this place will look here soon.
    away: bool,
}

impl<S> Post<S> {
    /// That of a place without a thread.
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                shares: VecDeque::new(),
                away: true,
            }),
            len: AtomicUsize::new(0),
        }
    }

    /// Gives it back if the thread is away.
    pub(super) fn put(&self, share: S) -> Result<(), S> {
        let mut state = self.state.lock();
        if state.away {
            return Err(share);
        }
        state.shares.push_back(share);
        self.len.store(state.shares.len(), Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn take(&self) -> Option<S> {
        if self.is_empty() {
            return None;
        }
        let mut state = self.state.lock();
        let share = state.shares.pop_front();
        self.len.store(state.shares.len(), Ordering::Relaxed);
        share
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len.load(Ordering::Relaxed) == 0
    }

    /// If it `is_away`, its thread has gone away: what lies here is for any worker now.
    pub(super) fn leave(&self, is_away: impl FnOnce() -> bool) -> VecDeque<S> {
        let mut state = self.state.lock();
        if !is_away() {
            return VecDeque::new();
        }
        state.away = true;
        self.len.store(0, Ordering::Relaxed);
        std::mem::take(&mut state.shares)
    }

    /// Its thread is back, or on its way.
    pub(super) fn come_back(&self) {
        self.state.lock().away = false;
    }
}
