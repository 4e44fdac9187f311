//! Who has marked a slot, and whether he lives.
//!
//! An owner is a process, by its number and by when it started: numbers are used again. Both are
//! in `/proc`, where workers come from anyway; who cannot be read there is taken to live, and a
//! zombie is not.
//!
//! Tests: below.

use crate::sys::fork::PerProcess;

/// What is known of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Status {
    dead: bool,
    /// In ticks since the system started; as much of it as fits.
    start: u32,
}

/// This process.
pub(super) fn own() -> u64 {
    static OWN: PerProcess<u64> = PerProcess::new();
    *OWN.get_or_init(|| {
        let pid = std::process::id();
        let start = status(pid).map_or(0, |status| status.start);
        u64::from(pid) << 32 | u64::from(start)
    })
}

/// The process that called itself so still runs.
pub(super) fn lives(owner: u64) -> bool {
    if owner == own() {
        return true;
    }
    match status((owner >> 32) as u32) {
        Some(status) => !status.dead && status.start == owner as u32,
        None => status(std::process::id()).is_none(), // nobody can be seen
    }
}

fn status(pid: u32) -> Option<Status> {
    parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// A line of `/proc/<pid>/stat`: the name may hold anything, parentheses included.
fn parse(line: &str) -> Option<Status> {
    let (_, rest) = line.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?;
    // Its first thread may be gone before the others are.
    let threads: u64 = fields.nth(16)?.parse().ok()?;
    let start: u64 = fields.nth(1)?.parse().ok()?;
    Some(Status {
        dead: matches!(state, "Z" | "X") && threads <= 1,
        start: start as u32,
    })
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_process_lives_until_it_is_a_zombie() {
        assert!(lives(own()));
        assert!(!lives(own() ^ 1), "another has its number");
        assert!(!lives(u64::from(u32::MAX) << 32));
        let mut child = std::process::Command::new("sleep")
            .arg("1000")
            .spawn()
            .unwrap();
        let pid = child.id();
        let owner = u64::from(pid) << 32 | u64::from(status(pid).unwrap().start);
        assert!(lives(owner));
        child.kill().unwrap();
        while lives(owner) {
            std::thread::yield_now(); // until the kernel has ended it; nobody has waited for it
        }
        child.wait().unwrap();
        assert!(!lives(owner));
    }

    #[test]
    fn names_may_hold_anything() {
        let line = "7 (a) Z (b) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 3 0 99 1 2";
        assert_eq!(
            parse(line),
            Some(Status {
                dead: false,
                start: 99
            })
        );
        let line = "7 (x) Z 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4294967299 1 2";
        assert_eq!(
            parse(line),
            Some(Status {
                dead: true,
                start: 3
            })
        );
        assert_eq!(parse("7 (x) R 1"), None);
    }
}
