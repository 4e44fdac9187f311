//! How much processor time a thread has used: its own clock, readable by others.
//!
//! **Job.** Seen from outside, a thread that computes differs from one that waits in a system call
//! only in its clock: the first one's runs, the second one's stands still. The thread pool uses
//! that where it has to know (`thread/spawn_blocking.rs`). A clock costs nothing until it
//! is read, which is one system call. On an overloaded machine the clock of a thread that computes
//! may stand still, too: then the thread [wants to run](ThreadClock::wants_to_run). To find that
//! out takes some microseconds, because it means reading a file.
//!
//! The number of such a clock is computed from the thread's number, as in `pthread_getcpuclockid`,
//! which needs the thread's handle. Where other threads cannot read the clock, there is none.
//!
//! Rejected: the thread's state alone, because each look opens a file and describes one moment
//! only.
//!
//! Tests: below.

use std::time::Duration;

use crate::sys::{clock, thread_id};

/// The part of a clock's number that says "the processor time of one thread"
/// (`CPUCLOCK_PERTHREAD_MASK | CPUCLOCK_SCHED`).
const OF_THREAD: i32 = 6;

/// The clock of one thread.
#[derive(Clone, Copy, Debug)]
pub struct ThreadClock {
    thread: i32,
}

impl ThreadClock {
    /// The clock of the calling thread.
    pub fn mine() -> Option<Self> {
        cfg!(all(target_os = "linux", not(any(loom, miri)))).then(|| Self {
            thread: thread_id::mine() as i32,
        })
    }

    /// How much processor time its thread has used. `None`: the thread has ended.
    pub fn read(self) -> Option<Duration> {
        clock::read(!self.thread << 3 | OF_THREAD)
    }

    /// Whether its thread is running, or would be if a processor were free. `None`: unknown.
    pub fn wants_to_run(self) -> Option<bool> {
        let file = format!("/proc/self/task/{}/stat", self.thread);
        let stat = std::fs::read_to_string(file).ok()?;
        // The state comes after the name, which is in parentheses and may contain parentheses.
        let state = stat.rsplit_once(')')?.1.trim_start();
        Some(state.starts_with('R'))
    }

    /// Whether a thread of this process other than the calling one wants to run. This reads the
    /// files of the threads until it finds one.
    pub fn another_wants_to_run() -> bool {
        let mine = Self::mine().map(|mine| mine.thread);
        let Ok(tasks) = std::fs::read_dir("/proc/self/task") else {
            return false;
        };
        tasks
            .filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok())
            .filter(|thread| mine.is_some_and(|mine| mine != *thread))
            .any(|thread| Self { thread }.wants_to_run() == Some(true))
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
        // The system may forget the thread later than `join` returns.
        while clock.read().is_some() {
            thread::yield_now();
        }
    }
}
