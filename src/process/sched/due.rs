//! What is due: the one list of all times, who is next, and what happens then.
//!
//! `tick` does what is due, one after the other, until nothing is; `deadline` is when the next is.
//! So a time limit is added here and nowhere else: a variant of [`Due`], its time in [`next_due`],
//! and what is done then in [`fire`]; if it follows from one worker alone, the variant and its time
//! are in `worker_due`.
//!
//! A time follows from the state alone: it is neither remembered that it was seen, nor when `tick`
//! was called last. Whatever is done at a time changes the state so that this time is over; the
//! simulation checks that, and that nothing is done earlier. What is not a matter of time is due
//! *at once*, as soon as its condition holds.
//!
//! Some decisions depend on what a worker has answered ([`Due::asks`]). Its answers are read first
//! ([`Action::Hear`]): no item is blamed that ended in time.
//!
//! **Cost.** A search asks what is known of all workers together (`state/slots`), and looks only at
//! those that it then finds, so it costs as much with many workers as with few. Only while an
//! elastic pool may still grow, while workers are replaced, and while the pool ends, it looks at
//! all of them.
//!
//! Tests: `src/process/sched/simulated/sim_due.rs`, `src/process/sched/simulated/sim_crowd.rs`.

use std::time::Instant;

use super::slot_id::SlotId;
use super::state::Sched;
use super::worker_due::WorkerDue;
use super::workers::Stage;
use super::{
    Action, How, place, retry, rules, shutdown, start, succession, take_back, take_over, timeouts,
};

/// Something that is done when its time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// The time of a job is over, waiting included, or its items may not run for any time.
    LateJob,
    /// An item may be retried.
    PauseIsOver,
    /// What still runs when the pool ends is killed.
    PoolLimit,
    /// Something of one worker.
    OfWorker(SlotId, WorkerDue),
    /// A worker has answered its first frame and does not end it.
    MissingEnd(SlotId),
    /// Workers have been idle for too long.
    Shrink,
    /// At once: waiting items go to workers.
    Place,
    /// An idle worker takes over items of another.
    TakeOver,
    /// At once: a worker that gets no more items, or that has none while the pool ends, leaves.
    Dismiss(SlotId),
    /// At once: a worker is to be replaced, so a slot for the next one is needed.
    Succeed(SlotId),
    /// At once: the worker that another replaces runs no more items.
    Begin(SlotId),
    /// A slot gets a process.
    Start(SlotId),
    /// At once: a process that was asked for is not wanted any more.
    Withdraw(SlotId),
}

impl Due {
    /// Whether answers of workers decide what is done: then they are read first.
    fn asks(self, sched: &Sched) -> Vec<SlotId> {
        match self {
            Self::OfWorker(
                slot,
                WorkerDue::Kill | WorkerDue::Check(_) | WorkerDue::Silence | WorkerDue::TakeBack,
            )
            | Self::MissingEnd(slot) => vec![slot],
            Self::LateJob => timeouts::have_late_job(sched),
            _ => Vec::new(),
        }
    }
}

/// The earliest of several times, and what is due then.
struct Next(Option<(Instant, Due)>);

impl Next {
    fn add(&mut self, at: Option<Instant>, what: Due) {
        if let Some(at) = at
            && self.0.is_none_or(|(first, _)| at < first)
        {
            self.0 = Some((at, what));
        }
    }
}

/// Time has passed, or something has happened: does whatever is due.
pub(super) fn tick(sched: &mut Sched) {
    while let Some((at, due)) = next_due(sched)
        && at <= sched.now
    {
        let mut asked = due.asks(sched);
        asked.retain(|slot| !sched.heard.contains(slot));
        if !asked.is_empty() {
            sched
                .actions
                .extend(asked.iter().copied().map(Action::Hear));
            sched.heard.extend(asked);
            return; // the next call goes on
        }
        fire(sched, due);
    }
    sched.heard.clear();
    sched.count_busy();
}

/// When `tick` has something to do, if nothing happens earlier.
pub(super) fn deadline(sched: &Sched) -> Option<Instant> {
    next_due(sched).map(|(at, _)| at)
}

/// What is due next.
pub(super) fn next_due(sched: &Sched) -> Option<(Instant, Due)> {
    let mut next = Next(None);
    next.add(sched.jobs.next_end().map(|(at, _)| at), Due::LateJob);
    next.add(sched.jobs.resume_at(), Due::PauseIsOver);
    next.add(sched.stop.and_then(|stop| stop.limit), Due::PoolLimit);
    next.add(rules::shrinks_at(sched), Due::Shrink);
    add_own(sched, &mut next);
    at_once(sched, &mut next, Due::Place, || place::can_place(sched));
    next.add(take_over::takes_over_at(sched), Due::TakeOver);
    if let Some(slot) = shutdown::first_to_leave(sched) {
        at_once(sched, &mut next, Due::Dismiss(slot), || true);
    }
    for slot in sched.workers.with(|own| own.outgoing > 0) {
        at_once(sched, &mut next, Due::Succeed(slot), || {
            succession::wants_successor(sched, slot)
        });
    }
    for slot in sched.workers.with(|own| own.waiting > 0) {
        at_once(sched, &mut next, Due::Begin(slot), || {
            !succession::predecessor_runs(&sched.workers, slot)
        });
    }
    // (What was placed needs no other worker.)
    add_starts(sched, &mut next);
    next.0
}

/// What is due of single workers.
fn add_own(sched: &Sched, next: &mut Next) {
    let (workers, all) = (&sched.workers, sched.workers.outlook());
    if let Some(at) = all.next
        && let Some(slot) = workers.with(|own| own.next == Some(at)).next()
        && let Some((at, what)) = workers[slot].next_due()
    {
        next.add(Some(at), Due::OfWorker(slot, what));
    }
    if let Some(since) = all.end_since
        && let Some(slot) = workers.with(|own| own.end_since == Some(since)).next()
    {
        let at = timeouts::end_due(sched, &workers[slot]);
        next.add(at, Due::MissingEnd(slot));
    }
    // (When the end of such a frame is due depends on what waits.)
    for slot in workers.with(|own| own.needless > 0) {
        let at = timeouts::end_due(sched, &workers[slot]);
        next.add(at, Due::MissingEnd(slot));
    }
}

/// Which slots are to get a process, and which are not any more.
fn add_starts(sched: &Sched, next: &mut Next) {
    let all = sched.workers.outlook();
    if all.empty == 0 && all.asked == 0 {
        return;
    }
    let size = rules::size(sched);
    for slot in sched.workers.with(|own| own.empty > 0) {
        if rules::needs_none_from(&size, slot) {
            break;
        }
        if let Stage::Down(Some(at)) = sched.workers[slot].stage() {
            let from = rules::wanted_from(sched, slot, &size);
            let at = from.map(|from| from.max(at).max(sched.now));
            next.add(at, Due::Start(slot));
        }
    }
    for slot in sched.workers.with(|own| own.asked > 0) {
        at_once(sched, next, Due::Withdraw(slot), || {
            let from = rules::wanted_from(sched, slot, &size);
            from.is_none_or(|from| from > sched.now)
        });
    }
}

/// Something is due as soon as its condition holds, after what has a time.
fn at_once(sched: &Sched, next: &mut Next, what: Due, holds: impl FnOnce() -> bool) {
    if next.0.is_none_or(|(at, _)| sched.now < at) && holds() {
        next.0 = Some((sched.now, what));
    }
}

/// Does what is due.
fn fire(sched: &mut Sched, due: Due) {
    match due {
        Due::LateJob => timeouts::end_late_job(sched),
        Due::PauseIsOver => retry::end_pauses(sched),
        Due::PoolLimit => shutdown::stop(sched, How::Kill.into()),
        Due::OfWorker(slot, what) => fire_of(sched, slot, what),
        Due::MissingEnd(slot) => {
            take_back::take_all_back(sched, slot);
            sched.kill_worker(slot);
        }
        Due::Start(slot) => {
            sched.workers[slot].ask_for(sched.now);
            sched.actions.push(Action::Spawn(slot));
        }
        Due::Shrink => rules::shrink(sched),
        Due::Withdraw(slot) => {
            sched.workers[slot].withdraw(sched.now);
            sched.actions.push(Action::Withdraw(slot));
        }
        Due::Begin(slot) => start::begin(sched, slot),
        Due::Succeed(slot) => succession::succeed(sched, slot),
        Due::Dismiss(slot) => shutdown::dismiss(sched, slot),
        Due::Place => place::dispatch(sched),
        Due::TakeOver => take_over::take_over(sched),
    }
}

/// Does what is due of a worker.
fn fire_of(sched: &mut Sched, slot: SlotId, what: WorkerDue) {
    match what {
        WorkerDue::SlowStart
        | WorkerDue::SlowExit
        | WorkerDue::SlowDeath
        | WorkerDue::SlowRetirement => shutdown::time_is_up(sched, slot),
        WorkerDue::Kill => timeouts::kill_overdue(sched, slot),
        WorkerDue::Check(position) => {
            let next = timeouts::check_timeout(sched, slot, position);
            sched.workers[slot].frames[position].watch.check_at = next;
        }
        WorkerDue::Silence => sched.kill_worker(slot),
        WorkerDue::TakeBack => {
            take_back::take_all_back(sched, slot); // so that items begin in order, if possible
            sched.workers[slot].relieved(sched.now);
        }
        WorkerDue::Nudge => {
            sched.workers[slot].nudged(sched.now);
            sched.actions.push(Action::Nudge(slot));
        }
    }
}
