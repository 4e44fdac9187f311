//! Which worker has which context (`map_with`), where it gets it from, and until when.
//!
//! It is forgotten at the end of its job; one with ends of channels earlier (`ends`).
//!
//! A worker gets a context before the first frame of its job. A small context, and one with
//! attachments, is sent to each worker. A larger one may take long to reach another machine, and is
//! the same for all workers there. So it is sent to one of them, from which the others fetch it
//! (`worker::context`):
//!
//! 1. The first worker of a machine that is to run items gets the bytes, and is asked to serve them
//!    to others.
//! 2. Until it has answered, no other worker there gets items of that job. They may work for other
//!    jobs.
//! 3. Then idle workers there are asked to fetch the context, as long as there are items for them.
//!    Busy ones get no items of later jobs, so that they become idle soon. A worker that has
//!    fetched the context gets items and serves it to others, so the first may leave.
//! 4. A worker that could not serve the context, or could not fetch it although the serving worker
//!    lives, takes no part in this: it is sent the bytes.
//!
//! A worker that has neither answered nor received anything for ten seconds must have been stopped.
//! The others do not wait for it.
//!
//! Tests: `crates/trefoil-machines/tests/ssh/`, `src/process/sched/simulated.rs`.

use std::time::Instant;

use crate::process::job::Job;
use crate::process::sched::sent_frame::travels;
use crate::process::sched::workers::{Has, Worker};
use crate::process::sched::{Action, Sched};
use crate::process::value::chunk::Piece;
use crate::process::wire::{Frame, ServedContext};

/// A context of at most this size takes no longer to send than to ask for.
const SMALL: usize = 16 << 10;

/// The other workers on the machine of worker `index` that have the context `id`, and how.
fn others_with(workers: &[Worker], index: usize, id: u64) -> impl Iterator<Item = (&Worker, Has)> {
    let machine = workers[index].machine.as_ref();
    let is_there = move |other: &&Worker| {
        machine.is_some() && other.machine.as_ref() == machine && other.is_serving()
    };
    let others = workers.iter().filter(is_there);
    others.filter_map(move |other| Some((other, *other.contexts.get(&id)?)))
}

/// What a worker waits for before it gets items that need a context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waits {
    /// Its own answer or another worker's. It may work for other jobs meanwhile.
    Answer,
    /// It must become idle, so that it can answer at once: it gets no items of later jobs.
    Idle,
}

/// What worker `index` waits for before it can have the context `id`.
pub(crate) fn waits(workers: &[Worker], index: usize, id: u64, now: Instant) -> Option<Waits> {
    let worker = &workers[index];
    if let Some(has) = worker.contexts.get(&id) {
        return matches!(has, Has::Fetches(..)).then_some(Waits::Answer);
    }
    worker.machine.as_ref()?;
    let (mut is_served, mut comes) = (false, false);
    for (other, has) in others_with(workers, index, id) {
        is_served |= matches!(has, Has::Serves(_));
        comes |= has.late_at(other).is_some_and(|at| now < at);
    }
    if !worker.frames.is_empty() && (is_served || !comes) {
        return Some(Waits::Idle);
    }
    (is_served || comes).then_some(Waits::Answer)
}

/// Whether some worker has been asked about the context `id`, and has not answered.
pub(crate) fn is_asked_for(workers: &[Worker], id: u64) -> bool {
    let mut all = workers.iter().filter_map(|worker| worker.contexts.get(&id));
    all.any(|has| matches!(has, Has::Asked(_) | Has::Fetches(..)))
}

/// Whether workers fetch the context of this job from one another.
pub(crate) fn spreads(job: &Job) -> bool {
    let context = job.work.context();
    context.is_some_and(|context| context.piece.is_bulky(SMALL))
}

/// Asks idle workers to fetch the context `id` if another worker on their machine serves it: no
/// more than there are `items` for. Those that will have it soon, or have it and are idle, count as
/// asked.
pub(crate) fn fetch(
    workers: &mut [Worker],
    actions: &mut Vec<Action>,
    (id, items): (u64, usize),
    now: Instant,
) {
    let takes = |worker: &&Worker| match worker.contexts.get(&id) {
        Some(has @ Has::Fetches(..)) => has.late_at(worker).is_some_and(|at| now < at),
        has => has.is_some() && worker.is_idle(),
    };
    let mut asked = workers.iter().filter(takes).count();
    for index in 0..workers.len() {
        if !workers[index].is_idle() || workers[index].contexts.contains_key(&id) {
            continue;
        }
        let served = others_with(workers, index, id).find_map(|(_, has)| match has {
            Has::Serves(served) => Some(served),
            _ => None,
        });
        if let Some(served) = served.filter(|_| asked < items) {
            asked += 1;
            workers[index]
                .contexts
                .insert(id, Has::Fetches(now, served));
            let from = Some(served);
            let head = Frame::Share { id, from }.head(0);
            actions.push(Action::Send(index, head, None));
        }
    }
}

impl Sched {
    /// Sends worker `index` the context of the job `id`, unless the worker has it.
    pub(super) fn send_context(&mut self, index: usize, id: u64, context: Piece, now: Instant) {
        if self.workers[index].contexts.contains_key(&id) {
            return;
        }
        let (length, spreads) = (context.span().len(), context.is_bulky(SMALL));
        let head = Frame::Context { id, bytes: &[] }.head(length);
        self.workers[index].context_travels += travels(length);
        let send = Action::Send(index, head, Some(context));
        self.actions.push(send);
        let mut has = Has::Bytes;
        if spreads && self.workers[index].machine.is_some() {
            has = Has::Asked(now);
            self.send_message(index, &Frame::Share { id, from: None });
        }
        self.workers[index].contexts.insert(id, has);
    }

    /// Worker `index` serves the context `id` to others; `None`: it cannot, or could not fetch it.
    pub(crate) fn serves(&mut self, index: usize, id: u64, served: Option<ServedContext>) {
        let Some(&has) = self.workers[index].contexts.get(&id) else {
            return; // the job has ended
        };
        let serves = |from, has| matches!(has, Has::Serves(other) if other == from);
        let is_gone = match has {
            Has::Fetches(_, from) => {
                !others_with(&self.workers, index, id).any(|one| serves(from, one.1))
            }
            _ => false,
        };
        let worker = &mut self.workers[index];
        match (served, has) {
            (Some(served), _) => worker.contexts.insert(id, Has::Serves(served)),
            (None, Has::Fetches(..)) => worker.contexts.remove(&id),
            (None, _) => worker.contexts.insert(id, Has::Bytes),
        };
        worker.machine.take_if(|_| served.is_none() && !is_gone);
    }

    /// The job `id` has ended: no worker need keep its context.
    pub(super) fn forget_context(&mut self, id: u64) {
        for index in 0..self.workers.len() {
            let worker = &mut self.workers[index];
            if worker.contexts.remove(&id).is_some() && worker.is_serving() {
                self.send_message(index, &Frame::Forget { id });
            }
        }
    }
}
