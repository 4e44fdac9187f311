//! What a pool has done so far, in numbers.
//!
//! The driver counts, anybody reads: plain counters without an order among them, except that
//! the items of a task are counted before it ends, so who has its result finds them here.
//!
//! Tests: `tests/process/calls.rs`.

use std::sync::atomic::AtomicU32; // a number for each pool: no protocol

use crate::loom::atomic::{AtomicU64, Ordering};

/// The counters behind [`ProcessStats`]; written by the driver alone.
#[derive(Debug)]
pub(crate) struct Counters {
    /// Which pool's they are, for recordings.
    pub(crate) pool: u32,
    pub(crate) busy: Counter,
    pub(crate) accepted: Counter,
    pub(crate) completed: Counter,
    pub(crate) failed: Counter,
    pub(crate) dropped: Counter,
    pub(crate) retried: Counter,
    pub(crate) timed_out: Counter,
    pub(crate) started: Counter,
    pub(crate) died: Counter,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// The driver's alone: no two threads ever add.
    pub(crate) fn add(&self, more: u64) {
        self.set(self.get() + more);
    }

    pub(crate) fn set(&self, count: u64) {
        self.0.store(count, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    pub(crate) fn new() -> Self {
        static POOLS: AtomicU32 = AtomicU32::new(1); // no protocol
        let zero = || Counter(AtomicU64::new(0));
        Self {
            pool: POOLS.fetch_add(1, Ordering::Relaxed),
            busy: zero(),
            accepted: zero(),
            completed: zero(),
            failed: zero(),
            dropped: zero(),
            retried: zero(),
            timed_out: zero(),
            started: zero(),
            died: zero(),
        }
    }

    pub(crate) fn read(&self, workers: usize) -> ProcessStats {
        // What has ended first: an item that ends meanwhile still counts as pending.
        let (completed, failed) = (self.completed.get(), self.failed.get());
        let ended = completed + failed + self.dropped.get();
        ProcessStats {
            workers,
            busy: self.busy.get() as usize,
            pending: self.accepted.get().saturating_sub(ended),
            completed,
            failed,
            retried: self.retried.get(),
            timed_out: self.timed_out.get(),
            started: self.started.get(),
            died: self.died.get(),
        }
    }
}

/// What a [`ProcessPool`](crate::ProcessPool) has done so far; from
/// [`stats`](crate::ProcessPool::stats).
///
/// ```
/// use trefoil::ProcessPool;
///
/// # trefoil::process::init();
/// let procs = ProcessPool::with_workers(2)?;
/// procs.map(0..100, |n: u32| n + 1)?;
/// let stats = procs.stats();
/// assert_eq!((stats.completed, stats.pending, stats.died), (100, 0, 0));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessStats {
    /// How many worker processes there are now.
    pub workers: usize,
    /// How many of them have something to do.
    pub busy: usize,
    /// How many items wait or run. Items that were just handed over by `spawn` may be missing.
    pub pending: u64,
    /// How many items have given a value.
    pub completed: u64,
    /// How many items have ended in an error of their own: a panic, a death, a timeout, the codec.
    pub failed: u64,
    /// How many times an item was started again because its worker had died.
    pub retried: u64,
    /// How many items have run longer than they may.
    pub timed_out: u64,
    /// How many worker processes have been started in all.
    pub started: u64,
    /// How many of them have died without being told to leave, killed ones included.
    pub died: u64,
}
