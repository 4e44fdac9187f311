//! Virtual processors that run the real code of thread pools.
//!
//! **Job.** [`run`] makes a machine of 1 to 64 virtual processors and runs a function on it. All
//! threads that this function starts, and theirs, are the machine's: each has a real thread's stack
//! and thread-locals, but one carrier thread runs them all, one at a time, and always the one whose
//! virtual clock is furthest behind. So the same input and seed give the same counts.
//!
//! Three doors lead to the machine, and what goes through none of them costs nothing:
//! - [`atomic`], [`sync`], [`hint`] and [`touch`]: what a program is compiled with in place of the
//!   standard library's. They charge for cache lines, read-modify-writes, fences and pauses.
//! - the C library's calls for threads, futexes and time, which this package defines anew, so that
//!   the standard library's own threads, parking and clocks are virtual, too (`raw_libc.rs`).
//! - [`Heap`], an allocator: memory is written by the thread that allocates it.
//!
//! What is *not* simulated: caches' sizes, the hardware's prefetching, memory bandwidth, counters
//! of `Arc`, and the time of instructions between these calls. [`work`] charges for the last.
//!
//! Tests: `benches/simulated/tests/raw_protocols.rs`.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![allow(clippy::disallowed_types, clippy::disallowed_methods)] // it stands where std stands

pub mod atomic;
mod costs;
pub mod hint;
mod lines;
mod machine;
mod raw_heap;
mod raw_libc;
mod raw_mutex;
mod raw_rw_lock;
mod raw_threads;
pub mod sync;

pub use costs::{Costs, Counts};
pub use lines::Access;
pub use machine::Setup;
pub use raw_heap::Heap;
pub use raw_threads::{access, counts, fence, now, run, ticks, touch, work};
