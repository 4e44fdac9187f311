//! Whether the kernel killed a worker because memory ran out.
//!
//! The kernel kills when the machine, or this process's control group, runs out of memory. It
//! counts such kills for each group.
//!
//! A worker that exceeds its own limit (`worker/memory_limit.rs`) aborts with the allocator's
//! message instead: `worker_stderr.rs` finds that, and `Link::reap` judges it. `Driver::remove`
//! joins both signs.
//!
//! Tests: `tests/process/limits.rs`.

/// Reads how often the kernel has killed in this process's control group because memory ran out.
#[derive(Debug, Default)]
pub struct KernelKills {
    /// The file with the count, once it has been looked for.
    events: Option<Option<String>>,
    seen: u64,
}

impl KernelKills {
    /// Whether the count has grown since the last call.
    pub fn have_grown(&mut self) -> bool {
        let events = self.events.get_or_insert_with(|| {
            let group = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
            let path = group.lines().find_map(|line| line.strip_prefix("0::"));
            path.map(|path| format!("/sys/fs/cgroup{path}/memory.events"))
        });
        let events = events.as_ref();
        let text = events.and_then(|path| std::fs::read_to_string(path).ok());
        let count = text.as_deref().and_then(|text| {
            let mut lines = text.lines();
            lines.find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
        });
        let count = count.unwrap_or(self.seen);
        std::mem::replace(&mut self.seen, count) < count
    }
}
