//! An idle worker takes over items that another has not begun and will not begin soon.
//!
//! From when on it may: `Worker::stealable_at` (`workers.rs`).
//!
//! Tests: `src/process/sched/simulated.rs`.

use std::time::Instant;

use super::state::Sched;
use super::take_back;
use super::workers::earlier;

/// When an idle worker may take over items of another: there is one that none of those will
/// get which were asked for, and another has had its time.
pub(super) fn takes_over_at(sched: &Sched) -> Option<Instant> {
    let idle = sched
        .workers
        .iter()
        .filter(|worker| worker.is_idle())
        .count();
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
    let mut first = None;
    for worker in &sched.workers {
        if worker.frames.iter().any(|frame| frame.can_give() > 0) {
            first = earlier(first, Some(worker.stealable_at()));
        }
    }
    first.map(|at| one_is_free.map_or(at, |free| at.max(free)))
}

/// Lets an idle worker take over items that another has not begun and will not begin soon.
pub(super) fn take_over(sched: &mut Sched) {
    if let Some((worker, position, from)) = victim(sched) {
        take_back::take_back(sched, worker, position, from);
    }
}

/// The frame with the most items that have not begun. Returns its worker, its position, and the
/// index in the frame from which items are taken back.
fn victim(sched: &Sched) -> Option<(usize, usize, u32)> {
    let mut best: Option<(u32, (usize, usize, u32))> = None;
    for (index, worker) in sched.workers.iter().enumerate() {
        if worker.stealable_at() > sched.now {
            continue;
        }
        for (position, frame) in worker.frames.iter().enumerate() {
            let left = frame.can_give();
            let begun = frame.end - left;
            let from = if begun == 0 { 0 } else { begun + left / 2 };
            if left > 0 && best.is_none_or(|(most, _)| most < left) {
                best = Some((left, (index, position, from)));
            }
        }
    }
    best.map(|(_, victim)| victim)
}
