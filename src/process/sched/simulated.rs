//! The scheduler against simulated workers, from many seeds.
//!
//! There is no process and no clock: a simulated worker takes items through real gates, answers in
//! real records, dies in the middle of them, is heard late, and sometimes never says hello. Checked
//! at every step:
//!
//! - no item runs twice, whatever dies when (W3), unless it has cost a worker and may be retried;
//! - no item runs three times at once, and twice only if it is hedged and no other waits;
//! - those that run declare no more memory than the budget, or only one of them declares any;
//! - nothing runs beside an item that must run alone, because it has died out of memory;
//! - a worker that is to be killed runs no item that is still wanted (W4);
//! - every job ends exactly once, with all of its values or with an error that it may have (W5):
//!   `WorkerDied` only if a worker died in one of its items;
//! - in a job whose items are waited for one by one, each is answered exactly once;
//! - an item whose end its caller learns is not pending any more (`stats`);
//! - an item ends in `TimedOut` if and only if it has run for that long;
//! - a job with a limit that includes waiting ends then, and none of its items begins later;
//! - no worker begins an item before its initializer has ended, without its job's context, or after
//!   its maximum number of items; when an initializer panics everything fails, and no worker is
//!   started any more;
//! - a large context crosses the way to a machine once, as long as one of the workers there lives
//!   and can show it;
//! - an item with ends goes alone, to a worker that has no other item and no ends of others (W25);
//!   once its worker has answered, no copy of its ends is left in the parent (W26).

use std::collections::{HashMap, HashSet, VecDeque};
// Used by the simulation: no protocol.
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::peer::Peer;
use super::{Action, Elastic, Feed, How, Initializer, Policy, Sched};
use serde::ser::{Error, Serialize, Serializer};

use crate::process::host::gate::GATES;
use crate::process::host::ledger::Front;
use crate::process::host::shared_clock::Epoch;
use crate::process::job::decoder::Values;
use crate::process::job::keeping::{Keeping, KeptFailures};
use crate::process::job::reading::{Chore, Extras};
use crate::process::job::sink::Sink;
use crate::process::job::{CallOptions, Context, Job, Work};
use crate::process::sched::stats::Counters;
use crate::process::sched::workers::{Has, INITIALIZE, Worker};
use crate::process::value::attachments::Attachment;
use crate::process::value::chunk::{Chunk, Piece};
use crate::process::value::scope;
use crate::process::wire::{self, BatchHead, CodeRef, Frame, Reader, Record, ServedContext};
use crate::task::{Cause, TaskError, WorkerExit};

/// An item, in two numbers.
type Item = (u64, u64);

/// An item with a channel's end.
struct Laden(Item, Arc<Attachment>);

/// Decodes an item that was sent with a description or without.
fn item(bytes: &[u8]) -> Item {
    postcard::take_from_bytes(bytes).unwrap().0
}

impl Serialize for Laden {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        scope::attach(&self.1).map_err(S::Error::custom)?;
        self.0.serialize(s)
    }
}

/// A context that workers on the same machine fetch from one another begins like any other.
fn large(id: u64) -> (Item, Vec<u8>) {
    ((id, id), vec![7; 20_000])
}

fn end_of_a_channel() -> Arc<Attachment> {
    let attachment = Attachment::new(std::fs::File::open("/dev/null").unwrap().into());
    attachment.set_end();
    attachment
}

/// The results of the jobs.
#[derive(Default)]
struct Book {
    ended: HashMap<u64, Result<usize, TaskError>>,
    /// The errors of items that were answered one by one.
    errors: HashMap<Item, TaskError>,
    /// The items whose values or errors have come.
    answered: HashSet<Item>,
    /// When each item was last started.
    started: HashMap<Item, Instant>,
    now: Option<Instant>,
    counters: Option<Arc<Counters>>,
    /// How many items of each job have been fed and have not ended for its caller.
    unanswered: HashMap<u64, u64>,
}

impl Book {
    /// The caller of a job learns that so many of its items have ended: they do not count as
    /// pending any more.
    fn answers(&mut self, job: u64, items: u64) {
        let left = self.unanswered.entry(job).or_default();
        *left = left.saturating_sub(items);
        let most = self.unanswered.values().sum();
        let pending = |counters: &Arc<Counters>| counters.read(0, false).pending;
        let pending = self.counters.as_ref().map_or(0, pending);
        assert!(pending <= most, "{pending} items are pending, of {most}");
    }

    fn overtime(&self, item: Item, timeout: Duration) -> bool {
        let started = self.started.get(&item);
        started.is_some_and(|at| self.now.is_some_and(|now| *at + timeout <= now))
    }
}

struct BookSink {
    id: u64,
    timeout: Option<Duration>,
    until: Option<Instant>,
    values: HashSet<u64>,
    book: Arc<Mutex<Book>>,
}

impl Sink for BookSink {
    fn take(&mut self, index: usize, values: Values) -> Option<Values> {
        let items = values.downcast::<Vec<Item>>().unwrap();
        let mut book = self.book.lock().unwrap();
        book.answers(self.id, items.len() as u64);
        book.answered.extend(&*items);
        drop(book);
        for (at, (job, item)) in (index as u64..).zip(*items) {
            assert_eq!((job, item), (self.id, at), "values keep their order");
            assert!(self.values.insert(item), "one value for each item");
        }
        None
    }

    fn error(&mut self, index: usize, error: TaskError) {
        let item = (self.id, index as u64);
        let mut book = self.book.lock().unwrap();
        book.answers(self.id, 1);
        if let (TaskError::TimedOut(_), Some(timeout)) = (&error, self.timeout) {
            let late = timeout.is_zero() || book.overtime(item, timeout);
            assert!(late, "{item:?} had time left");
        }
        assert!(self.values.insert(index as u64), "one answer for each item");
        book.errors.insert(item, error);
    }

    fn finish(self: Box<Self>, failure: Option<TaskError>) -> Option<Values> {
        let result = failure.map_or(Ok(self.values.len()), Err);
        let mut book = self.book.lock().unwrap();
        let is_over = self.until.is_some_and(|until| book.now >= Some(until));
        if let (Err(TaskError::TimedOut(_)), false) = (&result, is_over) {
            let timeout = self.timeout.unwrap();
            let late = |item: &Item| item.0 == self.id && book.overtime(*item, timeout);
            let late = timeout.is_zero() || book.started.keys().any(late);
            assert!(late, "nothing was late");
        }
        book.answers(self.id, u64::MAX);
        let before = book.ended.insert(self.id, result);
        assert!(before.is_none(), "a job ends once");
        None
    }
}

/// The context of the job `id`.
fn context(id: u64, ends: bool, spreads: bool) -> Context {
    let mut chunk = Chunk::default();
    match (ends, spreads) {
        (true, _) => chunk.push(&Laden((id, id), end_of_a_channel())),
        (false, true) => chunk.push(&large(id)),
        (false, false) => chunk.push(&(id, id)),
    }
    .unwrap();
    Context {
        piece: Piece::whole(Arc::new(chunk), 0),
        type_name: "context",
    }
}

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
    /// Others can have these from it.
    serves_contexts: HashSet<u64>,
    /// Those that it could not fetch.
    missing: HashSet<u64>,
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
    /// Slow items are copied.
    hedge: bool,
    /// How much memory its items declare.
    memory: u64,
    /// What dies out of memory runs again, alone.
    alone: bool,
}

struct World {
    seed: u64,
    now: Instant,
    epoch: Epoch,
    sched: Sched,
    counters: Arc<Counters>,
    /// The workers are plain: their gates are not those of the scheduler.
    plain: bool,
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
    /// Those of them that died out of memory and must run alone next. (Not of hedged jobs, where
    /// the other copy may go on.)
    starved: HashSet<Item>,
    /// How often an item has begun that must run alone.
    lone: u32,
    /// Jobs that were cancelled, and those with a panic.
    cancelled: HashSet<u64>,
    panicked: HashSet<u64>,
    jobs: HashMap<u64, Known>,
    /// Jobs that still get items, and how far they are.
    open: Vec<(u64, u64, u64)>,
    next_job: u64,
    book: Arc<Mutex<Book>>,
    /// The attachments of items.
    attachments: HashMap<Item, Arc<Attachment>>,
    /// How many items with ends have begun.
    laden: u32,
    hostile: bool,
    /// There is one job at a time, most of them hedged, with many slow items.
    quiet: bool,
    /// How many workers were killed because of a cancelled item.
    executed: u32,
    /// How many did not die.
    given_up: u32,
    /// How many running items were told that they are not wanted.
    rung: u32,
    /// How many workers have asked to be replaced.
    retired: u32,
    asked: u64,
    /// Failed items that another thread keeps, and how many there were.
    keeping: Vec<Keeping>,
    kept: u64,
    /// How many items that declare memory ran at once.
    most_needs: usize,
    /// How many frames a worker had at once.
    most_frames: usize,
    /// How many machines the workers are on; 0: they have nothing to do with one another.
    machines: u64,
    /// How many large contexts were sent, how many fetched, and how many could not be.
    sent: u32,
    fetched: u32,
    missed: u32,
}

/// In worlds with a limit to memory.
const BUDGET: u64 = 100;

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
        chunk.push(&(INITIALIZE, 0u64)).unwrap();
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
            one_process: None,
            elastic: None,
            max_restarts: None,
            keep: KeptFailures {
                dir: (seed % 4 < 2).then(|| Path::new("nowhere").into()),
                ..KeptFailures::default()
            },
            memory_budget: (seed % 6 == 4 || seed % 6 == 3).then_some(BUDGET),
        };
        let replace_after = policy.replace_after;
        let counters = Arc::new(Counters::new());
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
            initializes,
            fragile: initializes && seed % 5 == 3,
            broken: false,
            hopeless: false,
            replace_after,
            sims: Vec::new(),
            ran: HashMap::new(),
            fatal: HashSet::new(),
            starved: HashSet::new(),
            lone: 0,
            cancelled: HashSet::new(),
            panicked: HashSet::new(),
            jobs: HashMap::new(),
            open: Vec::new(),
            next_job: 1,
            book: Arc::new(Mutex::new(book)),
            attachments: HashMap::new(),
            laden: 0,
            hostile: true,
            quiet: false,
            executed: 0,
            given_up: 0,
            rung: 0,
            retired: 0,
            asked: 0,
            keeping: Vec::new(),
            kept: 0,
            most_needs: 0,
            most_frames: 0,
            machines: if seed % 4 == 3 { 1 + seed / 4 % 2 } else { 0 },
            sent: 0,
            fetched: 0,
            missed: 0,
        };
        world.sims.resize_with(world.sched.workers.len(), || None);
        world
    }

    /// In some worlds workers come and go with the work. (From now on: what waits until all are
    /// there and idle comes before.)
    fn breathe(&mut self, seed: u64) {
        self.sched.policy.elastic = (seed % 7 == 5).then_some(Elastic {
            least: seed as usize % 2,
            idle: Duration::from_millis(1 + seed % 40),
        });
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
        let each = self.chance(3);
        let mut size = if self.chance(2) { 1 } else { self.random(120) };
        if self.quiet {
            size = 3 + self.random(12);
        }
        let ends = self.chance(6);
        if ends {
            size = size.min(6); // they are real descriptors
        }
        let timeout = if self.chance(3) {
            Some(Duration::from_millis(self.random(40)))
        } else {
            None
        };
        let known = Known {
            size,
            each,
            retry: if self.chance(3) {
                self.random(4) as u32
            } else {
                0
            },
            timeout,
            until: (self.chance(4)).then(|| self.now + Duration::from_millis(self.random(80))),
            context: self.chance(if self.machines > 0 { 2 } else { 5 }),
            ends,
            hedge: self.chance(8) != self.quiet,
            memory: if self.sched.policy.memory_budget.is_some() {
                self.random(BUDGET * 3 / 2)
            } else {
                0
            },
            alone: self.chance(4),
        };
        let sink = BookSink {
            id,
            timeout,
            until: known.until,
            values: HashSet::new(),
            book: self.book.clone(),
        };
        let mut options = CallOptions::default();
        options.until = known.until;
        options.retry = known.retry;
        options.timeout = timeout;
        options.chunk = self.chance(5).then_some(7);
        options.hedge = known.hedge.then_some(2.0);
        options.memory = known.memory;
        options.retry_alone = known.alone;
        let mut work = Work::new::<Item, Item>(CODE, Box::new(sink), options);
        work.each = each;
        work.numbered = !each && size != 1;
        let spreads = self.machines > 0 && !self.chance(4);
        work.options.context = known.context.then(|| Arc::new(context(id, ends, spreads)));
        self.jobs.insert(id, known);
        self.sched.submit(id, Job::new(work), self.now);
        self.open.push((id, 0, size));
        self.feed(self.open.len() - 1);
    }

    /// A job of so many items, perhaps with a large context.
    fn common_job(&mut self, size: u64, has_context: bool) -> u64 {
        let id = self.next_job;
        self.next_job += 1;
        let book = self.book.clone();
        let sink = BookSink {
            id,
            timeout: None,
            until: None,
            values: HashSet::new(),
            book,
        };
        let mut work = Work::new::<Item, Item>(CODE, Box::new(sink), CallOptions::default());
        work.options.context = has_context.then(|| Arc::new(context(id, false, true)));
        let known = Known {
            size,
            context: has_context,
            ..Known::default()
        };
        self.jobs.insert(id, known);
        self.sched.submit(id, Job::new(work), self.now);
        self.open.push((id, 0, size));
        self.feed(self.open.len() - 1);
        id
    }

    fn feed(&mut self, open: usize) {
        let (id, from, size) = self.open[open];
        let to = size.min(from + 1 + self.random(60));
        let mut chunk = Chunk::default();
        let known = self.jobs[&id];
        for item in from..to {
            let item = (id, item);
            if known.ends && !known.context && item.1 % 3 < 2 {
                let attachment = end_of_a_channel();
                chunk.push(&Laden(item, attachment.clone())).unwrap();
                self.attachments.insert(item, attachment);
            } else {
                chunk.push(&item).unwrap();
            }
        }
        let mut book = self.book.lock().unwrap();
        if !book.ended.contains_key(&id) {
            *book.unanswered.entry(id).or_default() += to - from;
        }
        drop(book);
        let feed = Feed {
            id,
            base: from as usize,
            chunk: Arc::new(chunk),
            sealed: to == size,
            failure: None,
        };
        self.sched.feed(feed, self.now);
        self.open[open].1 = to;
        if to == size {
            self.open.swap_remove(open);
        }
    }

    fn act(&mut self) {
        self.book.lock().unwrap().now = Some(self.now);
        for index in self.sched.overdue(self.now).collect::<Vec<_>>() {
            self.hear(index, true);
        }
        self.sched.tick(self.now);
        // (While an item is kept, its error is on its way.)
        let jobs = self.sched.jobs.values();
        let jobs = jobs.filter(|job| job.readings.is_empty());
        let next = jobs.filter_map(|job| job.work.options.until).min();
        assert!(next.is_none_or(|at| at > self.now), "it outlives its time");
        let wakes = |at| self.sched.deadline().is_some_and(|due| due <= at);
        assert!(next.is_none_or(wakes), "nobody would end it");
        for action in self.sched.actions() {
            match action {
                Action::Spawn(index) if self.hostile && self.chance(30) => {
                    self.sched.died(index, &WorkerExit::new(0), false, self.now);
                }
                Action::Spawn(index) => {
                    assert!(!self.broken, "nothing is started after a breakdown");
                    let gates = Arc::new(Front::own());
                    let peer = match self.plain {
                        true => Peer::on_stream(),
                        false => Peer::on_pages((*gates).clone()),
                    };
                    let pid = 100 + index as u32;
                    self.sched.started(index, pid, peer, self.now);
                    let machine = (index as u64).checked_rem(self.machines);
                    self.sched.workers[index].machine = machine.map(|one| one.to_string());
                    assert!(self.sims[index].is_none(), "one process in one place");
                    self.sims[index] = Some(Sim {
                        gates,
                        unread: VecDeque::new(),
                        inbox: VecDeque::new(),
                        begun: 0,
                        served: 0,
                        initialized: !self.initializes,
                        contexts: HashSet::new(),
                        serves_contexts: HashSet::new(),
                        missing: HashSet::new(),
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
                        condemned: None,
                    });
                }
                Action::Send(worker, mut head, items) => {
                    head.extend_from_slice(items.as_ref().map_or(&[], Piece::bytes));
                    match &mut self.sims[worker] {
                        Some(sim) if self.plain => sim.unread.push_back(head),
                        _ => self.read(worker, &head),
                    }
                }
                Action::Ring(index) => self.ring(index),
                Action::Nudge(_) => {}
                Action::Withdraw(_) => unreachable!("a worker is here as soon as it is asked for"),
                Action::GiveUp { index, surely } => {
                    if surely || self.chance(2) {
                        self.given_up += 1;
                        self.sched.take_all_back(index, self.now);
                        self.die(index);
                    }
                }
                Action::Kill(index) => {
                    if let Some(sim) = self.sims[index].as_mut().filter(|sim| !sim.killed) {
                        sim.condemned = sim.running;
                        sim.killed = true;
                    }
                }
            }
        }
    }

    /// A worker checks whether the item that it runs is wanted.
    fn ring(&mut self, index: usize) {
        // Every second item obeys.
        let obeys = self.chance(2);
        let Some(sim) = &self.sims[index] else {
            return;
        };
        let front = sim.inbox.front().map(|(head, _)| head.sequence);
        let unwanted =
            front.is_some_and(|front| sim.gates.gate(front as usize % GATES).is_unwanted());
        if let (true, Some(item)) = (unwanted, sim.running) {
            assert!(!self.is_wanted(item), "an innocent is cancelled: {item:?}");
            self.rung += 1;
            if let (true, Some(sim)) = (obeys, &mut self.sims[index]) {
                sim.until = self.now;
            }
        }
    }

    /// Whether the result of this item may still be wanted.
    fn is_wanted(&self, item: Item) -> bool {
        let (job, index) = item;
        let book = self.book.lock().unwrap();
        let known = self.jobs[&job];
        let late = |item| {
            known
                .timeout
                .is_some_and(|timeout| book.overtime(item, timeout))
        };
        if self.cancelled.contains(&job) || book.ended.contains_key(&job) {
            return false;
        }
        let is_kept = |keeping: &Keeping| (keeping.job, keeping.at as u64) == item;
        let new = |chore: &Chore| matches!(chore, Chore::Keep(keeping) if is_kept(keeping));
        if self.sched.chores.iter().any(new) || self.keeping.iter().any(is_kept) {
            return false; // it has failed
        }
        if known.hedge && book.answered.contains(&item) {
            return false; // the other copy was quicker
        }
        if known.each {
            return !book.errors.contains_key(&item);
        }
        let below = (0..index).any(|i| self.fatal.contains(&(job, i)) || late((job, i)));
        !(below || late(item) || self.panicked.contains(&job))
    }

    /// Whether an item must run alone.
    fn must_run_alone(&self, item: Item) -> bool {
        let job = self.sched.jobs.get(&item.0);
        let alone = job.and_then(|job| job.alone.as_ref());
        alone.is_some_and(|alone| alone.has(item.1 as usize)) || self.starved.contains(&item)
    }

    /// A worker reads a frame, at any time if it is plain.
    fn read(&mut self, worker: usize, bytes: &[u8]) {
        let cannot = self.hostile && self.chance(8);
        let serves = |sim: &Option<Sim>, id| {
            sim.as_ref()
                .is_some_and(|sim| sim.serves_contexts.contains(&id))
        };
        let there: Vec<usize> = match Frame::decode(bytes).unwrap().unwrap().0 {
            Frame::Share { id, .. } => {
                let all = 0..self.sims.len();
                all.filter(|one| serves(&self.sims[*one], id)).collect()
            }
            _ => Vec::new(),
        };
        let lone = match Frame::decode(bytes).unwrap().unwrap().0 {
            Frame::Batch { items, .. } => {
                let first = Reader(items).bytes().map(item);
                first.is_some_and(|first| self.must_run_alone(first))
            }
            _ => false,
        };
        let Some(sim) = &mut self.sims[worker] else {
            return;
        };
        assert!(sim.hello, "nothing is sent before hello");
        self.most_frames = self.most_frames.max(sim.inbox.len() + 1);
        match Frame::decode(bytes).unwrap().unwrap().0 {
            Frame::Batch { batch, items, .. } => {
                let mut reader = Reader(items);
                let items: VecDeque<Item> =
                    std::iter::from_fn(|| reader.bytes().map(item)).collect();
                assert_eq!(items.len() as u64, batch.count);
                let known = self.jobs.get(&items[0].0).copied().unwrap_or_default();
                let has_ends = batch.ends || known.context && known.ends;
                let may_be_copied = known.hedge && !lone && !has_ends;
                let is_timed = may_be_copied || known.until.is_some();
                let copied = u64::from(is_timed) * u64::MAX;
                let limit = known.timeout.map(|timeout| timeout.as_nanos() as u64);
                // (Of a call that has ended nobody knows whether its item was to run alone.)
                let is_over = !self.sched.jobs.contains_key(&items[0].0);
                assert!(is_over || batch.limit == limit.unwrap_or(copied));
                assert_ne!(limit, Some(0), "it has no time to run");
                assert!(self.plain || known.until.is_none_or(|until| self.now < until));
                let is_singly = known.hedge || known.memory > 0 || lone;
                assert!(!is_singly || items.len() == 1 && sim.inbox.is_empty());
                assert_eq!(batch.context, if known.context { items[0].0 } else { 0 });
                assert!(!known.context || sim.contexts.contains(&batch.context));
                let laden = items.iter().any(|item| self.attachments.contains_key(item));
                assert_eq!(batch.ends, laden);
                if laden || known.context && known.ends {
                    assert!(sim.inbox.is_empty(), "it waits behind another");
                    assert!(items.len() == 1 || !laden);
                }
                let gate = sim.gates.gate(batch.sequence as usize % GATES);
                if self.plain {
                    gate.open(batch.count as u32, 1);
                }
                sim.inbox.push_back((batch, items));
                assert!(sim.inbox.len() <= GATES);
            }
            Frame::Context { id, bytes } => {
                let context = item(Reader(bytes).bytes().unwrap());
                assert_eq!(context, (id, id));
                assert!(sim.contexts.insert(id), "a context comes once");
                self.sent += u32::from(bytes.len() > 20_000);
            }
            Frame::Share { id, from: None } => {
                assert!(sim.contexts.contains(&id) && self.machines > 0);
                let served = ServedContext {
                    place: [worker as u32, 0],
                    hash: id,
                };
                let served = Some(served).filter(|_| !cannot);
                sim.serves_contexts.extend(served.map(|_| id));
                self.missed += u32::from(served.is_none());
                sim.said.extend(Record::Serves { id, served }.bytes());
            }
            Frame::Share {
                id,
                from: Some(from),
            } => {
                let [other, _] = from.place;
                assert_eq!(from.hash, id);
                assert_eq!(
                    u64::from(other) % self.machines,
                    worker as u64 % self.machines
                );
                let place = [worker as u32, 0];
                let is_there = there.contains(&(other as usize)) && !cannot;
                let served = is_there.then_some(ServedContext { place, ..from });
                if is_there {
                    assert!(sim.contexts.insert(id), "a context comes once");
                    sim.serves_contexts.insert(id);
                }
                if !is_there {
                    sim.missing.insert(id);
                }
                self.fetched += u32::from(is_there);
                self.missed += u32::from(!is_there);
                sim.said.extend(Record::Serves { id, served }.bytes());
            }
            Frame::Forget { id } => {
                sim.serves_contexts.remove(&id);
                // (It may end before it is known that it could not be fetched.)
                assert!(sim.contexts.remove(&id) || sim.missing.remove(&id));
            }
            Frame::Bye => sim.leaves = true,
            Frame::Recall { sequence, cancel } => {
                assert!(self.plain);
                let gate = sim.gates.gate(sequence as usize % GATES);
                let end = gate.close().into();
                sim.said.extend(Record::Recalled { sequence, end }.bytes());
                if cancel {
                    gate.disown();
                    self.ring(worker);
                }
            }
            Frame::Welcome { .. }
            | Frame::Descriptors(_)
            | Frame::Copy { .. }
            | Frame::Keep(_)
            | Frame::Release(_)
            | Frame::Nudge
            | Frame::Tree
            | Frame::Home
            | Frame::Chaos(_) => unreachable!(),
        }
    }

    /// One step of one worker.
    fn work(&mut self, index: usize) {
        let (mut panics, dies) = (
            self.hostile && self.chance(200),
            self.hostile && self.chance(if self.quiet { 400 } else { 60 }),
        );
        let retires = self.hostile && self.chance(80);
        let asks = self.hostile && self.chance(80);
        let reads = self.chance(2);
        let until = self.now
            + Duration::from_millis(if self.chance(if self.quiet { 4 } else { 20 }) {
                60
            } else {
                0
            });
        let runs = |sim: &&mut Sim| !(sim.frozen || sim.killed && sim.held);
        let Some(sim) = self.sims[index].as_mut().filter(runs) else {
            return;
        };
        if !sim.hello {
            sim.hello = true;
            self.sched.hello(index, self.now);
            return;
        }
        if reads && let Some(frame) = sim.unread.pop_front() {
            return self.read(index, &frame);
        }
        if let Some(item) = sim.running {
            if dies {
                return self.die(index);
            }
            if self.now < sim.until {
                return;
            }
            if item.0 == INITIALIZE {
                panics = self.hostile && self.fragile && self.next_job > 20;
                self.broken |= panics;
                sim.initialized = !panics;
            }
            let limit = sim.inbox.front().map_or(0, |(batch, _)| batch.limit);
            let nanos = (self.now - sim.since).as_nanos() as u64;
            if limit != 0 && nanos >= limit {
                sim.said.extend(Record::Late { nanos }.bytes());
            } else if panics {
                let (message, place) = ("oh".to_owned(), None);
                sim.said.extend(Record::Panic { message, place }.bytes());
                self.panicked.insert(item.0);
            } else {
                let value = postcard::to_stdvec(&item).unwrap();
                sim.said.extend(wire::value_head(value.len()));
                sim.said.extend(value);
            }
            sim.running = None;
            if asks && item.0 != INITIALIZE && !sim.retires {
                (sim.retires, sim.asks) = (true, true);
                self.asked += 1;
            }
            if panics && item.0 == INITIALIZE {
                self.hear(index, true); // at once, so that later output is after it
            }
            return;
        }
        let Some((batch, items)) = sim.inbox.front_mut() else {
            if sim.leaves {
                self.die(index);
            }
            return;
        };
        let gate = sim.gates.gate(batch.sequence as usize % GATES);
        // (One that retires before its first item breaks the pool.)
        if sim.begun > 0 && sim.served > 0 && retires && !sim.retires {
            sim.retires = true;
            self.retired += 1;
            gate.close();
            sim.said.extend(Record::Retire { asked: false }.bytes());
        }
        if sim.retires {
            gate.close();
        }
        sim.since = self.now;
        if batch.limit != 0 {
            let since = self.now - self.epoch.instant;
            gate.starts(self.epoch.nanos + since.as_nanos() as u64);
        }
        if gate.take().is_some() {
            if self.plain {
                sim.said.extend(Record::Begun.bytes());
            }
            let item = items.pop_front().unwrap();
            sim.begun += 1;
            sim.running = Some(item);
            sim.until = until;
            if batch.ends {
                sim.said.extend(Record::Taken.bytes());
                self.laden += 1;
            }
            let foreign = |id: &u64| *id != item.0 && self.jobs[id].ends;
            assert!(!sim.contexts.iter().any(foreign), "others' ends are open");
            if item.0 == INITIALIZE {
                return;
            }
            sim.served += 1;
            assert!(sim.initialized, "{item:?} comes before the initializer");
            assert!(!sim.retires, "{item:?} begins on a worker that retires");
            assert!(self.replace_after.is_none_or(|most| sim.served <= most));
            let known = self.jobs[&item.0];
            // (A plain worker may not have heard yet that its time is over.)
            let in_time = known.until.is_none_or(|until| self.now < until);
            assert!(in_time || self.plain, "{item:?} begins too late");
            let is_copied = known.hedge && !batch.ends && !(known.context && known.ends);
            let lone = self.must_run_alone(item);
            let runs = self.ran.entry(item).or_insert(0);
            *runs += 1;
            assert!(
                *runs == 1 || self.fatal.contains(&item) || is_copied,
                "{item:?} runs twice"
            );
            assert!(
                *runs <= 1 + known.retry + u32::from(is_copied) + u32::from(lone),
                "{item:?} runs too often"
            );
            let copies = self.sims.iter().flatten();
            let copies = copies.filter(|sim| sim.running == Some(item)).count();
            assert!(copies <= 1 + usize::from(is_copied && !lone));
            let running = self.sims.iter().flatten().filter_map(|sim| sim.running);
            let running: Vec<Item> = running.filter(|item| item.0 != INITIALIZE).collect();
            let has_lone = running.iter().any(|item| self.must_run_alone(*item));
            assert!(!has_lone || running.len() == 1, "beside: {running:?}");
            self.lone += u32::from(lone);
            let running = running.into_iter();
            let memory = |item: Item| self.jobs.get(&item.0).map_or(0, |job| job.memory);
            let needs: Vec<u64> = running.map(memory).filter(|bytes| *bytes > 0).collect();
            let fits = needs.iter().sum::<u64>() <= BUDGET || needs.len() == 1;
            assert!(fits, "too much at once: {needs:?}");
            self.most_needs = self.most_needs.max(needs.len());
            if copies == 1 {
                self.book.lock().unwrap().started.insert(item, self.now);
            }
        } else {
            if std::mem::take(&mut sim.asks) {
                sim.said.extend(Record::Retire { asked: true }.bytes());
            }
            let end = Record::End {
                sequence: batch.sequence,
                begun: sim.begun,
                nanos: sim.begun * 30_000,
            };
            sim.said.extend(end.bytes());
            sim.begun = 0;
            sim.inbox.pop_front();
        }
    }

    /// The scheduler reads some of a worker's output.
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
        let used = self
            .sched
            .receive(index, &sim.heard, None, &mut Extras::default(), self.now)
            .unwrap();
        sim.heard.drain(..used);
        let heard = sim.heard.is_empty() && sim.said.is_empty();
        if let (true, Some(item)) = (heard, sim.running)
            && let Some(attachment) = self.attachments.get(&item)
            && (self.jobs[&item.0].retry, self.jobs[&item.0].alone) == (0, false)
        {
            assert_eq!(Arc::strong_count(attachment), 1, "its ends are closed here");
        }
    }

    /// Makes killed workers end soon.
    fn execute(&mut self) {
        for index in 0..self.sims.len() {
            let sim = self.sims[index].as_ref();
            let sim = sim.filter(|sim| sim.killed && !sim.held);
            let Some((running, condemned)) = sim.map(|sim| (sim.running, sim.condemned)) else {
                continue;
            };
            if self.chance(16) {
                if let Some(item) = running.filter(|item| item.0 != INITIALIZE) {
                    self.executed += 1;
                    // No gate keeps a plain worker from an item between the kill and its death.
                    let since = self.plain && condemned != running;
                    let innocent = !since && self.is_wanted(item);
                    assert!(!innocent, "an innocent is killed: {item:?}");
                }
                self.die(index);
            }
        }
    }

    fn die(&mut self, index: usize) {
        self.hear(index, true);
        let Some(sim) = self.sims[index].take() else {
            return;
        };
        assert!(sim.heard.is_empty());
        self.fatal
            .extend(sim.running.filter(|item| item.0 != INITIALIZE));
        let mut exit = WorkerExit::new(100 + index as u32);
        exit.cause = Cause::Outside;
        if let Some(item) = sim.running.filter(|item| item.0 != INITIALIZE) {
            if self.jobs[&item.0].alone && self.chance(2) {
                exit.cause = Cause::Kernel;
            }
            if exit.out_of_memory() && !self.jobs[&item.0].hedge {
                self.starved.insert(item);
            }
        }
        self.sched.died(index, &exit, false, self.now);
        self.hopeless |= self.sched.is_hopeless(index);
    }

    fn step(&mut self) {
        self.execute();
        self.keep();
        let worker = self.random(self.sims.len() as u64) as usize;
        match self.random(24) {
            0 if self.hostile && !self.quiet => self.submit(),
            1 if !self.open.is_empty() => {
                let open = self.random(self.open.len() as u64) as usize;
                self.feed(open);
            }
            2 if self.hostile && self.chance(if self.quiet { 20 } else { 4 }) => self.die(worker),
            3 if self.hostile && self.next_job > 1 && self.chance(3) => {
                let id = 1 + self.random(self.next_job - 1);
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

    /// Another thread keeps failed items, some time later.
    fn keep(&mut self) {
        let keeps = |chore| match chore {
            Chore::Keep(keeping) => Some(*keeping),
            _ => None,
        };
        let chores = std::mem::take(&mut self.sched.chores);
        self.keeping.extend(chores.into_iter().filter_map(keeps));
        if !self.keeping.is_empty() && self.chance(8) {
            let one = self.random(self.keeping.len() as u64) as usize;
            let Keeping { job, at, error, .. } = self.keeping.swap_remove(one);
            if let Some(ended) = self.sched.kept(job, at, error, self.now) {
                drop(ended.finish());
            }
            self.kept += 1;
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
                let most = 1 + self.jobs[id].retry;
                let more = most + u32::from(self.jobs[id].alone);
                assert!(self.hopeless || (most..=more).contains(&exit.attempts()));
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
        for ((id, item), error) in &book.errors {
            may(id, error);
            if let TaskError::WorkerDied(_) = error {
                let died = self.fatal.contains(&(*id, *item));
                assert!(died || self.hopeless, "exact blame");
            }
        }
        let stats = self.counters.read(0, false);
        assert_eq!(stats.pending, 0, "nothing is left, and nothing was lost");
        assert!(stats.retired <= self.asked, "{stats:?}");
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
    let mut kept = 0;
    let (mut late, mut again, mut laden, mut ahead) = (0, 0, 0, 0);
    let (mut hopeless, mut fetched, mut missed, mut needs) = (0, 0, 0, 0);
    let mut lone = 0;
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
        kept += world.kept;
        needs += world.most_needs.saturating_sub(1);
        lone += world.lone;
        laden += u64::from(world.laden);
        ahead += u64::from(world.plain && world.most_frames > 1);
        (fetched, missed) = (fetched + world.fetched, missed + world.missed);
    }
    assert!(
        fetched > 9 && missed > 3,
        "{fetched} fetched, {missed} missed: it tests nothing"
    );
    assert!(
        ahead > worlds() / 5,
        "{ahead} plain worlds had a frame ahead"
    );
    assert!(
        retired > 0
            && kept > worlds()
            && asked > worlds() / 2
            && broken > 0
            && late > worlds()
            && again > worlds(),
        "{retired} and {asked} retired, {kept} kept, {broken} broken, {late} late, {again} again: it tests nothing"
    );
    assert!(
        u64::from(executed) > worlds() / 10,
        "{executed} executions test nothing"
    );
    assert!(
        hopeless <= worlds() / 50,
        "{hopeless} worlds without hope are too many"
    );
    assert!(needs > 0, "items with memory never ran side by side");
    assert!(
        u64::from(lone) > worlds() / 3,
        "{lone} items alone test nothing"
    );
    assert!(laden > worlds(), "{laden} items with ends test nothing");
    assert!(rung > executed, "{rung} were told, {executed} killed");
}

/// Slow items have two copies while workers are idle, and the first answer counts: whatever dies,
/// is cancelled, or times out.
#[test]
fn the_first_of_two_copies_counts() {
    let (mut hedged, mut died, mut late, mut lone) = (0, 0, 0, 0);
    for seed in 0..worlds() {
        let mut world = World::new(seed);
        world.quiet = true;
        world.breathe(seed);
        for _ in 0..20 {
            world.submit();
            for _ in 0..400 {
                world.step();
            }
        }
        world.end(seed);
        let stats = world.counters.read(0, false);
        (hedged, late) = (hedged + stats.hedged, late + stats.timed_out);
        died += world.fatal.len() as u64;
        lone += u64::from(world.lone);
    }
    assert!(
        hedged > worlds() / 2 && died > worlds() && late > worlds() && lone > 0,
        "{hedged} copies, {died} deaths, {late} late, {lone} alone: it tests nothing"
    );
}

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
    while have(&world) == 1 {
        world.act();
        world.now = world.sched.deadline().unwrap_or(world.now).max(world.now);
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

/// The worker that shows a context dies while the others are asked to fetch it from there: one of
/// them gets it once more, for all.
#[test]
fn a_context_that_dies_with_its_worker_is_sent_once_more() {
    let mut world = World::new(3); // plain, of four workers
    world.machines = 1;
    world.hostile = false;
    while !world.sched.workers.iter().all(Worker::is_idle) {
        world.step();
    }
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
    let mut world = World::new(3); // plain, of four workers
    world.machines = 1;
    world.hostile = false;
    while !world.sched.workers.iter().all(Worker::is_idle) {
        world.step();
    }
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
                sim.gates.gate(head.sequence as usize % GATES).take();
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
            world.sched.cancel(id, world.now);
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
    world.sched.kill(0, world.now);
    let second = Duration::from_secs(1);
    for (pause, kills) in [(Duration::ZERO, 1), (second / 2, 0), (second / 2, 1)] {
        world.now += pause;
        world.sched.tick(world.now);
        let actions = world.sched.actions();
        assert!(
            actions
                .iter()
                .all(|action| matches!(action, Action::Kill(0)))
        );
        assert_eq!(actions.len(), kills);
    }
    // After that it is given up, unless it is at it; at last, even then.
    for n in 2..=30 {
        assert_eq!(world.sched.deadline(), Some(world.now + second));
        world.now += second;
        world.sched.tick(world.now);
        let actions = world.sched.actions();
        let expected = |action: &Action| match action {
            Action::GiveUp { index: 0, surely } => *surely == (n == 30),
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
                world.sched.kill(index, world.now);
            }
        }
        world.act();
        let (begin, held) = (world.now, |sim: &Sim| sim.held);
        while world.sims.iter().flatten().any(held) {
            world.step();
            if let (Some(due), true) = (world.sched.deadline(), world.chance(20)) {
                world.now = world.now.max(due);
            }
            let took = world.now - begin;
            assert!(took <= Duration::from_secs(31), "seed {seed}: {took:?}");
        }
        world.end(seed);
    }
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
    let stop = super::Stop {
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
    assert!(world.sched.deadline().is_some_and(|at| at > world.now));
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
                Action::Spawn(0) => {
                    started += 1;
                    let gates = Peer::on_pages(Front::own());
                    world.sched.started(0, 100, gates, world.now);
                }
                Action::Kill(0) => {
                    let mut exit = WorkerExit::new(100);
                    exit.cause = Cause::Pool;
                    world.sched.died(0, &exit, false, world.now);
                }
                _ => unreachable!("nobody is there"),
            }
        }
        world.now += Duration::from_secs(1);
    }
    assert_eq!(started, 2);
}

impl World {
    /// Submits a call of one item.
    fn call(&mut self, priority: i32) -> u64 {
        let mut options = CallOptions::default();
        options.priority = priority;
        self.call_with(options)
    }

    fn call_with(&mut self, options: CallOptions) -> u64 {
        let id = self.next_job;
        self.next_job += 1;
        let timeout = options.timeout;
        let sink = BookSink {
            id,
            timeout,
            until: options.until,
            values: HashSet::new(),
            book: self.book.clone(),
        };
        let work = Work::new::<Item, Item>(CODE, Box::new(sink), options);
        let known = Known {
            size: 1,
            timeout,
            ..Known::default()
        };
        self.jobs.insert(id, known);
        self.sched.submit(id, Job::new(work), self.now);
        self.open.push((id, 0, 1));
        self.feed(self.open.len() - 1);
        id
    }
}

/// Counts how often it is woken.
#[derive(Default)]
struct Woken(std::sync::atomic::AtomicU32);

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

/// A place in the queue becomes free when its call is sent or cancelled. Who waits for it is not
/// woken here, where the engine is locked.
#[test]
fn a_free_place_wakes_nobody_under_the_lock() {
    use std::pin::pin;
    use std::task::{Context, Waker};
    for cancels in [false, true] {
        let mut world = World::new(8); // one worker
        world.hostile = false;
        while !cancels && !world.sched.workers[0].is_idle() {
            world.step();
        }
        let places = Arc::new(crate::sync::Semaphore::new(1));
        let id = world.call(0);
        let job = world.sched.jobs.get_mut(&id).unwrap();
        job.work.place = places.try_acquire_arc();
        let woken = Arc::new(Woken::default());
        let mut next = pin!(places.acquire_arc());
        let waker = Waker::from(woken.clone());
        let mut poll = || next.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(poll().is_pending());
        match cancels {
            true => world.sched.cancel(id, world.now),
            false => assert!(world.sched.dispatch_work(world.now)),
        }
        assert_eq!(woken.0.load(std::sync::atomic::Ordering::Relaxed), 0);
        assert!(world.sched.needs_driver_thread());
        let wakers = std::mem::take(&mut world.sched.wakers);
        assert_eq!(wakers.len(), 1);
        wakers.into_iter().for_each(Waker::wake);
        assert_eq!(woken.0.load(std::sync::atomic::Ordering::Relaxed), 1);
        assert!(poll().is_ready());
    }
}

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
        match is_whole {
            true => options.until = Some(world.now),
            false => options.timeout = Some(Duration::ZERO),
        }
        let id = world.call_with(options);
        assert!(world.sched.has(id) && !world.sched.dispatch_work(world.now));
        assert!(world.sched.has(id) && world.sched.actions().is_empty());
        assert!(world.sched.deadline().is_some_and(|due| due <= world.now));
        world.act();
        assert!(!world.sched.has(id) && world.sims[0].as_ref().unwrap().inbox.is_empty());
    }
}

/// A cancelled call that is still in the queue changes no order: a call that is queued again is
/// placed behind more urgent ones.
#[test]
fn a_cancelled_call_changes_no_order() {
    let mut world = World::new(8);
    world.hostile = false;
    let (first, cancelled, second) = (world.call(5), world.call(5), world.call(5));
    world.sched.cancel(cancelled, world.now);
    let usual = world.call(0);
    // As after the death of its worker.
    world.sched.queue.retain(|(_, id)| *id != usual);
    world.sched.jobs.get_mut(&usual).unwrap().queued = false;
    world.sched.enqueue(usual, true);
    let order = world.sched.queue.iter().map(|(_, id)| *id);
    let order: Vec<u64> = order.filter(|id| *id != cancelled).collect();
    assert_eq!(order, [first, second, usual]);
}

/// An elastic pool one of whose workers could not be started five times in a row: a call that waits
/// behind a long item of the other worker is a reason to try again.
#[test]
fn an_elastic_pool_tries_again_for_what_waits() {
    let mut world = World::new(9); // two workers
    world.hostile = false;
    world.sched.policy.elastic = Some(Elastic {
        least: 0,
        idle: Duration::from_secs(30),
    });
    world.call(0);
    world.call(0);
    let (mut failed, mut begin, mut later) = (0, None, 0);
    let end = world.now + Duration::from_secs(600);
    while world.now < end {
        world.sched.tick(world.now);
        for action in world.sched.actions() {
            match action {
                Action::Spawn(1) if failed < 5 => {
                    failed += 1;
                    let exit = WorkerExit::new(0);
                    world.sched.died(1, &exit, false, world.now);
                }
                Action::Spawn(1) => {
                    later += u32::from(begin.is_some());
                }
                Action::Spawn(index) => {
                    let gates = Peer::on_pages(Front::own());
                    world.sched.started(index, 100, gates, world.now);
                }
                Action::Send(..) => {
                    world.sched.workers[0].frames[0].gate().take();
                    begin.get_or_insert(world.now);
                }
                _ => {}
            }
        }
        world.now += Duration::from_millis(50);
        if failed == 5 && world.sched.workers[0].is_starting() {
            world.sched.hello(0, world.now);
        }
    }
    assert_eq!(failed, 5);
    assert!(later > 0, "the second item waits for ever behind the first");
}

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
            world.sched.cancel(id, world.now);
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
        world.sched.policy.memory_budget = None; // items behind a stopped one may wait for it
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

impl World {
    /// So many idle workers, which are plain or not.
    fn with_workers(count: usize, plain: bool) -> Self {
        let mut world = Self::new(if plain { 11 } else { 6 });
        world.hostile = false;
        world.sched.policy.memory_budget = None;
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
    world.sched.cancel(behind, world.now);
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
    assert_eq!(world.sched.deadline(), None);
    world.call(0);
    world.takes(1 - busy, 60_000);
    world.call(0);
    world.pass(900, Some(busy));
    assert!(!world.sim(busy).killed, "the next one waits for a moment");
    world.pass(200, Some(busy));
    let sim = world.sims[busy].as_ref();
    assert!(sim.is_none_or(|sim| sim.killed));
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
            let due = world.sched.deadline().expect("nobody would look");
            assert!(due <= world.now + Duration::from_millis(1100), "{plain}");
            assert!(!world.sim(0).killed);
            world.now = due;
            world.sched.tick(world.now);
        }
        let kills = |action: &Action| matches!(action, Action::Kill(0));
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
        world.sched.cancel(id, world.now);
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
            let Action::Spawn(index) = action else {
                unreachable!()
            };
            world.sched.died(index, &exit, false, world.now);
        }
        world.now = world.sched.deadline().unwrap_or(world.now);
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
    assert_eq!(world.sched.deadline(), None);
}
