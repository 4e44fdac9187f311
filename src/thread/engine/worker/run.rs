//! How a worker runs what it has found.
//!
//! Tests: `tests/thread/pool.rs::{a_panic_in_a_task_is_a_value_and_names_its_worker,
//! panics_in_destructors_do_not_kill_a_worker}`.

use super::Worker;
use crate::events;
use crate::sys::ticks;
use crate::task::TaskError;
use crate::thread::engine::lent::raw_job::JobRef;
use crate::thread::engine::queue::{Mode, Work};

impl Worker {
    pub(in crate::thread) fn run(&self, work: Work) {
        // The splitter knows nothing about this work yet.
        self.splitter.reset();
        self.turn.restart();
        if !matches!(work, Work::Scoped(_) | Work::Ticket(_)) {
            self.ended.count_off();
        }
        match work {
            Work::Task(task) => {
                if self.registry.injector.mode() == Mode::Cancelling {
                    task.discard(TaskError::Cancelled);
                } else {
                    task.run();
                }
            }
            Work::Item(task) => _ = task.run(),
            Work::Job(job) => {
                let began = ticks::now();
                self.run_half(job);
                return self.stolen_halves.ran_half(ticks::since(began));
            }
            Work::Scoped(lent) => self.run_scoped(lent),
            Work::Ticket(ticket) => match ticket.take_oldest() {
                Some(lent) => self.run_scoped(lent),
                None => return, // the thread that waits for the scope has been quicker
            },
            Work::Share(share) => {
                let _noted = events::part("broadcast");
                share.run(&self.ended);
            }
        }
        self.stolen_halves.ran(false);
    }

    /// Runs the half of another worker's join in the middle of a wait.
    pub(in crate::thread) fn run_job(&self, job: JobRef) {
        self.splitter.reset();
        self.run_half(job);
        self.ended.count_off();
    }

    fn run_half(&self, job: JobRef) {
        let _noted = events::part("part of a join or map");
        job.run(self.owned.slot.number);
    }
}
