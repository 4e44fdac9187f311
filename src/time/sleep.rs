//! One deadline on one loop.
//!
//! 1. The first poll binds the sleep to the running loop. A deadline that has
//!    passed makes it yield once; any other is entered among the loop's timers.
//! 2. Later polls ask whether that timer is still armed: the loop takes it away
//!    when it is due, never before. So no poll needs to read the clock.
//! 3. Dropping disarms: on the loop's thread at once, elsewhere by a note.
//!
//! Checked by `tests/event_loop/`.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::alarm::{Span, Timekeeper, TimerKey};
use crate::event_loop::{Shared, current};

/// Completes once `duration` has passed, counted from this call.
///
/// Never early; late by the system's timer slack (50 µs on Linux) and by
/// what runs on the loop just then. `sleep(Duration::ZERO)` lets the other tasks
/// run once. A sleep too long for the clock never ends.
///
/// On a loop with [`virtual_time`](crate::EventLoopBuilder::virtual_time) it is that
/// clock which counts; a sleep that was made outside of such a loop is counted there from its first poll.
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
/// It is compared with the clock of the loop, [`time::now()`](super::now): the same as `Instant::now()` unless
/// that loop has [`virtual_time`](crate::EventLoopBuilder::virtual_time).
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
        deadline: Some(deadline),
        stage: Stage::New(None),
    }
}

/// What [`sleep`] and [`sleep_until`] return.
#[must_use = "futures do nothing unless they are awaited"]
pub struct Sleep {
    /// `None`: later than the clock can say.
    deadline: Option<Instant>,
    stage: Stage,
}

enum Stage {
    /// How long it is to take, where that was said: another clock may have counted.
    New(Option<Span>),
    /// The deadline had passed at the first poll: the others run once.
    Yielding(Arc<Shared>),
    /// `None`: nothing will ever wake it.
    Armed(Arc<Shared>, Option<TimerKey>),
    Done,
}

impl Sleep {
    /// When it ends; `None` if that is later than the clock can say.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// let deadline = Instant::now() + Duration::from_secs(1);
    /// assert_eq!(trefoil::time::sleep_until(deadline).deadline(), Some(deadline));
    /// ```
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn disarm(&mut self) {
        if let Stage::Armed(shared, Some(key)) = std::mem::replace(&mut self.stage, Stage::Done) {
            shared.disarm(key);
        }
    }
}

impl Future for Sleep {
    type Output = ();

    #[track_caller]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let home = current::home().expect(
            "trefoil::time::sleep needs an event loop: await it inside trefoil::run(..) or \
             EventLoop::block_on(..), on the loop's own thread (trefoil::timeout works anywhere)",
        );
        if let Stage::Yielding(shared) | Stage::Armed(shared, _) = &self.stage {
            assert!(
                Arc::ptr_eq(shared, &home.shared),
                "this sleep was first polled on another event loop, whose timers will wake it: \
                 await it there, or make a new one here"
            );
        }
        match &self.stage {
            Stage::New(span) => {
                if let Some(deadline) = span.and_then(Span::recount) {
                    self.deadline = deadline;
                }
                let shared = home.shared.clone();
                self.stage = match self.deadline {
                    Some(deadline) if deadline <= home.now() => {
                        cx.waker().wake_by_ref();
                        Stage::Yielding(shared)
                    }
                    Some(deadline) => {
                        Stage::Armed(shared, Some(home.arm(deadline, cx.waker().clone())))
                    }
                    None => Stage::Armed(shared, None),
                };
                Poll::Pending
            }
            Stage::Armed(_, Some(key)) if home.refresh(*key, cx.waker()) => Poll::Pending,
            Stage::Armed(_, None) => Poll::Pending,
            Stage::Yielding(_) | Stage::Armed(..) | Stage::Done => {
                self.stage = Stage::Done;
                Poll::Ready(())
            }
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.disarm();
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep")
            .field("deadline", &self.deadline)
            .field("done", &matches!(self.stage, Stage::Done))
            .finish()
    }
}
