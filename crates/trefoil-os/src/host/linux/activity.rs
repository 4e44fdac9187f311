//! What another process does at a moment: the kernel's line about it (`/proc/PID/stat`).
//!
//! Tests: `process::parent::startup_watch`.

use std::time::Duration;

use super::control_groups::bytes_in;
use crate::sys::sysconf::ticks_per_second;

/// What a process does. If two are equal, nothing has happened to it in between: no processor
/// time, no page, nothing else.
#[derive(Debug, PartialEq)]
pub struct Activity(String);

/// The most memory that the process `pid`, which has not been reaped, has ever had, in bytes.
pub fn peak_memory(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    bytes_in(&status, "VmHWM")
}

/// Whether a thread of the process `pid`, which has not been reaped, has a processor or waits for
/// one. (Processor time does not show that: it is counted in hundredths of a second.)
pub fn wants_processor(pid: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task"));
    let stats = threads.into_iter().flatten().flatten();
    let mut stats = stats.filter_map(|one| std::fs::read_to_string(one.path().join("stat")).ok());
    stats.any(|line| Activity::from_line(line).state() == Some("R"))
}

impl Activity {
    /// Of the process `pid`, which has not been reaped. `None`: there is no `/proc`.
    pub fn of(pid: u32) -> Option<Self> {
        let line = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        line.ok().map(Self::from_line)
    }

    /// What the kernel's `line` about a process says.
    pub fn from_line(line: String) -> Self {
        Self(line)
    }

    /// The fields from the state on: after the name, which is in parentheses and may contain
    /// parentheses.
    fn fields(&self) -> impl Iterator<Item = &str> {
        let rest = self.0.rsplit_once(')').map_or("", |(_, rest)| rest);
        rest.split_ascii_whitespace()
    }

    fn state(&self) -> Option<&str> {
        self.fields().next()
    }

    /// It is asleep, or was stopped.
    pub fn waits(&self) -> bool {
        matches!(self.state(), Some("S" | "T"))
    }

    /// Its processor time, in user and in kernel mode.
    pub fn used(&self) -> Duration {
        let times = self.fields().skip(11).take(2);
        let ticks: u64 = times.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
        Duration::from_nanos(ticks.saturating_mul(1_000_000_000 / ticks_per_second()))
    }
}
