//! `Timer`: one sleep after another.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures_core::Stream;
use trefoil::time::{Sleep, sleep_until};

#[derive(Debug)]
pub struct Timer {
    sleep: Sleep,
    deadline: Instant,
    period: Option<Duration>,
}

impl Timer {
    pub fn after(duration: Duration) -> Self {
        Self::at(Instant::now() + duration)
    }

    pub fn at(deadline: Instant) -> Self {
        Self {
            sleep: sleep_until(deadline),
            deadline,
            period: None,
        }
    }

    pub fn interval(period: Duration) -> Self {
        Self {
            period: Some(period),
            ..Self::after(period)
        }
    }

    pub fn set_after(&mut self, duration: Duration) {
        self.deadline = Instant::now() + duration;
        self.sleep.reset(self.deadline);
    }
}

impl Future for Timer {
    type Output = Instant;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Instant> {
        Pin::new(&mut self.sleep).poll(cx).map(|()| self.deadline)
    }
}

impl Stream for Timer {
    type Item = Instant;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Instant>> {
        let tick = ready!(self.as_mut().poll(cx));
        if let Some(period) = self.period {
            self.deadline = tick + period;
            let next = self.deadline;
            self.sleep.reset(next);
        }
        Poll::Ready(Some(tick))
    }
}
