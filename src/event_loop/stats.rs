//! What `LoopHandle::stats` reports.
//!
//! The loop's own cells are for its thread alone, so it publishes their lengths before it asks the
//! kernel for events: a few stores for each such call. Nothing is counted for each task but the
//! polls, which the time slice counts anyway.
//!
//! Tests: `tests/event_loop/stats.rs`.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed}; // counters: no protocol

/// What an [`EventLoop`](crate::EventLoop) is doing; from [`stats`](crate::LoopHandle::stats).
///
/// ```
/// use std::time::Duration;
/// use trefoil::{LoopHandle, spawn, time};
///
/// trefoil::run(async {
///     let _late = spawn(time::sleep(Duration::from_secs(9)));
///     time::sleep(Duration::from_millis(1)).await;
///     let stats = LoopHandle::current().stats();
///     assert_eq!((stats.tasks, stats.ready, stats.timers), (1, 0, 1));
/// });
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoopStats {
    /// How many of its tasks have not ended. (The future that the loop was run with is no task.)
    pub tasks: usize,
    /// How many of them wait for their turn to be polled, the future of `run` included.
    pub ready: usize,
    /// How many deadlines its tasks wait for.
    pub timers: usize,
    /// How many polls there were, of tasks and of the future of `run`.
    pub polls: u64,
}

/// The numbers that other threads see.
#[derive(Default)]
pub(super) struct LoopCounts {
    tasks: AtomicUsize,
    ready: AtomicUsize,
    timers: AtomicUsize,
    polls: AtomicU64,
}

impl LoopCounts {
    /// What was published last.
    pub(super) fn read(&self) -> LoopStats {
        LoopStats {
            tasks: self.tasks.load(Relaxed),
            ready: self.ready.load(Relaxed),
            timers: self.timers.load(Relaxed),
            polls: self.polls.load(Relaxed),
        }
    }

    /// Called by the loop, after `polls` more polls.
    #[inline]
    pub(super) fn publish(&self, now: &LoopStats, polls: u32) {
        self.tasks.store(now.tasks, Relaxed);
        self.ready.store(now.ready, Relaxed);
        self.timers.store(now.timers, Relaxed);
        // (Only the loop writes it.)
        let before = self.polls.load(Relaxed);
        self.polls.store(before + u64::from(polls), Relaxed);
    }
}
