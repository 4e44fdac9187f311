//! The machine: processors, threads with clocks of their own, cache lines, futexes.
//!
//! **Job.** It says what each step of the current thread costs and which thread is next. A thread
//! runs on until its clock is `QUANTUM` ahead of the next event; then the one that is furthest
//! behind goes on. It knows nothing of stacks, which are `raw_threads.rs`'s.
//!
//! Two neighbouring processors are the two halves of a core: they share its cache, and each is
//! slower while the other works. With a single thread on each core the second halves stay idle.

use std::collections::{HashMap, VecDeque};

use crate::costs::{Costs, Counts, Ns};
use crate::lines::{Access, Lines};

/// A thread may be so far ahead of the others.
const QUANTUM: Ns = 40.0;

/// So many stores may be on their way.
const STORES: f64 = 8.0;

/// How many buckets of futexes the kernel has.
const BUCKETS: usize = 256;

/// What a machine is made of.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// 1 to 64; two make a core.
    pub processors: usize,
    /// Decides by how much wake-ups differ.
    pub seed: u64,
    /// What things cost.
    pub costs: Costs,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            processors: 16,
            seed: 1,
            costs: Costs::FITTED,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// May run from its clock's time on, once there is a processor.
    Ready,
    /// On this processor.
    Running(usize),
    /// Waits until it is woken, or until its deadline.
    Blocked,
    Ended,
}

#[derive(Debug)]
struct Thread {
    clock: Ns,
    state: State,
    /// When its last store is done.
    stored: Ns,
    /// Since when it has the processor, or sleeps.
    since: Ns,
    deadline: Ns,
    /// The futex that it waits for.
    address: usize,
    woken: bool,
    /// The processor that it ran on last.
    last: usize,
    /// How much processor time it has used.
    used: Ns,
    counts: Counts,
}

#[derive(Clone, Copy, Debug)]
struct Processor {
    busy: bool,
    idle_since: Ns,
}

#[derive(Debug)]
pub(crate) struct Machine {
    setup: Setup,
    threads: Vec<Thread>,
    processors: Vec<Processor>,
    lines: Lines,
    waiting: HashMap<usize, VecDeque<usize>>,
    current: usize,
    /// When the current thread must let others run.
    horizon: Ns,
    random: u64,
}

impl Machine {
    /// With one thread, which runs.
    pub(crate) fn new(setup: Setup) -> Self {
        assert!((1..=64).contains(&setup.processors), "1 to 64 processors");
        let idle = Processor {
            busy: false,
            idle_since: 0.0,
        };
        let mut machine = Self {
            setup,
            threads: Vec::with_capacity(128),
            processors: vec![idle; setup.processors],
            lines: Lines::new(),
            waiting: HashMap::new(),
            current: 0,
            horizon: Ns::MAX,
            random: setup.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
        };
        let first = machine.add();
        machine.begin(first, 0.0);
        machine.next();
        machine
    }

    pub(crate) fn current(&self) -> usize {
        self.current
    }

    pub(crate) fn processors(&self) -> usize {
        self.processors.len()
    }

    pub(crate) fn costs(&self) -> &Costs {
        &self.setup.costs
    }

    /// The current thread's time.
    pub(crate) fn now(&self) -> Ns {
        self.threads[self.current].clock
    }

    /// The processor time of this thread, or of all.
    pub(crate) fn used(&self, thread: Option<usize>) -> Ns {
        match thread {
            Some(thread) => self.threads.get(thread).map_or(0.0, |thread| thread.used),
            None => self.threads.iter().map(|thread| thread.used).sum(),
        }
    }

    pub(crate) fn counts(&self, thread: Option<usize>) -> Counts {
        match thread {
            Some(thread) => self.threads[thread].counts,
            None => (self.threads.iter()).fold(Counts::default(), |sum, t| sum + t.counts),
        }
    }

    fn me(&mut self) -> &mut Thread {
        &mut self.threads[self.current]
    }

    /// One more thread, which does not run yet.
    pub(crate) fn add(&mut self) -> usize {
        self.threads.push(Thread {
            clock: 0.0,
            state: State::Blocked,
            stored: 0.0,
            since: 0.0,
            deadline: Ns::MAX,
            address: 0,
            woken: false,
            last: usize::MAX,
            used: 0.0,
            counts: Counts::default(),
        });
        self.threads.len() - 1
    }

    fn begin(&mut self, thread: usize, clock: Ns) {
        let thread = &mut self.threads[thread];
        (thread.clock, thread.since, thread.state) = (clock, clock, State::Ready);
        self.horizon = self.horizon.min(clock + QUANTUM);
    }

    /// The current thread has started that one, which has a stack now.
    pub(crate) fn start(&mut self, thread: usize) {
        let cost = self.setup.costs.thread;
        self.work(cost);
        self.begin(thread, self.now() + cost / 2.0);
    }

    // ---- which thread is next ---------------------------------------------------------------

    /// Whether another thread must run now.
    pub(crate) fn is_over(&self) -> bool {
        self.now() > self.horizon
    }

    /// Chooses the thread that is furthest behind.
    ///
    /// # Panics
    /// If no thread can ever run again.
    pub(crate) fn next(&mut self) -> usize {
        loop {
            let room = self.room();
            let (mut first, mut second) = ((Ns::MAX, usize::MAX), Ns::MAX);
            for (index, thread) in self.threads.iter().enumerate() {
                let at = match thread.state {
                    State::Running(_) => thread.clock,
                    State::Ready => thread.clock.max(room),
                    State::Blocked => thread.deadline,
                    State::Ended => continue,
                };
                if at < first.0 {
                    second = first.0;
                    first = (at, index);
                } else if at < second {
                    second = at;
                }
            }
            let (at, index) = first;
            assert!(index != usize::MAX, "all threads wait: {self:#?}");
            match self.threads[index].state {
                State::Running(_) => {
                    self.current = index;
                    self.horizon = second + QUANTUM;
                    return index;
                }
                State::Ready => self.give_processor(index, at),
                State::Blocked => {
                    let address = self.threads[index].address;
                    if let Some(queue) = self.waiting.get_mut(&address) {
                        queue.retain(|waiter| *waiter != index);
                    }
                    self.make_ready(index, at, false);
                }
                State::Ended => unreachable!("it was passed over"),
            }
        }
    }

    /// When a processor can be had.
    fn room(&self) -> Ns {
        let idle = self.processors.iter().filter(|p| !p.busy);
        let idle = idle.map(|p| p.idle_since).fold(Ns::MAX, Ns::min);
        if idle < Ns::MAX {
            return idle;
        }
        let running = self.threads.iter().filter(|t| t.state != State::Ready);
        let running = running.filter(|t| matches!(t.state, State::Running(_)));
        let since = running.map(|t| t.since).fold(Ns::MAX, Ns::min);
        since + self.setup.costs.slice
    }

    /// An idle processor whose other half is idle, too, if there is one, and best the one that it
    /// had; otherwise that of the thread that has had one for longest.
    fn give_processor(&mut self, index: usize, at: Ns) {
        let last = self.threads[index].last;
        let is_free = |p: usize| self.processors.get(p).is_none_or(|p| !p.busy);
        let value = |p: usize| 2 * u8::from(is_free(p ^ 1)) + u8::from(p == last);
        let free = (0..self.processors.len()).filter(|p| is_free(*p));
        let processor = match free.max_by_key(|p| (value(*p), usize::MAX - p)) {
            Some(free) => free,
            None => {
                let running = |(_, t): &(usize, &Thread)| matches!(t.state, State::Running(_));
                let running = self.threads.iter().enumerate().filter(running);
                let (oldest, _) = (running.min_by(|a, b| a.1.since.total_cmp(&b.1.since)))
                    .expect("every processor runs a thread");
                let State::Running(processor) = self.threads[oldest].state else {
                    unreachable!("it runs");
                };
                self.threads[oldest].state = State::Ready;
                self.processors[processor].idle_since = self.threads[oldest].clock;
                processor
            }
        };
        let idle_since = self.processors[processor].idle_since;
        self.processors[processor].busy = true;
        let thread = &mut self.threads[index];
        thread.clock = thread.clock.max(idle_since).max(at.min(Ns::MAX));
        (thread.since, thread.last) = (thread.clock, processor);
        thread.state = State::Running(processor);
    }

    fn leave_processor(&mut self, state: State) {
        let me = self.me();
        let State::Running(processor) = std::mem::replace(&mut me.state, state) else {
            unreachable!("it runs");
        };
        let idle_since = me.clock;
        self.processors[processor] = Processor {
            busy: false,
            idle_since,
        };
        self.horizon = Ns::MIN;
    }

    fn make_ready(&mut self, index: usize, at: Ns, woken: bool) {
        let Costs {
            awake, soon, late, ..
        } = self.setup.costs;
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let differs = 0.9 + 0.2 * (self.random >> 11) as f64 / (1_u64 << 53) as f64;
        let thread = &mut self.threads[index];
        let latency = if at - thread.since < awake {
            soon
        } else {
            late
        };
        thread.clock = at.max(thread.clock) + latency * differs;
        (thread.state, thread.woken, thread.deadline) = (State::Ready, woken, Ns::MAX);
        let ready = thread.clock;
        self.horizon = self.horizon.min(ready + QUANTUM);
    }

    /// The current thread sleeps, at most until then.
    pub(crate) fn block(&mut self, address: usize, deadline: Option<Ns>) {
        let me = self.me();
        (me.since, me.address, me.woken) = (me.clock, address, false);
        me.deadline = deadline.map_or(Ns::MAX, |deadline| deadline.max(me.clock));
        self.leave_processor(State::Blocked);
    }

    /// The current thread has ended.
    pub(crate) fn end(&mut self) {
        self.leave_processor(State::Ended);
    }

    pub(crate) fn has_ended(&self, thread: usize) -> bool {
        self.threads[thread].state == State::Ended
    }

    /// Whether the current thread was woken, and not by its deadline.
    pub(crate) fn was_woken(&self) -> bool {
        self.threads[self.current].woken
    }

    /// `sched_yield`.
    pub(crate) fn give_way(&mut self) {
        self.me().counts.yields += 1;
        self.work(self.setup.costs.turn);
        let now = self.now();
        let waits = |t: &Thread| t.state == State::Ready && t.clock <= now;
        if self.threads.iter().any(waits) && self.processors.iter().all(|p| p.busy) {
            self.leave_processor(State::Ready);
        }
    }

    // ---- what things cost -------------------------------------------------------------------

    /// Instructions that take so long.
    pub(crate) fn work(&mut self, ns: Ns) {
        let mut took = ns;
        if let State::Running(processor) = self.me().state
            && self.processors.get(processor ^ 1).is_some_and(|p| p.busy)
        {
            took *= self.setup.costs.shared;
        }
        let me = self.me();
        me.clock += took;
        me.used += took;
    }

    pub(crate) fn pause(&mut self) {
        self.me().counts.pauses += 1;
        self.work(self.setup.costs.pause);
    }

    pub(crate) fn fence(&mut self) {
        let me = self.me();
        me.counts.fences += 1;
        me.clock = me.clock.max(me.stored);
        self.work(self.setup.costs.fence);
    }

    /// An access to the line at this address.
    pub(crate) fn access(&mut self, address: usize, access: Access) {
        let Costs {
            hit,
            rmw,
            transfer,
            hop,
            sharer,
            ..
        } = self.setup.costs;
        let me = &mut self.threads[self.current];
        let core = 1 << (me.last >> 1);
        let line = self.lines.at(address);
        let is_here = match access {
            Access::Read => line.holders == 0 || line.holders & core != 0,
            Access::Own | Access::Write | Access::Change => {
                line.holders == 0 || line.holders == core
            }
        };
        let began = me.clock;
        let others = (line.holders & !core).count_ones().saturating_sub(1);
        let others = match access {
            Access::Read => 0.0,
            Access::Own | Access::Write | Access::Change => f64::from(others) * sharer,
        };
        let arrives = (began + transfer).max(line.busy_until + hop) + others;
        match access {
            Access::Read | Access::Own => {
                me.counts.reads += 1;
                // Only a changed line must be asked of its owner; the others need not queue.
                let queues = access == Access::Own || !is_here && std::mem::take(&mut line.dirty);
                if is_here {
                    me.clock += hit;
                } else {
                    me.counts.read_misses += 1;
                    if queues {
                        line.busy_until = arrives;
                    }
                    me.clock = arrives;
                }
                if access == Access::Own {
                    (line.dirty, line.holders) = (true, core);
                } else {
                    line.holders |= core;
                }
            }
            Access::Write => {
                me.counts.writes += 1;
                me.clock += hit;
                if !is_here {
                    me.counts.write_misses += 1;
                    line.busy_until = arrives;
                    me.stored = me.stored.max(arrives);
                    // The thread does not wait for it, unless too many are on their way.
                    me.clock = me.clock.max(me.stored - STORES * transfer);
                }
                (line.dirty, line.holders) = (true, core);
            }
            Access::Change => {
                me.counts.rmws += 1;
                me.clock = me.clock.max(me.stored);
                if !is_here {
                    me.counts.rmw_misses += 1;
                    me.clock = me.clock.max(arrives);
                }
                me.clock += rmw;
                line.busy_until = line.busy_until.max(me.clock);
                (line.dirty, line.holders) = (true, core);
            }
        }
        me.used += me.clock - began;
    }

    // ---- futexes ----------------------------------------------------------------------------

    /// The kernel's lock of a bucket, held for a while.
    fn lock_bucket(&mut self, address: usize) {
        let bucket = usize::MAX / 2 - (address >> 2) % BUCKETS * 64;
        self.access(bucket, Access::Change);
        self.work(self.setup.costs.bucket);
        let until = self.now();
        let line = self.lines.at(bucket);
        line.busy_until = line.busy_until.max(until);
    }

    /// Before the word is compared.
    pub(crate) fn begin_wait(&mut self, address: usize) {
        self.me().counts.futex_waits += 1;
        self.work(self.setup.costs.syscall);
        self.lock_bucket(address);
        self.access(address, Access::Read);
    }

    /// It is as expected: the current thread sleeps.
    pub(crate) fn wait(&mut self, address: usize, deadline: Option<Ns>) {
        let current = self.current;
        self.waiting.entry(address).or_default().push_back(current);
        self.block(address, deadline);
    }

    /// Wakes at most so many; how many it were.
    pub(crate) fn wake(&mut self, address: usize, most: usize) -> usize {
        self.me().counts.futex_wakes += 1;
        self.work(self.setup.costs.syscall);
        let sleeps = |machine: &Self| !machine.waiting.get(&address).is_none_or(VecDeque::is_empty);
        if !sleeps(self) {
            return 0;
        }
        self.lock_bucket(address);
        let mut woken = 0;
        while woken < most
            && let Some(next) = self.waiting.get_mut(&address).and_then(VecDeque::pop_front)
        {
            self.make_ready(next, self.now(), true);
            self.me().counts.woken += 1;
            self.work(self.setup.costs.wake);
            woken += 1;
        }
        woken
    }
}
