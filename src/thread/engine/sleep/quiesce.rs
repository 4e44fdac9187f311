//! The end of a pool: the wait until no thread runs, and the closing.
//!
//! 1. `closing`: from now on the wait is notified whenever no thread runs any more.
//! 2. The wait checks: no runner, no blocked worker except those inside `shutdown`, nothing queued,
//!    and still no runner.
//! 3. Then, under the lock, the pool is closed: from then on no thread is recruited, and all
//!    sleepers are woken to end.

use super::counts::{BLOCKED, CLOSING, ThreadCounts};
use super::protocol::{SleepState, WakeReason};
use crate::loom::atomic::{Ordering, fence};

impl SleepState {
    /// From now on [`wait_quiet`](Self::wait_quiet) is notified when no thread runs.
    pub(in crate::thread) fn closing(&self) {
        self.word.fetch_or(CLOSING, Ordering::SeqCst);
    }

    /// A thread that is not a runner runs a user's hook, or takes work out of the queues and puts
    /// some back: it counts as blocked, so the pool is not quiet until
    /// [`allow_end`](Self::allow_end).
    pub(in crate::thread) fn delay_end(&self) {
        self.word.fetch_add(BLOCKED, Ordering::SeqCst);
        self.note_crowd();
    }

    /// The end of [`delay_end`](Self::delay_end): not while `wait_quiet` is between its looks.
    /// Afterwards the caller must look into the queues, and recruit as for a push if there is
    /// something.
    pub(in crate::thread) fn allow_end(&self) {
        let asleep = self.asleep.lock();
        self.word.fetch_sub(BLOCKED, Ordering::SeqCst);
        drop(asleep);
        self.quiet.notify_all();
        // Before the caller's look into the queues, as after any subtraction.
        fence(Ordering::SeqCst);
    }

    /// A worker of this pool is inside `shutdown`; when that returns, the pool is closed.
    pub(in crate::thread) fn enter_shutdown(&self) {
        self.asleep.lock().in_shutdown += 1;
        self.quiet.notify_all();
    }

    fn is_quiet(&self, in_shutdown: usize) -> bool {
        let now = ThreadCounts(self.word.load(Ordering::SeqCst));
        now.running() == 0 && now.blocked() == in_shutdown
    }

    /// Waits until no thread runs and none but those inside `shutdown` is blocked. If `idle` then
    /// says that nothing is queued, closes the pool, calls `close`, and makes the sleepers
    /// end. False: work is queued and there is no thread to run it, because the system has refused
    /// one.
    pub(in crate::thread) fn wait_quiet(&self, idle: &dyn Fn() -> bool, close: &dyn Fn()) -> bool {
        let mut asleep = self.asleep.lock();
        loop {
            if asleep.closed {
                return true;
            }
            let in_shutdown = asleep.in_shutdown;
            if self.is_quiet(in_shutdown) {
                if !idle() {
                    return false;
                }
                // Nor was work held outside the queues meanwhile (`delay_end`).
                if self.is_quiet(in_shutdown) {
                    break;
                }
            }
            asleep = self.quiet.wait(asleep);
        }
        asleep.closed = true;
        close();
        while let Some(sleeper) = asleep.sleepers.pop() {
            sleeper.wake(WakeReason::End);
        }
        true
    }
}
