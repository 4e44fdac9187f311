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
//! What can be done with the items is told by [`ParallelIterator`] and, where their number is known, [`IndexedParallelIterator`]; what they can
//! be collected into, by [`FromParallelIterator`]. Slices are sorted by `par_sort` and its kin ([`ParallelSliceMut`]).
//!
//! Choose [`ThreadPool::map`](crate::ThreadPool::map) for a single `map` on a pool that you have at hand: it takes the same sources, and
//! parallel iterators, too. Where the items come slowly, or without an end, [`imap`](crate::ThreadPool::imap) gives results in order.
//!
//! # Promised
//!
//! - Results are those of the sequential iterator: the first that is found, the error of the lowest item, the last of equal maxima.
//!   Only what has `any` in its name and `par_bridge` are left to chance.
//! - Reductions ([`sum`](ParallelIterator::sum), [`reduce`](ParallelIterator::reduce)) group the items by their number only. A sum of
//!   floats has the same bits each time, on any number of threads.
//! - A panic in a closure ends the rest, and is resumed whole: of several, that of the lowest item. Every item, and
//!   all that has been made of one, is dropped once.
//! - A worker that waits runs only what it waits for, as everywhere in [`thread`](crate::thread): a lock may be held across an end.
//!
//! # Cost
//!
//! To begin costs about as much as a [`join`](crate::join()), some hundred nanoseconds from outside of the pool, and some microseconds if a
//! thread is to be woken. The length of pieces is found as the work runs, so tiny and uneven items need no tuning. An adaptor costs what
//! std's does: a piece *is* an iterator of std's.
//!
//! # What rayon has beside
//!
//! Implementations of the traits for sources of your own (`bridge`, `plumbing`), `interleave`, `intersperse`, `multizip`, `by_exponential_blocks`,
//! `par_split`, `Either`. The types of adaptors are not all of rayon's names.

// For work on this module.
//
//   a source ──opened──▶ a producer ──cut──▶ pieces ──▶ an iterator of std's ──▶ folded, joined   (thread/region.rs)
//   par, slices, text, bridge             order: cut in step     stage: adaptors    parallel, gather: the ends
//
// Reading order: `parallel` and `indexed` are the surface, with `sources` (what begins) and `collect`. An adaptor is a source on a source:
// `stage` for what is done to items one by one, `order` for what needs to know where they stand. `sort` stands on `join` alone, with its merges
// in `raw_merge`. Invariants are numbered Q1 to Q4.
//
// Tests: `tests/iter/main.rs`; beside rayon, on random inputs: `checks/tests/iter.rs`.

mod attempt;
mod bridge;
mod collect;
mod gather;
mod indexed;
mod order;
mod par;
mod parallel;
mod raw_merge;
mod slices;
mod sort;
mod sources;
mod stage;
mod text;

pub use attempt::Try;
pub use bridge::Bridge;
pub use collect::ParallelDrainRange;
pub use indexed::IndexedParallelIterator;
pub use order::{Bounded, Chain, Chunks, Enumerate, Part, Rev, StepBy, Zip};
pub use par::Par;
pub use parallel::{FromParallelIterator, IntoParallelIterator, ParallelExtend, ParallelIterator};
pub use slices::{SliceChunks, SliceChunksMut, SliceWindows};
pub use sources::{
    IntoParallelRefIterator, IntoParallelRefMutIterator, ParallelBridge, ParallelSlice,
    ParallelSliceMut, ParallelString,
};
pub use stage::{Filter, FilterMap, FlatMapIter, Fold, Map, MapInit};
