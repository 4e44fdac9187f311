//! Which worker has which context (`map_with`), and until when.
//!
//! A worker gets a context before the first frame of its job, once. It forgets the context at the
//! end of the job; one with ends of channels earlier (`ends`).
//!
//! Tests: `src/process/sched/simulated.rs`.

use crate::process::job::job_id::JobId;
use crate::process::job::slot_id::SlotId;
use crate::process::sched::Action;
use crate::process::sched::state::Sched;
use crate::process::wire::Frame;

/// Sends worker `slot` the context of the job `id`, if there is one that the worker lacks.
pub(in crate::process::sched) fn send_context(sched: &mut Sched, slot: SlotId, id: JobId) {
    let context = sched.jobs.get(id).and_then(|job| job.work.context());
    let Some(context) = context.map(|context| context.piece.clone()) else {
        return;
    };
    let worker = &mut sched.workers[slot];
    let length = context.span().len();
    if worker.gets_context(id, length) {
        let head = Frame::Context {
            id: id.number(),
            bytes: &[],
        };
        let head = head.head(length);
        sched.actions.push(Action::Send(slot, head, Some(context)));
    }
}

/// The job `id` has ended: no worker need keep its context.
pub(in crate::process::sched) fn forget_context(sched: &mut Sched, id: JobId) {
    for slot in sched.workers.ids() {
        let worker = &mut sched.workers[slot];
        if worker.forgets_context(id) && worker.is_serving() {
            sched.send_message(slot, &Frame::Forget { id: id.number() });
        }
    }
}
