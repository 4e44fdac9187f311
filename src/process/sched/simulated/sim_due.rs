//! Time alone: before something is due nothing happens, and then something does.
//!
//! This is checked in every simulation, and in one at every step. So whoever forgets a time in
//! `due`, or does something at another time, is found here.

use std::fmt::Debug;

use super::*;
use crate::process::sched::due::{self, Due};

/// The longest time that passes at once in most simulations.
const LEAP: Duration = Duration::from_millis(5);

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
        let next = self.sched.deadline();
        let moves = did || next.is_none_or(|next| next > at);
        assert!(moves, "{due:?} remains due");
        let name = format!("{due:?}");
        let name = name.split('(').next().unwrap();
        *self.hit.entry(name.to_owned()).or_default() += 1;
        self.act();
    }
}

/// Each kind of time limit is met in some simulation, also those of workers that are stopped.
#[test]
fn each_time_limit_is_met() {
    let mut hit: HashMap<String, u32> = HashMap::new();
    for seed in 0..2 * worlds() {
        let mut world = World::new(seed);
        world.breathe(seed);
        world.passes_by = 1;
        world.forwarded = seed % 8 == 7;
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
            if world.chance(4)
                && let Some((at, due)) = due::next_due(&world.sched)
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
        for (name, times) in world.hit {
            *hit.entry(name).or_default() += times;
        }
    }
    let kinds = [
        "LateJob",
        "PauseIsOver",
        "PoolLimit",
        "Shrink",
        "SlowStart",
        "SlowExit",
        "SlowDeath",
        "SlowRetirement",
        "Kill",
        "Check",
        "MissingEnd",
        "Silence",
        "TakeBack",
        "Nudge",
        "Start",
        "TakeOver",
    ];
    for kind in kinds {
        let times = hit.get(kind).copied().unwrap_or(0);
        assert!(times > 0, "{kind} was never due: {hit:?}");
    }
}
