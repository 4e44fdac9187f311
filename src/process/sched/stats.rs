//! What `ProcessPool::stats` counts, and when.
//!
//! The scheduler counts, any thread reads. The items of a task are counted before the scheduler
//! ends it, and those of an `imap` before it gets their results, so a caller that has its result
//! sees them here. A caller that cancels does not wait for the scheduler, so it may see them later.
//!
//! What `ProcessCall::counted` adds: `Job::answer` (`job/mod.rs`).
//!
//! Tests: `tests/process/calls.rs`.

use std::sync::atomic::{AtomicU32, Ordering}; // a number for each pool: no protocol

use crate::chaos;
use crate::loom::Mutex;

/// The counters behind [`ProcessStats`].
#[derive(Debug)]
pub(crate) struct Counters {
    /// The pool's number, for recordings.
    pub(crate) pool: u32,
    /// Its number, for accidents on purpose.
    pub(crate) chaos: chaos::Number,
    pub(crate) stats: Mutex<ProcessStats>,
}

impl Counters {
    pub(crate) fn new(unenforced: &[String]) -> Self {
        static POOLS: AtomicU32 = AtomicU32::new(1); // no protocol
        Self {
            pool: POOLS.fetch_add(1, Ordering::Relaxed),
            chaos: chaos::next_pool(),
            stats: Mutex::new(ProcessStats {
                unenforced: unenforced.to_vec(),
                ..ProcessStats::default()
            }),
        }
    }

    /// Counts items that have ended, in a value or in an error.
    pub(crate) fn count(&self, completed: u64, failed: u64) {
        let mut stats = self.stats.lock();
        stats.pending = stats.pending.saturating_sub(completed + failed);
        stats.completed += completed;
        stats.failed += failed;
    }

    /// Counts items that will not run.
    pub(crate) fn dropped(&self, items: u64) {
        let mut stats = self.stats.lock();
        stats.pending = stats.pending.saturating_sub(items);
    }

    /// What was counted, and so many `workers`. In a forked child the lock may be held for ever:
    /// then nothing is known.
    pub(crate) fn read(&self, workers: usize, is_forked: bool) -> ProcessStats {
        let known = if is_forked {
            self.stats.try_lock()
        } else {
            Some(self.stats.lock())
        };
        let known = known.map_or_else(ProcessStats::default, |stats| stats.clone());
        ProcessStats { workers, ..known }
    }
}

/// What a [`ProcessPool`](crate::ProcessPool) has done so far; from
/// [`stats`](crate::ProcessPool::stats).
///
/// ```
/// use trefoil::ProcessPool;
///
/// # trefoil::init();
/// let procs = ProcessPool::with_workers(2)?;
/// procs.map(0..100, |n: u32| n + 1)?;
/// let stats = procs.stats();
/// assert_eq!((stats.completed, stats.pending, stats.died), (100, 0, 0));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessStats {
    /// How many worker processes there are now.
    pub workers: usize,
    /// How many of them have items of calls: after the results of all calls it is 0. One that runs
    /// an item counts until that ends, or its process has been killed, also after the item's caller
    /// has its `TimedOut` or `Cancelled`. An initializer does not count.
    pub busy: usize,
    /// How many of them are being started, initializers included.
    pub starting: usize,
    /// How many of them leave, or were killed and are not gone yet: they get no more items.
    pub leaving: usize,
    /// How many items wait or run. Items that were just handed over by `spawn` may be missing.
    /// Those of a call that was cancelled, or of an `imap` that was dropped, count until the pool
    /// has noticed that, a moment later. After the results of all other calls it is 0.
    pub pending: u64,
    /// How many items have given a value.
    pub completed: u64,
    /// How many items have ended in an error of their own: a panic, a death, a timeout, the codec.
    /// (One whose argument could not be encoded was never in the pool, and does not count.)
    pub failed: u64,
    /// How many times an item was queued for another attempt, after a death or a timeout.
    pub retried: u64,
    /// How many times an item has run longer than it may, each attempt counted, or had not ended
    /// when the time of its whole call was over ([`within`](crate::ProcessCall::within)).
    pub timed_out: u64,
    /// How many worker processes were replaced because an item asked for it
    /// ([`retire`](crate::process::retire)), without those that had run their number of items.
    pub retired: u64,
    /// How many worker processes have been started in all.
    pub started: u64,
    /// How many of them have died or were killed, without having been dismissed.
    pub died: u64,
    /// What the pool's [launcher](crate::ProcessPoolBuilder::launcher) cannot enforce on this
    /// machine, although it was asked to, as text; empty if there is nothing.
    /// ([`Capabilities::unenforced`](crate::process::launch::Capabilities::unenforced).)
    pub unenforced: Vec<String>,
}
