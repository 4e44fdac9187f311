//! The bounds of a pool change while it works, and are kept.

use super::*;
use crate::process::limits::ONE_MORE_WORKER_HERE;
use crate::process::sched::start;
use crate::process::sched::workers::Stage;

/// How long a pool may take until its width is within its bounds, if nothing bad happens. (One
/// worker may have thousands of items to do before it is idle, at some milliseconds each.)
const SETTLES_WITHIN: Duration = Duration::from_secs(120);

impl World {
    /// The bounds change.
    pub(super) fn resize(&mut self) {
        let most = 1 + self.random(6) as usize;
        let least = match self.random(3) {
            0 => most,
            _ => self.random(most as u64 + 1) as usize,
        };
        self.set_workers(least, most);
    }

    pub(super) fn set_workers(&mut self, least: usize, most: usize) {
        let takes = |worker: &Worker| worker.stage() == Stage::Ready;
        let before = self.sched.workers.count(takes);
        let had = |worker: &Worker| takes(worker) && !worker.frames.is_empty();
        let busy = self.sched.workers.count(had);
        self.sched.set_workers(least, most, self.now);
        self.sims.resize_with(self.sched.workers.len(), || None);
        if self.sched.stop.is_none() {
            self.bounds = Some((least, most));
            self.narrowed += u32::from(most < before && most < busy);
        }
        let after = self.sched.workers.count(takes);
        // (Of a worker and its successor one may be ready, and the other not yet.)
        assert!(
            after >= before.min(most),
            "{before} took items, with bounds from {least} to {most} only {after}"
        );
    }

    /// How many workers there are that stay: they run or begin, and are not sent away. Who is
    /// replaced counts once.
    fn staying(&self) -> usize {
        let stays = |worker: &&Worker| {
            matches!(
                worker.stage(),
                Stage::Asked
                    | Stage::Starting(_)
                    | Stage::Preparing
                    | Stage::Waiting
                    | Stage::Ready
            )
        };
        let numbers = self.sched.workers.iter().filter(stays).map(Worker::number);
        numbers.collect::<HashSet<_>>().len()
    }

    /// No worker is started above the bounds.
    pub(super) fn check_start(&self) {
        if let Some((_, most)) = self.bounds {
            let stay = self.staying();
            assert!(stay <= most, "{stay} of at most {most}");
        }
    }

    /// No more workers take items than there should be.
    pub(super) fn check_width(&self) {
        if let Some((_, most)) = self.bounds {
            let takes = |worker: &Worker| worker.stage() == Stage::Ready;
            let take = self.sched.workers.count(takes);
            let known = || self.sched.workers.iter().map(Worker::known);
            assert!(
                take <= most,
                "{take} of at most {most} take items: {:?}",
                known().collect::<Vec<_>>()
            );
        }
    }

    /// How many processes there are, if nobody comes or leaves. (Who is to be replaced afterwards
    /// stays until it has had all of its items.)
    fn settled(&self) -> Option<usize> {
        let mut count = 0;
        let first = self.sched.policy.replace_first;
        for worker in self.sched.workers.iter() {
            match worker.stage() {
                Stage::Down(_) => {}
                Stage::Ready if !worker.is_outgoing() || !first => count += 1,
                _ => return None,
            }
        }
        Some(count)
    }

    /// Steps until the width is within the bounds, and as it should be. False: a slot is given up,
    /// because its workers have died in a row, and so is empty until there is work.
    fn settles(&mut self, seed: u64, is_right: fn(usize, (usize, usize)) -> bool) -> bool {
        let (begin, bounds) = (self.now, self.bounds.unwrap());
        let given_up = |worker: &Worker| worker.stage().is_down() && worker.is_given_up();
        let is_settled = |world: &Self| {
            let fewer = world.sched.workers.count(given_up) > 0;
            let within = |width| is_right(width, bounds) || fewer && width <= bounds.1;
            world.settled().is_some_and(within)
        };
        while !is_settled(self) {
            self.step();
            let left = self.now - begin < SETTLES_WITHIN;
            assert!(
                left,
                "seed {seed}: {bounds:?}, and {:?}",
                self.sched
                    .workers
                    .iter()
                    .map(Worker::known)
                    .collect::<Vec<_>>()
            );
        }
        self.settled().is_some_and(|width| is_right(width, bounds))
    }
}

/// Of workers that are too many those leave first that take no items yet: otherwise nobody would
/// until their initializers have run, if they ever do.
#[test]
fn who_takes_no_items_leaves_first() {
    for has_said_hello in [false, true] {
        let mut world = World::with_workers(1, false);
        world.sched.policy.initializers = World::new(1).sched.policy.initializers.clone();
        world.set_workers(2, 2);
        world.act();
        let hello = |world: &mut World| world.sched.workers[1].says_hello(world.now);
        assert!(!has_said_hello || hello(&mut world));
        world.set_workers(1, 1);
        if !has_said_hello {
            start::hello(&mut world.sched, SlotId(1));
        }
        assert!(world.sched.workers[0].is_idle());
        assert_eq!(world.sched.workers[1].stage(), Stage::Retiring);
    }
}

/// A worker that has been idle for long stays while the others take no items yet.
#[test]
fn who_is_idle_stays_until_another_takes_items() {
    let mut world = World::with_workers(1, false);
    world.set_workers(2, 2);
    world.act();
    world.sched.policy.idle = Duration::from_millis(1);
    world.set_workers(1, 2);
    world.pass(20, Some(1)); // the second one says nothing
    assert_eq!(world.sched.workers[0].stage(), Stage::Ready);
    world.pass(20, None);
    assert_eq!(world.settled(), Some(1));
}

/// Items that wait for less than a start takes are no reason for another worker, and one that waits
/// for longer behind another is.
#[test]
fn another_worker_is_started_for_what_waits_longer_than_a_start() {
    waits_for_longer_than(Duration::from_nanos(ONE_MORE_WORKER_HERE as u64));
    waits_for_longer_than(Duration::from_millis(80));
}

fn waits_for_longer_than(start: Duration) {
    let mut world = World::with_workers(1, false);
    world.sched.start_takes = start;
    world.call(0);
    world.pass(5, None); // now it is known how long items take
    world.set_workers(1, 3);
    for _ in 0..20 {
        world.call(0);
    }
    for _ in 0..400 {
        world.act();
        world.work(0);
        world.sim(0).until = world.now; // no item takes long
        world.hear(0, true);
    }
    assert_eq!(
        (world.book.lock().unwrap().ended.len(), world.staying()),
        (21, 1)
    );
    world.call(0);
    world.takes(0, 60_000);
    world.call(0);
    world.act();
    let begin = world.now;
    while world.staying() == 1 {
        world.now += Duration::from_micros(100);
        world.act();
        assert!(
            world.now - begin < Duration::from_secs(1),
            "it waits for ever"
        );
    }
    let waited = world.now - begin;
    assert!(
        waited >= start && waited < 2 * start,
        "{waited:?}, and a start takes {start:?}"
    );
    // That one is enough for what waits.
    world.pass(150, None);
    assert_eq!(
        (world.book.lock().unwrap().ended.len(), world.staying()),
        (22, 2)
    );
}

/// Bounds that change at any time, while workers die, are replaced, and are slow to begin: no item
/// is lost, no replacement makes a gap, nobody is started above the bounds, and once nothing
/// happens any more the width is within them: the least, when there is no work.
#[test]
fn bounds_change_at_any_time() {
    let (mut withdrawn, mut narrowed, mut succeeded, mut settled) = (0, 0, 0, 0);
    for seed in 0..worlds() {
        let mut world = World::new(seed);
        world.breathe(seed);
        world.resizes = Some(20 + seed % 200);
        world.starts_later = seed % 4 < 2;
        world.resize();
        for _ in 0..1500 {
            world.step();
        }
        (world.hostile, world.resizes) = (false, None);
        if !world.broken {
            world.sched.policy.idle = Duration::from_millis(3);
            world.resize();
            while !world.open.is_empty() {
                world.feed(0);
            }
            settled += u32::from(world.settles(seed, |width, (least, _)| width == least));
            world.set_workers(2, 2);
            settled += u32::from(world.settles(seed, |width, _| width == 2));
            for _ in 0..20 {
                world.call(0);
            }
        }
        world.end(seed);
        withdrawn += world.withdrawn;
        narrowed += world.narrowed;
        succeeded += world.succeeded;
    }
    let least = worlds() as u32;
    assert!(
        withdrawn > least / 6 && narrowed > least && succeeded > least && settled > least,
        "{withdrawn} withdrawn, {narrowed} times too many had items, {succeeded} replaced, {settled} \
            settled"
    );
}
