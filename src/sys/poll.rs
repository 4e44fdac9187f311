//! `poll`, by the newer of two system calls where it is not refused.
//!
//! Some filters do not know `ppoll`; `std` needs the old `poll` before `main`, so that is there. It rounds up to a millisecond.
//!
//! - **Y28** A `PollFd` is a `pollfd` of C: a slice of them may be handed to the C library, which changes `revents` only.
#![allow(unsafe_code)]

use std::io;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, Timespec};
use rustix::io::{Errno, Result};
use rustix::process::Resource;

use super::limits::limit;

/// How long to sleep between two looks where one call cannot take all descriptors, or fails.
const NAP: Duration = Duration::from_millis(1);

/// As `rustix::event::poll`.
pub(crate) fn poll(fds: &mut [PollFd<'_>], timeout: Option<&Timespec>) -> Result<usize> {
    match rustix::event::poll(fds, timeout) {
        Err(Errno::PERM | Errno::ACCESS | Errno::NOSYS) => old(fds, timeout),
        result => result,
    }
}

/// For threads that cannot do anything but wait: no error is theirs to deal with, and none makes them spin.
pub(crate) fn poll_patiently(fds: &mut [PollFd<'_>], timeout: Option<Duration>) {
    let limit = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    match poll(fds, limit.as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(Errno::INVAL) => poll_by_parts(fds, timeout),
        Err(_) => nap(NAP), // no memory, perhaps
    }
}

/// The kernel takes no more descriptors at once than this process may have, and that limit was lowered to
/// less than what it has: looks at some after the others, again and again.
#[cold]
fn poll_by_parts(fds: &mut [PollFd<'_>], timeout: Option<Duration>) {
    let end = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let limit = limit(Resource::Nofile).ok().and_then(|limit| limit.current);
    let most = limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    });
    let now = Timespec::default();
    loop {
        let parts = fds.chunks_mut(most.max(1));
        let ready: usize = parts.map(|part| poll(part, Some(&now)).unwrap_or(0)).sum();
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        if ready > 0 || left.is_some_and(|left| left.is_zero()) {
            return;
        }
        nap(left.map_or(NAP, |left| left.min(NAP)));
    }
}

fn nap(pause: Duration) {
    if let Ok(pause) = Timespec::try_from(pause) {
        let _ = rustix::thread::nanosleep(&pause);
    }
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
    // SAFETY: Y28: the slice is ours while the call lasts, and as long as is said.
    let count = unsafe { libc::poll(fds.as_mut_ptr().cast(), fds.len() as libc::nfds_t, millis) };
    usize::try_from(count)
        .map_err(|_| Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INTR))
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;
    use rustix::event::PollFlags;
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::time::{Duration, Instant};

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
