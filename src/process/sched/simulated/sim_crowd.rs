//! Many workers: what one event costs does not grow with their number.
//!
//! Counted is at how many slots, and groups of slots, the scheduler looks.

use super::*;
use crate::process::sched::state::WorkerSlots;

/// The longest time for which an item runs here.
const LONG: Duration = Duration::from_secs(3600);

impl World {
    /// So many idle plain workers.
    fn crowd(count: usize) -> Self {
        let mut world = Self::new(11);
        world.hostile = false;
        world.sched.workers = WorkerSlots::first(count, &world.sched.policy, world.now);
        world.sims.clear();
        world.turn();
        for index in 0..count {
            world.work(index); // says hello
        }
        world.turn();
        world.sched.workers.check();
        let idle = |worker: &Worker| worker.is_idle();
        assert_eq!(world.sched.workers.count(idle), count);
        world
    }

    /// A worker reads everything that it was sent.
    fn read_all(&mut self, index: usize) {
        while let Some(frame) = self.sim(index).unread.pop_front() {
            self.read(index, &frame);
        }
    }

    /// A worker begins its next item, if it has one, and will report that.
    fn begin(&mut self, index: usize) {
        self.read_all(index);
        while self.sim(index).running.is_none() && !self.sim(index).inbox.is_empty() {
            self.work(index);
        }
        self.sim(index).until = self.now + LONG;
    }

    /// The item that a worker runs ends, and so does its frame.
    fn complete(&mut self, index: usize) {
        self.read_all(index);
        let frames = self.sim(index).inbox.len();
        self.sim(index).until = self.now;
        while self.sim(index).inbox.len() == frames {
            self.work(index);
        }
    }

    /// How many looks a turn of the driver takes in which `event` happens.
    fn looks(&mut self, event: impl FnOnce(&mut Self)) -> u64 {
        let before = self.sched.workers.looks();
        event(self);
        self.turn();
        let now = self.now;
        self.sched.deadline();
        assert!(self.sched.nothing_is_due(now), "the turn is over");
        self.sched.workers.looks() - before
    }
}

/// How many looks each kind of event takes on average, with so many busy plain workers: a report
/// of a beginning; a result, after which the worker gets another item; one after which it does not;
/// a call that goes to a worker; one that must wait; and a turn in which nothing has happened.
fn costs(count: usize) -> [(&'static str, u64); 6] {
    const TIMES: usize = 20;
    let mut world = World::crowd(count);
    for _ in 0..count {
        world.call(0);
    }
    world.turn();
    let all = world.sched.workers.outlook();
    assert_eq!(all.busy as usize, count);
    let mut begins = 0;
    for index in 0..count {
        world.begin(index);
        begins += world.looks(|world| world.hear(index, true));
    }
    let some = |at: usize| at * (count / TIMES);
    // (Each has a frame behind the one that it runs, and more calls wait.)
    let mut behind = 0;
    for _ in 0..count {
        behind += world.looks(|world| {
            world.call(0);
        });
    }
    let mut waits = 0;
    for _ in 0..count {
        waits += world.looks(|world| {
            world.call(0);
        });
    }
    assert!(world.sched.jobs.wait());
    let (mut next, mut nothing, mut last) = (0, 0, 0);
    for at in 0..TIMES {
        let index = some(at);
        world.complete(index);
        next += world.looks(|world| world.hear(index, true));
        world.begin(index);
        world.hear(index, true);
        world.turn();
    }
    for _ in 0..TIMES {
        nothing += world.looks(|_| {});
    }
    for id in 2 * count as u64 + 1..world.next_job {
        world.cancelled.insert(id);
        world.sched.cancel(id, world.now);
    }
    world.turn();
    for at in 0..TIMES {
        let index = some(at);
        world.complete(index);
        last += world.looks(|world| world.hear(index, true));
        world.begin(index);
        world.hear(index, true);
        world.turn();
    }
    world.sched.workers.check();
    [
        ("a beginning", begins / count as u64),
        ("a call to a busy worker", behind / count as u64),
        ("a call that waits", waits / count as u64),
        ("a result, and the next item", next / TIMES as u64),
        ("a result", last / TIMES as u64),
        ("nothing", nothing / TIMES as u64),
    ]
}

/// With 2,000 busy workers an event costs at most three times what it costs with 20.
#[test]
fn an_event_costs_as_much_with_many_workers() {
    let (few, many) = (costs(20), costs(2000));
    for ((name, few), (_, many)) in few.into_iter().zip(many) {
        assert!(many <= 3 * few, "{name}: {few} looks, and {many} with many");
    }
}

/// With 2,000 idle workers neither does a call, and a turn in which nothing has happened looks at
/// none of them.
#[test]
fn idle_workers_cost_nothing() {
    let [few, many] = [20, 2000].map(|count| {
        let mut world = World::crowd(count);
        let nothing = world.looks(|_| {});
        let call = world.looks(|world| {
            world.call(0);
        });
        world.begin(0);
        let begins = world.looks(|world| world.hear(0, true));
        world.complete(0);
        let ends = world.looks(|world| world.hear(0, true));
        [nothing, call, begins, ends]
    });
    for (few, many) in few.into_iter().zip(many) {
        assert!(many <= 3 * few, "{few} looks, and {many} with many");
    }
    assert!(many[0] < 20, "{} looks for nothing", many[0]);
}
