//! An idle worker takes over items that another has not begun and will not begin soon.
//!
//! From when on it may: `Worker::stealable_at` (`workers.rs`).
//!
//! Tests: `src/process/sched/simulated.rs`.

use std::time::Instant;

use super::slot_id::SlotId;
use super::state::Sched;
use super::take_back;

/// When an idle worker may take over items of another: there is one that none of those will
/// get which were asked for, and another has had its time.
pub(super) fn takes_over_at(sched: &Sched) -> Option<Instant> {
    let all = sched.workers.outlook();
    if sched.jobs.wait() || all.idle == 0 {
        return None;
    }
    let from = sched.workers.give_from()?;
    if all.owing < all.idle {
        return Some(from);
    }
    // A plain worker gives items only after it has answered. If it does not answer in time,
    // others are asked.
    let patience = sched.policy.patience;
    let owing = sched.workers.with(|own| own.owing > 0);
    let asked = owing.filter_map(|slot| sched.workers[slot].gives_back(patience));
    let mut asked: Vec<Instant> = asked.collect();
    asked.sort_unstable();
    let one_is_free = asked.len().checked_sub(all.idle as usize);
    Some(one_is_free.map_or(from, |at| from.max(asked[at])))
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
}

/// The frame with the most items that have not begun.
fn victim(sched: &Sched) -> Option<Victim> {
    let slot = sched.workers.gives_most(sched.now)?;
    let (mut position, mut most) = (0, 0);
    for (at, frame) in sched.workers[slot].frames.iter().enumerate() {
        if frame.can_give() > most {
            (position, most) = (at, frame.can_give());
        }
    }
    let begun = sched.workers[slot].frames[position].end - most;
    let from = if begun == 0 { 0 } else { begun + most / 2 };
    (most > 0).then_some(Victim {
        slot,
        position,
        from,
    })
}
