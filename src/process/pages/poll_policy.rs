//! Polling for a moment before a thread sleeps: for how long, and whether it pays.
//!
//! If both sides share one processor, a caller yields between its looks, so that the other side can
//! run. If such a yield takes long, other programs compute here, and no caller polls for a while.
//!
//! Tests: `tests/process/speed.rs`.

use crate::loom::atomic::{AtomicU64, Ordering};
use crate::loom::{hint, thread};
use crate::sys::{processors, ticks};

/// How long a thread that waits for a result or for work polls before it sleeps, in ticks.
pub(crate) const POLL_FOR: u64 = 20 * ticks::MICROSECOND;

/// A yield that takes this long has let another program compute.
const LONG_YIELD: u64 = 1_000 * ticks::MICROSECOND;
/// For how long no caller polls after that.
const BREAK: u64 = 20_000 * ticks::MICROSECOND;

/// Whether polling pays on this machine.
#[derive(Debug)]
pub(crate) struct PollPolicy {
    /// Both sides share one processor.
    pub(crate) yields: bool,
    /// Until when no caller polls.
    pauses_until: AtomicU64,
}

impl PollPolicy {
    /// That of the machine as it is now.
    pub(crate) fn new() -> Self {
        Self {
            yields: processors::by_affinity() < 2,
            pauses_until: AtomicU64::new(0),
        }
    }

    /// Called after a look that has found nothing: spins, or yields.
    #[inline]
    pub(crate) fn pause(&self) {
        if !self.yields {
            return hint::spin_loop();
        }
        let before = ticks::now();
        thread::yield_now();
        if ticks::since(before) > LONG_YIELD {
            self.pauses_until
                .store(ticks::now() + BREAK, Ordering::Relaxed); // a hint
        }
    }

    /// Whether no caller should poll at present.
    #[inline]
    pub(crate) fn is_pausing(&self) -> bool {
        self.yields && ticks::now() < self.pauses_until.load(Ordering::Relaxed)
    }
}
