//! Workers that are replaced: their successors are ready first.

use super::*;
use crate::process::sched::state::WorkerSlots;
use crate::process::sched::workers::Stage;

impl World {
    /// The user replaces a worker.
    pub(super) fn replace(&mut self, index: usize) {
        let pid = self.sched.workers[index].pid();
        if let Some(sim) = &mut self.sims[index] {
            sim.replaced = true;
            self.sched.replace(pid, self.now);
        }
    }

    /// While a planned replacement is under way, no fewer workers take items than before: one that
    /// takes no more runs its last, or another is ready in its place. And no more run items than
    /// there are numbers.
    pub(super) fn check_places(&mut self) {
        let mut slots: HashMap<usize, Vec<usize>> = HashMap::new();
        for (index, worker) in self.sched.workers.iter().enumerate() {
            if worker.stage() != Stage::Down(None) {
                slots.entry(worker.number()).or_default().push(index);
            }
        }
        let before = std::mem::take(&mut self.accepts);
        for (number, slots) in &slots {
            let workers: Vec<&Worker> = slots.iter().map(|at| &self.sched.workers[*at]).collect();
            let stays = |worker: &&&Worker| {
                !worker.is_outgoing() && worker.stage() != Stage::Retiring && !worker.is_away()
            };
            let stay = workers.iter().filter(stays).count();
            assert!(stay <= 1, "{stay} keep the number {number}");
            let accepts = |index: &&usize| self.sched.workers[**index].stage() == Stage::Ready;
            let accepting = slots.iter().filter(accepts).count();
            assert!(accepting <= 1, "{accepting} have the number {number}");
            if let Some(now) = slots.iter().find(accepts) {
                let last = self.last.insert(*number, *now);
                self.succeeded += u32::from(last.is_some_and(|last| last != *now));
                self.accepts.insert(*number, *now);
                continue;
            }
            let Some(index) = before.get(number) else {
                continue;
            };
            let worker = &self.sched.workers[*index];
            if worker.stage() != Stage::Retiring || !worker.is_outgoing() {
                continue; // it has died, or was not needed
            }
            let asked = self.sims[*index].as_ref().is_some_and(|sim| sim.retires);
            // (Of one that has been sent its number of items some may have come back.)
            let is_due = self.sched.policy.replace_after.is_some();
            let ends = self.sched.broken.is_some() || self.sched.stop.is_some();
            let excused = asked || is_due || ends;
            let waits = workers
                .iter()
                .any(|worker| worker.stage() == Stage::Waiting);
            assert!(
                excused || waits || !self.sched.policy.replace_first,
                "{number} takes no items, and nobody else does: {index} was, {:?}",
                workers.iter().map(|one| one.known()).collect::<Vec<_>>()
            );
        }
    }

    /// The slots of the worker with this number.
    fn slots(&self, number: usize) -> Vec<usize> {
        let slots = self.sched.workers.iter().enumerate();
        let of = slots
            .filter(|(_, worker)| worker.number() == number && worker.stage() != Stage::Down(None));
        of.map(|(index, _)| index).collect()
    }
}

/// A worker that is replaced takes items until the next is ready, and leaves then.
#[test]
fn a_successor_is_ready_before_its_predecessor_leaves() {
    for plain in [false, true] {
        let mut world = World::with_workers(2, plain);
        world.sched.policy.replace_first = true;
        let pid = world.sched.workers[0].pid();
        world.sched.replace(pid, world.now);
        world.act();
        assert_eq!(world.slots(0), [0, 2]);
        // The next one has not said hello yet.
        world.call(0);
        world.call(0);
        world.act();
        let busy = |worker: &&Worker| !worker.frames.is_empty();
        assert_eq!(world.sched.workers.iter().filter(busy).count(), 2);
        world.pass(50, Some(2));
        assert_eq!(
            world.book.lock().unwrap().ended.len(),
            2,
            "both have worked"
        );
        assert_eq!(world.sched.workers[0].stage(), Stage::Ready);
        world.pass(50, None);
        assert_eq!(world.slots(0), [2]);
        assert!(world.sims[0].is_none() && world.sched.workers[2].is_idle());
        assert_eq!(world.counters.read(0, false).died, 0, "it was dismissed");
        // Its slot is the next one's.
        let pid = world.sched.workers[1].pid();
        world.sched.replace(pid, world.now);
        world.pass(50, None);
        assert_eq!((world.slots(0), world.slots(1)), (vec![2], vec![0]));
    }
}

/// What runs for longer than the grace period when the next worker is ready is killed with its
/// worker.
#[test]
fn one_that_the_user_replaces_does_not_stay() {
    let mut world = World::with_workers(1, false);
    world.sched.policy.replace_first = true;
    world.hostile = false;
    let id = world.call(0);
    world.takes(0, 60_000);
    world.replace(0);
    world.pass(10, Some(1));
    assert!(!world.sim(0).killed, "its successor is not ready");
    world.pass(40, None);
    assert!(world.sims[0].as_ref().is_none_or(|sim| sim.killed));
    while !world.book.lock().unwrap().ended.contains_key(&id) {
        world.fatal.insert((id, 0));
        world.step();
    }
    assert!(matches!(
        world.book.lock().unwrap().ended[&id],
        Err(TaskError::WorkerDied(_))
    ));
}

/// A successor that cannot be started is tried again, later and later, and no more in the end: the
/// worker goes on.
#[test]
fn a_successor_that_cannot_be_had_changes_nothing() {
    let mut world = World::with_workers(1, false);
    world.sched.policy.replace_first = true;
    let pid = world.sched.workers[0].pid();
    world.sched.replace(pid, world.now);
    let (mut tries, begin) = (0, world.now);
    while world.now - begin < Duration::from_secs(100) {
        world.sched.tick(world.now);
        for action in world.sched.actions() {
            match action {
                Action::Spawn(SlotId(index)) => {
                    tries += 1;
                    world
                        .sched
                        .died(SlotId(index), &WorkerExit::new(0), false, world.now);
                }
                _ => unreachable!("nothing else happens"),
            }
        }
        world.now += Duration::from_millis(100);
    }
    assert_eq!((tries, world.sched.next_due()), (5, None));
    world.call(0);
    world.pass(20, None);
    assert_eq!(world.book.lock().unwrap().ended.len(), 1);
    assert_eq!(world.sched.workers[0].stage(), Stage::Ready);
}

/// Workers that begin together do not end together, and each is replaced in time.
#[test]
fn lives_are_spread_and_end_in_time() {
    let mut world = World::with_workers(0, false);
    world.sched.policy.replace_first = true;
    world.sched.policy.replace_after = Some(100);
    world.replace_after = Some(100);
    let first = WorkerSlots::first(4, &world.sched.policy, world.now);
    let lives: Vec<usize> = first
        .iter()
        .map(|worker| worker.left(&world.sched.policy))
        .collect();
    assert_eq!(lives, [63, 75, 88, 100]);
    world.sched.workers = first;
    world.sims.resize_with(4, || None);
    world.pass(20, None);
    for _ in 0..1500 {
        world.call(0);
        world.pass(1, None);
        let ready = |worker: &&Worker| matches!(worker.stage(), Stage::Ready | Stage::Waiting);
        let ready = world.sched.workers.iter().filter(ready).count();
        assert_eq!(ready, 4, "one number has nobody");
    }
    assert!(world.succeeded > 3, "{} were replaced", world.succeeded);
}
