//! Whether a started process makes progress on its way to `init`.
//!
//! Before a worker says hello it runs code that is not ours: constructors of libraries, and the
//! code before `init` in `main`. If that waits for something that never comes, or never ends, the
//! worker never begins. It is recognized by what it does, not by how long it takes:
//! 1. A process that sleeps or is stopped at [`STUCK_CHECKS`] checks in a row, a second apart, and
//!    in between has used no processor time, faulted no page and changed nothing else in its
//!    status, is stuck.
//! 2. So is a process that has computed for [`STARTUP_SECONDS`] seconds of its own processor time.
//!    Of each second no more than one counts, however many threads it has: workers with many
//!    threads that begin together use much and are soon done.
//! 3. A process that waits for a processor (as on a machine with a tenth of one) or for a disk is
//!    in neither state, and has half a minute.
//!
//! A program that never calls `init` starts no worker at all: `depth` (`api/entry.rs`).
//!
//! That half a minute is `START_LIMIT`, which every worker has (`sched/workers.rs`).
//!
//! Tests:
//! `tests/environments/main.rs::workers_that_may_not_be_signalled_end_all_the_same`.

use std::time::{Duration, Instant};

use crate::process::limits::{STARTUP_SECONDS, STUCK_CHECK, STUCK_CHECKS};
use crate::process::sched::back_off::StartFailure;
use trefoil_os::host::activity::Activity;

/// The results of the earlier checks of one process.
#[derive(Debug)]
pub(crate) struct StartupWatch {
    pub(crate) next: Instant,
    /// What the last check has found.
    before: Option<Activity>,
    same: u32,
    /// Its processor time so far.
    used: Duration,
}

impl StartupWatch {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            next: now + STUCK_CHECK,
            before: None,
            same: 0,
            used: Duration::ZERO,
        }
    }

    /// Checks the process `pid`, which has not been reaped, if it is time. Returns why it is stuck,
    /// if it is.
    pub(crate) fn look(&mut self, pid: u32, now: Instant) -> Option<StartFailure> {
        if now < self.next {
            return None;
        }
        self.next = now + STUCK_CHECK;
        self.judge(Activity::of(pid)?)
    }

    /// Judges what the process does now.
    fn judge(&mut self, now: Activity) -> Option<StartFailure> {
        let waits = now.waits();
        self.same = if waits && self.before.as_ref() == Some(&now) {
            self.same + 1
        } else {
            u32::from(waits)
        };
        let before = self.before.as_ref().map_or(Duration::ZERO, Activity::used);
        self.used += now.used().saturating_sub(before).min(STUCK_CHECK);
        self.before = Some(now);
        if self.same >= STUCK_CHECKS {
            return Some(StartFailure::Waits);
        }
        (self.used >= Duration::from_secs(STARTUP_SECONDS)).then_some(StartFailure::Computes)
    }
}

#[cfg(all(test, not(any(loom, miri))))]
#[allow(clippy::disallowed_methods)] // children of the test's
mod tests {
    use super::*;

    /// Whether `program` is stuck after `looks` checks, which are given times a second apart.
    #[cfg(all(test, target_os = "linux"))]
    fn is_stuck(program: &[&str], looks: u32, ready: impl Fn(&str) -> bool) -> bool {
        use std::process::{Command, Stdio};

        let mut command = Command::new(program[0]);
        let command = command.args(&program[1..]).stdin(Stdio::null());
        let mut child = command.spawn().unwrap();
        let stat = || std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        while !ready(&stat()) {
            std::thread::yield_now();
        }
        let begin = Instant::now();
        let mut found = StartupWatch::new(begin);
        let found = (1..=looks).any(|n| found.look(child.id(), begin + n * STUCK_CHECK).is_some());
        child.kill().unwrap();
        child.wait().unwrap();
        found
    }

    #[cfg(all(test, target_os = "linux"))]
    #[test]
    fn a_waiting_worker_is_stuck_and_a_computing_one_is_not() {
        let waits = |stat: &str| stat.contains("(sleep) S");
        assert!(is_stuck(&["sleep", "1000"], STUCK_CHECKS, waits));
        assert!(!is_stuck(&["sleep", "1000"], STUCK_CHECKS - 1, waits));
        let computes = |stat: &str| stat.contains("(sh) R");
        assert!(!is_stuck(
            &["sh", "-c", "while :; do :; done"],
            100,
            computes
        ));
    }

    /// By this, `Link::is_dying` knows a killed worker that only waits for its turn.
    #[cfg(all(test, target_os = "linux"))]
    #[test]
    fn what_computes_wants_a_processor_and_what_sleeps_does_not() {
        use std::process::{Command, Stdio};
        use trefoil_os::host::activity::wants_processor;

        let deadline = Instant::now() + Duration::from_secs(60);
        for (script, wants) in [("while :; do :; done", true), ("exec sleep 1000", false)] {
            let mut command = Command::new("sh");
            let command = command.args(["-c", script]).stdin(Stdio::null());
            let mut child = command.spawn().unwrap();
            // (The shell computes before it sleeps, and waits for a disk before it computes.)
            while wants_processor(child.id()) != wants {
                assert!(Instant::now() < deadline, "{script}");
                std::thread::yield_now();
            }
            child.kill().unwrap();
            child.wait().unwrap();
            assert!(!wants_processor(child.id()), "it is gone");
        }
    }

    #[test]
    fn it_is_not_looked_at_too_often() {
        let now = Instant::now();
        let mut looks = StartupWatch::new(now);
        for _ in 0..100 {
            assert_eq!(looks.look(std::process::id(), now), None);
        }
    }

    /// The number of checks after which a process counts as stuck if it uses this many hundredths
    /// of a second of processor time between two checks.
    #[cfg(all(test, target_os = "linux"))]
    fn computes(ticks: u64) -> Option<u64> {
        let ticks = ticks * crate::sys::sysconf::ticks_per_second() / 100;
        let mut looks = StartupWatch::new(Instant::now());
        let stat = |n: u64| {
            let (own, kernels) = (n * ticks / 2, n * ticks - n * ticks / 2);
            format!("7 (a) S) R 1 2 3 0 -1 4 5 6 7 8 {own} {kernels} 0 0")
        };
        (1..100).find(|n| match looks.judge(Activity::from_line(stat(*n))) {
            Some(why) => why == StartFailure::Computes,
            None => false,
        })
    }

    #[cfg(all(test, target_os = "linux"))]
    #[test]
    fn a_worker_that_computes_for_long_is_stuck_by_its_own_clock() {
        assert_eq!(computes(100), Some(10));
        assert_eq!(computes(50), Some(20), "half a processor");
        assert_eq!(computes(6400), Some(10), "many threads");
        assert_eq!(computes(3), None, "hardly any");
        let mut short = StartupWatch::new(Instant::now());
        for stat in [
            "7 (a) R 1 2 3 0 -1 4 5 6 7 8 900 600",
            "7 (a) S 1 2 3 0 -1 4 5 6 7 8 900 600",
        ] {
            assert_eq!(
                short.judge(Activity::from_line(stat.to_owned())),
                None,
                "much, and soon over"
            );
        }
    }
}
