//! Ticks at equal intervals, and which of them follows one that came too late.
//!
//! An interval is one [`Sleep`] after another. [`MissedTick`] decides which deadline follows a tick
//! that came too late.
//!
//! A tick that is already due does not wait, so a task that is always late would starve the others;
//! such ticks have a budget (see `event_loop/operation_budget.rs`).
//!
//! Tests: `tests/event_loop/time.rs::{an_interval_ticks_and_misses_as_it_was_told,
//! an_interval_that_is_always_late_lets_others_run}`.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use super::{Sleep, now, sleep_until};
use crate::event_loop::{Share, SharedLoop, entered_loop};
use crate::timer::later;

/// Ticks every `period`. The first tick completes at once when it is awaited, and the others are
/// counted from it.
///
/// # Panics
///
/// If `period` is zero.
///
/// ```
/// use std::time::{Duration, Instant};
/// use trefoil::time::interval;
///
/// trefoil::run(async {
///     let start = Instant::now();
///     let mut beat = interval(Duration::from_millis(2));
///     for _ in 0..3 {
///         beat.tick().await;
///     }
///     assert!(start.elapsed() >= Duration::from_millis(4));
/// });
/// ```
#[track_caller]
pub fn interval(period: Duration) -> Interval {
    assert!(
        !period.is_zero(),
        "an interval needs a period above zero; to let other tasks run, use trefoil::yield_now()"
    );
    Interval {
        period,
        missed: MissedTick::default(),
        next: None,
        bound: None,
        sleep: None,
        share: Share::default(),
    }
}

/// An [`interval`] whose first tick is due at `start`.
///
/// # Panics
///
/// If `period` is zero.
///
/// ```
/// use std::time::Duration;
/// use trefoil::time::{interval_at, now};
///
/// trefoil::run(async {
///     let period = Duration::from_millis(1);
///     let start = now() + period;
///     let mut beat = interval_at(start, period);
///     assert_eq!(beat.tick().await, start);
///     assert_eq!(beat.tick().await, start + period);
/// });
/// ```
#[track_caller]
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.next = Some(start);
    interval
}

/// Returned by [`interval`]; await one [`tick`](Self::tick) after another.
///
/// ```
/// use std::time::Duration;
///
/// trefoil::run(async {
///     let mut clock = trefoil::time::interval(Duration::from_millis(1));
///     clock.tick().await; // the first at once
///     clock.reset_after(Duration::from_millis(2));
///     clock.tick().await;
/// });
/// ```
#[derive(Debug)]
pub struct Interval {
    period: Duration,
    missed: MissedTick,
    /// When the next tick is due. `None`: the first tick is due when it is awaited.
    next: Option<Instant>,
    /// The loop that it ticks on, after the first poll of a tick.
    bound: Option<Arc<SharedLoop>>,
    /// The wait for the next tick, once it has begun.
    sleep: Option<Sleep>,
    share: Share,
}

/// What happens to ticks whose time passes before they are awaited.
///
/// A tick is missed when the next one is due, too. One that is late by less than a period is not,
/// and changes nothing: the ticks keep their schedule under all three, so the next tick may come
/// sooner than a period after a late one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum MissedTick {
    /// They complete at once, one after another, until the interval is back on schedule.
    #[default]
    Burst,
    /// They are dropped; the late tick starts a new schedule: the next comes one period after it.
    /// (To have at least a period between any two, call [`reset`](Interval::reset) after each tick,
    /// or `sleep`.)
    Delay,
    /// They are dropped; the next comes at the next time of the original schedule.
    Skip,
}

impl Interval {
    /// Sets what happens to missed ticks. Default: [`MissedTick::Burst`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use trefoil::time::{MissedTick, interval};
    ///
    /// let beat = interval(Duration::from_secs(1)).missed_tick(MissedTick::Skip);
    /// # drop(beat);
    /// ```
    #[must_use]
    pub fn missed_tick(mut self, missed: MissedTick) -> Self {
        self.missed = missed;
        self
    }

    /// Waits for the next tick; returns the time at which it was due.
    ///
    /// # Panics
    ///
    /// When polled outside an event loop, or on a different loop than the first time.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the tick is not lost: the next call waits for it.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// trefoil::run(async {
    ///     let mut beat = trefoil::time::interval(Duration::from_millis(1));
    ///     let first = beat.tick().await;
    ///     assert_eq!(beat.tick().await, first + Duration::from_millis(1));
    /// });
    /// ```
    pub async fn tick(&mut self) -> Instant {
        poll_fn(|cx| self.poll_tick(cx)).await
    }

    /// Polls for the next tick, for hand-written futures: see [`tick`](Self::tick).
    ///
    /// ```
    /// use std::future::poll_fn;
    /// use std::time::Duration;
    ///
    /// trefoil::run(async {
    ///     let mut beat = trefoil::time::interval(Duration::from_millis(1));
    ///     poll_fn(|cx| beat.poll_tick(cx)).await;
    /// });
    /// ```
    pub fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        let local = entered_loop::local().expect(
            "trefoil::time::interval needs an event loop: await its ticks inside trefoil::run(..) or \
             EventLoop::block_on(..), on the loop's own thread",
        );
        let bound = self.bound.get_or_insert_with(|| local.shared.clone());
        assert!(
            Arc::ptr_eq(bound, &local.shared),
            "this interval was first asked for a tick on another event loop, by whose clock it ticks: \
             ask it there, or make a new one here"
        );
        let mut now = local.now();
        let due = self.next.unwrap_or(now);
        if now < due {
            let sleep = self.sleep.get_or_insert_with(|| sleep_until(due));
            ready!(Pin::new(sleep).poll(cx));
            now = local.now();
        } else {
            ready!(local.budget.poll_as_method(&self.share, cx));
            local.budget.complete(&self.share);
        }
        self.sleep = None;
        self.next = Some(self.missed.after(due, now, self.period));
        Poll::Ready(due)
    }

    /// Starts a new schedule: the next tick is due a period from now.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let event_loop = trefoil::EventLoop::builder().virtual_time().build()?;
    /// event_loop.block_on(async {
    ///     let mut beat = trefoil::time::interval(Duration::from_secs(60));
    ///     beat.reset();
    ///     let start = trefoil::time::now();
    ///     assert_eq!(beat.tick().await, start + Duration::from_secs(60)); // the first, too
    /// });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn reset(&mut self) {
        self.reset_after(self.period);
    }

    /// Starts a new schedule: the next tick is due `after` from now; with `Duration::ZERO` at once.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let event_loop = trefoil::EventLoop::builder().virtual_time().build()?;
    /// event_loop.block_on(async {
    ///     let mut beat = trefoil::time::interval(Duration::from_secs(60));
    ///     let start = beat.tick().await;
    ///     beat.reset_after(Duration::from_secs(5));
    ///     assert_eq!(beat.tick().await, start + Duration::from_secs(5));
    ///     assert_eq!(beat.tick().await, start + Duration::from_secs(65));
    /// });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn reset_after(&mut self, after: Duration) {
        // By the clock of its loop, even while that loop does not run.
        let now = self.bound.as_ref().map_or_else(now, |bound| bound.now());
        self.reset_at(later(now, after));
    }

    /// Starts a new schedule: the next tick is due at `deadline`. Any thread may do so, at any
    /// time: a task that waits for the tick on its loop is woken then, as by [`Sleep::reset`].
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let event_loop = trefoil::EventLoop::builder().virtual_time().build()?;
    /// event_loop.block_on(async {
    ///     let mut beat = trefoil::time::interval(Duration::from_secs(60));
    ///     let later = beat.tick().await + Duration::from_secs(5);
    ///     beat.reset_at(later);
    ///     assert_eq!(beat.tick().await, later);
    /// });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn reset_at(&mut self, deadline: Instant) {
        self.next = Some(deadline);
        if let Some(sleep) = &mut self.sleep {
            sleep.reset(deadline); // this keeps the waker, which a new sleep would not have
        }
    }

    /// The time between ticks.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let second = Duration::from_secs(1);
    /// assert_eq!(trefoil::time::interval(second).period(), second);
    /// ```
    pub fn period(&self) -> Duration {
        self.period
    }
}

impl MissedTick {
    /// The tick after the one that was due at `due` and completed at `now`.
    fn after(self, due: Instant, now: Instant, period: Duration) -> Instant {
        let next = later(due, period);
        if now < next {
            return next;
        }
        match self {
            Self::Burst => next,
            Self::Delay => later(now, period),
            Self::Skip => {
                let late = now.duration_since(due).as_nanos();
                let into = u64::try_from(late % period.as_nanos()).unwrap_or(0);
                later(now - Duration::from_nanos(into), period)
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_follows_a_late_tick() {
        let due = Instant::now();
        let ms = Duration::from_millis;
        let after = |missed: MissedTick, late| missed.after(due, due + ms(late), ms(10)) - due;
        for missed in [MissedTick::Burst, MissedTick::Delay, MissedTick::Skip] {
            assert_eq!(after(missed, 0), ms(10));
            assert_eq!(after(missed, 9), ms(10), "late, but before the next");
        }
        assert_eq!(after(MissedTick::Burst, 35), ms(10));
        assert_eq!(after(MissedTick::Delay, 35), ms(45));
        assert_eq!(after(MissedTick::Skip, 35), ms(40));
        assert_eq!(after(MissedTick::Skip, 30), ms(40));
    }
}
