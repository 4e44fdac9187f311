//! When a slow item is copied to another worker, and which copy counts (`ProcessCall::hedge`).
//!
//! An item of such a call goes alone, to an idle worker. Once it has run for longer than its call
//! allows (`item_times`), and a worker is idle while nothing waits, that worker gets a copy of it.
//! Each copy is in a frame that counts in its job; nothing else keeps track of them. The first that
//! ends, in a value or an error, ends the item: the other is not wanted any more, and is cancelled
//! like any other item. As long as one of them is out, the death of the other one's worker is not
//! the item's. An item is copied once at most.
//!
//! Tests: `src/process/sched/simulated.rs`, `tests/process/stragglers.rs`.

use std::time::Instant;

use super::item_times::ItemTimes;
use super::memory;
use super::state::Marks;
use crate::process::sched::Sched;
use crate::process::sched::sent_frame::SentFrame;
use crate::process::sched::workers::Worker;

impl Sched {
    /// When the item that `worker` runs should be copied, if it has begun and a worker is idle.
    pub(crate) fn next_time(&self, worker: &Worker) -> Option<Instant> {
        let frame = worker.frames.front().filter(|frame| frame.marks.hedged)?;
        let hedge = self.rules.times.get(&frame.job);
        let patience = hedge
            .filter(|_| frame.wanted)?
            .patience(frame.piece.first())?;
        frame.noted(&self.epoch).checked_add(patience)
    }

    /// The worker with the item that should be copied now.
    pub(crate) fn straggler(&self, now: Instant) -> Option<usize> {
        let (mut slowest, mut first) = (None, now);
        for (index, worker) in self.workers.iter().enumerate() {
            if let Some(at) = self.next_time(worker)
                && (at < first || at == first && slowest.is_none())
                && worker.frames.front().is_some_and(SentFrame::runs)
            {
                (slowest, first) = (Some(index), at);
            }
        }
        let index = slowest?;
        // (What another worker has not begun is taken over soon.)
        let waits = |worker: &Worker| {
            let mut frames = worker.frames.iter();
            frames.any(|frame| frame.wanted && !frame.marks.hedged && frame.begun() < frame.end)
        };
        let frame = &self.workers[index].frames[0];
        let fits = memory::fits(&self.workers, self.policy.memory_budget, frame.marks.memory);
        let is_free = !self.has_queued() && !self.is_stopped() && fits;
        let is_idle = self.workers.iter().any(Worker::is_idle);
        (is_free && is_idle && !self.workers.iter().any(waits)).then_some(index)
    }

    /// Gives copies of slow items to idle workers.
    pub(crate) fn after_dispatch(&mut self, now: Instant) {
        while let Some(slow) = self.straggler(now) {
            let frame = &self.workers[slow].frames[0];
            let (id, function, mut piece) = (frame.job, frame.function, frame.piece.clone());
            piece.moves = u32::MAX; // nobody takes it over soon, because the item runs already
            let Some(idle) = self.idle_for(id, now) else {
                return;
            };
            if let Some(hedge) = self.rules.times.get_mut(&id) {
                hedge.copies(piece.first());
            }
            self.counters.stats.lock().hedged += 1;
            self.send_items(idle, id, piece, self.item_cost(function), now);
        }
    }

    /// The worker, other than `except`, that has the item at `at` of a hedged call.
    fn twin(&self, id: u64, at: usize, except: usize) -> Option<usize> {
        let has = |worker: &Worker| {
            let front = worker.frames.front();
            front.is_some_and(|one| one.wanted && one.job == id && one.piece.first() == at)
        };
        let mut all = self.workers.iter().enumerate();
        all.position(|(index, worker)| index != except && has(worker))
    }

    /// The item of worker `index`, of a hedged call, ends: its other copy is not wanted any more.
    pub(crate) fn on_end(&mut self, index: usize, now: Instant) {
        let Some(frame) = self.workers[index]
            .frames
            .front()
            .filter(|one| one.marks.hedged)
        else {
            return;
        };
        let (id, at) = (frame.job, frame.piece.first());
        let (Some(other), Some(job)) = (self.twin(id, at, index), self.jobs.get_mut(&id)) else {
            return;
        };
        self.workers[other].cut_off(0, 0);
        self.workers[other].frames[0].wanted = false;
        job.frames -= 1;
        self.cancel_running(other, 0, now);
    }

    /// Worker `index` does not run the item at `at` of the job `id` any more, whether it had begun
    /// or not. Whether another copy goes on. (If this one had not begun, there may be a further
    /// one.)
    pub(crate) fn goes_on(
        &mut self,
        marks: Marks,
        (id, at): (u64, usize),
        (index, begun): (usize, bool),
    ) -> bool {
        let goes_on = marks.hedged && self.twin(id, at, index).is_some();
        let hedge = self.rules.times.get_mut(&id);
        if let Some(hedge) = hedge.filter(|_| goes_on && !begun) {
            hedge.returns(at);
        }
        goes_on
    }

    /// A frame of the job `id` has ended, whose item has taken so long.
    pub(crate) fn on_frame_end(&mut self, marks: Marks, id: u64, nanos: u64) {
        let job = self.jobs.get(&id).filter(|_| marks.hedged);
        if let Some(factor) = job.and_then(|job| job.work.options.hedge) {
            let times = &mut self.rules.times;
            times
                .entry(id)
                .or_insert_with(|| ItemTimes::new(factor))
                .learn(nanos);
        }
    }
}
