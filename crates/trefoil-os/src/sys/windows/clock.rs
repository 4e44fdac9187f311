//! The system's clocks, as durations.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The processor time of this process: unknown here, so zero.
pub fn of_process() -> Duration {
    Duration::ZERO
}

/// The time since the first call of this function.
#[inline]
pub fn monotonic() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}
