//! An idle worker takes over items that another has not begun and will not begin soon.
//!
//! From when on it may: `Worker::stealable_at` (`workers.rs`).
//!
//! Tests: `src/process/sched/simulated.rs`.

use std::time::Instant;

use super::state::Sched;
use super::take_back;
use super::workers::Worker;
use crate::process::job::slot_id::SlotId;

/// When an idle worker may take over items of another: there is one that none of those will
/// get which were asked for, and another has had its time.
pub(super) fn takes_over_at(sched: &Sched) -> Option<Instant> {
    let idle = sched.workers.count(Worker::is_idle);
    if sched.jobs.wait() || idle == 0 {
        return None;
    }
    // A plain worker gives items only after it has answered. If it does not answer in time,
    // others are asked.
    let patience = sched.policy.patience;
    let asked = sched
        .workers
        .iter()
        .filter_map(|worker| worker.gives_back(patience));
    let mut asked: Vec<Instant> = asked.collect();
    asked.sort_unstable();
    let one_is_free = asked.len().checked_sub(idle).map(|at| asked[at]);
    let others = sched.workers.iter();
    let others = others.filter(|worker| worker.frames.can_give());
    let first = others.map(Worker::stealable_at).min();
    first.map(|at| one_is_free.map_or(at, |free| at.max(free)))
}

/// Lets an idle worker take over items that another has not begun and will not begin soon.
pub(super) fn take_over(sched: &mut Sched) {
    if let Some(victim) = victim(sched) {
        take_back::take_back(sched, victim.slot, victim.position, victim.from);
    }
}

/// From whom items are taken.
struct Victim {
    slot: SlotId,
    /// The position of its frame.
    position: usize,
    /// The index in the frame from which items are taken back.
    from: u32,
    /// How many of the frame have not begun.
    left: u32,
}

/// The frame with the most items that have not begun.
fn victim(sched: &Sched) -> Option<Victim> {
    let mut best: Option<Victim> = None;
    for (slot, worker) in sched.workers.numbered() {
        if worker.stealable_at() > sched.now {
            continue;
        }
        for (position, frame) in worker.frames.iter().enumerate() {
            let left = frame.can_give();
            let begun = frame.end - left;
            let from = if begun == 0 { 0 } else { begun + left / 2 };
            if left > 0 && best.as_ref().is_none_or(|best| best.left < left) {
                best = Some(Victim {
                    slot,
                    position,
                    from,
                    left,
                });
            }
        }
    }
    best
}
