//! A pool's thread: its index and pool, and yielding to others.
//!
//! Tests: `tests/thread/indices.rs`, `tests/thread/handles.rs`.

use super::engine::raw_current as current;
use super::engine::worker::Worker;
use crate::parking::park;

/// The current thread of a pool; see [`current`](current()).
///
/// ```
/// let pool = trefoil::ThreadPool::with_threads(2);
/// let threads = pool.broadcast(|_| trefoil::thread::current().expect("a thread of the pool"));
/// assert!(threads.iter().all(|here| here.index() < here.num_threads()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Current {
    index: usize,
    num_threads: usize,
}

impl Current {
    /// A number below [`num_threads`](Self::num_threads): for data that a program keeps once per
    /// thread, such as counters that would be contended if all threads shared one.
    ///
    /// A closure sees the same index from its beginning to its end, even across waits. (If the pool
    /// has become narrower meanwhile, it is another one, below the new width.) Running threads have
    /// different ones, even if spares have replaced waiting threads, except while more run than the
    /// pool is wide:
    ///
    /// - A thread that has waited gets its index back, and shares it with the spare that replaced
    ///   it until the spare's current task is over.
    /// - Calls of [`spawn_blocking`](crate::spawn_blocking) keep theirs while they wait for
    ///   something that the pool cannot see.
    /// - So do tasks that wait for a lock which a waiting task holds.
    ///
    /// In each of these cases more threads run than there are indices, so two of them share one. So
    /// the data must allow two users (an atomic, a lock), although that is rare. (In the pools of
    /// [rayon's API](crate::_documentation::from_rayon) no index has two.)
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// The width of this thread's pool.
    #[must_use]
    pub fn num_threads(&self) -> usize {
        self.num_threads
    }
}

/// The index of the current thread, and the width of its pool, at this moment. `None` on threads
/// that belong to no pool, even while they take part in a pool's work.
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

/// The index of this thread in its pool: [`Current::index`], below its
/// [`num_threads`](Current::num_threads). `None` on other threads, even while they take part in
/// a pool's work.
///
/// It is promised that `buffers[index]` is in range if there are as many buffers as the pool is
/// wide. It is **not promised that only this thread uses it**: while a spare stands in for a thread
/// that has waited, two threads may have one index at the same time ([`Current::index`] says when).
/// So a buffer for each index must be an atomic or behind a lock, never an `UnsafeCell`. Instead of
/// that, use the state of a [`map_init`](crate::iter::ParallelIterator::map_init) for each piece of
/// work, or a `thread_local!` for each thread.
///
/// ```
/// let pool = trefoil::ThreadPool::with_threads(1);
/// assert_eq!(pool.install(trefoil::thread::current_index), Some(0));
/// assert_eq!(trefoil::thread::current_index(), None);
/// ```
#[must_use]
pub fn current_index() -> Option<usize> {
    current::with_home(|home| home.map(Worker::index))
}

/// Whether this thread runs work of its own pool, and that has
/// [exclusive indices](crate::ThreadPoolBuilder::exclusive_indices).
#[doc(hidden)]
#[inline]
#[must_use]
pub fn has_exclusive_index() -> bool {
    current::with_innermost_home(|home| home.is_some_and(|it| it.registry().exclusive.is_some()))
}

/// Lets other tasks run, for a loop that polls for something.
///
/// If this is a thread of a pool and work is queued there, another thread runs it: none of it runs
/// inside this call, so locks and borrows may be held. On any other thread it is
/// [`std::thread::yield_now`].
///
/// Such a loop uses a processor while it waits. A channel, a lock or an event of
/// [`sync`](crate::sync) does not.
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
    park::away(std::thread::yield_now);
}
