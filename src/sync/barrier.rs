//! A place where *n* wait for one another.
//!
//! A count of those that have come, the number of the round, and a list of waiters. The last begins
//! the next round, and then notifies; the others wait until the round is another. (The last may
//! also notify one of the next round, which then waits again.)
//!
//! Rejected: `async-lock`'s barrier, whose waiters may have to wait for its lock before they count.
//! The thread of a loop, which must not wait, could not say whether it has come.
//!
//! Tests: `tests/sync/sync.rs`, `tests/sync/contended.rs`, `tests/sync/refused.rs`.

use super::wait_list::WaitList;
use crate::loom::Mutex;
use crate::parking::block_on::wait_for;
use crate::parking::lock_events::{Access, LockKind};

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
    meeting: Mutex<Meeting>,
    list: WaitList,
}

debug!(
    impl Barrier,
    self,
    n = self.n,
    meeting = self.meeting,
    waiters = self.list.waiters
);

#[derive(Debug)]
struct Meeting {
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
            meeting: Mutex::new(Meeting { come: 0, round: 0 }),
            list: WaitList::new(LockKind::Barrier),
        }
    }

    /// Waits until all have come.
    ///
    /// Not cancel safe: one that is dropped while it waits has come, and counts.
    pub async fn wait(&self) -> BarrierWaitResult {
        let Some(round) = self.come() else {
            self.list.waiters.wake_all();
            return BarrierWaitResult { is_leader: true };
        };
        let is_over = || (self.meeting.lock().round != round).then_some(());
        self.list.until(Access::Turn, is_over).await;
        BarrierWaitResult { is_leader: false }
    }

    /// Counts the caller. Returns the round, or `None` if the caller was the last.
    fn come(&self) -> Option<usize> {
        let mut meeting = self.meeting.lock();
        meeting.come += 1;
        if meeting.come < self.n {
            return Some(meeting.round);
        }
        meeting.come = 0;
        meeting.round = meeting.round.wrapping_add(1);
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
