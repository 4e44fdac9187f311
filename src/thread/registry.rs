//! What the threads of one pool share: queues, slots, sleepers, handles.
//!
//! **Job.** [`Registry`] starts the pool's threads, puts work where it will be found,
//! and ends the threads. Each thread holds a counted reference to it, and so does
//! the `ThreadPool`.
//!
//! **Starting.** The pool's own threads start with the pool, as searchers. Spares
//! start when `idle.rs` finds nobody asleep for a blocked worker's place. If the
//! system refuses a thread, the work stays queued, whoever comes back next takes
//! it, and the waiter that wanted a spare asks again now and then.
//!
//! **In a forked child** the pool's threads are not there, and its locks may be held for ever.
//! So every way in asks first whether this process made the pool. If it did not, the pool
//! is as one that has been shut down: what is spawned is refused, what had been spawned has ended in `Closed`, a region runs in the caller, on a registry
//! without threads that stands in for the lost one, and a wait that had begun for something that another
//! thread was to do panics.
//!
//! **Ending.** 1. The injector refuses work from outside; what the pool's
//! tasks spawn is still run (or refused and cancelled, if that is asked
//! for). 2. Wait until nobody runs, nobody is blocked, and nothing is queued;
//! workers that are themselves inside `shutdown` do not count. 3. Nobody is
//! recruited any more, sleepers end. 4. Join them: a thread is joined by exactly
//! one caller, a worker never joins itself or another that is shutting
//! down, too, be it in a task or in a hook. One that is past all that, in the destructor of a thread-local,
//! joins nobody: others may be joining it. Regions that outside threads are inside of go on without the pool's
//! help.
//!
//! - **P14** A handle is in `handles` from the start of its thread until one caller
//!   has taken it out to join it.
//!
//! Rejected: closing at once and dropping the queues (a task that joins its own
//! child would see `Closed` because somebody dropped the pool); waiting in
//! each worker for the others (two workers that shut down would wait for each
//! other).
//!
//! Tests: `tests/thread/pool.rs` (census of threads, shutdown from everywhere), `tests/thread/crew.rs`
//! (resizing), `tests/forks/thread.rs`.

use std::io;
use std::sync::Arc;
use std::thread::ThreadId;
use std::time::Duration;

use super::blocking::Calls;
use super::grain::Grain;
use super::guest::Lease;
use super::idle::{Idle, Need, Recruit, Role, STALL};
use super::inside;
use super::places::Place;
use super::queue::{self, Injector, Mode, Slots, Work};
use super::raw::share::Share;
use super::raw::{current, job};
use super::spawn_async::Futures;
use super::wait::Blocked;
use super::worker::{self, Seat, Slot, Worker};
use crate::loom::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::loom::thread::{self, Builder, JoinHandle};
use crate::loom::{Condvar, Mutex, MutexGuard};
use crate::record::{self, Part};
use crate::sys::fork;
use crate::task::context::GUESTS;
use crate::task::{self, Shutdown, TaskError};

type Hook = Box<dyn Fn(usize) + Send + Sync>;

/// What a builder has decided.
pub(super) struct Config {
    pub(super) threads: usize,
    pub(super) name: String,
    pub(super) stack_size: Option<usize>,
    pub(super) on_start: Option<Hook>,
    pub(super) on_exit: Option<Hook>,
    pub(super) unobserved: Option<task::Hook>,
    pub(super) caller_helps: bool,
}

/// What a main thread usually has: recursion that fits there should fit here. Only what is
/// used of it takes memory.
const STACK: usize = 8 << 20;

/// With less, a thread might not even get as far as the user's code.
const LEAST_STACK: usize = 64 << 10;

impl Config {
    /// How much stack a worker has.
    pub(super) fn stack_bytes(&self) -> usize {
        let bytes = self.stack_size.unwrap_or_else(|| {
            let asked = std::env::var("RUST_MIN_STACK")
                .ok()
                .and_then(|bytes| bytes.parse().ok());
            asked.unwrap_or(STACK)
        });
        bytes.max(LEAST_STACK)
    }
}

/// A number for each pool. After a billion pools it may meet an older one:
/// then a worker may run a task of another pool that it waits for itself.
#[allow(clippy::disallowed_types)] // a counter that no protocol depends on
fn next_tag() -> u32 {
    // A counter: no protocol.
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    (NEXT.fetch_add(1, Ordering::Relaxed) & (GUESTS - 1)) | (1 << 31)
}

struct Handles {
    running: Vec<JoinHandle<()>>,
    /// Whose handles have been taken out and are being joined.
    joining: Vec<ThreadId>,
    /// Threads of the pool that have called `shutdown` themselves.
    leaving: Vec<ThreadId>,
}

/// A guest's place is no place.
const NO_PLACE: usize = usize::MAX;

pub(super) struct Registry {
    tag: u32,
    /// The process that made it; see `fork.rs`.
    born: u32,
    config: Config,
    idle: Idle<Arc<Slot>>,
    grain: Grain,
    calls: Calls,
    injector: Injector,
    /// The futures that have not ended.
    futures: Futures,
    slots: Mutex<Slots<Slot>>,
    /// The length of `slots`, which tells workers that their copy is old.
    generation: AtomicUsize,
    /// At least as many as the pool is wide.
    places: Mutex<Vec<Place>>,
    /// How many shares of broadcasts lie in posts.
    posted: AtomicUsize,
    /// Seats that outside threads have used.
    guests: Mutex<Vec<Seat>>,
    handles: Mutex<Handles>,
    joined: Condvar,
    /// The system has given no thread for work that is queued.
    refused: AtomicBool,
}

impl Registry {
    /// A pool with all its threads.
    pub(super) fn start(config: Config) -> io::Result<Arc<Self>> {
        fork::watch();
        current::watch();
        task::context::watch_forks();
        queue::warm_up();
        let threads = config.threads;
        let registry = Arc::new(Self::new(config));
        inside::enlist(&registry);
        task::context::set_guest(inside::as_guest);
        let seats = registry.vacant(threads);
        let mut failure = None;
        for seat in seats {
            if failure.is_some() {
                registry.idle.stillborn(Role::Work);
                registry.put_back(seat);
            } else if let Err(error) = registry.start_thread(seat, Role::Work) {
                registry.idle.stillborn(Role::Work);
                failure = Some(error);
            }
        }
        match failure {
            None => Ok(registry),
            Some(error) => {
                registry.shutdown(Shutdown::CancelPending);
                Err(error)
            }
        }
    }

    fn new(config: Config) -> Self {
        Self {
            idle: Idle::new(config.threads),
            grain: Grain::default(),
            calls: Calls::default(),
            injector: Injector::new(),
            futures: Futures::new(),
            slots: Mutex::new(Arc::new([])),
            generation: AtomicUsize::new(0),
            places: Mutex::new(Vec::new()),
            posted: AtomicUsize::new(0),
            guests: Mutex::new(Vec::new()),
            handles: Mutex::new(Handles {
                running: Vec::new(),
                joining: Vec::new(),
                leaving: Vec::new(),
            }),
            joined: Condvar::new(),
            refused: AtomicBool::new(false),
            tag: next_tag(),
            born: fork::generation(),
            config,
        }
    }

    /// A parent of this process made it: its threads are not here.
    #[inline]
    pub(super) fn is_foreign(&self) -> bool {
        self.born != fork::generation()
    }

    /// Called before a wait for what another thread of the pool is to do.
    ///
    /// # Panics
    /// In a forked child that is none: it would wait for ever.
    #[inline]
    pub(super) fn insist(&self) {
        assert!(
            !self.is_foreign(),
            "trefoil: a forked child waits for what a thread of its parent's runs; take such results before the fork, and make a pool of the child's own after it"
        );
    }

    /// This registry, or if it is a parent's, the one without threads that stands in for all such.
    pub(super) fn present(self: &Arc<Self>) -> &Arc<Self> {
        static BEREFT: fork::PerProcess<Arc<Registry>> = fork::PerProcess::new();
        if !self.is_foreign() {
            return self;
        }
        BEREFT.get_or_init(|| {
            let registry = Self::new(Config {
                threads: 0,
                name: String::new(),
                stack_size: None,
                on_start: None,
                on_exit: None,
                unobserved: None,
                caller_helps: true,
            });
            // It has nobody, but a region wants to know how wide it is.
            let _nobody = registry.idle.resize(1);
            registry.injector.set_mode(Mode::Closed);
            let _nobody = registry.idle.wait_quiet(|| true, || ());
            Arc::new(registry)
        })
    }

    pub(super) fn places(&self) -> &Mutex<Vec<Place>> {
        &self.places
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn idle(&self) -> &Idle<Arc<Slot>> {
        &self.idle
    }

    pub(super) fn calls(&self) -> &Calls {
        &self.calls
    }

    pub(super) fn grain(&self) -> &Grain {
        &self.grain
    }

    pub(super) fn injector(&self) -> &Injector {
        &self.injector
    }

    pub(super) fn futures(&self) -> &Futures {
        &self.futures
    }

    /// What marks this pool's tasks and workers as belonging together; not 0, and without [`GUESTS`].
    pub(super) fn tag(&self) -> u32 {
        self.tag
    }

    /// The tag of a task that whoever waits for it may run: if the pool lets its callers help, they become
    /// guests for it.
    pub(super) fn claim_tag(&self) -> u32 {
        let guests = if self.config.caller_helps { GUESTS } else { 0 };
        self.tag | guests
    }

    /// How many tasks run at once.
    #[inline]
    pub(super) fn width(&self) -> usize {
        self.idle.width()
    }

    // ---- slots -----------------------------------------------------------

    pub(super) fn slots(&self) -> (usize, Slots<Slot>) {
        let slots = self.slots.lock();
        (slots.len(), Arc::clone(&slots))
    }

    #[inline]
    pub(super) fn generation(&self) -> usize {
        self.generation.load(Ordering::Acquire)
    }

    /// Seats with new slots, in these places.
    pub(super) fn new_seats(&self, places: impl Iterator<Item = usize>) -> Vec<Seat> {
        let mut slots = self.slots.lock();
        let seats: Vec<Seat> = (slots.len()..)
            .zip(places)
            .map(|(number, index)| Seat::new(number, index))
            .collect();
        let new = seats.iter().map(Seat::slot);
        *slots = slots.iter().chain(new).cloned().collect();
        self.generation.store(slots.len(), Ordering::Release);
        seats
    }

    /// A seat for a guest, used before or new.
    pub(super) fn take_guest_seat(&self) -> Seat {
        let seat = self.guests.lock().pop();
        seat.unwrap_or_else(|| self.guest_seat())
    }

    pub(super) fn put_guest_seat(&self, seat: Seat) {
        if self.is_foreign() {
            // The lock may be held for ever.
            std::mem::forget(seat);
        } else {
            self.guests.lock().push(seat);
        }
    }

    fn guest_seat(&self) -> Seat {
        match self.new_seats(std::iter::once(NO_PLACE)).pop() {
            Some(seat) => seat,
            None => unreachable!("one was asked for"),
        }
    }

    /// Something is queued somewhere that anybody may take.
    pub(super) fn has_work(&self) -> bool {
        self.has_tasks() || self.has_jobs()
    }

    /// Something that nobody takes back is queued.
    pub(super) fn has_tasks(&self) -> bool {
        !self.injector.is_empty()
            || self.slots().1.iter().any(|slot| slot.public().has_tasks())
            || self.has_open_post()
    }

    /// A half of a join is on offer.
    pub(super) fn has_jobs(&self) -> bool {
        self.slots().1.iter().any(|slot| slot.public().has_jobs())
    }

    /// How many threads would take a half of a join that is offered now.
    #[inline]
    pub(super) fn takers(&self) -> u32 {
        self.idle.idlers(self.grain.stand_ins()) + self.grain.waiting()
    }

    pub(super) fn has_open_post(&self) -> bool {
        self.has_post() && self.slots().1.iter().any(|slot| slot.post().is_open())
    }

    /// Shares lie in posts: a hint, exact once a fence of the protocol has been passed.
    #[inline]
    pub(super) fn has_post(&self) -> bool {
        self.posted.load(Ordering::Relaxed) > 0
    }

    /// Takes what lies in the post of `slot`.
    pub(super) fn take_share(&self, slot: &Slot) -> Option<Share> {
        let share = slot.post().take()?;
        self.posted.fetch_sub(1, Ordering::Relaxed);
        Some(share)
    }

    /// How much has been taken from the queues so far.
    pub(super) fn progress(&self) -> u64 {
        self.slots()
            .1
            .iter()
            .map(|slot| slot.taken())
            .fold(0, u64::wrapping_add)
    }

    // ---- work ------------------------------------------------------------

    /// Queues work: in this thread's own deque if it is a worker of this pool, so
    /// that it is warm; else in the injector. A pool that has been shut down
    /// gives it back.
    pub(super) fn submit(self: &Arc<Self>, work: Work) -> Result<(), Work> {
        if self.is_foreign() {
            return Err(work);
        }
        current::with_home(|home| match home {
            Some(home) if self.is(home.registry()) && !home.is_in_hook() => {
                match self.injector.mode() {
                    Mode::Open | Mode::Draining => {
                        home.push_task(work);
                        Ok(())
                    }
                    Mode::Cancelling | Mode::Closed => Err(work),
                }
            }
            _ => self.inject(work),
        })
    }

    /// Queues work from outside, or gives it back.
    pub(super) fn inject(self: &Arc<Self>, work: Work) -> Result<(), Work> {
        if self.is_foreign() {
            return Err(work);
        }
        self.injector.push(work)?;
        self.published();
        Ok(())
    }

    /// After a push.
    #[inline]
    pub(super) fn published(self: &Arc<Self>) {
        let need = self.idle.publish();
        if need != Need::Nobody {
            self.recruit(need);
        }
    }

    /// Where the protocol asks for one more look into the queues.
    pub(super) fn recheck(self: &Arc<Self>) {
        if self.has_something_to_take() {
            self.published();
        }
    }

    fn has_something_to_take(&self) -> bool {
        self.has_tasks() || (self.takers() > 0 && self.has_jobs())
    }

    /// A worker parks in a wait: its place is taken if there is work.
    pub(super) fn block(self: &Arc<Self>) {
        self.idle.block();
        self.ask_again();
    }

    /// For whoever has blocked: its place is taken if there is work, unless the system refuses a thread.
    pub(super) fn ask_again(self: &Arc<Self>) {
        if self.has_something_to_take() {
            self.published();
        } else {
            self.refused.store(false, Ordering::Relaxed);
        }
    }

    /// For one that has blocked: how long it parks at most before it asks again for the thread that the system
    /// has refused.
    pub(super) fn nap(&self) -> Option<Duration> {
        self.lacks_threads().then_some(STALL)
    }

    /// The system has refused a thread for work that is queued.
    pub(super) fn lacks_threads(&self) -> bool {
        // A hint: it stays until a thread was given, or nothing is queued.
        self.refused.load(Ordering::Relaxed)
    }

    #[cold]
    pub(super) fn recruit(self: &Arc<Self>, need: Need) {
        if self.is_foreign() {
            return;
        }
        match self.idle.recruit(need) {
            Recruit::Nobody => {}
            Recruit::Wake(slot) => {
                record::roused(self.tag, slot.number());
                slot.wake();
            }
            Recruit::Start(role) => {
                let seat = self.free_seat();
                let refused = self.start_thread(seat, role).is_err();
                self.refused.store(refused, Ordering::Relaxed);
                if refused {
                    self.idle.stillborn(role);
                }
            }
        }
    }

    /// After the thread of a place has gone away: what lies in its post is anybody's.
    pub(super) fn recheck_posts(self: &Arc<Self>) {
        if self.has_post() {
            self.recheck();
        }
    }

    /// Puts shares into the posts of `slots`, where their places are, and has their threads come;
    /// drops them if the pool does not accept them. `counted`: the caller is a worker that
    /// is at work.
    pub(super) fn deliver(
        self: &Arc<Self>,
        counted: bool,
        slots: &[Arc<Slot>],
        shares: Vec<Share>,
    ) {
        let places: Vec<usize> = shares.iter().map(Share::index).collect();
        let mut shares = shares.into_iter();
        self.injector.admit(counted, || {
            self.posted.fetch_add(places.len(), Ordering::Relaxed);
            for share in shares.by_ref() {
                slots[share.index()].post().put(share);
            }
        });
        if shares.next().is_some() {
            return; // refused; the others are dropped with the iterator
        }
        for place in places {
            if self.idle.summon(&slots[place]) {
                record::roused(self.tag, slots[place].number());
                slots[place].wake();
            }
        }
        // Step 3 of `broadcast.rs`.
        self.idle.settle();
        self.recheck();
    }

    // ---- who is where ----------------------------------------------------

    /// What distinguishes it from the other pools of this moment.
    #[inline]
    pub(super) fn address(self: &Arc<Self>) -> usize {
        Arc::as_ptr(self).addr()
    }

    pub(super) fn is(self: &Arc<Self>, other: &Arc<Self>) -> bool {
        Arc::ptr_eq(self, other)
    }

    /// This thread is a worker of this pool.
    pub(super) fn is_home(self: &Arc<Self>) -> bool {
        current::with_home(|home| home.is_some_and(|home| self.is(home.registry())))
    }

    /// Runs `f` with this thread's place in the pool: its own if it is a worker
    /// or already a guest, else one lent for as long as `f` runs.
    #[inline]
    pub(super) fn seated<R>(self: &Arc<Self>, f: impl FnOnce(&Worker) -> R) -> R {
        self.seated_or(f, |this, f| {
            Lease::new(this).with(|worker| current::inside(worker, || f(worker)))
        })
    }

    #[inline]
    fn seated_or<F, R>(self: &Arc<Self>, f: F, as_guest: impl FnOnce(&Arc<Self>, F) -> R) -> R
    where
        F: FnOnce(&Worker) -> R,
    {
        let this = self.present();
        current::with(|worker| match worker {
            Some(worker) if this.is(worker.registry()) => f(worker),
            _ => current::with_home(|home| match home {
                Some(home) if this.is(home.registry()) => current::inside(home, || f(home)),
                _ => as_guest(this, f),
            }),
        })
    }

    /// Runs `f` on one of the pool's threads, or here if this is one, or if the
    /// pool has been shut down.
    pub(super) fn on_worker<R: Send>(self: &Arc<Self>, f: impl FnOnce(&Worker) -> R + Send) -> R {
        if self.is_home() || self.is_foreign() || self.injector.mode() != Mode::Open {
            return self.seated(f);
        }
        let push = |reference| match self.inject(Work::Job(reference)) {
            Err(Work::Job(reference)) => Err(reference),
            _ => Ok(()),
        };
        Lease::new(self).with(|waiter| job::lend(waiter, f, push))
    }

    /// Runs `f` with a place to wait in: this thread's own, if it is a `counted` worker.
    pub(super) fn with_waiter<R>(
        self: &Arc<Self>,
        counted: bool,
        f: impl FnOnce(&Worker) -> R,
    ) -> R {
        if counted {
            self.seated(f)
        } else {
            Lease::new(self).with(f)
        }
    }

    /// Runs a region: here with the others' help, unless the pool wants its work
    /// to run on its own threads only.
    #[inline]
    pub(super) fn region<R: Send>(self: &Arc<Self>, f: impl FnOnce(&Worker) -> R + Send) -> R {
        if !self.config.caller_helps {
            return self.on_worker(f);
        }
        self.seated_or(f, |this, f| {
            let _helping = this.grain.guest();
            let _noted = record::part(Part::Region);
            Lease::new(this).with(|worker| current::inside(worker, || f(worker)))
        })
    }

    // ---- threads ---------------------------------------------------------

    pub(super) fn start_thread(self: &Arc<Self>, seat: Seat, role: Role) -> io::Result<()> {
        let index = seat.slot().index();
        let builder = Builder::new()
            .name(format!("{}-{index}", self.config.name))
            .stack_size(self.config.stack_bytes());
        let registry = Arc::clone(self);
        // The seat lies in a cradle, so that it survives if there is no thread.
        let cradle = Arc::new(Mutex::new(Some(seat)));
        let theirs = Arc::clone(&cradle);
        // Under the lock: whoever joins must not miss the handle (P14). A watcher is not waited
        // for by a pool that ends, which then does not wait for its handle either.
        let mut handles = self.handles.lock();
        if role == Role::Watch && self.injector.mode() == Mode::Closed {
            drop(handles);
            self.take_back(&cradle);
            return Err(io::ErrorKind::Other.into());
        }
        let started = builder.spawn(move || {
            let seat = theirs.lock().take();
            if let Some(seat) = seat {
                worker::main(registry, seat, role);
            }
        });
        let result = started.map(|handle| handles.running.push(handle));
        drop(handles);
        if result.is_err() {
            self.take_back(&cradle);
        }
        result
    }

    /// The seat of a thread that there is not.
    fn take_back(&self, cradle: &Mutex<Option<Seat>>) {
        let seat = cradle.lock().take();
        if let Some(seat) = seat {
            self.put_back(seat);
        }
    }

    /// Joins threads that have ended already, but for the destructors of thread-locals: those are the user's, and may
    /// wait for locks that somebody has who spawns, or waits. So only a thread does this that ends itself.
    pub(super) fn join_ended(&self) {
        let mut handles = self.handles.lock();
        while let Some(at) = handles.running.iter().position(JoinHandle::is_finished) {
            handles = self.join_one(handles, at);
        }
    }

    pub(super) fn shutdown(self: &Arc<Self>, how: Shutdown) {
        if self.is_foreign() {
            return;
        }
        self.injector.set_mode(match how {
            Shutdown::Wait => Mode::Draining,
            Shutdown::CancelPending => Mode::Cancelling,
        });
        if how == Shutdown::CancelPending {
            self.cancel_pending();
            self.futures.wake_all();
        }
        self.idle.closing();
        let home = current::with_home(|home| {
            home.filter(|home| self.is(home.registry()))
                .map(Worker::is_in_hook)
        });
        let me = thread::current().id();
        if home.is_some() {
            self.handles.lock().leaving.push(me);
        }
        if home == Some(false) {
            self.idle.leave();
        }
        let _blocked = Blocked::begin();
        loop {
            // Halves of joins on offer now are guests': they take them back themselves.
            // The mode before anybody is told to end: what the threads' last hooks spawn is refused.
            let close = || self.injector.set_mode(Mode::Closed);
            if let Some(sleepers) = self
                .idle
                .wait_quiet(|| !self.has_tasks() && !self.has_post(), close)
            {
                sleepers.iter().for_each(|slot| slot.wake());
                break;
            }
            // Work is queued, and the system gives no thread for it. Ask again.
            self.recheck();
            std::thread::sleep(STALL);
        }
        if home.is_some() || !self.handles.lock().has(me) {
            self.join_threads(home.is_some());
        }
        // Who was woken to be cancelled may have been on its way to a poll, and sleep again.
        let reason = match how {
            Shutdown::Wait => TaskError::Closed,
            Shutdown::CancelPending => TaskError::Cancelled,
        };
        self.futures.close(&self.injector, &reason);
    }

    /// Cancels the tasks that are queued now; later ones are cancelled by the
    /// workers that find them. What somebody waits for in a region stays.
    fn cancel_pending(self: &Arc<Self>) {
        for slot in self.slots().1.iter() {
            while self.cancel_next(|| slot.public().steal_task()) {}
        }
        for _ in 0..self.injector.len() {
            self.cancel_next(|| self.injector.pop());
        }
    }

    /// One at a time: the destructor of a closure may wait for another task, and that must be where somebody finds
    /// it. False: there is no next one.
    fn cancel_next(self: &Arc<Self>, next: impl FnOnce() -> Option<Work>) -> bool {
        self.idle.hold();
        let next = next();
        let found = next.is_some();
        let task = match next {
            Some(Work::Task(task)) => Some(task),
            Some(other) => {
                self.injector.put_back(other);
                None
            }
            None => None,
        };
        self.idle.release();
        self.recheck();
        if let Some(task) = task {
            task.discard(TaskError::Cancelled);
        }
        found
    }

    /// Joins what nobody else joins, and waits for those who do.
    fn join_threads(&self, inside: bool) {
        let mut handles = self.handles.lock();
        loop {
            let mine =
                |handles: &Handles, thread: ThreadId| !inside || !handles.leaving.contains(&thread);
            let next = handles
                .running
                .iter()
                .position(|handle| mine(&handles, handle.thread().id()));
            if let Some(at) = next {
                handles = self.join_one(handles, at);
            } else if handles.joining.iter().any(|&thread| mine(&handles, thread)) {
                handles = self.joined.wait(handles);
            } else {
                return;
            }
        }
    }

    /// Joins a thread that runs, or did, without the lock.
    fn join_one<'a>(
        &'a self,
        mut handles: MutexGuard<'a, Handles>,
        at: usize,
    ) -> MutexGuard<'a, Handles> {
        let handle = handles.running.swap_remove(at);
        let thread = handle.thread().id();
        handles.joining.push(thread);
        drop(handles);
        drop(handle.join());
        let mut handles = self.handles.lock();
        handles.joining.retain(|&other| other != thread);
        self.joined.notify_all();
        handles
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        if !self.is_foreign() {
            inside::strike(self.tag);
        }
    }
}

impl Handles {
    /// It is one of the pool's threads.
    fn has(&self, thread: ThreadId) -> bool {
        let mut running = self.running.iter().map(|handle| handle.thread().id());
        running.any(|running| running == thread) || self.joining.contains(&thread)
    }
}
