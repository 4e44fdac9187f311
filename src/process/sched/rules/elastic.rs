//! When a pool whose size follows the work starts another worker, and when a worker leaves.
//!
//! **Growth.** For each item that waits, in the queue or behind another, there may be one worker,
//! including those that are idle or being started. If it is known how long items take, there are
//! only so many workers that each has [`ONE_MORE_WORKER`] of work. Workers are alike, so the first
//! empty slots are filled. Independent of that, another worker is started when none of the existing
//! ones has made progress for as long as [`ONE_MORE_WORKER`].
//!
//! **Shrinking.** A worker that has been idle for a while leaves, unless there would be fewer than
//! the minimum.
//!
//! Pools of child processes have a fixed number of workers. A launcher decides otherwise, with its
//! minimum and how long a worker is idle before it leaves (`Capabilities::elastic`,
//! `launch/mod.rs`); those for clusters have their defaults in `crates/trefoil-machines/`.
//!
//! Tests: `src/process/sched/simulated.rs`; `crates/trefoil-machines/tests/slurm/`.

use std::time::{Duration, Instant};

use crate::process::limits::ONE_MORE_WORKER;
use crate::process::sched::Sched;
use crate::process::sched::workers::Worker;

/// The settings of a pool whose number of workers depends on the work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Elastic {
    /// The minimum number of workers.
    pub(crate) least: usize,
    /// How long other workers are idle before they leave.
    pub(crate) idle: Duration,
}

impl Sched {
    /// Computes how many of the empty slots should be filled, and from which index on they are not.
    pub(crate) fn size_pool(&mut self, now: Instant) {
        let Some(elastic) = self.policy.elastic else {
            return;
        };
        let comes = |worker: &&Worker| worker.is_idle() || worker.is_on_its_way();
        let coming = self.workers.iter().filter(comes).count();
        let down = self.workers.iter().filter(|worker| worker.stage.is_down());
        let down = down.count();
        let there = self.workers.len() - down;
        let lags = self.grows_at().is_some_and(|at| at <= now);
        self.rules.lags = lags;
        let wanted = self
            .workers_for_work()
            .saturating_sub(coming)
            .max(usize::from(lags));
        let wanted = match self.stop {
            None => wanted.max(elastic.least.saturating_sub(there)),
            Some(_) => wanted,
        };
        // The index after the last slot that is needed.
        let slots = self.workers.iter().enumerate();
        let mut empty = slots.filter(|(_, worker)| worker.stage.is_down());
        let last = wanted.checked_sub(1).map(|more| empty.nth(more));
        self.rules.slots_end = match last {
            None => 0,
            Some(Some((index, _))) => index + 1,
            Some(None) => self.workers.len(),
        };
    }

    /// For how many workers there is waiting work, in the queue or behind running items.
    fn workers_for_work(&self) -> usize {
        let most = self.workers.len();
        let (mut items, mut nanos) = (0, 0.0);
        for (function, waits) in self.workers.iter().flat_map(Worker::waiting) {
            match self.item_cost(function) {
                None => items += waits as usize,
                Some(item_cost) => nanos += item_cost * f64::from(waits),
            }
        }
        for (_, id) in self.queue.iter().take(most) {
            let Some(job) = self.jobs.get(id) else {
                continue;
            };
            match self.item_cost(job.work.code.function) {
                None => items += job.items(most),
                Some(item_cost) => {
                    let many = (ONE_MORE_WORKER * most as f64 / item_cost.max(1.0)) as usize;
                    nanos += item_cost * job.items(many.max(1)) as f64;
                }
            }
            if items >= most {
                return most;
            }
        }
        // Waiting work needs one worker, however short it is. (A cancelled job stays in the queue
        // until the next dispatch.)
        let mut queued = self.queue.iter().filter_map(|(_, id)| self.jobs.get(id));
        let waits = queued.any(|job| job.items(1) > 0) || !self.rules.alone.is_empty();
        let some = usize::from(waits && self.workers.iter().all(Worker::is_away));
        (items + (nanos / ONE_MORE_WORKER) as usize)
            .max(some)
            .min(most)
    }

    /// When another worker should be started, however much work there is, because something waits
    /// and no worker makes progress.
    pub(crate) fn grows_at(&self) -> Option<Instant> {
        self.policy.elastic?;
        let waiting = self.workers.iter().flat_map(Worker::waiting);
        let is_none = self.queue.is_empty() && waiting.map(|(_, items)| items).max() <= Some(0);
        let comes = |worker: &Worker| worker.is_idle() || worker.is_on_its_way();
        if is_none || self.workers.iter().any(comes) {
            return None;
        }
        let workers = self.workers.iter().filter(|worker| !worker.is_away());
        let last = workers.map(|worker| worker.front_since).max()?;
        Some(last + Duration::from_nanos(ONE_MORE_WORKER as u64))
    }

    /// How many workers may leave, and after how long an idle time.
    fn excess(&self) -> Option<(usize, Duration)> {
        let elastic = self.policy.elastic?;
        let there = self.workers.iter().filter(|worker| !worker.is_away());
        let excess = there.count().saturating_sub(elastic.least);
        (excess > 0 && self.queue.is_empty() && self.stop.is_none())
            .then_some((excess, elastic.idle))
    }

    /// When the next worker has been idle for too long.
    pub(crate) fn shrinks_at(&self) -> Option<Instant> {
        let (_, idle) = self.excess()?;
        let workers = self.workers.iter().filter(|worker| worker.is_idle());
        workers.map(|worker| worker.front_since + idle).min()
    }

    /// Dismisses workers that have been idle for too long.
    pub(crate) fn shrink(&mut self, now: Instant) {
        let Some((excess, idle)) = self.excess() else {
            return;
        };
        let workers = self.workers.iter().enumerate();
        let idlers =
            workers.filter(|(_, worker)| worker.is_idle() && worker.front_since + idle <= now);
        // The last slots first, because the first ones are filled first.
        let mut idlers: Vec<usize> = idlers.map(|(index, _)| index).collect();
        idlers.reverse();
        for index in idlers.into_iter().take(excess) {
            self.workers[index].fruitful = true;
            self.dismiss_worker(index, now);
        }
    }
}

impl Worker {
    /// The functions of its frames, and how many items of each wait for others to end. (The first
    /// of all begins at once.)
    fn waiting(&self) -> impl Iterator<Item = (u64, u32)> {
        let frames = self.frames.iter().enumerate();
        frames.map(|(position, frame)| {
            let front = u32::from(position == 0);
            let waits = frame.end.saturating_sub(frame.begun().max(front));
            (frame.function, waits)
        })
    }
}
