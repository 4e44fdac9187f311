//! A future that waits for descriptors, on whatever thread it is polled.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::helper_thread::{FAR, Waiter, waiter};
use super::timekeeper::Timekeeper;
use super::timers::TimerKey;
use super::watched::WatchedFds;

/// Calls `waker` once one of these descriptors is ready, or the deadline has passed. Fails if there
/// is no thread to wait.
pub(crate) fn enter(
    interest: WatchedFds,
    until: Option<Instant>,
    waker: Waker,
) -> Result<TimerKey, Waker> {
    let until = until.unwrap_or_else(|| Instant::now() + FAR);
    waiter().enter(until, Some(interest), waker)
}

/// Completes when an event may have happened, or the deadline has passed.
pub(crate) struct Ready {
    interest: Option<WatchedFds>,
    until: Option<Instant>,
    entered: Option<(&'static Waiter, TimerKey)>,
}

impl Ready {
    /// Nothing is registered before the first poll. `None`: without a deadline.
    pub(crate) fn new(interest: WatchedFds, until: Option<Instant>) -> Self {
        Self {
            interest: Some(interest),
            until,
            entered: None,
        }
    }
}

debug!(impl Ready, self, until = self.until);

impl Future for Ready {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(interest) = self.interest.take() {
            let entered = enter(interest, self.until, cx.waker().clone());
            // There is no thread, so the task checks and asks again.
            self.entered = entered
                .map(|key| (&**waiter(), key))
                .map_err(Waker::wake)
                .ok();
            return Poll::Pending;
        }
        match self.entered {
            Some((waiter, key)) if waiter.refresh(key, cx.waker()) => Poll::Pending,
            _ => Poll::Ready(()),
        }
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        if let Some((waiter, key)) = self.entered {
            waiter.disarm(key);
        }
    }
}
