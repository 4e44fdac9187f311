//! A work-stealing thread pool, for computing on shared memory.
//!
//! [`ThreadPool`] runs closures. They may borrow from their caller, and results keep the order of
//! the items.
//!
//! Use it for work that keeps processors busy, and for calls that block. Run code that may crash or
//! never end in [worker processes](crate::process), and thousands of jobs that wait on an
//! [event loop](crate::event_loop).
//!
//! ```
//! use trefoil::ThreadPool;
//!
//! let pool = ThreadPool::with_threads(2); // or `new()`: as wide as there are CPUs
//! let words = ["three", "leaves"];
//! assert_eq!(pool.map(&words, |word| word.len()), [5, 6]);
//!
//! let (first, second) = pool.join(|| words[0].len(), || words[1].len());
//! let sum = pool.spawn(move || first + second); // in the background
//! assert_eq!(sum.join()?, 11);
//! # Ok::<_, trefoil::TaskError>(())
//! ```
//!
//! | to | use |
//! |---|---|
//! | do the same with many items | [`map`](ThreadPool::map), [`for_each`](ThreadPool::for_each), [`try_map`](ThreadPool::try_map), [`map_reduce`](ThreadPool::map_reduce) |
//! | get a result or a panic for each item; map without waiting | [`map_each`](ThreadPool::map_each), [`map_task`](ThreadPool::map_task) |
//! | take results one by one, of an iterator that may be endless | [`imap`](ThreadPool::imap), [`imap_unordered`](ThreadPool::imap_unordered) |
//! | stop a map from elsewhere | [`until`](ThreadPool::until) |
//! | do two things at once, and recursively | [`join`](ThreadPool::join) |
//! | start tasks that borrow | [`scope`](ThreadPool::scope) |
//! | start work that outlives the call | [`spawn`](ThreadPool::spawn), [`spawn_async`](ThreadPool::spawn_async) |
//! | do something once on each worker | [`broadcast`](ThreadPool::broadcast) |
//! | call something that blocks | [`blocking`](ThreadPool::blocking), [`spawn_blocking`](spawn_blocking()) |
//!
//! The functions [`join`](join()), [`scope`](scope()) and [`spawn_blocking`](spawn_blocking()) use
//! the pool that they are called in; outside a pool, the [global one](ThreadPool::global).
//!
//! # Promised
//!
//! - A waiting worker runs only the work that it waits for, and that work's children. Another
//!   thread takes its place meanwhile. So a lock may be held across a wait [for work that
//!   does not take it](ThreadPool).
//! - An idle pool uses no processor time.
//! - A panic of your code is resumed where its result is awaited (or is the task's error), after
//!   everything that borrows has ended. Workers survive it.
//! - Results and failures of a `map` or `join` are those of the sequential program, in its order.
//!
//! # Read next
//!
//! [`ThreadPool`] has all methods, [`ThreadPoolBuilder`] all options. If you know rayon, read
//! [this page](crate::_documentation::from_rayon). `src/thread/engine/README.md` describes how the
//! pool works.

// For work on this module.
//
//   spawn ──▶ tasks   ┐                          ┌─ a worker: find, run, sleep
//   scope ──▶ scoped  ├─▶ own deque or injector ─┤
//   join  ──▶ jobs    ┘         ▲ steal          └─ a waiter: only what it awaits
//
// `pool`, `until`, `builder`, `global`, `broadcast`, `current` and `stats` are the public API;
// `engine` is the scheduler, with all that it runs; on it stand `join`, `scope`, `map`, `imap`,
// `spawn`, `spawn_async` and `spawn_blocking`. No module imports one above it: `tests/tidy` checks
// that.
//
// Tests: `tests/thread/pool.rs::{join_gives_both_results_at_any_width,
// random_graphs_of_work_give_the_sequential_answer}`, `tests/thread/futures.rs`,
// `tests/thread/imap.rs::results_keep_the_order_of_the_items_or_come_all_the_same`; loom models in
// `tests/trefoil-checks/tests/pool.rs`.

mod broadcast;
mod builder;
mod current;
mod engine;
mod global;
mod imap;
mod join;
pub(crate) mod map;
mod pool;
mod scope;
mod spawn;
mod spawn_async;
mod spawn_blocking;
mod stats;
mod until;

/// For the models in `tests/trefoil-checks/`: the sleep protocol and the latch.
#[cfg(loom)]
#[doc(hidden)]
pub mod model;

/// For the models of calls that may block.
#[cfg(loom)]
#[doc(hidden)]
pub mod model_blocking;

/// For the models of indices and of scopes' queues.
#[cfg(loom)]
#[doc(hidden)]
pub mod model_places;

#[doc(hidden)]
pub use current::has_exclusive_index;
pub use current::{current, current_index, yield_now};
pub use imap::iterator::{Imap, ImapStream};
pub use map::items::Items;
#[doc(hidden)]
pub use map::source::Int;
pub use map::source::{Exact, Source};
pub use map::until::Cancellable;
pub use until::UntilCancelled;
/// The items that are public at the crate's root. (Their paths through this module compile, too,
/// but are undocumented.)
pub(crate) mod root {
    pub use super::builder::ThreadPoolBuilder;
    pub use super::current::Current;
    pub use super::global::{join, scope, spawn_blocking};
    pub use super::pool::ThreadPool;
    pub use super::scope::raw_scope::Scope;
    pub use super::scope::scoped_task::ScopedTask;
    pub use super::stats::ThreadStats;
}
/// For the parallel iterators, `crate::iter`.
pub(crate) use global::{append_all, divide, divide_fixed, map_reduce, try_collect, width};
pub(crate) use map::chain::{first, rest};
pub(crate) use map::divide::{FoldPosition, LEAF};
pub(crate) use map::raw_fill::reserve;
pub(crate) use map::results::{RUN, append_right};
pub(crate) use map::source::{Producer, Seal, Shape, iterates, source};
pub(crate) use map::until::{ItemsUntil, until};
#[doc(hidden)]
pub use root::*;

/// For the benchmarks that count instructions: stops the clock.
#[cfg(feature = "__bench")]
#[doc(hidden)]
pub use crate::sys::ticks::freeze as freeze_ticks;
