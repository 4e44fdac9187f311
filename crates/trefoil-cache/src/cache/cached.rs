//! Maps whose results are kept.
//!
//! All items are looked up here, before anything is dispatched. What is missing, each argument
//! once, goes to the executor; each result is kept as soon as it arrives, before the caller sees
//! it.

use std::collections::HashMap;
use std::fmt;
use std::iter;
use std::time::Duration;

use trefoil::process::{Portable, ProcessCall};
use trefoil::{CancelOnDrop, Executor, Task, TaskError};

use super::CacheError;
use super::flight::{Leading, Turn, leading, leads};
use super::function::Function;
use crate::key::Key;

/// What runs the items that are not in the cache: implemented for
/// [`ProcessCall`](trefoil::process::ProcessCall), and for every executor in [`OnExecutor`].
pub trait Runs<A, R> {
    /// Runs the items, and yields their results in order, as they come.
    fn run(&self, items: Vec<A>, f: fn(A) -> R) -> impl Iterator<Item = Result<R, TaskError>>;
}

impl<A: Portable, R: Portable> Runs<A, R> for ProcessCall<'_, A, R> {
    /// (The call has its own function.)
    fn run(&self, items: Vec<A>, _: fn(A) -> R) -> impl Iterator<Item = Result<R, TaskError>> {
        self.imap(items)
    }
}

/// An executor, for [`Cached`].
#[derive(Clone, Copy, Debug)]
pub struct OnExecutor<'a, E: ?Sized>(pub(crate) &'a E);

impl<A: Portable, R: Portable, E: Executor + ?Sized> Runs<A, R> for OnExecutor<'_, E> {
    fn run(&self, items: Vec<A>, f: fn(A) -> R) -> impl Iterator<Item = Result<R, TaskError>> {
        let tasks = items.into_iter().map(|item| self.0.submit(item, f));
        let tasks: Vec<_> = tasks.map(Task::cancel_on_drop).collect();
        tasks.into_iter().map(CancelOnDrop::join)
    }
}

/// Adds `cached` to the calls of a process pool.
///
/// ```
/// use trefoil::ProcessPool;
/// use trefoil_cache::{Cache, CachedCall};
///
/// fn square(n: u64) -> u64 {
///     n * n
/// }
///
/// # trefoil::init();
/// # let folder = std::env::temp_dir().join(format!("trefoil-cache-call-{}", std::process::id()));
/// let cache = Cache::open(&folder)?;
/// let squares = cache.function("square", 1, square);
/// let procs = ProcessPool::with_workers(2)?;
/// let all = procs.call(square).retry(1).cached(&squares).map(0..4)?;
/// assert_eq!(all, [0, 1, 4, 9]);
/// assert!(squares.contains(&3)?);
/// # std::fs::remove_dir_all(folder)?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub trait CachedCall<A, R>: Runs<A, R> + Sized {
    /// Takes results from the cache: only the items that it lacks are executed. `function` should
    /// have the function of this call.
    fn cached(self, function: &Function<A, R>) -> Cached<'_, Self, A, R> {
        Cached { on: self, function }
    }
}

impl<A: Portable, R: Portable> CachedCall<A, R> for ProcessCall<'_, A, R> {}

/// Adds `cached` to every [`Executor`](trefoil::Executor): to thread and process pools, to
/// [`Inline`](trefoil::Inline), and to one that was chosen by its name.
///
/// ```
/// use trefoil::ThreadPool;
/// use trefoil_cache::{Cache, CachedExecutor};
///
/// # let folder = std::env::temp_dir().join(format!("trefoil-cache-threads-{}", std::process::id()));
/// let cache = Cache::open(&folder)?;
/// let squares = cache.function("square", 1, |n: u64| n * n);
/// let pool = ThreadPool::with_threads(2);
/// assert_eq!(pool.cached(&squares).map([1, 2, 1])?, [1, 4, 1]);
/// assert_eq!(cache.stats().stored, 2);
/// # std::fs::remove_dir_all(folder)?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub trait CachedExecutor: Executor {
    /// Calls of `function` on this executor, of which only the items that its cache lacks are
    /// executed.
    fn cached<'a, A: Portable, R: Portable>(
        &'a self,
        function: &'a Function<A, R>,
    ) -> Cached<'a, OnExecutor<'a, Self>, A, R> {
        Cached {
            on: OnExecutor(self),
            function,
        }
    }
}

impl<E: Executor + ?Sized> CachedExecutor for E {}

/// Calls of a function whose results are kept: from [`CachedCall::cached`] and
/// [`CachedExecutor::cached`].
#[must_use = "it calls nothing until `map`"]
pub struct Cached<'a, X, A, R> {
    on: X,
    function: &'a Function<A, R>,
}

impl<X: Runs<A, R>, A: Portable, R: Portable> Cached<'_, X, A, R> {
    /// The results of all items, in their order. Equal items are computed once. What other threads
    /// compute with this cache at the same time is waited for, except within such a computation,
    /// and except the items of another map on a thread of a pool.
    ///
    /// # Errors
    /// The failure of the lowest index; what has not begun is cancelled, and what came before it is
    /// kept. (What others compute of the list is waited for all the same.) [`CacheError::Key`]
    /// before anything is executed.
    ///
    /// # Panics
    /// If the iterator does.
    pub fn map(&self, items: impl IntoIterator<Item = A>) -> Result<Vec<R>, CacheError> {
        let results = self.each(items, true)?;
        Ok(results.into_iter().collect::<Result<_, _>>()?)
    }

    /// The result of each item, in their order, errors included. (Equal items have copies, so a
    /// result that serde writes and cannot read back is an error for all but the first.)
    ///
    /// # Errors
    /// [`CacheError::Key`] before anything is executed.
    ///
    /// # Panics
    /// If the iterator does.
    pub fn map_each(
        &self,
        items: impl IntoIterator<Item = A>,
    ) -> Result<Vec<Result<R, TaskError>>, CacheError> {
        self.each(items, false)
    }

    /// The results; or, if `stops`, an error in place of what comes after the first one.
    fn each(
        &self,
        items: impl IntoIterator<Item = A>,
        stops: bool,
    ) -> Result<Vec<Result<R, TaskError>>, CacheError> {
        let kept = &self.function.results;
        let stored = kept.stored();
        let mut results = Vec::new();
        let mut missing: Vec<Missing<A>> = Vec::new();
        let mut places: HashMap<Key, usize> = HashMap::new();
        for (index, item) in items.into_iter().enumerate() {
            let key = kept.key(&item)?;
            let place = places.get(&key).copied();
            let found = match place {
                Some(_) => None,
                None => kept.load(&key),
            };
            match place {
                Some(place) => missing[place].indices.push(index),
                None if found.is_none() => {
                    places.insert(key, missing.len());
                    let indices = vec![index];
                    missing.push(Missing { key, indices, item });
                }
                None => {}
            }
            results.push(found.ok_or(TaskError::Closed));
        }
        // What others compute now is waited for when what is computed here has ended.
        let (mut own, mut others) = (Vec::new(), Vec::new());
        for item in missing {
            let turn = if leads() {
                Turn::Compute
            } else {
                kept.turn(&item.key, true)
            };
            match turn {
                Turn::Wait(other) => others.push((item, other)),
                Turn::Compute => own.push((item, None)),
                Turn::Lead(leading) => match kept.arrived(&item.key, stored) {
                    Some(result) => fill(&mut results, &item.indices, Ok(result)),
                    None => own.push((item, Some(leading))),
                },
            }
        }
        self.compute(own, stops, &mut results);
        let mut left = Vec::new();
        for (item, other) in others {
            match other.join().map(|_| kept.load(&item.key)) {
                Ok(Some(result)) => fill(&mut results, &item.indices, Ok(result)),
                // It has failed there, or cannot be kept.
                Ok(None) | Err(_) => left.push((item, None)),
            }
        }
        self.compute(left, stops, &mut results);
        Ok(results)
    }

    /// Computes what is missing. Others may wait for each until it is kept.
    fn compute(
        &self,
        missing: Vec<(Missing<A>, Option<Leading>)>,
        stops: bool,
        results: &mut [Result<R, TaskError>],
    ) {
        let (mut work, mut places) = (Vec::new(), Vec::new());
        for (Missing { key, indices, item }, leading) in missing {
            work.push(item);
            places.push((key, indices, leading));
        }
        // (An executor may compute on this thread, which must not wait for its own items then.)
        leading(|| {
            let mut computed = self.on.run(work, self.function.f);
            let mut last = TaskError::Closed;
            for (key, indices, leading) in places {
                // (A pool that has ended yields its error once.)
                let result = computed.next().unwrap_or(Err(last.clone()));
                let keep = |result| self.function.results.keep(&key, result, Duration::ZERO);
                let result = result.map(keep).inspect_err(|error| last = error.clone());
                drop(leading);
                let is_last = stops && result.is_err();
                fill(results, &indices, result);
                if is_last {
                    break;
                }
            }
        });
    }
}

/// An argument whose result the cache lacks, and its places in the list.
struct Missing<A> {
    key: Key,
    indices: Vec<usize>,
    item: A,
}

fn fill<R: Portable>(
    results: &mut [Result<R, TaskError>],
    indices: &[usize],
    result: Result<R, TaskError>,
) {
    for (index, result) in indices.iter().zip(copies(result, indices.len())) {
        // (The executor knows only its place among those that are missing.)
        results[*index] = result.map_err(|error| error.with_item(*index));
    }
}

/// A result, as often as equal items ask for it. (Not every result can be cloned, but nearly each
/// can be encoded and read again.)
fn copies<R: Portable>(
    result: Result<R, TaskError>,
    count: usize,
) -> impl Iterator<Item = Result<R, TaskError>> {
    let encoded = match &result {
        Ok(result) if count > 1 => postcard_described::to_vec(result).map_err(uncopied::<R>),
        Ok(_) => Ok(Vec::new()),
        Err(error) => Err(error.clone()),
    };
    let more = iter::repeat_with(move || {
        let encoded = encoded.as_deref().map_err(Clone::clone)?;
        postcard_described::from_slice(encoded).map_err(uncopied::<R>)
    });
    iter::once(result).chain(more.take(count - 1))
}

fn uncopied<R>(why: postcard_described::Error) -> TaskError {
    let name = std::any::type_name::<R>();
    TaskError::failed(format!(
        "a result of type `{name}` could not be copied for an equal item: {why}"
    ))
}

impl<X, A, R> fmt::Debug for Cached<'_, X, A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cached").field(self.function).finish()
    }
}
