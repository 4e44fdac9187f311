//! `map_reduce`: a region whose results are folded along a fixed tree.
//!
//! **Job.** Every item is mapped once, and the values are reduced from left to right.
//!
//! The items are divided along a tree that depends on their number only,
//! never on workers or timing, so that a reduction that is not quite associative, such
//! as a sum of floats, gives the same bits each time, on any number of workers. Which nodes
//! of that tree are forked and which are walked is decided by which workers are idle, as in `region.rs`.
//!
//! Failures are treated as in `region.rs`: the lowest is the one that is reported.
//!
//! Rejected: dividing as `map` does (the grouping would depend on which workers were idle);
//! a fold into one accumulator per worker (order).
//!
//! Tests: `tests/thread/pool.rs` (order, bits of float sums, the lowest panic).

use std::mem;
use std::sync::Arc;

use super::items::sealed::{Callback, Producer};
use super::join::fork::fork;
use super::region::{LowerOnUnwind, LowestFailure, first_splits};
use super::registry::Registry;
use super::worker::Worker;

/// The most leaves of the tree.
const LEAVES: usize = 4096;

pub(super) struct MapReduce<'c, M, R> {
    pub(super) registry: &'c Arc<Registry>,
    pub(super) limit: LowestFailure,
    pub(super) map: M,
    pub(super) reduce: R,
}

impl<M, R> MapReduce<'_, M, R> {
    /// `None`: there are no items, or an earlier one has failed.
    fn walk<P, A>(
        &self,
        worker: &Worker,
        at: usize,
        items: P,
        leaves: usize,
        splits: usize,
    ) -> Option<A>
    where
        P: Producer,
        A: Send,
        M: Fn(P::Item) -> A + Sync,
        R: Fn(A, A) -> A + Sync,
    {
        if self.limit.is_below(at) {
            return None;
        }
        if leaves <= 1 {
            let fuse = LowerOnUnwind(&self.limit, at);
            let result = items.into_iter().map(&self.map).reduce(&self.reduce);
            mem::forget(fuse);
            return result;
        }
        let near_leaves = leaves / 2;
        // By the leaves, so that all are as long; in u128, which cannot overflow.
        let middle = (items.len() as u128 * near_leaves as u128 / leaves as u128) as usize;
        let (near, far) = items.split_at(middle);
        let far_leaves = leaves - near_leaves;
        let (left, right) = if splits > 0 || worker.wanted() {
            fork(
                worker,
                move |worker| self.walk(worker, at, near, near_leaves, splits / 2),
                move |worker, stolen| {
                    let splits = if stolen {
                        (splits / 2).max(first_splits(worker))
                    } else {
                        splits / 2
                    };
                    self.walk(worker, at + middle, far, far_leaves, splits)
                },
            )
        } else {
            let left = self.walk(worker, at, near, near_leaves, 0);
            (left, self.walk(worker, at + middle, far, far_leaves, 0))
        };
        let fuse = LowerOnUnwind(&self.limit, at);
        let result = match (left, right) {
            (Some(left), Some(right)) => Some((self.reduce)(left, right)),
            (one, other) => one.or(other),
        };
        mem::forget(fuse);
        result
    }
}

impl<T, A, M, R> Callback<T> for MapReduce<'_, M, R>
where
    A: Send,
    M: Fn(T) -> A + Sync,
    R: Fn(A, A) -> A + Sync,
{
    /// `None`: there are no items.
    type Output = Option<A>;
    fn call<P: Producer<Item = T>>(self, items: P) -> Option<A> {
        let leaves = items.len().min(LEAVES);
        self.registry
            .region(|worker| self.walk(worker, 0, items, leaves, first_splits(worker)))
    }
}
