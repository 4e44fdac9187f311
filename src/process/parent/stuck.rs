//! Whether a started process makes progress on its way to `init`.
//!
//! Before a worker says hello it runs code that is not ours: constructors of libraries, and the
//! code before `init` in `main`. If that waits for something that never comes, or never ends, the
//! worker never begins. It is recognized by what it does, not by how long it takes:
//! 1. One that is asleep or stopped in every look of [`LOOKS`] seconds, and has had no processor
//!    time, page or anything else in between, is stuck.
//! 2. So is one that has computed for [`STARTUP_SECONDS`] seconds by its own clock, which stands
//!    still while others have the processor. Of each second no more than one counts, however many
//!    threads it has: many that begin together take much and are soon done.
//! 3. One that waits for a processor (as on a machine with a tenth of one) or for a disk is in
//!    neither state, and has half a minute.
//!
//! Tests: `tests/environments/`.

use std::time::{Duration, Instant};

use crate::process::sched::startup::{STARTUP_SECONDS, StartFailure};
use crate::sys::clock::clock_ticks_per_second;

/// How often to look.
const PAUSE: Duration = Duration::from_secs(1);
/// After how many equal looks in a row a process counts as stuck: five seconds, where a start takes
/// a few milliseconds.
const LOOKS: u32 = 5;

/// What earlier looks at one process have found.
#[derive(Debug)]
pub(crate) struct StartupWatch {
    pub(crate) next: Instant,
    /// What the last look has found.
    stat: String,
    same: u32,
    /// How long it has computed, in the kernel's ticks.
    ticks: u64,
}

impl StartupWatch {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            next: now + PAUSE,
            stat: String::new(),
            same: 0,
            ticks: 0,
        }
    }

    /// Looks at the process `pid`, which has not been reaped, if it is time. Returns whether it is
    /// stuck, and why.
    pub(crate) fn look(&mut self, pid: u32, now: Instant) -> Option<StartFailure> {
        if now < self.next {
            return None;
        }
        self.next = now + PAUSE;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        self.judge(stat, clock_ticks_per_second())
    }

    /// Judges the kernel's present line about it.
    fn judge(&mut self, stat: String, second: u64) -> Option<StartFailure> {
        let waits = fields(&stat).next().is_some_and(|s| s == "S" || s == "T");
        self.same = match waits && stat == self.stat {
            true => self.same + 1,
            false => u32::from(waits),
        };
        self.ticks += used(&stat).saturating_sub(used(&self.stat)).min(second);
        self.stat = stat;
        if self.same >= LOOKS {
            return Some(StartFailure::Waits);
        }
        (self.ticks >= STARTUP_SECONDS * second).then_some(StartFailure::Computes)
    }
}

/// The fields from the state on: after the name, which is in parentheses and may contain
/// parentheses.
fn fields(stat: &str) -> impl Iterator<Item = &str> {
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    rest.split_ascii_whitespace()
}

/// Its processor time, in user and in kernel mode.
fn used(stat: &str) -> u64 {
    let times = fields(stat).skip(11).take(2);
    times.filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
}

#[cfg(all(test, not(any(loom, miri))))]
#[allow(clippy::disallowed_methods)] // children of the test's
mod tests {
    use super::*;

    /// Whether `program` is stuck after so many looks, which believe that they are a second apart.
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
        let found = (1..=looks).any(|n| found.look(child.id(), begin + n * PAUSE).is_some());
        child.kill().unwrap();
        child.wait().unwrap();
        found
    }

    #[cfg(all(test, target_os = "linux"))]
    #[test]
    fn a_waiting_worker_is_stuck_and_a_computing_one_is_not() {
        let waits = |stat: &str| stat.contains("(sleep) S");
        assert!(is_stuck(&["sleep", "1000"], LOOKS, waits));
        assert!(!is_stuck(&["sleep", "1000"], LOOKS - 1, waits));
        let computes = |stat: &str| stat.contains("(sh) R");
        assert!(!is_stuck(
            &["sh", "-c", "while :; do :; done"],
            100,
            computes
        ));
    }

    #[test]
    fn it_is_not_looked_at_too_often() {
        let now = Instant::now();
        let mut looks = StartupWatch::new(now);
        for _ in 0..100 {
            assert_eq!(looks.look(std::process::id(), now), None);
        }
    }

    /// After how many looks a process counts as stuck that uses so many ticks of processor time
    /// between two looks, where a second has a hundred.
    fn computes(ticks: u64) -> Option<u64> {
        let mut looks = StartupWatch::new(Instant::now());
        let stat = |n: u64| {
            let (own, kernels) = (n * ticks / 2, n * ticks - n * ticks / 2);
            format!("7 (a) S) R 1 2 3 0 -1 4 5 6 7 8 {own} {kernels} 0 0")
        };
        (1..100).find(|n| match looks.judge(stat(*n), 100) {
            Some(why) => why == StartFailure::Computes,
            None => false,
        })
    }

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
                short.judge(stat.to_owned(), 100),
                None,
                "much, and soon over"
            );
        }
    }
}
