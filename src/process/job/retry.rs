//! How often an item that died or timed out runs again, and after what pause.
//!
//! An item whose worker died goes back to the front of the job, if it may be retried, perhaps after
//! a pause that doubles each time; its job goes before the others of its priority
//! (`sched::retry`). Its time limit begins anew (`sched::timeouts`); the one of `within` does
//! not. How often each such item was started is kept here, for `attempts()`.
//!
//! Tests: `src/process/sched/simulated.rs`, `tests/process/calls.rs`.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::time::Duration;

/// The items of a job that run again.
#[derive(Default)]
pub(super) struct Retries {
    /// Those that pause before, and are kept elsewhere (`sched::retry`).
    pub(super) paused: Vec<usize>,
    /// How often items were started that have cost a worker, or too much time.
    starts: HashMap<usize, u32, BuildHasherDefault<DefaultHasher>>,
}

impl Retries {
    pub(super) const NONE: Self = Self {
        paused: Vec::new(),
        starts: HashMap::with_hasher(BuildHasherDefault::new()),
    };

    /// The item at `index` was running when its worker died, or it has timed out. Whether it may be
    /// started again, if it may be at `most` so often.
    pub(super) fn attempted(&mut self, index: usize, most: u32) -> bool {
        let starts = self.starts.entry(index).or_default();
        *starts = starts.saturating_add(1);
        *starts <= most
    }

    /// How often the item at `index` was started in vain, if it may be started again.
    pub(super) fn starts(&self, index: usize) -> u32 {
        self.starts.get(&index).copied().unwrap_or(0)
    }

    /// The item at `index` will be retried, after a pause that begins with `backoff`.
    pub(super) fn pause(&mut self, index: usize, backoff: Duration) -> Duration {
        if !self.paused.contains(&index) {
            self.paused.push(index);
        }
        let before = self.starts(index).saturating_sub(1);
        let times = 1u32.checked_shl(before).unwrap_or(u32::MAX);
        backoff.saturating_mul(times)
    }

    /// The pause of the item at `index` is over.
    pub(super) fn resume(&mut self, index: usize) {
        self.paused.retain(|at| *at != index);
    }
}
