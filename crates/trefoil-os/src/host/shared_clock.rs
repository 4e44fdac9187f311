//! The clock that a worker and its parent share.
//!
//! `Instant` cannot cross to another process; the kernel's monotonic clock that it is made of can.
//! A worker records the start of an item in nanoseconds of that clock, and the parent converts them
//! to an `Instant` by their distance from one moment that it has in both forms.
//!
//! Tests: `src/process/sched/simulated.rs`, `tests/process/calls.rs` (timeouts).

use std::time::{Duration, Instant};

use crate::sys::clock;

/// The time in nanoseconds, by the clock that all processes of this machine share.
#[inline]
pub fn now() -> u64 {
    clock::monotonic().as_nanos() as u64
}

/// One moment in both forms.
#[derive(Clone, Copy, Debug)]
pub struct Epoch {
    /// For the parent.
    pub instant: Instant,
    /// For the worker.
    pub nanos: u64,
}

impl Epoch {
    /// `instant` in nanoseconds; a time before this moment counts as this moment.
    pub fn nanos(&self, instant: Instant) -> u64 {
        let after = instant.saturating_duration_since(self.instant);
        self.nanos.saturating_add(after.as_nanos() as u64)
    }

    /// `nanos` as an `Instant`; `None` before this moment, and beyond what an `Instant` can hold.
    pub fn instant(&self, nanos: u64) -> Option<Instant> {
        let after = nanos.checked_sub(self.nanos)?;
        self.instant.checked_add(Duration::from_nanos(after))
    }
}
