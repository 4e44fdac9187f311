//! Stopping and resuming the clock of a running loop in a test.
//!
//! The loop gets the same virtual clock as with `virtual_time`. It starts at the real time of that
//! moment, so existing deadlines stay valid. A resumed clock keeps its lead over the real one.
//!
//! Tests: `tests/event_loop/virtual_time.rs`.

use crate::event_loop::entered_loop;

/// Stops the clock of the current loop. From now on it moves as on a loop with
/// [`virtual_time`](crate::EventLoopBuilder::virtual_time): by [`advance`](super::advance()), and
/// by itself to the next deadline when no task can run. This is for tests. If the clock is stopped
/// already, nothing happens.
///
/// Existing timers keep their deadlines. `virtual_time` describes how the clock treats events from
/// outside the loop: while a task of a pool is awaited it runs at the real pace, and for sockets it
/// waits a limited time. The clock must have seen the wait begin, so pause first: a pool's task
/// that was awaited earlier, and has not been polled since, does not keep the clock from jumping.
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
    let local = entered_loop::local();
    let local =
        local.expect("trefoil::time::pause stops the clock of an event loop, and none runs here");
    local.pause();
}

/// Resumes a clock that [`pause()`] has stopped, at the real pace, from its current value: it does
/// not return to the real time. If it runs already, nothing happens.
///
/// # Panics
///
/// Outside an event loop.
#[track_caller]
pub fn resume() {
    let local = entered_loop::local();
    let local = local
        .expect("trefoil::time::resume lets the clock of an event loop go on, and none runs here");
    local.resume();
}
