//! To look for what comes in an instant, before a thread sleeps: how long, and whether that pays.
//!
//! With one processor for all, looking means to make room for the other side, by a yield; if that
//! ever takes long, others compute here, and no caller looks for a while.
//!
//! Tests: `tests/process/speed.rs`.

use crate::loom::atomic::{AtomicU64, Ordering};
use crate::loom::{hint, thread};
use crate::sys::{processors, ticks};

/// How long a thread that waits, for a result or for work, looks before it sleeps.
pub(crate) const LOOK: u64 = 20 * ticks::MICROSECOND;

/// A yield that takes so long has let another program compute.
const LONG_YIELD: u64 = 1_000 * ticks::MICROSECOND;
/// For how long no caller looks after that.
const BREAK: u64 = 20_000 * ticks::MICROSECOND;

/// Whether looking pays here.
#[derive(Debug)]
pub(crate) struct Watching {
    /// There is one processor for all.
    pub(crate) yields: bool,
    /// Until when no caller looks.
    pauses_until: AtomicU64,
}

impl Watching {
    pub(crate) fn new() -> Self {
        Self {
            yields: processors::by_affinity() < 2,
            pauses_until: AtomicU64::new(0),
        }
    }

    /// One look has found nothing.
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

    pub(crate) fn is_pausing(&self) -> bool {
        self.yields && ticks::now() < self.pauses_until.load(Ordering::Relaxed)
    }
}
