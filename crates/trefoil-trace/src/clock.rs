//! A clock that is read in a few nanoseconds.
//!
//! It is the processor's counter ([`ticks`]), if the kernel itself uses it as its clock, which it
//! does only while the counters of all processors agree; otherwise the system's clock, which costs
//! twice as much. The counter's rate is computed from the start and the moment at which times are
//! asked for, which are read from both.
//!
//! Tests: below.

use std::time::Instant;

use crate::sys::ticks;

/// The clock: the processor's counter, if the kernel uses it, or the system's clock.
pub(crate) struct Clock {
    start: Instant,
    /// The counter's value at the start, if the kernel uses the counter.
    counter: Option<u64>,
}

impl Clock {
    pub(crate) fn start() -> Self {
        const SOURCE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
        let source = std::fs::read_to_string(SOURCE).unwrap_or_default();
        let trusted = cfg!(target_arch = "x86_64") && source.trim() == "tsc";
        Self {
            start: Instant::now(),
            counter: trusted.then(ticks::now),
        }
    }

    #[inline]
    pub(crate) fn now(&self) -> u64 {
        match self.counter {
            Some(_) => ticks::now(),
            None => self.start.elapsed().as_nanos() as u64,
        }
    }

    /// The time since the start in nanoseconds, and a function that converts what `now` has
    /// returned to such times.
    pub(crate) fn elapsed(&self) -> (u64, impl Fn(u64) -> u64 + use<>) {
        let length = self.start.elapsed().as_nanos() as u64;
        (length, scale(self.counter.unwrap_or(0), self.now(), length))
    }
}

/// Returns a function that converts ticks to nanoseconds from the start of a recording of this
/// length, which began and ended at these ticks. Later ticks are cut at the end: a thread may have
/// written a little more, or the counter may have jumped.
fn scale(start: u64, stop: u64, length: u64) -> impl Fn(u64) -> u64 {
    let each = length as f64 / stop.saturating_sub(start).max(1) as f64;
    move |ticks| ((ticks.saturating_sub(start) as f64 * each) as u64).min(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_jumps_leads_nowhere_else() {
        let nanos = scale(3000, 5000, 1000);
        assert_eq!([2999, 3000, 4000, 5000].map(&nanos), [0, 0, 500, 1000]);
        assert_eq!(nanos(u64::MAX), 1000);
        let back = scale(3000, 10, 1000);
        assert_eq!([0, 3000, 3001, u64::MAX].map(back), [0, 0, 1000, 1000]);
    }
}
