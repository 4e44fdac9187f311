//! One deadline on one loop.
//!
//! 1. The first poll binds the sleep to the running loop. A sleep of zero length, or until a
//!    deadline that has passed, yields once; any other is added to the loop's timers. (A sleep of
//!    positive length may be over by then, too: the loop notices that, so that the clock is read
//!    once and not twice.)
//! 2. Later polls ask whether that timer is still armed: the loop removes it when it is due, never
//!    before. So no poll needs to read the clock.
//! 3. Dropping disarms the timer: at once on the loop's thread, elsewhere by a note to the loop.
//!
//! Checked by `tests/event_loop/`.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::alarm::{Span, Timekeeper, TimerKey, end, now};
use crate::event_loop::{Local, Shared, current};

const NO_LOOP: &str = "trefoil::time::sleep needs an event loop: await it inside trefoil::run(..) or \
     EventLoop::block_on(..), on the loop's own thread (trefoil::timeout works anywhere)";

/// Completes once `duration` has passed, counted from this call.
///
/// Never early; late by at most the system's timer slack (50 µs on Linux), plus the time that the
/// thread takes to wake up and the loop's running task to return. `sleep(Duration::ZERO)` lets the
/// other tasks run once. A sleep too long for the clock ends when the clock does, in some hundred
/// thousand million years.
///
/// On a loop with [`virtual_time`](crate::EventLoopBuilder::virtual_time) it uses that clock (which
/// reaches its end once nothing else is left to wait for); a sleep that was created outside such a
/// loop is counted there from its first poll.
///
/// # Panics
///
/// When polled outside an event loop, or on another loop than at first.
///
/// # Cancel safety
///
/// Dropping it forgets the deadline. From any thread.
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
    let (deadline, span) = Span::count(duration);
    Sleep {
        deadline,
        stage: Stage::New(Some(span)),
    }
}

/// Completes once `deadline` has passed; see [`sleep`].
///
/// It is compared with the clock of the loop, [`time::now()`](super::now): the same as
/// `Instant::now()` unless that loop has [`virtual_time`](crate::EventLoopBuilder::virtual_time).
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
        stage: Stage::New(None),
    }
}

/// Returned by [`sleep`] and [`sleep_until`].
#[must_use = "futures do nothing unless they are awaited"]
pub struct Sleep {
    deadline: Instant,
    stage: Stage,
}

enum Stage {
    /// Its length, if it was given as one: the deadline may be by another clock.
    New(Option<Span>),
    /// It was over at the first poll: other tasks run once.
    Yielding(Arc<Shared>),
    Armed(Arc<Shared>, TimerKey),
    Done,
}

impl Sleep {
    /// When it ends; `None` if that is beyond the clock's range.
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
            Stage::Done => true,
            Stage::New(_) => self.deadline <= now(),
            Stage::Yielding(shared) | Stage::Armed(shared, _) => self.deadline <= shared.now(),
        }
    }

    /// From now on it completes at `deadline`, even if it had completed. A task that waits for it
    /// on its loop is woken then; if the sleep has moved to another thread, it must be polled
    /// again.
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
        let Stage::Armed(shared, key) = mem::replace(&mut self.stage, Stage::New(None)) else {
            return;
        };
        match current::local() {
            Some(local) if Arc::ptr_eq(&shared, &local.shared) => {
                if let Some(waker) = local.take_timer(key) {
                    self.stage = Stage::Armed(shared, local.arm(deadline, waker));
                }
            }
            _ => shared.disarm(key),
        }
    }

    /// The first poll.
    #[inline]
    fn begin(&mut self, span: Option<Span>, local: &Local, cx: &Context<'_>) -> Stage {
        self.deadline = span.and_then(Span::recount).unwrap_or(self.deadline);
        let over = span.map_or_else(|| self.deadline <= local.now(), Span::is_zero);
        let shared = local.shared.clone();
        if over {
            cx.waker().wake_by_ref(); // by reference: that is how a task yields
            return Stage::Yielding(shared);
        }
        Stage::Armed(shared, local.arm(self.deadline, cx.waker().clone()))
    }
}

impl Future for Sleep {
    type Output = ();

    #[track_caller]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let local = current::local().expect(NO_LOOP);
        match &self.stage {
            Stage::New(span) => {
                let span = *span;
                self.stage = self.begin(span, &local, cx);
                Poll::Pending
            }
            Stage::Yielding(shared) | Stage::Armed(shared, _)
                if !Arc::ptr_eq(shared, &local.shared) =>
            {
                panic!(
                    "this sleep was first polled on another event loop, whose timers will wake it: \
                     await it there, or make a new one here"
                )
            }
            Stage::Armed(_, key) if local.refresh(*key, cx.waker()) => Poll::Pending,
            Stage::Armed(..) | Stage::Yielding(_) | Stage::Done => {
                self.stage = Stage::Done;
                Poll::Ready(())
            }
        }
    }
}

impl Drop for Sleep {
    #[inline]
    fn drop(&mut self) {
        if let Stage::Armed(shared, key) = &self.stage {
            shared.disarm(*key);
        }
    }
}

debug!(
    impl Sleep,
    self,
    deadline = self.deadline,
    done = matches!(self.stage, Stage::Done)
);
