//! Who listens to events: one word, which every function of `trace_log` reads.
//!
//! The lowest bit says that live tasks are kept track of (`live`), the next one that the events of
//! the last seconds are kept (`trace_log::ring`); the rest is the number of the running recording
//! (`trace_log::session`), 0 if there is none. While the word is 0 an event costs
//! a relaxed load and a branch.
//!
//! In a forked child the word is 0: recordings and the tracking of tasks do not go on there.

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64}; // a word: no protocol

use crate::sys::{fork, wake_signal};

static WORD: AtomicU64 = AtomicU64::new(0); // no protocol

const LIVE: u64 = 1;
const KEPT: u64 = 2;
/// The number of the recording counts in these.
const RECORDING: u64 = 4;

/// The word, as it was at one moment.
#[derive(Clone, Copy)]
pub(crate) struct Listeners(u64);

impl Listeners {
    #[inline(always)]
    pub(crate) fn now() -> Self {
        Self(WORD.load(Relaxed))
    }

    #[inline(always)]
    pub(crate) fn any(self) -> bool {
        self.0 != 0
    }

    /// Whether live tasks are kept track of.
    #[inline(always)]
    pub(crate) fn live(self) -> bool {
        self.0 & LIVE != 0
    }

    /// The number of the running recording; 0: none. Without the feature it is always 0.
    #[inline(always)]
    pub(crate) fn recording(self) -> u64 {
        if cfg!(feature = "trace") {
            self.0 / RECORDING
        } else {
            0
        }
    }

    /// Whether the events of the last seconds are kept. Without the feature never.
    #[inline(always)]
    pub(crate) fn kept(self) -> bool {
        cfg!(feature = "trace") && self.0 & KEPT != 0
    }

    /// Whether events are written, into a recording or a ring. Without the feature never.
    #[inline(always)]
    pub(crate) fn written(self) -> bool {
        cfg!(feature = "trace") && self.0 & !LIVE != 0
    }
}

/// From now on live tasks are kept track of.
pub(crate) fn track_tasks() {
    register_fork_handler();
    WORD.fetch_or(LIVE, Relaxed);
}

/// From the next signal of this kind on, live tasks are kept track of.
pub(crate) fn track_tasks_on(signum: i32) -> io::Result<()> {
    register_fork_handler();
    wake_signal::raise_on(signum, &WORD, LIVE)
}

/// From now on this recording runs.
#[cfg_attr(not(feature = "trace"), allow(dead_code))]
pub(crate) fn begin_recording(number: u64) {
    register_fork_handler();
    let _ = WORD.fetch_update(Relaxed, Relaxed, |word| {
        Some((word % RECORDING) | (number * RECORDING))
    });
}

/// Ends this recording. False: it does not run.
#[cfg_attr(not(feature = "trace"), allow(dead_code))]
pub(crate) fn end_recording(number: u64) -> bool {
    let end = |word: u64| (word / RECORDING == number).then_some(word % RECORDING);
    WORD.fetch_update(Relaxed, Relaxed, end).is_ok()
}

/// From now on the events of the last seconds are kept, or no longer.
#[cfg_attr(not(feature = "trace"), allow(dead_code))]
pub(crate) fn keep(kept: bool) {
    register_fork_handler();
    if kept {
        WORD.fetch_or(KEPT, Relaxed)
    } else {
        WORD.fetch_and(!KEPT, Relaxed)
    };
}

fn register_fork_handler() {
    static REGISTERED: AtomicBool = AtomicBool::new(false); // no protocol
    fork::register_handler();
    if !REGISTERED.swap(true, Relaxed) {
        fork::in_child(forget);
    }
}

/// Runs in a forked child, and changes only the word (Y30).
extern "C" fn forget() {
    WORD.store(0, Relaxed);
}
