//! What is due: the one list of all times, who is next, and what happens then.
//!
//! `tick` does what [`next_due`] returns, one after the other, until the time of one is not there
//! yet: that is when the driver calls it again.
//! So a time limit is added here and nowhere else: a variant of [`Due`], its time in [`next_due`]
//! or [`next_of`], and what is done then in [`fire`].
//!
//! A time follows from the state alone: it is neither remembered that it was seen, nor when `tick`
//! was called last. Whatever is done at a time changes the state so that this time is over; the
//! simulation checks that, and that nothing is done earlier. What is not a matter of time is due
//! *at once*, as soon as its condition holds.
//!
//! Some decisions depend on what a worker has answered ([`Due::asks`]). Its answers are read first
//! ([`Action::Hear`]): no item is blamed that ended in time.
//!
//! **Cost.** Each search looks at all sent frames, which are at most
//! [`GATES`](crate::process::pages::gate::GATES) per worker, mostly two.
//!
//! Tests: `src/process/sched/simulated/sim_due.rs`.

use std::time::Instant;

use super::state::Sched;
use super::workers::{Stage, Worker};
use super::{
    Action, How, place, retry, rules, shutdown, start, succession, take_back, take_over, timeouts,
};
use crate::process::job::slot_id::SlotId;

/// Something that is done when its time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// The time of a job is over, waiting included, or its items may not run for any time.
    LateJob,
    /// An item may be retried.
    PauseIsOver,
    /// What still runs when the pool ends is killed.
    PoolLimit,
    /// A worker starts for too long.
    SlowStart(SlotId),
    /// A worker exits for too long.
    SlowExit(SlotId),
    /// A killed worker does not die.
    SlowDeath(SlotId),
    /// A worker that the user has replaced does not leave.
    SlowRetirement(SlotId),
    /// A cancelled item has had its grace period.
    Kill(SlotId),
    /// An item of the frame at this position may have run for too long.
    Check(SlotId, usize),
    /// A worker has answered its first frame and does not end it.
    MissingEnd(SlotId),
    /// A worker does not answer how far it got.
    Silence(SlotId),
    /// Results may wait for items that have not begun.
    TakeBack(SlotId),
    /// A worker may sleep, or may be lost.
    Nudge(SlotId),
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
            Self::Kill(slot)
            | Self::Check(slot, _)
            | Self::MissingEnd(slot)
            | Self::Silence(slot)
            | Self::TakeBack(slot) => vec![slot],
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

impl Sched {
    /// Time has passed, or something has happened: does whatever is due.
    pub(crate) fn tick(&mut self, now: Instant) {
        self.now = now;
        while let Some((at, due)) = next_due(self)
            && at <= self.now
        {
            let mut asked = due.asks(self);
            asked.retain(|slot| !self.heard.contains(slot));
            if !asked.is_empty() {
                self.actions.extend(asked.iter().copied().map(Action::Hear));
                self.heard.extend(asked);
                return; // the next call goes on
            }
            fire(self, due);
        }
        self.heard.clear();
        self.count_busy();
    }

    /// When `tick` has something to do, if nothing happens earlier.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        next_due(self).map(|(at, _)| at)
    }
}

/// When the time of a job is over.
fn job_ends_at(sched: &Sched) -> Option<Instant> {
    sched.jobs.next_end().map(|(at, _)| at)
}

/// Whether a job must end, because its time is over.
pub(super) fn ends_a_job(sched: &Sched) -> bool {
    job_ends_at(sched).is_some_and(|at| at <= sched.now)
}

/// What is due next.
pub(super) fn next_due(sched: &Sched) -> Option<(Instant, Due)> {
    let mut next = Next(None);
    next.add(job_ends_at(sched), Due::LateJob);
    next.add(sched.jobs.resume_at(), Due::PauseIsOver);
    next.add(sched.stop.and_then(|stop| stop.limit), Due::PoolLimit);
    next.add(rules::shrinks_at(sched), Due::Shrink);
    for (slot, worker) in sched.workers.numbered() {
        next_of(sched, slot, worker, &mut next);
    }
    at_once(sched, &mut next, Due::Place, || place::can_place(sched));
    next.add(take_over::takes_over_at(sched), Due::TakeOver);
    // (What was placed needs no other worker.)
    let size = rules::size(sched);
    for (slot, worker) in sched.workers.numbered() {
        at_once(sched, &mut next, Due::Dismiss(slot), || {
            shutdown::may_leave(sched, worker)
        });
        at_once(sched, &mut next, Due::Succeed(slot), || {
            succession::wants_successor(sched, slot)
        });
        match worker.stage() {
            Stage::Waiting => at_once(sched, &mut next, Due::Begin(slot), || {
                !succession::predecessor_runs(&sched.workers, slot)
            }),
            Stage::Down(Some(at)) => {
                let from = rules::wanted_from(sched, slot, &size);
                let at = from.map(|from| from.max(at).max(sched.now));
                next.add(at, Due::Start(slot));
            }
            Stage::Asked => at_once(sched, &mut next, Due::Withdraw(slot), || {
                let from = rules::wanted_from(sched, slot, &size);
                from.is_none_or(|from| from > sched.now)
            }),
            _ => {}
        }
    }
    next.0
}

/// What is due next of one worker.
fn next_of(sched: &Sched, slot: SlotId, worker: &Worker, next: &mut Next) {
    let slow = match worker.stage() {
        Stage::Leaving(_) => Due::SlowExit(slot),
        Stage::Dying { .. } => Due::SlowDeath(slot),
        Stage::Retiring => Due::SlowRetirement(slot),
        _ => Due::SlowStart(slot),
    };
    next.add(worker.limit(), slow);
    next.add(worker.kill_due(), Due::Kill(slot));
    for (position, frame) in worker.frames.iter().enumerate() {
        next.add(frame.watch.check_at, Due::Check(slot, position));
    }
    next.add(timeouts::end_due(sched, worker), Due::MissingEnd(slot));
    next.add(worker.silent_at(), Due::Silence(slot));
    next.add(worker.take_back_at(), Due::TakeBack(slot));
    next.add(worker.nudge_at(), Due::Nudge(slot));
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
        Due::SlowStart(slot)
        | Due::SlowExit(slot)
        | Due::SlowDeath(slot)
        | Due::SlowRetirement(slot) => shutdown::time_is_up(sched, slot),
        Due::Kill(slot) => timeouts::kill_overdue(sched, slot),
        Due::Check(slot, position) => {
            let next = timeouts::check_timeout(sched, slot, position);
            sched.workers[slot].frames[position].watch().check_at = next;
        }
        Due::MissingEnd(slot) => {
            take_back::take_all_back(sched, slot);
            sched.kill_worker(slot);
        }
        Due::Silence(slot) => sched.kill_worker(slot),
        Due::TakeBack(slot) => {
            take_back::take_all_back(sched, slot); // so that items begin in order, if possible
            sched.workers[slot].relieved(sched.now);
        }
        Due::Nudge(slot) => {
            sched.workers[slot].nudged(sched.now);
            sched.actions.push(Action::Nudge(slot));
        }
        Due::Start(slot) => {
            sched.workers[slot].ask_for(sched.now);
            sched.actions.push(Action::Spawn(slot));
        }
        Due::Shrink => rules::shrink(sched),
        Due::Withdraw(slot) => {
            sched.workers[slot].withdraw(sched.now);
            // (The driver may not have been asked yet.)
            let asks = |action: &Action| matches!(action, Action::Spawn(asked) if *asked == slot);
            match sched.actions.iter().position(asks) {
                Some(position) => drop(sched.actions.remove(position)),
                None => sched.actions.push(Action::Withdraw(slot)),
            }
        }
        Due::Begin(slot) => start::begin(sched, slot),
        Due::Succeed(slot) => succession::succeed(sched, slot),
        Due::Dismiss(slot) => shutdown::dismiss(sched, slot),
        Due::Place => place::dispatch(sched),
        Due::TakeOver => take_over::take_over(sched),
    }
}
