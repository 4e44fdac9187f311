//! What a thread of a pool can ask about itself, and do for the others.
//!
//! Tests: `tests/thread/indices.rs`, `tests/thread/handles.rs`.

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
    /// A task sees one index from its beginning to its end, across its waits, too. (If the pool has become narrower meanwhile, it
    /// is another one, below the new width.) Threads that run have different ones, also where spares stand in for threads that wait,
    /// except while more run than the pool is wide:
    ///
    /// - A thread that has waited has its index again, and shares it with the spare that took its place until the task that this one
    ///   has begun meanwhile is over.
    /// - Calls of [`spawn_blocking`](crate::spawn_blocking) that wait outside of the pool's sight keep theirs.
    /// - So do tasks that stand still in a lock while one that waits holds it.
    ///
    /// In each of these more threads run than there are indices, so no two of them could have different ones: one would have to wait, perhaps
    /// for a lock that the other holds, or to change its index amidst its task.
    /// So what is kept must bear two users (an atomic, a lock); they are hardly ever there at once.
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
        let index = home.index() % num_threads; // it may have changed in between
        Some(Current { index, num_threads })
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
