//! Who replaces whom: a planned successor is ready before its predecessor leaves.
//!
//! **Slots and numbers.** Each of the pool's workers has a number, which its process knows
//! (`worker_index`), and a slot. A worker that is to be replaced is *outgoing*: one more slot gets
//! its number, and a process like any other, with the same pauses after deaths. When that one is
//! ready, the outgoing worker gets no more items, and leaves (`start`). The next one gets items
//! once it runs none any more: so no more items run at a time than there are workers. A slot whose
//! process is gone is *spare*, until another replacement needs it, if another slot is to keep the
//! number. So each number has one slot that is neither spare nor outgoing, or none, and then an
//! outgoing one.
//!
//! An outgoing worker goes on taking items until its successor is ready, unless it must not: it has
//! had its number of items, an item has called `retire`, or it holds far too much memory. Then its
//! successor is started at once all the same. If it cannot be started, the outgoing worker stays.
//!
//! **When.** With a limit of items ([`Policy::replace_after`](super::Policy)) the successor is
//! asked for when what is left will take no longer than [`AHEAD`] starts, as fast as the worker has
//! had its items so far; or when an eighth is left. (Not before it has had [`SHOWS_PACE`] items, or
//! a quarter: until then its pace shows little.) The first workers, which begin together, have
//! shorter lives, by up to half, each by another amount (`WorkerSlots::first`): so they do not end
//! together.
//!
//! Without [`Policy::replace_first`](super::Policy) a worker leaves first. So does every one while
//! its pool ends.
//!
//! Tests: `src/process/sched/simulated/sim_succession.rs`, `tests/process/replaced.rs`.

use super::state::{Sched, WorkerSlots};
use super::workers::{Stage, Worker};
use crate::process::job::slot_id::SlotId;

/// How many starts before its end a worker's successor is asked for.
const AHEAD: u32 = 2;

/// After how many items a worker's pace shows something.
const SHOWS_PACE: u64 = 16;

/// Whether another slot than this has the number of its worker, and keeps it.
fn has_successor(workers: &WorkerSlots, slot: SlotId) -> bool {
    let number = workers[slot].number();
    let keeps =
        |worker: &Worker| worker.number() == number && !worker.is_spare() && !worker.is_outgoing();
    let mut others = workers.numbered();
    others.any(|(other, worker)| other != slot && keeps(worker))
}

/// The worker in this stage whose place the slot takes.
fn predecessor(workers: &WorkerSlots, slot: SlotId, stage: Stage) -> Option<SlotId> {
    let own = &workers[slot];
    if own.is_outgoing() {
        return None;
    }
    workers.find(|other| {
        other.is_outgoing() && other.number() == own.number() && other.stage() == stage
    })
}

/// The worker that takes items until the one in `slot` is ready.
pub(super) fn serving_predecessor(workers: &WorkerSlots, slot: SlotId) -> Option<SlotId> {
    predecessor(workers, slot, Stage::Ready)
}

/// The worker that takes no more items, and in whose place the one in `slot` comes.
pub(super) fn retiring_predecessor(workers: &WorkerSlots, slot: SlotId) -> Option<SlotId> {
    predecessor(workers, slot, Stage::Retiring)
}

/// Whether the worker that the one in `slot` replaces still runs an item.
pub(super) fn predecessor_runs(workers: &WorkerSlots, slot: SlotId) -> bool {
    retiring_predecessor(workers, slot).is_some_and(|old| !workers[old].is_leaver())
}

/// Whether the worker at `slot` is to be replaced, and no slot has been found for the next one.
pub(super) fn wants_successor(sched: &Sched, slot: SlotId) -> bool {
    let (policy, worker) = (&sched.policy, &sched.workers[slot]);
    let is_possible = policy.replace_first
        && policy.one_process.is_none()
        && sched.stop.is_none()
        && sched.broken.is_none();
    let is_due = || match worker.stage() {
        Stage::Ready => worker.is_outgoing() || nears_its_end(sched, worker),
        Stage::Retiring => worker.is_outgoing(),
        _ => false,
    };
    is_possible && is_due() && !has_successor(&sched.workers, slot)
}

/// Whether a worker will soon have had its number of items.
fn nears_its_end(sched: &Sched, worker: &Worker) -> bool {
    let Some(most) = sched.policy.replace_after else {
        return false;
    };
    let life = worker.life(most);
    let left = worker.left(&sched.policy) as u64;
    let had = life.saturating_sub(left);
    if had == 0 || had < SHOWS_PACE.min(life / 4) {
        return false;
    }
    let lives = sched.now.saturating_duration_since(worker.ready_at());
    let lasts = lives.as_secs_f64() / had as f64 * left as f64;
    left <= life / 8 || lasts <= (AHEAD * sched.start_takes).as_secs_f64()
}

/// A slot is to have the worker that replaces the one in `slot`.
pub(super) fn succeed(sched: &mut Sched, slot: SlotId) {
    let worker = &mut sched.workers[slot];
    worker.make_outgoing();
    let next = Worker::new(worker.number(), sched.now);
    match sched.workers.find(Worker::is_spare) {
        Some(spare) => sched.workers.replace(spare, next),
        None => sched.workers.add(next),
    }
}

/// The worker in `slot` is gone: its slot is not needed if another is to keep its number.
pub(super) fn has_died(sched: &mut Sched, slot: SlotId) {
    if has_successor(&sched.workers, slot) {
        sched.workers.replace(slot, Worker::spare(sched.now));
    }
}

/// How many workers there are in the end, each counted once.
pub(super) fn width(workers: &WorkerSlots) -> usize {
    let there = workers.iter().filter(|worker| !worker.is_spare());
    there.map(|worker| worker.number() + 1).max().unwrap_or(0)
}
