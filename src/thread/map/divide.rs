//! A region: all items of a collection, divided among the workers.
//!
//! **Job.** The only dividing engine: `map`, `for_each`, `try_map` and `map_reduce` of the pools
//! call it, and so does every consumer of a parallel iterator. Every item is passed to the *fold*
//! once, which combines a part's value so far with the next piece; neighbouring parts are *joined*,
//! from left to right.
//!
//! **Dividing as the work goes** ([`Region::drive`]). The run of items is halved, by fork and join,
//! until there are about twice as many parts as workers, or enough is on offer and joins are short
//! (`join_window.rs`); a part that is stolen is halved further. Nothing is known about the items
//! yet. Each part then goes through its items chunk by chunk: one item at first; eight and 64 if
//! those before took next to no time; then twice as many each time, until a chunk takes some
//! microseconds or is a fair part of what is left. After each chunk the worker checks whether a
//! thread wants work and nothing of its own is left to steal; if so, it halves the rest. So only
//! uneven items cost divisions. While items are long, the worker does not wait for such a thread,
//! but always has something on offer: a thread that runs out of work in the middle of an item would
//! wait for its end, and the last items may be the dearest. A part that no thread steals goes on
//! with what the part before it has found out, so that a hundred tiny items cost few looks at the
//! clock.
//!
//! **Dividing along a fixed tree** ([`Region::walk`]). The tree depends only on the number of items
//! and the [`Shape`] (few pieces, their least and greatest length), never on workers or timing, so
//! a reduction that is not quite associative, such as a sum of floats, gives the same bits each
//! time (unless a piece gets arbitrary items: `Shape::unordered`). Which nodes are forked and which
//! are walked is decided as for joins (`join_window.rs`).
//! If there are few items, a node for each would cost more than the items. So a leaf may be a *run*
//! of neighbours, which is folded from left to right ([`Region::run`]). It is still divided as the
//! work goes: a part that begins in the middle of a run has no value to begin with, and keeps its
//! results apart until it is joined with the part before it (`results.rs`).
//!
//! **When an item fails** (a panic, or `try_map`'s error) its index becomes the *limit*. Parts
//! beyond it stop at their next chunk; parts before it go on, because an earlier item may fail as
//! well: the reported failure is the one that a sequential loop would have met first. (Of two
//! panics that of the left half is resumed, in `join/fork.rs`.) Produced results and remaining
//! items are dropped by their owners as they unwind.
//!
//! Tests: `tests/thread/pool.rs::{map_reduce_keeps_order_and_grouping,
//! eight_long_items_occupy_all_workers, try_map_gives_the_error_that_a_loop_would_have_met}`,
//! `tests/iter/main.rs`. Rejected: `docs/internals/decisions/parallel-iterators.md`.

use std::marker::PhantomData;
use std::mem;
use std::sync::Arc;

use super::source::{Producer, Shape};
use crate::events::{self, Items};
use crate::loom::atomic::{AtomicUsize, Ordering};
use crate::sys::ticks;
use crate::thread::engine::registry::Registry;
use crate::thread::engine::registry::enter::EnterMode;
use crate::thread::engine::worker::Worker;
use crate::thread::engine::worker::join_window;
use crate::thread::join::fork::fork;

/// A chunk shorter than this is doubled, one four times as long is halved.
const CHUNK: u64 = 5 * ticks::MICROSECOND;

/// After a chunk that took longer, something is on offer while the next one runs.
const LONG: u64 = CHUNK * 2;

/// A chunk shorter than this took next to no time.
const QUICK: u64 = CHUNK / 16;

/// The most items of a chunk after items that took next to no time: the next may be expensive, and
/// nothing of a chunk can be shared.
const BLIND: usize = 64;

/// How many leaves the fixed tree has, if each has [`LEAF`] items.
const LEAVES: usize = 4096;

/// The length of a leaf, large enough that walking the tree costs nothing in comparison. Also how
/// many numbers are summed from left to right (`LONG_RUN`, `iter/parallel.rs`).
pub(crate) const LEAF: usize = 1024;

/// The least number of leaves, even if they are shorter, because items may be expensive.
const FEW_LEAVES: usize = 256;

/// The least number of leaves if there should be few pieces.
const FEWEST_LEAVES: usize = 64;

/// The most items of a run that are folded at once if joins are short.
const SHORT_RUN: usize = 8;

/// A node with at least this many leaves is offered if a thread wants work, however long the joins
/// before it took.
const LARGE: usize = 8;

/// The index from which on nothing is needed: that of the lowest failure, or of the first item of
/// its piece.
#[derive(Debug)]
pub(in crate::thread) struct Limit(AtomicUsize);

impl Limit {
    pub(in crate::thread) fn new() -> Self {
        Self(AtomicUsize::new(usize::MAX))
    }

    pub(in crate::thread) fn lower(&self, at: usize) {
        self.0.fetch_min(at, Ordering::Relaxed);
    }

    #[inline]
    pub(in crate::thread) fn is_below(&self, at: usize) -> bool {
        self.0.load(Ordering::Relaxed) < at
    }
}

/// The position of a fold, and its means to stop others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FoldPosition<'a> {
    limit: &'a Limit,
    /// The index of the first item of this piece.
    pub(in crate::thread) at: usize,
}

impl FoldPosition<'_> {
    /// Declares that nothing behind this piece is needed any more, and, unless `only_behind`,
    /// nothing at all.
    pub(crate) fn stop(&self, only_behind: bool) {
        self.limit.lower(if only_behind { self.at } else { 0 });
    }

    /// Whether nothing of this piece is needed any more.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        self.limit.is_below(self.at.max(1))
    }
}

/// Stops the later parts if it is dropped by unwinding; `mem::forget` disarms it.
#[derive(Debug)]
struct StopOnUnwind<'a>(FoldPosition<'a>);

impl Drop for StopOnUnwind<'_> {
    fn drop(&mut self) {
        self.0.stop(true);
    }
}

/// The state that all parts of a region share.
#[derive(Debug)]
pub(in crate::thread) struct Region<'a, P, A, F, J> {
    limit: &'a Limit,
    items: PhantomData<fn(P) -> A>,
    shape: Shape,
    /// How many leaves the fixed tree has.
    leaves: usize,
    /// Counts the items for those who look at it.
    counted: Option<Items>,
    fold: F,
    join: J,
}

/// `items`: at most; `usize::MAX` if nothing is known.
fn counted(items: usize) -> Option<Items> {
    let total = (items < usize::MAX).then_some(items);
    events::items("map on threads", 0, total)
}

/// The value of a part so far, and how many items its next chunk may have; [`AFTER_LONG`]: one, and
/// something is on offer meanwhile.
type Going<A> = (Option<A>, usize);

/// The last chunk was [`LONG`].
const AFTER_LONG: usize = 0;

impl Shape {
    /// How many leaves the fixed tree over `len` items has: `enough` at most, unless there should
    /// be few, or leaves may not be so long.
    fn leaves(&self, len: usize, enough: usize) -> usize {
        let few = if self.few {
            FEWEST_LEAVES
        } else {
            (len / LEAF).clamp(FEW_LEAVES, LEAVES).min(enough)
        };
        let most = (len / self.min.max(1)).max(1);
        few.max(len.div_ceil(self.max.max(1))).min(most)
    }
}

impl<'a, P, A, F, J> Region<'a, P, A, F, J>
where
    P: Producer,
    A: Send,
    F: Fn(FoldPosition<'_>, Option<A>, P) -> Option<A> + Sync,
    J: Fn(A, A) -> A + Sync,
{
    pub(in crate::thread) fn new(limit: &'a Limit, shape: Shape, fold: F, join: J) -> Self {
        Self {
            limit,
            items: PhantomData,
            shape,
            leaves: 0,
            counted: None,
            fold,
            join,
        }
    }

    /// Folds all items in the pool of `registry`, divided as the work goes. `None`: there was no
    /// value.
    pub(in crate::thread) fn divide(mut self, registry: &Arc<Registry>, items: P) -> Option<A> {
        self.counted = counted(items.len());
        registry.enter(EnterMode::Region, |worker| match items.len() {
            // No items give one empty piece: the value that a stage begins each piece with is an
            // item (`fold`).
            0 => self.fold(0, None, items),
            _ => {
                let splits = first_splits(worker);
                self.drive(worker, 0, items, splits, (None, 1)).0
            }
        })
    }

    /// Like [`divide`](Self::divide), along the fixed tree, so that the grouping is the same each
    /// time.
    pub(in crate::thread) fn divide_fixed(
        mut self,
        registry: &Arc<Registry>,
        items: P,
    ) -> Option<A> {
        self.leaves = self.shape.leaves(items.len(), usize::MAX);
        self.walk_all::<false>(registry, items)
    }

    /// Like [`divide_fixed`](Self::divide_fixed), in runs of `run` items, or of more if that makes
    /// enough runs. For each run, the fold first gets an empty piece.
    pub(in crate::thread) fn divide_in_runs(
        mut self,
        registry: &Arc<Registry>,
        run: usize,
        items: P,
    ) -> Option<A> {
        self.leaves = self.shape.leaves(items.len(), items.len().div_ceil(run));
        self.walk_all::<true>(registry, items)
    }

    /// `RUNS`: whether each leaf of the tree is a run, whose fold begins with an empty piece.
    fn walk_all<const RUNS: bool>(mut self, registry: &Arc<Registry>, items: P) -> Option<A> {
        self.counted = counted(items.len());
        registry.enter(EnterMode::Region, |worker| match items.len() {
            0 => self.fold(0, None, items),
            _ => self.walk::<RUNS>(worker, 0, items, self.leaves),
        })
    }

    /// Folds the items, the first of which has the index `at`, chunk by chunk, and shares them when
    /// a thread wants work.
    fn drive(
        &self,
        worker: &Worker,
        at: usize,
        mut items: P,
        splits: usize,
        going: Going<A>,
    ) -> Going<A> {
        items.settle();
        let (min, max, few) = (self.shape.min.max(1), self.shape.max.max(1), self.shape.few);
        // What is not cut later is cut now, however short, unless it takes next to no time.
        let divides = splits > 0 && items.len() > going.1 && (few || !in_turn(worker));
        let mut is_long = going.1 == AFTER_LONG;
        let offers = divides || is_long && worker.offers_nothing();
        if offers && items.len() / 2 >= min {
            return self.halve(worker, at, items, splits / 2, going);
        }
        let (mut at, mut items, (mut so_far, chunk)) = (at, items, going);
        let mut chunk = if few { usize::MAX } else { chunk.max(min) };
        let is_whole = chunk.min(max) >= items.len();
        let mut clock = if is_whole { 0 } else { ticks::now() };
        let mut quick = !is_long;
        while items.len() > 0 && !self.limit.is_below(at) {
            let mut count = chunk.min(items.len()).min(max);
            if count > min && !(quick && count <= BLIND) && !few {
                count = count.min(most(items.len(), worker).max(min));
            }
            let (now, taken, later) = cut(items, count);
            items = later;
            so_far = self.fold(at, so_far, now);
            items.settle();
            self.count(taken);
            at = at.saturating_add(taken);
            if items.len() == 0 {
                break;
            }
            let before = mem::replace(&mut clock, ticks::now());
            let took = clock.saturating_sub(before);
            quick = took < QUICK;
            is_long = took > LONG;
            // From the actual length, not the planned one: near the end a chunk may not grow.
            if took < CHUNK {
                chunk = count.saturating_mul(if quick && count < BLIND { 8 } else { 2 });
            } else {
                if took > CHUNK * 4 {
                    chunk = (count / 2).max(1);
                }
                worker.between_items(clock);
                let offers = worker.offers_nothing() && (is_long || worker.is_wanted());
                if offers && items.len() / 2 >= min {
                    return self.halve(worker, at, items, 0, (so_far, unknown(is_long)));
                }
            }
        }
        // Before the result is returned: if a destructor panicked when the result was already
        // computed, at the end of this function, the result would be lost.
        drop(items);
        let next = if few || !quick {
            unknown(is_long)
        } else {
            chunk.min(BLIND)
        };
        (so_far, next)
    }

    fn halve(
        &self,
        worker: &Worker,
        at: usize,
        items: P,
        splits: usize,
        going: Going<A>,
    ) -> Going<A> {
        let middle = items.len() / 2;
        let (near, taken, far) = cut(items, middle);
        let (left, right) = fork(
            worker,
            move |worker| self.drive(worker, at, near, splits, going),
            move |worker, left| {
                let at = at.saturating_add(taken);
                let (splits, going) = match left {
                    Some(left) => (splits, left),
                    None => (splits.max(first_splits(worker)), (None, 1)),
                };
                self.drive(worker, at, far, splits, going)
            },
        );
        match left {
            Some(left) => (self.join(at, left.0, right.0), 1),
            None => right,
        }
    }

    /// Folds the items in the order of a tree with `leaves` leaves.
    #[inline(always)]
    fn walk<const RUNS: bool>(
        &self,
        worker: &Worker,
        at: usize,
        mut items: P,
        leaves: usize,
    ) -> Option<A> {
        items.settle();
        match items.len() {
            0 => None,
            _ if leaves <= 1 => self.leaf::<RUNS>(worker, at, items),
            _ => self.walk_node::<RUNS>(worker, at, items, leaves),
        }
    }

    #[inline(always)]
    fn leaf<const RUNS: bool>(&self, worker: &Worker, at: usize, items: P) -> Option<A> {
        if RUNS {
            self.run(worker, at, items)
        } else {
            self.fold_all(at, None, items)
        }
    }

    /// Folds a run from left to right. Parts of it that other threads fold begin without a value.
    fn run(&self, worker: &Worker, at: usize, items: P) -> Option<A> {
        let (nothing, items) = items.split_at(0);
        let first = self.fold(at, None, nothing);
        let is_short = || items.len() <= SHORT_RUN && in_turn(worker);
        if self.leaves >= FEW_LEAVES || is_short() {
            return self.fold_all(at, first, items);
        }
        // Other runs are on offer, unless there are few.
        let splits = first_splits(worker);
        let splits = if self.leaves > 2 * splits { 0 } else { splits };
        self.drive(worker, at, items, splits, (first, 1)).0
    }

    fn walk_node<const RUNS: bool>(
        &self,
        worker: &Worker,
        at: usize,
        items: P,
        leaves: usize,
    ) -> Option<A> {
        if self.limit.is_below(at) {
            return None;
        }
        // The window may come from joins before this region, whose items may be longer.
        if leaves >= LARGE && worker.is_wanted() && worker.offers_nothing() || !in_turn(worker) {
            return self.walk_forked::<RUNS>(worker, at, items, leaves);
        }
        let middle = middle(items.len(), leaves);
        let (near, taken, far) = cut(items, middle);
        let left = self.walk::<RUNS>(worker, at, near, leaves / 2);
        let at_far = at.saturating_add(taken);
        let right = self.walk::<RUNS>(worker, at_far, far, leaves - leaves / 2);
        self.join(at, left, right)
    }

    /// Walks a node, with one half for another thread. (A separate function, so that `walk_node`
    /// has a small stack frame.)
    #[inline(never)]
    fn walk_forked<const RUNS: bool>(
        &self,
        worker: &Worker,
        at: usize,
        items: P,
        leaves: usize,
    ) -> Option<A> {
        let middle = middle(items.len(), leaves);
        let (near, taken, far) = cut(items, middle);
        let (left, right) = fork(
            worker,
            move |worker| self.walk::<RUNS>(worker, at, near, leaves / 2),
            move |worker, left| {
                let right =
                    self.walk::<RUNS>(worker, at.saturating_add(taken), far, leaves - leaves / 2);
                match left {
                    Some(left) => self.join(at, left, right),
                    None => right,
                }
            },
        );
        match left {
            Some(left) => self.join(at, left, right),
            None => right,
        }
    }

    #[inline]
    fn here(&self, at: usize) -> FoldPosition<'_> {
        let limit = self.limit;
        FoldPosition { limit, at }
    }

    #[inline]
    fn fold(&self, at: usize, so_far: Option<A>, items: P) -> Option<A> {
        let fuse = StopOnUnwind(self.here(at));
        let result = (self.fold)(self.here(at), so_far, items);
        mem::forget(fuse);
        result
    }

    #[inline]
    fn fold_all(&self, at: usize, so_far: Option<A>, items: P) -> Option<A> {
        let count = items.len();
        let result = self.fold(at, so_far, items);
        self.count(count);
        result
    }

    /// So many items have been folded.
    #[inline]
    fn count(&self, items: usize) {
        if let Some(counted) = &self.counted {
            counted.add(items);
        }
    }

    #[inline]
    fn join(&self, at: usize, left: Option<A>, right: Option<A>) -> Option<A> {
        match (left, right) {
            (Some(left), Some(right)) => {
                let fuse = StopOnUnwind(self.here(at));
                let result = (self.join)(left, right);
                mem::forget(fuse);
                Some(result)
            }
            (one, other) => one.or(other),
        }
    }
}

/// The length of a chunk, where all that is known is whether the last one was [`LONG`].
fn unknown(is_long: bool) -> usize {
    if is_long { AFTER_LONG } else { 1 }
}

/// Whether halves run in turn, as in a join: enough is on offer, and what was divided last was
/// short (`join_window.rs`).
#[inline(always)]
fn in_turn(worker: &Worker) -> bool {
    join_window::step() || worker.runs_in_turn()
}

/// Splits off the first `count` items, and those that cannot be separated from them; returns them,
/// their number, and the others.
fn cut<P: Producer>(items: P, count: usize) -> (P, usize, P) {
    let (now, later) = items.split_at(count);
    let taken = now.len();
    (now, taken, later)
}

/// Where `len` items are cut so that all leaves are as long: `len * (leaves / 2) / leaves`.
fn middle(len: usize, leaves: usize) -> usize {
    if leaves.is_multiple_of(2) {
        return len / 2;
    }
    if leaves == len {
        return leaves / 2;
    }
    match len.checked_mul(leaves / 2) {
        Some(all) => all / leaves,
        None => (len as u128 * (leaves / 2) as u128 / leaves as u128) as usize,
    }
}

/// How many of the `left` items the next chunk may have. Items inside a chunk can no longer be
/// shared, and the last items may be the most expensive, so chunks shrink towards the end, unless
/// there is no other worker to share with.
fn most(left: usize, worker: &Worker) -> usize {
    match worker.registry().sleep.width() {
        1 => left,
        width => (left / (2 * width)).max(1),
    }
}

/// How often the items are halved unconditionally. A single worker divides nothing.
fn first_splits(worker: &Worker) -> usize {
    match worker.registry().sleep.width() {
        1 => 0,
        width => width,
    }
}
