//! A future that waits for descriptors, on whatever thread it is polled.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::helper_thread::{FAR, Waiter, waiter};
use super::timekeeper::Timekeeper;
use super::timers::TimerKey;
use super::watched::{WatchedFds, look};

/// Calls `waker` once one of these descriptors is ready, or the deadline has passed. If there is no
/// thread to wait, it waits for that, too.
pub(crate) fn keep(interest: WatchedFds, until: Option<Instant>, waker: Waker) {
    waiter().keep(or_never(until), interest, waker);
}

fn or_never(until: Option<Instant>) -> Instant {
    until.unwrap_or_else(|| Instant::now() + FAR)
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
            let until = or_never(self.until);
            let waiter = waiter();
            match waiter.enter(until, Some(interest.clone()), cx.waker().clone()) {
                Ok(key) => self.entered = Some((waiter, key)),
                Err(waker) => {
                    // There is no thread, so the task checks and asks again.
                    if let Some(until) = waiter.stands_in(until) {
                        look(None, &[(TimerKey::STALE, interest)], until);
                    }
                    waker.wake();
                }
            }
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
