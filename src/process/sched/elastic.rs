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
use crate::process::sched::workers::{Worker, earlier};

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
        let (mut coming, mut down) = (0, Vec::new());
        for (index, worker) in self.workers.iter().enumerate() {
            coming += usize::from(worker.is_idle() || worker.is_on_its_way());
            if worker.stage.is_down() {
                down.push(index);
            }
        }
        let there = self.workers.len() - down.len();
        let lags = self.grows_at().is_some_and(|at| at <= now);
        self.lags = lags;
        let wanted = self
            .workers_for_work()
            .saturating_sub(coming)
            .max(usize::from(lags));
        let wanted = match self.stop {
            None => wanted.max(elastic.least.saturating_sub(there)),
            Some(_) => wanted,
        };
        // The index after the last slot that is needed.
        self.slots_end = match wanted.checked_sub(1) {
            None => 0,
            Some(more) => down.get(more).map_or(self.workers.len(), |index| index + 1),
        };
    }

    /// For how many workers there is waiting work, in the queue or behind running items.
    fn workers_for_work(&self) -> usize {
        let most = self.workers.len();
        let (mut items, mut nanos) = (0, 0.0);
        for worker in &self.workers {
            for (function, waits) in worker.waiting() {
                match self.item_cost(function) {
                    None => items += waits as usize,
                    Some(item_cost) => nanos += item_cost * f64::from(waits),
                }
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
        let holds = |id: &u64| self.jobs.get(id).is_some_and(|job| job.items(1) > 0);
        let waits = self.queue.iter().any(|(_, id)| holds(id));
        let some = usize::from(waits && self.workers.iter().all(Worker::is_away));
        (items + (nanos / ONE_MORE_WORKER) as usize)
            .max(some)
            .min(most)
    }

    /// When another worker should be started, however much work there is, because something waits
    /// and no worker makes progress.
    pub(crate) fn grows_at(&self) -> Option<Instant> {
        self.policy.elastic?;
        let mut waits = !self.queue.is_empty();
        let mut last = None;
        for worker in &self.workers {
            if worker.is_idle() || worker.is_on_its_way() {
                return None;
            }
            waits |= worker.waiting().any(|(_, items)| items > 0);
            if !worker.is_away() {
                last = last.max(Some(worker.front_since));
            }
        }
        let last = last.filter(|_| waits)?;
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
        let mut first = None;
        for worker in &self.workers {
            let leaves = worker.is_idle().then(|| worker.front_since + idle);
            first = earlier(first, leaves);
        }
        first
    }

    /// Dismisses workers that have been idle for too long.
    pub(crate) fn shrink(&mut self, now: Instant) {
        let Some((excess, idle)) = self.excess() else {
            return;
        };
        let mut left = excess;
        // The last slots first, because the first ones are filled first.
        for index in (0..self.workers.len()).rev() {
            let worker = &mut self.workers[index];
            if left > 0 && worker.is_idle() && worker.front_since + idle <= now {
                worker.fruitful = true;
                self.dismiss_worker(index, now);
                left -= 1;
            }
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
