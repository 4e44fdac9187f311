//! How often an item that died or timed out runs again, and after what pause.
//!
//! An item whose worker died goes back to the front of the job, if it may be retried, perhaps after
//! a pause that doubles each time; its job goes before the others of its priority
//! (`Sched::run_again`). Its time limit begins anew (`sched::deadlines`); the one of `within` does
//! not. How often each such item was started is kept here, for `attempts()`.
//!
//! Tests: `src/process/sched/simulated.rs`, `tests/process/calls.rs`.

use std::time::Duration;

use super::Job;
use crate::process::value::chunk::Piece;

impl Job {
    /// The item at `index` was running when its worker died, or it has timed out. Whether it may be
    /// started again.
    pub(crate) fn attempted(&mut self, index: usize) -> bool {
        let most = self.work.options.retry;
        if most == 0 {
            return false;
        }
        let again = self.unusual.get_or_insert_default();
        let starts = again.starts.entry(index).or_default();
        *starts = starts.saturating_add(1);
        *starts <= most
    }

    /// How often the item at `index` was started in vain, if it may be started again.
    pub(crate) fn starts(&self, index: usize) -> u32 {
        self.unusual().starts.get(&index).copied().unwrap_or(0)
    }

    /// The item at `index` will be retried. Returns the pause before that.
    pub(crate) fn pause(&mut self, index: usize) -> Duration {
        let again = self.unusual.get_or_insert_default();
        if !again.paused.contains(&index) {
            again.paused.push(index);
        }
        let before = self.starts(index).saturating_sub(1);
        let times = 1u32.checked_shl(before).unwrap_or(u32::MAX);
        self.work.options.backoff.saturating_mul(times)
    }

    /// The pause of an item is over.
    pub(crate) fn resume(&mut self, piece: Piece) {
        if let Some(again) = &mut self.unusual {
            again.paused.retain(|at| *at != piece.first());
        }
        self.put_back(piece);
    }
}
