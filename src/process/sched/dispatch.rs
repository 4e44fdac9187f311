//! Which worker gets the next items: the queue of jobs, and the choice among the workers with room.
//!
//! The job at the front sends a frame to the worker with room that has the fewest frames, and then
//! goes behind the other jobs of its priority. How many items the frame has is proposed by
//! `frame_size`; when items are taken back from a busy worker, `take_back` decides.
//!
//! Tests: `src/process/sched/simulated.rs`, `tests/process/pool.rs`.

use std::time::{Duration, Instant};

use super::Sched;
use super::frame_size::{cost, frame_size};
use super::rules::{contexts, memory};
use super::workers::Worker;
use crate::process::job::Job;
use crate::process::limits::FRAME_BYTES;
use crate::process::value::chunk::Piece;
use crate::process::wire::CodeRef;

/// What the frames of a job have in common.
pub(super) struct Kind {
    code: CodeRef,
    /// How many nanoseconds an item should take.
    item_cost: Option<f64>,
    /// Its context has ends of channels.
    has_ends: bool,
    /// Workers fetch its context from one another.
    spreads: bool,
    each: bool,
    is_hedged: bool,
    /// It runs while nothing else does.
    is_alone: bool,
    memory: u64,
    timeout: Option<Duration>,
}

impl Kind {
    /// Of a frame that is about to be sent, which counts in its job.
    pub(super) fn of(job: &mut Job, item_cost: Option<f64>) -> Self {
        job.frames += 1;
        let context = job.work.context();
        Self {
            code: job.work.code,
            item_cost,
            has_ends: context.is_some_and(|context| context.piece.has_ends()),
            spreads: contexts::spreads(job),
            each: job.work.each,
            is_hedged: job.hedge.is_some(),
            is_alone: false,
            memory: job.work.options.memory,
            timeout: job.work.options.timeout,
        }
    }

    /// As [`of`](Self::of), for an item that runs alone.
    pub(super) fn alone(job: &mut Job, item_cost: Option<f64>) -> Self {
        Self {
            is_hedged: false,
            is_alone: true,
            ..Self::of(job, item_cost)
        }
    }
}

impl Sched {
    /// Sends frames while there is work and room.
    pub(super) fn dispatch(&mut self, now: Instant) {
        // The jobs before `place` wait for their contexts, or for the engine. `before` has the ids
        // of those that wait for contexts.
        let (mut place, mut before) = (0, Vec::new());
        if self.run_alone(now) {
            return;
        }
        self.requeue_for_memory();
        while let Some(&(_, id)) = self.queue.get(place) {
            let Some(job) = self.jobs.get_mut(&id) else {
                self.queue.remove(place);
                continue;
            };
            let memory = job.work.options.memory;
            let is_full = !self.wait_for_memory.is_empty();
            if memory > 0
                && (is_full || !memory::fits(&self.workers, self.policy.memory_budget, memory))
            {
                self.queue.remove(place);
                self.wait_for_memory.push(id);
                continue;
            }
            let spreads = contexts::spreads(job);
            if spreads {
                let items = job.items(self.workers.len());
                contexts::fetch(&mut self.workers, &mut self.actions, (id, items), now);
            }
            let code = job.work.code;
            let item_cost = self.item_costs.of(code.function);
            let ends = job.has_ends();
            let is_singly = job.work.options.is_singly();
            let size = |job: &Job| {
                let serving = self.workers.iter().filter(|worker| worker.is_serving());
                frame_size(item_cost, job, serving.count())
            };
            // An item of unknown cost is not queued behind another while a further worker is being
            // started, or is asked about the context: that one will be idle soon.
            let early = item_cost.is_none()
                && (self.workers.iter().any(Worker::is_on_its_way)
                    || spreads && contexts::is_asked_for(&self.workers, id));
            let roomy = self.workers.iter().enumerate().filter(|(index, worker)| {
                let alone = || {
                    let has_context = worker.contexts.contains_key(&id);
                    let is_heavy = || job.is_heavy(has_context, FRAME_BYTES);
                    ends || is_singly || worker.peer.needs_idle(early, is_heavy)
                };
                let waits = |id| contexts::waits(&self.workers, *index, id, now);
                worker.has_room(cost(item_cost, 1), now)
                    && (worker.frames.is_empty() || !alone())
                    && !(spreads && waits(id).is_some())
                    && before
                        .iter()
                        .all(|id| waits(*id) == Some(contexts::Waits::Answer))
            });
            let Some((index, _)) = roomy.min_by_key(|(_, worker)| worker.frames.len()) else {
                let waits = |index| contexts::waits(&self.workers, index, id, now);
                let mut all = 0..self.workers.len();
                if !spreads || !all.any(|index| waits(index) == Some(contexts::Waits::Answer)) {
                    return;
                }
                before.push(id);
                place += 1;
                continue;
            };
            self.queue.remove(place);
            job.queued = false;
            let worker = &self.workers[index];
            let most = worker.peer.most_items(&job.work.options, job.work.each);
            let most = most.min(worker.left(self.policy.replace_after));
            let most = most.min(size(job));
            let Some(piece) = job.cut(most, FRAME_BYTES) else {
                continue;
            };
            let (kind, place) = (Kind::of(job, item_cost), job.work.place.take());
            self.free_place(place);
            self.send_items(index, id, piece, kind, now);
            self.enqueue(id, false);
        }
    }

    /// Sends worker `index` items of the job `id`.
    pub(super) fn send_items(
        &mut self,
        index: usize,
        id: u64,
        piece: Piece,
        kind: Kind,
        now: Instant,
    ) {
        let worker = &self.workers[index];
        let ends = kind.has_ends || piece.has_ends();
        let mut frame = worker.next_frame(id, kind.code.function, piece.clone(), now);
        frame.cost = cost(kind.item_cost, piece.len());
        frame.each = kind.each;
        frame.hedged = kind.is_hedged && !ends;
        frame.alone = kind.is_alone;
        frame.memory = kind.memory;
        frame.ends = ends;
        frame.brief = !ends && worker.is_brief(frame.cost, now);
        frame.check_at = kind.timeout.map(|timeout| now + timeout);
        if self.policy.one_process.is_some() {
            // It is never sent again, and should not keep its attachments open.
            frame.piece = piece.without_bytes();
        }
        self.forget_ends(index, id);
        self.send_context(index, id, kind.spreads, now);
        self.send_frame(index, frame, kind.code, piece, now);
    }

    /// Puts a job with waiting items into the queue, if it is not there yet.
    pub(super) fn enqueue(&mut self, id: u64, first: bool) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        if job.has_lone_item() && !self.alone.contains(&id) {
            self.alone.push_back(id);
        }
        if job.items(1) == 0 || std::mem::replace(&mut job.queued, true) {
            return;
        }
        // After the jobs of the same priority, or before them. (The queue is sorted, including jobs
        // that have ended.)
        let own = job.work.options.priority;
        let place = match first {
            true => self.queue.partition_point(|(other, _)| *other > own),
            false => self.queue.partition_point(|(other, _)| *other >= own),
        };
        self.queue.insert(place, (own, id));
    }
}
