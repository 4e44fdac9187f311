//! A closure on the stack of somebody who waits for it.
//!
//! **Job.** `join(a, b)` lets another worker run `b` while this thread runs `a`.
//! Nothing is allocated: `b`, the place for its result and the latch are in
//! the frame of the caller, and the queue holds only a pointer to it.
//!
//! **Protocol.** 1. The caller makes a [`StackJob`] and pushes a [`JobRef`] to
//! it. 2. Whoever takes the reference from a queue, exactly one thread, runs the
//! closure, writes the result, and sets the latch. 3. The caller either takes
//! its own reference back and runs the closure itself, or waits for the latch,
//! and only then looks at the result. A guard sees to 3 also while unwinding.
//!
//! - **P8** A `JobRef` is made once for a job and consumed once: by
//!   [`JobRef::run`] or by [`StackJob::run_inline`], or by its owner, who then calls what the closure
//!   borrows ([`offer`]); the queues neither copy nor drop it without handing it on.
//! - **P9** The frame that holds the job does not end before the reference
//!   has been consumed by its owner, or the latch has been seen to be set.
//! - **P10** Between the making of the reference and the end by P9, only the
//!   thread that consumes the reference touches the closure and the result.
//! - **P25** The closure of a [`Second`] is there until it is taken, after which it is not dropped.
//! - **P11** The thread that sets the latch has before taken what it needs
//!   afterwards: a counted reference to the waiter's slot (see P5).
//!
//! Rejected: `Option` around closure and result without need (rayon's flags);
//! a latch with a pointer to the pool (the slot is enough to wake the waiter).
//!
//! Tests: `tests/thread/pool.rs`, also under Miri (without its borrow model, which
//! `crossbeam-epoch` violates).
#![allow(unsafe_code)]

use std::mem::ManuallyDrop;
use std::sync::Arc;

use crate::loom::UnsafeCell;
use crate::loom::atomic::{AtomicUsize, Ordering};
use crate::record;
use crate::task::context::{Lineage, inherit};
use crate::task::panic::{self, Carried};
use crate::thread::latch::Latch;
use crate::thread::worker::{Slot, Worker};

type Caught<R> = Result<R, Carried>;

/// Nobody has taken the job.
pub(in crate::thread) const NOBODY: usize = usize::MAX;

/// A closure lent to the pool; see the module.
pub(in crate::thread) struct StackJob<'a, F, R> {
    latch: Latch,
    /// The slot of the thread that runs it, once one does; for leapfrogging.
    thief: AtomicUsize,
    /// Whom to wake.
    owner: &'a Arc<Slot>,
    /// The task that this is a part of.
    lineage: Lineage,
    closure: UnsafeCell<ManuallyDrop<F>>,
    result: UnsafeCell<Option<Caught<R>>>,
}

/// The one reference to a [`StackJob`].
pub(in crate::thread) struct JobRef {
    job: *const (),
    run: unsafe fn(*const (), &Worker),
}

// SAFETY: P8, P10: it gives its closure (`Send`) and its result (`Send`) to the
// one thread that consumes it; `StackJob::lend` requires both bounds.
unsafe impl Send for JobRef {}

impl JobRef {
    /// Runs the job. Never unwinds.
    #[inline]
    pub(in crate::thread) fn run(self, worker: &Worker) {
        // SAFETY: P8, P9: the reference is consumed here for the first time, so
        // the job is alive and `run` is the function that belongs to it.
        unsafe { (self.run)(self.job, worker) }
    }
}

impl<'a, F, R> StackJob<'a, F, R>
where
    F: FnOnce(&Worker, bool) -> R + Send,
    R: Send,
{
    #[inline]
    pub(in crate::thread) fn new(owner: &'a Arc<Slot>, closure: F) -> Self {
        Self {
            latch: Latch::new(),
            thief: AtomicUsize::new(NOBODY),
            owner,
            lineage: Lineage::current(),
            closure: UnsafeCell::new(ManuallyDrop::new(closure)),
            result: UnsafeCell::new(None),
        }
    }

    /// The slot of the worker that has taken the job.
    pub(in crate::thread) fn thief(&self) -> Option<usize> {
        // Acquire: pairs with `execute`. What the thief pushes it pushes after.
        Some(self.thief.load(Ordering::Acquire)).filter(|&slot| slot != NOBODY)
    }

    /// Makes the reference.
    ///
    /// # Safety
    /// Called once; afterwards the caller keeps P9 and P10.
    #[inline]
    pub(in crate::thread) unsafe fn lend(&self) -> JobRef {
        JobRef {
            job: (&raw const *self).cast(),
            run: Self::execute,
        }
    }

    /// Runs the job whose reference another thread has taken.
    ///
    /// # Safety
    /// `job` is from [`lend`](Self::lend), and this is its consumption (P8).
    unsafe fn execute(job: *const (), worker: &Worker) {
        let job = job.cast::<Self>();
        // SAFETY: P9: alive until the latch is set, which happens below, after
        // the last use of this borrow.
        let this = unsafe { &*job };
        this.thief.store(worker.slot_number(), Ordering::Release);
        // P11: before the latch.
        let owner = Arc::clone(this.owner);
        // SAFETY: P10, P8: nobody else touches the closure, and it is taken once.
        let closure = this.closure.with_mut(|closure| unsafe { closure.read() });
        let result = panic::carry(|| {
            // SAFETY: P9: the owner waits, where it took the lineage, until the latch is set.
            let _inherited = unsafe { inherit(this.lineage) };
            ManuallyDrop::into_inner(closure)(worker, true)
        });
        // SAFETY: P10: the caller looks at the result only after the latch.
        this.result.with_mut(|slot| unsafe { *slot = Some(result) });
        if this.latch.set() {
            record::roused(worker.registry().tag(), owner.number());
            owner.wake();
        }
    }

    /// Runs the job whose reference its owner has taken back, as part of the
    /// owner's own stack: a panic goes through.
    ///
    /// # Safety
    /// The reference has been taken back and dropped: this is its consumption (P8).
    #[inline]
    pub(in crate::thread) unsafe fn run_inline(&self, worker: &Worker) -> R {
        // SAFETY: P8, P10: the reference is gone, so no thief touches the closure, and it is taken once: this is its consumption.
        let closure = self.closure.with_mut(|closure| unsafe { closure.read() });
        ManuallyDrop::into_inner(closure)(worker, false)
    }

    /// The result of a job that another thread has run.
    ///
    /// # Safety
    /// The latch has been seen to be set (P9), and this is called once.
    pub(in crate::thread) unsafe fn take_result(&self) -> Caught<R> {
        // SAFETY: P4, P10: the thief is done with it, and what it wrote is visible.
        let result = self.result.with_mut(|slot| unsafe { (*slot).take() });
        match result {
            Some(result) => result,
            None => unreachable!("a set latch without a result"),
        }
    }
}

/// What the owner's frame does about its job, also while unwinding: the
/// reference is consumed when this is gone (P9).
struct Settle<'j, 'a, F, R>
where
    F: FnOnce(&Worker, bool) -> R + Send,
    R: Send,
{
    job: &'j StackJob<'a, F, R>,
    worker: &'j Worker,
    settled: bool,
}

impl<F, R> Settle<'_, '_, F, R>
where
    F: FnOnce(&Worker, bool) -> R + Send,
    R: Send,
{
    /// Takes the reference back, or waits until its thief is done.
    #[inline]
    fn take_back(&mut self) -> bool {
        self.settled = true;
        // Taken back or stolen, it is on offer no more.
        self.worker.pace().shut();
        // P6: the newest in the deque is this job's reference, or it is stolen.
        if let Some(reference) = self.worker.take_back() {
            debug_assert!(
                std::ptr::eq(reference.job, (&raw const *self.job).cast()),
                "P6"
            );
            self.worker.pace().came_back(false);
            return true;
        }
        self.worker.pace().came_back(true);
        self.worker
            .wait_for_thief(&self.job.latch, || self.job.thief());
        // What was run meanwhile says nothing about what follows.
        self.worker.pace().reset();
        false
    }
}

impl<F, R> Drop for Settle<'_, '_, F, R>
where
    F: FnOnce(&Worker, bool) -> R + Send,
    R: Send,
{
    /// Only while the first half unwinds: the second half still runs, as it would
    /// have if a thief had come, and its own panic is not heard.
    #[inline]
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        let second = if self.take_back() {
            // SAFETY: P8: taken back just now.
            panic::carry(|| unsafe { self.job.run_inline(self.worker) })
        } else {
            // SAFETY: P9: the wait has ended, and nobody else asks.
            unsafe { self.job.take_result() }
        };
        panic::contain(|| drop(second));
    }
}

/// The second half of a join that is run in turn: also while the first unwinds.
struct Second<B: FnOnce() -> RB, RB>(ManuallyDrop<B>);

impl<B: FnOnce() -> RB, RB> Drop for Second<B, RB> {
    /// Only while the first half unwinds; as in `Settle`.
    #[cold]
    fn drop(&mut self) {
        // SAFETY: P25: not taken, or this would have been forgotten.
        let closure = unsafe { ManuallyDrop::take(&mut self.0) };
        let second = panic::carry(closure);
        panic::contain(|| drop(second));
    }
}

/// A join that is not offered to anybody: runs `a` and then `b`. Panics are as in [`fork`].
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
    (first, b())
}

/// Runs `a` here and `b` here or elsewhere; returns when both have ended. A
/// panic of `a`, or else of `b`, is resumed. Each half is told on which worker
/// it runs, and whether it has been stolen.
#[inline(never)]
pub(in crate::thread) fn fork<A, B, RA, RB>(worker: &Worker, a: A, b: B) -> (RA, RB)
where
    A: FnOnce(&Worker, bool) -> RA,
    B: FnOnce(&Worker, bool) -> RB + Send,
    RB: Send,
{
    let job = StackJob::new(worker.slot(), b);
    // SAFETY: P8, P9, P10: once; `settle` keeps them, on every way out.
    let reference = unsafe { job.lend() };
    let mut settle = Settle {
        job: &job,
        worker,
        settled: false,
    };
    worker.push_job(reference);
    let first = a(worker, false);
    let second = if settle.take_back() {
        // SAFETY: P8: taken back just now.
        unsafe { job.run_inline(worker) }
    } else {
        // SAFETY: P9: the wait has ended, and nobody else asks.
        match unsafe { job.take_result() } {
            Ok(second) => second,
            Err(panic) => panic.resume(),
        }
    };
    (first, second)
}

/// As [`fork`], for halves that are the caller's. False: nobody has taken `b`; it has not been called, and the caller calls
/// it, from its own frame: what recurses in second halves needs no more stack than its own.
#[inline(never)]
pub(in crate::thread) fn offer(
    worker: &Worker,
    a: &mut (dyn FnMut() + Send),
    b: &mut (dyn FnMut() + Send),
) -> bool {
    let job = StackJob::new(worker.slot(), |_: &Worker, _| b());
    // SAFETY: P8, P9, P10: once; `settle` keeps them, on every way out.
    let reference = unsafe { job.lend() };
    let mut settle = Settle {
        job: &job,
        worker,
        settled: false,
    };
    worker.push_job(reference);
    a();
    if settle.take_back() {
        // P8: the reference is gone, and the closure owns nothing that would have to be dropped.
        return false;
    }
    // SAFETY: P9: the wait has ended, and nobody else asks.
    match unsafe { job.take_result() } {
        Ok(()) => true,
        Err(panic) => panic.resume(),
    }
}

/// Runs `f` on a worker, while this thread, which is none, waits. `push` queues
/// the reference, or gives it back if the pool is closed; `f` then runs here.
pub(in crate::thread) fn lend<F, R>(
    waiter: &Worker,
    f: F,
    push: impl FnOnce(JobRef) -> Result<(), JobRef>,
) -> R
where
    F: FnOnce(&Worker) -> R + Send,
    R: Send,
{
    let job = StackJob::new(waiter.slot(), |worker: &Worker, _| f(worker));
    // SAFETY: P8, P9, P10: once; nothing between here and the wait unwinds.
    let reference = unsafe { job.lend() };
    if push(reference).is_err() {
        // SAFETY: P8: given back.
        return unsafe { job.run_inline(waiter) };
    }
    waiter.wait(|| job.latch.is_set(), || job.latch.park(), || false);
    // SAFETY: P9: the wait has ended, and nobody else asks.
    match unsafe { job.take_result() } {
        Ok(result) => result,
        Err(panic) => panic.resume(),
    }
}
