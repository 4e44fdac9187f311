//! Results in the order of the items, and which of several errors is returned: `map`, `try_map`,
//! and collecting a parallel iterator into a vector.
//!
//! **Job.** Each item has its place in the vector that grows; the places are divided together with
//! the items, so that each thread writes its results in place (`raw_fill.rs`).
//!
//! Tests: `tests/thread/maps.rs`, `tests/iter/main.rs`.

use std::iter::empty;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use super::divide::{FoldPosition, Limit, Region};
use super::raw_fill as fill;
use super::raw_fill::Places;
use super::source::{Producer, Seal, Shape, Source};
use crate::large::is_large;
use crate::loom::Mutex;
use crate::task::panic::contain;
use crate::thread::engine::registry::Registry;

/// Items and the places for their results.
struct ItemsToFill<'a, P, R>(P, Places<'a, R>);

impl<P: Producer, R: Send> Producer for ItemsToFill<'_, P, R> {
    type Item = P::Item;
    fn len(&self) -> usize {
        self.0.len()
    }
    fn split_at(self, at: usize) -> (Self, Self) {
        let (items, rest) = self.0.split_at(at);
        let (places, more) = self.1.split_at(at);
        (Self(items, places), Self(rest, more))
    }
    fn forward(self) -> impl Iterator<Item = P::Item> {
        empty()
    }
    fn backward(self) -> impl Iterator<Item = P::Item> {
        empty()
    }
}

/// Appends what `fill` writes into the places of each piece. False: a piece was not filled, and the
/// vector is unchanged.
pub(in crate::thread) fn append<P: Producer, R: Send>(
    registry: &Arc<Registry>,
    limit: &Limit,
    shape: Shape,
    items: P,
    vec: &mut Vec<R>,
    fill: impl Fn(FoldPosition<'_>, P, &mut Places<'_, R>) + Sync,
) -> bool {
    fill::append(vec, items.len(), |places| {
        let items = ItemsToFill(items, places);
        let region = Region::new(
            limit,
            shape,
            |here, so_far: Option<Places<'_, R>>, part: ItemsToFill<'_, P, R>| {
                let ItemsToFill(items, mut places) = part;
                fill(here, items, &mut places);
                match so_far {
                    Some(so_far) => Some(so_far.join(places)),
                    None => Some(places),
                }
            },
            Places::join,
        );
        region.divide(registry, items)
    })
}

/// Runs of this many items are long enough for a reduction by any closure.
pub(crate) const RUN: usize = 8;

/// A part of a reduction.
enum Partial<R> {
    /// The value of a run so far, from its first item on; `None`: no item yet.
    Reduced(Option<R>),
    /// The results of a part that begins in the middle of a run: the part before it is not reduced
    /// yet.
    Mapped(Vec<R>),
}

/// The results of `map`, grouped by their number and the source's shape only: short runs of at most
/// `run` neighbours are reduced from left to right, and runs along a fixed tree.
pub(in crate::thread) fn map_reduce<S, R>(
    registry: &Arc<Registry>,
    source: S,
    run: usize,
    map: impl Fn(S::Item) -> R + Sync,
    reduce: impl Fn(R, R) -> R + Sync,
) -> Option<R>
where
    S: Source,
    R: Send,
{
    if const { is_large::<R>() } {
        let map = |item| Box::new(map(item));
        let reduce = |mut left: Box<R>, right: Box<R>| {
            *left = reduce(*left, *right);
            left
        };
        let boxed = map_reduce_direct(registry, source, run, map, reduce)?;
        return Some(*boxed);
    }
    map_reduce_direct(registry, source, run, map, reduce)
}

/// Like [`map_reduce`], for results that are not large.
fn map_reduce_direct<S, R>(
    registry: &Arc<Registry>,
    mut source: S,
    run: usize,
    map: impl Fn(S::Item) -> R + Sync,
    reduce: impl Fn(R, R) -> R + Sync,
) -> Option<R>
where
    S: Source,
    R: Send,
{
    let (shape, limit) = (source.shape(Seal), Limit::new());
    let items = source.open(Seal);
    // Without runs if a state for each piece may show how the items are grouped, if the items have
    // no order, or if one item gives so many results that they cannot be kept.
    let all = if shape.few || shape.unordered || !shape.single {
        let fold = |_: FoldPosition<'_>, _, items: S::Producer<'_>| {
            let results = items.forward().map(&map);
            results.reduce(&reduce)
        };
        Region::new(&limit, shape, fold, &reduce).divide_fixed(registry, items)
    } else {
        reduce_in_runs(registry, &limit, shape, items, run, &map, &reduce)
    };
    drop((source, map, reduce)); // before the result is returned: see `drive`
    all
}

/// [`map_reduce`] in runs of `run` items.
fn reduce_in_runs<P, R>(
    registry: &Arc<Registry>,
    limit: &Limit,
    shape: Shape,
    items: P,
    run: usize,
    map: &(impl Fn(P::Item) -> R + Sync),
    reduce: &(impl Fn(R, R) -> R + Sync),
) -> Option<R>
where
    P: Producer,
    R: Send,
{
    let fold = |_: FoldPosition<'_>, so_far: Option<Partial<R>>, items: P| {
        let begins = items.len() == 0;
        let results = items.forward().map(map);
        Some(match so_far {
            None if begins => Partial::Reduced(None),
            None => Partial::Mapped(results.collect()),
            Some(Partial::Reduced(None)) => Partial::Reduced(results.reduce(reduce)),
            Some(Partial::Reduced(Some(all))) => Partial::Reduced(Some(results.fold(all, reduce))),
            Some(Partial::Mapped(mut mapped)) => {
                mapped.extend(results);
                Partial::Mapped(mapped)
            }
        })
    };
    let join = |left: Partial<R>, right: Partial<R>| match (left, right) {
        (Partial::Mapped(left), Partial::Mapped(right)) => {
            Partial::Mapped(append_right(left, right))
        }
        (Partial::Reduced(None), Partial::Mapped(right)) => {
            Partial::Reduced(right.into_iter().reduce(reduce))
        }
        (Partial::Reduced(Some(left)), Partial::Mapped(right)) => {
            Partial::Reduced(Some(right.into_iter().fold(left, reduce)))
        }
        (Partial::Reduced(Some(left)), Partial::Reduced(Some(right))) => {
            Partial::Reduced(Some(reduce(left, right)))
        }
        (Partial::Reduced(left), Partial::Reduced(right)) => Partial::Reduced(left.or(right)),
        (Partial::Mapped(_), Partial::Reduced(_)) => {
            unreachable!("a run has its first item at the left")
        }
    };
    let region = Region::new(limit, shape, fold, join);
    match region.divide_in_runs(registry, run, items)? {
        Partial::Reduced(all) => all,
        Partial::Mapped(_) => unreachable!("a run has its first item at the left"),
    }
}

/// For results of up to this many bytes, places are reserved before the first item runs.
const IN_PLACE: usize = 1 << 30;

/// The result of `f` for each item, or the error of the lowest index.
pub(in crate::thread) fn try_map<S, R, E, F>(
    registry: &Arc<Registry>,
    mut source: S,
    f: F,
) -> Result<Vec<R>, E>
where
    S: Source,
    R: Send,
    E: Send,
    F: Fn(S::Item) -> Result<R, E> + Sync,
{
    // The failure with the lowest index so far.
    let failure = Mutex::new(None::<(usize, E)>);
    let limit = Limit::new();
    let fail = |at, error| {
        limit.lower(at);
        let mut failure = failure.lock();
        let later = match &*failure {
            Some((other, _)) if *other < at => Some((at, error)),
            _ => failure.replace((at, error)),
        };
        drop(failure);
        // A sequential loop would not have reached this one, nor its destructor's panic.
        contain(|| drop(later));
    };
    let shape = source.shape(Seal);
    // With an error type that has no values, as in `map`, all places are needed. Otherwise a
    // failure may come early, so a failed reservation is accepted: where memory is limited, unused
    // places count, too.
    let too_many = shape.len.saturating_mul(size_of::<R>()) > IN_PLACE;
    let may_fail = size_of::<Result<(), E>>() > 0;
    let mut results = Vec::new();
    let in_places =
        shape.exact && !(may_fail && (too_many || results.try_reserve_exact(shape.len).is_err()));
    let filled = catch_unwind(AssertUnwindSafe(|| {
        let items = source.open(Seal);
        if !in_places {
            let fold = |here: FoldPosition<'_>, so_far: Option<Vec<R>>, items: S::Producer<'_>| {
                let (mut list, mut error) = (Unwanted(so_far.unwrap_or_default()), None);
                list.0.extend(until(items.forward(), &f, &mut error));
                if let Some(error) = error {
                    fail(if shape.unordered { 0 } else { here.at }, error);
                }
                Some(list.wanted())
            };
            let region = Region::new(&limit, shape, fold, append_right);
            results = region.divide(registry, items).unwrap_or_default();
            return true;
        }
        append(
            registry,
            &limit,
            shape,
            items,
            &mut results,
            |here, items: S::Producer<'_>, places| {
                let mut error = None;
                places.extend(until(items.forward(), &f, &mut error));
                if let Some(error) = error {
                    fail(here.at + places.filled(), error);
                }
            },
        )
    }));
    let failure = failure.lock().take();
    drop((source, f)); // before the results are returned: see `drive`
    match (filled, failure) {
        // An item before the one that panicked has failed: a sequential loop would not have reached
        // the panic.
        (Err(payload), Some((at, error))) if !limit.is_below(at) => {
            contain(|| drop(payload));
            Err(error)
        }
        (Err(payload), later) => {
            contain(|| drop(later));
            resume_unwind(payload)
        }
        (Ok(_), Some((_, error))) => {
            drop(Unwanted(results)); // before the error is returned, for the same reason
            Err(error)
        }
        (Ok(true), None) => Ok(results),
        (Ok(false), None) => unreachable!("a part of a region stops only if an item fails"),
    }
}

/// Results that no caller gets, unless they are wanted after all. No panic of their destructors
/// goes any further: another panic may be on its way, or the next destructor's, and two abort.
struct Unwanted<R>(Vec<R>);

impl<R> Unwanted<R> {
    fn wanted(mut self) -> Vec<R> {
        mem::take(&mut self.0)
    }
}

impl<R> Drop for Unwanted<R> {
    fn drop(&mut self) {
        for result in mem::take(&mut self.0) {
            contain(|| drop(result));
        }
    }
}

/// The results of `f` for the items before the first that fails.
fn until<T, R, E>(
    items: impl Iterator<Item = T>,
    f: impl Fn(T) -> Result<R, E>,
    error: &mut Option<E>,
) -> impl Iterator<Item = R> {
    items.map_while(move |item| f(item).map_err(|e| *error = Some(e)).ok())
}

/// Appends `right` to `left`.
pub(crate) fn append_right<T>(mut left: Vec<T>, mut right: Vec<T>) -> Vec<T> {
    left.append(&mut right);
    left
}
