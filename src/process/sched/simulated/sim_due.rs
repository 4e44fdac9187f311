//! Time alone: before something is due nothing happens, and then something does.
//!
//! This is checked in every simulation, and in one at every step. So whoever forgets a time in
//! `due`, or does something at another time, is found here.

use std::fmt::Debug;

use super::*;
use crate::process::sched::due::{self, Due};
use crate::process::sched::policy::FOR_EVER;

/// The longest time that passes at once in most simulations.
const LEAP: Duration = Duration::from_millis(5);

/// All that can be due, of the first worker.
pub(super) const KINDS: [Due; 21] = [
    Due::LateJob,
    Due::PauseIsOver,
    Due::PoolLimit,
    Due::SlowStart(SlotId(0)),
    Due::SlowExit(SlotId(0)),
    Due::SlowDeath(SlotId(0)),
    Due::SlowRetirement(SlotId(0)),
    Due::Kill(SlotId(0)),
    Due::Check(SlotId(0), 0),
    Due::MissingEnd(SlotId(0)),
    Due::Silence(SlotId(0)),
    Due::TakeBack(SlotId(0)),
    Due::Nudge(SlotId(0)),
    Due::Shrink,
    Due::Place,
    Due::TakeOver,
    Due::Dismiss(SlotId(0)),
    Due::Succeed(SlotId(0)),
    Due::Begin(SlotId(0)),
    Due::Start(SlotId(0)),
    Due::Withdraw(SlotId(0)),
];

/// The place in [`KINDS`]: what is new does not compile without one.
fn number(due: Due) -> usize {
    match due {
        Due::LateJob => 0,
        Due::PauseIsOver => 1,
        Due::PoolLimit => 2,
        Due::SlowStart(_) => 3,
        Due::SlowExit(_) => 4,
        Due::SlowDeath(_) => 5,
        Due::SlowRetirement(_) => 6,
        Due::Kill(_) => 7,
        Due::Check(..) => 8,
        Due::MissingEnd(_) => 9,
        Due::Silence(_) => 10,
        Due::TakeBack(_) => 11,
        Due::Nudge(_) => 12,
        Due::Shrink => 13,
        Due::Place => 14,
        Due::TakeOver => 15,
        Due::Dismiss(_) => 16,
        Due::Succeed(_) => 17,
        Due::Begin(_) => 18,
        Due::Start(_) => 19,
        Due::Withdraw(_) => 20,
    }
}

impl World {
    /// Everything that the scheduler knows.
    fn known(&self) -> impl PartialEq + Debug + use<> {
        let sched = &self.sched;
        let (mut workers, mut frames) = (Vec::new(), Vec::new());
        for worker in sched.workers.iter() {
            workers.push(worker.known());
            for frame in worker.frames.iter() {
                let watch = &frame.watch;
                let state = (frame.sequence, frame.done, frame.end, frame.wanted);
                let times = (watch.check_at, watch.overdue, frame.answered_at);
                let more = (watch.reported, watch.again.is_some());
                let begun = (frame.begun(), frame.recall.due(), frame.recall.was_asked());
                frames.push((state, times, more, begun));
            }
        }
        let mut jobs = Vec::new();
        for id in sched.jobs.ids() {
            let job = sched.jobs.get(id).unwrap();
            let state = (id, job.wanted_frames, job.pending, job.sealed, job.queued);
            let more = (job.items(usize::MAX), job.limit(), job.is_read());
            jobs.push((state, more, job.work.options.until));
        }
        let queue = (sched.jobs.next(), sched.jobs.wait_since());
        let sizes = (sched.jobs.times(), sched.chores.len());
        let stop = sched.stop.map(|stop| (stop.how, stop.limit));
        let pool = (stop, sched.broken.is_some());
        let stats = self.counters.read(0, false);
        (workers, frames, jobs, queue, sizes, pool, stats)
    }

    /// Some time passes, in which nothing is due: nothing happens, and nothing changes.
    pub(super) fn pass_by(&mut self) {
        let left = match due::next_due(&self.sched) {
            Some((at, _)) => at.saturating_duration_since(self.now),
            None => Duration::from_secs(100),
        };
        let most = u64::try_from(left.as_nanos()).unwrap_or(u64::MAX);
        if most == 0 {
            let due = due::next_due(&self.sched);
            panic!("it is {:?}, and nobody has done {due:?}", self.now);
        }
        let (now, before) = (self.now, self.known());
        let some = Duration::from_nanos(self.random(most));
        self.sched.tick(now + some);
        let (actions, after) = (self.sched.actions().len(), self.known());
        let is_same = actions == 0 && before == after;
        let due = due::next_due(&self.sched);
        assert!(
            is_same,
            "{actions} after {some:?} of {left:?}, {due:?}\n{before:?}\n{after:?}"
        );
    }

    /// Counts what is due now.
    pub(super) fn count_due(&mut self) {
        if let Some((at, due)) = due::next_due(&self.sched)
            && at <= self.now
        {
            self.hit[number(due)] += 1;
        }
    }

    /// Now and then time passes until something is due: then something happens, or a later time is
    /// next.
    pub(super) fn leap(&mut self) {
        let Some((at, due)) = due::next_due(&self.sched) else {
            return;
        };
        let is_short = at.saturating_duration_since(self.now) <= LEAP;
        if self.chance(if is_short { 6 } else { 400 }) && (is_short || self.hostile) {
            self.leap_to(at, due);
        }
    }

    fn leap_to(&mut self, at: Instant, due: Due) {
        self.now = at;
        let did = self.turn();
        let next = self.sched.next_due();
        let moves = did || next.is_none_or(|next| next > at);
        assert!(moves, "{due:?} remains due");
        self.act();
    }
}

/// Everything that can be due is due in some simulation, also of workers that are stopped.
#[test]
fn everything_is_due_at_some_time() {
    let mut hit = [0; KINDS.len()];
    for seed in 0..2 * worlds() {
        let mut world = World::new(seed);
        world.breathe(seed);
        world.passes_by = 1;
        world.forwarded = seed % 8 == 7;
        world.starts_later = seed % 4 < 2;
        world.resizes = (seed % 3 == 0).then_some(40);
        if seed % 8 == 3 {
            world.sched.policy.patience = Duration::from_secs(3);
        }
        for _ in 0..400 {
            world.step();
            let index = world.random(world.sims.len() as u64) as usize;
            let freezes = world.chance(20);
            if let Some(sim) = &mut world.sims[index] {
                // (One that is killed while it is stopped does not go on.)
                sim.frozen = (sim.frozen != freezes) || sim.frozen && sim.killed;
                sim.held = sim.frozen && seed % 3 == 0;
            }
            // (A worker's clock counts the nanoseconds of 584 years.)
            if world.chance(4)
                && let Some((at, due)) = due::next_due(&world.sched)
                && at < world.epoch.instant + FOR_EVER
            {
                world.leap_to(at, due);
            }
        }
        let limit = Some(world.now + Duration::from_millis(300));
        let how = [How::Wait, How::CancelPending][seed as usize % 2];
        let is_drop = false;
        let stop = crate::process::sched::Stop {
            how,
            limit,
            is_drop,
        };
        world.sched.stop(stop, world.now);
        for _ in 0..100 {
            if let Some((at, due)) = due::next_due(&world.sched) {
                world.leap_to(at, due);
            }
        }
        for (sum, times) in hit.iter_mut().zip(world.hit) {
            *sum += times;
        }
    }
    for (at, kind) in KINDS.into_iter().enumerate() {
        assert_eq!(number(kind), at);
        assert!(hit[at] > 0, "{kind:?} was never due: {hit:?}");
    }
}
