//! The scheduler against simulated workers, from many seeds.
//!
//! No process and no clock: a simulated worker takes items through real gates, answers in
//! real records, dies in the middle of them, is slow to be heard, and now and then
//! says hello never. Checked at every step:
//!
//! - no item runs twice, whatever dies when (W3);
//! - a worker that is to be killed runs nothing that anybody still wants (W4);
//! - every job ends exactly once, with all of its values or with an error that it
//!   may have (W5): `WorkerDied` only if a worker died in one of its items.
//!
//! Length: one world, with its workers and its laws.

use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;
// Of the simulation: no protocol.
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::{Action, Sched, Stop};
use crate::process::chunk::{Chunk, Piece};
use crate::process::crew::Gated;
use crate::process::job::{Sink, Taken};
use crate::process::sink::decode;
use crate::process::wire::{self, CodeRef, Frame, Reader, Record};
use crate::sys::ledger::{GATES, Gate};
use crate::task::{TaskError, WorkerExit};

struct Gates([Gate; GATES]);

impl Gated for Gates {
    fn gate(&self, index: usize) -> &Gate {
        &self.0[index]
    }
}

/// An item, in two numbers.
type Item = (u64, u64);

/// What has become of the jobs.
#[derive(Default)]
struct Book {
    ended: HashMap<u64, Result<usize, TaskError>>,
}

struct BookSink {
    id: u64,
    values: HashSet<u64>,
    book: Arc<Mutex<Book>>,
}

impl Sink for BookSink {
    fn values(&mut self, index: usize, bytes: &[u8], most: usize) -> Taken {
        let mut taken = Taken::default();
        while taken.count < most {
            let Ok(Some((Record::Value(value), length))) = Record::decode(&bytes[taken.used..])
            else {
                break;
            };
            let (job, item): Item = decode(value).unwrap();
            assert_eq!(
                (job, item),
                (self.id, (index + taken.count) as u64),
                "values keep their order"
            );
            assert!(self.values.insert(item), "one value for each item");
            taken.used += length;
            taken.count += 1;
        }
        taken
    }

    fn types(&self) -> (&'static str, &'static str) {
        ("argument", "result")
    }

    fn finish(self: Box<Self>, failure: Option<TaskError>) {
        let result = failure.map_or(Ok(self.values.len()), Err);
        let before = self.book.lock().unwrap().ended.insert(self.id, result);
        assert!(before.is_none(), "a job ends once");
    }
}

/// A worker: what it was sent, where it is, and what it said that was not yet heard.
struct Sim {
    gates: Rc<Gates>,
    inbox: VecDeque<(u64, VecDeque<Item>)>,
    begun: u64,
    running: Option<Item>,
    /// The running item takes until then.
    until: Instant,
    said: Vec<u8>,
    heard: Vec<u8>,
    hello: bool,
    leaves: bool,
}

struct World {
    seed: u64,
    now: Instant,
    sched: Sched,
    sims: Vec<Option<Sim>>,
    ran: HashSet<Item>,
    /// Items in which a worker died.
    fatal: HashSet<Item>,
    /// Jobs that were cancelled, and those with a panic.
    cancelled: HashSet<u64>,
    panicked: HashSet<u64>,
    sizes: HashMap<u64, u64>,
    /// Jobs that are still being fed: how far.
    open: Vec<(u64, u64, u64)>,
    next_job: u64,
    book: Arc<Mutex<Book>>,
    hostile: bool,
    /// How many workers were killed for the sake of a cancelled item.
    executed: u32,
    /// How many running items were told that nobody wants them.
    rung: u32,
}

const CODE: CodeRef = CodeRef {
    trampoline: 1,
    function: 2,
    check: 3,
};

impl World {
    fn new(seed: u64) -> Self {
        let now = Instant::now();
        let mut world = Self {
            seed: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            now,
            sched: Sched::new(1 + seed as usize % 4, Duration::from_millis(20), now),
            sims: Vec::new(),
            ran: HashSet::new(),
            fatal: HashSet::new(),
            cancelled: HashSet::new(),
            panicked: HashSet::new(),
            sizes: HashMap::new(),
            open: Vec::new(),
            next_job: 0,
            book: Arc::default(),
            hostile: true,
            executed: 0,
            rung: 0,
        };
        world.sims.resize_with(world.sched.workers.len(), || None);
        world
    }

    fn random(&mut self, below: u64) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed % below
    }

    fn chance(&mut self, one_in: u64) -> bool {
        self.random(one_in) == 0
    }

    fn submit(&mut self) {
        let id = self.next_job;
        self.next_job += 1;
        let size = if self.chance(2) { 1 } else { self.random(120) };
        let sink = BookSink {
            id,
            values: HashSet::new(),
            book: self.book.clone(),
        };
        self.sizes.insert(id, size);
        self.sched.submit(id, CODE, Box::new(sink));
        self.open.push((id, 0, size));
        self.feed(self.open.len() - 1);
    }

    fn feed(&mut self, open: usize) {
        let (id, from, size) = self.open[open];
        let to = size.min(from + 1 + self.random(60));
        let mut chunk = Chunk::default();
        (from..to).for_each(|item| chunk.push(&(id, item)).unwrap());
        self.sched.feed(
            id,
            from as usize,
            Arc::new(chunk),
            to == size,
            None,
            self.now,
        );
        self.open[open].1 = to;
        if to == size {
            self.open.swap_remove(open);
        }
    }

    fn act(&mut self) {
        self.sched.tick(self.now);
        for action in self.sched.actions() {
            match action {
                Action::Spawn(index) if self.hostile && self.chance(30) => {
                    self.sched.died(index, &WorkerExit::new(0), false, self.now);
                }
                Action::Spawn(index) => {
                    let gates = Rc::new(Gates([Gate::new(), Gate::new()]));
                    self.sched
                        .started(index, 100 + index as u32, gates.clone(), self.now);
                    assert!(self.sims[index].is_none(), "one process in one place");
                    self.sims[index] = Some(Sim {
                        gates,
                        inbox: VecDeque::new(),
                        begun: 0,
                        running: None,
                        until: self.now,
                        said: Vec::new(),
                        heard: Vec::new(),
                        hello: false,
                        leaves: false,
                    });
                }
                Action::Send {
                    worker,
                    head,
                    items,
                } => self.send(worker, head, items.as_ref()),
                Action::Ring(index) => {
                    // Every other one obeys.
                    let obeys = self.chance(2);
                    if let Some(sim) = &mut self.sims[index]
                        && let Some((sequence, _)) = sim.inbox.front()
                        && sim.gates.gate(*sequence as usize % GATES).is_unwanted()
                        && let Some((job, item)) = sim.running
                    {
                        let end = self.book.lock().unwrap().ended.get(&job).cloned();
                        let failed_below = (0..item).any(|i| self.fatal.contains(&(job, i)))
                            || self.panicked.contains(&job);
                        assert!(
                            end.is_some() || failed_below || self.cancelled.contains(&job),
                            "an innocent is cancelled: {:?}",
                            (job, item)
                        );
                        self.rung += 1;
                        if obeys {
                            sim.until = self.now;
                        }
                    }
                }
                Action::Kill(index) => {
                    let running = self.sims[index].as_ref().and_then(|sim| sim.running);
                    if let Some((job, item)) = running {
                        let wanted = !self.cancelled.contains(&job)
                            && !self.book.lock().unwrap().ended.contains_key(&job);
                        let failed_below = (0..item).any(|i| self.fatal.contains(&(job, i)))
                            || self.panicked.contains(&job);
                        self.executed += 1;
                        assert!(
                            !wanted || failed_below,
                            "an innocent is killed: {running:?}"
                        );
                    }
                    self.die(index);
                }
            }
        }
    }

    fn send(&mut self, worker: usize, mut bytes: Vec<u8>, items: Option<&Piece>) {
        let Some(sim) = &mut self.sims[worker] else {
            return;
        };
        assert!(sim.hello, "nothing is sent before hello");
        if let Some(piece) = items {
            bytes.extend_from_slice(&piece.chunk.bytes()[piece.span()]);
        }
        match Frame::decode(&bytes).unwrap().unwrap().0 {
            Frame::Batch {
                sequence,
                items,
                count,
                ..
            } => {
                let mut reader = Reader(items);
                let items: VecDeque<Item> =
                    std::iter::from_fn(|| reader.bytes().map(|b| decode(b).unwrap())).collect();
                assert_eq!(items.len() as u64, count);
                sim.inbox.push_back((sequence, items));
                assert!(sim.inbox.len() <= GATES);
            }
            Frame::Bye => sim.leaves = true,
            Frame::Welcome { .. } => unreachable!(),
        }
    }

    /// One step of one worker.
    fn work(&mut self, index: usize) {
        let (panics, dies) = (
            self.hostile && self.chance(200),
            self.hostile && self.chance(60),
        );
        let until = self.now + Duration::from_millis(if self.chance(20) { 60 } else { 0 });
        let Some(sim) = &mut self.sims[index] else {
            return;
        };
        if !sim.hello {
            sim.hello = true;
            self.sched.hello(index);
            return;
        }
        if let Some(item) = sim.running {
            if dies {
                return self.die(index);
            }
            if self.now < sim.until {
                return;
            }
            if panics {
                sim.said.extend(wire::panic("oh", None));
                self.panicked.insert(item.0);
            } else {
                let value = postcard::to_stdvec(&item).unwrap();
                sim.said.extend(wire::value_head(value.len()));
                sim.said.extend(value);
            }
            sim.running = None;
            return;
        }
        let Some((sequence, items)) = sim.inbox.front_mut() else {
            if sim.leaves {
                self.die(index);
            }
            return;
        };
        let taken = sim.gates.gate(*sequence as usize % GATES).take();
        if taken.is_some() {
            let item = items.pop_front().unwrap();
            sim.begun += 1;
            sim.running = Some(item);
            sim.until = until;
            assert!(self.ran.insert(item), "{item:?} runs twice");
        } else {
            sim.said
                .extend(wire::end(*sequence, sim.begun, sim.begun * 30_000));
            sim.begun = 0;
            sim.inbox.pop_front();
        }
    }

    /// The scheduler hears some of what a worker said.
    fn hear(&mut self, index: usize, all: bool) {
        let Some(length) = self.sims[index].as_ref().map(|sim| sim.said.len()) else {
            return;
        };
        let some = if all {
            length
        } else {
            self.random(length as u64 + 1) as usize
        };
        let Some(sim) = &mut self.sims[index] else {
            return;
        };
        sim.heard.extend(sim.said.drain(..some));
        let used = self.sched.receive(index, &sim.heard, self.now).unwrap();
        sim.heard.drain(..used);
    }

    fn die(&mut self, index: usize) {
        self.hear(index, true);
        let Some(sim) = self.sims[index].take() else {
            return;
        };
        assert!(sim.heard.is_empty());
        self.fatal.extend(sim.running);
        let mut exit = WorkerExit::new(100 + index as u32);
        exit.signal = Some(9);
        self.sched.died(index, &exit, false, self.now);
    }

    fn step(&mut self) {
        let worker = self.random(self.sims.len() as u64) as usize;
        match self.random(24) {
            0 if self.hostile => self.submit(),
            1 if !self.open.is_empty() => {
                let open = self.random(self.open.len() as u64) as usize;
                self.feed(open);
            }
            2 if self.hostile && self.chance(4) => self.die(worker),
            3 if self.hostile && self.next_job > 0 && self.chance(3) => {
                let id = self.random(self.next_job);
                self.cancelled.insert(id);
                self.sched.cancel(id, self.now);
            }
            4..8 => {
                let micros = self.random(3000);
                self.now += Duration::from_micros(micros);
            }
            8..14 => self.hear(worker, false),
            _ => self.work(worker),
        }
        self.act();
    }

    fn check(&self) {
        let book = self.book.lock().unwrap();
        assert_eq!(
            book.ended.len() as u64,
            self.next_job,
            "every job has ended"
        );
        for (id, result) in &book.ended {
            match result {
                Ok(values) => assert_eq!(*values as u64, self.sizes[id]),
                Err(TaskError::Cancelled) => assert!(self.cancelled.contains(id)),
                Err(TaskError::Panicked(_)) => assert!(self.panicked.contains(id)),
                Err(TaskError::WorkerDied(_)) => {
                    assert!(self.fatal.iter().any(|(job, _)| job == id));
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

/// How many worlds; more with `TREFOIL_SIM=n`.
fn worlds() -> u64 {
    std::env::var("TREFOIL_SIM")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(300)
}

#[test]
fn every_job_ends_once_and_no_item_runs_twice() {
    let (mut executed, mut rung) = (0, 0);
    for seed in 0..worlds() {
        let mut world = World::new(seed);
        for _ in 0..1500 {
            world.step();
        }
        // Peace: everything left must end without a limit being hit.
        world.hostile = false;
        while !world.open.is_empty() {
            world.feed(0);
        }
        world.sched.stop(Stop::Wait, world.now);
        let mut steps = 0;
        while !world.sched.is_over() {
            world.step();
            steps += 1;
            assert!(steps < 400_000, "seed {seed} does not end");
        }
        world.check();
        executed += world.executed;
        rung += world.rung;
    }
    assert!(
        u64::from(executed) > worlds() / 10,
        "{executed} executions test nothing"
    );
    assert!(rung > executed, "{rung} were told, {executed} killed");
}

#[test]
fn nothing_lives_and_everything_is_told() {
    let mut world = World::new(1);
    world.hostile = false;
    for _ in 0..5 {
        world.submit();
    }
    while !world.open.is_empty() {
        world.feed(0);
    }
    let mut exit = WorkerExit::new(7);
    exit.code = Some(1);
    let begin = world.now;
    while (world.book.lock().unwrap().ended.len() as u64) < world.next_job {
        world.sched.tick(world.now);
        for action in world.sched.actions() {
            let Action::Spawn(index) = action else {
                unreachable!()
            };
            world.sched.died(index, &exit, false, world.now);
        }
        world.now = world.sched.deadline(world.now).unwrap_or(world.now);
        assert!(
            world.now < begin + Duration::from_secs(10),
            "clearly bounded"
        );
    }
    let ended = &world.book.lock().unwrap().ended;
    let empty = |id: &u64| world.sizes[id] == 0;
    assert!(
        ended
            .iter()
            .all(|(id, end)| empty(id) || matches!(end, Err(TaskError::WorkerDied(_))))
    );
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
    assert_eq!(world.sched.deadline(world.now), None);
}
