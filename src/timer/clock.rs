//! A virtual clock: it stands still unless it is moved, or runs at the pace of the real one.
//!
//! A wait beyond a clock's range ends at the end of the clock. The real clock never reaches it; a
//! virtual one does when nothing else is left to wait for, so that nothing waits for ever.
//!
//! Tests: `tests/event_loop/virtual_time.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering}; // counters: no protocol
use std::time::{Duration, Instant};

use crate::loom::Mutex;

/// A clock that stands still unless it is moved, or runs at the pace of the real one. Any thread
/// may read it.
#[derive(Debug)]
pub(crate) struct Clock {
    number: u64,
    start: Instant,
    passed: Mutex<Passed>,
    /// The number of holds, and whether one of them is new.
    holds: AtomicUsize,
    begun: AtomicUsize,
}

/// How much time has passed since the start.
#[derive(Debug)]
struct Passed {
    before: Duration,
    /// When the clock began to run; `None`: it stands still.
    since: Option<Instant>,
}

impl Passed {
    fn in_all(&self) -> Duration {
        let since = self.since.map_or(Duration::ZERO, |since| since.elapsed());
        self.before.saturating_add(since)
    }
}

/// The number of the real clock.
pub(super) const REAL: u64 = 0;

impl Clock {
    /// A clock that shows the real time of this moment, and stands still.
    pub(crate) fn new() -> Self {
        static NUMBERS: AtomicU64 = AtomicU64::new(REAL + 1);
        Self {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            start: Instant::now(),
            passed: Mutex::new(Passed {
                before: Duration::ZERO,
                since: None,
            }),
            holds: AtomicUsize::new(0),
            begun: AtomicUsize::new(0),
        }
    }

    /// The time that the clock shows: at most the last instant that can be represented.
    pub(crate) fn now(&self) -> Instant {
        later(self.start, self.passed.lock().in_all())
    }

    /// Stops the clock. `false`: it stood still.
    pub(crate) fn stop(&self) -> bool {
        let mut passed = self.passed.lock();
        passed.before = passed.in_all();
        passed.since.take().is_some()
    }

    /// Lets the clock run from its current value.
    pub(crate) fn go(&self) {
        self.passed.lock().since.get_or_insert_with(Instant::now);
    }

    /// Moves the clock forward.
    pub(crate) fn advance(&self, by: Duration) {
        self.advance_to(later(self.now(), by));
    }

    /// Whether the clock is held.
    pub(crate) fn is_held(&self) -> bool {
        self.holds.load(Ordering::Relaxed) > 0
    }

    /// Whether a new hold has begun since the last call.
    pub(crate) fn is_held_anew(&self) -> bool {
        self.begun.swap(0, Ordering::Relaxed) > 0
    }

    /// Moves the clock forward to `then`, unless it is past that. It must be stopped.
    pub(crate) fn advance_to(&self, then: Instant) {
        let mut passed = self.passed.lock();
        passed.before = then
            .saturating_duration_since(self.start)
            .max(passed.before);
    }

    /// While the guard exists, the clock does not jump, for a limited time.
    pub(super) fn hold(self: &Arc<Self>) -> Held {
        self.holds.fetch_add(1, Ordering::Relaxed);
        self.begun.fetch_add(1, Ordering::Relaxed);
        Held(self.clone())
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

/// Holds a virtual clock. It may be dropped on any thread.
#[derive(Debug)]
pub(crate) struct Held(Arc<Clock>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.holds.fetch_sub(1, Ordering::Relaxed);
    }
}

/// `start` plus the duration, or the end of the clock if that is out of range.
#[inline]
pub(crate) fn later(start: Instant, length: Duration) -> Instant {
    start.checked_add(length).unwrap_or_else(|| end(start))
}

/// The last instant that the clock can represent, to the nanosecond: from there on every wait ends
/// at once, because its deadline is this one.
#[cold]
pub(crate) fn end(start: Instant) -> Instant {
    let mut end = start;
    for bit in (0..u64::BITS).rev() {
        end = end
            .checked_add(Duration::from_secs(1 << bit))
            .unwrap_or(end);
    }
    for bit in (0..30).rev() {
        end = end
            .checked_add(Duration::from_nanos(1 << bit))
            .unwrap_or(end);
    }
    end
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_has_reached_its_end_stays_there() {
        let clock = Clock::new();
        clock.advance(Duration::MAX);
        let last = clock.now();
        assert_eq!(last, end(last));
        assert_eq!(last.checked_add(Duration::from_nanos(1)), None);
        // As after a second at the real pace.
        clock.go();
        clock.passed.lock().before += Duration::from_secs(1);
        assert_eq!(clock.now(), last);
        clock.passed.lock().before = Duration::MAX;
        assert_eq!(clock.now(), last);
        clock.stop();
        clock.advance_to(last);
        assert_eq!(clock.now(), last);
    }
}
