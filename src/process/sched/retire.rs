//! When a worker is replaced: after its number of items, when it asks for that, when it holds too
//! much memory, or when the user says so.
//!
//! It is `Retiring` then: it gets no more items, what it has not begun goes elsewhere, and it is
//! dismissed as soon as none of its items is wanted. (How it asks: `worker::retire`.) Only one that
//! `ProcessPool::replace_worker` names is killed at once.
//!
//! Tests: `tests/process/retire.rs`, `tests/process/limits.rs`, `src/process/sched/simulated.rs`.

use std::time::Instant;

use super::Sched;
use super::verdict::{Evidence, Memory, verdict};
use super::workers::{Stage, Worker};
use crate::task::panic::Panic;
use crate::task::{TaskError, WorkerExit};

impl Sched {
    /// The process `pid`, if it is a worker, is killed, and so another takes its place.
    pub(crate) fn replace(&mut self, pid: u32, now: Instant) {
        let is_it = |worker: &Worker| worker.pid == pid && !worker.stage.is_down();
        if let Some(index) = self.workers.iter().position(is_it) {
            self.kill(index, now);
        }
    }

    /// A worker begins no more items, because one has `asked` for that, or because it holds too
    /// much memory.
    pub(super) fn worker_retires(&mut self, index: usize, asked: bool, now: Instant) {
        match (asked, self.workers[index].stage) {
            (false, _) => self.check_initialized(index, now),
            (true, Stage::Preparing) => {
                let message = "an initializer has called `trefoil::process::retire`, so no worker \
                    would be of use";
                let name = self.worker_name(index);
                self.break_down(&Panic::remote(message.to_owned(), None, name).into(), now);
            }
            (true, Stage::Ready) => self.counters.stats.lock().retired += 1,
            (true, _) => {}
        }
        let state = &mut self.workers[index].stage;
        if matches!(state, Stage::Preparing | Stage::Ready) {
            *state = Stage::Retiring;
        }
        self.take_all_back(index, now);
    }

    /// A worker holds too much memory. If it has not begun an item yet, what its initializers keep
    /// is too much, and no other worker would fare better.
    fn check_initialized(&mut self, index: usize, now: Instant) {
        let worker = &self.workers[index];
        let is_new = match worker.stage {
            Stage::Preparing => true,
            Stage::Ready => {
                worker.served == 0 && worker.frames.front().is_none_or(|one| one.begun() == 0)
            }
            _ => false,
        };
        if is_new && !self.policy.initializers.is_empty() {
            let evidence = Evidence {
                memory: Memory::InitializersKeep,
                ..Evidence::default()
            };
            let exit = verdict(WorkerExit::new(worker.pid), &evidence, || false);
            self.break_down(&TaskError::WorkerDied(Box::new(exit)), now);
        }
    }

    /// Dismisses a worker that must be replaced, as soon as none of its items is wanted.
    pub(super) fn dismiss_retired(&mut self, index: usize, now: Instant) {
        let worker = &mut self.workers[index];
        if worker.is_leaver() {
            worker.fruitful = true; // it has run its number of items
            self.dismiss_worker(index, now);
        }
    }
}

impl Worker {
    /// How many more items it may have, if `most` is all that it may ever have.
    pub(crate) fn left(&self, most: Option<u64>) -> usize {
        let Some(most) = most else { return usize::MAX };
        let out: u64 = self.frames.iter().map(|frame| u64::from(frame.end)).sum();
        most.saturating_sub(self.served + out) as usize
    }

    /// It gets no more items once it has all of the `most` that it may ever have.
    pub(super) fn retire_after(&mut self, most: Option<u64>) {
        if self.left(most) == 0 {
            self.stage = Stage::Retiring;
        }
    }

    /// Whether it gets no more items, and is idle.
    pub(crate) fn is_leaver(&self) -> bool {
        self.stage == Stage::Retiring && self.is_through()
    }
}
