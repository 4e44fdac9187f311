//! Accepting connections while the system has no room for one more.
//!
//! The connection then waits in the listener's queue, and the listener stays readable: a server
//! that goes on regardless of the error would spin. So before the error is passed on there is a
//! [`PAUSE`] and a second attempt. That bounds the rate at which such errors can come, and a short
//! shortage is not seen at all. So it is where the system refuses the call itself (a filter).
//!
//! Checked by `tests/event_loop/`.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::io::Errno;

use super::source::Source;
use super::unix_address::pause;
use crate::alarm;
use crate::event_loop::Direction;
use crate::sys::refused::refused;

/// How long to wait for room.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts by `op`.
pub(super) async fn accept<T: AsFd, R>(
    source: &Source<T>,
    mut op: impl FnMut(&T) -> io::Result<R>,
) -> io::Result<R> {
    let mut passing_over = |listener: &T| {
        loop {
            match op(listener) {
                // It was given up while it waited.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                result => return result,
            }
        }
    };
    match source.call(Direction::Read, &mut passing_over).await {
        Err(error) if is_shortage(&error) => {
            let _held = alarm::hold(); // who makes room may be outside of a loop with a virtual clock
            pause(PAUSE).await;
            let again = source.call(Direction::Read, passing_over).await;
            again.map_err(refused("accept4"))
        }
        result => result,
    }
}

/// No descriptors, or no memory for one; or the system refuses the call.
fn is_shortage(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
            | Some(Errno::PERM | Errno::ACCESS | Errno::NOSYS)
    )
}
