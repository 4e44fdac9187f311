//! The word by which a worker wakes the caller that waits for its results.
//!
//! **Job.** A result that goes to its caller by the driver costs a message and two wake-ups. A
//! caller that waits for the only frame that its worker has takes the result out of the ledger
//! itself. It may poll there for a moment, and then sleeps on this word, which the worker changes
//! when the frame has ended. So one call costs two wake-ups, as many as with two pipes, and the
//! worker need not send its results.
//!
//! ```text
//!   word     number of the caller's job (30 bits) │ NOBODY, COMES, POLLS or SLEEPS
//! ```
//!
//! **Protocol.**
//! 1. The caller *announces* itself: `POLLS`. Then it looks for results.
//! 2. The caller falls asleep on the word if it is `SLEEPS`, which it makes of its own `POLLS`.
//! 3. At the end of a frame, when its records are committed, the worker *answers*: from `POLLS` or
//!    `SLEEPS` the word becomes `COMES`, and if the caller sleeps the worker wakes it. From here on
//!    the caller is responsible for these results. If nobody is announced, the worker sends them.
//!    On either side there is a full fence between its first step and its look, so a caller that
//!    the worker does not see sees the results.
//! 4. The caller leaves: from its own `POLLS` or `SLEEPS` the word becomes `COMES` if its call was
//!    answered, and else `NOBODY`. If the worker has answered, and the caller cannot take the
//!    results, because its job has moved or ended meanwhile, it reports that to the driver.
//! 5. `COMES` means: the callers of this worker come. A worker that is faster than the caller that
//!    has just handed out a call sees this, and waits for it for a moment before it sends results.
//!    If nobody comes, it makes the word `NOBODY`.
//! 6. The driver, and whoever acts as it, *dismisses* the caller if the worker has not its frame
//!    alone any more: from `SLEEPS` the word becomes `NOBODY`, and the caller is woken.
//!
//! A caller changes only a word with its own number, except to announce itself, which it does
//! while its job is its worker's only one: so an earlier caller that is late disturbs nobody.
//!
//! The parent trusts nothing of this: a caller sleeps for a bounded time, and looks at its task
//! afterwards; what it takes is checked as all records are. A worker that lies gets its own results
//! to their callers late, by that time at most.
//!
//! Tests: `tests/trefoil-checks/tests/process_models.rs` (under loom), with broken twins;
//! `tests/process/{speed,callers,shared_ring}.rs`.

use std::time::Duration;

use crate::loom::atomic::{AtomicU32, Ordering, fence};
#[cfg(not(loom))]
use crate::sys::futex;

const NOBODY: u32 = 0;
const COMES: u32 = 1;
const POLLS: u32 = 2;
const SLEEPS: u32 = 3;
const STATES: u32 = 3;

/// The word.
#[derive(Debug, Default)]
pub(crate) struct CallerWord(AtomicU32);

/// What a worker finds at the end of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    /// A caller takes the results.
    Taken,
    /// A caller will probably come.
    Soon,
    /// Nobody waits here: the results must be sent.
    No,
}

/// The caller's side, which has the job `id`.
impl CallerWord {
    fn own(id: u64, state: u32) -> u32 {
        (id as u32) << 2 | state
    }

    /// This caller waits from now on. It has just seen, with the engine locked, that the worker has
    /// its job alone; it looks for results next.
    #[inline]
    pub(crate) fn announce(&self, id: u64) {
        self.0.store(Self::own(id, POLLS), Ordering::Relaxed);
        // Pairs with the fence in `answer`.
        Self::fence();
    }

    /// This caller is about to sleep. Returns the value while which it sleeps; `None`: the worker
    /// has answered, or the caller was dismissed.
    pub(crate) fn fall_asleep(&self, id: u64) -> Option<u32> {
        let asleep = Self::own(id, SLEEPS);
        #[cfg(loom)]
        if model::is(model::Broken::Stores) {
            self.0.store(asleep, Ordering::Relaxed);
            return Some(asleep);
        }
        let seen = self.change(Self::own(id, POLLS), asleep);
        (seen.is_ok() || seen == Err(asleep)).then_some(asleep)
    }

    /// This caller waits no more; `is_served`: it has its result. Returns whether it is responsible
    /// for what is in the ledger.
    pub(crate) fn leave(&self, id: u64, is_served: bool) -> bool {
        let next = if is_served { COMES } else { NOBODY };
        let leaves = |state| self.change(Self::own(id, state), next);
        // (From `NOBODY`, the worker sends them.)
        leaves(POLLS).is_err() && leaves(SLEEPS).is_err_and(|seen| seen & STATES != NOBODY)
    }

    /// Whether the word is this `value`.
    #[cfg(loom)]
    pub(crate) fn is(&self, value: u32) -> bool {
        self.0.load(Ordering::SeqCst) == value
    }

    /// Sleeps while the word is this `value`, which `fall_asleep` has returned, for a bounded time.
    pub(crate) fn sleep(&self, value: u32, limit: Duration) {
        #[cfg(not(loom))]
        futex::wait(&self.0, value, Some(limit));
        #[cfg(loom)]
        let _ = (value, limit); // a model has a futex of its own
    }

    /// For the driver: dismisses and wakes the caller that sleeps here, unless it is that of the
    /// job `sole`.
    pub(crate) fn dismiss(&self, sole: Option<u64>, wake: impl FnOnce(&AtomicU32)) {
        let seen = self.0.load(Ordering::Relaxed);
        if seen & STATES == SLEEPS
            && sole.is_none_or(|id| seen != Self::own(id, SLEEPS))
            && self.change(seen, NOBODY).is_ok()
        {
            wake(&self.0);
        }
    }

    fn change(&self, from: u32, to: u32) -> Result<u32, u32> {
        // AcqRel: what the worker has committed before it answered is seen.
        (self.0).compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
    }
}

/// The worker's side.
impl CallerWord {
    /// A frame has ended, and its records are committed. `wake`: wakes the caller.
    #[inline]
    pub(crate) fn answer(&self, wake: impl FnOnce(&AtomicU32)) -> Answered {
        // Pairs with the fence in `announce`.
        Self::fence();
        let mut seen = self.0.load(Ordering::Relaxed);
        while seen & STATES >= POLLS {
            match self.change(seen, COMES) {
                Ok(_) => {
                    if seen & STATES == SLEEPS {
                        wake(&self.0);
                    }
                    return Answered::Taken;
                }
                Err(other) => seen = other,
            }
        }
        if seen & STATES == COMES {
            Answered::Soon
        } else {
            Answered::No
        }
    }

    /// Nobody has come.
    pub(crate) fn give_up(&self) {
        let _ = self.change(COMES, NOBODY);
    }

    fn fence() {
        #[cfg(loom)]
        if model::is(model::Broken::Fenceless) {
            return;
        }
        fence(Ordering::SeqCst);
    }
}

/// Wakes who sleeps on the word, as the kernel does.
pub(crate) fn wake(word: &AtomicU32) {
    #[cfg(not(loom))]
    futex::wake(word, 1);
    #[cfg(loom)]
    let _ = word;
}

/// Faults for the models to find.
#[cfg(loom)]
#[allow(missing_docs, missing_debug_implementations)]
pub(crate) mod model {
    use std::cell::Cell;

    /// A fault that makes a model fail.
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub enum Broken {
        No,
        /// There is no fence between a step and the look that follows.
        Fenceless,
        /// A caller falls asleep whatever the word says.
        Stores,
        /// A caller that was answered in vain does not report that.
        Silent,
    }

    // loom runs all threads of a model on one system thread.
    std::thread_local! {
        static BROKEN: Cell<Broken> = const { Cell::new(Broken::No) };
    }

    pub(crate) fn set(broken: Broken) {
        BROKEN.with(|cell| cell.set(broken));
    }

    pub(crate) fn is(broken: Broken) -> bool {
        BROKEN.with(Cell::get) == broken
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn woken(word: &CallerWord) -> (Answered, bool) {
        let mut is_woken = false;
        let answered = word.answer(|_| is_woken = true);
        (answered, is_woken)
    }

    #[test]
    fn a_caller_that_sleeps_is_woken_once() {
        let word = CallerWord::default();
        assert_eq!(woken(&word), (Answered::No, false));
        word.announce(7);
        assert_eq!(woken(&word), (Answered::Taken, false));
        assert_eq!(word.fall_asleep(7), None, "it was answered");
        assert!(word.leave(7, true), "the results are its own");
        word.announce(8);
        let asleep = word.fall_asleep(8).unwrap();
        assert_eq!(word.fall_asleep(8), Some(asleep), "it was woken in vain");
        assert_eq!(woken(&word), (Answered::Taken, true));
        assert_eq!(woken(&word), (Answered::Soon, false));
        word.give_up();
        assert_eq!(woken(&word), (Answered::No, false));
        word.announce(9);
        assert!(!word.leave(9, true));
        assert_eq!(woken(&word), (Answered::Soon, false), "callers come");
        word.announce(10);
        assert!(!word.leave(10, false));
        assert_eq!(woken(&word), (Answered::No, false));
    }

    #[test]
    fn who_is_late_disturbs_nobody() {
        let word = CallerWord::default();
        word.announce(7);
        word.fall_asleep(7).unwrap();
        let dismissed = |sole| {
            let mut is_woken = false;
            word.dismiss(sole, |_| is_woken = true);
            is_woken
        };
        assert!(!dismissed(Some(7)) && dismissed(None) && !dismissed(None));
        word.announce(8);
        word.fall_asleep(8).unwrap();
        assert!(word.leave(7, false), "it may have been answered");
        assert!(!dismissed(Some(8)));
        assert_eq!(woken(&word), (Answered::Taken, true));
        word.announce(9);
        word.fall_asleep(9).unwrap();
        assert!(dismissed(Some(8)));
    }
}
