//! How often an item that died or timed out runs again, and after what pause.
//!
//! An item whose worker died goes back to the front of the job, if it may be retried, perhaps after
//! a pause that doubles each time; its job goes before the others of its priority
//! (`Sched::run_again`). Its time limit begins anew (`sched::deadlines`); the one of `within` does
//! not. How often each such item was started is kept here, for `attempts()`. One that has died out
//! of memory, of a call with `retry_alone`, waits apart from the others: it runs while nothing else
//! runs in the pool (`sched::rules::alone`).
//!
//! Tests: `src/process/sched/simulated.rs`, `tests/process/calls.rs`.

use std::time::Duration;

use super::{Job, Unusual};
use crate::process::value::chunk::Piece;

impl Unusual {
    pub(super) fn is_lone(&self, index: usize) -> bool {
        self.starts.get(&index).is_some_and(|(_, is_lone)| *is_lone)
    }
}

impl Job {
    /// The item at `index` was running when its worker died, perhaps out of memory, or it has timed
    /// out. Whether it may be started again.
    pub(crate) fn attempted(&mut self, index: usize, out_of_memory: bool) -> bool {
        let options = &self.work.options;
        if !options.may_retry() {
            return false;
        }
        let again = self.unusual.get_or_insert_default();
        let (starts, is_lone) = again.starts.entry(index).or_default();
        *starts = starts.saturating_add(1);
        *is_lone |= out_of_memory && options.retry_alone;
        let most = options.retry.saturating_add(u32::from(*is_lone));
        *starts <= most
    }

    /// How often the item at `index` was started in vain, if it may be started again.
    pub(crate) fn starts(&self, index: usize) -> u32 {
        let starts = self.unusual().starts.get(&index);
        starts.map_or(0, |(starts, _)| *starts)
    }

    /// Whether the item at `index` must run alone.
    pub(crate) fn is_lone(&self, index: usize) -> bool {
        self.unusual().is_lone(index)
    }

    /// Whether such an item waits.
    pub(crate) fn has_lone_item(&self) -> bool {
        self.unusual().lone_waiting.first.is_some()
    }

    /// Takes out the one that has waited longest.
    pub(crate) fn cut_lone_item(&mut self) -> Option<Piece> {
        self.unusual.as_mut()?.lone_waiting.pop_front()
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
