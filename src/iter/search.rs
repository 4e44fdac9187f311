//! Consumers that stop early: searches, and reductions of items that may be failures.
//!
//! **Job.** Threads run ahead: an item may panic that the sequential iterator would not have
//! reached, because it would have stopped before. So a panic is kept as the outcome of its piece,
//! like a match or a failure: it stops what is behind, and the outcome of the first piece that has
//! one is that of the whole. (Where any match will do, a match counts more than a panic.) Later
//! ones are dropped, and a panic of their destructors is caught.
//!
//! Tests: `tests/iter/speculation.rs`, `tests/iter/drops.rs`.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread::Result as Caught;

use super::try_types::Try;
use crate::task::panic::contain;
use crate::thread::{FoldPosition, Producer, Seal, Source, divide, divide_fixed};

/// A result of `f` that is `Some`: of the lowest such item, or the first one found.
///
/// In the second case, and of items without an order, a match counts more than a panic: the items
/// before the panic may not have been visited, because there was a match.
pub(super) fn search<S: Source, R: Send, F>(mut source: S, lowest: bool, f: F) -> Option<R>
where
    F: Fn(S::Item) -> Option<R> + Sync,
{
    let shape = source.shape(Seal);
    let in_order = lowest && !shape.unordered;
    let fold = |here: FoldPosition<'_>, so_far: Option<Caught<R>>, items: S::Producer<'_>| {
        if so_far.is_some() {
            drop(items);
            return so_far;
        }
        let found = catch(|| {
            let mut items = items.forward().take_while(|_| !here.is_over());
            let found = items.find_map(&f);
            drop(items);
            found
        });
        let found = found.transpose();
        if let Some(found) = &found {
            here.stop(in_order || found.is_err());
        }
        found
    };
    let join = |first: Caught<R>, second: Caught<R>| {
        let (kept, other) = if !in_order && first.is_err() && second.is_ok() {
            (second, first)
        } else {
            (first, second)
        };
        contain(|| drop(other));
        kept
    };
    let found = divide(shape, source.open(Seal), fold, join);
    drop((source, f)); // before the result is returned: a destructor that panics would lose it
    found.map(resume)
}

/// All values, combined along the fixed tree; or the first failure.
pub(super) fn try_reduce<S, T, F>(mut source: S, f: F) -> Option<S::Item>
where
    S: Source<Item: Try<Output = T>>,
    F: Fn(T, T) -> S::Item + Sync,
{
    let shape = source.shape(Seal);
    let combine = |left: T, right: S::Item| match right.branch(Seal) {
        Ok(right) => f(left, right),
        Err(failure) => {
            drop(left);
            failure
        }
    };
    let fold = |here: FoldPosition<'_>, _, items: S::Producer<'_>| {
        let mut has_failed = false;
        let reduced = catch(|| {
            let mut items = items.forward().take_while(|_| !here.is_over());
            let mut so_far = items.next()?.branch(Seal);
            while let Ok(value) = so_far {
                let Some(item) = items.next() else {
                    drop(items);
                    return Some(S::Item::from_output(value, Seal));
                };
                so_far = combine(value, item).branch(Seal);
            }
            drop(items);
            has_failed = true;
            so_far.err()
        });
        if reduced.is_err() || has_failed {
            here.stop(reduced.is_err() || !shape.unordered);
        }
        reduced.transpose()
    };
    let join =
        |left: Caught<S::Item>, right: Caught<S::Item>| match left.map(|left| left.branch(Seal)) {
            Err(panic) => {
                contain(|| drop(right));
                Err(panic)
            }
            Ok(Err(failure)) => {
                contain(|| drop(right));
                Ok(failure)
            }
            Ok(Ok(left)) => match right {
                Ok(right) => catch(|| combine(left, right)),
                Err(panic) => {
                    contain(|| drop(left));
                    Err(panic)
                }
            },
        };
    let reduced = divide_fixed(shape, source.open(Seal), fold, join);
    drop((source, f)); // before the result is returned: a destructor that panics would lose it
    reduced.map(resume)
}

fn catch<T>(f: impl FnOnce() -> T) -> Caught<T> {
    catch_unwind(AssertUnwindSafe(f))
}

fn resume<T>(caught: Caught<T>) -> T {
    caught.unwrap_or_else(|payload| resume_unwind(payload))
}
