//! Retries for operations that the kernel reports no event for.
//!
//! A connection to a Unix listener whose queue is full is refused with "try again", and the kernel
//! has no event for the moment when there is room. So it is retried, after pauses of 1 ms that
//! double up to [`LONGEST`]. The same holds for a datagram to a socket that is not connected: the
//! kernel reports room for a socket's own peer only.
//!
//! Checked by `tests/io/`.

use std::future::poll_fn;
use std::io;
use std::time::Duration;

use super::source::fairly;
use crate::alarm::{self, Alarm};

/// Between two attempts, at most.
const LONGEST: Duration = Duration::from_millis(50);

/// Retries `op` while it would block, if the kernel has no event for it.
#[cfg(unix)]
pub(super) async fn with_backoff<R>(mut op: impl FnMut() -> io::Result<R>) -> io::Result<R> {
    let mut wait = Duration::from_millis(1);
    let mut held = None;
    fairly().await;
    loop {
        match op() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // Room may be made outside a loop with a virtual clock.
                held = held.or_else(alarm::hold);
                pause(wait).await;
                wait = LONGEST.min(wait * 2);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Completes once `duration` has passed.
pub(super) async fn pause(duration: Duration) {
    // By the clock of the loop that waits.
    let mut alarm = Alarm::after(duration);
    poll_fn(|cx| alarm.poll_elapsed(cx)).await;
}
