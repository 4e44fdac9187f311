//! Which worker has which context (`map_with`), and where it gets it from.
//!
//! A context goes to a worker before the first frame of its job does. Small ones, and those with
//! attachments, are sent to each worker. Of a larger one the way to another machine may take long,
//! and is the same for all workers there. So it is sent to one of them, which lets the others have
//! it (`worker::context`):
//!
//! 1. The first worker of a machine that is to run items gets the bytes, and is asked to show them.
//! 2. Until it has answered, no other worker there gets items of that job. It may work for others.
//! 3. Then those that are idle are asked to fetch it, as long as there are items for them; others
//!    get no items of later jobs, so that they soon are. One that has done so gets items, and shows
//!    the context, too: so the first may go.
//! 4. A worker that could not show it, or not fetch it from one that lives, takes no part in this:
//!    bytes are sent to it.
//!
//! A worker that has not answered, nor received anything, for ten seconds must have been
//! stopped, and is not waited for.
//!
//! Tests: `tests/machines/`, `sim`.

use std::time::Instant;

use super::workers::{Has, Worker};
use super::{Action, Sched};
use crate::process::job::Job;
use crate::process::wire::{Frame, Shown};

/// A context of so many bytes or less takes no longer to send than to ask for.
const SMALL: usize = 16 << 10;

/// What the others on the machine of worker `index` have of the context `id`.
fn beside(workers: &[Worker], index: usize, id: u64) -> impl Iterator<Item = (&Worker, Has)> {
    let machine = workers[index].machine.as_ref();
    let is_there = move |other: &&Worker| {
        machine.is_some() && other.machine.as_ref() == machine && other.is_serving()
    };
    let others = workers.iter().filter(is_there);
    others.filter_map(move |other| Some((other, *other.contexts.get(&id)?)))
}

/// What a worker waits for before it gets items that need a context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    /// An answer, its own or another's. It may work for other jobs meanwhile.
    Answer,
    /// That it is idle, so that it answers at once: it gets no items of later jobs.
    Idle,
}

/// What worker `index` waits for, if it is to have the context `id`.
pub(super) fn waits(workers: &[Worker], index: usize, id: u64, now: Instant) -> Option<Waits> {
    let worker = &workers[index];
    if let Some(has) = worker.contexts.get(&id) {
        return matches!(has, Has::Fetches(..)).then_some(Waits::Answer);
    }
    worker.machine.as_ref()?;
    let (mut is_shown, mut comes) = (false, false);
    for (other, has) in beside(workers, index, id) {
        is_shown |= matches!(has, Has::Shows(_));
        comes |= has.late_at(other).is_some_and(|at| now < at);
    }
    match worker.frames.is_empty() {
        false if is_shown || !comes => Some(Waits::Idle),
        _ => (is_shown || comes).then_some(Waits::Answer),
    }
}

/// Whether some worker has been asked about the context `id`, and has not answered.
pub(super) fn is_asked_for(workers: &[Worker], id: u64) -> bool {
    let mut all = workers.iter().filter_map(|worker| worker.contexts.get(&id));
    all.any(|has| matches!(has, Has::Asked(_) | Has::Fetches(..)))
}

/// Whether workers fetch the context of this job from one another.
pub(super) fn spreads(job: &Job) -> bool {
    let context = job.work.context.as_ref();
    context.is_some_and(|context| context.piece.is_bulky(SMALL))
}

/// Asks idle workers to fetch the context `id` if another on their machine shows it: not more than
/// there are `items` for, beside those that will have it soon, or have it and are idle.
pub(super) fn fetch(
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
        let shown = beside(workers, index, id).find_map(|(_, has)| match has {
            Has::Shows(shown) => Some(shown),
            _ => None,
        });
        if let Some(shown) = shown.filter(|_| asked < items) {
            asked += 1;
            workers[index].contexts.insert(id, Has::Fetches(now, shown));
            let from = Some(shown);
            let head = Frame::Share { id, from }.head(0);
            actions.push(Action::Send(index, head, None));
        }
    }
}

impl Sched {
    /// Sends worker `index` the context of the job `id`, if there is one and it has not got it.
    pub(super) fn send_context(&mut self, index: usize, id: u64, spreads: bool, now: Instant) {
        let context = self.jobs.get(&id).and_then(|job| job.work.context.as_ref());
        let Some(context) = context.filter(|_| !self.workers[index].contexts.contains_key(&id))
        else {
            return;
        };
        let head = Frame::Context { id, bytes: &[] }.head(context.piece.span().len());
        let send = Action::Send(index, head, Some(context.piece.clone()));
        self.actions.push(send);
        let mut has = Has::Bytes;
        if spreads && self.workers[index].machine.is_some() {
            has = Has::Asked(now);
            self.say(index, &Frame::Share { id, from: None });
        }
        self.workers[index].contexts.insert(id, has);
    }

    /// Worker `index` shows the context `id`; `None`: it cannot, or has not got it.
    pub(super) fn shows(&mut self, index: usize, id: u64, shown: Option<Shown>) {
        let Some(&has) = self.workers[index].contexts.get(&id) else {
            return; // the job has ended
        };
        let shows = |from, has| matches!(has, Has::Shows(other) if other == from);
        let is_gone = match has {
            Has::Fetches(_, from) => {
                !beside(&self.workers, index, id).any(|one| shows(from, one.1))
            }
            _ => false,
        };
        let worker = &mut self.workers[index];
        match (shown, has) {
            (Some(shown), _) => worker.contexts.insert(id, Has::Shows(shown)),
            (None, Has::Fetches(..)) => worker.contexts.remove(&id),
            (None, _) => worker.contexts.insert(id, Has::Bytes),
        };
        worker.machine.take_if(|_| shown.is_none() && !is_gone);
    }

    /// Makes a worker that will run an item of `job` forget the contexts of other jobs that have
    /// ends.
    pub(super) fn forget_ends(&mut self, index: usize, job: u64) {
        let foreign = |id: &u64| {
            let context = self.jobs.get(id).and_then(|job| job.work.context.as_ref());
            *id != job && context.is_some_and(|context| context.piece.has_ends())
        };
        let contexts = &mut self.workers[index].contexts;
        for (id, _) in contexts.extract_if(|id, _| foreign(id)).collect::<Vec<_>>() {
            self.say(index, &Frame::Forget { id });
        }
    }

    pub(super) fn forget_context(&mut self, id: u64) {
        for index in 0..self.workers.len() {
            let worker = &mut self.workers[index];
            if worker.contexts.remove(&id).is_some() && worker.is_serving() {
                self.say(index, &Frame::Forget { id });
            }
        }
    }
}
