//! Which items wait because of the memory that they declare (`ProcessCall::expected_memory`,
//! `ProcessPoolBuilder::memory_budget`).
//!
//! An item of a call that declares its memory goes alone, to an idle worker. It counts from when it
//! is sent until its worker has ended it or is gone, wanted or not. A job whose next item does not
//! fit leaves the queue until the next dispatch, and so does every job behind it that declares
//! memory, so that small items do not pass a large one for ever; those that declare none go on. An
//! item that fits into no budget runs while no other runs that has declared memory, so what waits
//! here always waits for an item that runs.
//!
//! Tests: `src/process/sched/simulated.rs`, `tests/process/budget.rs`.

use crate::process::job::Job;
use crate::process::sched::Sched;
use crate::process::sched::workers::Worker;

/// Whether an item that needs so much `memory` may begin now.
pub(super) fn fits(workers: &[Worker], budget: Option<u64>, memory: u64) -> bool {
    let Some(budget) = budget.filter(|_| memory > 0) else {
        return true;
    };
    let mut used = 0u64;
    for worker in workers {
        for frame in &worker.frames {
            used = used.saturating_add(if frame.end > 0 { frame.marks.memory } else { 0 });
        }
    }
    used == 0 || used.saturating_add(memory) <= budget
}

impl Sched {
    /// Whether the next item of `job` has to wait for memory: its own does not fit, or another job
    /// waits.
    pub(super) fn lacks_memory(&self, job: &Job) -> bool {
        let memory = job.work.options.memory;
        let is_full = || !self.rules.wait_for_memory.is_empty();
        memory > 0 && (is_full() || !fits(&self.workers, self.policy.memory_budget, memory))
    }

    /// Puts the jobs that wait for memory back into the queue, in their order.
    pub(super) fn requeue_for_memory(&mut self) {
        for id in std::mem::take(&mut self.rules.wait_for_memory)
            .into_iter()
            .rev()
        {
            if let Some(job) = self.jobs.get_mut(&id) {
                job.queued = false;
            }
            self.enqueue(id, true);
        }
    }
}
