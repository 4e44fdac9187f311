//! A deadline around any future.
//!
//! It needs no event loop: the alarm registers with the loop of the thread that polls it, if there
//! is one, and otherwise with one helper thread that ends when it is not needed. The future is
//! polled before the clock is read, so a result that exists at the deadline is not lost. If the
//! loop has refused an operation in that poll, to let others run, the future may not have seen its
//! result yet: then it is polled once more at once, with a new budget.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;

use crate::large::{BoxedOutput, LocalBoxedFuture, is_large, unboxed};
use crate::parking::block_on;
use crate::task::error::TaskError;
use crate::task::late::Late;
use crate::timer;
use crate::timer::Alarm;

/// Gives `future`, or the future that it becomes, at most `duration`, on any runtime or none.
///
/// A [`Task`](crate::Task) that is timed out is detached and continues, unless it was made
/// [`cancel_on_drop`](crate::Task::cancel_on_drop).
///
/// `.await` it, or call [`join`](Timeout::join) in blocking code.
///
/// ```
/// use std::time::Duration;
/// use trefoil::TaskError;
///
/// let (_never, task) = trefoil::Completer::<u32>::new();
/// let late = trefoil::timeout(Duration::from_millis(5), task).join();
/// assert!(matches!(late, Err(TaskError::TimedOut(_))));
/// ```
///
/// # Errors
/// [`TaskError::TimedOut`] if the time is up first. The time counts from this call; from the first
/// poll if that is by another clock (virtual time). The error does not name the future;
/// `timeout(d, &mut task)` leaves the task to the caller, with its id and name.
///
/// # Cancel safety
/// Dropping it drops the future, so it is as cancel safe as the future.
pub fn timeout<F: IntoFuture>(duration: Duration, future: F) -> Timeout<F::IntoFuture> {
    Timeout {
        future: future.into_future(),
        alarm: Alarm::after(duration),
        limit: duration,
    }
}

pin_project! {
    /// Returned by [`timeout`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use trefoil::{Task, timeout};
    ///
    /// let limited = || timeout(Duration::from_secs(5), Task::ready(7));
    /// assert_eq!(limited().join()??, 7); // the limit's error, then the task's
    /// assert_eq!(trefoil::run(async { limited().await })??, 7);
    /// # Ok::<_, trefoil::TaskError>(())
    /// ```
    #[must_use = "it waits only when awaited, or by `join()`"]
    #[derive(Debug)]
    pub struct Timeout<F> {
        #[pin]
        future: F,
        alarm: Alarm,
        limit: Duration,
    }
}

impl<F: Future> Timeout<F> {
    /// Blocks until the future has ended or the time is up.
    ///
    /// # Errors
    /// [`TaskError::TimedOut`]; [`TaskError::WouldBlock`] on an event-loop thread, if the
    /// future was not ready at once.
    pub fn join(self) -> Result<F::Output, TaskError> {
        if const { is_large::<F>() } {
            let this: LocalBoxedFuture<'_, Result<F::Output, TaskError>> = Box::pin(self);
            return block_on(this).unwrap_or(Err(TaskError::WouldBlock));
        }
        if const { is_large::<F::Output>() } {
            let future = BoxedOutput {
                future: self.future,
            };
            let this = Timeout {
                future,
                alarm: self.alarm,
                limit: self.limit,
            };
            return unboxed(block_on(this).unwrap_or(Err(TaskError::WouldBlock)));
        }
        block_on(self).unwrap_or(Err(TaskError::WouldBlock))
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, TaskError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Poll::Ready(output) = this.future.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        ready!(this.alarm.poll_elapsed(cx));
        if timer::renew_budget()
            && let Poll::Ready(output) = this.future.poll(cx)
        {
            return Poll::Ready(Ok(output));
        }
        Poll::Ready(Err(TaskError::TimedOut(Late::after(*this.limit))))
    }
}
