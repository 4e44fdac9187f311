//! The running item is not wanted any more: its worker is notified, and its grace period begins.
//!
//! A worker with gates sees it there. One that reports is asked, and answers how far it got
//! (`frame_control`). When the grace period is over: `timeouts`.
//!
//! Tests: `src/process/sched/simulated.rs`.

use super::frame_control::Cancel;
use super::state::Sched;
use super::{Action, rules};
use crate::process::job::slot_id::SlotId;
use crate::process::wire::Frame;

/// Asks a plain worker to begin no more items of a frame; `cancel`: also marks the running
/// item as unwanted.
pub(super) fn ask_back(sched: &mut Sched, slot: SlotId, position: usize, cancel: bool) {
    let frame = &mut sched.workers[slot].frames[position];
    if !frame.is_asked(sched.now + sched.policy.patience) && !cancel {
        return;
    }
    let sequence = frame.sequence;
    sched.send_message(slot, &Frame::Recall { sequence, cancel });
}

/// Marks the running item of the frame at `position` as unwanted, and begins its grace
/// period.
pub(super) fn cancel_running(sched: &mut Sched, slot: SlotId, position: usize) {
    let worker = &mut sched.workers[slot];
    let frame = &worker.frames[position];
    let sequence = frame.sequence;
    let planned = worker.planned_kill();
    if planned.is_some_and(|kill| kill.sequence == sequence) {
        return;
    }
    let kill_at = sched.now + sched.policy.grace;
    match worker.control.cancel(frame) {
        Cancel::NothingRuns => {
            if let Some(by) = rules::close_by(frame, sched.now) {
                worker.plan_kill(by, sequence);
            }
        }
        Cancel::Ring => {
            worker.plan_kill(kill_at, sequence);
            sched.actions.push(Action::Ring(slot));
        }
        Cancel::Ask => {
            if position == 0 {
                worker.plan_kill(kill_at, sequence);
            }
            ask_back(sched, slot, position, true);
        }
    }
}
