//! What a thread of a pool can ask about itself, and do for the others.
//!
//! A spare's place lies beyond the width of its pool; here it has the index of one of the pool's own places, so that
//! what a program keeps for each index need not grow.
//!
//! Tests: `tests/thread/handles.rs`.

use super::raw::current;
use crate::sync::park;

/// A thread of a pool, as it sees itself; see [`current`](current()).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Current {
    index: usize,
    num_threads: usize,
}

impl Current {
    /// A number below [`num_threads`](Self::num_threads): for what a program keeps once per thread, such as counters that
    /// would be contended if there was one for all.
    ///
    /// The pool's own threads have different ones. A spare that stands in for a thread which waits shares its index with
    /// one of them, so what is kept must bear two users (an atomic, a lock).
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// How many tasks the pool of this thread runs at once.
    #[must_use]
    pub fn num_threads(&self) -> usize {
        self.num_threads
    }
}

/// What this thread is to its pool, at this moment. `None` on threads that are no pool's, also while they help one.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// let pool = trefoil::ThreadPool::with_threads(2);
/// let sums: [AtomicU64; 3] = Default::default(); // the last one for this thread, which helps
/// pool.for_each(1..=100_u64, |n| {
///     let index = trefoil::thread::current().map_or(2, |thread| thread.index());
///     sums[index].fetch_add(n, Ordering::Relaxed);
/// });
/// assert_eq!(sums.iter().map(|sum| sum.load(Ordering::Relaxed)).sum::<u64>(), 5050);
/// ```
#[must_use]
pub fn current() -> Option<Current> {
    current::with_home(|home| {
        let home = home?;
        let num_threads = home.registry().sleep.width();
        Some(Current {
            index: home.index() % num_threads,
            num_threads,
        })
    })
}

/// Lets others go first, for a loop that waits for what nothing tells it.
///
/// If this is a thread of a pool and work is queued there, another thread takes it up: nothing of it is run
/// inside of this call, so locks and borrows may be held. On any other thread it is [`std::thread::yield_now`].
///
/// Such a loop uses a processor while it waits. A channel, a lock or an event of [`sync`](crate::sync) does not.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicBool, Ordering};
///
/// let pool = trefoil::ThreadPool::with_threads(1);
/// pool.install(|| {
///     let ready = Arc::new(AtomicBool::new(false));
///     let theirs = Arc::clone(&ready);
///     trefoil::spawn_blocking(move || theirs.store(true, Ordering::Release)).detach();
///     while !ready.load(Ordering::Acquire) {
///         trefoil::thread::yield_now();
///     }
/// });
/// ```
pub fn yield_now() {
    park::blocked(std::thread::yield_now);
}
