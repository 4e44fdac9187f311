//! The accept loop and the backlog that all listeners share.
//!
//! While the system has no descriptor for one more connection, that connection waits in the
//! listener's queue, and the listener stays readable: a server that ignored the error would spin.
//! So `accept` pauses and retries before it returns the error. That limits the rate of such errors,
//! and hides a short shortage. The same is done if the system refuses the call itself (a filter).
//!
//! Tests: `tests/io/sockets.rs::no_descriptor_left_is_an_error_and_not_a_spin`,
//! `tests/io/connecting.rs::a_listener_without_room_does_not_spin`.

use std::io;
use std::time::Duration;

use rustix::fd::AsFd;

use super::source::IoSource;
use crate::sys::refused::{is_shortage, refused};
use crate::sys::sockets::ACCEPT;
use crate::timer;
use crate::timer::pause;

/// How many connections may wait to be accepted; the system has its own limit, too.
const BACKLOG: i32 = 4096;

/// How long to wait before the next attempt to get a descriptor. It is not zero: a server that
/// ignores the error would spin. The docs of the listeners state it.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);

/// Makes a bound socket of the standard library listen.
pub(super) fn listen<T: AsFd>(listener: T) -> io::Result<IoSource<T>> {
    // std lets 128 connections wait, and the system drops further ones: the clients of a burst
    // would hang for a second. A second call to `listen` changes the limit.
    rustix::net::listen(listener.as_fd(), BACKLOG)?;
    IoSource::nonblocking(listener)
}

/// Accepts a connection with `op`, and passes over those that were abandoned.
pub(super) async fn accept<T: AsFd, R>(
    source: &IoSource<T>,
    mut op: impl FnMut(&T) -> io::Result<R>,
) -> io::Result<R> {
    let mut has_paused = false;
    loop {
        match source.reading(&mut op).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) if !is_shortage(&error) => return Err(error),
            Err(error) if has_paused => return Err(refused(ACCEPT)(error)),
            Err(_) => {
                let _held = timer::hold();
                pause(SHORTAGE_PAUSE).await;
                has_paused = true;
            }
            accepted => return accepted,
        }
    }
}
