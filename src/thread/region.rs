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
//! chunk it looks whether anybody wants work and nothing of its own is
//! left to steal; if so, it halves what remains. So uneven items cost a
//! division where they are, and nowhere else.
//!
//! **When an item fails** (a panic, or `try_map`'s error) its index becomes the
//! *limit*. Parts beyond it stop at their next chunk; parts before it go on,
//! because an earlier item may fail as well: the failure that is reported is
//! the one that a sequential loop would have met. What has been produced and what
//! has not been consumed is dropped by its owners as they unwind.
//!
//! Rejected: dividing to single items at once (a fork for each of ten million);
//! a shared counter of chunks (results would have to find their places, and the
//! line is contended); stopping at the first failure in time (a different error each run).
//!
//! Source: Tzannes et al., *Lazy binary splitting* (2010).
//!
//! Tests: `tests/thread/pool.rs` (order, drops, lowest failure, occupancy).

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::items::sealed::{Callback, Producer};
use super::raw::fill::{self, Filled, Places};
use super::raw::job::fork;
use super::registry::Registry;
use super::worker::Worker;
use crate::loom::Mutex;
use crate::loom::atomic::{AtomicUsize, Ordering};
use crate::task::panic::contain;

/// A chunk shorter than this is doubled, one four times as long is halved.
const CHUNK: Duration = Duration::from_micros(5);

/// The lowest index that is known to have failed.
pub(super) struct Limit(AtomicUsize);

impl Limit {
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

/// Lowers the limit if the items from `at` on unwind.
pub(super) struct Fuse<'a>(pub(super) &'a Limit, pub(super) usize);

impl Fuse<'_> {
    pub(super) fn defuse(self) {
        std::mem::forget(self);
    }
}

impl Drop for Fuse<'_> {
    fn drop(&mut self) {
        self.0.lower(self.1);
    }
}

/// Where items go: one part of it for each part of the items.
trait Sink<T>: Send + Sized {
    type Done: Send;
    fn split_at(self, at: usize) -> (Self, Self);
    /// `Break`: this one has failed; the index within `items`.
    fn feed(&mut self, items: impl Iterator<Item = T>) -> ControlFlow<usize>;
    /// What has been done so far, and a sink for what remains.
    fn cut(self) -> (Self::Done, Self);
    fn join(left: Self::Done, right: Self::Done) -> Self::Done;
}

/// Feeds all items to the sink. `at`: the index of the first of them.
fn drive<P, S>(
    limit: &Limit,
    worker: &Worker,
    at: usize,
    items: P,
    sink: S,
    splits: usize,
) -> S::Done
where
    P: Producer,
    S: Sink<P::Item>,
{
    if splits > 0 && items.len() > 1 {
        return halve(limit, worker, at, items, sink, splits / 2);
    }
    let (mut at, mut items, mut sink) = (at, items, sink);
    let mut chunk = 1;
    let mut clock = Instant::now();
    while items.len() > 0 && !limit.is_below(at) {
        let count = chunk.min(most(items.len(), worker));
        let (now, later) = items.split_at(count);
        items = later;
        let fuse = Fuse(limit, at);
        let fed = sink.feed(now.into_iter());
        fuse.defuse();
        if let ControlFlow::Break(index) = fed {
            limit.lower(at + index);
            break;
        }
        at += count;
        if items.len() == 0 {
            break;
        }
        let before = std::mem::replace(&mut clock, Instant::now());
        let took = clock.duration_since(before);
        if took < CHUNK {
            // Of what it was, not of what it might have been: near the end it may not double.
            chunk = count.saturating_mul(2);
        } else {
            if took > CHUNK * 4 {
                chunk = (count / 2).max(1);
            }
            if items.len() > 1 && worker.wanted() {
                let (done, rest) = sink.cut();
                return S::join(done, halve(limit, worker, at, items, rest, 0));
            }
        }
    }
    sink.cut().0
}

fn halve<P, S>(
    limit: &Limit,
    worker: &Worker,
    at: usize,
    items: P,
    sink: S,
    splits: usize,
) -> S::Done
where
    P: Producer,
    S: Sink<P::Item>,
{
    let middle = items.len() / 2;
    let (near, far) = items.split_at(middle);
    let (near_sink, far_sink) = sink.split_at(middle);
    let (left, right) = fork(
        worker,
        move |worker, _| drive(limit, worker, at, near, near_sink, splits),
        move |worker, stolen| {
            let splits = if stolen {
                splits.max(first_splits(worker))
            } else {
                splits
            };
            drive(limit, worker, at + middle, far, far_sink, splits)
        },
    );
    S::join(left, right)
}

/// How many of the `left` items the next chunk may have. What is inside a chunk
/// cannot be shared any more, and the last items may be the dearest, so chunks
/// shrink towards the end; unless there is nobody to share with.
fn most(left: usize, worker: &Worker) -> usize {
    match worker.registry().width() {
        1 => left,
        width => (left / (2 * width)).max(1),
    }
}

/// How often the items are halved blindly. One worker alone divides nothing.
pub(super) fn first_splits(worker: &Worker) -> usize {
    match worker.registry().width() {
        1 => 0,
        width => width,
    }
}

// ---- for_each --------------------------------------------------------------

struct Each<'f, F>(&'f F);

impl<T, F: Fn(T) + Sync> Sink<T> for Each<'_, F> {
    type Done = ();
    fn split_at(self, _: usize) -> (Self, Self) {
        (Self(self.0), self)
    }
    #[inline]
    fn feed(&mut self, items: impl Iterator<Item = T>) -> ControlFlow<usize> {
        items.for_each(self.0);
        ControlFlow::Continue(())
    }
    fn cut(self) -> ((), Self) {
        ((), self)
    }
    fn join((): (), (): ()) {}
}

pub(super) struct ForEach<'c, F>(pub(super) &'c Arc<Registry>, pub(super) F);

impl<T, F: Fn(T) + Sync> Callback<T> for ForEach<'_, F> {
    type Output = ();
    fn call<P: Producer<Item = T>>(self, items: P) {
        let f = &self.1;
        self.0.region(|worker| {
            drive(
                &Limit::new(),
                worker,
                0,
                items,
                Each(f),
                first_splits(worker),
            );
        });
    }
}

// ---- map -------------------------------------------------------------------

struct Fill<'f, 'a, F, R>(&'f F, Places<'a, R>);

impl<'a, T, R: Send, F: Fn(T) -> R + Sync> Sink<T> for Fill<'_, 'a, F, R> {
    type Done = Filled<'a, R>;
    fn split_at(self, at: usize) -> (Self, Self) {
        let (near, far) = self.1.split_at(at);
        (Self(self.0, near), Self(self.0, far))
    }
    #[inline]
    fn feed(&mut self, items: impl Iterator<Item = T>) -> ControlFlow<usize> {
        self.1.extend(items.map(self.0));
        ControlFlow::Continue(())
    }
    fn cut(self) -> (Self::Done, Self) {
        let (filled, rest) = self.1.split_filled();
        (filled, Self(self.0, rest))
    }
    fn join(left: Self::Done, right: Self::Done) -> Self::Done {
        left.join(right)
    }
}

pub(super) struct Map<'c, F>(pub(super) &'c Arc<Registry>, pub(super) F);

impl<T, R: Send, F: Fn(T) -> R + Sync> Callback<T> for Map<'_, F> {
    type Output = Vec<R>;
    fn call<P: Producer<Item = T>>(self, items: P) -> Vec<R> {
        let f = &self.1;
        let results = fill::collect(items.len(), |places| {
            self.0.region(|worker| {
                drive(
                    &Limit::new(),
                    worker,
                    0,
                    items,
                    Fill(f, places),
                    first_splits(worker),
                )
            })
        });
        results.unwrap_or_else(|| unreachable!("a part of a region stops only if an item fails"))
    }
}

// ---- try_map ---------------------------------------------------------------

/// The failure with the lowest index so far.
type Failure<E> = Mutex<Option<(usize, E)>>;

struct TryFill<'f, 'a, F, R, E> {
    f: &'f F,
    failure: &'f Failure<E>,
    /// The index of the first of `places`.
    at: usize,
    places: Places<'a, R>,
}

impl<'a, T, R, E, F> Sink<T> for TryFill<'_, 'a, F, R, E>
where
    R: Send,
    E: Send,
    F: Fn(T) -> Result<R, E> + Sync,
{
    type Done = Filled<'a, R>;
    fn split_at(self, at: usize) -> (Self, Self) {
        let (near, far) = self.places.split_at(at);
        (
            Self {
                f: self.f,
                failure: self.failure,
                at: self.at,
                places: near,
            },
            Self {
                f: self.f,
                failure: self.failure,
                at: self.at + at,
                places: far,
            },
        )
    }
    fn feed(&mut self, items: impl Iterator<Item = T>) -> ControlFlow<usize> {
        for (index, item) in items.enumerate() {
            match (self.f)(item) {
                Ok(result) => self.places.push(result),
                Err(error) => {
                    let at = self.at + self.places.filled();
                    let mut failure = self.failure.lock();
                    let later = if failure.as_ref().is_none_or(|&(other, _)| at < other) {
                        failure.replace((at, error))
                    } else {
                        Some((at, error))
                    };
                    drop(failure);
                    // A loop would not have met this one, nor its destructor's panic.
                    contain(|| drop(later));
                    return ControlFlow::Break(index);
                }
            }
        }
        ControlFlow::Continue(())
    }
    fn cut(self) -> (Self::Done, Self) {
        let at = self.at + self.places.filled();
        let (filled, places) = self.places.split_filled();
        (
            filled,
            Self {
                f: self.f,
                failure: self.failure,
                at,
                places,
            },
        )
    }
    fn join(left: Self::Done, right: Self::Done) -> Self::Done {
        left.join(right)
    }
}

pub(super) struct TryMap<'c, F>(pub(super) &'c Arc<Registry>, pub(super) F);

impl<T, R, E, F> Callback<T> for TryMap<'_, F>
where
    R: Send,
    E: Send,
    F: Fn(T) -> Result<R, E> + Sync,
{
    type Output = Result<Vec<R>, E>;
    fn call<P: Producer<Item = T>>(self, items: P) -> Self::Output {
        let f = &self.1;
        let failure = &Failure::new(None);
        let limit = &Limit::new();
        let results = catch_unwind(AssertUnwindSafe(|| {
            fill::collect(items.len(), |places| {
                self.0.region(|worker| {
                    let sink = TryFill {
                        f,
                        failure,
                        at: 0,
                        places,
                    };
                    drive(limit, worker, 0, items, sink, first_splits(worker))
                })
            })
        }));
        let failure = failure.lock().take();
        match (results, failure) {
            // An item before the one that panicked has failed: a loop would not
            // have come to the panic.
            (Err(payload), Some((at, error))) if !limit.is_below(at) => {
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
