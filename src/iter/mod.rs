//! Parallel iterators: rayon's words, on the current thread pool.
//!
//! ```
//! use trefoil::prelude::*;
//!
//! let words = vec!["pear", "fig", "plum", "apple"];
//! let lengths: Vec<usize> = words.par_iter().map(|word| word.len()).collect();
//! assert_eq!(lengths, [4, 3, 4, 5]);
//!
//! let mut sorted = words.clone();
//! sorted.par_sort_unstable();
//! assert_eq!(sorted, ["apple", "fig", "pear", "plum"]);
//!
//! let pool = trefoil::ThreadPool::with_threads(2); // else the global pool does it
//! let sum: u64 = pool.install(|| (0..1000_u64).into_par_iter().filter(|n| n % 3 == 0).sum());
//! assert_eq!(sum, 166_833);
//! ```
//!
//! | to begin | |
//! |---|---|
//! | collections and ranges | `par_iter`, `par_iter_mut`, `into_par_iter` ([`IntoParallelIterator`]), `par_drain` |
//! | pieces of a slice | `par_chunks`, `par_chunks_mut`, `par_windows` ([`ParallelSlice`], [`ParallelSliceMut`]) |
//! | pieces of a string | `par_chars`, `par_bytes`, `par_lines`, `par_split_whitespace` ([`ParallelString`]) |
//! | any iterator | `par_bridge` ([`ParallelBridge`]) |
//!
//! The methods are in [`ParallelIterator`] and, for a known number of items,
//! [`IndexedParallelIterator`]; [`FromParallelIterator`] lists the collections that items can be
//! collected into. `par_sort` and its variants sort slices ([`ParallelSliceMut`]).
//!
//! For a single `map` on a pool that you already have, use
//! [`ThreadPool::map`](crate::ThreadPool::map): it takes the same sources, and parallel iterators,
//! too. If the items come slowly, or without an end, [`imap`](crate::ThreadPool::imap) gives
//! results in order.
//!
//! # Guarantees
//!
//! - Results are those of the sequential iterator: the first match, the error of the lowest item,
//!   the last of equal maxima. Exceptions are `par_bridge`, `fold`, `map_with`, `map_init`, sums
//!   and products that are long or not of plain numbers, [B-trees in a pair](FromParallelIterator),
//!   and the methods with `any` in their name.
//! - Reductions ([`sum`](ParallelIterator::sum), [`reduce`](ParallelIterator::reduce)) group the
//!   items by their number and the adaptors alone (those of a text by its bytes). A sum of floats
//!   in the same order has the same bits, on any number of threads. (`par_bridge` loses the order.)
//! - A panic in a closure stops the items behind it, and is resumed with its payload; of several,
//!   that of the lowest item. One that the sequential iterator would not have reached, behind the
//!   first match or failure, is not resumed (but see [there](ParallelIterator#panics)). Every item
//!   and every intermediate result is dropped once.
//! - A waiting worker runs only the work it waits for, as everywhere in [`thread`](crate::thread):
//!   a lock may be held while a consumer runs, if its items do not take that lock, as `println!`
//!   takes [`Stdout::lock`](std::io::Stdout::lock).
//!
//! # Cost
//!
//! Starting costs about as much as a [`join`](crate::join()), some hundred nanoseconds from outside
//! the pool, and some microseconds if a thread must be woken. The length of pieces is adapted while
//! the work runs, so tiny and uneven items need no tuning. An adaptor costs as much as std's: a
//! piece *is* a standard iterator. A consumer may visit each item where std's knows the result
//! without it: `max` of a range.
//!
//! # Not available from rayon
//!
//! Implementations of the traits for sources of your own (`bridge`, `plumbing`). Most adaptor types
//! have no name: write `impl ParallelIterator<Item = T>`, or `impl IndexedParallelIterator`.
//!
#![doc = include_str!("missing.md")]

// For work on this module.
//
//   a source ──opened──▶ a producer ──cut──▶ pieces ──▶ an iterator of std's ──▶ folded, joined
//   par, slices,         index_adaptors                 item_adaptors           parallel,
//   text, bridge                                                                collect_parts
//
// Reading order: `parallel` and `indexed` are the public API, with `sources` and `collect`. An
// adaptor is a source over a source: `item_adaptors` handles items one by one, `index_adaptors`
// needs their positions. `sort` uses only `join`, with its merges in `raw_merge`.
//
// Tests: `tests/iter/main.rs`; compared with rayon, on random inputs:
// `tests/trefoil-checks/tests/iter.rs`.

mod bridge;
mod cancellable;
mod collect;
mod collect_parts;
mod index_adaptors;
mod indexed;
mod item_adaptors;
mod par;
mod parallel;
mod raw_merge;
mod search;
mod slices;
mod sort;
mod sources;
mod text;
mod try_types;

pub use crate::thread::map::chain::Chain;
pub use collect::ParallelDrainRange;
pub use indexed::IndexedParallelIterator;
pub use item_adaptors::{Filter, FilterMap, Map, MapInit};
pub use par::Par;
pub use parallel::{FromParallelIterator, IntoParallelIterator, ParallelExtend, ParallelIterator};
pub use sources::{
    IntoParallelRefIterator, IntoParallelRefMutIterator, ParallelBridge, ParallelSlice,
    ParallelSliceMut, ParallelString,
};
pub use try_types::Try;
