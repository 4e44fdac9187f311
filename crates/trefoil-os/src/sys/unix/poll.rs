//! `poll`, by the newer of two system calls, or by the older one if that is refused.
//!
//! Some filters refuse `ppoll`. They must allow the old `poll`, because `std` needs it before
//! `main`; it rounds up to a millisecond.
//!
//! - **Y28** A `PollFd` is a `pollfd` of C: a slice of them may be handed to the C library, which
//!   changes `revents` only.
//!
//! Tests: its own test, `tests/environments/`.
#![allow(unsafe_code)]

use std::io;
use std::thread::sleep;
use std::time::Duration;

use rustix::event::{PollFd, Timespec};
use rustix::io::{Errno, Result};

/// How long to sleep if one call cannot take all descriptors, or fails.
const PAUSE: Duration = Duration::from_millis(5);

const DAY: Duration = Duration::from_secs(86_400);

/// As `rustix::event::poll`.
#[inline]
pub fn poll(fds: &mut [PollFd<'_>], timeout: Option<&Timespec>) -> Result<usize> {
    match rustix::event::poll(fds, timeout) {
        Err(Errno::PERM | Errno::ACCESS | Errno::NOSYS) => old(fds, timeout),
        result => result,
    }
}

/// For threads that can only wait: it returns no errors, and does not spin because of one. It may
/// return early, and if this process may have no descriptor at all, with a limit of zero, it
/// returns every few milliseconds and knows of none: a caller to which that may happen tries.
pub fn poll_patiently(fds: &mut [PollFd<'_>], timeout: Option<Duration>) {
    // A wait of years is too long for the older call, and so for macOS, which has no other.
    let limit = timeout.and_then(|timeout| Timespec::try_from(timeout.min(DAY)).ok());
    let known = match poll(fds, limit.as_ref()) {
        Ok(_) | Err(Errno::INTR) => true,
        Err(Errno::INVAL) => poll_each(fds),
        Err(_) => false, // for example for want of memory
    };
    if !known {
        sleep(timeout.map_or(PAUSE, |timeout| timeout.min(PAUSE)));
    }
}

/// Polls one descriptor after the other, without waiting. The kernel accepts no more at once than
/// the limit on this process's descriptors, which was lowered below their number. `false`: none is
/// ready, or the limit is zero.
#[cold]
fn poll_each(fds: &mut [PollFd<'_>]) -> bool {
    let now = Timespec::default();
    let each = fds.chunks_mut(1);
    let ready = each.filter_map(|fd| poll(fd, Some(&now)).ok());
    ready.sum::<usize>() > 0
}

#[cold]
fn old(fds: &mut [PollFd<'_>], timeout: Option<&Timespec>) -> Result<usize> {
    const { assert!(size_of::<PollFd<'_>>() == size_of::<libc::pollfd>()) };
    const { assert!(align_of::<PollFd<'_>>() == align_of::<libc::pollfd>()) };
    let millis = timeout.map_or(-1, |timeout| {
        let more = timeout.tv_nsec.div_euclid(1_000_000) + 1;
        let more = if timeout.tv_nsec == 0 { 0 } else { more };
        let all = timeout.tv_sec.saturating_mul(1000).saturating_add(more);
        i32::try_from(all).unwrap_or(i32::MAX)
    });
    // SAFETY: Y28: the slice is borrowed mutably for the call, and its length is passed.
    let count = unsafe { libc::poll(fds.as_mut_ptr().cast(), fds.len() as libc::nfds_t, millis) };
    usize::try_from(count)
        .map_err(|_| Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INTR))
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;
    use crate::loom::thread::Builder;
    use rustix::event::PollFlags;
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::time::{Duration, Instant};

    /// A wait of years is possible, although macOS refuses its length.
    #[test]
    fn a_wait_of_years_ends_with_what_it_waits_for() {
        let (near, far) = UnixStream::pair().unwrap();
        let pause = PAUSE * 20;
        let writing = Builder::new().spawn(move || {
            let _ = old(&mut [], Timespec::try_from(pause).ok().as_ref());
            (&near).write_all(b"x").unwrap();
            near
        });
        let mut fds = [PollFd::new(&far, PollFlags::IN)];
        let mut waits = 0;
        while fds[0].revents().is_empty() {
            poll_patiently(&mut fds, Some(Duration::from_secs(1 << 30)));
            waits += 1;
        }
        assert!(waits < 10, "{waits} naps"); // a signal may end one
        writing.unwrap().join().unwrap();
    }

    #[test]
    fn the_old_call_says_the_same() {
        let (mut near, far) = UnixStream::pair().unwrap();
        let ask = |how: fn(&mut [PollFd<'_>], Option<&Timespec>) -> Result<usize>| {
            let mut fds = [
                PollFd::new(&far, PollFlags::IN),
                PollFd::new(&far, PollFlags::OUT),
            ];
            let pause = Duration::from_micros(300);
            let count = how(&mut fds, Timespec::try_from(pause).ok().as_ref());
            (count, fds.map(|fd| fd.revents()))
        };
        assert_eq!(ask(old), ask(poll));
        near.write_all(b"x").unwrap();
        assert_eq!(ask(old), ask(poll));
        assert_eq!(ask(old).0, Ok(2));
        let begin = Instant::now();
        let pause = Duration::from_micros(1300);
        assert_eq!(old(&mut [], Timespec::try_from(pause).ok().as_ref()), Ok(0));
        assert!(begin.elapsed() >= pause, "early");
    }
}
