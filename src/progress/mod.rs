//! A bar for work in progress: feature `indicatif`.
//!
//! Put [`with_progress`](Progress::with_progress) between the pool and the call, which stays as it is. The bar moves
//! with each item that has ended, and is finished when the call is.
//!
//! | the work | one call |
//! |---|---|
//! | a `map` on threads, and `for_each`, `try_map`, `map_reduce` | `pool.with_progress().map(items, f)` |
//! | a `map` in processes | `procs.with_progress().map(items, f)`, or `procs.call(f).timeout(d).with_progress().map(items)` |
//! | an `imap` of either, or its stream | `pool.with_progress().imap(items, f)`, or `pool.imap(items, f).with_progress()` |
//! | tasks of any mixture, those of a loop included | `as_completed(tasks).with_progress()` |
//! | an [`AnyExecutor`](crate::AnyExecutor), [`Inline`](crate::Inline) | `executor.with_progress().map(items, f)` |
//!
//! ```
//! use trefoil::progress::Progress;
//! use trefoil::{ThreadPool, as_completed};
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
//! The bar is [indicatif](https://docs.rs/indicatif)'s: on standard error, at most twenty times a second, and not
//! at all where that is no terminal. [`with_bar`](Progress::with_bar) takes one of your own,
//! with its template, its place in a `MultiProgress`, its hidden or captured target.
//!
//! # Cost
//!
//! Thirty to sixty nanoseconds for each item of a `map` on threads (measured with two); nothing that
//! could be measured in processes; an addition for each result taken.
//!
//! (A bar that moves between items, too, is indicatif's `enable_steady_tick`.)
//!
//! # Read next
//!
//! [`Progress`] lists what can have a bar. `cargo run --release --features indicatif --example progress_bars` shows
//! them. To see what each thread and process does, rather than how far it is, there is the feature `trace`.

// For work on this module. Three ways to count, each where it disturbs least:
//
// 1. On threads, the thread that has ended an item moves the bar (`threads.rs`).
// 2. In processes, the driver's thread adds to a number, and the thread that waits for the `map`
//    looks at it twenty times a second: a terminal that is stopped must not stop the pool
//    (`processes.rs`).
// 3. What yields results one by one is counted where they are taken (`results.rs`).
//
// Rejected: a thread that draws (indicatif has it); an `Executor` with a bar (its `submit` would have to draw on the
// thread where a task ends, which may be the driver's; `as_completed` does it on the caller's); names like indicatif's own
// extension traits (`progress`), since both in scope would be ambiguous.
//
// It stands above the executors, which know nothing of it. Tests: `tests/progress.rs`.

mod bar;
mod executors;
mod processes;
mod results;
mod threads;

#[doc(no_inline)]
pub use indicatif::{ProgressBar, ProgressStyle};

use self::bar::Bar;

/// Gives a bar to what runs or yields work. For `&ThreadPool`, `&ProcessPool`,
/// [`ProcessCall`](crate::ProcessCall), `&AnyExecutor` and `&Inline`; for what the `imap`s and their streams are,
/// and for [`AsCompleted`](crate::task::AsCompleted).
pub trait Progress: Sized {
    /// How many results it will yield, if it yields them and knows. Nobody else can call or implement it.
    #[doc(hidden)]
    fn count(&self, _: Seal) -> Option<usize> {
        None
    }

    /// With a bar of a plain style: how far, how many of how many, the time it has taken, and an estimate of the time left. A
    /// spinner that counts, where the number of items is not known.
    ///
    /// ```
    /// use trefoil::progress::Progress;
    ///
    /// let pool = trefoil::ThreadPool::with_threads(2);
    /// let total: u64 = pool.imap(1..=100_u64, |n| n).with_progress().sum();
    /// assert_eq!(total, 5050);
    /// ```
    fn with_progress(self) -> WithBar<Self> {
        with(self, Bar::ours())
    }

    /// With a bar of your own. If it has no length, it gets the number of items, where that is known;
    /// its position goes up from where it is. Finishing it is left to you: indicatif does so when the last handle is
    /// dropped, in the way that the bar was made for.
    ///
    /// ```
    /// use trefoil::progress::{Progress, ProgressBar};
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

/// What only this crate can name, so that nobody else can implement [`Progress`].
mod seal {
    #[derive(Debug)]
    pub struct Seal;
}
use seal::Seal;

/// Something that runs or yields work, and its bar; from [`Progress`].
///
/// It has `map`, `imap` and those of their kin that the thing itself has and a bar can follow. Dropped before the end, as after an error
/// or a panic, it leaves the bar where it stands.
#[derive(Debug)]
#[must_use = "the bar moves with a call: `map`, `imap`, or a loop over the results"]
pub struct WithBar<S> {
    source: S,
    bar: Bar,
}

/// A source, and its bar, which hears what is known already.
fn with<S: Progress>(source: S, bar: Bar) -> WithBar<S> {
    bar.begin(source.count(Seal));
    WithBar { source, bar }
}
