//! A region: all items of a collection, divided among the workers.
//!
//! **Job.** `map`, `for_each` and `try_map`. Every item is handed
//! to the closure once, results keep the order of the items, and the work is divided
//! so that eight items of a second each occupy all workers, and ten million items
//! of a nanosecond cost nearly nothing to divide.
//!
//! **Dividing.** The run of items is halved, by fork and join, until there are
//! about twice as many parts as workers; a part that is stolen is halved
//! further. That much is done blindly: nothing is known about the items yet.
//! Each part then goes through its items chunk by chunk, one item at first, and
//! twice as many each time until a chunk takes some microseconds or is a fair part of
//! what is left. After each
//! chunk it looks whether a thread wants work and nothing of its own is
//! left to steal; if so, it halves what remains. So uneven items cost a
//! division where they are, and nowhere else.
//!
//! **When an item fails** (a panic, or `try_map`'s error) its index becomes the
//! *limit*. Parts beyond it stop at their next chunk; parts before it go on,
//! because an earlier item may fail as well: the failure that is reported is
//! the one that a sequential loop would have met. (Of two panics that of the left half
//! goes on, in `join/fork.rs`; of two errors `fail` keeps the lower.) What has been produced and what
//! has not been consumed is dropped by its owners as they unwind.
//!
//! Rejected: dividing to single items at once (a fork for each of ten million);
//! a shared counter of chunks (results would have to find their places, and the
//! line is contended); stopping at the first failure in time (a different error each run).
//!
//! Source: Tzannes et al., *Lazy binary splitting* (2010).
//!
//! Tests: `tests/thread/pool.rs` (order, drops, lowest failure, occupancy).

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::items::sealed::{Callback, Producer};
use super::join::fork::fork;
use super::raw::fill::{self, Filled, Places};
use super::registry::Registry;
use super::worker::Worker;
use crate::loom::Mutex;
use crate::loom::atomic::{AtomicUsize, Ordering};
use crate::task::panic::contain;

/// A chunk shorter than this is doubled, one four times as long is halved.
const CHUNK: Duration = Duration::from_micros(5);

/// From which index on nothing is needed: that of the lowest error, or the first of the chunk that the lowest panic was in.
pub(super) struct LowestFailure(AtomicUsize);

impl LowestFailure {
    pub(super) fn new() -> Self {
        Self(AtomicUsize::new(usize::MAX))
    }

    fn lower(&self, at: usize) {
        self.0.fetch_min(at, Ordering::Relaxed);
    }

    pub(super) fn is_below(&self, at: usize) -> bool {
        self.0.load(Ordering::Relaxed) < at
    }
}

/// Lowers the limit if the items from `at` on unwind; forgotten, it does not.
pub(super) struct LowerOnUnwind<'a>(pub(super) &'a LowestFailure, pub(super) usize);

impl Drop for LowerOnUnwind<'_> {
    fn drop(&mut self) {
        self.0.lower(self.1);
    }
}

/// What all parts of a region share.
struct Region<'f, F, E> {
    f: &'f F,
    limit: LowestFailure,
    /// The failure with the lowest index so far.
    failure: Mutex<Option<(usize, E)>>,
}

impl<F, E: Send> Region<'_, F, E> {
    /// Calls the function with all items, of which the first has the index `at`, and fills the places with what it returns.
    fn drive<'a, P, R>(
        &self,
        worker: &Worker,
        at: usize,
        items: P,
        places: Places<'a, R>,
        splits: usize,
    ) -> Filled<'a, R>
    where
        P: Producer,
        R: Send,
        F: Fn(P::Item) -> Result<R, E> + Sync,
    {
        if splits > 0 && items.len() > 1 {
            return self.halve(worker, at, items, places, splits / 2);
        }
        let (start, mut items, mut places) = (at, items, places);
        let mut chunk = 1;
        let mut clock = Instant::now();
        while items.len() > 0 && !self.limit.is_below(start + places.filled()) {
            let count = chunk.min(most(items.len(), worker));
            let (now, later) = items.split_at(count);
            items = later;
            let fuse = LowerOnUnwind(&self.limit, start + places.filled());
            let mut failure = None;
            places.extend(now.into_iter().map_while(|item| {
                let result = (self.f)(item);
                result.map_err(|error| failure = Some(error)).ok()
            }));
            mem::forget(fuse);
            let at = start + places.filled();
            if let Some(error) = failure {
                self.fail(at, error);
                break;
            }
            if items.len() == 0 {
                break;
            }
            let before = mem::replace(&mut clock, Instant::now());
            let took = clock.duration_since(before);
            if took < CHUNK {
                // Of what it was, not of what it might have been: near the end it may not double.
                chunk = count.saturating_mul(2);
            } else {
                if took > CHUNK * 4 {
                    chunk = (count / 2).max(1);
                }
                if items.len() > 1 && worker.wanted() {
                    let (filled, rest) = places.split_filled();
                    return filled.join(self.halve(worker, at, items, rest, 0));
                }
            }
        }
        places.split_filled().0
    }

    fn halve<'a, P, R>(
        &self,
        worker: &Worker,
        at: usize,
        items: P,
        places: Places<'a, R>,
        splits: usize,
    ) -> Filled<'a, R>
    where
        P: Producer,
        R: Send,
        F: Fn(P::Item) -> Result<R, E> + Sync,
    {
        let middle = items.len() / 2;
        let (near, far) = items.split_at(middle);
        let (near_places, far_places) = places.split_at(middle);
        let (left, right) = fork(
            worker,
            move |worker| self.drive(worker, at, near, near_places, splits),
            move |worker, stolen| {
                let splits = match stolen {
                    true => splits.max(first_splits(worker)),
                    false => splits,
                };
                self.drive(worker, at + middle, far, far_places, splits)
            },
        );
        left.join(right)
    }

    /// The item at this index has failed.
    fn fail(&self, at: usize, error: E) {
        let mut failure = self.failure.lock();
        let later = match &*failure {
            Some((other, _)) if *other < at => Some((at, error)),
            _ => failure.replace((at, error)),
        };
        drop(failure);
        self.limit.lower(at);
        // A loop would not have met this one, nor its destructor's panic.
        contain(|| drop(later));
    }
}

/// How many of the `left` items the next chunk may have. What is inside a chunk
/// cannot be shared any more, and the last items may be the dearest, so chunks
/// shrink towards the end; unless there is no other worker to share with.
fn most(left: usize, worker: &Worker) -> usize {
    match worker.registry().sleep.width() {
        1 => left,
        width => (left / (2 * width)).max(1),
    }
}

/// How often the items are halved blindly. One worker alone divides nothing.
pub(super) fn first_splits(worker: &Worker) -> usize {
    match worker.registry().sleep.width() {
        1 => 0,
        width => width,
    }
}

/// `try_map`, of which `map` and `for_each` are those that cannot fail.
pub(super) struct TryMap<'c, F>(pub(super) &'c Arc<Registry>, pub(super) F);

impl<T, R, E, F> Callback<T> for TryMap<'_, F>
where
    R: Send,
    E: Send,
    F: Fn(T) -> Result<R, E> + Sync,
{
    type Output = Result<Vec<R>, E>;
    fn call<P: Producer<Item = T>>(self, items: P) -> Self::Output {
        let region = &Region {
            f: &self.1,
            limit: LowestFailure::new(),
            failure: Mutex::new(None),
        };
        let results = catch_unwind(AssertUnwindSafe(|| {
            fill::collect(items.len(), |places| {
                self.0
                    .region(|worker| region.drive(worker, 0, items, places, first_splits(worker)))
            })
        }));
        let failure = region.failure.lock().take();
        match (results, failure) {
            // An item before the one that panicked has failed: a loop would not
            // have come to the panic.
            (Err(payload), Some((at, error))) if !region.limit.is_below(at) => {
                contain(|| drop(payload));
                Err(error)
            }
            (Err(payload), later) => {
                contain(|| drop(later));
                resume_unwind(payload)
            }
            (Ok(_), Some((_, error))) => Err(error),
            (Ok(Some(results)), None) => Ok(results),
            (Ok(None), None) => unreachable!("a part of a region stops only if an item fails"),
        }
    }
}
