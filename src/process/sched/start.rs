//! A new worker: from its process to its first frame.
//!
//! Tests: `src/process/sched/simulated.rs`,
//! `tests/process/host.rs::workers_that_cannot_be_replaced_fail_what_waits`.

use std::time::Instant;

use super::frame_control::FrameControl;
use super::sent_frame::FrameFacts;
use super::state::Sched;
use super::workers::Stage;
use super::{rules, send, succession, take_back};
use crate::process::job::job_id::INITIALIZE;
use crate::process::job::slot_id::SlotId;
use crate::process::value::chunk::Piece;

impl Sched {
    /// Worker `slot` has a process, which has not said hello yet.
    pub(crate) fn started(&mut self, slot: SlotId, pid: u32, control: FrameControl, now: Instant) {
        self.now = now;
        self.counters.stats.lock().started += 1;
        let is_far = self.policy.starts_far;
        self.workers[slot].starts(pid, control, is_far, self.now);
    }
}

/// Worker `slot` has said hello, and runs the right build.
pub(super) fn hello(sched: &mut Sched, slot: SlotId) {
    if sched.workers[slot].says_hello(sched.now) {
        rules::send_surplus_away(sched); // its initializers may never end
        if sched.workers[slot].stage() == Stage::Preparing {
            prepare(sched, slot);
        }
    }
}

/// A new worker runs the next initializer; after the last one it is ready.
pub(super) fn prepare(sched: &mut Sched, slot: SlotId) {
    let done = sched.workers[slot].served() as usize;
    let next = sched.policy.initializers.get(done);
    let Some(initializer) = next.filter(|_| sched.broken.is_none()).cloned() else {
        return is_ready(sched, slot);
    };
    let piece = Piece::whole(initializer.chunk, 0);
    let facts = FrameFacts::new(INITIALIZE, initializer.code, piece.clone(), sched.now);
    send::send_frame(sched, slot, facts, piece);
}

/// Worker `slot` has run all initializers.
fn is_ready(sched: &mut Sched, slot: SlotId) {
    let took = sched.workers[slot].initialized(sched.now);
    sched.start_takes = took.max(sched.start_takes * 3 / 4);
    take_place(sched, slot);
    let must_wait = succession::predecessor_runs(&sched.workers, slot);
    let worker = &mut sched.workers[slot];
    if sched.broken.is_some() {
        return worker.gets_no_more();
    }
    worker.is_ready(must_wait);
    rules::send_surplus_away(sched);
}

/// Worker `slot` is ready: the one that it replaces leaves.
fn take_place(sched: &mut Sched, slot: SlotId) {
    if sched.broken.is_none()
        && let Some(old) = succession::serving_predecessor(&sched.workers, slot)
    {
        sched.workers[old].succeeded(sched.policy.grace, sched.now);
        take_back::take_all_back(sched, old);
    } else if let Some(old) = succession::retiring_predecessor(&sched.workers, slot) {
        sched.workers[old].stays_retired();
    }
}

/// Worker `slot` waits no longer: it gets items.
pub(super) fn begin(sched: &mut Sched, slot: SlotId) {
    sched.workers[slot].begins(sched.now);
}
