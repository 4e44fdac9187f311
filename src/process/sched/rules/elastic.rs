//! When a pool whose size follows the work starts another worker, and when a worker leaves.
//!
//! **Growth.** For each item that waits, in the queue or behind another, there may be one worker,
//! including those that are idle or being started. If it is known how long items take, there are
//! only so many workers that each has as much work as starting another takes: [`ONE_MORE_WORKER`],
//! or, if they are children of this process, what the last ones have taken with their initializers,
//! and [`ONE_MORE_WORKER_HERE`] at least. Workers are alike, so the first empty slots are filled.
//! Independent of that, another worker is started when none of the existing ones has made progress
//! for so long. There are never more than the maximum.
//!
//! **Shrinking.** A worker that has been idle for a while leaves, unless fewer than the minimum
//! would take items.
//!
//! A pool has bounds if its user has given them (`api/worker_range.rs`), or its launcher
//! (`Capabilities::elastic`, `launch/mod.rs`); launchers for clusters have their defaults in
//! `crates/trefoil-machines/`. If they are [set](Sched::set_workers) later, those above the maximum end
//! what they have begun, and leave; first of all who takes no items yet, because otherwise nobody
//! might, for as long as an initializer takes.
//!
//! Tests: `src/process/sched/simulated/sim_width.rs`; `tests/process/width.rs`.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::process::job::slot_id::SlotId;
use crate::process::limits::{ONE_MORE_WORKER, ONE_MORE_WORKER_HERE};
use crate::process::sched::policy::Elastic;
use crate::process::sched::state::Sched;
use crate::process::sched::succession;
use crate::process::sched::take_back;
use crate::process::sched::workers::{Stage, Worker};
use crate::task::{Cause, WorkerExit};

/// Which slots have or should have a process.
pub(in crate::process::sched) struct Size {
    /// Those before this index.
    end: usize,
    /// From when on work has waited for long behind what the workers do.
    lags_from: Option<Instant>,
    /// Then those before this index.
    later: usize,
    /// The numbers of workers that are being replaced: their successors are no further workers.
    outgoing: HashSet<usize>,
    /// There are more workers than there should be.
    is_crowded: bool,
}

/// The numbers of the workers that are being replaced, and are in such a stage.
fn outgoing(sched: &Sched, is_in: fn(&Worker) -> bool) -> HashSet<usize> {
    let outgoing = |worker: &&Worker| worker.is_outgoing() && is_in(worker);
    let workers = sched.workers.iter().filter(outgoing);
    workers.map(Worker::number).collect()
}

/// Whether the worker replaces one that is still there.
fn succeeds(outgoing: &HashSet<usize>, worker: &Worker) -> bool {
    !worker.is_outgoing() && outgoing.contains(&worker.number())
}

/// How many of the slots have or should have a process.
pub(in crate::process::sched) fn size(sched: &Sched) -> Size {
    let outgoing = outgoing(sched, |worker| !worker.stage().is_down());
    let Some(elastic) = sched.policy.elastic else {
        let end = sched.workers.len();
        return Size {
            end,
            lags_from: None,
            later: end,
            outgoing,
            is_crowded: false,
        };
    };
    let (mut coming, mut there, mut down) = (0, 0, Vec::new());
    for (slot, worker) in sched.workers.numbered() {
        if worker.is_spare() || succeeds(&outgoing, worker) {
            continue;
        }
        coming += usize::from(worker.is_idle() || worker.is_on_its_way());
        if worker.stage().is_down() {
            down.push(slot.0);
        } else {
            there += 1;
        }
    }
    let room = elastic.most.saturating_sub(there);
    let mut wanted = workers_for_work(sched, elastic.most).saturating_sub(coming);
    if sched.stop.is_none() {
        wanted = wanted.max(elastic.least.saturating_sub(there));
    }
    let wanted = wanted.min(room);
    // The index after the last slot that is needed.
    let end = |wanted: usize| match wanted.checked_sub(1) {
        None => 0,
        Some(more) => down
            .get(more)
            .map_or(sched.workers.len(), |index| index + 1),
    };
    Size {
        end: end(wanted),
        lags_from: grows_at(sched, &outgoing),
        later: end(wanted.max(1).min(room)),
        outgoing,
        is_crowded: there > elastic.most,
    }
}

/// From when on an empty slot should have a process. All slots are filled at once, with or
/// without work; in an elastic pool only the first ones. After a death a slot is filled at the
/// time that `Worker::died` sets; and not if the slot is given up, or the pool ends and nothing
/// is queued. (The one process of a `Process` is not replaced once it has run its item.)
pub(in crate::process::sched) fn wanted_from(
    sched: &Sched,
    slot: SlotId,
    size: &Size,
) -> Option<Instant> {
    let always = Some(sched.epoch.instant);
    let worker = &sched.workers[slot];
    if succeeds(&size.outgoing, worker) {
        // (One that is given up is not tried again while its predecessor takes items.)
        let may = match sched.stop {
            None => !worker.is_given_up() || sched.jobs.wait() && !predecessor_serves(sched, slot),
            Some(_) => false,
        };
        return always.filter(|_| may && !size.is_crowded && sched.broken.is_none());
    }
    let had_its_item = sched.policy.one_process.is_some()
        && (sched.deferred_job.is_some() || !sched.jobs.is_empty());
    let idle = sched.stop.is_none() && !had_its_item && !worker.is_given_up();
    let by_size = match slot.0 {
        index if index < size.end => always,
        index if index < size.later => size.lags_from,
        _ => None,
    };
    let by_work = if idle || sched.jobs.wait() {
        always
    } else {
        size.lags_from
    };
    let from = by_size?.max(by_work?);
    sched.broken.is_none().then_some(from)
}

/// Whether the worker that the slot `slot` is to replace still takes items.
fn predecessor_serves(sched: &Sched, slot: SlotId) -> bool {
    succession::serving_predecessor(&sched.workers, slot).is_some()
}

/// For how long a worker should have work before another is started, in nanoseconds: about what
/// starting it takes, with its initializers.
fn one_more(sched: &Sched) -> f64 {
    if sched.policy.starts_far {
        ONE_MORE_WORKER
    } else {
        ONE_MORE_WORKER_HERE.max(sched.start_takes.as_nanos() as f64)
    }
}

/// For how many workers, of `most`, there is waiting work, in the queue or behind running items.
fn workers_for_work(sched: &Sched, most: usize) -> usize {
    let one_more = one_more(sched);
    let (mut items, mut nanos) = (0, 0.0);
    for worker in sched.workers.iter() {
        for (function, waits) in worker.frames.waiting() {
            match sched.costs.of(function) {
                None => items += waits as usize,
                Some(item_cost) => nanos += item_cost * f64::from(waits),
            }
        }
    }
    for job in sched.jobs.waiting().take(most) {
        match sched.costs.of(job.work.code.function) {
            None => items += job.items(most),
            Some(item_cost) => {
                let many = (one_more * most as f64 / item_cost.max(1.0)) as usize;
                nanos += item_cost * job.items(many.max(1)) as f64;
            }
        }
        if items >= most {
            return most;
        }
    }
    // Waiting work needs one worker, however short it is. (A cancelled job stays in the queue
    // until the next dispatch.)
    let waits = sched.jobs.waiting().any(|job| job.items(1) > 0);
    let some = usize::from(waits && sched.workers.iter().all(Worker::is_away));
    (items + (nanos / one_more) as usize).max(some).min(most)
}

/// When another worker should be started, however much work there is, because something waits
/// and no worker makes progress.
fn grows_at(sched: &Sched, outgoing: &HashSet<usize>) -> Option<Instant> {
    sched.policy.elastic?;
    let mut waits = sched.jobs.wait();
    let mut last = None;
    let workers = sched.workers.iter();
    for worker in workers.filter(|worker| !succeeds(outgoing, worker)) {
        if worker.is_idle() || worker.is_on_its_way() {
            return None;
        }
        waits |= worker.frames.waiting().any(|(_, items)| items > 0);
        if !worker.is_away() {
            last = last.max(Some(worker.frames.front_since()));
        }
    }
    let last = last.filter(|_| waits)?;
    Some(last + Duration::from_nanos(one_more(sched) as u64))
}

/// How many workers may leave, and after how long an idle time. (Those that take no items yet do
/// not count: until they do, the idle ones are all that there is.)
fn excess(sched: &Sched) -> Option<(usize, Duration)> {
    let elastic = sched.policy.elastic?;
    let take = |worker: &Worker| worker.stage() == Stage::Ready;
    let excess = sched.workers.count(take).saturating_sub(elastic.least);
    let leaves = excess > 0 && !sched.jobs.wait() && sched.stop.is_none();
    leaves.then_some((excess, sched.policy.idle))
}

/// When the next worker has been idle for too long.
pub(in crate::process::sched) fn shrinks_at(sched: &Sched) -> Option<Instant> {
    let (_, idle) = excess(sched)?;
    let all = sched.workers.iter().filter(|worker| worker.is_idle());
    all.map(|worker| worker.frames.front_since() + idle).min()
}

/// Dismisses workers that have been idle for too long.
pub(in crate::process::sched) fn shrink(sched: &mut Sched) {
    let Some((excess, idle)) = excess(sched) else {
        return;
    };
    let mut left = excess;
    // The last slots first, because the first ones are filled first.
    for slot in sched.workers.ids().rev() {
        let worker = &sched.workers[slot];
        if left > 0 && worker.is_idle() && worker.frames.front_since() + idle <= sched.now {
            sched.workers[slot].bears_fruit();
            sched.dismiss_worker(slot);
            left -= 1;
        }
    }
}

/// Whether no worker lives long enough to do anything, as the death of worker `slot` has shown.
pub(in crate::process::sched) fn is_hopeless(sched: &Sched, slot: SlotId) -> bool {
    match sched.policy.elastic {
        None => {
            let given_up = |worker: &Worker| worker.is_spare() || worker.is_given_up();
            sched.workers.iter().all(given_up)
        }
        // Some slots may never have been tried.
        Some(_) => sched.workers[slot].is_given_up() && sched.workers.iter().all(Worker::is_away),
    }
}

/// Whether a death shows nothing of the program, because the worker was killed. On a cluster each
/// attempt takes long, and workers that need too much memory are killed.
pub(in crate::process::sched) fn shows_nothing(sched: &Sched, exit: &WorkerExit) -> bool {
    let killed = matches!(exit.cause, Cause::Outside | Cause::Pool);
    killed && !(sched.policy.elastic.is_some() && sched.policy.starts_far)
}

impl Sched {
    /// From now on there are from `least` to `most` workers.
    pub(crate) fn set_workers(&mut self, least: usize, most: usize, now: Instant) {
        self.now = now;
        if self.stop.is_some() {
            return;
        }
        for number in succession::width(&self.workers)..most {
            self.workers.add(Worker::new(number, self.now));
        }
        self.policy.elastic = Some(Elastic { least, most });
        send_surplus_away(self);
    }
}

/// If more workers serve the pool than it should have, some get no more items, and leave.
pub(in crate::process::sched) fn send_surplus_away(sched: &mut Sched) {
    // (Without one that is replaced its successor counts.)
    while let Some(excess) = surplus(sched).filter(|excess| *excess > 0) {
        for slot in first_to_leave(sched, excess) {
            sched.workers[slot].becomes_surplus();
            take_back::take_all_back(sched, slot);
        }
    }
}

/// So many workers without whom the pool loses least: those whose initializers still run, then the
/// others that take no items now, then the idle ones; and of all the last, because the first slots
/// are filled first.
fn first_to_leave(sched: &Sched, count: usize) -> Vec<SlotId> {
    let outgoing = outgoing(sched, may_take_items);
    let mut leavers = Vec::new();
    for (slot, worker) in sched.workers.numbered() {
        if serves(worker) && !succeeds(&outgoing, worker) {
            let rank = match worker.stage() {
                Stage::Preparing => 0,
                Stage::Ready => 2 + u32::from(!worker.is_idle()),
                _ => 1,
            };
            leavers.push((rank, Reverse(slot.0), slot));
        }
    }
    leavers.sort_by_key(|(rank, last, _)| (*rank, *last));
    leavers.truncate(count);
    leavers.into_iter().map(|(.., slot)| slot).collect()
}

/// Whether a worker takes items, or might again.
fn may_take_items(worker: &Worker) -> bool {
    worker.stage() == Stage::Ready || worker.may_serve_again()
}

/// Whether a worker has a place among those that the pool should have.
fn serves(worker: &Worker) -> bool {
    may_take_items(worker) || matches!(worker.stage(), Stage::Waiting | Stage::Preparing)
}

/// How many workers more serve the pool than it should have, if it has bounds.
fn surplus(sched: &Sched) -> Option<usize> {
    let most = sched.policy.elastic?.most;
    // (One that is ready takes the other's place just now.)
    let outgoing = outgoing(sched, may_take_items);
    let counts = |worker: &Worker| serves(worker) && !succeeds(&outgoing, worker);
    Some(sched.workers.count(counts).saturating_sub(most))
}
