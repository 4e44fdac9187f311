//! Retries operations for which the kernel reports no event.
//!
//! A connection to a Unix listener whose queue is full is refused with "try again", and the kernel
//! has no event for the moment when there is room. So it is retried, after pauses of 1 ms that
//! double up to [`LONGEST`]. The same holds for a datagram to a socket that is not connected: the
//! kernel reports room for a socket's own peer only.
//!
//! Tests: `tests/io/unix.rs::a_full_queue_is_waited_for_and_a_given_up_wait_leaves_nothing`,
//! `tests/io/datagrams.rs::a_full_queue_of_unix_datagrams_is_waited_for`.

use std::io;
use std::time::Duration;

use super::source::fairly;
use crate::timer;
use crate::timer::pause;

/// The longest pause between two attempts.
const LONGEST: Duration = Duration::from_millis(50);

/// Retries `op` while it would block. The kernel has no event for it.
pub(super) async fn with_backoff<R>(mut op: impl FnMut() -> io::Result<R>) -> io::Result<R> {
    let mut wait = Duration::from_millis(1);
    let mut held = None;
    fairly().await?;
    loop {
        match op() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // The event may come from outside a loop with a virtual clock.
                held = held.or_else(timer::hold);
                pause(wait).await;
                wait = LONGEST.min(wait * 2);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
