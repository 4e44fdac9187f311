//! When items come back from a worker, and when the grace of the running one begins.
//!
//! They are run elsewhere, or are not wanted any more:
//!
//! 1. An idle worker *takes over* items that another has not begun and will not begin soon.
//! 2. Items are *taken back* before a worker is killed, and from one that may have to be killed.
//! 3. The running item is *cancelled*: its worker is notified, and its grace period begins.
//!
//! From a worker with gates they come at once. One that reports is asked, and gives them back with
//! its answer (`peer`).
//!
//! From when items may be taken over: `Worker::stealable_at` (`workers.rs`). The numbers: `limits`.
//!
//! Tests: `src/process/sched/simulated.rs`.

use std::time::Instant;

use super::peer::Cancel;
use super::sent_frame::{Recall, SentFrame};
use super::workers::{INITIALIZE, Worker};
use super::{Action, Sched, ends};
use crate::process::pages::gate::GATES;
use crate::process::value::chunk::Piece;
use crate::process::wire::{Broken, Frame};
use crate::task::TaskError;

impl Worker {
    /// No more than the first `keep` items of a frame need begin.
    pub(super) fn cut_off(&mut self, position: usize, keep: u32) {
        if let Some(frame) = self.frames.get_mut(position) {
            drop(self.peer.take_back(frame, keep, position == 0));
        }
    }
}

impl Sched {
    /// Lets idle workers take over items that others have not begun and will not begin soon.
    pub(super) fn take_over(&mut self, now: Instant) {
        // If the chosen worker has begun the items meanwhile, it gives none. Another may, so the
        // search is repeated now rather than at the next event. (The number of attempts is limited,
        // because a misbehaving worker may change what the parent sees all the time.)
        for _ in 0..self.workers.len() * GATES {
            // A plain worker gives items only after it has answered. If it does not answer in time,
            // others are asked.
            let patience = self.policy.patience;
            let asked = |worker: &&Worker| worker.gives_back(patience).is_some_and(|at| now < at);
            let asked = self.workers.iter().filter(asked).count();
            let idle = self.workers.iter().filter(|worker| worker.is_idle());
            if !self.queue.is_empty() || idle.count() <= asked {
                return;
            }
            let Some((worker, position, from)) = self.victim(now) else {
                return;
            };
            self.take_back(worker, position, from, now);
            self.dispatch(now);
        }
    }

    /// The frame with the most items that have not begun. Returns its worker, its position, and the
    /// index in the frame from which items are taken back. (`deadline` has the
    /// time at which the same condition holds. Whatever time is used here must be used there, too,
    /// or the driver sleeps through it.)
    pub(super) fn victim(&self, now: Instant) -> Option<(usize, usize, u32)> {
        let mut best: Option<(u32, (usize, usize, u32))> = None;
        for (index, worker) in self.workers.iter().enumerate() {
            if worker.stealable_at() > now {
                continue;
            }
            for (position, frame) in worker.frames.iter().enumerate() {
                let begun = frame.begun();
                let left = frame.end - begun;
                let from = if begun == 0 { 0 } else { begun + left / 2 };
                let more = left > 0 && best.is_none_or(|(most, _)| most < left);
                if more && frame.wanted && !frame.recall.was_asked() {
                    best = Some((left, (index, position, from)));
                }
            }
        }
        best.map(|(_, victim)| victim)
    }

    /// Takes back the items of a frame that have not begun, from index `from` on, and puts them
    /// first in the queue. A plain worker is asked for all of them, and answers how far it got.
    pub(super) fn take_back(&mut self, index: usize, position: usize, from: u32, now: Instant) {
        let worker = &mut self.workers[index];
        let frame = &mut worker.frames[position];
        let wanted = frame.wanted;
        match worker.peer.take_back(frame, from, position == 0) {
            Some(Some(piece)) if wanted => self.come_back(index, position, piece, now),
            Some(_) => {}
            None => self.ask_back(index, position, false, now),
        }
    }

    /// These items of a frame have not begun, and come back.
    fn come_back(&mut self, index: usize, position: usize, piece: Piece, now: Instant) {
        let id = self.workers[index].frames[position].job;
        if let Some(job) = self.jobs.get_mut(&id) {
            job.put_back(piece);
        }
        self.settle(index, position, now);
        self.enqueue(id, true);
    }

    /// Takes back all items that a worker has not begun.
    pub(crate) fn take_all_back(&mut self, index: usize, now: Instant) {
        for position in (0..self.workers[index].frames.len()).rev() {
            if self.workers[index].frames[position].job != INITIALIZE {
                self.take_back(index, position, 0, now);
            }
        }
    }

    /// Asks a plain worker to begin no more items of a frame; `cancel`: also marks the running
    /// item as unwanted.
    fn ask_back(&mut self, index: usize, position: usize, cancel: bool, now: Instant) {
        let frame = &mut self.workers[index].frames[position];
        if !frame.recall.was_asked() {
            frame.recall = Recall::Asked(now + self.policy.patience);
        } else if !cancel {
            return;
        }
        let sequence = frame.sequence;
        self.send_message(index, &Frame::Recall { sequence, cancel });
    }

    /// If what is known of a worker comes from reports, asks for the items of its first frame,
    /// because none has begun for too long. True: it was asked.
    pub(super) fn ask_for_first(&mut self, index: usize, now: Instant) -> bool {
        let asks = self.workers[index].peer.must_be_asked();
        if asks {
            self.ask_back(index, 0, false, now);
        }
        asks
    }

    /// A plain worker has answered that it begins no more than the first `end` items of a frame:
    /// the others are taken back. (It may have ended the frame before this answer; and the answer
    /// may come before its report that it has begun the last of these items.)
    pub(super) fn give_back(
        &mut self,
        index: usize,
        sequence: u64,
        end: u64,
        now: Instant,
    ) -> Result<(), Broken> {
        let frames = &mut self.workers[index].frames;
        let asked = |frame: &SentFrame| frame.recall.was_asked() && frame.sequence == sequence;
        let Some(position) = frames.iter().position(asked) else {
            return Ok(());
        };
        let frame = &mut frames[position];
        // It reports the items that it has just begun next: `kill_due`.
        frame.recall = Recall::Answered(now + self.policy.patience);
        let end = u32::try_from(end).unwrap_or(u32::MAX);
        if end < frame.begun() {
            return Err(Broken);
        }
        let id = frame.job;
        if end < frame.end {
            let piece = frame.answered(end, position == 0);
            if frame.wanted {
                self.come_back(index, position, piece, now);
                if self.is_stopped() {
                    self.fail_waiting(id, &TaskError::Cancelled, now);
                }
            }
        }
        Ok(())
    }

    /// A plain worker reports that the next item of its first frame begins.
    pub(super) fn item_begins(&mut self, index: usize, now: Instant) -> Result<(), Broken> {
        let worker = &self.workers[index];
        let front = worker.frames.front().ok_or(Broken)?;
        worker.peer.begun(front, 1, self.epoch.nanos(now))?;
        if !front.wanted && front.job != INITIALIZE {
            self.cancel_running(index, 0, now);
        }
        Ok(())
    }

    /// The worker's socket has taken some bytes. A plain worker may not have received yet what was
    /// sent after these, so its answer gets more time.
    pub(crate) fn takes(&mut self, index: usize, now: Instant) {
        let by = now + self.policy.patience;
        let worker = &mut self.workers[index];
        worker.moved_at = now;
        worker.peer.has_taken(now);
        for frame in &mut worker.frames {
            frame.recall.extend(by);
        }
    }

    /// Marks the running item of the frame at `position` as unwanted, and begins its grace
    /// period.
    pub(super) fn cancel_running(&mut self, index: usize, position: usize, now: Instant) {
        let worker = &mut self.workers[index];
        let frame = &worker.frames[position];
        let sequence = frame.sequence;
        if worker.kill_at.is_some_and(|(_, frame)| frame == sequence) {
            return;
        }
        let kill_at = Some((now + self.policy.grace, sequence));
        match worker.peer.cancel(frame) {
            Cancel::NothingRuns => {
                let by = ends::close_by(frame, now);
                worker.kill_at = by.map(|by| (by, sequence)).or(worker.kill_at);
            }
            Cancel::Ring => {
                worker.kill_at = kill_at;
                self.actions.push(Action::Ring(index));
            }
            Cancel::Ask => {
                if position == 0 {
                    worker.kill_at = kill_at;
                }
                self.ask_back(index, position, true, now);
            }
        }
    }
}
