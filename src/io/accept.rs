//! The accept loop that all listeners share.
//!
//! While the system has no descriptor for one more connection, that connection waits in the
//! listener's queue, and the listener stays readable: a server that ignored the error would spin.
//! So `accept` pauses and retries before it returns the error. That limits the rate of such errors,
//! and hides a short shortage. The same is done if the system refuses the call itself (a filter).
//!
//! Checked by `tests/io/`.

use std::io;
use std::time::Duration;

use rustix::fd::AsFd;

use super::backoff::pause;
use super::source::Source;
use crate::alarm;
use crate::sys::refused::{is_shortage, refused};
use crate::sys::sockets::ACCEPT;

/// How many connections may wait to be accepted; the system has its own limit, too.
const BACKLOG: i32 = 4096;

/// How long to wait for a descriptor.
const PAUSE: Duration = Duration::from_millis(100);

/// Makes a bound socket of the standard library listen.
pub(super) fn listen<T: AsFd>(listener: T) -> io::Result<Source<T>> {
    // std lets 128 connections wait, and the system drops those beyond: the clients of a burst
    // would hang for a second. Listening again changes the limit.
    rustix::net::listen(listener.as_fd(), BACKLOG)?;
    Source::nonblocking(listener)
}

/// Accepts by `op`.
pub(super) async fn accept<T: AsFd, R>(
    source: &Source<T>,
    mut op: impl FnMut(&T) -> io::Result<R>,
) -> io::Result<R> {
    let mut passing_over = |listener: &T| {
        loop {
            match op(listener) {
                // It was abandoned while it waited.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                result => return result,
            }
        }
    };
    match source.reading(&mut passing_over).await {
        Err(error) if is_shortage(&error) => {
            let _held = alarm::hold(); // room may be made outside of a loop with a virtual clock
            pause(PAUSE).await;
            let again = source.reading(passing_over).await;
            again.map_err(refused(ACCEPT))
        }
        result => result,
    }
}
