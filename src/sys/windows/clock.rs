//! The system's common clock, as a number.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The time since some moment.
pub(crate) fn monotonic() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}
