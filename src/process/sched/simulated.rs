//! The scheduler against simulated workers, from many seeds.
//!
//! There is no process and no clock: a simulated worker takes items through real gates, answers in
//! real records, dies in the middle of them, is heard late, and sometimes never says hello. Checked
//! at every step:
//!
//! - no item runs twice, whatever dies when (W3), unless it has cost a worker and may be retried;
//! - no item runs twice at once;
//! - a worker that is to be killed runs no item that is still wanted (W4);
//! - every job ends exactly once, with all of its values or with an error that it may have (W5):
//!   `WorkerDied` only if a worker died in one of its items;
//! - in a job whose items are waited for one by one, each is answered exactly once;
//! - an item whose end its caller learns is not pending any more (`stats`);
//! - an item ends in `TimedOut` if and only if it has run for that long;
//! - an item of which an error says that it did not begin has not begun, and never does;
//! - a job with a limit that includes waiting ends then, and none of its items begins later;
//! - no worker begins an item before its initializer has ended, without its job's context, or after
//!   its maximum number of items; when an initializer panics everything fails, and no worker is
//!   started any more;
//! - before something is due nothing happens, and then something does (`sim_due`);
//! - while a planned replacement is under way, no fewer workers take items than before
//!   (`sim_succession`), also while the bounds of the pool change (`sim_width`);
//! - an item with ends goes alone, to a worker that has no other item and no ends of others (W25);
//!   once its worker has answered, no copy of its ends is left in the parent (W26).

use crate::process::job::job_id::{INITIALIZE, JobId};
use std::collections::{HashMap, HashSet, VecDeque};
// Used by the simulation: no protocol.
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::due;
use super::frame_control::FrameControl;
use super::policy::Elastic;
use super::rules;
use super::{Action, Feed, How, Policy, Sched};
use crate::process::job::Initializer;
use serde::ser::{Error, Serialize, Serializer};

use crate::process::job::failed_item::{FailedItem, OnFailedItem};
use crate::process::job::reading::{Chore, Extras};
use crate::process::job::results::{Sink, Values};
use crate::process::job::slot_id::SlotId;
use crate::process::job::{CallOptions, Context, Job, Work};
use crate::process::pages::gate::GATES;
use crate::process::pages::raw_ledger::Front;
use crate::process::sched::stats::Counters;
use crate::process::sched::workers::Worker;
use crate::process::value::attachments::AttachedFile;
use crate::process::value::chunk::{Chunk, Piece};
use crate::process::value::scope;
use crate::process::wire::{self, BatchHead, CodeRef, Frame, Reader, Record};
use crate::task::{Cause, TaskError, WorkerExit};
use trefoil_os::host::shared_clock::Epoch;

mod sim_book;
mod sim_calls;
mod sim_deaths;
mod sim_due;
mod sim_jobs;
mod sim_stopped;
mod sim_succession;
mod sim_width;
mod sim_worker;

use self::sim_book::*;

/// A worker: what it was sent, which item it runs, and its output that has not been read yet.
struct Sim {
    gates: Arc<Front>,
    /// In a plain worker: frames that it has not read yet.
    unread: VecDeque<Vec<u8>>,
    inbox: VecDeque<(BatchHead, VecDeque<Item>)>,
    begun: u64,
    /// How many items it has begun in all, without its initializer.
    served: u64,
    initialized: bool,
    contexts: HashSet<u64>,
    retires: bool,
    /// An item has asked for that, which is reported after its frame.
    asks: bool,
    running: Option<Item>,
    /// When the running item began, and until when it takes.
    since: Instant,
    until: Instant,
    said: Vec<u8>,
    heard: Vec<u8>,
    hello: bool,
    leaves: bool,
    /// It is stopped.
    frozen: bool,
    /// It has been killed, which takes effect soon, unless it is `held`.
    killed: bool,
    /// It cannot die.
    held: bool,
    /// The user has replaced it.
    replaced: bool,
    /// The item that it ran then.
    condemned: Option<Item>,
}

/// What the simulation knows of a job.
#[derive(Clone, Copy, Default)]
struct Known {
    size: u64,
    each: bool,
    retry: u32,
    timeout: Option<Duration>,
    /// When the whole job ends.
    until: Option<Instant>,
    context: bool,
    /// Some of its items have ends of channels, or its context has.
    ends: bool,
}

struct World {
    seed: u64,
    now: Instant,
    epoch: Epoch,
    sched: Sched,
    counters: Arc<Counters>,
    /// The workers are plain: their gates are not those of the scheduler.
    plain: bool,
    /// Something passes on what is sent to plain workers.
    forwarded: bool,
    nudges: u32,
    initializes: bool,
    /// Initializers may panic in this simulation.
    fragile: bool,
    broken: bool,
    /// So many workers in a row did nothing that waiting items failed.
    hopeless: bool,
    replace_after: Option<u64>,
    sims: Vec<Option<Sim>>,
    ran: HashMap<Item, u32>,
    /// Items in which a worker died.
    fatal: HashSet<Item>,
    /// Jobs that were cancelled, and those with a panic.
    cancelled: HashSet<u64>,
    panicked: HashSet<u64>,
    jobs: HashMap<u64, Known>,
    /// Jobs that still get items, and how far they are.
    open: Vec<(u64, u64, u64)>,
    next_job: u64,
    book: Arc<Mutex<Book>>,
    /// The attachments of items.
    attachments: HashMap<Item, Arc<AttachedFile>>,
    /// How many items with ends have begun.
    laden: u32,
    hostile: bool,
    /// How many workers were killed because of a cancelled item.
    executed: u32,
    /// How many did not die.
    given_up: u32,
    /// How many running items were told that they are not wanted.
    rung: u32,
    /// How many workers have asked to be replaced.
    retired: u32,
    asked: u64,
    /// Failed items that a hook gets on another thread, and how many there were.
    failing: Vec<FailedItem>,
    failed: u64,
    /// Which slot with this number takes items.
    accepts: HashMap<usize, usize>,
    /// And which did last.
    last: HashMap<usize, usize>,
    /// How many workers had a successor that was ready.
    succeeded: u32,
    /// How many frames a worker had at once.
    most_frames: usize,
    /// After one in how many steps some time passes in which nothing is due.
    passes_by: u64,
    /// How often each of these was due at the beginning of a turn.
    hit: [u32; sim_due::KINDS.len()],
    /// The bounds change, with this chance at a step.
    resizes: Option<u64>,
    /// The bounds that were set last.
    bounds: Option<(usize, usize)>,
    /// A process is there some time after it was asked for, as with a launcher or a fork server.
    starts_later: bool,
    /// The slots that wait for one.
    coming: Vec<usize>,
    /// How many of these were not wanted any more.
    withdrawn: u32,
    /// How often the bounds were set while workers that were too many had items.
    narrowed: u32,
}

const CODE: CodeRef = CodeRef {
    trampoline: 1,
    function: 2,
};

impl World {
    fn new(seed: u64) -> Self {
        let now = Instant::now();
        let epoch = Epoch {
            instant: now,
            nanos: 77_000_000,
        };
        let mut chunk = Chunk::default();
        chunk.push(&(INITIALIZE.number(), 0u64)).unwrap();
        let initializer = Initializer {
            code: CODE,
            chunk: Arc::new(chunk),
            type_name: "argument",
        };
        let initializes = seed % 3 == 1;
        let policy = Policy {
            grace: Duration::from_millis(20),
            patience: Duration::from_secs(1),
            initializers: initializes.then_some(initializer).into_iter().collect(),
            replace_after: (seed % 5 == 2).then_some(1 + seed % 13),
            replace_first: !seed.is_multiple_of(3),
            one_process: None,
            elastic: None,
            idle: Duration::from_secs(30),
            starts_far: false,
            max_restarts: None,
            on_failed: (seed % 4 < 2).then(|| OnFailedItem::new(|_| {})),
        };
        let replace_after = policy.replace_after;
        let counters = Arc::new(Counters::new(&[]));
        let book = Book {
            counters: Some(counters.clone()),
            ..Book::default()
        };
        let mut world = Self {
            seed: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            now,
            epoch,
            sched: Sched::new(1 + seed as usize % 4, policy, counters.clone(), epoch),
            counters,
            plain: seed % 4 == 3,
            forwarded: false,
            nudges: 0,
            initializes,
            fragile: initializes && seed % 5 == 3,
            broken: false,
            hopeless: false,
            replace_after,
            sims: Vec::new(),
            ran: HashMap::new(),
            fatal: HashSet::new(),
            cancelled: HashSet::new(),
            panicked: HashSet::new(),
            jobs: HashMap::new(),
            open: Vec::new(),
            next_job: 1,
            book: Arc::new(Mutex::new(book)),
            attachments: HashMap::new(),
            laden: 0,
            hostile: true,
            executed: 0,
            given_up: 0,
            rung: 0,
            retired: 0,
            asked: 0,
            failing: Vec::new(),
            failed: 0,
            accepts: HashMap::new(),
            last: HashMap::new(),
            succeeded: 0,
            most_frames: 0,
            passes_by: 4,
            hit: [0; sim_due::KINDS.len()],
            resizes: None,
            bounds: None,
            starts_later: false,
            coming: Vec::new(),
            withdrawn: 0,
            narrowed: 0,
        };
        world.sims.resize_with(world.sched.workers.len(), || None);
        world
    }

    /// In some worlds workers come and go with the work. (From now on: what waits until all are
    /// there and idle comes before.)
    fn breathe(&mut self, seed: u64) {
        self.sched.policy.elastic = (seed % 7 == 5).then_some(Elastic {
            least: seed as usize % 2,
            most: self.sched.workers.len(),
        });
        self.sched.policy.idle = Duration::from_millis(1 + seed % 40);
        self.sched.policy.starts_far = seed.is_multiple_of(2);
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

    fn act(&mut self) {
        let mut rounds = 0;
        let is_due = |world: &Self| world.sched.next_due().is_some_and(|at| at <= world.now);
        while self.turn() || is_due(self) {
            rounds += 1;
            assert!(
                rounds < 1000,
                "{:?} remains due",
                due::next_due(&self.sched)
            );
        }
        self.check_places();
        self.check_width();
        // (While a hook has an item, its error is on its way.)
        let jobs = self.sched.jobs.all();
        let jobs = jobs.filter(|job| !job.is_read());
        let next = jobs.filter_map(|job| job.work.options.until).min();
        assert!(next.is_none_or(|at| at > self.now), "it outlives its time");
        let wakes = |at| self.sched.next_due().is_some_and(|due| due <= at);
        assert!(next.is_none_or(wakes), "nobody would end it");
        if self.chance(self.passes_by) {
            self.pass_by();
        }
    }

    /// One round of a driver's turn. False: there was nothing to do.
    fn turn(&mut self) -> bool {
        self.book.lock().unwrap().now = Some(self.now);
        self.count_due();
        self.sched.tick(self.now);
        let actions = self.sched.actions();
        let some = !actions.is_empty();
        self.carry_out(actions);
        some
    }

    fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Spawn(SlotId(index)) if self.hostile && self.chance(30) => {
                    self.sched
                        .died(SlotId(index), &WorkerExit::new(0), false, self.now);
                    self.hopeless |= rules::is_hopeless(&self.sched, SlotId(index));
                }
                Action::Spawn(SlotId(index)) => {
                    self.check_start();
                    if self.starts_later {
                        self.coming.push(index);
                    } else {
                        self.start(index);
                    }
                }
                Action::Send(SlotId(worker), mut head, items) => {
                    head.extend_from_slice(items.as_ref().map_or(&[], Piece::bytes));
                    match &mut self.sims[worker] {
                        Some(sim) if self.plain => sim.unread.push_back(head),
                        _ => self.read(worker, &head),
                    }
                }
                Action::Hear(SlotId(index)) => self.hear(index, true),
                Action::Ring(SlotId(index)) => self.ring(index),
                Action::Nudge(_) => self.nudges += 1,
                Action::Withdraw(SlotId(index)) => {
                    let place = self.coming.iter().position(|slot| *slot == index);
                    self.coming.swap_remove(place.expect("it was asked for"));
                    self.withdrawn += 1;
                }
                Action::Abandon {
                    slot: SlotId(index),
                    surely,
                } => {
                    if surely || self.chance(2) {
                        self.given_up += 1;
                        self.sched.take_all_back(SlotId(index), self.now);
                        self.die(index);
                    }
                }
                Action::Kill(SlotId(index)) => {
                    if let Some(sim) = self.sims[index].as_mut().filter(|sim| !sim.killed) {
                        sim.condemned = sim.running;
                        sim.killed = true;
                    }
                }
            }
        }
    }

    /// The slot `index` gets a process.
    fn start(&mut self, index: usize) {
        assert!(!self.broken, "nothing is started after a breakdown");
        let gates = Arc::new(Front::own());
        let control = if self.plain {
            FrameControl::on_stream(self.forwarded)
        } else {
            FrameControl::on_pages((*gates).clone())
        };
        let pid = 100 + index as u32;
        self.sched.started(SlotId(index), pid, control, self.now);
        self.sims.resize_with(self.sched.workers.len(), || None);
        assert!(self.sims[index].is_none(), "one process in one place");
        self.sims[index] = Some(Sim {
            gates,
            unread: VecDeque::new(),
            inbox: VecDeque::new(),
            begun: 0,
            served: 0,
            initialized: !self.initializes,
            contexts: HashSet::new(),
            retires: false,
            asks: false,
            running: None,
            since: self.now,
            until: self.now,
            said: Vec::new(),
            heard: Vec::new(),
            hello: false,
            leaves: false,
            frozen: false,
            killed: false,
            held: false,
            replaced: false,
            condemned: None,
        });
    }

    fn step(&mut self) {
        self.execute();
        self.fail();
        if !self.coming.is_empty() && self.chance(6) {
            let one = self.random(self.coming.len() as u64) as usize;
            let index = self.coming.swap_remove(one);
            self.start(index);
        }
        if let Some(seldom) = self.resizes
            && self.chance(seldom)
        {
            self.resize();
        }
        let worker = self.some_worker();
        match self.random(24) {
            0 if self.hostile => self.submit(),
            1 if !self.open.is_empty() => {
                let open = self.random(self.open.len() as u64) as usize;
                self.feed(open);
            }
            2 if self.hostile && self.chance(4) => self.die(worker),
            2 if self.hostile && self.chance(2) => self.replace(worker),
            3 if self.hostile && self.next_job > 1 && self.chance(3) => {
                let id = 1 + self.random(self.next_job - 1);
                self.cancelled.insert(id);
                self.sched.cancel(JobId::new(id), self.now);
            }
            4..8 => {
                let micros = self.random(3000);
                self.now += Duration::from_micros(micros);
            }
            8..14 => self.hear(worker, false),
            _ => self.work(worker),
        }
        self.act();
        self.leap();
    }

    /// A worker that is there, if one is: a pool that replaces workers has many empty slots, and
    /// the others would be slower for that.
    fn some_worker(&mut self) -> usize {
        let count = self.sims.len();
        let first = self.random(count as u64) as usize;
        let from_there = (0..count).map(|at| (first + at) % count);
        let mut there = from_there.filter(|at| self.sims[*at].is_some());
        there.next().unwrap_or(first)
    }

    /// A hook gets failed items on another thread, some time later.
    fn fail(&mut self) {
        let fails = |chore| match chore {
            Chore::Fail(failed) => Some(*failed),
            _ => None,
        };
        let chores = std::mem::take(&mut self.sched.chores);
        self.failing.extend(chores.into_iter().filter_map(fails));
        if !self.failing.is_empty() && self.chance(8) {
            let one = self.random(self.failing.len() as u64) as usize;
            let FailedItem { of, error, .. } = self.failing.swap_remove(one);
            if let Some(ended) = self.sched.reported(of, error, self.now) {
                drop(ended.finish());
            }
            self.failed += 1;
        }
    }

    /// From now on nothing bad happens: everything that is left must end without a limit being hit.
    fn end(&mut self, seed: u64) {
        self.hostile = false;
        while !self.open.is_empty() {
            self.feed(0);
        }
        self.sched.stop(How::Wait.into(), self.now);
        let mut steps = 0;
        while !self.sched.is_over() {
            self.step();
            steps += 1;
            assert!(steps < 400_000, "seed {seed} does not end");
        }
        self.check();
    }

    fn check(&self) {
        let book = self.book.lock().unwrap();
        assert_eq!(
            book.ended.len() as u64,
            self.next_job - 1,
            "every job has ended"
        );
        let may = |id: &u64, error: &TaskError| match error {
            TaskError::Cancelled => assert!(self.cancelled.contains(id)),
            TaskError::Panicked(_) => assert!(self.broken || self.panicked.contains(id)),
            TaskError::TimedOut(_) => {
                assert!(self.jobs[id].timeout.is_some() || self.jobs[id].until.is_some());
            }
            TaskError::WorkerDied(exit) => {
                let died = self.fatal.iter().any(|(job, _)| job == id);
                assert!(died || self.hopeless);
                assert!(self.hopeless || exit.attempts() == 1 + self.jobs[id].retry);
            }
            other => panic!("{other:?}"),
        };
        for (id, result) in &book.ended {
            match result {
                Ok(values) => assert_eq!(*values as u64, self.jobs[id].size),
                Err(error) => may(id, error),
            }
            let is_over = matches!(result, Err(TaskError::TimedOut(_)));
            let is_over = is_over && self.jobs[id].until.is_some();
            let whole = matches!(result, Err(TaskError::Cancelled)) || self.broken || is_over;
            assert!(
                !self.jobs[id].each || result.is_ok() || whole,
                "its items fail, not it"
            );
        }
        let counts = |item: Item, error: &TaskError| {
            if let TaskError::WorkerDied(exit) = error {
                let ran = self.ran.get(&item).copied();
                assert_eq!(exit.attempts(), ran.unwrap_or(0).max(1), "{item:?}");
            }
        };
        for (id, result) in &book.ended {
            match result {
                Err(error) if !self.jobs[id].each && self.jobs[id].size == 1 => {
                    counts((*id, 0), error);
                }
                _ => {}
            }
        }
        for ((id, item), error) in &book.errors {
            may(id, error);
            counts((*id, *item), error);
            if let TaskError::WorkerDied(_) = error {
                let died = self.fatal.contains(&(*id, *item));
                assert!(died || self.hopeless, "exact blame");
            }
        }
        let stats = self.counters.read(0, false);
        assert_eq!(stats.pending, 0, "nothing is left, and nothing was lost");
        assert!(stats.retired <= self.asked, "{stats:?}");
        let (limits, _) = self.sched.jobs.times();
        assert_eq!(limits, 0, "those of ended jobs are forgotten");
    }
}

/// How many simulations: 60 if `TREFOIL_FULL` is set, otherwise half as many; more with
/// `TREFOIL_SIM=n`.
fn worlds() -> u64 {
    let all = std::env::var_os("TREFOIL_FULL").is_some();
    std::env::var("TREFOIL_SIM")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(if all { 60 } else { 30 })
}

#[test]
fn every_job_ends_once_and_no_item_runs_twice() {
    let (mut executed, mut rung, mut retired, mut asked, mut broken) = (0, 0, 0, 0, 0);
    let mut failed = 0;
    let (mut late, mut again, mut laden, mut ahead) = (0, 0, 0, 0);
    let (mut hopeless, mut denied) = (0, 0);
    for seed in 0..worlds() {
        let mut world = World::new(seed);
        world.breathe(seed);
        for _ in 0..1500 {
            world.step();
        }
        world.end(seed);
        executed += world.executed;
        rung += world.rung;
        retired += world.retired;
        broken += u32::from(world.broken);
        hopeless += u64::from(world.hopeless);
        let stats = world.counters.read(0, false);
        (late, again) = (late + stats.timed_out, again + stats.retried);
        asked += stats.retired;
        failed += world.failed;
        denied += u64::from(world.book.lock().unwrap().denied);
        laden += u64::from(world.laden);
        ahead += u64::from(world.plain && world.most_frames > 1);
    }
    assert!(
        ahead > worlds() / 5,
        "{ahead} plain worlds had a frame ahead"
    );
    assert!(
        retired > 0
            && failed > worlds()
            && asked > worlds() / 2
            && broken > 0
            && late > worlds()
            && again > worlds(),
        "{retired} and {asked} retired, {failed} for a hook, {broken} broken, {late} late, {again} again: it tests nothing"
    );
    assert!(
        u64::from(executed) > worlds() / 10,
        "{executed} executions test nothing"
    );
    assert!(
        hopeless <= worlds() / 50,
        "{hopeless} worlds without hope are too many"
    );
    assert!(
        denied > worlds(),
        "{denied} had not begun: it tests nothing"
    );
    assert!(laden > worlds(), "{laden} items with ends test nothing");
    assert!(rung > executed, "{rung} were told, {executed} killed");
}

impl World {
    /// So many idle workers, which are plain or not.
    fn with_workers(count: usize, plain: bool) -> Self {
        let mut world = Self::new(if plain { 11 } else { 6 });
        world.hostile = false;
        world.sched.workers.truncate(count);
        world.sims.truncate(count);
        while !world.sched.workers.iter().all(Worker::is_idle) {
            world.step();
        }
        world
    }

    /// For so long all workers work, and are heard. Only the second thread of a plain worker that
    /// is `stuck` works.
    fn pass(&mut self, millis: u64, stuck: Option<usize>) {
        for _ in 0..millis {
            self.act();
            for index in 0..self.sims.len() {
                let sim = self.sims[index].as_mut();
                if stuck != Some(index) {
                    self.work(index);
                } else if let Some(frame) = sim.and_then(|sim| sim.unread.pop_front()) {
                    self.read(index, &frame);
                }
                self.hear(index, true);
            }
            self.now += Duration::from_millis(1);
        }
    }

    /// The item that a worker runs takes so much longer.
    fn takes(&mut self, index: usize, millis: u64) {
        while self.sim(index).running.is_none() {
            self.act();
            self.work(index);
        }
        self.sim(index).until = self.now + Duration::from_millis(millis);
    }

    fn sim(&mut self, index: usize) -> &mut Sim {
        self.sims[index].as_mut().unwrap()
    }
}
