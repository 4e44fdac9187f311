//! When a worker is replaced: after its number of items, when it asks for that, when it holds too
//! much memory, or when the user says so.
//!
//! It is `Retiring` then: it gets no more items, what it has not begun goes elsewhere, and it is
//! dismissed as soon as none of its items is wanted. (How it asks: `worker::retire`.) Only one that
//! `ProcessPool::replace_worker` names is killed at once.
//!
//! Tests: `tests/process/retire.rs`, `tests/process/limits.rs`, `src/process/sched/simulated.rs`.

use super::state::Sched;
use super::verdict::{Evidence, Memory, verdict};
use super::workers::{Stage, Worker};
use super::{shutdown, take_back};
use crate::task::panic::Panic;
use crate::task::{TaskError, WorkerExit};

/// The process `pid`, if it is a worker, is killed, and so another takes its place.
pub(super) fn replace(sched: &mut Sched, pid: u32) {
    let is_it = |worker: &Worker| worker.pid == pid && !worker.stage.is_down();
    if let Some(index) = sched.workers.iter().position(is_it) {
        sched.kill_worker(index);
    }
}

/// A worker begins no more items, because one has `asked` for that, or because it holds too
/// much memory.
pub(super) fn worker_retires(sched: &mut Sched, index: usize, asked: bool) {
    match (asked, sched.workers[index].stage) {
        (false, _) => check_initialized(sched, index),
        (true, Stage::Preparing) => {
            let message = "an initializer has called `trefoil::process::retire`, so no worker \
                would be of use";
            let name = sched.worker_name(index);
            shutdown::break_down(sched, &Panic::remote(message.to_owned(), None, name).into());
        }
        (true, Stage::Ready) => sched.counters.stats.lock().retired += 1,
        (true, _) => {}
    }
    let state = &mut sched.workers[index].stage;
    if matches!(state, Stage::Preparing | Stage::Ready) {
        *state = Stage::Retiring;
    }
    take_back::take_all_back(sched, index);
}

/// A worker holds too much memory. If it has not begun an item yet, what its initializers keep
/// is too much, and no other worker would fare better.
fn check_initialized(sched: &mut Sched, index: usize) {
    let worker = &sched.workers[index];
    let is_new = match worker.stage {
        Stage::Preparing => true,
        Stage::Ready => {
            worker.served == 0 && worker.frames.front().is_none_or(|one| one.begun() == 0)
        }
        _ => false,
    };
    if is_new && !sched.policy.initializers.is_empty() {
        let evidence = Evidence {
            memory: Memory::InitializersKeep,
            ..Evidence::default()
        };
        let exit = verdict(WorkerExit::new(worker.pid), &evidence, || false);
        shutdown::break_down(sched, &TaskError::WorkerDied(Box::new(exit)));
    }
}
