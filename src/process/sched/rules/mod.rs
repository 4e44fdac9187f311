//! What a call may ask for besides a worker. Each rule has a file, with what it knows and decides.
//!
//! The rest of the scheduler does not know which rules there are. It asks here, at these moments:
//!
//! | moment | hook | rules |
//! |---|---|---|
//! | time has passed | [`Sched::size_pool`], [`Sched::take_back_for_lone`] | elastic, alone |
//! | items might be sent | [`Sched::before_dispatch`] | alone, memory |
//! | an item might be sent, and where | [`Sched::before_send`], [`contexts::waits`] | memory, ends; contexts |
//! | a frame is sent | [`Marks::of`](state::Marks::of), [`Sched::on_send`] | all; ends, contexts |
//! | an item was decoded | [`Sched::on_taken`] | ends |
//! | a job has ended | [`Sched::on_job_end`] | contexts |

pub(super) mod alone;
pub(super) mod contexts;
pub(super) mod elastic;
pub(super) mod ends;
mod memory;
pub(super) mod state;

use std::time::Instant;

use super::Sched;
use crate::process::job::Job;
use crate::process::value::chunk::Piece;

/// Whether a job's next item may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Say {
    /// The job must wait.
    Hold,
    /// To an idle worker.
    OnlyIdle,
    Go,
}

impl Sched {
    /// Before anything is sent. Returns whether nothing else may be.
    pub(super) fn before_dispatch(&mut self, now: Instant) -> bool {
        let is_over = self.run_alone(now);
        if !is_over {
            self.requeue_for_memory();
        }
        is_over
    }

    /// Whether the next item of `job` may be sent.
    pub(super) fn before_send(&self, job: &Job) -> Say {
        if self.lacks_memory(job) {
            Say::Hold
        } else if job.work.options.is_singly() || job.has_ends(job.next_piece()) {
            Say::OnlyIdle
        } else {
            Say::Go
        }
    }

    /// Worker `index` is sent a frame of the job `id`, which has this `context`.
    pub(super) fn on_send(&mut self, index: usize, id: u64, context: Option<Piece>, now: Instant) {
        self.forget_ends(index, id);
        if let Some(context) = context {
            self.send_context(index, id, context, now);
        }
    }

    /// The job `id` has ended.
    pub(super) fn on_job_end(&mut self, id: u64, job: &Job) {
        if job.work.context().is_some() {
            self.forget_context(id);
        }
    }
}
