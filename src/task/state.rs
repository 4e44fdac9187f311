//! Every atomic transition of a task, and nothing else.
//!
//! One word holds a task's flags and its reference count. The rest of `task` calls the verbs
//! below and acts on what they return; no other file compares and exchanges a task's state.
//! `docs/internals/SAFETY.md` has a picture of the transitions, whose numbers the verbs have.
//!
//! - **T1** At most one thread is between a transition that sets `RUNNING` and the one that clears
//!   it. Only that thread touches the work, and only it writes the output.
//! - **T2** The transition that sets `DONE` releases the output; a thread that saw `DONE` with
//!   acquire may read it. `DONE` is never cleared. If `HANDLE` was set at that moment, the handle
//!   owns the output; otherwise the finisher does.
//! - **T3** The consumer slot belongs to the handle while `WAITING` is clear. Setting `WAITING`
//!   lends it to the finisher; the handle gets it back by clearing `WAITING` before `DONE`. If
//!   `finish` found `WAITING` set, the slot is the finisher's for good.
//! - **T4** The count in the upper bits is the number of owners: the handle, each waker, each queue
//!   entry or runner, each promise, each `TaskRef`. The thread that drops the last one destroys the
//!   cell.
//! - **T5** A wake-up on a task that is scheduled or running still performs a read-modify-write: it
//!   publishes what the waking thread wrote before to the thread that will poll next. Without it a
//!   wake-up could be lost.
//! - **T16** A task that has woken itself while it was polled, by reference and on the thread that
//!   polls it, need not leave `RUNNING` to be queued: its runner keeps the right of T1 in a
//!   `Runnable`, which is not copied, and continues from there. Meanwhile other threads see a
//!   running task, and mark it as they would any (T5).
//! - **T26** The count is at least the number of owners, or so large that the cell is never freed:
//!   from 2^22 references on, [`CellState::release`] and [`CellState::wake`] do not decrease it,
//!   and from 2^22 + 2^21 on, [`CellState::retain`] and [`CellState::claim`] do not increase it.
//!   (The proof is in `docs/internals/SAFETY.md`.)
//! - **T27** A count of 0 is final. While the task is not DONE, a thread that has no reference may
//!   add one to a count that is not 0, under the lock of a list that has the cell: so the last
//!   owner of such a task decreases the count before it acts. The cell leaves the list, under
//!   that lock, before DONE is set, or, if its count is 0 before that, before it is freed.
//!
//! Every transition is `AcqRel` on success unless its doc says why less is enough. Tests:
//! `tests/trefoil-checks/tests/models.rs::{complete_vs_cancel_vs_join, wake_vs_cancel_vs_run}`, and
//! with twins that are broken on purpose
//! `tests/trefoil-checks/tests/models.rs::{the_models_catch_a_broken_lend,
//! the_models_catch_a_full_count_that_comes_down}`.

use crate::loom::atomic::{AtomicU32, Ordering};

/// A queue entry exists, or the runner will make one when it suspends.
const SCHEDULED: u32 = 1 << 0;
/// One thread has the work to itself: it polls, calls or drops it, and writes the output.
const RUNNING: u32 = 1 << 1;
/// The output was written, and the work was dropped. This is final.
const DONE: u32 = 1 << 2;
/// The task was asked to end: a future is dropped at its next start or suspension.
const CANCELLED: u32 = 1 << 3;
/// The `Task<T>` exists: it owns the output once `DONE` is set.
const HANDLE: u32 = 1 << 4;
/// The consumer slot is filled and lent to the thread that finishes the task.
const WAITING: u32 = 1 << 5;
/// The output was moved out or dropped by the handle.
const TAKEN: u32 = 1 << 6;
/// A waiter may run the queued closure, or poll the queued future, itself; set at birth.
const CLAIMABLE: u32 = 1 << 7;
/// Dropping the handle cancels the task. Only the handle changes this.
const TIED: u32 = 1 << 8;
/// One reference; the 23 bits from here up count them.
const REF: u32 = 1 << 9;
/// From this many references on, the count is not decreased any more (T26). It is the sign bit, so
/// one signed comparison recognizes both this and the last reference.
const MANY: u32 = 1 << 31;
/// From this many on, none is added either.
const FULL: u32 = MANY | MANY >> 1;

/// The word.
pub(super) struct CellState(AtomicU32);

/// What [`CellState::start`] found.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// Run the work.
    Run,
    /// Drop the work; the task was cancelled while it waited.
    Cancelled,
    /// Another thread has run or dropped the work; drop the reference.
    Stale,
}

/// What [`CellState::suspend`] found.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Suspend {
    /// Nothing to do; the runner's reference is gone.
    Idle,
    /// Woken meanwhile: schedule it. The runner's reference is that of the new queue entry.
    Again,
    /// Cancelled meanwhile: still running; drop the work and finish.
    Cancelled,
    /// That was the last reference: nothing can ever wake it. Destroy the cell.
    Gone,
}

/// What [`CellState::finish`] leaves to its caller.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finish {
    /// Nothing: the handle has the output, and the caller's reference is gone.
    Handed,
    /// A consumer waits: take it out of the slot and wake it. The caller keeps
    /// its reference for that.
    Consumer,
    /// No handle will take the output: drop it. The caller keeps its reference.
    Orphan,
    /// The task was cancelled meanwhile, and the caller honours that: replace the output, and
    /// finish again. It is still running.
    Overruled,
}

/// What [`CellState::cancel_idle`] and [`CellState::cancel_future`] ask of their caller.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cancel {
    /// Nothing: it is too late, or only the task's token can stop it.
    No,
    /// It will end in `Cancelled`; another thread takes care of that.
    Marked,
    /// As `Marked`, and a reference was added for a queue entry: schedule it.
    Schedule,
    /// The caller now runs the task, with a reference of its own: drop the work
    /// and finish with `Cancelled`.
    Claimed,
}

/// What [`CellState::drop_handle`] leaves to its caller.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Detach {
    /// The task is done: the output is the handle's to drop, unless taken. The caller keeps its
    /// reference.
    Done,
    /// The slot is back, and filled. The caller keeps its reference.
    Filled,
    /// The caller keeps its reference: it is the last, or one of many (T26).
    Kept,
    /// Nothing: the handle's reference is gone.
    Gone,
}

/// What [`CellState::look`] saw.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// The task has not ended.
    Pending,
    /// The task has ended, and the output is the handle's.
    Output,
    /// The task has ended, and the output was taken.
    Taken,
}

/// What [`CellState::release`] leaves to its caller.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Released {
    /// Nothing: there are other owners.
    Kept,
    /// That was the last one. The task is done: free the cell.
    Done,
    /// That was the last one. The task will never end: drop its work, and free the cell.
    Unfinished,
}

/// What [`CellState::wake`] asks of its caller.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wake {
    /// Schedule it, then release the waker's reference.
    Schedule,
    /// Nothing; the waker's reference is gone.
    Nothing,
    /// As `Nothing`, and it was the last reference: destroy the cell.
    Last,
}

impl CellState {
    /// A queued task with a handle and a queue entry.
    pub(super) fn scheduled(claimable: bool) -> Self {
        let claimable = if claimable { CLAIMABLE } else { 0 };
        Self(AtomicU32::new(SCHEDULED | HANDLE | claimable | (2 * REF)))
    }

    /// A pending promise with a handle and a completer.
    pub(super) fn promised() -> Self {
        Self(AtomicU32::new(HANDLE | (2 * REF)))
    }

    /// A finished task with a handle only.
    pub(super) fn done() -> Self {
        Self(AtomicU32::new(DONE | HANDLE | REF))
    }

    /// One transition: `next` sees the word and says what it becomes (`None`:
    /// nothing changes) and what to return.
    #[inline(always)]
    fn transition<R>(&self, mut next: impl FnMut(u32) -> (Option<u32>, R)) -> R {
        let mut current = self.0.load(Ordering::Acquire);
        loop {
            let (new, result) = next(current);
            let Some(new) = new else { return result };
            match self
                .0
                .compare_exchange_weak(current, new, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return result,
                Err(actual) => current = actual,
            }
        }
    }

    // ---------------------------------------------------------------- runner

    /// (1) The holder of a queue entry wants to run the task.
    #[inline]
    pub(super) fn start(&self) -> Start {
        self.transition(|s| {
            // Running and scheduled: a waiter has claimed the future, and will queue it again.
            if s & (SCHEDULED | RUNNING) != SCHEDULED {
                return (None, Start::Stale);
            }
            let result = if s & CANCELLED == 0 {
                Start::Run
            } else {
                Start::Cancelled
            };
            (Some((s & !SCHEDULED) | RUNNING), result)
        })
    }

    /// (1) The holder of the entry of a task that has yielded (T16) continues with it; it is still
    /// running.
    ///
    /// Usually a load is enough: a wake-up that is not seen here is seen when the task suspends.
    #[inline]
    pub(super) fn resume(&self) -> Start {
        let s = self.0.load(Ordering::Acquire);
        if s & CANCELLED != 0 {
            return Start::Cancelled;
        }
        if s & SCHEDULED != 0 {
            // This poll is the one that its wakers want (T5).
            self.0.fetch_and(!SCHEDULED, Ordering::AcqRel);
        }
        Start::Run
    }

    /// (2) A waiter wants to run a queued closure itself, or to poll a queued future. On success it
    /// has a reference of its own. The entry in the queue becomes stale, until a future is
    /// scheduled again: then either entry may start it, and the other is stale.
    #[inline]
    pub(super) fn claim(&self) -> bool {
        self.transition(|s| {
            if s & (CLAIMABLE | SCHEDULED | RUNNING | CANCELLED) != CLAIMABLE | SCHEDULED {
                return (None, false);
            }
            (Some(((s & !SCHEDULED) | RUNNING) + counted(s)), true)
        })
    }

    /// The future returned `Pending`.
    #[inline]
    pub(super) fn suspend(&self) -> Suspend {
        self.transition(|s| {
            if s & CANCELLED != 0 {
                (None, Suspend::Cancelled)
            } else if s & SCHEDULED != 0 {
                (Some(s & !RUNNING), Suspend::Again)
            } else {
                let next = (s & !RUNNING) - REF;
                (
                    Some(next),
                    if next < REF {
                        Suspend::Gone
                    } else {
                        Suspend::Idle
                    },
                )
            }
        })
    }

    /// (4) The work has been dropped and the output written: make it visible.
    /// `honour_cancel`: a cancellation that came meanwhile wins over the output.
    ///
    /// Gives up the caller's reference when nothing is left to do with it (`Handed`); otherwise the
    /// caller keeps it.
    #[inline]
    pub(super) fn finish(&self, honour_cancel: bool) -> Finish {
        self.transition(|s| {
            if honour_cancel && s & CANCELLED != 0 {
                return (None, Finish::Overruled);
            }
            let next = (s & !(RUNNING | SCHEDULED | WAITING)) | DONE;
            if s & HANDLE == 0 {
                (Some(next), Finish::Orphan)
            } else if s & WAITING != 0 {
                (Some(next), Finish::Consumer)
            } else {
                (Some(next - REF), Finish::Handed)
            }
        })
    }

    /// (5) The promise side wants to write the output. False: the task was cancelled.
    #[inline]
    pub(super) fn begin_complete(&self) -> bool {
        self.transition(|s| {
            if s & (DONE | RUNNING) != 0 {
                (None, false)
            } else {
                (Some(s | RUNNING), true)
            }
        })
    }

    // ----------------------------------------------------------------- wakers

    /// (3) A waker wakes by reference. Returns true if a reference was added: schedule it.
    #[inline]
    pub(super) fn wake_by_ref(&self) -> bool {
        self.transition(|s| {
            if s & DONE != 0 {
                (None, false)
            } else if s & (SCHEDULED | RUNNING) != 0 {
                (Some(s | SCHEDULED), false) // T5
            } else {
                (Some((s | SCHEDULED) + REF), true)
            }
        })
    }

    /// (3) A waker wakes by value. `Schedule`: as by reference, and the waker's own reference stays
    /// with the caller, because the executor's half of the cell must outlive the call that
    /// schedules; the other results drop it.
    #[inline]
    pub(super) fn wake(&self) -> Wake {
        self.transition(|s| {
            if s & (DONE | SCHEDULED | RUNNING) == 0 {
                return (Some((s | SCHEDULED) + REF), Wake::Schedule);
            }
            let marked = if s & DONE != 0 { s } else { s | SCHEDULED }; // T5
            let next = marked - REF;
            if is_last_or_many(next, REF) {
                return if next < REF {
                    (Some(next), Wake::Last)
                } else {
                    (Some(marked), Wake::Nothing) // T26
                };
            }
            (Some(next), Wake::Nothing)
        })
    }

    // ----------------------------------------------------------------- cancel

    /// (6) For closures and promises: if no thread runs or completes the task now, it is claimed;
    /// otherwise it is marked, for its token.
    pub(super) fn cancel_idle(&self) -> Cancel {
        self.transition(|s| {
            if s & DONE != 0 {
                (None, Cancel::No)
            } else if s & RUNNING != 0 {
                (Some(s | CANCELLED), Cancel::No)
            } else {
                (
                    Some(((s & !SCHEDULED) | RUNNING | CANCELLED) + REF),
                    Cancel::Claimed,
                )
            }
        })
    }

    /// (6) For futures: the task is marked, and scheduled if it sleeps, so that its executor drops
    /// it.
    pub(super) fn cancel_future(&self) -> Cancel {
        self.transition(|s| {
            if s & DONE != 0 {
                (None, Cancel::No)
            } else if s & (SCHEDULED | RUNNING) != 0 {
                (Some(s | CANCELLED), Cancel::Marked)
            } else {
                (Some((s | CANCELLED | SCHEDULED) + REF), Cancel::Schedule)
            }
        })
    }

    /// Whether the task was asked to end (also after it has ended).
    pub(super) fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire) & CANCELLED != 0
    }

    // ----------------------------------------------------------------- handle

    /// Whether the output was written (it may have been taken).
    #[inline]
    pub(super) fn is_done(&self) -> bool {
        self.0.load(Ordering::Acquire) & DONE != 0
    }

    /// Whether a thread has the work to itself now: a hint.
    #[inline]
    pub(super) fn is_running(&self) -> bool {
        self.0.load(Ordering::Relaxed) & RUNNING != 0
    }

    /// Whether a consumer waits for its end: a hint.
    pub(super) fn is_awaited(&self) -> bool {
        self.0.load(Ordering::Relaxed) & WAITING != 0
    }

    /// Whether a future whose poll has ended, but which has not suspended, will be queued again: it
    /// `woke_itself` (T16), or was woken meanwhile. If it is cancelled now, it will not.
    pub(super) fn runs_again(&self, woke_itself: bool) -> bool {
        let s = self.0.load(Ordering::Acquire);
        s & CANCELLED == 0 && (woke_itself || s & SCHEDULED != 0)
    }

    /// How many owners a future whose poll has ended has besides its runner, its handle (if there
    /// is one) and its executor, which keeps `kept` references. `None`: something has woken or
    /// cancelled it. They are its wakers, and each `AbortHandle` counts like one.
    pub(super) fn wakers(&self, kept: u32) -> Option<u32> {
        let s = self.0.load(Ordering::Acquire);
        if s & (SCHEDULED | CANCELLED) != 0 {
            return None;
        }
        (s / REF).checked_sub(1 + u32::from(s & HANDLE != 0) + kept)
    }

    /// Whether the output was taken, or the handle is gone.
    pub(super) fn is_settled(&self) -> bool {
        let s = self.0.load(Ordering::Acquire);
        s & HANDLE == 0 || s & TAKEN != 0
    }

    /// What the handle may do next.
    #[inline]
    pub(super) fn look(&self) -> Look {
        let s = self.0.load(Ordering::Acquire);
        if s & DONE == 0 {
            Look::Pending
        } else if s & TAKEN == 0 {
            Look::Output
        } else {
            Look::Taken
        }
    }

    /// Sets whether dropping the handle cancels the task.
    pub(super) fn tie(&self, tied: bool) {
        if tied {
            self.0.fetch_or(TIED, Ordering::Relaxed);
        } else {
            self.0.fetch_and(!TIED, Ordering::Relaxed);
        }
    }

    /// Whether dropping the handle cancels the task. `Relaxed`: the handle itself has set it.
    #[inline]
    pub(super) fn is_tied(&self) -> bool {
        self.0.load(Ordering::Relaxed) & TIED != 0
    }

    /// The handle lends its filled slot. False: it is too late, because the task is done; the slot
    /// is still the handle's.
    #[inline]
    pub(super) fn lend(&self) -> bool {
        #[cfg(loom)]
        if fault::broken_lend() {
            // The broken twin: a check and a store where one step is needed.
            let s = self.0.load(Ordering::Acquire);
            if s & DONE != 0 {
                return false;
            }
            self.0.store(s | WAITING, Ordering::Release);
            return true;
        }
        self.transition(|s| {
            if s & DONE != 0 {
                (None, false)
            } else {
                (Some(s | WAITING), true)
            }
        })
    }

    /// The handle wants its lent slot back. `Some(true)`: it is back, and filled;
    /// `Some(false)`: it was not lent; `None`: the task is done, and a lent slot is
    /// the finisher's.
    #[inline]
    pub(super) fn unlend(&self) -> Option<bool> {
        self.transition(|s| {
            if s & DONE != 0 {
                (None, None)
            } else if s & WAITING == 0 {
                (None, Some(false))
            } else {
                (Some(s & !WAITING), Some(true))
            }
        })
    }

    /// The handle has moved the output out.
    ///
    /// A plain store is enough if there is no other reference: then no thread can
    /// change the word meanwhile, or learn of it afterwards.
    #[inline]
    pub(super) fn set_taken(&self) {
        let s = self.0.load(Ordering::Acquire);
        if s < 2 * REF {
            self.0.store(s | TAKEN, Ordering::Relaxed);
        } else {
            self.0.fetch_or(TAKEN, Ordering::AcqRel);
        }
    }

    /// The handle is dropped, before the end if possible.
    #[inline]
    pub(super) fn drop_handle(&self) -> Detach {
        self.transition(|s| {
            if s & DONE != 0 {
                return (None, Detach::Done);
            }
            let next = s & !(HANDLE | WAITING);
            if s & WAITING != 0 {
                (Some(next), Detach::Filled)
            } else if is_last_or_many(next, 2 * REF) {
                (Some(next), Detach::Kept)
            } else {
                // This is one step, because the thread that runs the task may change the word, too.
                (Some(next - REF), Detach::Gone)
            }
        })
    }

    // ------------------------------------------------------------- references

    /// Adds an owner. `Relaxed`: an owner that exists makes it.
    #[inline]
    pub(super) fn retain(&self) {
        if self.0.fetch_add(REF, Ordering::Relaxed) >= MANY {
            self.retained_many();
        }
    }

    /// Adds an owner where the caller has no reference (T27). False if there is no owner any more.
    #[cfg(any(feature = "inspect", loom, test))]
    #[cold]
    pub(super) fn retain_if_owned(&self) -> bool {
        self.transition(|s| {
            if s < REF {
                (None, false)
            } else {
                (Some(s + counted(s)), true)
            }
        })
    }

    /// Removes an owner.
    ///
    /// The last owner of a task that is done needs no read-modify-write: no thread can add a
    /// reference without having one. To one that is not done, T27 allows that.
    #[inline]
    pub(super) fn release(&self) -> Released {
        let s = self.0.load(Ordering::Acquire);
        if s < 2 * REF && s & DONE != 0 {
            return Released::Done;
        }
        #[cfg(loom)]
        if s < 2 * REF && fault::decides_early() {
            return Released::Unfinished;
        }
        let s = self.0.fetch_sub(REF, Ordering::AcqRel);
        if is_last_or_many(s, 2 * REF) && self.released_last(s) {
            return match s & DONE {
                0 => Released::Unfinished,
                _ => Released::Done,
            };
        }
        Released::Kept
    }

    /// Like [`release`](Self::release), for a waker. Returns also whether nothing can wake the
    /// future any more, which sleeps, and if so, whether there is a handle.
    #[cfg(feature = "inspect")]
    pub(super) fn release_waker(&self, kept: u32) -> (bool, Option<bool>) {
        let s = self.0.fetch_sub(REF, Ordering::AcqRel);
        let is_last = is_last_or_many(s, 2 * REF) && self.released_last(s);
        let has_handle = s & HANDLE != 0;
        let sleeps = s & (SCHEDULED | RUNNING | CANCELLED | DONE) == 0;
        let was_last_waker = s / REF == 1 + u32::from(has_handle) + kept;
        let is_orphan = sleeps && was_last_waker && !is_last;
        (is_last, is_orphan.then_some(has_handle))
    }

    /// (T26) Called when a reference was added to many.
    #[cold]
    fn retained_many(&self) {
        if self.0.load(Ordering::Relaxed) >= FULL {
            self.0.fetch_sub(REF, Ordering::Relaxed);
        }
    }

    /// (T26) Called when a reference was removed: the last one, or one of many.
    #[cold]
    fn released_last(&self, before: u32) -> bool {
        #[cfg(loom)]
        if fault::counts_down() {
            return before < 2 * REF;
        }
        if before >= MANY {
            self.0.fetch_add(REF, Ordering::Relaxed);
        }
        before < MANY
    }
}

/// For tests and models.
#[cfg(any(test, loom))]
impl CellState {
    /// The state of a task that sleeps, whose count is `more` above the one from which on it is not
    /// increased.
    pub(super) fn with_too_many(more: i32) -> Self {
        let refs = (FULL / REF).saturating_add_signed(more);
        Self(AtomicU32::new(HANDLE | (refs * REF)))
    }

    /// How far the count is above that.
    pub(super) fn too_many(&self) -> i32 {
        (self.0.load(Ordering::Relaxed) / REF) as i32 - (FULL / REF) as i32
    }
}

/// What one more owner adds to the count (T26).
#[inline(always)]
fn counted(s: u32) -> u32 {
    if s < FULL { REF } else { 0 }
}

/// Whether the count is less than `least`, or more than can be counted (T26).
#[inline(always)]
fn is_last_or_many(s: u32, least: u32) -> bool {
    (s as i32) < least as i32
}

impl std::fmt::Debug for CellState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const NAMES: [(u32, &str); 9] = [
            (SCHEDULED, "SCHEDULED"),
            (RUNNING, "RUNNING"),
            (DONE, "DONE"),
            (CANCELLED, "CANCELLED"),
            (HANDLE, "HANDLE"),
            (WAITING, "WAITING"),
            (TAKEN, "TAKEN"),
            (CLAIMABLE, "CLAIMABLE"),
            (TIED, "TIED"),
        ];
        let s = self.0.load(Ordering::Relaxed);
        for (_, name) in NAMES.iter().filter(|(bit, _)| s & bit != 0) {
            write!(f, "{name}|")?;
        }
        write!(f, "refs={}", s / REF)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    impl CellState {
        fn refs(&self) -> u32 {
            self.0.load(Ordering::Relaxed) / REF
        }
    }

    /// A task that sleeps, with this many owners.
    fn owned_by(refs: u32) -> CellState {
        CellState(AtomicU32::new(HANDLE | (refs * REF)))
    }

    #[test]
    fn the_last_owner_is_told_and_no_other() {
        let state = owned_by(1);
        state.retain();
        assert_eq!(state.release(), Released::Kept);
        assert_eq!(state.release(), Released::Unfinished);
        let state = owned_by(1);
        assert_eq!(state.wake(), Wake::Schedule);
        assert_eq!(state.release(), Released::Kept, "the entry's is left");
        assert_eq!(state.wake(), Wake::Last);
    }

    #[test]
    fn a_count_of_zero_is_final() {
        let state = owned_by(1);
        assert!(state.retain_if_owned());
        assert_eq!(state.release(), Released::Kept);
        assert_eq!(state.release(), Released::Unfinished);
        assert!(!state.retain_if_owned());
        let done = CellState(AtomicU32::new(DONE | REF));
        assert_eq!(done.release(), Released::Done);
    }

    #[test]
    fn with_too_many_owners_none_is_ever_the_last() {
        const EDGE: u32 = MANY / REF;
        // Up to the limit each owner is counted, and can be removed again.
        let state = owned_by(EDGE - 1);
        state.retain();
        assert_eq!(state.refs(), EDGE);
        // At the limit none is removed, by any transition.
        assert_eq!(state.release(), Released::Kept);
        assert_eq!(state.refs(), EDGE);
        state.retain();
        assert_eq!(state.wake(), Wake::Schedule);
        assert_eq!(state.wake(), Wake::Nothing);
        assert!(state.refs() > EDGE);
        // An owner that was not counted is never removed, however many are dropped.
        let state = CellState::with_too_many(-2);
        (0..10).for_each(|_| state.retain());
        assert!((-2..=1).contains(&state.too_many()), "{state:?}");
        assert!((0..100).all(|_| state.release() == Released::Kept) && state.too_many() >= -2);
        state.0.fetch_or(DONE, Ordering::Relaxed);
        assert!((0..100).all(|_| state.wake() == Wake::Nothing));
        assert!(state.too_many() >= -2 && state.is_done());
    }

    /// A future that yields again and again, and one that is claimed by its waiter.
    #[test]
    fn with_too_many_owners_the_count_does_not_grow_for_ever() {
        let state = CellState::with_too_many(0);
        state.0.fetch_or(CLAIMABLE, Ordering::Relaxed);
        for _ in 0..if cfg!(miri) { 1 << 8 } else { 1 << 23 } {
            state.0.fetch_or(SCHEDULED, Ordering::Relaxed);
            assert!(state.claim());
            state.0.fetch_or(SCHEDULED, Ordering::Relaxed);
            assert_eq!(state.suspend(), Suspend::Again);
            assert_eq!(state.release(), Released::Kept);
        }
        assert!((-2..=2).contains(&state.too_many()), "{state:?}");
    }
}

/// A fault that a model must find.
#[cfg(loom)]
pub(super) mod fault {
    // A switch of the tests: no protocol.
    use std::sync::atomic::{AtomicBool, Ordering};

    static BROKEN_LEND: AtomicBool = AtomicBool::new(false);
    static COUNT_DOWN: AtomicBool = AtomicBool::new(false);

    /// Removes references from a count that is full.
    pub(crate) fn count_down(on: bool) {
        COUNT_DOWN.store(on, Ordering::SeqCst);
    }

    pub(super) fn counts_down() -> bool {
        COUNT_DOWN.load(Ordering::SeqCst)
    }

    static EARLY: AtomicBool = AtomicBool::new(false);

    /// Lets the last owner of a task that is not done act without a read-modify-write.
    pub(crate) fn decide_early(on: bool) {
        EARLY.store(on, Ordering::SeqCst);
    }

    pub(super) fn decides_early() -> bool {
        EARLY.load(Ordering::SeqCst)
    }

    /// Breaks `lend`, or repairs it, for the whole process.
    pub(crate) fn break_lend(on: bool) {
        BROKEN_LEND.store(on, Ordering::SeqCst);
    }

    pub(super) fn broken_lend() -> bool {
        BROKEN_LEND.load(Ordering::SeqCst)
    }
}
