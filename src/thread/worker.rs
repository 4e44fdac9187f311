//! A worker: find work, run it, sleep.
//!
//! **Job.** [`Worker`] is one thread's place in a pool. Most are threads of the
//! pool itself, which run [`main`]; a thread from outside that calls
//! `join`, `map` or `scope` borrows a place as a *guest* and takes part in its
//! own region only.
//!
//! **The loop.** 1. Too many runners (a blocked one came back)? Sleep. 2. Look: own
//! tasks, the injector (first, now and then, so that outside work is not
//! starved), then the other workers' deques from a random one on. 3. Found: if
//! it was searching, hand the search on (`idle.rs`, step 3). Run it. 4. Not found:
//! become a searcher and look a few rounds more, then lie down.
//!
//! How it waits in the middle of its work is told in `wait.rs`.
//!
//! **Hooks.** While its `on_start` runs, a thread is a runner but no searcher: the hook
//! may take its time or wait for others, and nobody must rely on this thread to find
//! anything meanwhile. While its `on_exit` runs, it is no runner any more: its waits are
//! not counted, and what it spawns goes to the injector, which may refuse it, because
//! nobody waits for this thread's own deque to be empty. The same holds for the `on_start` of a thread that
//! is to watch.
//!
//! - **P13** Only the thread that a worker belongs to calls its methods; only
//!   slots are shared.
//!
//! Rejected: a loop of its own for spares (they differ in their index and in that
//! they end when they have slept long enough).
//!
//! Tests: `tests/thread/pool.rs`; the same steps without deques in `checks/inside/thread_model.rs`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::blocking::{Lending, Watch};
use super::broadcast::Post;
use super::grain::{Findings, TINY};
use super::idle::{self, Bed, Orders, Retire, Role};
use super::pace::Pace;
use super::queue::{Local, Mode, Public, Slots, Work};
use super::raw::current;
use super::raw::deque::Owner;
use super::raw::job::JobRef;
use super::registry::Registry;
use super::wait;
use crate::loom::atomic::{AtomicU64, Ordering};
use crate::loom::{Parker, Unparker, hint, thread};
use crate::record::{self, Part};
use crate::sys::ticks;
use crate::task::{Runnable, TaskError, context, panic};

/// How many rounds a searcher looks before it lies down: some microseconds.
const SEARCH_ROUNDS: u32 = 16;

/// Every so many turns, a worker asks the injector first.
const FAIRNESS: u32 = 61;

/// What others see of a worker. Slots live as long as their pool.
pub(super) struct Slot {
    public: Public,
    unparker: Unparker,
    orders: Orders,
    /// How many things this worker has taken from queues: progress, for the
    /// stall rule. Written by the worker alone.
    taken: AtomicU64,
    /// Its number in the registry's list.
    number: usize,
    /// The place of its thread, which is a worker's index; a guest has none.
    index: usize,
    /// Its shares of broadcasts.
    post: Post,
    lending: Lending,
}

impl Slot {
    /// Wakes the thread from its park, if it is in one.
    pub(super) fn wake(&self) {
        self.unparker.unpark();
    }

    pub(super) fn lending(&self) -> &Lending {
        &self.lending
    }

    pub(super) fn public(&self) -> &Public {
        &self.public
    }

    pub(super) fn number(&self) -> usize {
        self.number
    }

    pub(super) fn index(&self) -> usize {
        self.index
    }

    pub(super) fn post(&self) -> &Post {
        &self.post
    }

    pub(super) fn orders(&self) -> &Orders {
        &self.orders
    }

    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }
}

impl Bed for Arc<Slot> {
    fn orders(&self) -> &Orders {
        &self.orders
    }
    fn index(&self) -> usize {
        self.index
    }
    fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(self, other)
    }
}

/// The owner's half of a slot: it outlives its thread, so that a spare or a
/// guest can take it over.
pub(super) struct Seat {
    slot: Arc<Slot>,
    local: Local,
    parker: Parker,
}

impl Seat {
    pub(super) fn new(number: usize, index: usize) -> Self {
        let (local, public) = Local::new();
        let parker = Parker::new();
        let unparker = parker.unparker().clone();
        let slot = Slot {
            public,
            unparker,
            orders: Orders::default(),
            taken: AtomicU64::new(0),
            number,
            index,
            post: Post::new(),
            lending: Lending::default(),
        };
        Self {
            slot: Arc::new(slot),
            local,
            parker,
        }
    }

    pub(super) fn slot(&self) -> &Arc<Slot> {
        &self.slot
    }
}

/// One thread's place in a pool.
pub(super) struct Worker {
    registry: Arc<Registry>,
    seat: Seat,
    /// The registry's slots as this worker last saw them, and their generation.
    seen: RefCell<Option<(usize, Slots<Slot>)>>,
    random: Cell<u32>,
    pace: Pace,
    findings: Findings,
    /// See `wait.rs`.
    blocked: Cell<u32>,
    /// See `blocking.rs`.
    in_call: Cell<bool>,
    /// It has been told to end.
    ending: Cell<bool>,
    /// It is in a hook of the user's, and not counted meanwhile.
    in_hook: Cell<bool>,
    /// This thread may run the pool's work: it is its own, or a guest that helps.
    may_run: bool,
}

impl Worker {
    /// The place of one of the pool's own threads, or of a `guest`.
    pub(super) fn new(registry: Arc<Registry>, seat: Seat, guest: bool) -> Self {
        let may_run = !guest || registry.config().caller_helps;
        let pace = Pace::new(registry.width());
        let random = Cell::new((seat.slot.number as u32).wrapping_mul(0x9E37_79B9) | 1);
        Self {
            registry,
            seat,
            seen: RefCell::new(None),
            random,
            pace,
            findings: Findings::new(),
            blocked: Cell::new(0),
            in_call: Cell::new(false),
            ending: Cell::new(false),
            in_hook: Cell::new(false),
            may_run,
        }
    }

    pub(super) fn into_parts(self) -> (Arc<Registry>, Seat) {
        (self.registry, self.seat)
    }

    #[inline]
    pub(super) fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    #[inline]
    pub(super) fn slot(&self) -> &Arc<Slot> {
        &self.seat.slot
    }

    #[inline]
    pub(super) fn slot_number(&self) -> usize {
        self.seat.slot.number
    }

    pub(super) fn pace(&self) -> &Pace {
        &self.pace
    }

    /// The halves of joins that it has on offer.
    #[inline]
    pub(super) fn jobs(&self) -> &Owner<JobRef> {
        &self.seat.local.jobs
    }

    /// Its place among the pool's threads.
    pub(super) fn index(&self) -> usize {
        self.seat.slot.index
    }

    /// It runs the pool's work now, so that the pool cannot end before that does.
    pub(super) fn is_counted(&self) -> bool {
        self.blocked.get() == 0 && !self.ending.get()
    }

    #[inline]
    pub(super) fn may_run(&self) -> bool {
        self.may_run
    }

    /// Where this thread parks.
    pub(super) fn parker(&self) -> &Parker {
        &self.seat.parker
    }

    /// How many waits this thread is parked in, one inside another.
    pub(super) fn blocked(&self) -> &Cell<u32> {
        &self.blocked
    }

    /// It runs a call that may block, and that counts.
    pub(super) fn in_call(&self) -> &Cell<bool> {
        &self.in_call
    }

    /// It is in a hook and no runner meanwhile, so that its pool may end before the hook does: what it
    /// queued in its own deque might stay there, and nobody waits for it to come back.
    pub(super) fn is_in_hook(&self) -> bool {
        self.in_hook.get()
    }

    /// Runs the user's `hook` on a thread that is not counted as a runner: its waits
    /// are nobody's loss.
    fn uncounted(&self, hook: impl FnOnce()) {
        let depth = self.blocked.replace(self.blocked.get() + 1);
        self.in_hook.set(true);
        self.seat.slot.post.leave();
        self.registry.recheck_posts();
        panic::contain(hook);
        self.in_hook.set(false);
        if !self.ending.get() {
            self.seat.slot.post.come_back();
        }
        self.blocked.set(depth);
    }

    // ---- pushing ---------------------------------------------------------

    /// Queues a task of this worker's own. Not for guests, who leave.
    pub(super) fn push_task(&self, work: Work) {
        if let Work::Task(task) = &work {
            context::set_newest(task);
        }
        self.seat.local.push_task(work);
        self.registry.published();
    }

    // ---- finding ---------------------------------------------------------

    fn next_random(&self) -> u32 {
        let mut x = self.random.get();
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        self.random.set(x);
        x
    }

    pub(super) fn with_slots<R>(&self, f: impl FnOnce(&[Arc<Slot>]) -> R) -> R {
        let mut seen = self.seen.borrow_mut();
        let slots = match &mut *seen {
            Some((generation, slots)) if *generation == self.registry.generation() => slots,
            old => &mut old.insert(self.registry.slots()).1,
        };
        f(slots)
    }

    fn find(&self) -> Option<Work> {
        let injector = self.registry.injector();
        let turn = self.next_random();
        let fair = turn.is_multiple_of(FAIRNESS);
        let posted = self.registry.has_post();
        let work = (if posted { self.own_share() } else { None })
            .or_else(|| if fair { injector.pop() } else { None })
            .or_else(|| self.seat.local.tasks.pop())
            .or_else(|| self.fetch())
            .or_else(|| {
                self.with_slots(|slots| {
                    let start = turn as usize % slots.len();
                    let (before, after) = slots.split_at(start);
                    after
                        .iter()
                        .chain(before)
                        .find_map(|slot| self.steal_from(slot))
                })
            })
            .or_else(|| if posted { self.open_share() } else { None })?;
        self.findings.leave_post(self.registry.grain());
        let taken = &self.seat.slot.taken;
        taken.store(taken.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        Some(work)
    }

    fn steal_from(&self, slot: &Slot) -> Option<Work> {
        let work = slot.public().steal()?;
        if record::is_on() && slot.number != self.slot_number() {
            let task = match &work {
                Work::Task(task) | Work::Item(task) => task.id().get(),
                _ => 0,
            };
            record::stolen(task, slot.number);
        }
        Some(work)
    }

    /// As [`Registry::has_tasks`], with this worker's own copy of the list.
    #[inline]
    pub(super) fn sees_tasks(&self) -> bool {
        !self.registry.injector().is_empty()
            || self.with_slots(|slots| slots.iter().any(|slot| slot.public().has_tasks()))
            || self.registry.has_open_post()
    }

    /// Some of the injector's work, of which the first is to be run now.
    fn fetch(&self) -> Option<Work> {
        let (first, more) = self
            .registry
            .injector()
            .pop_some(self.registry.width(), &self.seat.local.tasks)?;
        if more {
            self.registry.published();
        }
        Some(first)
    }

    fn own_share(&self) -> Option<Work> {
        self.registry.take_share(self.slot()).map(Work::Share)
    }

    /// The share of one who is away.
    fn open_share(&self) -> Option<Work> {
        let take = |slot: &Arc<Slot>| self.registry.take_share(slot);
        let find = |slots: &[Arc<Slot>]| {
            slots
                .iter()
                .filter(|slot| slot.post.is_open())
                .find_map(take)
        };
        self.with_slots(find).map(Work::Share)
    }

    // ---- running ---------------------------------------------------------

    fn run(&self, work: Work) {
        // Nothing is known about it yet.
        self.pace.reset();
        match work {
            Work::Task(task) => {
                if self.registry.injector().mode() == Mode::Cancelling {
                    task.discard(TaskError::Cancelled);
                } else {
                    task.run();
                }
            }
            Work::Item(task) => _ = task.run(),
            Work::Job(job) => {
                let began = ticks::now();
                {
                    let _noted = record::part(Part::Half);
                    job.run(self);
                }
                return self.findings.ran(ticks::since(began) < TINY);
            }
            Work::Ticket(ticket) => {
                let _noted = record::part(Part::Scope);
                ticket.redeem(self.registry.width(), |another| {
                    self.push_task(Work::Ticket(another));
                });
            }
            Work::Share(share) => {
                let _noted = record::part(Part::Broadcast);
                share.run();
            }
        }
        self.findings.ran(false);
    }

    /// Runs a half of somebody's join.
    pub(super) fn run_job(&self, job: JobRef) {
        self.pace.reset();
        let _noted = record::part(Part::Half);
        job.run(self);
    }

    /// `on_start`; then turn after turn, until its orders are to end; then `on_exit`.
    fn live(&self, role: Role) {
        let config = self.registry.config();
        let index = self.index();
        let mut searching = role == Role::Work;
        if let Some(hook) = &config.on_start {
            if std::mem::take(&mut searching) {
                if self.registry.idle().found() {
                    self.registry.recheck();
                }
                panic::contain(|| hook(index));
            } else {
                self.uncounted(|| hook(index));
            }
        }
        self.work(role, searching);
        // It may have been told to end while it was up to look.
        self.findings.leave_post(self.registry.grain());
        self.end_child();
        self.ending.set(true);
        self.seat.slot.post.leave();
        self.registry.recheck_posts();
        if let Some(hook) = &config.on_exit {
            self.uncounted(|| hook(index));
            self.end_child();
        }
    }

    /// A task of its, or a hook, may have forked, and have returned in the child, too. There is nothing to return
    /// to: this thread began as another process's worker.
    fn end_child(&self) {
        if self.registry.is_foreign() {
            std::process::exit(0);
        }
    }

    /// Turn after turn, until its orders are to end.
    fn work(&self, mut role: Role, mut searching: bool) {
        let idle = self.registry.idle();
        loop {
            if role == Role::Watch {
                role = self.watch();
                searching = role == Role::Work;
                continue;
            }
            if role == Role::Exit || self.registry.is_foreign() {
                return;
            }
            if !searching && self.seat.slot.orders.is_dismissed() && idle.quit(self.slot()) {
                self.registry.recheck();
                return;
            }
            if !searching && idle.lie_down_if_surplus(self.slot()) {
                role = self.sleep();
                searching = role == Role::Work;
                continue;
            }
            match self.find() {
                Some(work) => {
                    if searching {
                        searching = false;
                        if idle.found() {
                            self.registry.recheck();
                        }
                    } else if idle.unwatched() {
                        self.registry.recheck();
                    }
                    self.run(work);
                }
                None => {
                    if !searching && idle.search() {
                        searching = true;
                    }
                    if searching && let Some(work) = self.look_around() {
                        searching = false;
                        if idle.found() {
                            self.registry.recheck();
                        }
                        self.run(work);
                        continue;
                    }
                    role = self.lie_down(searching);
                    searching = role == Role::Work;
                }
            }
        }
    }

    fn look_around(&self) -> Option<Work> {
        for round in 0..SEARCH_ROUNDS {
            for _ in 0..1 << round.min(6) {
                hint::spin_loop();
            }
            if let Some(work) = self.find() {
                return Some(work);
            }
        }
        None
    }

    // ---- sleeping --------------------------------------------------------

    fn lie_down(&self, searching: bool) -> Role {
        let idle = self.registry.idle();
        if !idle.lie_down(self.slot(), searching) {
            self.registry.recheck();
            return Role::Exit;
        }
        // Step 4: the look after the subtraction.
        let on_watch = self.findings.take_post(self.registry.grain());
        let seen = if on_watch {
            self.registry.has_tasks()
        } else {
            self.registry.has_work()
        };
        if seen && idle.get_up(self.slot()) {
            return Role::Work;
        }
        let _noted = record::sleeps();
        if on_watch {
            self.keep_watch()
        } else {
            self.rest()
        }
    }

    /// In bed (P2), as the lookout; see `grain.rs`.
    fn keep_watch(&self) -> Role {
        // As in `rest`.
        if !self.seat.slot.post.is_empty() && self.registry.idle().rise(self.slot()) {
            self.findings.leave_post(self.registry.grain());
            return Role::Work;
        }
        while let Some(nap) = self.findings.next_nap(self.registry.grain()) {
            let until = Instant::now() + nap;
            while Instant::now() < until {
                if let Some(role) = self.seat.slot.orders.take() {
                    self.findings.leave_post(self.registry.grain());
                    return role;
                }
                self.seat.parker.park_deadline(until);
            }
            // While it searches, it counts as a taker: then halves are offered.
            if self.registry.idle().get_up(self.slot()) {
                return Role::Work;
            }
        }
        self.rest()
    }

    fn sleep(&self) -> Role {
        let _noted = record::sleeps();
        self.rest()
    }

    /// In bed (P2): until somebody gives orders.
    fn rest(&self) -> Role {
        let idle = self.registry.idle();
        // Step 7: after it has lain down.
        if !self.seat.slot.post.is_empty() && idle.rise(self.slot()) {
            return Role::Work;
        }
        let mut until = idle
            .is_spare(self.slot())
            .then(|| Instant::now() + idle::KEEP_SPARE);
        loop {
            if let Some(role) = self.seat.slot.orders.take() {
                return role;
            }
            match until {
                None => self.seat.parker.park(),
                Some(until) if Instant::now() < until => self.seat.parker.park_deadline(until),
                Some(_) => match idle.retire(self.slot()) {
                    Retire::Ended => return Role::Exit,
                    Retire::Stays => until = None,
                    Retire::Recruited => thread::yield_now(),
                },
            }
        }
    }

    /// The stall rule; see `idle.rs`.
    fn watch(&self) -> Role {
        let idle = self.registry.idle();
        let mut before = self.registry.progress();
        let mut next = Instant::now() + idle.patience();
        let mut calls = Watch::begin(&self.registry);
        loop {
            let look = if idle.has_calls() {
                idle::STALL
            } else {
                idle.patience()
            };
            let look = next.min(Instant::now() + look);
            while Instant::now() < look && self.seat.slot.post.is_empty() {
                self.seat.parker.park_deadline(look);
            }
            if !self.seat.slot.post.is_empty() {
                self.registry.calls().trust_nobody();
                idle.step_in();
                return Role::Work;
            }
            if idle.watch_on() && self.registry.has_work() {
                let at_work = idle.has_calls() && calls.look(&self.registry);
                if look < next {
                    continue;
                }
                next = Instant::now() + idle.patience();
                let now = self.registry.progress();
                if now == before && idle.has_blocked() && !at_work {
                    self.registry.calls().trust_nobody();
                    idle.step_in();
                    return Role::Work;
                }
                before = now;
                continue;
            }
            self.registry.calls().trust_nobody();
            if !idle.stop_watching(self.slot()) {
                self.registry.recheck();
                return Role::Exit;
            }
            if self.registry.has_work() {
                self.registry.published();
            }
            return self.sleep();
        }
    }
}

/// See [`context::set_take`].
fn take_newest(address: usize) -> Option<Runnable> {
    current::with_home(|home| {
        let home = home?;
        let tasks = &home.seat.local.tasks;
        match tasks.pop()? {
            Work::Task(task) if task.address() == address => Some(task),
            other => {
                // Somebody may have looked just now, and not seen it.
                tasks.push(other);
                home.registry.published();
                None
            }
        }
    })
}

/// What a thread of the pool runs.
pub(super) fn main(registry: Arc<Registry>, seat: Seat, role: Role) {
    context::set_stack(registry.config().stack_bytes());
    context::set_home(registry.tag());
    seat.slot.lending.occupy();
    context::set_blocker(Some(Rc::new(wait::Compensate)));
    context::set_take(Some(take_newest));
    let _role = record::role(record::Role::Worker {
        pool: registry.tag(),
        slot: seat.slot.number as u32,
        index: seat.slot.index as u32,
    });
    let worker = Worker::new(Arc::clone(&registry), seat, false);
    current::at_home(&worker, || worker.live(role));
    context::set_blocker(None);
    context::set_take(None);
    registry.retired(worker.into_parts().1);
}
