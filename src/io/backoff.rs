//! What the kernel has no event for, tried again and again.
//!
//! A connection to a Unix listener whose queue is full is refused with "try again", and the kernel
//! has no event for the moment when there is room. So it is tried again, after
//! pauses of 1 ms that double up to [`LONGEST`]. The same holds for a datagram to a socket that
//! is not connected: the kernel reports room for a socket's own peer only.
//!
//! Checked by `tests/event_loop/`.

use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::SocketAddr;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use super::source::fairly;
use crate::alarm::{self, Alarm};

/// Between two attempts, at most.
const LONGEST: Duration = Duration::from_millis(50);

/// Connects a new Unix socket. (mio's own takes another address for an abstract name that begins with a zero, and makes a new
/// socket for each attempt.)
pub(super) async fn connect_unix(address: &SocketAddr) -> io::Result<OwnedFd> {
    let target = if let Some(path) = address.as_pathname() {
        SocketAddrUnix::new(path)?
    } else if let Some(name) = address.as_abstract_name() {
        SocketAddrUnix::new_abstract_name(name)?
    } else {
        let words = "a Unix socket without a name cannot be connected to";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, words));
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    with_backoff(|| Ok(connect(&socket, &target)?)).await?;
    Ok(socket)
}

/// Tries `op` again and again while it would block, for what the kernel has no event.
pub(super) async fn with_backoff<R>(mut op: impl FnMut() -> io::Result<R>) -> io::Result<R> {
    let mut wait = Duration::from_millis(1);
    let mut held = None;
    fairly().await;
    loop {
        match op() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // Room may be made outside of a loop with a virtual clock.
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
