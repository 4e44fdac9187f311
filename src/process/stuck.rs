//! Whether a process that has been started gets anywhere on its way to `init`.
//!
//! Before a worker says hello it runs code that is not ours: constructors of libraries, what stands before `init` in `main`. If
//! that waits for something that never comes, the worker never begins. It is told by what it does, not by how long it takes: one that
//! is asleep or stopped in every look of [`LOOKS`] seconds, and has had no processor time, page or anything else in between, is stuck. One that
//! computes, waits for a processor (on a machine with a tenth of one, too) or for a disk is not in that state, and has half a minute.
//!
//! Tests: `tests/environments/`.

use std::time::{Duration, Instant};

/// How often to look.
const PAUSE: Duration = Duration::from_secs(1);
/// How many looks in a row that find the same make it stuck: five seconds, of which a start takes a few milliseconds.
const LOOKS: u32 = 5;

/// What the looks at one process have found.
#[derive(Debug)]
pub(crate) struct Looks {
    pub(crate) next: Instant,
    /// What the last one has found.
    stat: String,
    same: u32,
}

impl Looks {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            next: now + PAUSE,
            stat: String::new(),
            same: 0,
        }
    }

    /// Looks at the process `pid`, which has not been reaped, if it is time. True: it is stuck.
    pub(crate) fn look(&mut self, pid: u32, now: Instant) -> bool {
        if now < self.next {
            return false;
        }
        self.next = now + PAUSE;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // After the name, which stands in parentheses and may have some itself.
        let state = stat
            .rsplit_once(')')
            .map_or("", |(_, rest)| rest.trim_start());
        let waits = state.starts_with(['S', 'T']);
        self.same = match waits && stat == self.stat {
            true => self.same + 1,
            false => u32::from(waits),
        };
        self.stat = stat;
        self.same >= LOOKS
    }
}

#[cfg(all(test, not(any(loom, miri))))]
#[allow(clippy::disallowed_methods)] // children of the test's
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    /// Whether `program` is stuck after so many looks, a second apart as far as they know.
    fn is_stuck(program: &[&str], looks: u32, ready: impl Fn(&str) -> bool) -> bool {
        let mut command = Command::new(program[0]);
        let command = command.args(&program[1..]).stdin(Stdio::null());
        let mut child = command.spawn().unwrap();
        let stat = || std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        while !ready(&stat()) {
            std::thread::yield_now();
        }
        let begin = Instant::now();
        let mut found = Looks::new(begin);
        let found = (1..=looks).any(|n| found.look(child.id(), begin + n * PAUSE));
        child.kill().unwrap();
        child.wait().unwrap();
        found
    }

    #[test]
    fn who_waits_is_stuck_and_who_computes_is_not() {
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
        let mut looks = Looks::new(now);
        for _ in 0..100 {
            assert!(!looks.look(std::process::id(), now));
        }
    }
}
