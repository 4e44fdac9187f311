//! rayon's protocol, by `rayon-core` 1.13: `registry.rs`, `sleep/`, and the splitter of
//! `rayon::iter::plumbing`.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use super::machine::{Line, Machine, Step};
use super::pool::{Deque, Entry, Latch, Load, Pool, Work, join, run_entry};

const ROUNDS_UNTIL_SLEEPY: u32 = 32;

struct Slot {
    deque: Deque,
    /// Its lock, and whether it is blocked.
    sleep: Line,
    random: Cell<u32>,
}

pub(crate) struct Rayon {
    machine: Rc<Machine>,
    width: usize,
    slots: Vec<Slot>,
    counters: Line,
    inactive: Cell<usize>,
    sleeping: Cell<usize>,
    /// The count of events; a thread is sleepy while it is odd.
    events: Cell<usize>,
    blocked: RefCell<Vec<bool>>,
    injector: Line,
    queue: RefCell<VecDeque<Entry>>,
}

impl Rayon {
    /// Processor 0 is running, the others sleep; the first `outside` are no workers.
    pub(crate) fn new(machine: &Rc<Machine>, processors: usize, outside: usize) -> Self {
        let slot = |index: usize| Slot {
            deque: Deque::new(machine),
            sleep: machine.line("states of sleepers"),
            random: Cell::new((index as u32).wrapping_mul(0x9E37_79B9) | 1),
        };
        let mut blocked = vec![true; processors];
        blocked[0] = false;
        Self {
            machine: Rc::clone(machine),
            width: processors - outside,
            slots: (0..processors).map(slot).collect(),
            counters: machine.line("counters"),
            inactive: Cell::new(processors - 1),
            sleeping: Cell::new(processors - 1),
            events: Cell::new(0),
            blocked: RefCell::new(blocked),
            injector: machine.line("injector"),
            queue: RefCell::default(),
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

    async fn wake_any(&self, me: usize, mut threads: usize) {
        for (other, slot) in self.slots.iter().enumerate() {
            if threads == 0 {
                return;
            }
            self.machine.change(me, slot.sleep).await;
            if std::mem::take(&mut self.blocked.borrow_mut()[other]) {
                self.machine.change(me, self.counters).await;
                self.sleeping.set(self.sleeping.get() - 1);
                self.machine.unpark(me, other).await;
                threads -= 1;
            }
        }
    }

    async fn new_jobs(&self, me: usize, was_empty: bool) {
        self.machine.read(me, self.counters).await;
        if self.events.get() % 2 == 1 {
            self.machine.change(me, self.counters).await;
            self.events.set(self.events.get() + 1);
        }
        let sleeping = self.sleeping.get();
        let awake_idle = self.inactive.get() - sleeping;
        if sleeping > 0 && (!was_empty || awake_idle < 1) {
            self.wake_any(me, 1).await;
        }
    }

    async fn steal(&self, me: usize) -> Option<Entry> {
        let start = self.random(me);
        for behind in 0..self.slots.len() {
            let victim = (start + behind) % self.slots.len();
            if victim != me
                && let Some(entry) = self.slots[victim].deque.steal(&self.machine, me).await
            {
                return Some(entry);
            }
        }
        None
    }

    async fn pop_injected(&self, me: usize) -> Option<Entry> {
        self.machine.read(me, self.injector).await;
        if self.queue.borrow().is_empty() {
            return None;
        }
        self.machine.change(me, self.injector).await;
        self.queue.borrow_mut().pop_front()
    }

    async fn find(&self, me: usize) -> Option<Entry> {
        if let Some(entry) = self.slots[me].deque.pop(&self.machine, me).await {
            return Some(entry);
        }
        if let Some(entry) = self.steal(me).await {
            return Some(entry);
        }
        self.pop_injected(me).await
    }

    /// Runs work until the latch is set.
    async fn run_until(&self, load: &Load, me: usize, latch: Option<Rc<Latch>>) {
        let is_set = || latch.as_ref().is_some_and(|latch| latch.is_set.get());
        loop {
            if let Some(latch) = &latch {
                self.machine.read(me, latch.line).await;
            }
            if is_set() {
                return;
            }
            if let Some(entry) = self.find(me).await {
                run_entry(self, load, me, entry).await;
                continue;
            }
            self.machine.change(me, self.counters).await;
            self.inactive.set(self.inactive.get() + 1);
            let found = self.idle(load, me, latch.as_ref()).await;
            self.machine.change(me, self.counters).await;
            let to_wake = self.sleeping.get().min(2);
            self.inactive.set(self.inactive.get() - 1);
            if to_wake > 0 {
                self.wake_any(me, to_wake).await;
            }
            if let Some(entry) = found {
                run_entry(self, load, me, entry).await;
            }
        }
    }

    /// Looks for work, and sleeps, until there is some or the latch is set.
    async fn idle(&self, _load: &Load, me: usize, latch: Option<&Rc<Latch>>) -> Option<Entry> {
        let mut rounds = 0;
        let mut seen = 0;
        loop {
            if let Some(latch) = latch {
                self.machine.read(me, latch.line).await;
                if latch.is_set.get() {
                    return None;
                }
            }
            if let Some(entry) = self.find(me).await {
                return Some(entry);
            }
            rounds += 1;
            if rounds < ROUNDS_UNTIL_SLEEPY {
                self.machine.turn(me).await;
            } else if rounds == ROUNDS_UNTIL_SLEEPY {
                self.machine.read(me, self.counters).await;
                if self.events.get().is_multiple_of(2) {
                    self.machine.change(me, self.counters).await;
                    self.events.set(self.events.get() + 1);
                }
                seen = self.events.get();
                self.machine.turn(me).await;
            } else {
                rounds = if self.sleep(me, latch, seen).await {
                    0
                } else {
                    ROUNDS_UNTIL_SLEEPY - 1
                };
            }
        }
    }

    /// False: there was a new event, so it looks again before it is sleepy.
    async fn sleep(&self, me: usize, latch: Option<&Rc<Latch>>, seen: usize) -> bool {
        self.machine.change(me, self.slots[me].sleep).await;
        self.machine.change(me, self.counters).await;
        if self.events.get() != seen {
            return false;
        }
        self.sleeping.set(self.sleeping.get() + 1);
        self.blocked.borrow_mut()[me] = true;
        if let Some(latch) = latch {
            latch.sleeper.set(Some(me));
            if latch.is_set.get() {
                latch.sleeper.set(None);
                self.blocked.borrow_mut()[me] = false;
                self.sleeping.set(self.sleeping.get() - 1);
                return true;
            }
        }
        self.machine.fence(me).await;
        self.machine.read(me, self.injector).await;
        let is_blocked = self.blocked.borrow()[me];
        if is_blocked && !self.queue.borrow().is_empty() {
            self.blocked.borrow_mut()[me] = false;
            self.sleeping.set(self.sleeping.get() - 1);
            return true;
        }
        self.machine.park(me).await;
        if let Some(latch) = latch {
            latch.sleeper.set(None);
        }
        // Woken by the latch and not by `wake_any`.
        if std::mem::take(&mut self.blocked.borrow_mut()[me]) {
            self.sleeping.set(self.sleeping.get() - 1);
        }
        true
    }
}

impl Pool for Rayon {
    fn machine(&self) -> &Machine {
        &self.machine
    }

    fn offer(&self, me: usize, entry: Entry) -> Step<'_> {
        Box::pin(async move {
            let was_empty = self.slots[me].deque.len() == 0;
            self.slots[me].deque.push(&self.machine, me, entry).await;
            self.new_jobs(me, was_empty).await;
        })
    }

    fn take_back(&self, me: usize) -> Step<'_, bool> {
        Box::pin(async move { self.slots[me].deque.pop(&self.machine, me).await.is_some() })
    }

    fn in_turn(&self, _me: usize) -> Step<'_, bool> {
        Box::pin(async { false })
    }

    fn wait<'a>(&'a self, load: &'a Load, me: usize, latch: Rc<Latch>) -> Step<'a> {
        Box::pin(self.run_until(load, me, Some(latch)))
    }

    fn spawn(&self, me: usize, entry: Entry) -> Step<'_> {
        self.offer(me, entry)
    }

    fn inject(&self, me: usize, entry: Entry) -> Step<'_> {
        Box::pin(async move {
            let was_empty = self.queue.borrow().is_empty();
            self.machine.change(me, self.injector).await;
            self.queue.borrow_mut().push_back(entry);
            self.new_jobs(me, was_empty).await;
        })
    }

    fn splits(&self) -> usize {
        self.width
    }

    fn items<'a>(
        &'a self,
        load: &'a Load,
        me: usize,
        (from, to, splits): (usize, usize, usize),
        stolen: bool,
    ) -> Step<'a> {
        Box::pin(async move {
            if to - from > 1 && (stolen || splits > 0) {
                let splits = if stolen {
                    self.width.max(splits / 2)
                } else {
                    splits / 2
                };
                let middle = from + (to - from) / 2;
                let (near, far) = (
                    Work::Items(from, middle, splits),
                    Work::Items(middle, to, splits),
                );
                return join(self, load, me, near, far).await;
            }
            let took = (from..to).map(|at| (load.item)(at)).sum::<f64>();
            self.machine.work(me, took + load.call).await;
        })
    }

    fn run_tasks<'a>(&'a self, load: &'a Load, me: usize) -> Step<'a> {
        Box::pin(async move {
            while load.left.get() > 0 {
                match self.find(me).await {
                    Some(entry) => run_entry(self, load, me, entry).await,
                    None => self.machine.turn(me).await,
                }
            }
        })
    }

    fn worker<'a>(&'a self, load: &'a Load, me: usize) -> Step<'a> {
        Box::pin(async move {
            // It has been idle before the run began.
            self.machine.park(me).await;
            self.machine.change(me, self.counters).await;
            self.inactive.set(self.inactive.get() - 1);
            self.run_until(load, me, None).await;
        })
    }
}
