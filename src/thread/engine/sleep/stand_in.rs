//! A second thread for one that is woken and may begin late.
//!
//! **Step 10.** The kernel may queue a woken thread behind its waker although another processor is
//! idle: a virtual one that has halted does not look idle. So a thread that computes on, and wakes
//! one after a long sleep, wakes a second, too, which the kernel puts elsewhere. If the first has
//! not taken its reason, the second takes it, and the first is a sleeper again, which looks into
//! its mailbox once more (step 7). Otherwise the second sleeps on. So no more threads run than were
//! counted.
//!
//! Rejected, with figures: `docs/internals/decisions/woken-thread.md`.
//!
//! Tests: below; `tests/trefoil-checks/tests/pool.rs::{
//! a_share_wakes_a_worker_for_whom_another_stands_in,
//! the_models_catch_no_second_look_into_post}` (loom).

use std::sync::Arc;

use super::protocol::{END, NONE, STAND_IN, SleepState, Sleeper, WORK, WakeReason};
use crate::loom::atomic::Ordering;

impl SleepState {
    /// Takes the reason for which this thread was woken. `None`: it is to sleep on, after a look
    /// into its mailbox.
    pub(in crate::thread) fn reason(&self, sleeper: &Arc<Sleeper>) -> Option<WakeReason> {
        // Acquire: pairs with `wake`.
        match sleeper.reason.swap(NONE, Ordering::AcqRel) {
            WORK => Some(WakeReason::Work),
            END => Some(WakeReason::End),
            STAND_IN if self.stands_in(sleeper) => Some(WakeReason::Work),
            _ => None,
        }
    }

    /// A sleeper changes places with one that was woken for work and has not begun. False: there is
    /// none, or the sleeper has been recruited itself.
    fn stands_in(&self, sleeper: &Arc<Sleeper>) -> bool {
        let mut asleep = self.asleep.lock();
        let Some(at) = asleep.position(sleeper) else {
            return false; // and another may stand in for the one that was woken last
        };
        let Some(late) = asleep.late.take().filter(|late| !self.is_spare(late)) else {
            return false;
        };
        let has_not_begun = late.change(WORK, NONE);
        if has_not_begun {
            asleep.sleepers[at] = late;
        }
        has_not_begun
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Arc;

    use super::{SleepState, Sleeper, WakeReason};
    use crate::loom::Parker;
    use crate::loom::atomic::Ordering;
    use crate::sys::ticks;
    use crate::thread::engine::sleep::protocol::{Afterwards, LONG_SLEEP};
    use crate::thread::engine::sleep::waiters::ProcessWaiters;
    use crate::thread::engine::wake::WakeHandle;

    #[test]
    fn a_second_thread_stands_in_for_one_that_begins_late() {
        let woken = |slept: u64, then, begins: bool| {
            let sleep = SleepState::new(2, Arc::new(ProcessWaiters::new()));
            let sleepers = [0, 1].map(|place| {
                let handle = WakeHandle::new(Parker::new().unparker().clone(), 1, place);
                let sleeper = Sleeper::new(place, handle);
                assert!(sleep.fall_asleep(&sleeper, true));
                let since = ticks::now().saturating_sub(slept);
                sleeper.since.store(since, Ordering::Relaxed);
                sleeper
            });
            sleep.recruit(then);
            let first = begins.then(|| sleep.reason(&sleepers[1]));
            let second = sleep.reason(&sleepers[0]);
            let first = first.unwrap_or_else(|| sleep.reason(&sleepers[1]));
            let counts = sleep.counts();
            assert_eq!((counts.running(), counts.searching()), (1, 1));
            let asleep = sleep.asleep.lock();
            let who = if first.is_some() { 0 } else { 1 };
            assert!(Arc::ptr_eq(&asleep.sleepers[0], &sleepers[who]));
            assert_eq!(asleep.sleepers.len(), 1);
            (first, second)
        };
        let work = Some(WakeReason::Work);
        let (long, computes) = (2 * LONG_SLEEP, Afterwards::Computes);
        assert_eq!(woken(long, computes, false), (None, work));
        assert_eq!(woken(long, computes, true), (work, None));
        assert_eq!(woken(long, Afterwards::MayWait, false), (work, None));
        assert_eq!(woken(0, computes, false), (work, None));
    }
}
