//! `poll`, by the newer of two system calls, or by an older one if that is refused.
//!
//! Some filters refuse `ppoll`. They must allow the old `poll`, because `std` needs it before
//! `main`; it rounds up to a millisecond. Both take no more descriptors at once than this process
//! may open, a limit that it may lower, to zero even; `select` takes any.
//!
//! - **Y28** A `PollFd` is a `pollfd` of C: a slice of them may be handed to the C library, which
//!   changes `revents` only. A slice of words is a set of descriptors for `select`, a bit for each.
//!
//! Tests: its own test, `tests/environments/main.rs::wherever_it_is_it_works_or_says_why`.
#![allow(unsafe_code)]

use std::io;
use std::ptr::{from_mut, null_mut};
use std::slice;
use std::thread::sleep;
use std::time::Duration;

use libc::{POLLIN, POLLOUT, c_ulong, fd_set, pollfd};
use rustix::event::{PollFd, Timespec};
use rustix::io::{Errno, Result};

/// How long to sleep if all calls fail.
const PAUSE: Duration = Duration::from_millis(5);

const DAY: Duration = Duration::from_secs(86_400);

/// As `rustix::event::poll`. While this process may open fewer descriptors than these, it knows of
/// nothing but `IN` and `OUT`.
#[inline]
pub fn poll(fds: &mut [PollFd<'_>], timeout: Option<&Timespec>) -> Result<usize> {
    let result = match rustix::event::poll(fds, timeout) {
        Err(Errno::PERM | Errno::ACCESS | Errno::NOSYS) => old(fds, timeout),
        result => result,
    };
    match result {
        Err(Errno::INVAL) => selected(fds, timeout),
        result => result,
    }
}

/// For threads that can only wait: it returns no errors, and does not spin because of one. It may
/// return early.
pub fn poll_patiently(fds: &mut [PollFd<'_>], timeout: Option<Duration>) {
    // A wait of years is too long for the older call, and so for macOS, which has no other.
    let limit = timeout.and_then(|timeout| Timespec::try_from(timeout.min(DAY)).ok());
    match poll(fds, limit.as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        // For example for want of memory.
        Err(_) => sleep(timeout.map_or(PAUSE, |timeout| timeout.min(PAUSE))),
    }
}

/// The same by `select`.
#[cold]
fn selected(fds: &mut [PollFd<'_>], timeout: Option<&Timespec>) -> Result<usize> {
    const BITS: usize = c_ulong::BITS as usize;
    let (first, count) = (fds.as_mut_ptr().cast::<pollfd>(), fds.len());
    // SAFETY: Y28: the slice is borrowed mutably for the call.
    let fds = unsafe { slice::from_raw_parts_mut(first, count) };
    let end = fds.iter().map(|fd| fd.fd + 1).max().unwrap_or(0);
    let words = (end as usize)
        .div_ceil(BITS)
        .max(size_of::<fd_set>() / size_of::<c_ulong>());
    let place = |fd: &pollfd| (fd.fd as usize / BITS, 1 << (fd.fd as usize % BITS));
    let mut sets = [POLLIN, POLLOUT].map(|event| (event, vec![0 as c_ulong; words]));
    for (event, set) in &mut sets {
        for (word, bit) in fds.iter().filter(|fd| fd.events & *event != 0).map(place) {
            set[word] |= bit;
        }
    }
    let mut limit = timeout.map(|timeout| libc::timeval {
        tv_sec: timeout.tv_sec as libc::time_t,
        tv_usec: (timeout.tv_nsec as u64).div_ceil(1000).min(999_999) as libc::suseconds_t,
    });
    let limit = limit.as_mut().map_or(null_mut(), from_mut);
    let [reads, writes] = sets.each_mut().map(|(_, set)| set.as_mut_ptr().cast());
    // SAFETY: Y28: both sets have a bit for each descriptor below `end`, and no less than an
    // `fd_set` has; both live until the call has returned, and so does the limit.
    let count = unsafe { libc::select(end, reads, writes, null_mut(), limit) };
    if count < 0 {
        return Err(last_error());
    }
    for fd in &mut *fds {
        let (word, bit) = place(fd);
        let known = sets.iter().filter(|(_, set)| set[word] & bit != 0);
        fd.revents = known.fold(0, |all, (event, _)| all | event & fd.events);
    }
    Ok(fds.iter().filter(|fd| fd.revents != 0).count())
}

fn last_error() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INTR)
}

#[cold]
fn old(fds: &mut [PollFd<'_>], timeout: Option<&Timespec>) -> Result<usize> {
    const { assert!(size_of::<PollFd<'_>>() == size_of::<pollfd>()) };
    const { assert!(align_of::<PollFd<'_>>() == align_of::<pollfd>()) };
    let millis = timeout.map_or(-1, |timeout| {
        let more = timeout.tv_nsec.div_euclid(1_000_000) + 1;
        let more = if timeout.tv_nsec == 0 { 0 } else { more };
        let all = timeout.tv_sec.saturating_mul(1000).saturating_add(more);
        i32::try_from(all).unwrap_or(i32::MAX)
    });
    // SAFETY: Y28: the slice is borrowed mutably for the call, and its length is passed.
    let count = unsafe { libc::poll(fds.as_mut_ptr().cast(), fds.len() as libc::nfds_t, millis) };
    usize::try_from(count).map_err(|_| last_error())
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
    fn the_old_calls_say_the_same() {
        let (mut near, far) = UnixStream::pair().unwrap();
        let ask = |how: fn(&mut [PollFd<'_>], Option<&Timespec>) -> Result<usize>| {
            let mut fds = [
                PollFd::new(&far, PollFlags::IN),
                PollFd::new(&far, PollFlags::OUT),
                PollFd::new(&far, PollFlags::IN | PollFlags::OUT),
            ];
            let pause = Duration::from_micros(300);
            let count = how(&mut fds, Timespec::try_from(pause).ok().as_ref());
            (count, fds.map(|fd| fd.revents()))
        };
        assert_eq!(ask(old), ask(poll));
        assert_eq!(ask(selected), ask(poll));
        near.write_all(b"x").unwrap();
        assert_eq!(ask(old), ask(poll));
        assert_eq!(ask(selected), ask(poll));
        assert_eq!(ask(old).0, Ok(3));
        for wait in [old, selected] {
            let begin = Instant::now();
            let pause = Duration::from_micros(1300);
            assert_eq!(
                wait(&mut [], Timespec::try_from(pause).ok().as_ref()),
                Ok(0)
            );
            assert!(begin.elapsed() >= pause, "early");
        }
    }
}
