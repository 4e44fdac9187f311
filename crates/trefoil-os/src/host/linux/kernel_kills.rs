//! How many processes the kernel has killed because memory ran out.
//!
//! The kernel kills when the machine, or this process's control group, runs out of memory. It
//! counts such kills for each group, and does not name the processes. So each kill is good for one
//! death: what was [claimed](claim) is taken off the count, for all pools of this
//! process.
//!
//! Tests: `tests/process/deaths.rs`.

// Two counters: no protocol.
use std::sync::atomic::{AtomicU64, Ordering};

static ATTRIBUTED: AtomicU64 = AtomicU64::new(0);

/// Explains a death with one of the kills in this process's control group, if one is left.
#[must_use]
pub fn claim() -> bool {
    let count = count();
    let one = |attributed| (attributed < count).then_some(attributed + 1);
    ATTRIBUTED
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one)
        .is_ok()
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
