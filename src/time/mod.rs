//! Waiting for time.
//!
//! [`sleep()`], [`sleep_until`] and [`interval()`] wait on the event loop that polls
//! them. [`timeout`] puts a deadline around any future, with a loop or without one.
//!
//! Nothing here ends early, and a deadline is not rounded to milliseconds: the loop
//! sleeps in the kernel until the nanosecond that is due, give or take what the
//! system's timer slack adds (50 µs on Linux).
//!
//! The futures are `Send`. Each belongs to the loop of its first poll; polled
//! elsewhere it panics in words. It may be dropped on any thread.
//!
//! Checked by `tests/event_loop/` (order, never early, missed ticks, carried to
//! other threads) and by the unit tests of the timers.

mod interval;
mod sleep;

pub use crate::task::{Timeout, timeout};
pub use interval::{Interval, MissedTick, interval};
pub use sleep::{Sleep, sleep, sleep_until};
