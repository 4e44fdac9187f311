//! `tokio::time`: its `Instant` reads trefoil's clock, which may be paused.

use std::fmt;
use std::future::Future;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::pin::Pin;
use std::task::{Context, Poll};
pub use std::time::Duration;

use trefoil::time::MissedTick;
pub use trefoil::time::{advance, pause, resume};

#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Instant(std::time::Instant);

impl Instant {
    pub fn now() -> Self {
        Self(trefoil::time::now())
    }

    pub fn from_std(instant: std::time::Instant) -> Self {
        Self(instant)
    }

    pub fn into_std(self) -> std::time::Instant {
        self.0
    }

    pub fn elapsed(&self) -> Duration {
        Self::now() - *self
    }

    pub fn duration_since(&self, earlier: Self) -> Duration {
        self.0.saturating_duration_since(earlier.0)
    }

    pub fn checked_add(&self, duration: Duration) -> Option<Self> {
        self.0.checked_add(duration).map(Self)
    }
}

impl From<std::time::Instant> for Instant {
    fn from(instant: std::time::Instant) -> Self {
        Self(instant)
    }
}

impl From<Instant> for std::time::Instant {
    fn from(instant: Instant) -> Self {
        instant.0
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0 + duration)
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        self.0 += duration;
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.duration_since(earlier)
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0 - duration)
    }
}

impl SubAssign<Duration> for Instant {
    fn sub_assign(&mut self, duration: Duration) {
        self.0 -= duration;
    }
}

pub struct Sleep {
    inner: trefoil::time::Sleep,
    deadline: Instant,
}

#[track_caller]
pub fn sleep(duration: Duration) -> Sleep {
    let inner = trefoil::time::sleep(duration);
    let now = Instant::now();
    Sleep {
        inner,
        deadline: now.checked_add(duration).unwrap_or(now),
    }
}

#[track_caller]
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep {
        inner: trefoil::time::sleep_until(deadline.0),
        deadline,
    }
}

impl Sleep {
    pub fn reset(mut self: Pin<&mut Self>, deadline: Instant) {
        self.deadline = deadline;
        self.inner.reset(deadline.0);
    }

    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    pub fn is_elapsed(&self) -> bool {
        self.inner.is_elapsed()
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.inner).poll(cx)
    }
}

/// Of `timeout`, and of `timeout_at`.
pub mod error {
    #[derive(Debug, Eq, PartialEq)]
    pub struct Elapsed(pub(super) ());
}

impl fmt::Display for error::Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("deadline has elapsed")
    }
}

impl std::error::Error for error::Elapsed {}

pub fn timeout<F: IntoFuture>(duration: Duration, future: F) -> Timeout<F::IntoFuture> {
    Timeout(Box::pin(trefoil::timeout(duration, future)))
}

pub fn timeout_at<F: IntoFuture>(deadline: Instant, future: F) -> Timeout<F::IntoFuture> {
    timeout(deadline - Instant::now(), future)
}

pub struct Timeout<F>(Pin<Box<trefoil::task::Timeout<F>>>);

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, error::Elapsed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx).map_err(|_| error::Elapsed(()))
    }
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum MissedTickBehavior {
    #[default]
    Burst,
    Delay,
    Skip,
}

pub struct Interval {
    /// Always there, except while its behaviour changes, which consumes it.
    inner: Option<trefoil::time::Interval>,
    behavior: MissedTickBehavior,
}

#[track_caller]
pub fn interval(period: Duration) -> Interval {
    interval_at(Instant::now(), period)
}

#[track_caller]
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    let inner = Some(trefoil::time::interval_at(start.0, period));
    Interval {
        inner,
        behavior: MissedTickBehavior::Burst,
    }
}

impl Interval {
    fn inner(&mut self) -> &mut trefoil::time::Interval {
        self.inner.as_mut().expect("an interval")
    }

    pub async fn tick(&mut self) -> Instant {
        Instant(self.inner().tick().await)
    }

    pub fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        self.inner().poll_tick(cx).map(Instant)
    }

    pub fn reset(&mut self) {
        self.inner().reset();
    }

    pub fn reset_immediately(&mut self) {
        self.inner().reset_after(Duration::ZERO);
    }

    pub fn reset_after(&mut self, after: Duration) {
        self.inner().reset_after(after);
    }

    pub fn reset_at(&mut self, deadline: Instant) {
        self.inner().reset_at(deadline.0);
    }

    pub fn period(&self) -> Duration {
        self.inner.as_ref().expect("an interval").period()
    }

    pub fn missed_tick_behavior(&self) -> MissedTickBehavior {
        self.behavior
    }

    pub fn set_missed_tick_behavior(&mut self, behavior: MissedTickBehavior) {
        let missed = match behavior {
            MissedTickBehavior::Burst => MissedTick::Burst,
            MissedTickBehavior::Delay => MissedTick::Delay,
            MissedTickBehavior::Skip => MissedTick::Skip,
        };
        self.behavior = behavior;
        self.inner = self
            .inner
            .take()
            .map(|interval| interval.missed_tick(missed));
    }
}
