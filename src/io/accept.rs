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

use super::source::Source;
use crate::alarm::{self, pause};
use crate::sys::refused::{is_shortage, refused};
use crate::sys::sockets::ACCEPT;

/// How many connections may wait to be accepted; the system has its own limit, too.
const BACKLOG: i32 = 4096;

/// How long to wait before the next attempt to get a descriptor.
const PAUSE: Duration = Duration::from_millis(100);

/// Makes a bound socket of the standard library listen.
pub(super) fn listen<T: AsFd>(listener: T) -> io::Result<Source<T>> {
    // std lets 128 connections wait, and the system drops further ones: the clients of a burst
    // would hang for a second. A second call to `listen` changes the limit.
    rustix::net::listen(listener.as_fd(), BACKLOG)?;
    Source::nonblocking(listener)
}

/// Accepts connections with `op`.
pub(super) async fn accept<T: AsFd, R>(
    source: &Source<T>,
    mut op: impl FnMut(&T) -> io::Result<R>,
) -> io::Result<R> {
    let mut passing_over = |listener: &T| {
        loop {
            match op(listener) {
                // The client closed the connection while it waited.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                result => return result,
            }
        }
    };
    match source.reading(&mut passing_over).await {
        Err(error) if is_shortage(&error) => {
            let _held = alarm::hold(); // the cause is outside the loop's virtual clock
            pause(PAUSE).await;
            let again = source.reading(passing_over).await;
            again.map_err(refused(ACCEPT))
        }
        result => result,
    }
}
