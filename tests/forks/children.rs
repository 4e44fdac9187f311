//! Helpers for tests that fork.
//!
//! A child does its part and ends with `_exit`; the parent waits for it with a deadline, and kills
//! it if it hangs.
#![allow(dead_code, unsafe_code)] // not every program needs all of it

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::support::until;

unsafe extern "C" {
    fn fork() -> i32;
    fn _exit(code: i32) -> !;
}

/// Forks. Returns `None` in the child.
pub(crate) fn split() -> Option<Pid> {
    // SAFETY: the child goes on with what `fork` gives it: this thread, and an allocator that
    // works.
    Pid::from_raw(unsafe { fork() })
}

/// Ends the child at once.
pub(crate) fn leave(code: i32) -> ! {
    // SAFETY: it only ends the process.
    unsafe { _exit(code) }
}

/// Waits until no other thread of this process is about to start or to end.
pub(crate) fn settle() {
    until(|| {
        let own = rustix::thread::gettid().as_raw_nonzero().to_string();
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        let others = tasks.filter(|task| task.file_name().to_str() != Some(&own));
        // "tid (name) S ...", and the name may contain anything.
        let asleep = |stat: String| {
            let (_, rest) = stat.rsplit_once(')').unwrap_or_default();
            rest.trim_start().starts_with('S')
        };
        others
            .map(|task| std::fs::read_to_string(task.path().join("stat")).unwrap_or_default())
            .all(asleep)
    });
}

/// Waits for the child. Returns its exit code, or -1 if it was killed.
pub(crate) fn ending(child: Pid) -> i32 {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some((_, status)) = waitpid(Some(child), WaitOptions::NOHANG).unwrap() {
            return status.exit_status().unwrap_or(-1);
        }
        if Instant::now() > end {
            kill_process(child, Signal::KILL).unwrap();
            waitpid(Some(child), WaitOptions::empty()).unwrap();
            panic!("the child hangs");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Runs `f` in a forked child, which must succeed.
pub(crate) fn in_child(f: impl FnOnce()) {
    settle();
    in_sudden_child(f);
}

/// The same, whatever the other threads are doing.
pub(crate) fn in_sudden_child(f: impl FnOnce()) {
    match split() {
        Some(child) => assert_eq!(ending(child), 0, "the child has panicked"),
        None => {
            let fine = catch_unwind(AssertUnwindSafe(f)).is_ok();
            leave(i32::from(!fine));
        }
    }
}
