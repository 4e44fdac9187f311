//! A closure on the stack of a thread that waits for it.
//!
//! **Job.** The second half of a join may run on another worker while the caller runs the first.
//! Nothing is allocated: the closure and the latch are in the caller's frame, and the queue holds
//! only a pointer to them.
//!
//! **Protocol.** 1. [`lend`] makes a [`StackJob`], and a [`JobRef`] to it, which the caller queues.
//! 2. One thread takes the reference from the queue, calls the closure, and sets the latch. 3. That
//! thread is a thief, and the caller waits for the latch; or it is the caller, which takes the
//! reference back and calls the closure without the latch. `lend` checks that one of the two has
//! happened.
//!
//! - **P8** There is one `JobRef` for a job at most, consumed by [`JobRef::run`], or by [`lend`],
//!   to which its owner gives it back; the queues neither copy nor drop it without handing it on.
//!   [`JobRef::give_back`] turns it into a mark in the job, and the owner turns that mark into a
//!   reference again.
//! - **P9** The frame that holds the job does not end before the reference has been given back, or
//!   the latch has been seen to be set; except in a forked child, which has no thread that could
//!   run it.
//! - **P10** Between the making of the reference and the end by P9, only the thread that consumes
//!   the reference touches the closure and the panic.
//! - **P11** Before a thief sets the latch, it clones the handle to wake the owner with, because
//!   the job may be gone as soon as the latch is set.
//! - **P25** The closure of a [`Second`], and the result in a [`Held`], is there until it is taken,
//!   after which it is not dropped.
//!
//! Rejected: a job that is generic in its closure and result (each join would compile all of this
//! anew, and the results need cells of their own; a closure can write its result into its caller's
//! frame by itself).
//!
//! Tests: `tests/thread/pool.rs::{both_halves_run_at_once,
//! join_resumes_the_second_halfs_panic_and_drops_the_first_result}`, also under Miri (without its
//! borrow model, which `crossbeam-epoch` violates).
#![allow(unsafe_code)]

use std::mem::{ManuallyDrop, needs_drop};

use super::abort_on_unwind::AbortOnUnwind;
use super::latch::Latch;
use crate::loom::UnsafeCell;
use crate::loom::atomic::{AtomicU64, Ordering};
use crate::sys::ticks;
use crate::task::context::{Inherited, inherit};
use crate::task::panic::{self, Panic};
use crate::thread::engine::wake::WakeHandle;

/// No thread has taken the job.
const NONE: u64 = u64::MAX;

/// A thread has taken the job, and given it back to its owner.
const RETURNED: u64 = u64::MAX - 1;

/// The number of a slot that there is not.
const NOWHERE: usize = u32::MAX as usize - 2;

/// How many bits of the clock are left out where a job says when it was taken.
const COARSE: u32 = 8;

/// The clock in steps of some hundred nanoseconds.
fn coarse() -> u32 {
    (ticks::now() >> COARSE) as u32
}

pub(in crate::thread) type HalfFn<'a> = &'a mut (dyn FnMut() + Send);

/// A closure lent to the pool; see the module.
pub(in crate::thread) struct StackJob<'a> {
    latch: Latch,
    /// The slot of the thread that runs it, once one does, for leapfrogging; and above it, when
    /// that thread began.
    thief: AtomicU64,
    owner: &'a WakeHandle,
    /// The task that this is a part of.
    inherited: Inherited,
    half: UnsafeCell<HalfFn<'a>>,
    panic: UnsafeCell<Option<Panic>>,
}

/// The one reference to a [`StackJob`].
pub(in crate::thread) struct JobRef(*const StackJob<'static>);

// SAFETY: P8, P10: it gives the closure, which is `Send`, to the one thread that consumes it, and
// the panic back.
unsafe impl Send for JobRef {}

impl JobRef {
    /// Runs the job on the worker in this slot. Never unwinds.
    pub(in crate::thread) fn run(self, slot: usize) {
        // SAFETY: P8, P9: the reference is consumed here for the first time, so the job is alive
        // until its latch is set, which happens below, after the last use of this borrow.
        let job = unsafe { &*self.0 };
        // Release: pairs with `thief`.
        // A slot beyond what fits, after billions of outside threads, is one that nobody finds.
        let slot = slot.min(NOWHERE);
        let thief = u64::from(coarse()) << 32 | slot as u64;
        job.thief.store(thief, Ordering::Release);
        // P11: before the latch.
        let owner = job.owner.clone();
        let result = {
            // SAFETY: P9: the owner waits, where it took it, until the latch is set.
            let _inherited = unsafe { inherit(job.inherited) };
            // SAFETY: P10: this thread has consumed the reference, so no other touches the closure.
            panic::catch(|| job.half.with_mut(|half| unsafe { (*half)() }))
        };
        // SAFETY: P10: the owner looks at the panic only after the latch.
        job.panic.with_mut(|panic| unsafe { *panic = result.err() });
        if job.latch.set() {
            owner.wake();
        }
    }

    /// Gives the job back to its owner, which waits for it, or is about to.
    #[cold]
    pub(in crate::thread) fn give_back(self) {
        // SAFETY: P8, P9: the reference is not consumed before the store below, after which this
        // borrow is not used.
        let job = unsafe { &*self.0 };
        // P11: before the owner may take it.
        let owner = job.owner.clone();
        // Release: pairs with `take_back`.
        job.thief.store(RETURNED, Ordering::Release);
        owner.wake();
    }
}

impl StackJob<'_> {
    /// Set when the job has been run.
    pub(in crate::thread) fn latch(&self) -> &Latch {
        &self.latch
    }

    /// The slot of the worker that has taken the job, and for how many ticks it has run that.
    pub(in crate::thread) fn thief(&self) -> Option<(usize, u64)> {
        // Acquire: pairs with `run`. What the thief pushes it pushes after.
        let thief = self.thief.load(Ordering::Acquire);
        if thief >= RETURNED {
            return None;
        }
        // (The thief's clock may be ahead.)
        let runs = coarse().wrapping_sub((thief >> 32) as u32).cast_signed();
        Some((thief as u32 as usize, (runs.max(0) as u64) << COARSE))
    }

    /// For the owner, while it waits: takes the reference, if a thread has given it back.
    pub(in crate::thread) fn take_back(&self) -> Option<JobRef> {
        if self.thief.load(Ordering::Relaxed) != RETURNED {
            return None;
        }
        // Acquire: pairs with `give_back`. No other thread knows of the job now (P8).
        self.thief.swap(NONE, Ordering::Acquire);
        Some(JobRef((&raw const *self).cast()))
    }
}

/// Makes a job of `half`, calls `offer` with the reference to it, and returns when no other thread
/// can touch the job. `offer` must not unwind. It queues the reference, and returns either the
/// reference, taken back unused, or `None` after it has seen the job's latch set.
///
/// Returns `None` if the reference came back: `half` has not been called. Otherwise a thief has
/// called it: `Some`, with the thief's panic if there was one.
pub(in crate::thread) fn lend(
    owner: &WakeHandle,
    half: HalfFn<'_>,
    offer: impl FnOnce(JobRef, &StackJob<'_>) -> Option<JobRef>,
) -> Option<Result<(), Panic>> {
    let job = StackJob {
        latch: Latch::new(),
        thief: AtomicU64::new(NONE),
        owner,
        inherited: Inherited::current(),
        half: UnsafeCell::new(half),
        panic: UnsafeCell::new(None),
    };
    let frame = AbortOnUnwind::begin(); // P9: it does not unwind
    let back = offer(JobRef((&raw const job).cast()), &job);
    let is_back = back.is_some_and(|back| std::ptr::eq(back.0, (&raw const job).cast()));
    assert!(is_back || job.latch.is_set(), "P9: a job is lent still");
    frame.end();
    if is_back {
        return None;
    }
    // SAFETY: P4, P10: the latch is set, so the thief is done with it, and what it wrote is
    // visible.
    let panic = job.panic.with_mut(|panic| unsafe { (*panic).take() });
    Some(panic.map_or(Ok(()), Err))
}

/// The second half of a join that is run in turn. It is called even if the first unwinds.
struct Second<B: FnOnce() -> RB, RB>(ManuallyDrop<B>);

impl<B: FnOnce() -> RB, RB> Drop for Second<B, RB> {
    /// Runs only while the first half unwinds.
    #[cold]
    fn drop(&mut self) {
        // SAFETY: P25: not taken, or this would have been forgotten.
        let closure = unsafe { ManuallyDrop::take(&mut self.0) };
        let second = panic::catch(closure);
        panic::contain(|| drop(second));
    }
}

/// The result of a first half, while the second runs. If that panics, the result is dropped, and a
/// panic of its destructor goes no further: it would be the second panic, which aborts.
pub(in crate::thread) struct Held<R>(ManuallyDrop<R>);

impl<R> Held<R> {
    #[inline(always)]
    pub(in crate::thread) fn new(result: R) -> Self {
        Self(ManuallyDrop::new(result))
    }

    #[inline(always)]
    pub(in crate::thread) fn take(self) -> R {
        let mut held = ManuallyDrop::new(self);
        // SAFETY: P25: taken once; `held` is never dropped.
        unsafe { ManuallyDrop::take(&mut held.0) }
    }
}

impl<R> Drop for Held<R> {
    /// Runs only while the second half unwinds.
    #[cold]
    fn drop(&mut self) {
        // SAFETY: P25: not taken, or this would have been forgotten.
        let result = unsafe { ManuallyDrop::take(&mut self.0) };
        panic::contain(|| drop(result));
    }
}

/// A join that is not offered: runs `a` and then `b`. A panic of `a`, or else of `b`, is resumed
/// after both. (An `Option` around the closure costs twenty instructions at each.)
#[inline(always)]
pub(in crate::thread) fn in_turn<A, B, RA, RB>(a: A, b: B) -> (RA, RB)
where
    A: FnOnce() -> RA,
    B: FnOnce() -> RB,
{
    let second = Second(ManuallyDrop::new(b));
    let first = a();
    let mut second = ManuallyDrop::new(second);
    // SAFETY: P25: taken once; `second` is never dropped.
    let b = unsafe { ManuallyDrop::take(&mut second.0) };
    if const { needs_drop::<RA>() } {
        let first = Held::new(first);
        let second = b();
        return (first.take(), second);
    }
    (first, b())
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;
    use crate::loom::Parker;

    #[test]
    fn a_stolen_job_says_who_runs_it_and_for_how_long() {
        let parker = Parker::new();
        let owner = WakeHandle::new(parker.unparker().clone(), 1, 0);
        let long = 4 << COARSE;
        let mut half = || {
            let began = ticks::now();
            while ticks::since(began) < long {}
        };
        let ran = lend(&owner, &mut half, |reference, job| {
            assert_eq!(job.thief(), None);
            reference.run(7);
            let (slot, runs) = job.thief().expect("it was taken");
            assert_eq!(slot, 7);
            assert!(runs > long / 2, "{runs}");
            None
        });
        assert!(matches!(ran, Some(Ok(()))));
    }
}
