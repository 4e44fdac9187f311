//! A machine with any number of processors: virtual time, cache lines, sleeping threads.
//!
//! A program is a future for each processor. Whatever takes time is awaited, and the machine
//! resumes the processor whose time is the earliest, so a run is exact and repeatable. Data need no
//! lines of their own: programs keep them in cells, and pay for the line in which they would lie.
//!
//! The cost of a line is that of the usual protocols of caches: a processor that has a copy reads
//! it for nothing much, and one that has the only copy writes it so. Otherwise the line has to come
//! from elsewhere, and while it is under way to one processor the others queue up for it. Distances
//! (sockets, clusters of cores) and the width of the memory bus are not modelled.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// A part of a program.
pub(crate) type Step<'a, T = ()> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Tenths of a nanosecond.
pub(crate) type Time = u64;

/// What things cost, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Costs {
    /// An access to a line that this processor has, in the state that it needs.
    pub hit: f64,
    /// What an atomic read-modify-write or a fence adds.
    pub atomic: f64,
    /// A line comes from another processor.
    pub transfer: f64,
    /// What waking a thread costs the thread that wakes it.
    pub wake: f64,
    /// From then until the woken thread runs.
    pub latency: f64,
    /// To give up the processor while no other thread wants it.
    pub turn: f64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Line(usize);

struct LineState {
    name: &'static str,
    holders: BTreeSet<usize>,
    /// The line is not in another state than it was left in by this processor.
    written: bool,
    free_at: Time,
    /// What all processors have spent to get it.
    spent: Time,
    moves: u64,
}

/// A lock as std has it: a thread that finds it held looks again for a while, and then sleeps;
/// whoever unlocks it wakes one that sleeps.
pub(crate) struct Lock {
    line: Line,
    held: Cell<bool>,
    /// Some threads sleep, or did when it was taken.
    contended: Cell<bool>,
    sleepers: RefCell<VecDeque<usize>>,
}

/// How often a thread looks whether a lock is free before it sleeps.
const LOOKS: u32 = 100;

/// The time between two looks, in nanoseconds.
pub(crate) const PAUSE: f64 = 10.0;

#[derive(Default)]
struct Processor {
    asleep: bool,
    /// It was woken before it slept.
    token: bool,
}

pub(crate) struct Machine {
    pub(crate) costs: Costs,
    now: Cell<Time>,
    steps: Cell<u64>,
    events: RefCell<BinaryHeap<Reverse<(Time, u64, usize)>>>,
    lines: RefCell<Vec<LineState>>,
    processors: RefCell<Vec<Processor>>,
    wakes: Cell<u64>,
}

fn tenths(nanoseconds: f64) -> Time {
    (nanoseconds * 10.0).round() as Time
}

impl Machine {
    pub(crate) fn new(processors: usize, costs: Costs) -> Rc<Self> {
        Rc::new(Self {
            costs,
            now: Cell::new(0),
            steps: Cell::new(0),
            events: RefCell::default(),
            lines: RefCell::default(),
            processors: RefCell::new((0..processors).map(|_| Processor::default()).collect()),
            wakes: Cell::new(0),
        })
    }

    pub(crate) fn now(&self) -> f64 {
        self.now.get() as f64 / 10.0
    }

    /// A new line; the table adds up those of one name.
    pub(crate) fn line(&self, name: &'static str) -> Line {
        let mut lines = self.lines.borrow_mut();
        lines.push(LineState {
            name,
            holders: BTreeSet::new(),
            written: false,
            free_at: 0,
            spent: 0,
            moves: 0,
        });
        Line(lines.len() - 1)
    }

    fn schedule(&self, processor: usize, at: Time) {
        let step = self.steps.get();
        self.steps.set(step + 1);
        self.events
            .borrow_mut()
            .push(Reverse((at, step, processor)));
    }

    async fn until(&self, processor: usize, at: Time) {
        let mut waited = false;
        poll_fn(|_| {
            if std::mem::replace(&mut waited, true) {
                return Poll::Ready(());
            }
            self.schedule(processor, at);
            Poll::Pending
        })
        .await;
    }

    /// Computes for this many nanoseconds.
    pub(crate) async fn work(&self, processor: usize, nanoseconds: f64) {
        self.until(processor, self.now.get() + tenths(nanoseconds))
            .await;
    }

    async fn access(&self, processor: usize, line: Line, writes: bool, extra: f64) {
        let now = self.now.get();
        let at = {
            let line = &mut self.lines.borrow_mut()[line.0];
            let is_new = line.holders.is_empty();
            let has_it = line.holders.contains(&processor);
            let is_here = has_it && (!writes || line.holders.len() == 1);
            if writes {
                line.holders.clear();
                line.written = true;
            }
            line.holders.insert(processor);
            if is_here || is_new {
                now + tenths(self.costs.hit)
            } else {
                // Copies for readers are made one after the other only from a line just written.
                let start = now.max(line.free_at);
                let there = start + tenths(self.costs.transfer);
                if writes || line.written {
                    line.free_at = there;
                    line.written = writes;
                }
                line.spent += there - now;
                line.moves += 1;
                there
            }
        };
        self.until(processor, at + tenths(extra)).await;
    }

    pub(crate) async fn read(&self, processor: usize, line: Line) {
        self.access(processor, line, false, 0.0).await;
    }

    pub(crate) async fn write(&self, processor: usize, line: Line) {
        self.access(processor, line, true, 0.0).await;
    }

    /// An atomic read-modify-write, or what takes a lock that is free.
    pub(crate) async fn change(&self, processor: usize, line: Line) {
        self.access(processor, line, true, self.costs.atomic).await;
    }

    pub(crate) async fn fence(&self, processor: usize) {
        self.work(processor, self.costs.atomic).await;
    }

    /// Gives up the processor for a moment.
    pub(crate) async fn turn(&self, processor: usize) {
        self.work(processor, self.costs.turn).await;
    }

    /// Sleeps until it is woken.
    pub(crate) async fn park(&self, processor: usize) {
        let mut waited = false;
        poll_fn(|_| {
            let state = &mut self.processors.borrow_mut()[processor];
            if std::mem::replace(&mut waited, true) || std::mem::take(&mut state.token) {
                return Poll::Ready(());
            }
            state.asleep = true;
            Poll::Pending
        })
        .await;
    }

    /// Wakes `other`, or lets its next sleep end at once.
    pub(crate) async fn unpark(&self, processor: usize, other: usize) {
        self.wakes.set(self.wakes.get() + 1);
        let was_asleep = {
            let state = &mut self.processors.borrow_mut()[other];
            let was_asleep = std::mem::take(&mut state.asleep);
            state.token = !was_asleep;
            was_asleep
        };
        if was_asleep {
            self.schedule(other, self.now.get() + tenths(self.costs.latency));
            self.work(processor, self.costs.wake).await;
        }
    }

    /// A new lock; `name` is that of its line.
    pub(crate) fn new_lock(&self, name: &'static str) -> Lock {
        Lock {
            line: self.line(name),
            held: Cell::new(false),
            contended: Cell::new(false),
            sleepers: RefCell::default(),
        }
    }

    pub(crate) async fn lock(&self, processor: usize, lock: &Lock) {
        self.change(processor, lock.line).await;
        let mut looks = 0;
        while lock.held.get() && looks < LOOKS && !lock.contended.get() {
            looks += 1;
            self.work(processor, PAUSE).await;
            self.read(processor, lock.line).await;
            if !lock.held.get() {
                self.change(processor, lock.line).await;
            }
        }
        // From here on it is taken as a contended one, for others may sleep, too.
        while lock.held.get() {
            self.change(processor, lock.line).await;
            lock.contended.set(true);
            if lock.held.get() {
                lock.sleepers.borrow_mut().push_back(processor);
                self.until_woken().await;
            }
        }
        lock.held.set(true);
    }

    pub(crate) async fn unlock(&self, processor: usize, lock: &Lock) {
        self.change(processor, lock.line).await;
        lock.held.set(false);
        if lock.contended.get() {
            let next = lock.sleepers.borrow_mut().pop_front();
            lock.contended.set(!lock.sleepers.borrow().is_empty());
            if let Some(next) = next {
                lock.contended.set(true);
                self.wakes.set(self.wakes.get() + 1);
                self.schedule(next, self.now.get() + tenths(self.costs.latency));
                self.work(processor, self.costs.wake).await;
            }
        }
    }

    /// Until another processor schedules this one.
    async fn until_woken(&self) {
        let mut waited = false;
        poll_fn(|_| match std::mem::replace(&mut waited, true) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }

    /// Runs one program on each processor until that of processor 0 has ended.
    pub(crate) fn run(&self, mut programs: Vec<Step<'_>>) -> Report {
        (0..programs.len()).for_each(|processor| self.schedule(processor, 0));
        let mut context = Context::from_waker(Waker::noop());
        loop {
            let next = self.events.borrow_mut().pop();
            let Some(Reverse((at, _, processor))) = next else {
                panic!("a model of a pool has lost a wake-up: every processor sleeps");
            };
            self.now.set(at);
            let ended = programs[processor].as_mut().poll(&mut context).is_ready();
            if ended && processor == 0 {
                return self.report();
            }
        }
    }

    fn report(&self) -> Report {
        let mut hottest = BTreeMap::<&str, (f64, u64)>::new();
        for line in &*self.lines.borrow() {
            let sum = hottest.entry(line.name).or_default();
            sum.0 += line.spent as f64 / 10.0;
            sum.1 += line.moves;
        }
        let mut hottest: Vec<_> = hottest
            .into_iter()
            .map(|(name, (spent, moves))| Hot { name, spent, moves })
            .collect();
        hottest.sort_by(|a, b| b.spent.total_cmp(&a.spent));
        Report {
            took: self.now(),
            wakes: self.wakes.get(),
            hottest,
        }
    }
}

/// What all lines of one name have cost all processors.
#[derive(Debug)]
pub struct Hot {
    /// Of what.
    pub name: &'static str,
    /// In nanoseconds.
    pub spent: f64,
    /// How often one came from another processor.
    pub moves: u64,
}

/// What one run has shown.
#[derive(Debug)]
pub struct Report {
    /// In nanoseconds.
    pub took: f64,
    /// How many threads were woken.
    pub wakes: u64,
    /// The lines that were waited for the longest, first.
    pub hottest: Vec<Hot>,
}
