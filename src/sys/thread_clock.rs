//! How much processor time a thread has used: its own clock, readable by others.
//!
//! **Job.** A thread that computes and a thread that waits in a system call look the same from outside, but for
//! this: the clock of the first one runs, that of the other stands still. The thread pool asks for it where it has to
//! know (`thread/blocking.rs`). A clock costs nothing until it is read; that is one system call. On a machine with too much to do, the
//! clock of a thread that computes may stand still, too: then it [wants to run](ThreadClock::wants_to_run). To see that costs
//! a file to read, some microseconds.
//!
//! Where a thread's clock cannot be read by others, there is none.
//!
//! - **Y90** `pthread_getcpuclockid` is asked for the calling thread, which is alive, and writes one number into a local.
//! - **Y91** `clock_gettime` writes into a local, and answers with an error for a clock whose thread has ended.
//!
//! Rejected: the thread's state alone (a file to open for each look, and it tells of one moment only).
//!
//! Tests: below.
#![allow(unsafe_code)]

use std::time::Duration;

/// The clock of one thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ThreadClock {
    clock: imp::Id,
    thread: u32,
}

impl ThreadClock {
    /// The calling thread's.
    pub(crate) fn mine() -> Option<Self> {
        let (clock, thread) = imp::mine()?;
        Some(Self { clock, thread })
    }

    /// How much processor time its thread has used. `None`: it has ended.
    pub(crate) fn read(self) -> Option<Duration> {
        imp::read(self.clock)
    }

    /// Its thread is at work in this moment, or would be if a processor were free. `None`: that cannot be told.
    pub(crate) fn wants_to_run(self) -> Option<bool> {
        imp::wants_to_run(self.thread)
    }
}

#[cfg(all(target_os = "linux", not(any(loom, miri))))]
mod imp {
    use std::time::Duration;

    pub(super) type Id = libc::clockid_t;

    pub(super) fn mine() -> Option<(Id, u32)> {
        // SAFETY: Y90: it has no precondition.
        let me = unsafe { libc::pthread_self() };
        let mut id = 0;
        // SAFETY: Y90: the calling thread is alive, and the number that is written is in this frame.
        let error = unsafe { libc::pthread_getcpuclockid(me, &raw mut id) };
        let thread = rustix::thread::gettid().as_raw_nonzero().get();
        (error == 0).then_some((id, thread.unsigned_abs()))
    }

    pub(super) fn wants_to_run(thread: u32) -> Option<bool> {
        let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat")).ok()?;
        // After the name, which stands in parentheses and may have some itself.
        let state = stat.rsplit_once(')')?.1.trim_start();
        Some(state.starts_with('R'))
    }

    pub(super) fn read(id: Id) -> Option<Duration> {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: Y91: what is written is in this frame; a clock that is none any more is an error, not a fault.
        let error = unsafe { libc::clock_gettime(id, &raw mut time) };
        let seconds = u64::try_from(time.tv_sec).ok()?;
        let nanoseconds = u32::try_from(time.tv_nsec).ok()?;
        (error == 0).then(|| Duration::new(seconds, nanoseconds))
    }
}

#[cfg(any(not(target_os = "linux"), loom, miri))]
mod imp {
    use std::time::Duration;

    pub(super) type Id = ();

    pub(super) fn mine() -> Option<(Id, u32)> {
        None
    }

    pub(super) fn wants_to_run(_: u32) -> Option<bool> {
        None
    }

    pub(super) fn read((): Id) -> Option<Duration> {
        None
    }
}

#[cfg(all(test, target_os = "linux", not(any(loom, miri))))]
#[allow(clippy::disallowed_methods)] // threads of a test
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn it_runs_while_its_thread_computes_and_stands_while_it_waits() {
        let (tell, told) = mpsc::channel();
        let (go, wait) = mpsc::channel::<()>();
        let other = thread::spawn(move || {
            tell.send(ThreadClock::mine()).unwrap();
            wait.recv().unwrap();
            let start = ThreadClock::mine().and_then(ThreadClock::read).unwrap();
            let used = || ThreadClock::mine().and_then(ThreadClock::read).unwrap() - start;
            while used() < Duration::from_millis(5) {}
            tell.send(None).unwrap();
            wait.recv().unwrap();
        });
        let clock = told.recv().unwrap().unwrap();
        while clock.wants_to_run().unwrap() {
            thread::yield_now();
        }
        let before = clock.read().unwrap();
        go.send(()).unwrap();
        assert!(told.recv().unwrap().is_none());
        let after = clock.read().unwrap();
        assert!(after - before >= Duration::from_millis(5));
        assert_eq!(ThreadClock::mine().unwrap().wants_to_run(), Some(true));
        go.send(()).unwrap();
        other.join().unwrap();
    }

    #[test]
    fn a_clock_outlives_its_thread() {
        let clock = thread::spawn(ThreadClock::mine).join().unwrap().unwrap();
        // The system may be slower than `join` to forget it.
        while clock.read().is_some() {
            thread::yield_now();
        }
    }
}
