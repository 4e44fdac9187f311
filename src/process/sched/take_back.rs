//! Items of a frame that have not begun come back.
//!
//! An idle worker takes them over (`take_over`); items are taken back, too, before a worker is
//! killed, and from one that may have to be killed. From a worker with gates they come at once. One
//! that reports is asked, and gives them back with its answer (`frame_control`).
//!
//! Tests: `src/process/sched/simulated.rs`.

use std::time::Instant;

use super::frame_control::Back;
use super::state::Sched;
use super::{cancel, finish};
use crate::process::job::job_id::INITIALIZE;
use crate::process::job::slot_id::SlotId;
use crate::process::value::chunk::Piece;
use crate::process::wire::Broken;
use crate::task::TaskError;

/// Takes back the items of a frame that have not begun, from index `from` on, and puts them
/// first in the queue. A plain worker is asked for all of them, and answers how far it got.
pub(super) fn take_back(sched: &mut Sched, slot: SlotId, position: usize, from: u32) {
    let worker = &mut sched.workers[slot];
    let wanted = worker.frames[position].wanted;
    match worker.take_back(position, from, sched.now) {
        Back::Items(piece) if wanted => come_back(sched, slot, position, piece),
        Back::Items(_) | Back::Nothing => {}
        Back::Asked => cancel::ask_back(sched, slot, position, false),
    }
}

/// These items of a frame have not begun, and come back.
fn come_back(sched: &mut Sched, slot: SlotId, position: usize, piece: Piece) {
    let id = sched.workers[slot].frames[position].job;
    if let Some(job) = sched.jobs.get_mut(id) {
        job.put_back(piece);
    }
    sched.workers[slot].has_given_back(&sched.policy);
    sched.jobs.enqueue(id, true, sched.now);
    finish::settle(sched, slot, position);
}

impl Sched {
    /// Takes back all items that a worker has not begun.
    pub(crate) fn take_all_back(&mut self, slot: SlotId, now: Instant) {
        self.now = now;
        take_all_back(self, slot);
    }
}

/// Takes back all items that a worker has not begun: the step before it is killed for what the
/// running item does, so that only that one is to blame.
pub(super) fn take_all_back(sched: &mut Sched, slot: SlotId) {
    for position in (0..sched.workers[slot].frames.len()).rev() {
        if sched.workers[slot].frames[position].job != INITIALIZE {
            take_back(sched, slot, position, 0);
        }
    }
}

/// A plain worker has answered that it begins no more than the first `end` items of a frame:
/// the others are taken back. (It may have ended the frame before this answer; and the answer
/// may come before its report that it has begun the last of these items.)
pub(super) fn give_back(
    sched: &mut Sched,
    slot: SlotId,
    sequence: u64,
    end: u64,
) -> Result<(), Broken> {
    let frames = &mut sched.workers[slot].frames;
    let Some(position) = frames.position(sequence) else {
        return Ok(());
    };
    let frame = &mut frames[position];
    // It reports the items that it has just begun next: `kill_due`.
    if !frame.is_answered(sched.now + sched.policy.patience) {
        return Ok(());
    }
    let end = u32::try_from(end).unwrap_or(u32::MAX);
    if end < frame.begun() {
        return Err(Broken);
    }
    let id = frame.job;
    if end < frame.end {
        let piece = frame.answered(end, position == 0, sched.now);
        if frame.wanted {
            come_back(sched, slot, position, piece);
            if sched.is_stopped() {
                finish::fail_waiting(sched, id, &TaskError::Cancelled);
            }
        }
    }
    Ok(())
}
