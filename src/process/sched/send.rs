//! How a frame is sent: the one place where frames of items leave the scheduler.
//!
//! Tests: `src/process/sched/simulated.rs`, `tests/process/chaos.rs`.

use super::sent_frame::FrameFacts;
use super::state::Sched;
use super::{Action, rules};
use crate::chaos;
use crate::events;
use crate::process::job::job_id::INITIALIZE;
use crate::process::job::slot_id::SlotId;
use crate::process::value::chunk::Piece;
use crate::process::wire::{BatchHead, Frame};

/// Sends a frame with the items of `piece`. (Those of the facts may lack their bytes.)
pub(super) fn send_frame(sched: &mut Sched, slot: SlotId, facts: FrameFacts, piece: Piece) {
    let id = facts.job;
    let worker = &mut sched.workers[slot];
    let batch = BatchHead {
        sequence: worker.frames.next_sequence(),
        code: facts.code,
        count: piece.len() as u64,
        limit: facts.limit,
        brief: facts.brief,
        ends: piece.has_ends(),
        context: rules::context_of(worker, id),
    };
    let job = chaos::ENABLED.then(|| sched.jobs.get(id)).flatten();
    let plan = job.and_then(|job| {
        let items = (piece.first(), piece.len());
        let starts = |at| u64::from(job.starts(at));
        (sched.chaos).plan(job.chaos, batch.sequence, items, starts)
    });
    (worker.frames).push(facts, worker.control.gates.clone(), sched.now);
    let pool = sched.counters.pool;
    events::sent(
        pool,
        worker.pid(),
        batch.sequence,
        id.number(),
        piece.len(),
        piece.first(),
    );
    if id != INITIALIZE {
        worker.has_had(&sched.policy);
    }
    if let Some(plan) = plan {
        sched.send_message(slot, &Frame::Chaos(plan));
    }
    let (lent, items) = (piece.lent(), &[][..]);
    let head = Frame::Batch { batch, lent, items }.head(piece.span().len());
    sched.actions.push(Action::Send(slot, head, Some(piece)));
}
