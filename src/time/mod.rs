//! Waiting for time.
//!
//! [`sleep()`], [`sleep_until`] and [`interval()`] wait on the event loop that polls
//! them. [`timeout`] puts a deadline around any future, with a loop or without one.
//!
//! ```
//! use std::time::Duration;
//! use trefoil::{TaskError, time, timeout};
//!
//! trefoil::run(async {
//!     time::sleep(Duration::from_millis(1)).await;
//!
//!     let mut ticks = time::interval(Duration::from_micros(500));
//!     for _ in 0..3 {
//!         ticks.tick().await; // the first comes at once
//!     }
//!
//!     let late = timeout(Duration::from_millis(1), std::future::pending::<()>()).await;
//!     assert!(matches!(late, Err(TaskError::TimedOut(_))));
//! });
//! ```
//!
//! Nothing here ends early, and a deadline is not rounded to milliseconds (on Windows it is,
//! because the system's waits are). On Linux the loop also allows for the timer slack of 50 µs, by
//! which the kernel delays the end of a wait.
//!
//! [`now`] is the time for all of them: `Instant::now()`, except on a loop with a virtual clock,
//! where tests of hours take milliseconds ([`virtual_time`](crate::EventLoopBuilder::virtual_time),
//! [`pause()`]).
//!
//! The clock is the system's monotonic one: it never goes back, and setting the wall clock has no
//! effect here. While the system is suspended it may stop (on Linux it does), and deadlines are
//! then delayed by that time; timers that are overdue on waking fire at once.
//!
//! The futures are `Send`. A sleep or an interval belongs to the loop of its first poll; polled
//! elsewhere before it has completed (or a sleep was `reset` there), it panics with an explanation.
//! It may be dropped on any thread.
//!
//! # Read next
//!
//! A thread that waits for a task needs nothing from this module:
//! [`Task::join_timeout`](crate::Task::join_timeout). A deadline for a whole tree of work is
//! [`CancelToken::with_deadline`](crate::CancelToken::with_deadline), one for each item in a worker
//! process [`ProcessCall::timeout`](crate::ProcessCall::timeout).

// Tests: `tests/event_loop/time.rs::{sleepers_wake_in_order_and_never_early,
// a_sleep_belongs_to_the_loop_of_its_first_poll}`, the unit tests of the timers.

mod advance;
mod interval;
mod pause;
mod sleep;

use std::time::Instant;

#[doc(no_inline)]
pub use crate::task::root::timeout;
pub use advance::advance;
pub use interval::{Interval, MissedTick, interval, interval_at};
pub use pause::{pause, resume};
pub use sleep::{Sleep, sleep, sleep_until};

/// The current time: that of the loop that runs on this thread, otherwise the real time.
///
/// Equal to `Instant::now()`, except on a loop that has a
/// [virtual clock](crate::EventLoopBuilder::virtual_time) or was [paused](pause()). Use it to
/// measure time on such a loop.
///
/// ```
/// use std::time::Duration;
/// use trefoil::time;
///
/// let event_loop = trefoil::EventLoop::builder().virtual_time().build()?;
/// event_loop.block_on(async {
///     let start = time::now();
///     time::sleep(Duration::from_secs(3600)).await;
///     assert_eq!(time::now() - start, Duration::from_secs(3600));
/// });
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use]
pub fn now() -> Instant {
    crate::timer::now()
}
