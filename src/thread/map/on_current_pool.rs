//! The dividing engine for callers that name no pool: the parallel iterators.
//!
//! **Job.** Calls `divide.rs` and `results.rs` in the pool that this thread is inside, otherwise in
//! the global one.
//!
//! Tests: `tests/iter/main.rs`.

use super::divide::{FoldPosition, Limit, Region};
use super::raw_fill::UnfilledPart;
use super::results;
use super::source::{Producer, Seal, Shape, Source};
use crate::task::panic::contain;
use crate::thread::global::here;

/// Folds all items, divided as the work goes; `None`: there was no value.
pub(crate) fn divide<P, A, F, J>(shape: Shape, items: P, fold: F, join: J) -> Option<A>
where
    P: Producer,
    A: Send,
    F: Fn(FoldPosition<'_>, Option<A>, P) -> Option<A> + Sync,
    J: Fn(A, A) -> A + Sync,
{
    here(|registry| Region::new(&Limit::new(), shape, fold, join).divide(registry, items))
}

/// Like [`divide`], along a fixed tree, so that the grouping depends only on the number of items
/// and the shape.
pub(crate) fn divide_fixed<P, A, F, J>(shape: Shape, items: P, fold: F, join: J) -> Option<A>
where
    P: Producer,
    A: Send,
    F: Fn(FoldPosition<'_>, Option<A>, P) -> Option<A> + Sync,
    J: Fn(A, A) -> A + Sync,
{
    here(|registry| Region::new(&Limit::new(), shape, fold, join).divide_fixed(registry, items))
}

/// Combines the results of `map` two by two; see [`results::map_reduce`].
pub(crate) fn map_reduce<S: Source, R: Send>(
    source: S,
    run: usize,
    map: impl Fn(S::Item) -> R + Sync,
    reduce: impl Fn(R, R) -> R + Sync,
) -> Option<R> {
    here(|registry| results::map_reduce(registry, source, run, map, reduce))
}

/// Appends all items of a source, whose shape is exact, to a vector.
pub(crate) fn append_all<S: Source>(source: &mut S, vec: &mut Vec<S::Item>) {
    let (shape, limit) = (source.shape(Seal), Limit::new());
    let items = source.open(Seal);
    let fill = |_: FoldPosition<'_>, items: S::Producer<'_>, places: &mut UnfilledPart<'_, _>| {
        places.extend(items.forward());
    };
    let all = here(|registry| results::append(registry, &limit, shape, items, vec, fill));
    assert!(all, "a parallel iterator gave fewer items than it has");
}

/// All values of a source; or the error of the lowest index.
pub(crate) fn try_collect<S, R: Send, E: Send>(source: S) -> Result<Vec<R>, E>
where
    S: Source<Item = Result<R, E>>,
{
    here(|registry| results::try_map(registry, source, |item| item))
}

/// Drops what a sequential program would not have made; a panic of its destructor is caught.
pub(crate) fn discard<T>(later: T) {
    contain(|| drop(later));
}

/// The width of the pool that this thread's parallel iterators use.
pub(crate) fn width() -> usize {
    here(|registry| registry.sleep.width())
}
