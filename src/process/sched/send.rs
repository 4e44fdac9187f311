//! How a frame is sent: the one place where frames of items leave the scheduler.
//!
//! Tests: `src/process/sched/simulated.rs`, `tests/process/chaos.rs`.

use super::sent_frame::SentFrame;
use super::state::Sched;
use super::workers::INITIALIZE;
use super::{Action, rules};
use crate::chaos;
use crate::events;
use crate::process::value::chunk::Piece;
use crate::process::wire::{BatchHead, CodeRef, Frame};

/// Sends `frame` with the items of `piece`. Each has a `limit` in nanoseconds; 0: none.
/// (`frame.piece` may lack their bytes.)
pub(super) fn send_frame(
    sched: &mut Sched,
    index: usize,
    frame: SentFrame,
    code: CodeRef,
    piece: Piece,
    limit: u64,
) {
    let id = frame.job;
    let worker = &mut sched.workers[index];
    let batch = BatchHead {
        sequence: frame.sequence,
        code,
        count: piece.len() as u64,
        limit,
        brief: frame.brief,
        ends: piece.has_ends(),
        context: rules::context_of(worker, id),
    };
    let job = chaos::ENABLED.then(|| sched.jobs.get(id)).flatten();
    let plan = job.and_then(|job| {
        let items = (piece.first(), piece.len());
        let starts = |at| u64::from(job.starts(at));
        (sched.chaos).plan(job.chaos, batch.sequence, items, starts)
    });
    worker.push_frame(frame, sched.now);
    let pool = sched.counters.pool;
    events::sent(
        pool,
        worker.pid,
        batch.sequence,
        id,
        piece.len(),
        piece.first(),
    );
    if id != INITIALIZE {
        worker.has_had(&sched.policy);
    }
    if let Some(plan) = plan {
        sched.send_message(index, &Frame::Chaos(plan));
    }
    let (lent, items) = (piece.lent(), &[][..]);
    let head = Frame::Batch { batch, lent, items }.head(piece.span().len());
    sched.actions.push(Action::Send(index, head, Some(piece)));
}
