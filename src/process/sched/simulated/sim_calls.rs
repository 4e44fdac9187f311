//! Single calls, and who waits for them.

use super::*;
use crate::process::job::job_id::JobId;
use crate::process::limits::TAKE_OVER_AFTER;
use crate::process::sched::start;

/// A caller that hands out work ends no call, under the engine's lock: neither one whose whole time
/// is over, nor one that has no time. Nor does it begin it.
#[test]
fn a_caller_ends_no_late_call() {
    for is_whole in [false, true] {
        let mut world = World::new(8); // one worker
        world.hostile = false;
        while !world.sched.workers[0].is_idle() {
            world.step();
        }
        let mut options = CallOptions::default();
        if is_whole {
            options.until = Some(world.now);
        } else {
            options.timeout = Some(Duration::ZERO);
        }
        let id = world.call_with(options);
        assert!(world.sched.has(JobId::new(id)) && !world.sched.dispatch_work(world.now));
        assert!(world.sched.has(JobId::new(id)) && world.sched.actions().is_empty());
        assert!(world.sched.next_due().is_some_and(|due| due <= world.now));
        world.act();
        assert!(
            !world.sched.has(JobId::new(id)) && world.sims[0].as_ref().unwrap().inbox.is_empty()
        );
    }
}

/// A caller that hands out a call leaves it to its worker for so long that it need not wake the
/// driver for that: not even if another worker is idle, which could take the item over.
#[test]
fn a_single_item_is_left_to_its_worker() {
    let mut world = World::with_workers(2, false);
    world.call_with(CallOptions::default());
    assert!(world.sched.dispatch_work(world.now));
    let due = world.sched.next_due().unwrap();
    assert!(due - world.now >= 8 * TAKE_OVER_AFTER);
}

/// The limits of calls that end early are forgotten, although that of a call that lives is the
/// first.
#[test]
fn limits_of_ended_calls_are_forgotten() {
    let mut world = World::new(8);
    world.hostile = false;
    let within = |world: &mut World, hours: u32| {
        let mut options = CallOptions::default();
        options.until = Some(world.now + hours * Duration::from_secs(3600));
        world.call_with(options)
    };
    let lives = within(&mut world, 1);
    for _ in 0..1000 {
        let ends = within(&mut world, 2);
        world.sched.cancel(JobId::new(ends), world.now);
        assert!(world.sched.has(JobId::new(lives)) && !world.sched.has(JobId::new(ends)));
        let (kept, _) = world.sched.jobs.times();
        assert!(kept < 100, "{kept} limits of two calls");
    }
}

/// A cancelled call that is still in the queue changes no order: a call that is queued again is
/// placed behind more urgent ones.
#[test]
fn a_cancelled_call_changes_no_order() {
    let mut world = World::new(8);
    world.hostile = false;
    let (first, cancelled, second) = (world.call(5), world.call(5), world.call(5));
    world.sched.cancel(JobId::new(cancelled), world.now);
    let usual = world.call(0);
    // As after the death of its worker.
    let order = |world: &World| {
        let ids = world.sched.jobs.ids();
        let place = |job: &Job| {
            ids.iter()
                .find(|id| std::ptr::eq(world.sched.jobs.get(**id).unwrap(), job))
        };
        let order: Vec<u64> = world
            .sched
            .jobs
            .waiting()
            .map(|job| place(job).unwrap().number())
            .collect();
        order
    };
    assert_eq!(order(&world), [first, second, usual]);
    for _ in 0..3 {
        world.sched.jobs.dequeue();
    }
    for id in [usual, first, second] {
        world
            .sched
            .jobs
            .enqueue(JobId::new(id), id == usual, world.now);
    }
    let order = order(&world);
    assert_eq!(order, [first, second, usual]);
}

/// An elastic pool one of whose workers could not be started five times in a row: a call that waits
/// behind a long item of the other worker is a reason to try again.
#[test]
fn an_elastic_pool_tries_again_for_what_waits() {
    let mut world = World::new(9); // two workers
    world.hostile = false;
    world.sched.policy.elastic = Some(Elastic { least: 0, most: 2 });
    world.sched.policy.idle = Duration::from_secs(30);
    world.sched.policy.starts_far = true;
    world.call(0);
    world.call(0);
    let (mut failed, mut begin, mut later) = (0, None, 0);
    let end = world.now + Duration::from_secs(600);
    while world.now < end {
        world.sched.tick(world.now);
        for action in world.sched.actions() {
            match action {
                Action::Spawn(SlotId(1)) if failed < 5 => {
                    failed += 1;
                    let exit = WorkerExit::new(0);
                    world.sched.died(SlotId(1), &exit, false, world.now);
                }
                Action::Spawn(SlotId(1)) => {
                    later += u32::from(begin.is_some());
                }
                Action::Spawn(SlotId(index)) => {
                    let gates = FrameControl::on_pages(Front::own());
                    world.sched.started(SlotId(index), 100, gates, world.now);
                }
                Action::Send(..) => {
                    world.sched.workers[0].frames[0].gate().pass();
                    begin.get_or_insert(world.now);
                }
                _ => {}
            }
        }
        world.now += Duration::from_millis(50);
        if failed == 5 && world.sched.workers[0].is_starting() {
            start::hello(&mut world.sched, SlotId(0));
        }
    }
    assert_eq!(failed, 5);
    assert!(later > 0, "the second item waits for ever behind the first");
}

/// The error of a call whose time is over, of which its worker `does` something just before; how
/// long it says that the call has run.
fn ran_when_late(plain: bool, does: impl FnOnce(&mut World)) -> Option<Duration> {
    let mut world = World::with_workers(1, plain);
    let mut options = CallOptions::default();
    options.until = Some(world.now + Duration::from_millis(1));
    let id = world.call_with(options);
    world.act();
    does(&mut world);
    world.now += Duration::from_millis(1);
    world.act();
    match &world.book.lock().unwrap().ended[&id] {
        Err(TaskError::TimedOut(late)) => late.ran(),
        other => panic!("{other:?}"),
    }
}

/// An error says that an item has not begun only where that is known: not of one that has begun
/// since the driver looked at its clock, nor of one that a plain worker has and has not reported.
#[test]
fn an_error_says_what_is_known_of_a_beginning() {
    for plain in [false, true] {
        let unseen = ran_when_late(plain, |_| {});
        assert_eq!(unseen, (!plain).then_some(Duration::ZERO));
        let begun = ran_when_late(plain, |world| {
            world.takes(0, 50);
            world.hear(0, true);
            let second = world.epoch.nanos(world.now + Duration::from_secs(1));
            world.sched.workers[0].frames[0].gate().starts(second);
        });
        assert!(begun.is_some_and(|ran| ran > Duration::ZERO), "{begun:?}");
    }
    // A frame that has come back from a plain worker did not begin there.
    let back = ran_when_late(true, |world| {
        world.sched.workers[0].gets_no_more(); // so it is not sent again
        world.sched.take_all_back(SlotId(0), world.now);
        world.act();
        while let Some(frame) = world.sim(0).unread.pop_front() {
            world.read(0, &frame);
        }
        world.hear(0, true);
    });
    assert_eq!(back, Some(Duration::ZERO));
}
