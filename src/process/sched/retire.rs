//! Who is replaced: a worker that asks for that, that holds too much memory, or that the user
//! names.
//!
//! It is *outgoing* (`succession`). One that has asked is `Retiring` at once: it gets no more
//! items, what it has not begun goes elsewhere, and it is dismissed as soon as none of its items is
//! wanted. (How it asks: `worker::retire`. After how many items it is replaced: `Worker::has_had`.)
//! One that `ProcessPool::replace_worker` names is killed if it does not leave soon after its
//! successor is ready; at once, if it cannot have one.
//!
//! Tests: `tests/process/retire.rs`, `tests/process/limits.rs`, `src/process/sched/simulated.rs`.

use std::time::Instant;

use super::state::Sched;
use super::verdict::{Evidence, Memory, verdict};
use super::workers::{Stage, Worker};
use super::{shutdown, take_back};
use crate::process::job::slot_id::SlotId;
use crate::task::panic::Panic;
use crate::task::{TaskError, WorkerExit};

impl Sched {
    /// The process `pid`, if it is a worker, is to end: another takes its place.
    pub(crate) fn replace(&mut self, pid: u32, now: Instant) {
        self.now = now;
        let is_it = |worker: &Worker| worker.pid() == pid && !worker.stage().is_down();
        let Some(slot) = self.workers.find(is_it) else {
            return;
        };
        let worker = &mut self.workers[slot];
        let goes_on = self.policy.replace_first
            && self.policy.one_process.is_none()
            && self.stop.is_none()
            && worker.stage() == Stage::Ready;
        if goes_on {
            worker.must_leave();
        } else {
            self.kill_worker(slot);
        }
    }
}

/// A worker holds too much memory, and goes on.
pub(super) fn worker_is_heavy(sched: &mut Sched, slot: SlotId) {
    if !sched.policy.replace_first || sched.stop.is_some() {
        return worker_retires(sched, slot, false);
    }
    check_initialized(sched, slot);
    let worker = &mut sched.workers[slot];
    if worker.stage() == Stage::Ready {
        worker.make_outgoing();
    }
}

/// A worker begins no more items, because one has `asked` for that, or because it holds too
/// much memory.
pub(super) fn worker_retires(sched: &mut Sched, slot: SlotId, asked: bool) {
    match (asked, sched.workers[slot].stage()) {
        (false, _) => check_initialized(sched, slot),
        (true, Stage::Preparing) => {
            let message = "an initializer has called `trefoil::process::retire`, so no worker \
                would be of use";
            let name = sched.worker_name(slot);
            shutdown::break_down(sched, &Panic::remote(message.to_owned(), None, name).into());
        }
        (true, Stage::Ready) => sched.counters.stats.lock().retired += 1,
        (true, _) => {}
    }
    let worker = &mut sched.workers[slot];
    match worker.stage() {
        Stage::Preparing | Stage::Ready => worker.retires(),
        _ => worker.stays_retired(),
    }
    take_back::take_all_back(sched, slot);
}

/// A worker holds too much memory. If it has not run an item yet, what its initializers keep
/// is too much, and no other worker would fare better.
fn check_initialized(sched: &mut Sched, slot: SlotId) {
    let worker = &sched.workers[slot];
    let is_new = match worker.stage() {
        Stage::Preparing => true,
        Stage::Ready => {
            worker.served() == 0 && worker.frames.front().is_none_or(|one| one.done == 0)
        }
        _ => false,
    };
    if is_new && !sched.policy.initializers.is_empty() {
        let evidence = Evidence {
            memory: Memory::InitializersKeep,
            ..Evidence::default()
        };
        let exit = verdict(WorkerExit::new(worker.pid()), &evidence, || false);
        shutdown::break_down(sched, &TaskError::WorkerDied(Box::new(exit)));
    }
}
