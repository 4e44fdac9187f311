//! What `LoopHandle::stats` reports.
//!
//! The loop's own cells are for its thread alone, so it publishes their lengths before it asks the
//! kernel for events: a few stores for each such call. Nothing is counted for each task but the
//! polls, which the time slice counts anyway.
//!
//! Tests: `tests/event_loop/stats.rs`.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed}; // counters: no protocol

use super::current;
use super::handle::LoopHandle;
use super::local::Local;

/// What an [`EventLoop`](crate::EventLoop) is doing; from [`stats`](LoopHandle::stats).
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

impl Local {
    /// What this loop has now; without the polls.
    #[inline]
    pub(super) fn stats(&self) -> LoopStats {
        LoopStats {
            tasks: self.table.borrow().len(),
            ready: self.count_ready(),
            timers: self.count_timers(),
            polls: 0,
        }
    }
}

impl LoopHandle {
    /// What the loop is doing: how many tasks it has, and how busy it is.
    ///
    /// Other threads see the numbers of the moment when the loop last asked the system for events:
    /// at most some hundred microseconds ago, unless one poll lasts longer (`slow_poll` reports
    /// that). Of a loop that has ended, they are those of its end. On the loop's own thread they are
    /// exact, except for the polls since that moment.
    ///
    /// ```
    /// let event_loop = trefoil::EventLoop::new()?;
    /// let handle = event_loop.handle();
    /// event_loop.block_on(trefoil::yield_now());
    /// assert_eq!((handle.stats().tasks, handle.stats().polls), (0, 2));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn stats(&self) -> LoopStats {
        let counts = &self.shared.counts;
        let polls = counts.polls.load(Relaxed);
        match current::local_of(&self.shared) {
            Some(local) => LoopStats {
                polls,
                ..local.stats()
            },
            None => LoopStats {
                tasks: counts.tasks.load(Relaxed),
                ready: counts.ready.load(Relaxed),
                timers: counts.timers.load(Relaxed),
                polls,
            },
        }
    }
}
