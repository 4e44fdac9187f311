//! A test stops the clock of the loop that it runs on, and lets it go on.
//!
//! The loop gets the virtual clock that it would have by `virtual_time`, which shows the real time of that moment, so the deadlines
//! that there are stay what they were. A clock that was let go keeps its lead over the real one.
//!
//! Checked by `tests/event_loop/virtual_time.rs`.

use crate::event_loop::current;

/// Stops the clock of the loop that runs here: from now on it goes as on a loop with
/// [`virtual_time`](crate::EventLoopBuilder::virtual_time), by [`advance`](super::advance()), and by itself to the next deadline
/// when no task can run. For tests. If it stands already, nothing happens.
///
/// Timers that wait already keep their deadlines. How it meets what goes on outside of the loop is said at `virtual_time`: for a task
/// of a pool it keeps the real pace, for sockets it has patience. For that it must have seen the wait begin, so pause
/// before: a task of a pool that was awaited earlier, and was not polled since, does not keep the clock from jumping.
///
/// # Panics
///
/// Outside an event loop.
///
/// ```
/// use std::time::{Duration, Instant};
/// use trefoil::time::{now, pause, resume, sleep};
///
/// trefoil::run(async {
///     let (start, real) = (now(), Instant::now());
///     pause();
///     sleep(Duration::from_secs(3600)).await; // at once
///     resume();
///     sleep(Duration::from_millis(1)).await; // takes a millisecond
///     assert!(now() - start >= Duration::from_secs(3600) && real.elapsed() < Duration::from_secs(60));
/// });
/// ```
#[track_caller]
pub fn pause() {
    let local = current::local();
    let local =
        local.expect("trefoil::time::pause stops the clock of an event loop, and none runs here");
    local.pause();
}

/// Lets a clock go on that [`pause()`] has stopped, at the pace of the real one, from where it stands: it does not come back to the real
/// time. If it goes already, nothing happens.
///
/// # Panics
///
/// Outside an event loop.
#[track_caller]
pub fn resume() {
    let local = current::local();
    let local = local
        .expect("trefoil::time::resume lets the clock of an event loop go on, and none runs here");
    local.resume();
}
