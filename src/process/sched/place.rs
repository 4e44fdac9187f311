//! Which worker gets the next items, and how many; in which order the calls of a pool begin.
//!
//! The job at the front sends a frame to the worker with room that has the fewest frames, and then
//! goes behind the other jobs of its priority; if no worker has room for it, no job behind it is
//! tried. How many items a frame should have follows from how
//! long earlier items of the same function took ([`frame_size`]). Any number from 1 on is correct;
//! only speed depends on it. `Piece::cut` (`value/chunk.rs`) and `send_next` may lower it:
//! for bytes, descriptors, deadlines and workers that are to be replaced. When items are taken back
//! from a busy worker, `take_back` decides.
//!
//! A caller may dispatch in the driver's place, if nothing else has to be done (`caller`): it does
//! that under the engine's lock, and runs no user code.
//!
//! Tests: `src/process/sched/simulated.rs`,
//! `tests/process/pool.rs::no_item_waits_behind_a_long_one`, `tests/process/callers.rs`.

use super::sent_frame::{FrameFacts, UNKNOWN_COST};
use super::state::Sched;
use super::workers::Worker;
use super::{rules, send};
use crate::process::job::Job;
use crate::process::job::job_id::JobId;
use crate::process::job::slot_id::SlotId;
use crate::process::limits::{FRAME_BYTES, FRAME_ITEMS, FRAME_TIME};

/// How many nanoseconds `items` items should take; [`UNKNOWN_COST`], if that is not known.
fn cost(item_cost: Option<f64>, items: usize) -> u64 {
    item_cost.map_or(UNKNOWN_COST, |item_cost| {
        ((item_cost * items as f64) as u64).min(UNKNOWN_COST)
    })
}

/// How many items the next frame of `job` should have, with this number of `workers`.
fn frame_size(item_cost: Option<f64>, job: &Job, workers: usize) -> usize {
    if let Some(chunk) = job.work.options.chunk {
        return chunk.clamp(1, FRAME_ITEMS);
    }
    let Some(item_cost) = item_cost else { return 1 };
    let item_cost = item_cost.max(1.0);
    let most = ((FRAME_TIME / item_cost) as usize).clamp(1, FRAME_ITEMS);
    if !job.sealed && !job.work.each {
        return most;
    }
    // The waiting items are all that will come, or (of an `imap`) all that will come before a
    // result is taken. So a frame has at most half of an equal share of them, and the workers end
    // at about the same time.
    let shares = 2 * workers.max(1);
    job.items(most * shares).div_ceil(shares)
}

/// Sends frames while there is work and room.
pub(super) fn dispatch(sched: &mut Sched) {
    while let Some(next) = next(sched) {
        sched.jobs.dequeue();
        send_next(sched, next);
    }
}

/// Whether [`dispatch`] would send something: only then it may count as due (`due`).
pub(super) fn can_place(sched: &Sched) -> bool {
    next(sched).is_some()
}

/// The next job, and the worker that gets its next items.
struct Placed {
    id: JobId,
    slot: SlotId,
    /// How long an item should take.
    item_cost: Option<f64>,
}

fn next(sched: &Sched) -> Option<Placed> {
    let id = sched.jobs.next()?;
    let job = sched.jobs.get(id)?;
    let item_cost = sched.costs.of(job.work.code.function);
    let slot = roomiest(sched, id, job, item_cost)?;
    Some(Placed {
        id,
        slot,
        item_cost,
    })
}

/// The worker with the fewest frames that has room for the next item of the job `id`. If workers
/// are replaced after a number of items, it is the one among these that has waited longest: then
/// each gets as many, and none is used up before its successor can be ready.
fn roomiest(sched: &Sched, id: JobId, job: &Job, item_cost: Option<f64>) -> Option<SlotId> {
    let only_idle = rules::go_alone(job, job.next_piece());
    // An item of unknown cost is not queued behind another while a further worker is being
    // started: that one will be idle soon.
    let early = item_cost.is_none() && sched.workers.iter().any(Worker::is_on_its_way);
    let takes_turns = sched.policy.replace_after.is_some();
    let (mut roomiest, mut least) = (None, (usize::MAX, None));
    for (slot, worker) in sched.workers.numbered() {
        let needs_idle = || {
            let is_heavy = || rules::is_heavy(worker, id, job);
            only_idle || worker.control.needs_idle(early, is_heavy)
        };
        let frames = &worker.frames;
        let rank = (frames.len(), takes_turns.then_some(frames.front_since()));
        if rank < least
            && worker.has_room(cost(item_cost, 1), sched.now)
            && (frames.is_empty() || !needs_idle())
        {
            (roomiest, least) = (Some(slot), rank);
        }
    }
    roomiest
}

/// Sends a worker the next items of a job, which has left the queue.
fn send_next(sched: &mut Sched, next: Placed) {
    let Placed {
        id,
        slot,
        item_cost,
    } = next;
    let Some(job) = sched.jobs.get_mut(id) else {
        return;
    };
    let worker = &sched.workers[slot];
    let serving = sched.workers.count(Worker::is_serving);
    let most = worker.left(&sched.policy);
    let mut most = most.min(frame_size(item_cost, job, serving));
    // The worker may have to be killed because of an item, while others are wanted.
    let options = &job.work.options;
    let may_be_killed = options.timeout.is_some() && (job.work.each || options.retry_on_timeout);
    if may_be_killed {
        most = most.min(worker.control.most_at_risk());
    }
    let Some(piece) = job.cut(most, FRAME_BYTES) else {
        return;
    };
    job.wanted_frames += 1;
    let options = &job.work.options;
    let cost = cost(item_cost, piece.len());
    let goes_alone = rules::go_alone(job, Some(&piece));
    // (With a limit the worker notes when an item starts.)
    let limit = match options.timeout {
        Some(timeout) => u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX),
        None if options.until.is_some() => u64::MAX,
        None => 0,
    };
    let kept = if sched.policy.one_process.is_some() {
        // It is never sent again, and should not keep its attachments open.
        piece.without_bytes()
    } else {
        piece.clone()
    };
    let mut facts = FrameFacts {
        cost,
        brief: !goes_alone && worker.frames.are_brief_with(cost, sched.now),
        wanted: true,
        each: job.work.each,
        goes_alone,
        limit,
        ..FrameFacts::new(id, job.work.code, kept, sched.now)
    };
    facts.watch.check_at = options.timeout.map(|timeout| sched.now + timeout);
    rules::before_frame(sched, slot, id);
    send::send_frame(sched, slot, facts, piece);
    sched.jobs.enqueue(id, false, sched.now);
}
