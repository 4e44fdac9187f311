//! Workers that are stopped, or take long to answer.

use super::*;
use crate::process::job::job_id::JobId;

/// A stopped worker that holds the ends of channels of items which were taken back is soon killed,
/// and does not keep waking the driver.
#[test]
fn a_stopped_worker_keeps_no_ends() {
    let mut held = 0;
    for seed in 0..worlds() {
        let mut world = World::new(seed);
        world.breathe(seed);
        let holds = |sim: &Sim, world: &World| {
            let (head, items) = sim.inbox.front()?;
            let known = world.jobs.get(&items.front()?.0).copied()?;
            let ends = head.ends || known.context && known.ends;
            (ends && sim.begun == 0 && sim.running.is_none()).then(|| sim.gates.clone())
        };
        let mut frozen = Vec::new();
        for _ in 0..400 {
            world.step();
            for index in 0..world.sims.len() {
                let sim = world.sims[index].as_ref();
                if let Some(gates) = sim.and_then(|sim| holds(sim, &world)) {
                    frozen.push((index, gates));
                    world.sims[index].as_mut().unwrap().frozen = true;
                }
            }
            if !frozen.is_empty() {
                break;
            }
        }
        world.hostile = false;
        // Other workers take over some items; the rest is cancelled.
        let begin = world.now;
        while world.now - begin < Duration::from_millis(300) {
            world.step();
        }
        for id in 1..world.next_job {
            world.cancelled.insert(id);
            world.sched.cancel(JobId::new(id), world.now);
        }
        let begin = world.now;
        while world.now - begin < Duration::from_millis(1100) {
            world.step();
        }
        for (index, gates) in &frozen {
            let lives = world.sims[*index]
                .as_ref()
                .is_some_and(|sim| Arc::ptr_eq(&sim.gates, gates));
            assert!(!lives, "seed {seed}: {index} keeps ends");
            held += 1;
        }
    }
    assert!(held > worlds() / 4, "{held} held ends");
}

/// A plain worker that is stopped before it has begun its items: these run elsewhere. An item that
/// it runs, and the items behind that, wait for it.
#[test]
fn a_stopped_worker_loses_items_it_has_not_begun() {
    let (mut killed, mut waits) = (0, 0);
    for seed in (0..4 * worlds()).filter(|seed| seed % 4 == 3 && seed % 5 != 2) {
        let mut world = World::new(seed);
        world.hostile = false;
        while world.sched.workers.iter().any(|worker| !worker.is_idle()) {
            world.step();
        }
        world.breathe(seed);
        for _ in 0..6 {
            world.submit();
        }
        while !world.open.is_empty() {
            world.feed(0);
        }
        world.act();
        for _ in 0..world.random(60) {
            world.step();
        }
        let mut still = Vec::new();
        for (index, sim) in world.sims.iter_mut().enumerate().take(2) {
            let Some(sim) = sim else { continue };
            sim.frozen = true;
            let waits = sim.running.is_some();
            still.push((index, sim.gates.clone(), waits));
        }
        let begin = world.now;
        while (world.book.lock().unwrap().ended.len() as u64) < world.next_job - 1 {
            world.step();
            let took = world.now - begin;
            assert!(
                took < Duration::from_secs(5),
                "seed {seed}: something is kept"
            );
            if took < Duration::from_secs(2) {
                continue;
            }
            for (index, gates, runs) in std::mem::take(&mut still) {
                let sim = world.sims[index].as_mut();
                match sim.filter(|sim| Arc::ptr_eq(&sim.gates, &gates)) {
                    Some(sim) => {
                        // One that is killed while it is stopped does not go on.
                        sim.frozen = sim.killed;
                        waits += u32::from(runs && !sim.killed);
                    }
                    None => killed += 1,
                }
            }
        }
        world.sched.stop(How::Wait.into(), world.now);
        while !world.sched.is_over() {
            world.step();
        }
        world.check();
    }
    assert!(
        killed > 0 && waits > 0,
        "{killed} were killed, {waits} went on"
    );
}

/// Each worker takes long to begin the item, which is large or has much that comes along: it is
/// left to one of them, though others are idle.
#[test]
fn an_item_that_takes_long_to_begin_is_begun() {
    const LONG: Duration = Duration::from_millis(100);
    // Plain, of four workers; and of three that are not.
    for seed in [3, 6] {
        let mut world = World::new(seed);
        world.hostile = false;
        while !world.sched.workers.iter().all(Worker::is_idle) {
            world.step();
        }
        let (id, begin) = (world.call(0), world.now);
        let mut comes = vec![None; world.sims.len()];
        while !world.book.lock().unwrap().ended.contains_key(&id) {
            world.act();
            for (index, comes) in comes.iter_mut().enumerate() {
                while let Some(frame) = world.sims[index].as_mut().unwrap().unread.pop_front() {
                    world.read(index, &frame);
                }
                if world.sims[index].as_ref().unwrap().inbox.is_empty() {
                    *comes = None;
                } else if *comes.get_or_insert(world.now + LONG) <= world.now {
                    world.work(index);
                    *comes = None; // the next takes as long
                }
                world.hear(index, true);
            }
            world.now += Duration::from_micros(500);
            assert!(world.now - begin < 20 * LONG, "{seed}: no worker begins it");
        }
        assert_eq!(world.ran[&(id, 0)], 1);
    }
}

/// A frame that was cancelled behind a long one gets its time to end when it is the first.
#[test]
fn a_frame_that_waited_gets_time_to_end() {
    let mut world = World::with_workers(1, true);
    world.call(0);
    world.takes(0, 60_000);
    let mut options = CallOptions::default();
    options.timeout = Some(Duration::from_millis(10));
    let behind = world.call_with(options);
    world.pass(3000, None);
    world.cancelled.insert(behind);
    world.sched.cancel(JobId::new(behind), world.now);
    world.pass(100, None);
    assert_eq!(world.sched.workers[0].frames.len(), 2, "both are there");
    world.takes(0, 0);
    while world.sim(0).inbox.len() == 2 {
        world.work(0);
    }
    world.pass(500, Some(0));
    assert_eq!(world.sched.workers[0].frames.len(), 1, "its end is due");
    assert!(!world.sim(0).killed, "it had no time");
    world.pass(10, None);
    assert!(!world.sim(0).killed && world.sched.workers[0].is_idle());
}

/// A plain worker whose items were all taken over may be busy with something else that it was told.
/// It is killed when something waits for that.
#[test]
fn a_worker_without_items_may_take_its_time() {
    let mut world = World::with_workers(2, true);
    world.call(0);
    world.act();
    let has_it = |worker: &Worker| !worker.frames.is_empty();
    let busy = world.sched.workers.iter().position(has_it).unwrap();
    world.pass(5000, Some(busy));
    assert!(world.book.lock().unwrap().ended.len() == 1 && !world.sim(busy).killed);
    let ends: Vec<u32> = world.sched.workers[busy]
        .frames
        .iter()
        .map(|frame| frame.end)
        .collect();
    assert_eq!(ends, [0], "it lives, and has not ended its frame");
    assert_eq!(world.sched.next_due(), None);
    world.call(0);
    world.takes(1 - busy, 60_000);
    world.call(0);
    world.pass(900, Some(busy));
    assert!(!world.sim(busy).killed, "the next one waits for a moment");
    world.pass(200, Some(busy));
    let sim = world.sims[busy].as_ref();
    assert!(sim.is_none_or(|sim| sim.killed));
}

/// A worker that may have lost its place is woken until it begins, after 10 ms, 20 ms and so on.
#[test]
fn a_worker_that_does_not_begin_is_woken_again_and_again() {
    let mut world = World::with_workers(1, false);
    world.call(0);
    world.pass(10_500, Some(0));
    assert_eq!(world.nudges, 11);
    world.pass(100, None);
    assert_eq!(
        (world.book.lock().unwrap().ended.len(), world.nudges),
        (1, 11)
    );
}

/// What forwards a busy worker's stream gets something to pass on again and again, and only that:
/// it may lose the worker at any time.
#[test]
fn what_forwards_a_stream_has_something_to_pass_on() {
    for forwarded in [false, true] {
        let mut world = World::with_workers(1, true);
        world.forwarded = forwarded;
        world.sched.workers[0].control = FrameControl::on_stream(forwarded);
        world.call(0);
        world.takes(0, 60_000);
        world.pass(10_500, Some(0));
        assert_eq!(world.nudges, if forwarded { 5 } else { 0 });
    }
}

/// If callers have read an answer, the driver learns in time that the end of its frame is missing.
#[test]
fn an_end_that_is_missing_has_its_alarm() {
    for plain in [false, true] {
        let mut world = World::with_workers(1, plain);
        world.call(0);
        world.takes(0, 0);
        while world.sched.workers[0].frames[0].done == 0 {
            world.work(0);
            world.hear(0, true);
        }
        assert_eq!(world.sched.workers[0].frames.len(), 1, "its end is due");
        for _ in 0..2 {
            let due = world.sched.next_due().expect("nobody would look");
            assert!(due <= world.now + Duration::from_millis(1100), "{plain}");
            assert!(!world.sim(0).killed);
            world.now = due;
            world.sched.tick(world.now);
        }
        let kills = |action: &Action| matches!(action, Action::Kill(SlotId(0)));
        assert!(world.sched.actions().iter().any(kills), "{plain}");
    }
}

/// A stopped worker was sent its maximum number of items, which were cancelled: it is replaced.
#[test]
fn a_stopped_worker_that_gets_nothing_more_is_replaced() {
    let mut world = World::new(7); // four workers
    world.hostile = false;
    world.sched.policy.replace_after = Some(1);
    world.replace_after = Some(1);
    while world.sched.workers.iter().any(|worker| !worker.is_idle()) {
        world.step();
    }
    for sim in world.sims.iter_mut().flatten() {
        sim.frozen = true;
    }
    let (ids, begin) = (1..5, world.now);
    for _ in ids.clone() {
        world.submit();
    }
    while !world.open.is_empty() {
        world.feed(0);
    }
    world.act();
    for id in ids {
        world.cancelled.insert(id);
        world.sched.cancel(JobId::new(id), world.now);
    }
    world.submit();
    let last = world.next_job - 1;
    while !world.book.lock().unwrap().ended.contains_key(&last) {
        world.step();
        while let Some(open) = world.open.pop() {
            world.open.push(open);
            world.feed(world.open.len() - 1);
        }
        let took = world.now - begin;
        assert!(took < Duration::from_secs(2), "nobody takes their places");
    }
}

#[test]
fn nothing_lives_and_everything_is_told() {
    let mut world = World::new(1);
    world.hostile = false;
    for _ in 0..5 {
        world.call(0);
    }
    let mut exit = WorkerExit::new(7);
    exit.code = Some(1);
    let begin = world.now;
    while (world.book.lock().unwrap().ended.len() as u64) < world.next_job - 1 {
        world.sched.tick(world.now);
        for action in world.sched.actions() {
            let Action::Spawn(SlotId(index)) = action else {
                unreachable!()
            };
            world.sched.died(SlotId(index), &exit, false, world.now);
        }
        world.now = world.sched.next_due().unwrap_or(world.now);
        assert!(
            world.now < begin + Duration::from_secs(10),
            "clearly bounded"
        );
    }
    let book = world.book.lock().unwrap();
    let ended = &book.ended;
    let all_told = |id: &u64| {
        let errors = &book.errors;
        let told = |item| matches!(errors.get(&(*id, item)), Some(TaskError::WorkerDied(_)));
        (0..world.jobs[id].size).all(told)
    };
    let died = |end: &Result<usize, TaskError>| matches!(end, Err(TaskError::WorkerDied(_)));
    assert!(ended.iter().all(|(id, end)| died(end) || all_told(id)));
}

#[test]
fn an_idle_pool_sets_no_alarm() {
    let mut world = World::new(2);
    world.hostile = false;
    world.submit();
    while !world.open.is_empty() {
        world.feed(0);
    }
    for _ in 0..5000 {
        world.step();
    }
    assert_eq!(world.book.lock().unwrap().ended.len(), 1);
    assert_eq!(world.sched.next_due(), None);
}
