//! What is due of one worker, as far as that follows from the worker alone: one list.
//!
//! The driver's list of what it does with a worker's process has the same form
//! (`parent/link_due.rs`). What depends on anything else, and what is done: `due`.
//!
//! Tests: `src/process/sched/simulated/sim_due.rs`.

use std::time::Instant;

use super::workers::{Stage, Worker};

/// Something that is done with a worker when its time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WorkerDue {
    /// It starts for too long.
    SlowStart,
    /// It exits for too long.
    SlowExit,
    /// It was killed, and does not die.
    SlowDeath,
    /// The user has replaced it, and it does not leave.
    SlowRetirement,
    /// A cancelled item has had its grace period.
    Kill,
    /// An item of the frame at this position may have run for too long.
    Check(usize),
    /// It does not answer how far it got.
    Silence,
    /// Results may wait for items that have not begun.
    TakeBack,
    /// It may sleep, or may be lost.
    Nudge,
}

impl Worker {
    /// What is due next of it.
    pub(super) fn next_due(&self) -> Option<(Instant, WorkerDue)> {
        let slow = match self.stage() {
            Stage::Leaving(_) => WorkerDue::SlowExit,
            Stage::Dying { .. } => WorkerDue::SlowDeath,
            Stage::Retiring => WorkerDue::SlowRetirement,
            _ => WorkerDue::SlowStart,
        };
        let limit = (self.limit(), slow);
        if self.frames.is_empty() && self.planned_kill().is_none() {
            return Some((limit.0?, limit.1)); // the others follow from frames
        }
        let check = self.frames.first_check();
        let all = [
            limit,
            (self.kill_due(), WorkerDue::Kill),
            (
                check.map(|(at, _)| at),
                WorkerDue::Check(check.map_or(0, |(_, position)| position)),
            ),
            (self.silent_at(), WorkerDue::Silence),
            (self.take_back_at(), WorkerDue::TakeBack),
            (self.nudge_at(), WorkerDue::Nudge),
        ];
        let times = all.into_iter().filter_map(|(at, what)| Some((at?, what)));
        times.min_by_key(|(at, _)| *at)
    }
}
