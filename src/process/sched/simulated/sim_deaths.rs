//! Workers that do not die, or never say hello, and the end of their pool.

use super::*;
use crate::process::job::job_id::JobId;

/// Stopped workers, some of which seem to have begun more than they have: once none of their items
/// is wanted, the pool soon ends.
#[test]
fn a_stopped_worker_does_not_delay_the_end() {
    let (mut frozen, mut lying) = (0, 0);
    for seed in 0..worlds() {
        let mut world = World::new(seed);
        world.breathe(seed);
        for _ in 0..300 {
            world.step();
        }
        world.hostile = false;
        for index in 0..world.sims.len() {
            let (freezes, lies) = (!world.chance(3), world.chance(3));
            let Some(sim) = world.sims[index].as_mut().filter(|_| freezes) else {
                continue;
            };
            sim.frozen = true;
            frozen += usize::from(!sim.inbox.is_empty());
            for (head, _) in sim.inbox.iter().filter(|_| lies) {
                sim.gates.gate(head.sequence as usize % GATES).pass();
                lying += 1;
            }
        }
        world.open.clear();
        let how = [How::Wait, How::CancelPending][seed as usize % 2];
        let (stops_first, begin) = (world.chance(2), world.now);
        if stops_first {
            world.sched.stop(how.into(), world.now);
        }
        for id in 1..world.next_job {
            world.cancelled.insert(id);
            world.sched.cancel(JobId::new(id), world.now);
        }
        if !stops_first {
            world.sched.stop(how.into(), world.now);
        }
        while !world.sched.is_over() {
            world.step();
            let took = world.now - begin;
            assert!(took < Duration::from_secs(2), "seed {seed} does not end");
        }
    }
    let least = worlds() as usize / 3;
    assert!(
        frozen > least && lying > least,
        "{frozen} frozen, {lying} lies"
    );
}

/// A worker that was killed but still lives is killed again, once a second.
#[test]
fn a_worker_that_does_not_die_is_killed_again() {
    let mut world = World::new(8); // one worker
    world.hostile = false;
    while !world.sched.workers[0].is_idle() {
        world.step();
    }
    world.sched.kill(SlotId(0), world.now);
    let second = Duration::from_secs(1);
    for (pause, kills) in [(Duration::ZERO, 1), (second / 2, 0), (second / 2, 1)] {
        world.now += pause;
        world.sched.tick(world.now);
        let actions = world.sched.actions();
        assert!(
            actions
                .iter()
                .all(|action| matches!(action, Action::Kill(SlotId(0))))
        );
        assert_eq!(actions.len(), kills);
    }
    // After that it is given up, unless it is at it; at last, even then.
    for n in 2..=30 {
        assert_eq!(world.sched.next_due(), Some(world.now + second));
        world.now += second;
        world.sched.tick(world.now);
        let actions = world.sched.actions();
        let expected = |action: &Action| match action {
            Action::Abandon {
                slot: SlotId(0),
                surely,
            } => *surely == (n == 30),
            _ => false,
        };
        assert!(actions.len() == 1 && expected(&actions[0]), "after {n} s");
    }
}

/// Whatever a worker has that was killed and does not die, it delays nothing for longer than the
/// limit, and its unbegun items run elsewhere.
#[test]
fn a_worker_that_does_not_die_is_given_up() {
    for seed in 0..worlds() {
        let mut world = World::new(seed);
        world.hostile = false;
        for _ in 0..5 {
            world.submit();
        }
        while !world.open.is_empty() {
            world.feed(0);
        }
        for _ in 0..world.random(400) {
            world.step();
        }
        for index in 0..world.sims.len() {
            let is_held = world.chance(2) || index == 0;
            if let (Some(sim), true) = (&mut world.sims[index], is_held) {
                sim.held = true;
                world.sched.kill(SlotId(index), world.now);
            }
        }
        world.act();
        let (begin, held) = (world.now, |sim: &Sim| sim.held);
        while world.sims.iter().flatten().any(held) {
            world.step();
            let waits = world.chance(20) && world.sims.iter().flatten().any(held);
            if let (Some(due), true) = (world.sched.next_due(), waits) {
                world.now = world.now.max(due);
            }
            let took = world.now - begin;
            assert!(took <= Duration::from_secs(31), "seed {seed}: {took:?}");
        }
        world.end(seed);
    }
}

/// A worker that was killed between two items, and does not die, runs none: the next item is not
/// late, and runs elsewhere.
#[test]
fn a_killed_worker_between_two_items_makes_none_late() {
    let mut world = World::with_workers(1, false);
    let mut options = CallOptions::default();
    options.timeout = Some(Duration::from_millis(10));
    options.chunk = Some(2);
    let id = world.call_of(2, options);
    world.act();
    while world.sched.workers[0].frames[0].done == 0 {
        world.work(0);
        world.hear(0, true);
    }
    assert!(world.sim(0).running.is_none() && world.sched.workers[0].frames[0].end == 2);
    world.sim(0).held = true;
    world.sched.kill(SlotId(0), world.now);
    let begin = world.now;
    while world.sims[0].as_ref().is_some_and(|sim| sim.held) {
        world.act();
        world.now += Duration::from_millis(10);
        assert!(world.now - begin < Duration::from_secs(31));
    }
    while !world.book.lock().unwrap().ended.contains_key(&id) {
        world.step();
    }
    assert!(matches!(world.book.lock().unwrap().ended[&id], Ok(2)));
    assert_eq!((world.ran[&(id, 0)], world.ran[&(id, 1)]), (1, 1));
}

/// Once everything was killed, the limit of the end that has passed wakes nobody any more.
#[test]
fn the_end_of_a_pool_sleeps_until_the_killed_are_dead() {
    let mut world = World::new(2);
    world.hostile = false;
    while world.sched.workers.iter().any(|worker| !worker.is_idle()) {
        world.step();
    }
    world
        .sims
        .iter_mut()
        .flatten()
        .for_each(|sim| sim.frozen = true);
    let limit = world.now + Duration::from_millis(500);
    let how = How::CancelPending;
    let stop = crate::process::sched::Stop {
        how,
        limit: Some(limit),
        is_drop: false,
    };
    world.sched.stop(stop, world.now);
    for sim in world.sims.iter_mut().flatten() {
        sim.held = true;
    }
    world.now = limit;
    world.act();
    assert!(world.sims.iter().flatten().all(|sim| sim.killed));
    assert!(world.sched.next_due().is_some_and(|at| at > world.now));
}

/// After the second worker in a row that never says hello, waiting calls fail, and no worker is
/// started before there is another call.
#[test]
fn a_worker_that_never_reaches_init_is_not_retried_for_ever() {
    let mut world = World::new(8); // one worker
    world.hostile = false;
    world.submit();
    let (mut started, begin) = (0, world.now);
    while world.now < begin + Duration::from_secs(600) {
        world.sched.tick(world.now);
        for action in world.sched.actions() {
            match action {
                Action::Spawn(SlotId(0)) => {
                    started += 1;
                    let gates = FrameControl::on_pages(Front::own());
                    world.sched.started(SlotId(0), 100, gates, world.now);
                }
                Action::Kill(SlotId(0)) => {
                    let mut exit = WorkerExit::new(100);
                    exit.cause = Cause::Pool;
                    world.sched.died(SlotId(0), &exit, false, world.now);
                }
                _ => unreachable!("nobody is there"),
            }
        }
        world.now += Duration::from_secs(1);
    }
    assert_eq!(started, 2);
}
