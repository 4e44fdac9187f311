//! Copies of slow items (`ProcessCall::hedge`).
//!
//! An item of such a call goes alone, to an idle worker. Once it has run for longer than its call
//! allows, and a worker is idle while nothing waits, that worker gets a copy of it. Each copy is in
//! a frame that counts in its job; nothing else keeps track of them. The first that ends, in a
//! value or an error, ends the item: the other is not wanted any more, and is cancelled like any
//! other item. As long as one of them is out, the death of the other one's worker is not the
//! item's. An item is copied once at most.
//!
//! How long it may run follows from the median of those before it. That is exact, and costs a few
//! comparisons per item: two heaps hold the shorter and the longer half of the times.
//!
//! Tests: below; `src/process/sched/simulated.rs`, `tests/process/stragglers.rs`.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::time::{Duration, Instant};

use super::marks::Marks;
use super::memory;
use crate::process::limits::{HEDGE_AFTER_ITEMS, HEDGE_FROM};
use crate::process::sched::Sched;
use crate::process::sched::sent_frame::SentFrame;
use crate::process::sched::workers::Worker;

/// What is known of the calls with copies, by job.
#[derive(Default)]
pub(super) struct Hedges(HashMap<u64, Hedge>);

impl Hedges {
    /// The job `id` has ended.
    pub(super) fn forget(&mut self, id: u64) {
        self.0.remove(&id);
    }
}

impl Sched {
    /// When the item that `worker` runs should be copied, if it has begun and a worker is idle.
    pub(crate) fn next_time(&self, worker: &Worker) -> Option<Instant> {
        let frame = worker.frames.front().filter(|frame| frame.marks.hedged)?;
        let hedge = self.rules.hedges.0.get(&frame.job);
        let patience = hedge
            .filter(|_| frame.wanted)?
            .patience(frame.piece.first())?;
        let noted = self.epoch.instant(frame.gate().started());
        let started = noted.map_or(frame.sent, |noted| noted.max(frame.sent));
        started.checked_add(patience)
    }

    /// The worker with the item that should be copied now.
    pub(crate) fn straggler(&self, now: Instant) -> Option<usize> {
        let due = |(index, worker): (usize, &Worker)| Some((self.next_time(worker)?, index));
        let runs = |index: usize| {
            let front = self.workers[index].frames.front();
            front.is_some_and(SentFrame::runs)
        };
        let due = self.workers.iter().enumerate().filter_map(due);
        let (_, index) = due.filter(|(at, index)| *at <= now && runs(*index)).min()?;
        // (What another worker has not begun is taken over soon.)
        let waits = |worker: &Worker| {
            let mut frames = worker.frames.iter();
            frames.any(|frame| frame.wanted && !frame.marks.hedged && frame.begun() < frame.end)
        };
        let frame = &self.workers[index].frames[0];
        let fits = memory::fits(&self.workers, self.policy.memory_budget, frame.marks.memory);
        let is_free = !self.has_queued() && !self.is_stopped() && fits;
        let is_idle = self.workers.iter().any(Worker::is_idle);
        (is_free && is_idle && !self.workers.iter().any(waits)).then_some(index)
    }

    /// Gives copies of slow items to idle workers.
    pub(crate) fn after_dispatch(&mut self, now: Instant) {
        while let Some(slow) = self.straggler(now) {
            let frame = &self.workers[slow].frames[0];
            let (id, function, mut piece) = (frame.job, frame.function, frame.piece.clone());
            piece.moves = u32::MAX; // nobody takes it over soon, because the item runs already
            let Some(idle) = self.idle_for(id, now) else {
                return;
            };
            if let Some(hedge) = self.rules.hedges.0.get_mut(&id) {
                hedge.copies(piece.first());
            }
            self.counters.stats.lock().hedged += 1;
            self.send_items(idle, id, piece, self.item_costs.of(function), now);
        }
    }

    /// The worker, other than `except`, that has the item at `at` of a hedged call.
    fn twin(&self, id: u64, at: usize, except: usize) -> Option<usize> {
        let has = |worker: &Worker| {
            let front = worker.frames.front();
            front.is_some_and(|one| one.wanted && one.job == id && one.piece.first() == at)
        };
        let mut all = self.workers.iter().enumerate();
        all.position(|(index, worker)| index != except && has(worker))
    }

    /// The item of worker `index`, of a hedged call, ends: its other copy is not wanted any more.
    pub(crate) fn on_end(&mut self, index: usize, now: Instant) {
        let Some(frame) = self.workers[index]
            .frames
            .front()
            .filter(|one| one.marks.hedged)
        else {
            return;
        };
        let (id, at) = (frame.job, frame.piece.first());
        let (Some(other), Some(job)) = (self.twin(id, at, index), self.jobs.get_mut(&id)) else {
            return;
        };
        self.workers[other].cut_off(0, 0);
        self.workers[other].frames[0].wanted = false;
        job.frames -= 1;
        self.cancel_running(other, 0, now);
    }

    /// Worker `index` does not run the item at `at` of the job `id` any more, whether it had `begun`
    /// or not. Whether another copy goes on. (If this one had not begun, there may be a further
    /// one.)
    pub(crate) fn goes_on(
        &mut self,
        marks: Marks,
        (id, at): (u64, usize),
        (index, begun): (usize, bool),
    ) -> bool {
        let goes_on = marks.hedged && self.twin(id, at, index).is_some();
        let hedge = self.rules.hedges.0.get_mut(&id);
        if let Some(hedge) = hedge.filter(|_| goes_on && !begun) {
            hedge.returns(at);
        }
        goes_on
    }

    /// A frame of the job `id` has ended, whose item has taken so long.
    pub(crate) fn on_frame_end(&mut self, marks: Marks, id: u64, nanos: u64) {
        let job = self.jobs.get(&id).filter(|_| marks.hedged);
        if let Some(factor) = job.and_then(|job| job.work.options.hedge) {
            let hedges = &mut self.rules.hedges.0;
            hedges
                .entry(id)
                .or_insert_with(|| Hedge::new(factor))
                .learn(nanos);
        }
    }
}

/// The times of a call's items, and its copies.
#[derive(Debug, Default)]
struct Hedge {
    factor: f64,
    /// In nanoseconds: the shorter half, which has the median as its maximum.
    short: BinaryHeap<u64>,
    long: BinaryHeap<Reverse<u64>>,
    /// The items that have been copied: once at most, so that the number of workers that an item
    /// can cost is limited.
    copied: HashSet<usize>,
}

impl Hedge {
    /// (A factor below 1, or none at all, counts as 1.)
    fn new(factor: f64) -> Self {
        Self {
            factor: factor.max(1.0),
            ..Self::default()
        }
    }

    /// An item has taken so long.
    fn learn(&mut self, nanos: u64) {
        self.short.push(nanos);
        self.long.extend(self.short.pop().map(Reverse));
        if self.long.len() > self.short.len() {
            self.short
                .extend(self.long.pop().map(|Reverse(nanos)| nanos));
        }
    }

    /// How long the item at `index` may run until it is copied; `None`: it is not copied, or not
    /// yet.
    fn patience(&self, index: usize) -> Option<Duration> {
        let median = *self.short.peek()?;
        if self.short.len() + self.long.len() < HEDGE_AFTER_ITEMS || self.copied.contains(&index) {
            return None;
        }
        // A time that no `Duration` can hold is never over.
        let patience = Duration::try_from_secs_f64(self.factor * median as f64 / 1e9).ok()?;
        Some(patience.max(HEDGE_FROM))
    }

    /// The item at `index` is copied.
    fn copies(&mut self, index: usize) {
        self.copied.insert(index);
    }

    /// A copy of the item at `index` came back before it began: there may be another.
    fn returns(&mut self, index: usize) {
        self.copied.remove(&index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_median() {
        let mut hedge = Hedge::new(2.0);
        let mut times = Vec::new();
        let mut next = 12345u64;
        for round in 0..200 {
            next = next.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let time = (next >> 40) * 1000 + 10_000_000;
            hedge.learn(time);
            times.push(time);
            times.sort_unstable();
            let expected = Duration::from_nanos(2 * times[round / 2]);
            assert_eq!(hedge.patience(7), (round >= 2).then_some(expected));
        }
        hedge.copies(7);
        assert!(hedge.patience(7).is_none() && hedge.patience(8).is_some());
        hedge.returns(7);
        assert!(hedge.patience(7).is_some());
    }

    #[test]
    fn any_factor_is_possible() {
        for factor in [f64::NAN, f64::NEG_INFINITY, 0.0, 1.0, f64::INFINITY] {
            let mut hedge = Hedge::new(factor);
            for _ in 0..3 {
                hedge.learn(10_000_000);
            }
            let expected = (factor != f64::INFINITY).then_some(HEDGE_FROM);
            assert_eq!(hedge.patience(0), expected, "{factor}");
        }
    }
}
