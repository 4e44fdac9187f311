//! How many processes the kernel has killed because memory ran out.
//!
//! The kernel kills when the machine, or this process's control group, runs out of memory. It
//! counts such kills for each group, and does not name the processes. So each kill is good for one
//! death: what has been [attributed](attribute) is taken off the count, for all pools of this
//! process.
//!
//! Tests: `tests/process/deaths.rs`.

// Two counters: no protocol.
use std::sync::atomic::{AtomicU64, Ordering};

static ATTRIBUTED: AtomicU64 = AtomicU64::new(0);

/// How many kills in this process's control group no death has been explained with.
#[must_use]
pub fn unattributed() -> u64 {
    count().saturating_sub(ATTRIBUTED.load(Ordering::Relaxed))
}

/// A death has been explained with one of them.
pub fn attribute() {
    ATTRIBUTED.fetch_add(1, Ordering::Relaxed);
}

/// All kills so far explain no later death.
pub fn forget() {
    ATTRIBUTED.store(count(), Ordering::Relaxed);
}

/// The kernel's count; 0 if there is none.
fn count() -> u64 {
    let group = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let path = group.lines().find_map(|line| line.strip_prefix("0::"));
    let events = path.map(|path| format!("/sys/fs/cgroup{path}/memory.events"));
    let text = events.and_then(|path| std::fs::read_to_string(path).ok());
    let mut lines = text.as_deref().unwrap_or_default().lines();
    let kills = lines.find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok());
    kills.unwrap_or(0)
}
