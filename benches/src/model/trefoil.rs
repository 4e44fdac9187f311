//! trefoil's protocol, by `src/thread/engine/README.md` and `src/thread/join/README.md`.
//!
//! Left out: tasks of scopes, whose deques are only looked at; broadcasts; fairness; the poller of
//! tiny halves. A worker that would park in a wait looks for other work instead, and pays for a
//! change of threads, which stands for the spare that would use its processor.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use super::machine::{Line, Lock, Machine, PAUSE, Step};
use super::pool::{Deque, Entry, Latch, Load, Pool, Work, join, run_entry};

const SEARCH_ROUNDS: u32 = 16;
const SPIN_ROUNDS: u32 = 2;
const BATCH: usize = 32;
const WAKING: usize = 4;
/// In nanoseconds.
const SHORT: f64 = 10_000.0;
const LONGEST: u32 = 64;
const IN_VAIN: u32 = 64;
const CHUNK: f64 = 5_000.0;
const QUICK: f64 = CHUNK / 16.0;
const BLIND: usize = 64;
const PATIENCE: f64 = 2_000.0;
/// One look of a waiter.
const LOOK: f64 = 20.0;

struct Slot {
    jobs: Deque,
    scoped: Deque,
    tasks: Deque,
    window: Cell<u32>,
    left: Cell<u32>,
    saved: Cell<u32>,
    looked: Cell<f64>,
    in_vain: Cell<u32>,
    random: Cell<u32>,
    searches: Cell<u32>,
}

pub(crate) struct Trefoil {
    machine: Rc<Machine>,
    width: usize,
    slots: Vec<Slot>,
    counts: Line,
    running: Cell<usize>,
    searching: Cell<usize>,
    sleepers_lock: Lock,
    sleepers: RefCell<Vec<usize>>,
    /// The processors that were recruited, not those that woke for a latch.
    recruited: RefCell<Vec<bool>>,
    injector_lock: Lock,
    /// How many entries it has: read without the lock.
    injector_len: Line,
    /// Its entries: read and written under the lock.
    injector: Line,
    queue: RefCell<VecDeque<Entry>>,
    unattended: Line,
    waiters: Cell<usize>,
    waiters_line: Line,
}

impl Trefoil {
    /// Processor 0 is running, the others sleep; the first `outside` are no workers.
    pub(crate) fn new(machine: &Rc<Machine>, processors: usize, outside: usize) -> Self {
        let slot = |index: usize| Slot {
            jobs: Deque::new(machine),
            scoped: Deque::new(machine),
            tasks: Deque::new(machine),
            window: Cell::new(0),
            left: Cell::new(0),
            saved: Cell::new(0),
            looked: Cell::new(f64::MIN),
            in_vain: Cell::new(0),
            random: Cell::new((index as u32).wrapping_mul(0x9E37_79B9) | 1),
            searches: Cell::new(0),
        };
        Self {
            machine: Rc::clone(machine),
            width: processors - outside,
            slots: (0..processors).map(slot).collect(),
            counts: machine.line("counts of threads"),
            running: Cell::new(1 - outside),
            searching: Cell::new(0),
            sleepers_lock: machine.new_lock("lock of the sleepers"),
            sleepers: RefCell::new((1..processors).rev().collect()),
            recruited: RefCell::new(vec![false; processors]),
            injector_lock: machine.new_lock("lock of the injector"),
            injector_len: machine.line("length of the injector"),
            injector: machine.line("injector"),
            queue: RefCell::default(),
            unattended: machine.line("count of unattended"),
            waiters: Cell::new(0),
            waiters_line: machine.line("count of waiters"),
        }
    }

    fn random(&self, me: usize) -> usize {
        let mut x = self.slots[me].random.get();
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        self.slots[me].random.set(x);
        x as usize
    }

    async fn count(&self, me: usize, running: isize, searching: isize) {
        self.machine.change(me, self.counts).await;
        self.running
            .set(self.running.get().wrapping_add_signed(running));
        self.searching
            .set(self.searching.get().wrapping_add_signed(searching));
    }

    /// Whether another thread should be woken while fewer than `few` search.
    fn needs_runner(&self, few: usize) -> bool {
        self.running.get() < self.width && self.searching.get() < few
    }

    async fn recruit(&self, me: usize, few: usize) {
        self.machine.lock(me, &self.sleepers_lock).await;
        self.machine.read(me, self.counts).await;
        let mut next = None;
        if self.needs_runner(few) {
            next = self.sleepers.borrow_mut().pop();
        }
        if let Some(next) = next {
            self.recruited.borrow_mut()[next] = true;
            self.count(me, 1, 1).await;
        }
        self.machine.unlock(me, &self.sleepers_lock).await;
        if let Some(next) = next {
            self.machine.unpark(me, next).await;
        }
    }

    async fn published(&self, me: usize) {
        self.machine.fence(me).await;
        self.machine.read(me, self.counts).await;
        if self.needs_runner(1) {
            self.recruit(me, 1).await;
        }
    }

    /// How many threads would take what is offered.
    async fn takers(&self, me: usize) -> usize {
        self.machine.read(me, self.counts).await;
        self.machine.read(me, self.waiters_line).await;
        self.searching.get() + self.width.saturating_sub(self.running.get()) + self.waiters.get()
    }

    async fn has_work(&self, me: usize) -> bool {
        self.machine.read(me, self.injector_len).await;
        if !self.queue.borrow().is_empty() {
            return true;
        }
        for slot in &self.slots {
            for deque in [&slot.tasks, &slot.scoped, &slot.jobs] {
                if deque.has_some(&self.machine, me).await {
                    return true;
                }
            }
        }
        false
    }

    async fn fetch(&self, me: usize) -> Option<Entry> {
        self.machine.read(me, self.injector_len).await;
        if self.queue.borrow().is_empty() {
            return None;
        }
        self.machine.lock(me, &self.injector_lock).await;
        self.machine.write(me, self.injector).await;
        let (first, batch) = {
            let mut queue = self.queue.borrow_mut();
            let first = queue.pop_front();
            let share = (queue.len() / (self.width + 1)).min(BATCH);
            (first, queue.drain(..share).rev().collect::<Vec<_>>())
        };
        let more = !batch.is_empty();
        for entry in batch {
            self.slots[me].tasks.push(&self.machine, me, entry).await;
        }
        self.machine.write(me, self.injector_len).await;
        self.machine.unlock(me, &self.injector_lock).await;
        if more {
            self.published(me).await;
        }
        first
    }

    async fn steal(&self, me: usize) -> Option<Entry> {
        let start = self.random(me);
        for behind in 0..self.slots.len() {
            let slot = &self.slots[(start + behind) % self.slots.len()];
            for deque in [&slot.jobs, &slot.scoped, &slot.tasks] {
                if let Some(entry) = deque.steal(&self.machine, me).await {
                    return Some(entry);
                }
            }
        }
        None
    }

    async fn find(&self, me: usize) -> Option<Entry> {
        self.machine.read(me, self.counts).await;
        let slot = &self.slots[me];
        let search = slot.searches.get() + 1;
        slot.searches.set(search);
        if let Some(entry) = slot.tasks.pop(&self.machine, me).await {
            return Some(entry);
        }
        self.machine.read(me, self.unattended).await;
        if search.is_multiple_of(16) {
            match self.steal(me).await {
                Some(entry) => Some(entry),
                None => self.fetch(me).await,
            }
        } else {
            match self.fetch(me).await {
                Some(entry) => Some(entry),
                None => self.steal(me).await,
            }
        }
    }

    async fn look_around(&self, me: usize) -> Option<Entry> {
        for round in 0..SEARCH_ROUNDS {
            self.machine
                .work(me, PAUSE * f64::from(1 << round.min(6)))
                .await;
            if round >= SPIN_ROUNDS {
                self.machine.turn(me).await;
            }
            if let Some(entry) = self.find(me).await {
                return Some(entry);
            }
        }
        None
    }

    async fn sleep(&self, me: usize) {
        while !std::mem::take(&mut self.recruited.borrow_mut()[me]) {
            self.machine.park(me).await;
        }
    }

    async fn go_to_sleep(&self, me: usize, searching: bool) {
        self.machine.lock(me, &self.sleepers_lock).await;
        self.sleepers.borrow_mut().push(me);
        self.count(me, -1, -isize::from(searching)).await;
        self.machine.unlock(me, &self.sleepers_lock).await;
        self.machine.fence(me).await;
        if self.has_work(me).await {
            self.machine.lock(me, &self.sleepers_lock).await;
            let asleep = self.sleepers.borrow().contains(&me);
            let up = asleep && self.running.get() < self.width;
            if up {
                self.sleepers.borrow_mut().retain(|sleeper| *sleeper != me);
                self.count(me, 1, 1).await;
            }
            self.machine.unlock(me, &self.sleepers_lock).await;
            if up {
                return;
            }
            self.published(me).await;
        }
        self.sleep(me).await;
    }

    /// Runs what a worker has found.
    async fn run(&self, load: &Load, me: usize, entry: Entry) {
        self.slots[me].left.set(0);
        self.slots[me].window.set(0);
        self.slots[me].saved.set(0);
        run_entry(self, load, me, entry).await;
    }
}

impl Pool for Trefoil {
    fn machine(&self) -> &Machine {
        &self.machine
    }

    fn offer(&self, me: usize, entry: Entry) -> Step<'_> {
        Box::pin(async move {
            self.slots[me].jobs.push(&self.machine, me, entry).await;
            self.machine.read(me, self.counts).await;
            let offered = self.slots[me].jobs.len();
            if self.needs_runner(offered) {
                self.recruit(me, offered).await;
            }
        })
    }

    fn take_back(&self, me: usize) -> Step<'_, bool> {
        Box::pin(async move {
            let slot = &self.slots[me];
            let back = slot.jobs.pop(&self.machine, me).await.is_some();
            let left = slot.left.replace(0);
            if left > 0 {
                slot.saved.set(left);
            }
            slot.in_vain
                .set(if back { slot.in_vain.get() + 1 } else { 0 });
            back
        })
    }

    fn in_turn(&self, me: usize) -> Step<'_, bool> {
        Box::pin(async move {
            let slot = &self.slots[me];
            if slot.left.get() > 0 {
                slot.left.set(slot.left.get() - 1);
                return true;
            }
            let keep = self.width.ilog2() as usize;
            let wanted = match self.takers(me).await {
                0 => keep,
                _ if slot.in_vain.get() > IN_VAIN => keep,
                takers => keep.max(takers + 1),
            };
            if slot.jobs.len() < wanted {
                return false;
            }
            let window = match slot.saved.replace(0) {
                0 => {
                    let now = self.machine.now();
                    let short = now - slot.looked.replace(now) < SHORT;
                    let wider = (slot.window.get() * 2).clamp(1, LONGEST);
                    slot.window.set(if short { wider } else { 0 });
                    slot.window.get()
                }
                saved => saved,
            };
            slot.left.set(window.saturating_sub(1));
            window > 0
        })
    }

    fn wait<'a>(&'a self, load: &'a Load, me: usize, latch: Rc<Latch>) -> Step<'a> {
        Box::pin(async move {
            let mut patient = PATIENCE;
            loop {
                self.machine.read(me, latch.line).await;
                if latch.is_set.get() {
                    return;
                }
                if patient > 0.0 {
                    self.machine.work(me, LOOK).await;
                    patient -= LOOK;
                    continue;
                }
                let thief = latch.thief.get();
                let stolen = match thief {
                    Some(thief) => self.slots[thief].jobs.steal(&self.machine, me).await,
                    None => None,
                };
                if let Some(entry) = stolen {
                    self.run(load, me, entry).await;
                    patient = PATIENCE;
                    continue;
                }
                // Here a spare takes over.
                if let Some(entry) = self.find(me).await {
                    let costs = self.machine.costs;
                    self.machine.work(me, costs.wake + costs.latency).await;
                    self.run(load, me, entry).await;
                    continue;
                }
                self.machine.change(me, self.waiters_line).await;
                self.waiters.set(self.waiters.get() + 1);
                self.machine.work(me, LOOK * 16.0).await;
                self.machine.change(me, self.waiters_line).await;
                self.waiters.set(self.waiters.get() - 1);
            }
        })
    }

    fn spawn(&self, me: usize, entry: Entry) -> Step<'_> {
        Box::pin(async move {
            self.slots[me].tasks.push(&self.machine, me, entry).await;
            self.published(me).await;
        })
    }

    fn inject(&self, me: usize, entry: Entry) -> Step<'_> {
        Box::pin(async move {
            self.machine.lock(me, &self.injector_lock).await;
            self.machine.write(me, self.injector).await;
            self.queue.borrow_mut().push_back(entry);
            self.machine.write(me, self.injector_len).await;
            self.machine.unlock(me, &self.injector_lock).await;
            self.published(me).await;
        })
    }

    fn splits(&self) -> usize {
        self.width * 2
    }

    fn items<'a>(
        &'a self,
        load: &'a Load,
        me: usize,
        (from, to, splits): (usize, usize, usize),
        stolen: bool,
    ) -> Step<'a> {
        Box::pin(async move {
            let splits = if stolen {
                splits.max(self.splits())
            } else {
                splits
            };
            let halves = |from: usize, splits| {
                let middle = from + (to - from) / 2;
                let far = Work::Items(middle, to, splits);
                (Work::Items(from, middle, splits), far)
            };
            if splits > 1 && to - from > 1 && !self.in_turn(me).await {
                let (near, far) = halves(from, splits / 2);
                return join(self, load, me, near, far).await;
            }
            let (mut at, mut chunk, mut quick) = (from, 1, true);
            while at < to {
                let mut count = chunk.min(to - at);
                if !(quick && count <= BLIND) {
                    // A fair part of what is left.
                    count = count.min(((to - at) / (2 * self.width)).max(1));
                }
                let took = (at..at + count).map(|at| (load.item)(at)).sum::<f64>();
                self.machine.work(me, took + load.call).await;
                at += count;
                quick = took < QUICK;
                if took < CHUNK {
                    chunk = count * if quick && count < BLIND { 8 } else { 2 };
                } else {
                    if took > CHUNK * 4.0 {
                        chunk = (count / 2).max(1);
                    }
                    if to - at > 1 && self.slots[me].jobs.len() == 0 && self.takers(me).await > 0 {
                        let (near, far) = halves(at, 0);
                        return join(self, load, me, near, far).await;
                    }
                }
            }
        })
    }

    fn run_tasks<'a>(&'a self, load: &'a Load, me: usize) -> Step<'a> {
        Box::pin(async move {
            while load.left.get() > 0 {
                match self.find(me).await {
                    Some(entry) => self.run(load, me, entry).await,
                    None => self.machine.turn(me).await,
                }
            }
        })
    }

    fn worker<'a>(&'a self, load: &'a Load, me: usize) -> Step<'a> {
        Box::pin(async move {
            self.sleep(me).await;
            let mut searching = true;
            loop {
                let mut found = self.find(me).await;
                if found.is_none() {
                    if !searching {
                        self.machine.read(me, self.counts).await;
                        if self.searching.get() * 2 < self.width.max(2) {
                            self.count(me, 0, 1).await;
                            searching = true;
                        }
                    }
                    if searching {
                        found = self.look_around(me).await;
                    }
                }
                let Some(entry) = found else {
                    self.go_to_sleep(me, searching).await;
                    searching = true;
                    continue;
                };
                if std::mem::take(&mut searching) {
                    self.count(me, 0, -1).await;
                    if self.needs_runner(WAKING) && self.has_work(me).await {
                        self.recruit(me, WAKING).await;
                    }
                }
                self.run(load, me, entry).await;
            }
        })
    }
}
