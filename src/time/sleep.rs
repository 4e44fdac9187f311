//! One deadline on one loop.
//!
//! 1. The first poll binds the sleep to the running loop. A sleep of zero length, or until a
//!    deadline that has passed, yields once; any other is added to the loop's timers. (A sleep of
//!    positive length may be over by then, too: the loop notices that, so the clock is read only
//!    once.)
//! 2. Later polls ask whether that timer is still armed: the loop removes it when it is due, never
//!    before. So no poll needs to read the clock.
//! 3. Dropping disarms the timer: at once on the loop's thread, elsewhere by a note to the loop.
//! 4. A reset keeps the waker of the last poll. On the loop's thread, while the loop runs, the
//!    timer is armed anew with it. Elsewhere a note lets the loop wake it: the task polls, and that
//!    arms the timer.
//!
//! Tests: `tests/event_loop/time.rs::{sleepers_wake_in_order_and_never_early,
//! a_sleep_of_nothing_yields_once, a_sleep_belongs_to_the_loop_of_its_first_poll}`.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::event_loop::{Local, SharedLoop, entered_loop};
use crate::timer::{Countdown, Timekeeper, TimerKey, end, now};

const NO_LOOP: &str = "trefoil::time::sleep needs an event loop: await it inside trefoil::run(..) or \
     EventLoop::block_on(..), on the loop's own thread (trefoil::timeout works anywhere)";

/// Completes once `duration` has passed, counted from this call.
///
/// It is never early. How late it is depends on the machine, its load, and the loop's other tasks.
/// `sleep(Duration::ZERO)` lets other ready tasks run once. A sleep that is too long for the clock
/// ends when the clock does.
///
/// On a loop with [`virtual_time`](crate::EventLoopBuilder::virtual_time) it uses that clock (which
/// reaches its end once there is nothing else to wait for); a sleep that was created outside such a
/// loop is counted there from its first poll.
///
/// # Panics
///
/// When polled outside an event loop, or, until it has completed, on another loop than at first (or
/// since a [`reset`](Sleep::reset) elsewhere).
///
/// # Cancel safety
///
/// Dropping it cancels the sleep. Any thread may drop it.
///
/// ```
/// use std::time::{Duration, Instant};
/// use trefoil::time::sleep;
///
/// let start = Instant::now();
/// trefoil::run(sleep(Duration::from_micros(300)));
/// assert!(start.elapsed() >= Duration::from_micros(300));
/// ```
pub fn sleep(duration: Duration) -> Sleep {
    let (deadline, span) = Countdown::from_now(duration);
    Sleep {
        deadline,
        stage: SleepStage::New(Some(span)),
    }
}

/// Completes once `deadline` has passed; see [`sleep`].
///
/// The deadline is compared with the clock of the loop, [`time::now()`](super::now): the same as
/// `Instant::now()` unless that loop has [`virtual_time`](crate::EventLoopBuilder::virtual_time),
/// or was [paused](super::pause()).
///
/// ```
/// use std::time::{Duration, Instant};
/// use trefoil::time::sleep_until;
///
/// let deadline = Instant::now() + Duration::from_millis(2);
/// trefoil::run(sleep_until(deadline));
/// assert!(Instant::now() >= deadline);
/// ```
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep {
        deadline,
        stage: SleepStage::New(None),
    }
}

/// Returned by [`sleep`] and [`sleep_until`].
///
/// ```
/// use std::time::{Duration, Instant};
///
/// trefoil::run(async {
///     let mut idle = trefoil::time::sleep(Duration::from_secs(3600));
///     idle.reset(Instant::now() + Duration::from_millis(1));
///     (&mut idle).await;
///     assert!(idle.is_elapsed());
/// });
/// ```
#[must_use = "futures do nothing unless they are awaited"]
pub struct Sleep {
    deadline: Instant,
    stage: SleepStage,
}

enum SleepStage {
    /// The duration, if the sleep was given one: the deadline may be by another clock.
    New(Option<Countdown>),
    /// The sleep was over at the first poll, and lets other tasks run once.
    Yielding(Arc<SharedLoop>),
    Armed(Arc<SharedLoop>, TimerKey),
    Done,
}

impl Sleep {
    /// When the sleep ends; `None` if that is beyond the clock's range. (If it is first polled
    /// under another clock than that of its call, a virtual one, it is counted from that poll.)
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// let deadline = Instant::now() + Duration::from_secs(1);
    /// assert_eq!(trefoil::time::sleep_until(deadline).deadline(), Some(deadline));
    /// ```
    pub fn deadline(&self) -> Option<Instant> {
        (self.deadline < end(self.deadline)).then_some(self.deadline)
    }

    /// Whether its deadline has passed. This can be true before a poll returns `Ready`.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let event_loop = trefoil::EventLoop::builder().virtual_time().build()?;
    /// event_loop.block_on(async {
    ///     let mut nap = trefoil::time::sleep(Duration::from_secs(60));
    ///     assert!(!nap.is_elapsed());
    ///     (&mut nap).await;
    ///     assert!(nap.is_elapsed());
    /// });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn is_elapsed(&self) -> bool {
        match &self.stage {
            SleepStage::Done => true,
            SleepStage::New(_) => self.deadline <= now(),
            SleepStage::Yielding(shared) | SleepStage::Armed(shared, _) => {
                self.deadline <= shared.now()
            }
        }
    }

    /// Sets a new deadline, even if the sleep had completed. Any thread may do so, at any time: a
    /// task that waits for the sleep on its loop is woken at the new deadline. (If it is reset
    /// while that loop does not run, or on another thread, the task is also polled once before.)
    ///
    /// ```
    /// use std::time::Duration;
    /// use trefoil::time::{now, sleep};
    ///
    /// let event_loop = trefoil::EventLoop::builder().virtual_time().build()?;
    /// event_loop.block_on(async {
    ///     let start = now();
    ///     let mut idle = sleep(Duration::from_secs(60));
    ///     idle.reset(start + Duration::from_secs(5));
    ///     (&mut idle).await;
    ///     idle.reset(start + Duration::from_secs(9));
    ///     idle.await;
    ///     assert_eq!(now() - start, Duration::from_secs(9));
    /// });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn reset(&mut self, deadline: Instant) {
        self.deadline = deadline;
        let SleepStage::Armed(shared, key) = mem::replace(&mut self.stage, SleepStage::New(None))
        else {
            return;
        };
        match entered_loop::local() {
            Some(local) if Arc::ptr_eq(&shared, &local.shared) => {
                if let Some(waker) = local.take_timer(key) {
                    self.stage = SleepStage::Armed(shared, local.arm(deadline, waker));
                }
            }
            _ => shared.wake_timer(key),
        }
    }

    /// Handles the first poll.
    #[inline]
    fn start(&mut self, span: Option<Countdown>, local: &Local, cx: &Context<'_>) -> SleepStage {
        self.deadline = span.and_then(Countdown::recount).unwrap_or(self.deadline);
        let over = span.map_or_else(|| self.deadline <= local.now(), Countdown::is_zero);
        let shared = local.shared.clone();
        if over {
            cx.waker().wake_by_ref(); // a loop recognises a yield by a wake-up by reference
            return SleepStage::Yielding(shared);
        }
        SleepStage::Armed(shared, local.arm(self.deadline, cx.waker().clone()))
    }
}

impl Future for Sleep {
    type Output = ();

    #[track_caller]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let local = entered_loop::local().expect(NO_LOOP);
        match &self.stage {
            SleepStage::New(span) => {
                let span = *span;
                self.stage = self.start(span, &local, cx);
                Poll::Pending
            }
            SleepStage::Yielding(shared) | SleepStage::Armed(shared, _)
                if !Arc::ptr_eq(shared, &local.shared) =>
            {
                panic!(
                    "this sleep was first polled on another event loop, whose timers will wake it: \
                     await it there, or make a new one here"
                )
            }
            SleepStage::Armed(_, key) if local.refresh(*key, cx.waker()) => Poll::Pending,
            SleepStage::Armed(..) | SleepStage::Yielding(_) | SleepStage::Done => {
                self.stage = SleepStage::Done;
                Poll::Ready(())
            }
        }
    }
}

impl Drop for Sleep {
    #[inline]
    fn drop(&mut self) {
        if let SleepStage::Armed(shared, key) = &self.stage {
            shared.disarm(*key);
        }
    }
}

debug!(
    impl Sleep,
    self,
    deadline = self.deadline,
    done = matches!(self.stage, SleepStage::Done)
);
