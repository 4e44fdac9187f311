//! A join whose second half is offered to the other workers.
//!
//! **Job.** `join_window.rs` decides which joins are offered at all. An offered half is public at
//! once, whatever its expected length: its owner may be inside a long half the next moment, and
//! cannot be asked then, whereas a half that is not stolen costs only two atomic operations on a
//! cache line of its owner.
//!
//! Offering a half while threads sleep and none searches wakes one of them, unless that has proved
//! not to be worth it (`wake_policy.rs`); then the polling thread finds it.
//!
//! Rejected: keeping halves private while joins are tiny (the first long one after them strands all
//! of its owner's halves); publishing only when a thief asks (an owner inside a long half does not
//! notice).
//!
//! Tests: `tests/thread/pool.rs::{queued_halves_are_not_stranded_behind_a_long_leaf,
//! join_resumes_the_first_halfs_panic_after_both_ended}`, `tests/thread/stress_graphs.rs`.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use crate::task::panic::{Panic, catch, contain};
use crate::thread::engine::lent::raw_job::{HalfFn, Held, lend};
use crate::thread::engine::raw_current as current;
use crate::thread::engine::registry::Registry;
use crate::thread::engine::registry::enter::EnterMode;
use crate::thread::engine::worker::Worker;

/// This thread's window for joins that are run in turn is used up: opens a new one, if there is no
/// reason to offer this join. True: it runs in turn. `pool`: the address of the pool that the
/// thread must be inside; 0: of any.
#[cold]
#[inline(never)]
pub(in crate::thread) fn runs_in_turn(pool: usize) -> bool {
    current::with(|worker| match worker {
        Some(worker) if pool == 0 || worker.registry().address() == pool => worker.runs_in_turn(),
        _ => false,
    })
}

/// The pool of a join.
#[derive(Clone, Copy)]
pub(in crate::thread) enum JoinPool<'a> {
    Pool(&'a Arc<Registry>),
    /// The pool that this thread is inside of, or else the global one.
    Current(fn() -> &'static Arc<Registry>),
}

/// A join whose second half is offered to others.
///
/// The generic part ends here: the closures are passed on as trait objects, so that `join` is
/// little more than two calls for the compiler, which then inlines them.
#[cold]
#[inline(never)]
pub(in crate::thread) fn join_offered<A, B, RA, RB>(target: JoinPool<'_>, a: A, b: B) -> (RA, RB)
where
    A: FnOnce() -> RA + Send,
    B: FnOnce() -> RB + Send,
    RA: Send,
    RB: Send,
{
    let (mut a, mut b) = (Some(a), Some(b));
    let (mut first, mut second) = (None, None);
    let mut run = || first = a.take().map(|a| a());
    let mut lent = || second = b.take().map(|b| b());
    let offered = offer_in(target, &mut run, &mut lent);
    finish_join(offered, first, second, b)
}

/// A join in the pool of `worker`, on whose thread this runs. Each half gets the worker on which it
/// runs. If no thread steals the second half, it runs here and gets the result of the first, which
/// is then not returned.
#[inline(never)]
pub(in crate::thread) fn fork<A, B, RA, RB>(worker: &Worker, a: A, b: B) -> (Option<RA>, RB)
where
    A: FnOnce(&Worker) -> RA,
    B: FnOnce(&Worker, Option<RA>) -> RB + Send,
    RB: Send,
{
    let (mut a, mut b) = (Some(a), Some(b));
    let (mut first, mut second) = (None, None);
    let mut run = || first = a.take().map(|a| a(worker));
    let mut lent = || {
        // A thief runs it inside the pool.
        second = current::with(|thief| Some(b.take()?(thief?, None)));
    };
    if let Err(stopped) = offer(worker, &mut run, &mut lent) {
        stop(stopped, first, second);
    }
    match (b, second) {
        (Some(b), _) => (None, b(worker, first)),
        (None, Some(second)) => (first, second),
        (None, None) => unreachable!("a fork calls both halves"),
    }
}

/// Resumes the panic of a half after the other's result has been dropped.
fn stop<RA, RB>(stopped: Stopped, first: Option<RA>, second: Option<RB>) -> ! {
    contain(|| drop(first));
    contain(|| drop(second));
    match stopped {
        Stopped::Here(payload) => resume_unwind(payload),
        Stopped::There(panic) => panic.resume_unwind(),
    }
}

/// The results of a join: calls `b` if that has not been called.
// `b` is called from the frame of the join, so that what recurses there needs no more stack
#[inline(always)]
fn finish_join<RA, RB>(
    offered: Result<bool, Stopped>,
    first: Option<RA>,
    second: Option<RB>,
    b: Option<impl FnOnce() -> RB>,
) -> (RA, RB) {
    if let Err(stopped) = offered {
        stop(stopped, first, second);
    }
    let first = Held::new(first);
    let second = match b {
        Some(b) => Some(b()),
        None => second,
    };
    match (first.take(), second) {
        (Some(first), Some(second)) => (first, second),
        _ => unreachable!("a join calls both halves"),
    }
}

/// Like [`offer`], if need be as an outside thread of the target pool.
fn offer_in(target: JoinPool<'_>, a: HalfFn<'_>, b: HalfFn<'_>) -> Result<bool, Stopped> {
    current::with(|worker| {
        let registry = match (target, worker) {
            (JoinPool::Pool(registry), _) => registry,
            (JoinPool::Current(_), Some(worker)) => worker.registry(),
            (JoinPool::Current(global), None) => global(),
        };
        match worker {
            Some(worker) if worker.may_run() && registry.is(worker.registry()) => {
                let _helping = worker.helps(); // the body of a scope may be outside
                offer(worker, a, b)
            }
            _ => registry.enter(EnterMode::Region, |worker| {
                let stolen = offer(worker, a, &mut *b)?;
                if !stolen {
                    // (The first half's result is the caller's to drop.)
                    catch_unwind(AssertUnwindSafe(b)).map_err(Stopped::Here)?;
                }
                Ok(true)
            }),
        }
    })
}

/// A half has panicked: on this thread, or on another.
pub(in crate::thread) enum Stopped {
    Here(Box<dyn Any + Send>),
    There(Panic),
}

/// Calls `a` here, and `b` here or on another thread. False: `b` has not been called: the caller
/// calls it, from its own frame, so that recursion in second halves needs no additional stack. A
/// panic of `a`, otherwise of `b`, is returned after both have ended.
pub(in crate::thread) fn offer(
    worker: &Worker,
    a: &mut dyn FnMut(),
    b: &mut (dyn FnMut() + Send),
) -> Result<bool, Stopped> {
    let mut first = Ok(());
    // (`catch` would cost a hundred instructions more, and this panic goes on where it began.)
    let second = lend(&worker.slot().wake_handle, &mut *b, |reference, job| {
        worker.push_job(reference);
        first = catch_unwind(AssertUnwindSafe(&mut *a));
        let back = worker.take_job_back();
        if back.is_none() {
            worker.wait_for_thief(job);
        }
        back
    });
    match (first, second) {
        (Ok(()), None) => Ok(false),
        (Ok(()), Some(second)) => second.map(|()| true).map_err(Stopped::There),
        (Err(payload), second) => {
            let second = second.unwrap_or_else(|| catch(b));
            contain(|| drop(second));
            Err(Stopped::Here(payload))
        }
    }
}
