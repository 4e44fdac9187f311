//! The system's common clock, as a number.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The processor time of this process: not known here.
pub(crate) fn of_process() -> Duration {
    Duration::ZERO
}

/// The time since some moment.
pub(crate) fn monotonic() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

/// Of what nobody counts here.
pub(crate) fn clock_ticks_per_second() -> u64 {
    100
}
