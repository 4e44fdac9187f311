//! What the threads of one pool share: queues, slots, sleepers, handles.
//!
//! **Job.** [`Crew`] starts the pool's threads, puts work where it will be found,
//! and ends the threads. Each thread holds a counted reference to it, and so does
//! the `ThreadPool`.
//!
//! **Starting.** The pool's own threads start with the pool, as searchers. Spares
//! start when `idle.rs` finds nobody asleep for a blocked worker's place. If the
//! system refuses a thread, the work stays queued, whoever comes back next takes
//! it, and the waiter that wanted a spare is no worse off than without.
//!
//! **Ending.** 1. The injector refuses work from outside; what the pool's
//! tasks spawn is still run (or refused and cancelled, if that is asked
//! for). 2. Wait until nobody runs, nobody is blocked, and nothing is queued;
//! workers that are themselves inside `shutdown` do not count. 3. Nobody is
//! recruited any more, sleepers end. 4. Join them: a thread is joined by exactly
//! one caller, a worker never joins itself or another that is shutting
//! down, too. Regions that outside threads are inside of go on without the pool's
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
//! Tests: `tests/thread.rs` (census of threads, shutdown from everywhere).

use std::io;
use std::sync::Arc;

use super::idle::{Idle, Need, Recruit, Role, STALL};
use super::queue::{Injector, Mode, Slots, Work};
use super::raw::{current, job};
use super::spawn_async::Futures;
use super::wait::Blocked;
use super::worker::{self, Seat, Slot, Worker};
use crate::loom::atomic::{AtomicUsize, Ordering};
use crate::loom::thread::{Builder, JoinHandle};
use crate::loom::{Condvar, Mutex};
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

impl Config {
    /// How much stack a worker has.
    pub(super) fn stack_bytes(&self) -> usize {
        self.stack_size.unwrap_or_else(|| {
            let asked = std::env::var("RUST_MIN_STACK")
                .ok()
                .and_then(|bytes| bytes.parse().ok());
            asked.unwrap_or(STACK)
        })
    }
}

/// A number for each pool. After four billion pools it may meet an older one:
/// then a worker may run a task of another pool that it waits for itself.
#[allow(clippy::disallowed_types)] // a counter that no protocol depends on
fn next_tag() -> u32 {
    // A counter: no protocol.
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed) | (1 << 31)
}

struct Handles {
    running: Vec<(usize, JoinHandle<()>)>,
    /// Whose handles have been taken out and are being joined.
    joining: Vec<usize>,
    /// Workers that have called `shutdown` themselves.
    leaving: Vec<usize>,
}

pub(super) struct Crew {
    tag: u32,
    config: Config,
    idle: Idle<Arc<Slot>>,
    injector: Injector,
    /// The futures that have not ended.
    futures: Futures,
    slots: Mutex<Slots<Slot>>,
    /// The length of `slots`, which tells workers that their copy is old.
    generation: AtomicUsize,
    /// Seats of spares that have ended.
    free: Mutex<Vec<Seat>>,
    /// Seats that outside threads have used.
    guests: Mutex<Vec<Seat>>,
    handles: Mutex<Handles>,
    joined: Condvar,
}

impl Crew {
    /// A pool with all its threads.
    pub(super) fn start(config: Config) -> io::Result<Arc<Self>> {
        let threads = config.threads;
        let crew = Arc::new(Self {
            idle: Idle::new(threads),
            injector: Injector::new(),
            futures: Futures::new(),
            slots: Mutex::new(Arc::new([])),
            generation: AtomicUsize::new(0),
            free: Mutex::new(Vec::new()),
            guests: Mutex::new(Vec::new()),
            handles: Mutex::new(Handles {
                running: Vec::new(),
                joining: Vec::new(),
                leaving: Vec::new(),
            }),
            joined: Condvar::new(),
            tag: next_tag(),
            config,
        });
        let seats: Vec<Seat> = (0..threads).map(|_| crew.new_seat(false)).collect();
        let mut failure = None;
        for seat in seats {
            if failure.is_some() {
                crew.idle.stillborn(Role::Work);
            } else if let Err(error) = crew.start_thread(seat, Role::Work) {
                crew.idle.stillborn(Role::Work);
                failure = Some(error);
            }
        }
        match failure {
            None => Ok(crew),
            Some(error) => {
                crew.shutdown(Shutdown::CancelPending);
                Err(error)
            }
        }
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn idle(&self) -> &Idle<Arc<Slot>> {
        &self.idle
    }

    pub(super) fn injector(&self) -> &Injector {
        &self.injector
    }

    pub(super) fn futures(&self) -> &Futures {
        &self.futures
    }

    /// What marks this pool's tasks and workers as belonging together; not 0.
    pub(super) fn tag(&self) -> u32 {
        self.tag
    }

    /// How many tasks run at once.
    #[inline]
    pub(super) fn width(&self) -> usize {
        self.config.threads
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

    /// A seat with a new slot.
    pub(super) fn new_seat(&self, spare: bool) -> Seat {
        let mut slots = self.slots.lock();
        let seat = Seat::new(slots.len(), spare);
        *slots = slots.iter().chain([seat.slot()]).cloned().collect();
        self.generation.store(slots.len(), Ordering::Release);
        seat
    }

    /// Something is queued somewhere.
    pub(super) fn has_work(&self) -> bool {
        !self.injector.is_empty() || self.slots().1.iter().any(|slot| !slot.public().is_empty())
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
        current::with_home(|home| match home {
            Some(home) if self.is(home.crew()) && !home.is_ending() => match self.injector.mode() {
                Mode::Open | Mode::Draining => {
                    home.push_task(work);
                    Ok(())
                }
                Mode::Cancelling | Mode::Closed => Err(work),
            },
            _ => self.inject(work),
        })
    }

    /// Queues work from outside, or gives it back.
    pub(super) fn inject(self: &Arc<Self>, work: Work) -> Result<(), Work> {
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
        if self.has_work() {
            self.published();
        }
    }

    /// A worker parks in a wait: its place is taken if there is work.
    pub(super) fn block(self: &Arc<Self>) {
        self.idle.block();
        self.recheck();
    }

    #[cold]
    pub(super) fn recruit(self: &Arc<Self>, need: Need) {
        match self.idle.recruit(need) {
            Recruit::Nobody => {}
            Recruit::Wake(slot) => slot.wake(),
            Recruit::Start(role) => {
                let seat = self.free.lock().pop();
                let seat = seat.unwrap_or_else(|| self.new_seat(true));
                if self.start_thread(seat, role).is_err() {
                    self.idle.stillborn(role);
                }
            }
        }
    }

    // ---- places ----------------------------------------------------------

    pub(super) fn is(self: &Arc<Self>, other: &Arc<Self>) -> bool {
        Arc::ptr_eq(self, other)
    }

    /// This thread is a worker of this pool.
    pub(super) fn is_home(self: &Arc<Self>) -> bool {
        current::with_home(|home| home.is_some_and(|home| self.is(home.crew())))
    }

    /// Runs `f` with this thread's place in the pool: its own if it is a worker
    /// or already a guest, else one lent for as long as `f` runs.
    #[inline]
    pub(super) fn seated<R>(self: &Arc<Self>, f: impl FnOnce(&Worker) -> R) -> R {
        current::with(|worker| match worker {
            Some(worker) if self.is(worker.crew()) => f(worker),
            _ => current::with_home(|home| match home {
                Some(home) if self.is(home.crew()) => current::inside(home, || f(home)),
                _ => self.as_guest(f),
            }),
        })
    }

    fn as_guest<R>(self: &Arc<Self>, f: impl FnOnce(&Worker) -> R) -> R {
        let lease = Lease::new(self);
        lease.with(|worker| current::inside(worker, || f(worker)))
    }

    /// Runs `f` on one of the pool's threads, or here if this is one, or if the
    /// pool has been shut down.
    pub(super) fn on_worker<R: Send>(self: &Arc<Self>, f: impl FnOnce(&Worker) -> R + Send) -> R {
        if self.is_home() || self.injector.mode() != Mode::Open {
            return self.seated(f);
        }
        let push = |reference| match self.inject(Work::Job(reference)) {
            Err(Work::Job(reference)) => Err(reference),
            _ => Ok(()),
        };
        Lease::new(self).with(|waiter| job::lend(waiter, f, push))
    }

    /// Runs a region: here with the others' help, unless the pool wants its work
    /// to run on its own threads only.
    #[inline]
    pub(super) fn region<R: Send>(self: &Arc<Self>, f: impl FnOnce(&Worker) -> R + Send) -> R {
        if self.config.caller_helps {
            self.seated(f)
        } else {
            self.on_worker(f)
        }
    }

    // ---- threads ---------------------------------------------------------

    fn start_thread(self: &Arc<Self>, seat: Seat, role: Role) -> io::Result<()> {
        let number = seat.slot().number();
        let builder = Builder::new()
            .name(format!("{}-{number}", self.config.name))
            .stack_size(self.config.stack_bytes());
        let crew = Arc::clone(self);
        // The seat lies in a cradle, so that it survives if there is no thread.
        let cradle = Arc::new(Mutex::new(Some(seat)));
        let theirs = Arc::clone(&cradle);
        // Under the lock: whoever joins must not miss the handle (P14).
        let mut handles = self.handles.lock();
        let started = builder.spawn(move || {
            let seat = theirs.lock().take();
            if let Some(seat) = seat {
                worker::main(crew, seat, role);
            }
        });
        let result = started.map(|handle| handles.running.push((number, handle)));
        let ended = handles.take_ended();
        drop(handles);
        if result.is_err() {
            self.free.lock().extend(cradle.lock().take());
        }
        for handle in ended {
            drop(handle.join());
        }
        result
    }

    /// A thread of the pool ends.
    pub(super) fn retired(&self, seat: Seat) {
        self.free.lock().push(seat);
    }

    pub(super) fn shutdown(self: &Arc<Self>, how: Shutdown) {
        self.injector.set_mode(match how {
            Shutdown::Wait => Mode::Draining,
            Shutdown::CancelPending => Mode::Cancelling,
        });
        if how == Shutdown::CancelPending {
            self.cancel_pending();
            self.futures.wake_all();
        }
        self.idle.closing();
        let mine = current::with_home(|home| {
            home.filter(|home| self.is(home.crew()))
                .map(Worker::slot_number)
        });
        if let Some(number) = mine {
            self.handles.lock().leaving.push(number);
            self.idle.leave();
        }
        let _blocked = Blocked::begin();
        loop {
            // The mode before anybody is told to end: what the threads' last hooks spawn is refused.
            let close = || self.injector.set_mode(Mode::Closed);
            if let Some(sleepers) = self.idle.wait_quiet(|| !self.has_work(), close) {
                sleepers.iter().for_each(|slot| slot.wake());
                break;
            }
            // Work is queued, and the system gives no thread for it. Ask again.
            self.recheck();
            std::thread::sleep(STALL);
        }
        self.join_threads(mine.is_some());
        self.futures.close(&self.injector);
    }

    /// Cancels the tasks that are queued now; later ones are cancelled by the
    /// workers that find them. What somebody waits for in a region stays.
    fn cancel_pending(self: &Arc<Self>) {
        self.idle.hold();
        let slots = self.slots().1;
        let local = slots
            .iter()
            .flat_map(|slot| std::iter::from_fn(|| slot.public().steal_task()));
        let (tasks, others): (Vec<Work>, Vec<Work>) = local
            .chain(self.injector.take_all())
            .partition(|work| matches!(work, Work::Task(_)));
        for work in others {
            self.injector.put_back(work);
        }
        self.idle.release();
        self.recheck();
        for work in tasks {
            if let Work::Task(task) = work {
                task.discard(TaskError::Cancelled);
            }
        }
    }

    /// Joins what nobody else joins, and waits for those who do.
    fn join_threads(&self, inside: bool) {
        let mut handles = self.handles.lock();
        loop {
            let mine =
                |handles: &Handles, number: usize| !inside || !handles.leaving.contains(&number);
            let next = handles
                .running
                .iter()
                .position(|&(number, _)| mine(&handles, number));
            if let Some(at) = next {
                let (number, handle) = handles.running.swap_remove(at);
                handles.joining.push(number);
                drop(handles);
                drop(handle.join());
                handles = self.handles.lock();
                handles.joining.retain(|&other| other != number);
                self.joined.notify_all();
            } else if handles.joining.iter().any(|&number| mine(&handles, number)) {
                handles = self.joined.wait(handles);
            } else {
                return;
            }
        }
    }
}

impl Handles {
    /// Those of spares that have retired.
    fn take_ended(&mut self) -> Vec<JoinHandle<()>> {
        let (ended, running) = std::mem::take(&mut self.running)
            .into_iter()
            .partition(|(_, handle)| handle.is_finished());
        self.running = running;
        let ended: Vec<(usize, JoinHandle<()>)> = ended;
        ended.into_iter().map(|(_, handle)| handle).collect()
    }
}

/// A guest's place, given back when the guest leaves, also by unwinding.
struct Lease<'a> {
    crew: &'a Arc<Crew>,
    worker: Option<Worker>,
}

impl<'a> Lease<'a> {
    fn new(crew: &'a Arc<Crew>) -> Self {
        let seat = crew.guests.lock().pop();
        let seat = seat.unwrap_or_else(|| crew.new_seat(true));
        Self {
            crew,
            worker: Some(Worker::new(Arc::clone(crew), seat, true)),
        }
    }

    fn with<R>(&self, f: impl FnOnce(&Worker) -> R) -> R {
        match &self.worker {
            Some(worker) => f(worker),
            None => unreachable!("a lease has its worker until it is dropped"),
        }
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if let Some(worker) = self.worker.take() {
            self.crew.guests.lock().push(worker.into_seat());
        }
    }
}
