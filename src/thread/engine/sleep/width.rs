//! How many threads should run: surplus threads sleep, threads in removed places end.
//!
//! Each thread has a *place*. Those with places below the pool's width are its own, the others are
//! spares: so a growing pool turns spares into its own threads, and a shrinking one turns its own
//! threads into spares, which end when they go to sleep. Other spares sleep for a while before.
//!
//! **Protocol**, step 6. The thread that changes the width stores it, fence, and then looks into
//! the queues like step 5 (`spares.rs`).

use std::sync::Arc;

use super::counts::{RUNNING, SEARCHING, ThreadCounts};
use super::protocol::{SleepState, Sleeper, WakeReason};
use crate::loom::atomic::{Ordering, fence};

impl SleepState {
    /// A runner (not a searcher) goes to sleep if there are too many. After `true` it must look
    /// into the queues, and recruit as for a push if there is work.
    pub(in crate::thread) fn fall_asleep_if_surplus(&self, sleeper: &Arc<Sleeper>) -> bool {
        let is_surplus = |now: ThreadCounts| now.running() > self.wanted(now);
        if !self.has_surplus() {
            return false;
        }
        let mut asleep = self.asleep.lock();
        if !asleep.add(sleeper) {
            return false;
        }
        let surplus = self.update(&|now| is_surplus(now).then_some(now.0 - RUNNING));
        if !surplus {
            asleep.remove(sleeper);
        }
        let now = self.counts();
        if surplus && now.is_closing() && now.running() == 0 {
            // So many workers wait that no runner is left: notify, as after any subtraction that
            // leaves none.
            self.quiet.notify_all();
        }
        drop(asleep);
        // Between the subtraction and the caller's look, as in step 4.
        fence(Ordering::SeqCst);
        surplus
    }

    /// Whether more threads run than should.
    pub(in crate::thread) fn has_surplus(&self) -> bool {
        let now = self.counts();
        now.running() > self.wanted(now)
    }

    /// Whether its place is beyond those of the pool's own threads.
    pub(in crate::thread) fn is_spare(&self, sleeper: &Arc<Sleeper>) -> bool {
        sleeper.place >= self.width()
    }

    /// A spare has slept long enough. True: it must end. False: it is not a spare any more, or has
    /// been recruited, and the reason follows.
    pub(in crate::thread) fn end_spare(&self, sleeper: &Arc<Sleeper>) -> bool {
        let mut asleep = self.asleep.lock();
        self.is_spare(sleeper) && asleep.remove(sleeper)
    }

    /// Changes the width, and ends the threads that sleep in removed places; the caller must look
    /// into the queues (step 6). False: the pool is closed.
    pub(in crate::thread) fn resize(&self, width: usize) -> bool {
        let mut asleep = self.asleep.lock();
        if asleep.closed {
            return false;
        }
        self.width.store(width, Ordering::Relaxed);
        let mut at = 0;
        while let Some(sleeper) = asleep.sleepers.get(at) {
            if sleeper.place < width {
                at += 1;
            } else {
                asleep.sleepers.remove(at).wake(WakeReason::End);
            }
        }
        drop(asleep);
        // Between the store and the caller's look: step 6.
        fence(Ordering::SeqCst);
        true
    }

    /// A thread is about to start in one of the pool's own places. True: it is counted as a
    /// searcher; undo that with [`not_started`](Self::not_started) if the system refuses the
    /// thread.
    pub(in crate::thread) fn count_start(&self, index: usize) -> bool {
        let asleep = self.asleep.lock();
        let wanted = !asleep.closed && index < self.width();
        if wanted {
            self.word.fetch_add(RUNNING + SEARCHING, Ordering::SeqCst);
        }
        wanted
    }
}
