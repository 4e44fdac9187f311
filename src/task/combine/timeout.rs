//! A deadline around any future.
//!
//! It needs no loop of ours: the alarm registers with the loop of the thread that
//! polls it first, or else with one helper thread that ends when it is not needed.
//! The future is polled before the clock is asked, so a result that is there at the
//! deadline is not lost.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;

use crate::alarm::Alarm;
use crate::sync::block_on;
use crate::task::error::TaskError;

/// Gives `future`, or what becomes one, at most `duration`, on any runtime or none.
///
/// A [`Task`](crate::Task) that is timed out is detached and goes on, unless it
/// was made [`cancel_on_drop`](crate::Task::cancel_on_drop).
///
/// `.await` it, or call [`wait`](Timeout::wait) in blocking code.
///
/// ```
/// use std::time::Duration;
/// use trefoil::TaskError;
///
/// let (_never, task) = trefoil::Completer::<u32>::new();
/// let late = trefoil::timeout(Duration::from_millis(5), task).wait();
/// assert!(matches!(late, Err(TaskError::TimedOut)));
/// ```
///
/// # Errors
/// [`TaskError::TimedOut`] if the time is up first. It is counted from this call. The error does
/// not name the future, which the caller knows; `timeout(d, &mut task)` leaves the task to it, with
/// its id and name.
///
/// # Cancel safety
/// As safe as `future` is: dropping it drops the future.
pub fn timeout<F: IntoFuture>(duration: Duration, future: F) -> Timeout<F::IntoFuture> {
    let alarm = Alarm::after(duration);
    let future = future.into_future();
    Timeout { future, alarm }
}

pin_project! {
    /// Returned by [`timeout`].
    #[must_use = "it waits only when awaited, or by `wait()`"]
    #[derive(Debug)]
    pub struct Timeout<F> {
        #[pin]
        future: F,
        alarm: Alarm,
    }
}

impl<F: Future> Timeout<F> {
    /// Blocks until the future has ended or the time is up.
    ///
    /// # Errors
    /// [`TaskError::TimedOut`]; [`TaskError::WouldBlock`] on an event-loop thread, if the
    /// future was not ready at once.
    pub fn wait(self) -> Result<F::Output, TaskError> {
        block_on(self).unwrap_or(Err(TaskError::WouldBlock))
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, TaskError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        let elapsed = this.alarm.poll_elapsed(cx);
        elapsed.map(|()| Err(TaskError::TimedOut))
    }
}
