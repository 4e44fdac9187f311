//! Which worker has which context (`map_with`), and until when.
//!
//! A worker gets a context before the first frame of its job, once. It forgets the context at the
//! end of the job; one with ends of channels earlier (`ends`).
//!
//! Tests: `src/process/sched/simulated.rs`.

use crate::process::sched::Action;
use crate::process::sched::sent_frame::travels;
use crate::process::sched::state::Sched;
use crate::process::sched::workers::Worker;
use crate::process::wire::Frame;

/// Whether a worker has the context of the job `id`, or will have it.
pub(in crate::process::sched) fn has(worker: &Worker, id: u64) -> bool {
    worker.contexts.contains(&id)
}

/// Sends worker `index` the context of the job `id`, if there is one that the worker lacks.
pub(in crate::process::sched) fn send_context(sched: &mut Sched, index: usize, id: u64) {
    let context = sched.jobs.get(id).and_then(|job| job.work.context());
    let Some(context) = context.map(|context| context.piece.clone()) else {
        return;
    };
    let worker = &mut sched.workers[index];
    if worker.contexts.insert(id) {
        let length = context.span().len();
        worker.context_travels += travels(length);
        let head = Frame::Context { id, bytes: &[] }.head(length);
        sched.actions.push(Action::Send(index, head, Some(context)));
    }
}

/// The job `id` has ended: no worker need keep its context.
pub(in crate::process::sched) fn forget_context(sched: &mut Sched, id: u64) {
    for index in 0..sched.workers.len() {
        let worker = &mut sched.workers[index];
        if worker.contexts.remove(&id) && worker.is_serving() {
            sched.send_message(index, &Frame::Forget { id });
        }
    }
}
