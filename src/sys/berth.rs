//! A place where one thread sleeps until another wakes it, for no more than a word of memory.
//!
//! **Job.** A thread that waits for nothing but other threads needs no descriptor: to be woken through one
//! costs its waker a write to it and itself a wait for many things, which is slower than a futex at either
//! end. It is a futex; under Miri and loom, and where the system has refused that call, there is none
//! ([`Berth::is_there`]).
//!
//! 1. The sleeper clears the word ([`Berth::make`]), says somewhere that it sleeps here, and sleeps while the word is
//!    clear.
//! 2. Who has read that, and is the only one who has, sets the word and wakes.
//!
//! A wake-up may come late, when the sleeper has got up by itself: then its next sleep, if it has made the
//! berth meanwhile, ends at once. So an end of a sleep says nothing; who sleeps looks around after it.
//!
//! Tests: below, `checks/tests/loop_models.rs` for when it is used.

use std::time::Duration;

#[cfg(not(any(loom, miri)))]
use rustix::io::Errno;
#[cfg(not(any(loom, miri)))]
use rustix::thread::futex::{self, Flags};
use rustix::time::Timespec;

use crate::loom::atomic::{AtomicU32, Ordering};

const CLEAR: u32 = 0;
const SET: u32 = 1;
/// By a filter; until the next wake-up, after which it is tried again.
const REFUSED: u32 = 2;

#[derive(Debug)]
pub(crate) struct Berth(AtomicU32);

impl Berth {
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(CLEAR))
    }

    /// There is such a place, as far as the sleeper knows.
    pub(crate) fn is_there(&self) -> bool {
        cfg!(not(any(loom, miri))) && self.0.load(Ordering::Relaxed) != REFUSED
    }

    /// (1) The sleeper, before others can know that it sleeps here.
    pub(crate) fn make(&self) {
        self.0.store(CLEAR, Ordering::Relaxed);
    }

    /// (1) Until it is woken, at most for so long, perhaps shorter.
    pub(crate) fn sleep(&self, timeout: Option<Duration>) {
        // Past the range of the kernel's type: practically for ever.
        let _timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        // Woken, too late, interrupted, out of time: all the same.
        #[cfg(not(any(loom, miri)))]
        if let Err(Errno::PERM | Errno::ACCESS | Errno::NOSYS) =
            futex::wait(&self.0, Flags::PRIVATE, CLEAR, _timeout.as_ref())
        {
            self.0.store(REFUSED, Ordering::Relaxed);
        }
    }

    /// (2) The one who has read that somebody sleeps here.
    pub(crate) fn wake(&self) {
        self.0.store(SET, Ordering::Relaxed);
        #[cfg(not(any(loom, miri)))]
        let _ = futex::wake(&self.0, Flags::PRIVATE, 1);
    }
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    #[allow(clippy::disallowed_methods)] // a thread of the test's
    fn a_sleep_ends_when_it_is_told_to_or_its_time_is_up() {
        let berth = Berth::new();
        let pause = Duration::from_micros(300);
        let start = Instant::now();
        berth.make();
        while start.elapsed() < pause {
            berth.sleep(Some(pause));
        }
        assert!(start.elapsed() < Duration::from_secs(10), "it has ended");
        std::thread::scope(|scope| {
            scope.spawn(|| berth.wake());
            // Before, while or after it begins.
            berth.sleep(None);
        });
        // Once it is set it stays so, until somebody makes it.
        berth.sleep(None);
        berth.make();
        berth.sleep(Some(pause));
        berth.wake();
        berth.sleep(None);
    }
}
