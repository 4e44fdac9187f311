//! Which worker gets the next items, and how many; in which order the calls of a pool begin.
//!
//! The job at the front sends a frame to the worker with room that has the fewest frames, and then
//! goes behind the other jobs of its priority. How many items a frame should have follows from how
//! long earlier items of the same function took ([`frame_size`]). Any number from 1 on is correct;
//! only speed depends on it. `Piece::cut` (`value/chunk.rs`) and [`Sched::send_next`] may lower it:
//! for bytes, descriptors, deadlines and workers that are to be replaced. When items are taken back
//! from a busy worker, `take_back` decides.
//!
//! A caller may dispatch in the driver's place, if nothing else has to be done (`parent::client`):
//! it does that under the engine's lock, and runs no user code.
//!
//! Tests: `src/process/sched/simulated.rs`, `tests/process/pool.rs`, `tests/process/callers.rs`.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use super::sent_frame::{SentFrame, UNKNOWN_COST};
use super::workers::{INITIALIZE, Worker};
use super::{Action, FOR_EVER, Feed, Sched};
use crate::chaos;
use crate::events;
use crate::process::job::Job;
use crate::process::job::reading::Chore;
use crate::process::limits::{FRAME_BYTES, FRAME_ITEMS, FRAME_TIME};
use crate::process::value::chunk::Piece;
use crate::process::wire::{BatchHead, CodeRef, Frame};
use crate::task::TaskError;

/// Of how many functions the costs are known: no program has as many.
const FUNCTIONS: usize = 10_000;

/// How many nanoseconds `items` items should take; [`UNKNOWN_COST`], if that is not known.
fn cost(item_cost: Option<f64>, items: usize) -> u64 {
    item_cost.map_or(UNKNOWN_COST, |item_cost| {
        ((item_cost * items as f64) as u64).min(UNKNOWN_COST)
    })
}

/// How many items the next frame of `job` should have, with this number of `workers`.
fn frame_size(item_cost: Option<f64>, job: &Job, workers: usize) -> usize {
    if let Some(chunk) = job.work.options.chunk {
        return chunk.clamp(1, FRAME_ITEMS);
    }
    let Some(item_cost) = item_cost else { return 1 };
    let item_cost = item_cost.max(1.0);
    let most = ((FRAME_TIME / item_cost) as usize).clamp(1, FRAME_ITEMS);
    if !job.sealed && !job.work.each {
        return most;
    }
    // The waiting items are all that will come, or (of an `imap`) all that will come before a
    // result is taken. So a frame has at most half of an equal share of them, and the workers end
    // at about the same time.
    let shares = 2 * workers.max(1);
    job.items(most * shares).div_ceil(shares)
}

impl Sched {
    /// A new job.
    pub(crate) fn submit(&mut self, id: u64, mut job: Box<Job>, now: Instant) {
        let options = &mut job.work.options;
        if options.timeout.is_some_and(|timeout| timeout > FOR_EVER) {
            options.timeout = Some(FOR_EVER);
        }
        let limit = options.until.map(|until| Reverse((until, id)));
        self.limits.extend(limit);
        self.jobs.insert(id, job);
        if let Some(error) = self.broken.clone() {
            self.fail(id, 0, error, now);
        }
    }

    /// More items of a job.
    pub(crate) fn feed(&mut self, feed: Feed, now: Instant) {
        let (id, base, chunk) = (feed.id, feed.base, feed.chunk);
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        let behind = base + chunk.len();
        if job.work.each && job.sealed {
            // The pool has ended in the meantime.
            (base..behind).for_each(|index| job.work.sink.error(index, TaskError::Closed));
            return;
        }
        job.sealed |= feed.sealed;
        if !chunk.is_empty() {
            self.counters.stats.lock().pending += chunk.len() as u64;
            job.feed(Piece::whole(chunk, base));
            if job.work.options.timeout == Some(Duration::ZERO) {
                self.limits.push(Reverse((now, id)));
            }
        }
        if let Some(error) = feed.failure {
            let error = job.error_of(behind, error);
            self.fail(id, behind, error, now);
        }
        self.enqueue(id, false);
        self.finish_if_settled(id);
    }

    /// Records that `items` items of a function took `nanos` nanoseconds.
    pub(super) fn learn_cost(&mut self, function: u64, items: u64, nanos: u64) {
        if items == 0 || nanos == 0 {
            return; // nothing, or not known
        }
        if self.item_costs.len() > FUNCTIONS {
            self.item_costs.clear();
        }
        let seen = nanos as f64 / items as f64;
        let item_cost = self.item_costs.entry(function).or_insert(seen);
        *item_cost = (*item_cost + seen) / 2.0;
    }

    /// How many nanoseconds one item of a function should take, if that is known.
    pub(super) fn item_cost(&self, function: u64) -> Option<f64> {
        self.item_costs.get(&function).copied()
    }

    /// Sends frames while there is work and room.
    pub(super) fn dispatch(&mut self, now: Instant) {
        while let Some(&(_, id)) = self.queue.front() {
            let Some(job) = self.jobs.get(&id) else {
                self.queue.pop_front();
                continue;
            };
            let item_cost = self.item_cost(job.work.code.function);
            let Some(index) = self.roomiest((id, job), item_cost, now) else {
                return;
            };
            self.queue.pop_front();
            self.send_next(index, id, item_cost, now);
        }
    }

    /// The worker with the fewest frames that has room for the next item of the job `id`.
    fn roomiest(
        &self,
        (id, job): (u64, &Job),
        item_cost: Option<f64>,
        now: Instant,
    ) -> Option<usize> {
        let only_idle = job.has_ends(job.next_piece());
        // An item of unknown cost is not queued behind another while a further worker is being
        // started: that one will be idle soon.
        let early = item_cost.is_none() && self.workers.iter().any(Worker::is_on_its_way);
        let (mut roomiest, mut least) = (None, usize::MAX);
        for (index, worker) in self.workers.iter().enumerate() {
            let needs_idle = || {
                let has_context = worker.contexts.contains(&id);
                let is_heavy = || job.is_heavy(has_context, FRAME_BYTES);
                only_idle || worker.peer.needs_idle(early, is_heavy)
            };
            if worker.frames.len() < least
                && worker.has_room(cost(item_cost, 1), now)
                && (worker.frames.is_empty() || !needs_idle())
            {
                (roomiest, least) = (Some(index), worker.frames.len());
            }
        }
        roomiest
    }

    /// Sends worker `index` the next items of the job `id`, which has left the queue.
    fn send_next(&mut self, index: usize, id: u64, item_cost: Option<f64>, now: Instant) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        job.queued = false;
        let worker = &self.workers[index];
        let serving = self.workers.iter().filter(|worker| worker.is_serving());
        let most = worker.left(self.policy.replace_after);
        let mut most = most.min(frame_size(item_cost, job, serving.count()));
        // Only one, if the worker may have to be killed because of an item, while others are
        // wanted, before it can report what it has not begun.
        let options = &job.work.options;
        let may_be_killed =
            options.timeout.is_some() && (job.work.each || options.retry_on_timeout);
        if may_be_killed && worker.peer.must_be_asked() {
            most = most.min(1);
        }
        let Some(piece) = job.cut(most, FRAME_BYTES) else {
            return;
        };
        job.frames += 1;
        let (worker, options) = (&self.workers[index], &job.work.options);
        let code = job.work.code;
        let mut frame = worker.next_frame(id, code.function, piece.clone(), now);
        frame.cost = cost(item_cost, piece.len());
        frame.each = job.work.each;
        frame.has_ends = job.has_ends(Some(&piece));
        frame.brief = !frame.has_ends && worker.is_brief(frame.cost, now);
        frame.watch.check_at = options.timeout.map(|timeout| now + timeout);
        if self.policy.one_process.is_some() {
            // It is never sent again, and should not keep its attachments open.
            frame.piece = piece.without_bytes();
        }
        // (With a limit the worker notes when an item starts.)
        let limit = match options.timeout {
            Some(timeout) => u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX),
            None if options.until.is_some() => u64::MAX,
            None => 0,
        };
        let context = job.work.context().map(|context| context.piece.clone());
        self.forget_ends(index, id);
        if let Some(context) = context {
            self.send_context(index, id, context);
        }
        self.send_frame(index, frame, code, piece, limit, now);
        self.enqueue(id, false);
    }

    /// Sends `frame` with the items of `piece`. Each has a `limit` in nanoseconds; 0: none.
    /// (`frame.piece` may lack their bytes.)
    pub(super) fn send_frame(
        &mut self,
        index: usize,
        frame: SentFrame,
        code: CodeRef,
        piece: Piece,
        limit: u64,
        now: Instant,
    ) {
        let id = frame.job;
        let worker = &mut self.workers[index];
        let batch = BatchHead {
            sequence: frame.sequence,
            code,
            count: piece.len() as u64,
            limit,
            brief: frame.brief,
            ends: piece.has_ends(),
            context: if worker.contexts.contains(&id) { id } else { 0 },
        };
        let job = chaos::ENABLED.then(|| self.jobs.get(&id)).flatten();
        let plan = job.and_then(|job| {
            let items = (piece.first(), piece.len());
            let starts = |at| u64::from(job.starts(at));
            (self.chaos).plan(job.chaos, batch.sequence, items, starts)
        });
        worker.push_frame(frame, now);
        let pool = self.counters.pool;
        events::sent(
            pool,
            worker.pid,
            batch.sequence,
            id,
            piece.len(),
            piece.first(),
        );
        if id != INITIALIZE {
            worker.retire_after(self.policy.replace_after);
        }
        if let Some(plan) = plan {
            self.send_message(index, &Frame::Chaos(plan));
        }
        let (lent, items) = (piece.lent(), &[][..]);
        let head = Frame::Batch { batch, lent, items }.head(piece.span().len());
        self.actions.push(Action::Send(index, head, Some(piece)));
    }

    /// Puts a job with waiting items into the queue, if it is not there yet.
    pub(super) fn enqueue(&mut self, id: u64, first: bool) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        if job.items(1) == 0 || std::mem::replace(&mut job.queued, true) {
            return;
        }
        // After the jobs of the same priority, or before them. (The queue is sorted, including jobs
        // that have ended.)
        let own = job.work.options.priority;
        let place = if first {
            self.queue.partition_point(|(other, _)| *other > own)
        } else {
            self.queue.partition_point(|(other, _)| *other >= own)
        };
        self.queue.insert(place, (own, id));
    }
}

/// What a caller needs that dispatches in the driver's place.
impl Sched {
    /// Whether nothing is due, so that work can be dispatched as usual.
    pub(crate) fn nothing_is_due(&self, now: Instant) -> bool {
        !self.is_ending() && self.deadline().is_none_or(|due| due > now)
    }

    /// Whether the pool ends or has broken down, which only the driver handles.
    fn is_ending(&self) -> bool {
        self.stop.is_some() || self.broken.is_some()
    }

    /// Whether there is something that only the driver may do, or that no caller will do: an idle
    /// worker while items wait in the queue or at another worker, a pool that ends, a process to be
    /// started or dismissed.
    pub(crate) fn needs_driver(&self, now: Instant) -> bool {
        let takes_over = || self.workers.iter().any(Worker::is_idle) && self.victim(now).is_some();
        self.needs_driver_thread() || !self.queue.is_empty() || takes_over()
    }

    /// Whether there is something that only the driver may do: a pool that ends, a process to be
    /// started or dismissed, also because work waits.
    pub(crate) fn needs_driver_thread(&self) -> bool {
        self.is_ending()
            || (self.policy.elastic.is_some() && self.has_waiting())
            || !self.actions.is_empty()
            || !self.chores.is_empty()
            || self.workers.iter().any(Worker::is_leaver)
    }

    /// Whether work waits, in the queue or behind other work.
    fn has_waiting(&self) -> bool {
        let is_busy = |worker: &Worker| worker.frames.len() > 1;
        !self.queue.is_empty() || self.workers.iter().any(is_busy)
    }

    /// Takes the chores of the job `id` that its caller may carry out.
    pub(crate) fn chores_of(&mut self, id: u64) -> Vec<Chore> {
        let own = |chore: &mut Chore| chore.caller() == Some(id);
        self.chores.extract_if(.., own).collect()
    }

    /// Dispatches work, and does nothing else of what `tick` does, so no task can end. False: one
    /// must end first, because its time is over.
    pub(crate) fn dispatch_work(&mut self, now: Instant) -> bool {
        if self.has_late_job(now) {
            return false;
        }
        self.dispatch(now);
        self.count_busy();
        true
    }

    /// The worker that has an item of the job `id` and nothing else.
    pub(crate) fn sole(&self, id: u64) -> Option<usize> {
        let only = |frame: &SentFrame| frame.job == id && frame.wanted;
        let mut workers = self.workers.iter();
        workers.position(|worker| worker.frames.len() == 1 && only(&worker.frames[0]))
    }

    /// Whether the only record that `worker` can still send is the end of its frame.
    pub(crate) fn only_ends(&self, worker: usize) -> bool {
        let frames = &self.workers[worker].frames;
        frames.len() == 1 && frames[0].done == frames[0].end
    }
}
