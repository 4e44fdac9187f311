//! Progress bars for what runs on [trefoil](https://docs.rs/trefoil).
//!
//! Put [`with_progress`](Progress::with_progress) between the pool and the call, which does not
//! change, except that the bar counts in place of a `counted` of a `ProcessCall`. The bar advances
//! with each item that ends, of an `imap` or `as_completed` with each result that is taken.
//!
//! | the work | one call |
//! |---|---|
//! | a `map` on threads, and `map_each`, `map_task`, `for_each`, `try_map`, `map_reduce` | `pool.with_progress().map(items, f)` |
//! | a `map` in processes, and `map_each`, `map_with` | `procs.with_progress().map(items, f)` |
//! | the same with settings, and `map_task` | `procs.call(f).timeout(d).with_progress().map(items)` |
//! | an `imap` of either, or its stream | `pool.imap(items, f).with_progress()` |
//! | tasks of any mixture, those of a loop included | `as_completed(tasks).with_progress()` |
//! | an [`AnyExecutor`], [`Inline`] | `executor.with_progress().map(items, f)` |
//!
//! ```
//! use trefoil::{ThreadPool, as_completed};
//! use trefoil_progress::Progress;
//!
//! let pool = ThreadPool::with_threads(2);
//! let squares = pool.with_progress().map(0..100_u64, |n| n * n);
//! assert_eq!(squares[99], 9801);
//!
//! let tasks: Vec<_> = (0..10).map(|n| pool.spawn(move || n)).collect();
//! let mut sum = 0;
//! for result in as_completed(tasks).with_progress() {
//!     sum += result?;
//! }
//! assert_eq!(sum, 45);
//! # Ok::<(), trefoil::TaskError>(())
//! ```
//!
//! The bar is [indicatif](https://docs.rs/indicatif)'s: on standard error, at most twenty times a
//! second, and not at all if that is not a terminal. [`with_bar`](Progress::with_bar) takes your
//! own bar, with its template, its place in a `MultiProgress`, its hidden or captured target.
//!
//! # Cost
//!
//! Thirty to sixty nanoseconds for each item of a `map` on threads (measured with two); not
//! measurable in processes; an addition for each result taken.
//!
//! (For a bar that also moves between items, use indicatif's `enable_steady_tick`.)
//!
//! # Read next
//!
//! [`Progress`] lists what can have a bar.
//! `cargo run --release -p trefoil-progress --example progress_bars` shows them. Trefoil's feature
//! `trace` shows what each thread and process does.
#![deny(unsafe_code)]

// For work on this module. Items are counted in three ways, each where it costs least:
//
// 1. On threads, the thread that has ended an item advances the bar (`threads.rs`).
// 2. In processes, the driver's thread adds to a counter (`ProcessCall::counted`), and another
//    thread reads it twenty times a second, for a `map` the one that waits for it: a stopped
//    terminal must not stop the pool (`processes.rs`).
// 3. Results that are yielded one by one are counted where they are taken (`results.rs`).
//
// Rejected: a thread that draws (indicatif has one); an `Executor` with a bar (its `submit` would
// have to draw on the thread where a task ends, which may be the driver's; `as_completed` draws on
// the caller's thread); names like those of indicatif's own extension traits (`progress`), which
// would be ambiguous with both in scope.
//
// All of it stands on trefoil's public interface. Tests: `crates/trefoil-progress/tests/bars.rs`.

mod bar;
mod executors;
mod processes;
mod results;
mod threads;

#[doc(no_inline)]
pub use indicatif::{ProgressBar, ProgressStyle};

#[cfg(doc)]
use trefoil::{AnyExecutor, Inline, ProcessCall};

use self::bar::Bar;

/// Adds a bar to something that runs or yields work: `&ThreadPool`, `&ProcessPool`,
/// [`ProcessCall`], `&AnyExecutor` and `&Inline`; the `imap` types and their
/// streams; [`AsCompleted`](trefoil::task::AsCompleted).
pub trait Progress: Sized {
    /// The number of results that it will yield, if known. Only this crate can call or implement
    /// it.
    #[doc(hidden)]
    fn count(&self, _: Seal) -> Option<usize> {
        None
    }

    /// With a bar in a plain style: the bar, the count, the elapsed time and an estimate of the
    /// remaining time. A spinner with a count, if the number of items is not known.
    ///
    /// ```
    /// use trefoil_progress::Progress;
    ///
    /// let pool = trefoil::ThreadPool::with_threads(2);
    /// let total: u64 = pool.imap(1..=100_u64, |n| n).with_progress().sum();
    /// assert_eq!(total, 5050);
    /// ```
    fn with_progress(self) -> WithBar<Self> {
        with(self, Bar::ours())
    }

    /// With your own bar. Its position counts up from its current value. If it has no length, it
    /// gets room for the largest number of items that their `size_hint`, or length, allows. You
    /// finish it: indicatif does so when the last handle is dropped, in the way that the bar was
    /// configured for.
    ///
    /// ```
    /// use trefoil_progress::{Progress, ProgressBar};
    ///
    /// let pool = trefoil::ThreadPool::with_threads(2);
    /// let both = ProgressBar::hidden();
    /// both.set_length(30);
    /// pool.with_bar(both.clone()).for_each(0..10, |_| ());
    /// assert_eq!((both.position(), both.is_finished()), (10, false));
    /// pool.with_bar(both.clone()).for_each(0..20, |_| ());
    /// assert_eq!(both.position(), 30);
    /// ```
    fn with_bar(self, bar: ProgressBar) -> WithBar<Self> {
        with(self, Bar::theirs(bar))
    }
}

/// A type that only this crate can name, so that no other crate can implement [`Progress`].
mod seal {
    #[derive(Debug)]
    pub struct Seal;
}
use seal::Seal;

/// An executor, call or iterator with a bar; from [`Progress`].
///
/// It has those of `map` and similar methods that the wrapped value has and that a bar can follow,
/// or is an iterator or a stream as the wrapped value is. If it is dropped before the end, for
/// example after an error or a panic, the bar keeps its position.
#[derive(Debug)]
#[must_use = "the bar moves with a call: `map`, or a loop over the results"]
pub struct WithBar<S> {
    source: S,
    bar: Bar,
}

/// Wraps a source with its bar, and sets the bar's length if it is known.
fn with<S: Progress>(source: S, bar: Bar) -> WithBar<S> {
    bar.begin(source.count(Seal));
    WithBar { source, bar }
}
