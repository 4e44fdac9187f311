//! Moving the clock in a test.
//!
//! `advance` arms a sleep of that length before it moves the clock. Timers fire by deadline, so
//! when this sleep wakes the task, all timers that are due by then have woken theirs.
//!
//! Tests: `tests/event_loop/virtual_time.rs`.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::time::Duration;

use super::sleep;
use crate::event_loop::{entered_loop, yield_now};

/// Moves the loop's clock forward by `duration`, and fires the timers that are due by then. This is
/// for tests, on a loop with [`virtual_time`](crate::EventLoopBuilder::virtual_time), or after
/// [`pause`](super::pause()).
///
/// Tasks that were spawned here just before run first. Such a clock moves by itself when no task
/// can run, so a test seldom needs this: only to move the clock while an event from outside the
/// loop is awaited, or to stop between two deadlines. The clock moves in one step: the task of a
/// timer that was due on the way sees the time at the end.
///
/// # Panics
///
/// Outside an event loop, and on a loop whose clock is running: the real one, or one that was
/// [resumed](super::resume()).
///
/// # Cancel safety
///
/// If the future is dropped, the clock has moved by all of `duration`, or not at all.
///
/// ```
/// use std::time::Duration;
/// use trefoil::time::{advance, now, sleep};
///
/// let event_loop = trefoil::EventLoop::builder().virtual_time().build()?;
/// event_loop.block_on(async {
///     let start = now();
///     let nap = trefoil::spawn(sleep(Duration::from_secs(60)));
///     advance(Duration::from_secs(59)).await;
///     assert!(!nap.is_finished());
///     advance(Duration::from_secs(1)).await;
///     assert!(nap.is_finished());
///     assert_eq!(now() - start, Duration::from_secs(60));
/// });
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn advance(duration: Duration) {
    yield_now().await;
    let mut arrival = sleep(duration);
    let mut ahead = Some(duration);
    poll_fn(move |cx| {
        let polled = Pin::new(&mut arrival).poll(cx);
        if let Some(duration) = ahead.take() {
            let local = entered_loop::local().expect("the sleep has found it");
            assert!(
                local.advance(duration),
                "trefoil::time::advance needs a paused clock: call trefoil::time::pause() first, \
                 or make the loop with EventLoop::builder().virtual_time()"
            );
        }
        polled
    })
    .await;
}
