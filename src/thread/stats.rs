//! What `ThreadPool::stats` reports, and where it is read.
//!
//! Nothing is counted for them: they are read from what the scheduler needs anyway, so they cost
//! the pool nothing, and the caller a walk over the pool's slots.
//!
//! Tests: `tests/thread/stats.rs`.

use super::engine::registry::Registry;

/// What a [`ThreadPool`](crate::ThreadPool) is doing; from [`stats`](crate::ThreadPool::stats).
///
/// The numbers are read one after another while the pool works, so they need not fit one another
/// exactly. Each is exact while the pool stands still.
///
/// ```
/// use trefoil::ThreadPool;
///
/// let pool = ThreadPool::with_threads(2);
/// let stats = pool.stats();
/// assert_eq!((stats.threads, stats.queued, stats.taken), (2, 0, 0));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ThreadStats {
    /// How many tasks the pool runs at once: its [`num_threads`](crate::ThreadPool::num_threads).
    pub threads: usize,
    /// How many of its threads run a task, or a part of a `map`, `join` or `scope`.
    pub busy: usize,
    /// How many of its threads wait in the middle of a task: in a blocking wait of this crate, or
    /// in [`blocking`](crate::ThreadPool::blocking). They are not busy; others take their places.
    pub waiting: usize,
    /// How many entries its queues have: tasks that have not begun, futures that were woken, tasks
    /// of scopes. Those that a waiting thread has run itself count until a worker comes upon them.
    pub queued: usize,
    /// How many entries its threads have taken from the queues so far.
    pub taken: u64,
}

impl ThreadStats {
    /// See [`ThreadPool::stats`](crate::ThreadPool::stats).
    pub(super) fn of(registry: &Registry, threads: usize) -> Self {
        let counts = registry.sleep.counts();
        let slots = registry.slots();
        let mut own = 0;
        for slot in &*slots {
            own += slot.public.len();
        }
        Self {
            threads,
            busy: counts.running().saturating_sub(counts.searching()),
            waiting: counts.blocked(),
            queued: registry.injector.len() + own,
            taken: registry.progress(),
        }
    }
}
