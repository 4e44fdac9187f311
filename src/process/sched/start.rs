//! A new worker: from its process to its first frame.
//!
//! Tests: `src/process/sched/simulated.rs`,
//! `tests/process/host.rs::workers_that_cannot_be_replaced_fail_what_waits`.

use super::peer::Peer;
use super::state::Sched;
use super::workers::{INITIALIZE, Stage};
use super::{rules, send, succession, take_back};
use crate::process::value::chunk::Piece;

/// Worker `index` has a process, which has not said hello yet.
pub(super) fn started(sched: &mut Sched, index: usize, pid: u32, peer: Peer) {
    sched.counters.stats.lock().started += 1;
    let worker = &mut sched.workers[index];
    worker.stage = Stage::Starting(sched.now);
    (worker.pid, worker.peer) = (pid, peer);
}

/// Worker `index` has said hello, and runs the right build.
pub(super) fn hello(sched: &mut Sched, index: usize) {
    let worker = &mut sched.workers[index];
    if !matches!(worker.stage, Stage::Starting(_)) {
        return;
    }
    worker.front_since = sched.now;
    worker.stage = Stage::Preparing;
    prepare(sched, index);
}

/// A new worker runs the next initializer; after the last one it is ready.
pub(super) fn prepare(sched: &mut Sched, index: usize) {
    let worker = &mut sched.workers[index];
    let done = worker.served as usize;
    let next = sched.policy.initializers.get(done);
    let Some(initializer) = next.filter(|_| sched.broken.is_none()).cloned() else {
        worker.served = 0;
        worker.ready_at = sched.now;
        let took = sched.now.saturating_duration_since(worker.asked_at);
        sched.start_takes = took.max(sched.start_takes * 3 / 4);
        take_place(sched, index);
        // (It counts among those that serve already.)
        sched.workers[index].stage = if sched.broken.is_some() || rules::is_surplus(sched) {
            Stage::Retiring
        } else if succession::predecessor_runs(&sched.workers, index) {
            Stage::Waiting
        } else {
            Stage::Ready
        };
        return;
    };
    let piece = Piece::whole(initializer.chunk, 0);
    let mut frame = worker.next_frame(
        INITIALIZE,
        initializer.code.function,
        piece.clone(),
        sched.now,
    );
    frame.wanted = false; // of no job
    send::send_frame(sched, index, frame, initializer.code, piece, 0);
}

/// Worker `index` is ready: the one that it replaces leaves.
fn take_place(sched: &mut Sched, index: usize) {
    if sched.broken.is_none()
        && let Some(old) = succession::serving_predecessor(&sched.workers, index)
    {
        let worker = &mut sched.workers[old];
        worker.retires();
        worker.ends_by = worker.must_end.then(|| sched.now + sched.policy.grace);
        take_back::take_all_back(sched, old);
    }
}

/// Worker `index` waits no longer: it gets items.
pub(super) fn begin(sched: &mut Sched, index: usize) {
    let worker = &mut sched.workers[index];
    worker.stage = Stage::Ready;
    (worker.ready_at, worker.front_since) = (sched.now, sched.now);
}
