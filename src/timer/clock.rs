//! The current time for the code that runs on this thread.
//!
//! This is the real time, except on a thread whose event loop has its own [`Clock`] (a virtual one,
//! for tests): there it is that clock's time. Deadlines are compared with [`now`], so that code
//! measures time as its loop does.
//!
//! A wait beyond the clock's range ends at the end of the clock. The real clock never reaches it; a
//! virtual one does when nothing else is left to wait for, so that nothing waits for ever.
//!
//! A duration that is counted from a call ([`Countdown`]) may be computed outside the loop that
//! will wait for it, as in `event_loop.block_on(sleep(hour))`, and so by another clock. It
//! remembers which one, and is computed again if that was not the waiting loop's clock.
//!
//! Some code waits for a duration because it cannot be notified of the event it waits for; a
//! virtual clock must not jump over that at once. Such code calls [`hold`]; the loop decides what
//! follows (`event_loop/outside.rs`).
//!
//! Checked by `tests/event_loop/virtual_time.rs`.

use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
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
const REAL: u64 = 0;

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

    /// At its end the clock stands still, whether it was moved there or runs.
    pub(crate) fn now(&self) -> Instant {
        let passed = self.passed.lock().in_all();
        // `end` is a whole number of seconds after the start: what lies behind it is as late.
        match passed.checked_add(Duration::from_secs(1)) {
            Some(more) if self.start.checked_add(more).is_some() => self.start + passed,
            _ => end(self.start),
        }
    }

    /// Stops the clock.
    pub(crate) fn stop(&self) {
        let mut passed = self.passed.lock();
        passed.before = passed.in_all();
        passed.since = None;
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
}

thread_local! {
    // This has no destructor, because a loop may run in that of another thread-local.
    static CLOCK: RefCell<ManuallyDrop<Option<Arc<Clock>>>> =
        const { RefCell::new(ManuallyDrop::new(None)) };
    /// The number of the clock, which is all that most callers need.
    static NUMBER: Cell<u64> = const { Cell::new(REAL) };
}

#[inline]
fn number() -> u64 {
    NUMBER.with(Cell::get)
}

/// Makes `clock` (`None`: the real one) the clock of this thread; returns the previous one.
pub(crate) fn replace_clock(clock: Option<Arc<Clock>>) -> Option<Arc<Clock>> {
    let number = clock.as_ref().map_or(REAL, |clock| clock.number);
    NUMBER.with(|current| current.set(number));
    let before = CLOCK.with(|current| current.replace(ManuallyDrop::new(clock)));
    ManuallyDrop::into_inner(before)
}

/// The time on this thread, and the number of its clock.
#[inline]
fn read() -> (Instant, u64) {
    if number() == REAL {
        return (Instant::now(), REAL);
    }
    read_virtual()
}

#[cold]
fn read_virtual() -> (Instant, u64) {
    CLOCK
        .with(|clock| {
            let clock = clock.borrow();
            clock.as_ref().map(|clock| (clock.now(), clock.number))
        })
        .unwrap_or_else(|| (Instant::now(), REAL))
}

/// The time on this thread.
#[inline]
pub(crate) fn now() -> Instant {
    read().0
}

/// `start` plus the duration, or the end of the clock if that is out of range.
#[inline]
pub(crate) fn later(start: Instant, length: Duration) -> Instant {
    start.checked_add(length).unwrap_or_else(|| end(start))
}

/// The last second that the clock can represent.
#[cold]
pub(crate) fn end(start: Instant) -> Instant {
    let steps = (0..u64::BITS)
        .rev()
        .map(|bit| Duration::from_secs(1 << bit));
    steps.fold(start, |end, step| end.checked_add(step).unwrap_or(end))
}

/// Says that this thread waits for an event outside its clock that nothing will report. While the
/// guard exists, a virtual clock does not jump, for a limited time. With the real clock there is no
/// guard.
pub(crate) fn hold() -> Option<Held> {
    if number() == REAL {
        return None;
    }
    let clock = CLOCK.with(|clock| (**clock.borrow()).clone())?;
    clock.holds.fetch_add(1, Ordering::Relaxed);
    clock.begun.fetch_add(1, Ordering::Relaxed);
    Some(Held(clock))
}

/// Holds a virtual clock. It may be dropped on any thread.
#[derive(Debug)]
pub(crate) struct Held(Arc<Clock>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.holds.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A duration, and the clock by which its end was computed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Countdown {
    length: Duration,
    clock: u64,
}

impl Countdown {
    /// A duration that is counted from now, and its end.
    #[inline]
    pub(crate) fn from_now(length: Duration) -> (Instant, Self) {
        let (now, clock) = read();
        (later(now, length), Self { length, clock })
    }

    /// Whether its length is zero.
    #[inline]
    pub(crate) fn is_zero(self) -> bool {
        self.length.is_zero()
    }

    /// Called at the first wait: computes the end by this thread's clock, if another one was used.
    #[inline]
    pub(crate) fn recount(self) -> Option<Instant> {
        (number() != self.clock).then(|| later(now(), self.length))
    }
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
