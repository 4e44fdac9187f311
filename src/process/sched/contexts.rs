//! Which worker has which context (`map_with`), and until when.
//!
//! A worker gets a context before the first frame of its job, once. It forgets the context at the
//! end of the job; one with ends of channels earlier (`ends`).
//!
//! Tests: `src/process/sched/simulated.rs`.

use super::sent_frame::travels;
use super::{Action, Sched};
use crate::process::value::chunk::Piece;
use crate::process::wire::Frame;

impl Sched {
    /// Sends worker `index` the context of the job `id`, unless the worker has it.
    pub(super) fn send_context(&mut self, index: usize, id: u64, context: Piece) {
        let worker = &mut self.workers[index];
        if worker.contexts.insert(id) {
            let length = context.span().len();
            worker.context_travels += travels(length);
            let head = Frame::Context { id, bytes: &[] }.head(length);
            self.actions.push(Action::Send(index, head, Some(context)));
        }
    }

    /// The job `id` has ended: no worker need keep its context.
    pub(super) fn forget_context(&mut self, id: u64) {
        for index in 0..self.workers.len() {
            let worker = &mut self.workers[index];
            if worker.contexts.remove(&id) && worker.is_serving() {
                self.send_message(index, &Frame::Forget { id });
            }
        }
    }
}
