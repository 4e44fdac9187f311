//! The running item is not wanted any more: its worker is notified, and its grace period begins.
//!
//! A worker with gates sees it there. One that reports is asked, and answers how far it got
//! (`peer`). When the grace period is over: `timeouts`.
//!
//! Tests: `src/process/sched/simulated.rs`.

use super::peer::Cancel;
use super::sent_frame::Recall;
use super::state::Sched;
use super::{Action, rules};
use crate::process::wire::Frame;

/// Asks a plain worker to begin no more items of a frame; `cancel`: also marks the running
/// item as unwanted.
pub(super) fn ask_back(sched: &mut Sched, index: usize, position: usize, cancel: bool) {
    let frame = &mut sched.workers[index].frames[position];
    if !frame.recall.was_asked() {
        frame.recall = Recall::Asked(sched.now + sched.policy.patience);
    } else if !cancel {
        return;
    }
    let sequence = frame.sequence;
    sched.send_message(index, &Frame::Recall { sequence, cancel });
}

/// Marks the running item of the frame at `position` as unwanted, and begins its grace
/// period.
pub(super) fn cancel_running(sched: &mut Sched, index: usize, position: usize) {
    let worker = &mut sched.workers[index];
    let frame = &worker.frames[position];
    let sequence = frame.sequence;
    if worker.kill_at.is_some_and(|(_, frame)| frame == sequence) {
        return;
    }
    let kill_at = Some((sched.now + sched.policy.grace, sequence));
    match worker.peer.cancel(frame) {
        Cancel::NothingRuns => {
            let by = rules::close_by(frame, sched.now);
            worker.kill_at = by.map(|by| (by, sequence)).or(worker.kill_at);
        }
        Cancel::Ring => {
            worker.kill_at = kill_at;
            sched.actions.push(Action::Ring(index));
        }
        Cancel::Ask => {
            if position == 0 {
                worker.kill_at = kill_at;
            }
            ask_back(sched, index, position, true);
        }
    }
}
