//! When an item's or a call's time is up, and when its worker is killed for it.
//!
//! 1. An item is *cancelled* by its caller, by its timeout, or because its job has failed. It sees
//!    that in its token. If it still runs after the grace period, everything else is taken back
//!    from its worker, and the worker is killed (W4).
//! 2. An item with a *timeout* is timed from its start. Its worker measures that, and reports the
//!    time of an item that has ended too late, in place of its value or error ([`Record::Late`]).
//!    If the timeout is zero, no item runs. An item that still runs is found here: the worker
//!    records its start in the gate, and the parent takes the time at which it has seen the item
//!    run if that is earlier, so a worker that writes false times gains one timeout, or a second.
//!    The time for which it reports a panic does not count, up to `MOST_REPORTING`. A
//!    frame is checked when its first item could be late; if another item runs then, again when
//!    that one could be late. That is one check for each timeout and frame, not for each item.
//!    Finished results are read before a check, so no item is blamed that ended in time.
//!    A job with a limit that *includes waiting* is in a list by its time (`state/jobs`), and ends
//!    as a whole. Its gates are closed before anything is said of what has begun; a plain worker
//!    that has the item and has not reported it may have begun it, so nothing is said of that one.
//! 3. A worker is also *killed without an item's fault*: if it has not read a frame with ends of
//!    channels that was taken back, since the ends stay open until it does, and a stopped worker
//!    never does (W25); if it is plain, does not answer how far it got, and runs no wanted item;
//!    and if nothing of its first frame is left to answer, and the frame's end does not come.
//! 4. Finished results do not wait for unfinished ones in two cases: each item has its own waiter
//!    (`each`); or brief frames are queued behind a long one. Then the results of a frame that
//!    takes longer than expected are read early, and its items that have not begun are taken back,
//!    so that the frame ends with the running item.
//! 5. A worker that does not begin its first frame is woken, again and again: it may sleep although
//!    it reports that it does not (`shared_ring`). What forwards a busy worker's stream gets
//!    something to pass on: it may have lost the worker.
//!
//! The grace, and how long a worker may be silent: `limits`. How a worker measures its item:
//! `worker/batch.rs`. What the caller gets: `src/task/late.rs`. Whether the item runs again:
//! `times_out` here, and `Job::attempted`.
//!
//! [`Record::Late`]: crate::process::wire::Record::Late
//!
//! Tests: `src/process/sched/simulated.rs`, `tests/process/calls.rs`.

use crate::process::job::job_id::JobId;
use std::time::{Duration, Instant};

use super::frame_control::Stall;
use super::sent_frame::SentFrame;
use super::state::Sched;
use super::workers::{PlannedKill, Worker, earlier};
use super::{cancel, failed_items, finish, take_back};
use crate::events::{self, Trouble};
use crate::process::job::Job;
use crate::process::job::item_id::ItemId;
use crate::process::job::slot_id::SlotId;
use crate::process::limits::TAKE_OVER_AFTER;
use crate::process::pages::gate::MOST_REPORTING;
use crate::task::{Late, TaskError};

/// For how long an item has run that has begun: zero means that it has not.
const SHORTEST: Duration = Duration::from_nanos(1);

/// How soon a check that came too early is repeated.
const AGAIN: Duration = Duration::from_millis(1);

/// When to look again at an item that reports a panic.
const REPORT_AGAIN: Duration = Duration::from_millis(20);

/// The grace period of a cancelled item is over: kills its worker; no other item is lost (W4).
pub(super) fn kill_overdue(sched: &mut Sched, slot: SlotId) {
    let Some(PlannedKill { sequence, .. }) = sched.workers[slot].planned_kill() else {
        return;
    };
    take_back::take_all_back(sched, slot);
    let worker = &mut sched.workers[slot];
    if worker.kill_due().is_none_or(|at| at > sched.now) {
        return; // a plain worker was asked just now
    }
    worker.forgets_kill();
    let Some(position) = worker.frames.position(sequence) else {
        return;
    };
    let frame = &mut worker.frames[position];
    let overdue = *frame.watch().overdue.get_or_insert(sched.now);
    let runs = frame.end == 0 || worker.control.may_run(frame);
    if worker.frames.run_others(sequence) && sched.now < overdue + sched.policy.patience {
        // A worker runs one frame at a time, so the end of this frame is on its way: check
        // again later. (If it has not come for so long, the worker lies.)
        worker.plan_kill(sched.now + TAKE_OVER_AFTER, sequence);
    } else if runs {
        // (It is killed, too, for a frame of which nothing is left: what came with its items stays
        // open as long as the worker lives.)
        worker.bears_fruit();
        sched.kill_worker(slot);
    }
}

/// Until when a worker that has answered all of its first frame should end it.
pub(super) fn end_due(sched: &Sched, worker: &Worker) -> Option<Instant> {
    let front = worker.frames.front().filter(|_| !worker.is_away())?;
    front.answered_at?;
    let behind = worker.frames.iter().nth(1).map(|behind| behind.sent);
    let needed = earlier(behind, sched.jobs.wait_since());
    let since = worker.control.ends_since(front, needed)?;
    Some(since.max(worker.frames.front_since()) + sched.policy.patience)
}

/// Checks whether the running item of the frame at `position` has run for too long. Returns
/// when to check again.
pub(super) fn check_timeout(sched: &mut Sched, slot: SlotId, position: usize) -> Option<Instant> {
    let frame = &sched.workers[slot].frames[position];
    let job = sched.jobs.get(frame.job).filter(|_| frame.wanted)?;
    let timeout = job.work.options.timeout?;
    let worker = &sched.workers[slot];
    // (An answered frame whose end does not come does not hold up those behind it.)
    let is_next = worker.frames.is_next(position);
    // (One that was killed need not run: its items come back.)
    let denies = is_next && !worker.is_away() && worker.control.denies(frame);
    let arrives = worker.frames.arrive_at();
    let patience = timeout.max(sched.policy.patience);
    let frame = &mut sched.workers[slot].frames[position];
    let mut begun = frame.begun();
    let since = frame.stands_since(sched.now);
    let is_late = since + patience <= sched.now;
    if begun == frame.done && !(is_late && denies) {
        // An item that begins later has its time from then on.
        let last_began = sched.epoch.instant(frame.gate().started());
        let idle_since = match begun {
            0 => arrives,
            // Its last item has ended by then; otherwise it would have timed out.
            _ => last_began.unwrap_or(sched.now) + timeout,
        };
        let is_silent = position == 0 && idle_since + patience <= sched.now;
        let is_stuck = is_next && is_late && arrives + patience <= sched.now;
        match sched.workers[slot]
            .control
            .does_not_begin(is_silent, is_stuck)
        {
            Stall::Wait => {}
            Stall::Ask => cancel::ask_back(sched, slot, 0, false),
            Stall::Kill => {
                take_back::take_all_back(sched, slot);
                sched.kill_worker(slot);
            }
        }
        return Some(sched.now + timeout.max(AGAIN));
    }
    // Between two items of a frame a worker does nothing, so an item that does not begin for so
    // long runs, and its worker denies it.
    begun = begun.max(frame.done + 1);
    frame.has_seen(begun);
    let noted = sched.epoch.instant(frame.gate().started());
    let reported = frame.gate().reported(begun);
    let due = frame.started(noted, since) + timeout + reported;
    if due > sched.now {
        let reports = reported == MOST_REPORTING; // so far, it may end at any time
        return Some(if reports {
            due.min(sched.now + REPORT_AGAIN)
        } else {
            due
        });
    }
    if begun - frame.done > 1 {
        if is_late {
            // A worker begins no item before it has answered the one before, and everything
            // that it has answered was read: it has broken the protocol.
            take_back::take_all_back(sched, slot);
            sched.kill_worker(slot);
        }
        return Some(sched.now + AGAIN); // earlier results are on their way
    }
    events::noticed(Trouble::LateItem);
    let item = frame.next_item()?;
    take_back::take_back(sched, slot, position, 0);
    let frame = &mut sched.workers[slot].frames[position];
    if frame.begun() != begun {
        return Some(sched.now + AGAIN); // the item has just ended
    }
    let again = times_out(sched, item);
    let reports = failed_items::reports_failures(sched, item.job);
    let frame = &mut sched.workers[slot].frames[position];
    let job = sched.jobs.get_mut(item.job)?;
    let piece = Some(frame.piece.clone());
    if frame.each || again || reports {
        // This frame has no other items left. (If a hook gets it, its error comes later.)
        frame.disown(job);
        if again {
            job.pause(item.at);
            let next = frame.done as usize;
            frame.watch().again = Some(frame.piece.part(next, next + 1));
        }
        cancel::cancel_running(sched, slot, position);
    }
    if again {
        return None;
    }
    let (ran, pid) = (sched.now + timeout - due, sched.workers[slot].pid());
    let late = Late::call(timeout, ran, pid);
    finish::item_error(sched, item, TaskError::TimedOut(late), piece);
    finish::end_or_queue(sched, item.job);
    None
}

/// An item has timed out. Whether it is to run again.
pub(super) fn times_out(sched: &mut Sched, item: ItemId) -> bool {
    sched.counters.stats.lock().timed_out += 1;
    let stopped = sched.is_stopped();
    let job = sched.jobs.get_mut(item.job);
    let job = job.filter(|job| job.work.options.retry_on_timeout && !stopped);
    job.is_some_and(|job| job.attempted(item.at))
}

/// The workers that have items of the job whose time is over next.
pub(super) fn have_late_job(sched: &Sched) -> Vec<SlotId> {
    let Some((_, late)) = sched.jobs.next_end() else {
        return Vec::new();
    };
    let workers = sched.workers.numbered();
    let having = workers.filter(|(_, worker)| worker.frames.has_job(late));
    having.map(|(slot, _)| slot).collect()
}

/// Ends the first job whose time is over, waiting included, or what waits of it, if its items
/// may not run for any time.
pub(super) fn end_late_job(sched: &mut Sched) {
    let Some((at, id)) = sched.jobs.take_end() else {
        return;
    };
    let Some(job) = sched.jobs.get(id) else {
        return;
    };
    if job.work.options.until != Some(at) {
        refuse_all(sched, id);
    } else if !reports_panic(sched, id, at) {
        end_late(sched, id);
    }
}

/// Whether the time of a call, which is over at `at`, does not end it yet: its item reports a
/// panic, or has, and that time does not count.
fn reports_panic(sched: &mut Sched, id: JobId, at: Instant) -> bool {
    let Some(RunningFrame { slot, position }) = running(sched, id) else {
        return false;
    };
    let frame = &mut sched.workers[slot].frames[position];
    let reported = frame.gate().reported(frame.begun());
    let granted = frame.watch.reported;
    let more = match reported == MOST_REPORTING {
        true if granted < MOST_REPORTING => sched.now.saturating_duration_since(at) + REPORT_AGAIN,
        true => return false,
        false => reported.saturating_sub(granted),
    };
    let job = sched.jobs.get_mut(id).filter(|job| job.is_one());
    let Some(job) = job.filter(|_| !more.is_zero()) else {
        return false;
    };
    frame.watch().reported += more;
    job.work.options.until = Some(at + more);
    sched.jobs.ends_at(id, at + more);
    true
}

fn end_late(sched: &mut Sched, id: JobId) {
    close_gates(sched, id); // what has begun by then is known
    let runs = running(sched, id);
    let Some(job) = sched.jobs.get(id) else {
        return;
    };
    if job.only_fails() {
        return; // what they have done wrong is reported, and soon
    }
    let is_one = job.is_one();
    let ran = ran(sched, id, job, runs).filter(|_| is_one);
    let error = job.work.options.too_late(ran);
    sched.counters.stats.lock().timed_out += job.pending;
    events::noticed(Trouble::LateItem);
    if is_one && let Some(RunningFrame { slot, position }) = runs {
        let piece = sched.workers[slot].frames[position].piece.clone();
        disown(sched, id); // (If a hook gets it, its error comes later.)
        let item = ItemId { job: id, at: 0 };
        finish::item_error(sched, item, error, Some(piece));
        return finish::end_or_queue(sched, id);
    }
    let late = sched
        .jobs
        .get_mut(id)
        .map(|job| std::mem::take(&mut job.pending));
    sched.counters.count(0, late.unwrap_or(0));
    finish::fail(sched, id, 0, error);
}

/// Workers begin no more items of the job `id`, as far as the parent can keep them from it.
fn close_gates(sched: &mut Sched, id: JobId) {
    for slot in sched.workers.ids() {
        for position in 0..sched.workers[slot].frames.len() {
            if sched.workers[slot].frames[position].job == id {
                sched.workers[slot].cut_off(position, 0, sched.now);
            }
        }
    }
}

/// How long the one item of `job`, whose gates are closed, has run, and in which worker; zero:
/// it has not begun, and will not. `None`: nobody knows, or it has begun and does not run now.
fn ran(
    sched: &Sched,
    id: JobId,
    job: &Job,
    runs: Option<RunningFrame>,
) -> Option<(Duration, Option<u32>)> {
    if let Some(RunningFrame { slot, position }) = runs {
        let worker = &sched.workers[slot];
        let noted = worker.frames[position].noted(&sched.epoch);
        // (It may have begun since the driver has looked at its clock.)
        let ran = sched.now.saturating_duration_since(noted).max(SHORTEST);
        return Some((ran, Some(worker.pid())));
    }
    // It waits to run again, or its result is being decoded.
    let has_run = job.starts(0) > 0 || job.is_read();
    let may_run = |worker: &Worker| {
        let has_it = |frame: &SentFrame| frame.job == id && worker.control.may_have_begun(frame);
        worker.frames.iter().any(has_it)
    };
    let is_unknown = sched.workers.iter().any(may_run);
    (!has_run && !is_unknown).then_some((Duration::ZERO, None))
}

/// A frame whose item runs: its worker, and its position there.
#[derive(Clone, Copy)]
struct RunningFrame {
    slot: SlotId,
    position: usize,
}

/// The frame of the job `id` whose item runs, if that is wanted.
fn running(sched: &Sched, id: JobId) -> Option<RunningFrame> {
    let mut workers = sched.workers.numbered();
    workers.find_map(|(slot, worker)| {
        let position = worker.frames.running_of(id)?;
        Some(RunningFrame { slot, position })
    })
}

/// What workers have of the job `id` is not wanted any more.
fn disown(sched: &mut Sched, id: JobId) {
    for slot in sched.workers.ids() {
        for position in 0..sched.workers[slot].frames.len() {
            let worker = &mut sched.workers[slot];
            let frame = &mut worker.frames[position];
            if frame.job == id
                && let Some(job) = sched.jobs.get_mut(id)
                && frame.disown(job)
            {
                worker.cut_off(position, 0, sched.now);
                cancel::cancel_running(sched, slot, position);
            }
        }
    }
}

/// The items of a job that may not run for any time end without having begun.
fn refuse_all(sched: &mut Sched, id: JobId) {
    let job = sched.jobs.get_mut(id);
    for piece in job.map_or_else(Vec::new, Job::abandon) {
        sched.counters.stats.lock().timed_out += piece.len() as u64;
        for at in piece.first()..piece.first() + piece.len() {
            let late = Late::unbegun(Duration::ZERO);
            finish::item_ends(sched, ItemId { job: id, at }, TaskError::TimedOut(late));
        }
    }
    finish::end_or_queue(sched, id);
}
