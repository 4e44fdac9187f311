//! A place where *n* wait for one another.
//!
//! A count of those that have come, the number of the round, and a list of waiters. One that is not
//! the last enters the list under the lock; the last begins the next round under the lock, and then
//! notifies. So none of its round is missed. (It may also notify one of the next round, which then
//! waits again.)
//!
//! Rejected: `async-lock`'s barrier, whose waiters may have to wait for its lock before they count.
//! The thread of a loop, which must not wait, could not say whether it has come.
//!
//! Tests: `tests/sync/sync.rs`, `tests/sync/contended.rs`, `tests/sync/refused.rs`.

use crate::loom::Mutex;
use crate::parking::block_on::wait_for;
use crate::parking::noted::{Access, At, LockKind, Made, waiting};
use crate::parking::waiters::{Listener, Waiters};

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
pub struct Barrier {
    n: usize,
    state: Mutex<State>,
    waiters: Waiters,
    made: Made,
}

debug!(
    impl Barrier,
    self,
    n = self.n,
    state = self.state,
    waiters = self.waiters
);

#[derive(Debug)]
struct State {
    /// How many have come in this round.
    come: usize,
    round: usize,
}

/// What [`Barrier::wait`] returns to each.
///
/// ```
/// let barrier = trefoil::sync::Barrier::new(1);
/// assert!(barrier.wait_blocking().is_leader()); // one of those that meet
/// ```
#[derive(Clone, Debug)]
pub struct BarrierWaitResult {
    is_leader: bool,
}

impl Barrier {
    /// A barrier for so many. For 0 and 1, nobody waits.
    #[must_use]
    #[track_caller]
    pub const fn new(n: usize) -> Self {
        Self {
            n,
            state: Mutex::new(State { come: 0, round: 0 }),
            waiters: Waiters::new(),
            made: Made::here(LockKind::Barrier),
        }
    }

    fn at(&self) -> At {
        (self.made.lock(self), Access::Turn)
    }

    /// Waits until all have come.
    ///
    /// Not cancel safe: one that is dropped while it waits has come, and counts.
    pub async fn wait(&self) -> BarrierWaitResult {
        let Some((round, mut listener)) = self.come() else {
            self.waiters.wake_all();
            return BarrierWaitResult { is_leader: true };
        };
        loop {
            waiting(listener, self.at()).await;
            let state = self.state.lock();
            if state.round != round {
                return BarrierWaitResult { is_leader: false };
            }
            listener = self.waiters.listen();
        }
    }

    /// Counts the caller. Returns the round and a listener for its end, or `None` if the caller was
    /// the last.
    fn come(&self) -> Option<(usize, Listener<'_>)> {
        let mut state = self.state.lock();
        state.come += 1;
        if state.come < self.n {
            return Some((state.round, self.waiters.listen()));
        }
        state.come = 0;
        state.round = state.round.wrapping_add(1);
        None
    }

    /// Waits for the others, blocking this thread: see [`wait`](Self::wait).
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
        self.is_leader
    }
}
