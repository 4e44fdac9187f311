//! A place where *n* wait for one another: `async-lock`'s barrier, with this crate's waits.
//!
//! Tests: `tests/sync/sync.rs`, `tests/sync/refused.rs`.

use super::block_on::wait_for;

/// A place where *n* threads or tasks wait until all have come. Then it is ready for the next *n*.
///
/// ```
/// use std::sync::Arc;
/// use trefoil::sync::Barrier;
///
/// let barrier = Arc::new(Barrier::new(2));
/// let theirs = barrier.clone();
/// let other = std::thread::spawn(move || theirs.wait_blocking().is_leader());
/// let leads = trefoil::run(async { barrier.wait().await.is_leader() });
/// assert!(leads ^ other.join().unwrap()); // one of the two, whoever it is
/// ```
#[derive(Debug)]
pub struct Barrier(async_lock::Barrier);

/// What [`Barrier::wait`] returns to each.
#[derive(Clone, Debug)]
pub struct BarrierWaitResult(async_lock::BarrierWaitResult);

impl Barrier {
    /// A barrier for so many. For 0 and 1, nobody waits.
    #[must_use]
    pub const fn new(n: usize) -> Self {
        Self(async_lock::Barrier::new(n))
    }

    /// Waits until all have come.
    ///
    /// Not cancel safe: one that is dropped while it waits has come, and counts.
    pub async fn wait(&self) -> BarrierWaitResult {
        BarrierWaitResult(self.0.wait().await)
    }

    /// Like [`wait`](Self::wait), blocking this thread.
    ///
    /// # Panics
    /// On an event loop's thread, if it is not the last to come: [there](crate::sync#blocking) use
    /// `wait().await`. It has come, and counts.
    #[track_caller]
    pub fn wait_blocking(&self) -> BarrierWaitResult {
        wait_for(self.wait(), "Barrier::wait")
    }
}

impl BarrierWaitResult {
    /// True for one of the *n*, the last that came.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.0.is_leader()
    }
}
