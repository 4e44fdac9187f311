//! A place where one thread sleeps until another wakes it, for no more than a word of memory.
//!
//! **Job.** A thread that waits for nothing but other threads needs no descriptor: to be woken through one
//! costs its waker a write to it and itself a wait for many things, which is slower than a futex at either
//! end. On Linux this is a futex; elsewhere, under Miri and loom, and once the system has refused that call, there is none
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

pub(crate) use here::Berth;

#[cfg(all(target_os = "linux", not(any(loom, miri))))]
mod here {
    use std::time::Duration;

    use rustix::thread::futex::{self, Flags, Timespec};

    use rustix::io::Errno;

    use crate::loom::atomic::{AtomicBool, AtomicU32, Ordering};

    const CLEAR: u32 = 0;
    const SET: u32 = 1;

    #[derive(Debug)]
    pub(crate) struct Berth {
        word: AtomicU32,
        /// By a filter, to the sleeper, who alone looks at this.
        refused: AtomicBool,
    }

    impl Berth {
        pub(crate) const fn new() -> Self {
            Self {
                word: AtomicU32::new(CLEAR),
                refused: AtomicBool::new(false),
            }
        }

        /// There is such a place, as far as the sleeper knows.
        pub(crate) fn is_there(&self) -> bool {
            !self.refused.load(Ordering::Relaxed)
        }

        /// (1) The sleeper, before others can know that it sleeps here.
        pub(crate) fn make(&self) {
            self.word.store(CLEAR, Ordering::Relaxed);
        }

        /// (1) Until it is woken, at most for so long, perhaps shorter.
        pub(crate) fn sleep(&self, timeout: Option<Duration>) {
            // Past the range of the kernel's type: practically for ever.
            let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
            // Woken, too late, interrupted, out of time: all the same.
            let ended = futex::wait(&self.word, Flags::PRIVATE, CLEAR, timeout.as_ref());
            if let Err(Errno::PERM | Errno::ACCESS | Errno::NOSYS) = ended {
                self.refused.store(true, Ordering::Relaxed);
            }
        }

        /// (2) The one who has read that somebody sleeps here.
        pub(crate) fn wake(&self) {
            self.word.store(SET, Ordering::Relaxed);
            let _ = futex::wake(&self.word, Flags::PRIVATE, 1);
        }
    }
}

#[cfg(any(not(target_os = "linux"), loom, miri))]
mod here {
    use std::time::Duration;

    #[derive(Debug)]
    pub(crate) struct Berth;

    impl Berth {
        pub(crate) const fn new() -> Self {
            Self
        }

        /// There is no such place.
        pub(crate) fn is_there(&self) -> bool {
            false
        }

        pub(crate) fn make(&self) {}

        pub(crate) fn sleep(&self, _: Option<Duration>) {}

        pub(crate) fn wake(&self) {}
    }
}

#[cfg(all(test, target_os = "linux", not(any(loom, miri))))]
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
