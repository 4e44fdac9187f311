//! Whether every queued entry is taken, whatever else is queued: the real queues and the real
//! search of some workers, which one thread drives, with adversaries from many seeds.
//!
//! A task that is run may queue its successor in its worker's own deque, or outside; a worker may
//! go to sleep or wait at any time, or stay in one task, for as long as it likes; the first worker
//! never does. The clock is fast or stands still. *Age* is the number of entries of any queue that
//! were taken since an entry was queued.

use std::collections::HashMap;
use std::sync::mpsc;

use super::*;
use crate::task::{self, TaskId};
use crate::thread::engine::config::Config;
use crate::thread::engine::raw_current as current;
use crate::thread::engine::registry::Registry;
use crate::thread::engine::sleep::Need;

/// How many entries are queued at most.
const QUEUED: usize = 20;

/// The greatest age. One of two searches in [`FAIRNESS`] serves a deque, and of four deques each is
/// the next in every fourth of these: 17 entries in one of them are gone after 8,296 of a worker's
/// searches. Meanwhile others take some, too.
const GREATEST_AGE: u64 = 12_000;

#[derive(Clone, Copy)]
enum Clock {
    /// Each task takes so long that a round is always due.
    Fast,
    Still,
}

struct Simulation {
    workers: Vec<Worker>,
    clock: Clock,
    random: u64,
    /// When each queued entry was queued.
    queued: HashMap<TaskId, u64>,
    taken: u64,
    oldest: u64,
    most: usize,
}

impl Simulation {
    fn new(width: usize, clock: Clock, seed: u64) -> Self {
        let config = Config {
            threads: width,
            ..Config::default()
        };
        Self::of(config, clock, seed)
    }

    fn of(config: Config, clock: Clock, seed: u64) -> Self {
        let width = config.threads;
        // No thread is ever started, only named.
        let registry = Registry::new(config, |registry, need| {
            match need {
                Need::Runner => {
                    let _name = registry.config.name_of(0);
                    registry.sleep.not_started();
                }
                Need::Monitor => registry.sleep.end_monitor(),
            }
            true
        });
        (0..width).for_each(|_| _ = registry.sleep.found());
        let owned_slots = registry.slots.add_places(0..width).into_iter();
        let worker = |owned| Worker::new(Arc::clone(&registry), owned);
        Self {
            workers: owned_slots.map(worker).collect(),
            clock,
            random: seed,
            queued: HashMap::new(),
            taken: 0,
            oldest: 0,
            most: 0,
        }
    }

    /// A random number below `n`.
    fn random(&mut self, n: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let x = (self.random ^ (self.random >> 31)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (x ^ (x >> 29)) % n
    }

    /// Queues a task in the deque of this worker, or outside.
    fn push(&mut self, worker: Option<usize>) -> TaskId {
        let (runnable, task) = task::closure(|| (), false);
        let id = task.id();
        self.queued.insert(id, self.taken);
        self.most = self.most.max(self.queued.len());
        match worker {
            Some(worker) => self.workers[worker].push_task(runnable),
            None => {
                let pushed = self.workers[0].registry.inject(Work::Task(runnable));
                assert!(pushed.is_ok());
            }
        }
        id
    }

    /// This worker takes an entry and runs it.
    fn take(&mut self, worker: usize) -> Option<TaskId> {
        let worker = &self.workers[worker];
        let mut fairness = worker.search.fairness.get();
        fairness.last.0 = match self.clock {
            Clock::Fast => 0,
            Clock::Still => u64::MAX,
        };
        worker.search.fairness.set(fairness);
        let Work::Task(task) = worker.find()? else {
            unreachable!("there is nothing else");
        };
        self.taken += 1;
        let id = task.id();
        let age = self.taken - self.queued.remove(&id).expect("queued, and taken once");
        self.oldest = self.oldest.max(age);
        task.run();
        Some(id)
    }

    /// Takes what is left: a task that is never run would be reported.
    fn end(mut self) {
        self.workers.iter().for_each(Worker::leave_queues);
        while self.take(0).is_some() {}
        assert!(self.queued.is_empty());
    }

    /// The greatest age of any entry so far.
    fn oldest(&self) -> u64 {
        let ages = self.queued.values().map(|queued| self.taken - queued);
        ages.fold(self.oldest, u64::max)
    }
}

#[test]
fn no_entry_is_passed_over_for_ever() {
    for seed in 0..12 {
        let width = 1 + seed as usize % 4;
        let mut it = Simulation::new(width, Clock::Fast, seed);
        // What the tasks of this seed like to do, of 8.
        let (own, outside) = (it.random(9), it.random(9));
        // Until when each worker does not look for work.
        let mut away = vec![0; width];
        while it.taken < 5 * GREATEST_AGE {
            let at = it.random(width as u64) as usize;
            if it.taken < away[at] {
                continue;
            }
            it.workers[at].return_to_queues();
            if it.take(at).is_none() && it.queued.is_empty() {
                it.push(None);
            }
            // Mostly one for one, so that no queue is ever empty.
            for _ in 0..1 + it.random(2) {
                if it.queued.len() < QUEUED && it.random(8) < own {
                    it.push(Some(at));
                }
                if it.queued.len() < QUEUED && it.random(8) < outside {
                    it.push(None);
                }
            }
            if at > 0 && it.random(50) == 0 {
                let long = [100, 10_000, 1_000_000][it.random(3) as usize];
                away[at] = it.taken + it.random(long);
                // Otherwise it is in one task for long, and nobody knows.
                if it.random(2) == 0 {
                    it.workers[at].leave_queues();
                }
            }
        }
        assert!(it.oldest() < GREATEST_AGE, "seed {seed}: {}", it.oldest());
        it.end();
    }
}

#[test]
fn an_old_entry_is_taken_though_the_clock_stands_still() {
    let mut it = Simulation::new(1, Clock::Still, 0);
    let (first, second) = (it.push(Some(0)), it.push(Some(0)));
    it.push(Some(0));
    while it.queued.contains_key(&first) || it.queued.contains_key(&second) {
        it.take(0);
        it.push(Some(0));
        assert!(it.oldest() <= 2 * u64::from(FAIRNESS * (LATEST + 2)));
    }
    it.end();
}

/// Fairness does not come at the price of depth first: few entries of a tree of tasks are queued at
/// a time.
#[test]
fn a_tree_of_tasks_leaves_few_entries() {
    const DEPTH: u32 = 17;
    let mut it = Simulation::new(1, Clock::Still, 0);
    let mut depths = HashMap::from([(it.push(Some(0)), DEPTH)]);
    while let Some(id) = it.take(0) {
        let depth = depths.remove(&id).unwrap();
        let children = if depth == 0 { 0 } else { 2 };
        depths.extend((0..children).map(|_| (it.push(Some(0)), depth - 1)));
    }
    assert_eq!(it.taken, (2 << DEPTH) - 1);
    assert!(it.most <= 6 * DEPTH as usize, "{} at once", it.most);
}

/// What a worker leaves behind that waits or sleeps comes before everything in the injector.
#[test]
fn what_a_worker_leaves_behind_is_taken_first() {
    let mut it = Simulation::new(2, Clock::Still, 0);
    (0..5).for_each(|_| _ = it.push(None));
    let left: Vec<_> = (0..5).map(|_| it.push(Some(1))).collect();
    it.workers[1].leave_queues();
    let taken: Vec<_> = (0..5).filter_map(|_| it.take(0)).collect();
    assert_eq!(taken, left);
    it.workers[1].return_to_queues();
    assert!(!it.workers[0].registry.some_unattended());
    it.end();
}

/// The user's code that names it may use the pool.
#[test]
fn a_thief_that_starts_a_thread_does_not_borrow_the_slots() {
    let (tell, named) = mpsc::channel();
    let name = move |_| {
        current::with_home(|home| home.map(|home| drop(home.slots())));
        tell.send(()).unwrap();
        Some(String::new())
    };
    let config = Config {
        threads: 2,
        thread_name: Some(Box::new(name)),
        ..Config::default()
    };
    let mut it = Simulation::of(config, Clock::Still, 0);
    // Fewer run than the pool is wide, because one waits.
    it.workers[0].registry.sleep.block();
    // So many that the thief takes several.
    (0..1000).for_each(|_| _ = it.push(Some(0)));
    let thief = &it.workers[1];
    let before = named.try_iter().count();
    let stolen = current::at_home(thief, || thief.find());
    assert!(before > 0 && named.try_iter().count() == 1);
    let Some(Work::Task(task)) = stolen else {
        unreachable!("there is nothing else");
    };
    it.queued.remove(&task.id());
    task.run();
    it.end();
}

/// Each look is at all deques: those of all that search would be too many.
#[test]
fn where_many_search_no_more_look_on() {
    let all = Simulation::new(200, Clock::Still, 1);
    let worker = &all.workers[0];
    let mut looks = Vec::new();
    while worker.registry.sleep.search(false) {
        let before = worker.search.searches.get();
        assert!(worker.look_around().is_none());
        looks.push(worker.search.searches.get() - before);
    }
    assert_eq!((looks.len(), looks[0], looks[63]), (100, 16, 10));
    assert_eq!(looks[64..], [0; 36]);
    all.end();
}
