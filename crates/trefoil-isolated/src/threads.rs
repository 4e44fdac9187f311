//! Which threads a body has left behind.
//!
//! Linux shows the threads of a process. Elsewhere none is found.
//!
//! Usually their number says enough, and they are not looked at one by one: for each that was, the
//! kernel keeps an entry until it ends, and to forget those of a whole process can take it
//! milliseconds on a busy machine, more than all else that a test costs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long a thread may take to end that a body has told to end.
const ENDING: Duration = Duration::from_millis(250);

/// This thread, and trefoil's that watches the parent, which does not end.
const FEW: usize = 2;

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

/// How many threads this process has, trefoil's included.
fn count() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/stat").ok()?;
    // Behind the name, which may contain anything: the state, and 16 numbers before it.
    let (_, fields) = status.rsplit_once(')')?;
    fields.split_whitespace().nth(17)?.parse().ok()
}

/// The threads before a body.
pub(crate) enum Threads {
    /// So few that they are known: no more than [`FEW`].
    Few(usize),
    All(BTreeMap<u32, String>),
}

impl Threads {
    pub(crate) fn now() -> Self {
        match count() {
            Some(few @ ..=FEW) => Self::Few(few),
            _ => Self::All(all()),
        }
    }

    /// The names of those that have been started since, and do not end.
    pub(crate) fn more(&self) -> Vec<String> {
        let begin = Instant::now();
        loop {
            let mut more = match self {
                Self::Few(few) if count() == Some(*few) => BTreeMap::new(),
                _ => all(),
            };
            match self {
                Self::Few(_) => drop(more.remove(&std::process::id())),
                Self::All(before) => more.retain(|id, _| !before.contains_key(id)),
            }
            if more.is_empty() || begin.elapsed() > ENDING {
                return more.into_values().collect();
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
