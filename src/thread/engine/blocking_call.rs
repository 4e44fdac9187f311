//! The call of `spawn_blocking` that a thread is in, and whether it waits, for the stall monitor;
//! see `spawn_blocking.rs`.
//!
//! Tests: `tests/thread/blocking.rs`; loom models in `tests/trefoil-checks/tests/blocking.rs`.

use std::time::Duration;

use crate::loom::Mutex;
use crate::loom::atomic::{AtomicU64, Ordering};
use crate::sys::thread_clock::ThreadClock;

/// Which call a thread is in, and the thread's clock.
#[derive(Debug, Default)]
pub(in crate::thread) struct BlockingCall {
    /// Odd while a call is in progress. Written by the thread alone.
    number: AtomicU64,
    /// The last call that was seen to wait. Written by the stall monitor alone.
    known: AtomicU64,
    clock: Mutex<Option<ThreadClock>>,
}

/// A call in progress.
#[derive(Clone, Copy, Debug)]
pub(in crate::thread) struct Sample {
    pub(in crate::thread) call: u64,
    /// The processor time of its thread, if known.
    used: Option<Duration>,
    /// Whether it has been seen to wait for something other than a processor.
    pub(in crate::thread) waits: bool,
}

impl BlockingCall {
    /// The calling thread takes the place over.
    pub(in crate::thread) fn occupy(&self) {
        *self.clock.lock() = ThreadClock::mine();
    }

    /// The thread's clock, and how much processor time it shows. `None`: this system has no such
    /// clocks, or no thread is there.
    pub(in crate::thread) fn clock(&self) -> Option<(ThreadClock, Duration)> {
        let clock = *self.clock.lock();
        clock.and_then(|clock| Some((clock, clock.read()?)))
    }

    /// A call begins, or continues after a wait for a task; or it ends, or begins such a wait.
    pub(in crate::thread) fn begin_or_end(&self) {
        self.number.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the thread is in this call.
    pub(in crate::thread) fn is_in(&self, call: u64) -> bool {
        self.number.load(Ordering::Relaxed) == call
    }

    /// Marks that this call has been seen to wait. True: for the first time.
    pub(in crate::thread) fn mark_waiting(&self, call: u64) -> bool {
        self.known.swap(call, Ordering::Relaxed) != call
    }

    /// The call in progress. It waits if it was in progress `before`, and its thread has used no
    /// more than `least` of processor time since. Where threads have no clocks, all wait.
    pub(in crate::thread) fn sample(
        &self,
        before: Option<&Sample>,
        least: Duration,
    ) -> Option<Sample> {
        let call = self.number.load(Ordering::Relaxed);
        if call.is_multiple_of(2) {
            return None;
        }
        let clock = *self.clock.lock();
        let used = clock.and_then(ThreadClock::read);
        let waits = match before {
            Some(before) if before.call == call => match (clock, used, before.used) {
                (Some(clock), Some(now), Some(earlier)) => {
                    now.saturating_sub(earlier) <= least
                        && (before.waits || clock.wants_to_run() != Some(true))
                }
                _ => true,
            },
            _ => false,
        };
        Some(Sample { call, used, waits })
    }
}
