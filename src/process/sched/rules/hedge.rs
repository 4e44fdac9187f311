//! Copies of slow items (`ProcessCall::hedge`).
//!
//! An item of such a call goes alone, to an idle worker. Once it has run for longer than its call
//! allows (`job::hedge`), and a worker is idle while nothing waits, that worker gets a copy of it.
//! Each copy is in a frame of its own that counts in its job; nothing else keeps track of them. The
//! first that ends, in a value or an error, ends the item: the other is not wanted any more, and is
//! cancelled like any other item. As long as one of them is out, the death of the other one's
//! worker is not the item's. An item is copied once at most.
//!
//! Tests: `src/process/sched/simulated.rs`, `tests/process/stragglers.rs`.

use std::time::Instant;

use super::{contexts, memory};
use crate::process::sched::Sched;
use crate::process::sched::dispatch::Kind;
use crate::process::sched::sent_frame::SentFrame;
use crate::process::sched::workers::Worker;

impl Sched {
    /// When the item that `worker` runs should be copied, if it has begun and a worker is idle.
    pub(in crate::process::sched) fn hedge_at(&self, worker: &Worker) -> Option<Instant> {
        let frame = worker.frames.front().filter(|frame| frame.hedged)?;
        let job = self.jobs.get(&frame.job).filter(|_| frame.wanted)?;
        let patience = job.hedge.as_ref()?.patience(frame.piece.first())?;
        let noted = self.epoch.instant(frame.gate().started());
        let started = noted.map_or(frame.sent, |noted| noted.max(frame.sent));
        started.checked_add(patience)
    }

    /// The worker with the item that should be copied now.
    pub(in crate::process::sched) fn straggler(&self, now: Instant) -> Option<usize> {
        let due = |(index, worker): (usize, &Worker)| Some((self.hedge_at(worker)?, index));
        let runs = |index: usize| {
            let front = self.workers[index].frames.front();
            front.is_some_and(SentFrame::runs)
        };
        let due = self.workers.iter().enumerate().filter_map(due);
        let (_, index) = due.filter(|(at, index)| *at <= now && runs(*index)).min()?;
        // (What another worker has not begun is taken over soon.)
        let waits = |worker: &Worker| {
            let mut frames = worker.frames.iter();
            frames.any(|frame| frame.wanted && !frame.hedged && frame.begun() < frame.end)
        };
        let frame = &self.workers[index].frames[0];
        let fits = memory::fits(&self.workers, self.policy.memory_budget, frame.memory);
        let is_free = !self.has_queued() && !self.is_stopped() && fits;
        let is_idle = self.workers.iter().any(Worker::is_idle);
        (is_free && is_idle && !self.workers.iter().any(waits)).then_some(index)
    }

    /// Gives copies of slow items to idle workers.
    pub(in crate::process::sched) fn hedge(&mut self, now: Instant) {
        while let Some(slow) = self.straggler(now) {
            let frame = &self.workers[slow].frames[0];
            let (id, mut piece) = (frame.job, frame.piece.clone());
            piece.moves = u32::MAX; // nobody takes it over soon, because the item runs already
            let Some(idle) = self.idle_for(id, now) else {
                return;
            };
            let Some(job) = self.jobs.get_mut(&id) else {
                return;
            };
            if let Some(hedge) = &mut job.hedge {
                hedge.copies(piece.first());
            }
            self.counters.stats.lock().hedged += 1;
            let kind = Kind::of(job, self.item_costs.of(job.work.code.function));
            self.send_items(idle, id, piece, kind, now);
        }
    }

    /// An idle worker that has the context of the job `id`, or can be sent it. Those that must
    /// fetch it first are asked to.
    pub(in crate::process::sched) fn idle_for(&mut self, id: u64, now: Instant) -> Option<usize> {
        let spreads = self.jobs.get(&id).is_some_and(|job| contexts::spreads(job));
        if spreads {
            contexts::fetch(&mut self.workers, &mut self.actions, (id, 1), now);
        }
        let is_fit = |index: &usize| {
            let waits = || contexts::waits(&self.workers, *index, id, now);
            self.workers[*index].is_idle() && !(spreads && waits().is_some())
        };
        (0..self.workers.len()).find(is_fit)
    }

    /// The worker, other than `except`, that has the item at `at` of a hedged call.
    pub(in crate::process::sched) fn twin(
        &self,
        id: u64,
        at: usize,
        except: usize,
    ) -> Option<usize> {
        let has = |worker: &Worker| {
            let front = worker.frames.front();
            front.is_some_and(|one| one.wanted && one.job == id && one.piece.first() == at)
        };
        let mut all = self.workers.iter().enumerate();
        all.position(|(index, worker)| index != except && has(worker))
    }

    /// The item of worker `index`, of a hedged call, ends: its other copy is not wanted any more.
    pub(in crate::process::sched) fn drop_twin(&mut self, index: usize, now: Instant) {
        let Some(frame) = self.workers[index].frames.front().filter(|one| one.hedged) else {
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

    /// Worker `index` does not run the item at `at` of a hedged call any more. Whether another copy
    /// goes on. If this one had not `begun`, there may be a further one.
    pub(in crate::process::sched) fn goes_on(
        &mut self,
        id: u64,
        at: usize,
        (index, begun): (usize, bool),
    ) -> bool {
        let goes_on = self.twin(id, at, index).is_some();
        let job = self.jobs.get_mut(&id).filter(|_| goes_on && !begun);
        if let Some(hedge) = job.and_then(|job| job.hedge.as_mut()) {
            hedge.returns(at);
        }
        goes_on
    }
}
