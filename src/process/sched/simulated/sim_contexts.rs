//! Contexts that workers of one machine fetch from one another.

use super::*;

/// A large context is sent once to each machine, also to a worker that comes later, and to each
/// worker if it cannot be shown. One that is silent is waited for, but not for ever.
#[test]
fn a_context_crosses_the_way_once() {
    for (machines, apart) in [(1, false), (2, false), (2, true)] {
        let mut world = World::new(3); // plain, of four workers
        world.machines = machines;
        world.hostile = false;
        while !world.sched.workers.iter().all(Worker::is_idle) {
            world.step();
        }
        if apart {
            world
                .sched
                .workers
                .iter_mut()
                .for_each(|worker| worker.machine = None);
        }
        let id = world.common_job(4000, true);
        let all = |world: &World| {
            world
                .sims
                .iter()
                .flatten()
                .all(|sim| sim.contexts.contains(&id))
        };
        while !all(&world) {
            world.step();
        }
        let sent = if apart { 4 } else { machines as u32 };
        assert_eq!((world.sent, world.fetched), (sent, 4 - sent));
        if apart {
            continue;
        }
        let first = world
            .sims
            .iter()
            .position(|sim| sim.as_ref().is_some_and(|sim| sim.running.is_none()));
        world.die(first.unwrap_or(0));
        while !all(&world) || world.sims.iter().any(Option::is_none) {
            world.step();
        }
        assert_eq!((world.sent, world.fetched), (sent, 5 - sent));
    }
    let mut world = World::new(3);
    world.machines = 1;
    world.hostile = false;
    while !world.sched.workers.iter().all(Worker::is_idle) {
        world.step();
    }
    let id = world.common_job(4000, true);
    world.act();
    let first = world
        .sched
        .workers
        .iter()
        .position(|worker| worker.contexts.contains_key(&id));
    world.sims[first.unwrap()].as_mut().unwrap().frozen = true;
    let begin = world.now;
    let have = |world: &World| {
        let workers = world.sched.workers.iter();
        workers
            .filter(|worker| worker.contexts.contains_key(&id))
            .count()
    };
    let mut next = begin;
    while have(&world) == 1 {
        world.now = next;
        world.act();
        next = world.sched.deadline().unwrap_or(next).max(next);
    }
    let waited = world.now - begin;
    assert!(
        waited > Duration::from_secs(9) && waited < Duration::from_secs(11),
        "{waited:?}"
    );
}

/// A job with a large context gets workers, although an earlier job would keep all of them busy.
#[test]
fn a_large_context_does_not_keep_a_job_waiting() {
    for machines in [0, 1, 2] {
        let mut world = World::new(3); // plain, of four workers
        world.machines = machines;
        world.hostile = false;
        let other = world.common_job(4000, false);
        while !world.open.is_empty() {
            world.feed(0);
        }
        while world.ran.len() < 400 {
            world.step();
        }
        let id = world.common_job(4000, true);
        let workers = |world: &World| {
            let sims = world.sims.iter().flatten();
            sims.filter(|sim| sim.contexts.contains(&id)).count()
        };
        while workers(&world) < 4 {
            world.step();
        }
        let of_other = world.ran.keys().filter(|item| item.0 == other).count();
        assert!(
            of_other < 2000,
            "{machines} machines: it waited for {of_other}"
        );
    }
}

/// Four plain workers on one machine, which do nothing yet.
fn four_idle_workers() -> World {
    let mut world = World::new(3);
    world.machines = 1;
    world.hostile = false;
    while !world.sched.workers.iter().all(Worker::is_idle) {
        world.step();
    }
    world
}

/// The worker that shows a context dies while the others are asked to fetch it from there: one of
/// them gets it once more, for all.
#[test]
fn a_context_that_dies_with_its_worker_is_sent_once_more() {
    let mut world = four_idle_workers();
    let id = world.common_job(4000, true);
    world.act();
    let has = |world: &World, index: usize| world.sched.workers[index].contexts.get(&id).copied();
    let first = (0..4).find(|index| has(&world, *index).is_some()).unwrap();
    while !matches!(has(&world, first), Some(Has::Serves(_))) {
        world.work(first);
        world.hear(first, true);
    }
    world.act();
    let asked = (0..4).filter(|index| matches!(has(&world, *index), Some(Has::Fetches(..))));
    assert_eq!(asked.count(), 3);
    world.die(first);
    let all = |world: &World| {
        let mut sims = world.sims.iter().flatten();
        sims.all(|sim| sim.contexts.contains(&id)) && !world.sims.iter().any(Option::is_none)
    };
    while !all(&world) {
        world.step();
    }
    assert_eq!((world.sent, world.fetched), (2, 3));
}

/// Only as many workers are asked to fetch a context as have something to do with it.
#[test]
fn a_context_is_fetched_by_those_that_get_items() {
    let mut world = four_idle_workers();
    let id = world.common_job(2, true);
    while !world.open.is_empty() {
        world.feed(0);
    }
    while !world.book.lock().unwrap().ended.contains_key(&id) {
        world.step();
    }
    assert!(world.fetched <= 1, "{} have fetched it", world.fetched);
}

/// Who waits for a late answer is woken for each, also after the first was late.
#[test]
fn each_late_answer_has_its_alarm() {
    let mut world = World::new(3);
    world.hostile = false;
    while !world.sched.workers.iter().all(Worker::is_idle) {
        world.step();
    }
    let (begin, second) = (world.now, Duration::from_secs(1));
    let served = ServedContext {
        place: [0, 0],
        hash: 0,
    };
    for index in 0..4 {
        world.sched.workers[index].machine = None;
    }
    let worker = &mut world.sched.workers[0];
    worker.machine = Some("here".to_owned());
    worker.peer.has_taken(begin);
    for (id, at) in [(1, begin), (2, begin + 5 * second)] {
        worker.contexts.insert(id, Has::Fetches(at, served));
    }
    for late in [10, 15] {
        assert_eq!(world.sched.deadline(), Some(begin + late * second));
        world.sched.tick(begin + late * second);
    }
    assert_eq!(world.sched.deadline(), None);
}
