//! Which threads a body has left behind.
//!
//! Linux shows the threads of a process. Elsewhere none is found.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long a thread may take to end that a body has told to end.
const ENDING: Duration = Duration::from_millis(250);

/// The threads of this process, by number, with their names; without trefoil's own, which end when
/// nobody needs them.
fn all() -> BTreeMap<u32, String> {
    let entries = std::fs::read_dir("/proc/self/task").into_iter().flatten();
    let threads = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        let name = std::fs::read_to_string(entry.path().join("comm")).ok()?;
        let id = entry.file_name().to_str()?.parse().ok()?;
        Some((id, name.trim_end().to_owned()))
    });
    threads
        .filter(|(_, name)| !name.starts_with("trefoil"))
        .collect()
}

/// The threads before a body.
pub(crate) struct Threads(BTreeMap<u32, String>);

impl Threads {
    pub(crate) fn now() -> Self {
        Self(all())
    }

    /// The names of those that have been started since, and do not end.
    pub(crate) fn more(&self) -> Vec<String> {
        let begin = Instant::now();
        loop {
            let mut more = all();
            more.retain(|id, _| !self.0.contains_key(id));
            if more.is_empty() || begin.elapsed() > ENDING {
                return more.into_values().collect();
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
