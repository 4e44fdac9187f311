//! What is known of each live task: a table that the executors' events keep up to date.
//!
//! **Job.** One [`Place`] for each task that has not ended, in parts of [`BLOCK`] places, and what
//! few tasks have besides: names, calls. A task's place is the one that its id says, or one of
//! [`TRIES`] of its part or of a few others: no event of a task takes a lock, but its naming and
//! its end if it has a name. Nothing is allocated for an event, but a part when its first task
//! comes.
//!
//! **Memory.** As many parts are used as the tasks that live at once have needed: one, 384 KiB,
//! and [`GROWTH`] times as many when a task finds no place. A task keeps the place that it has got,
//! so one that is not where its id says now is where its id said when fewer parts were used. At
//! most [`SHARDS`] times [`BLOCK`] tasks have a place, 262,144: 24 MiB; of further ones only the id
//! is kept, so that the counts stay exact.
//!
//! **Edges.** An entry says what its task waits for, if it is a task:
//! - [`BLOCKED`]: a thread that runs its code has parked until the end of that task.
//! - [`INSIDE`]: a thread that runs its code runs that task on top of it, and returns to it
//!   afterwards.
//! - [`SOLE`]: it is a future that sleeps, and had only one waker when its poll ended, which it had
//!   left with that task. Whether the waker is still there is known from the other task's `waiter`.
//!
//! An entry's `turn` changes with each of these and with each event that ends them, so two looks
//! that find the same turn have found the same state all the time between them (`place` has the
//! argument). The module `stuck` follows the edges.
//!
//! **Times.** A task's run begins when its thread's previous one has ended, unless the thread has
//! slept, waited or run something else since ([`Store::did_something_else`]): so the clock, whose
//! reading is most of what an event costs, is read once for each run.
//!
//! An event that a user's allocator causes while another one is noted is ignored, if noting it may
//! take a lock or changes what the thread knows.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::panic::Location;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize}; // counters: no protocol
use std::sync::{Arc, OnceLock};

pub(super) use super::entry::{
    BLOCKED, Entry, INSIDE, LockWait, ORPHAN, PART, Phase, SOLE, THREAD, TIMED,
};
pub use super::entry::{READ, TIMER, WRITE, Wakers};
use super::id_hasher::Ids;
use super::locks::{Access, Holder, Lock, LockKind, Locks};
use super::place::{Now, Place, fence_edge};
use super::running_map::RunningMap;
use crate::clock::Clock;
use crate::event::{Frame, Kind, Role, Site};
use crate::loom::{Mutex, MutexGuard, per_thread, thread};
use crate::role;
use crate::switch;
use crate::sys::fork::PerProcess;

/// How many parts the table has.
pub(super) const SHARDS: usize = 64;

/// The ids of a block have the same part, and each its place. (A thread takes its ids in blocks.)
const BLOCK: usize = 1 << 12;

/// How far the places of one block are from those of the one before, if they have the same part:
/// threads that spawn at once use different lines of the cache.
const STRIDE: usize = 1031;

/// How many times as many parts are used when they are too few; a power of two whose power
/// [`SHARDS`] is.
const GROWTH: usize = 4;

/// How many places a task may have: its own, and if that is taken, others this far apart.
const TRIES: usize = 8;
const APART: usize = 257;

static STORE: PerProcess<Store> = PerProcess::new();

/// What a thread does outside tasks.
#[derive(Clone)]
pub(super) struct OutsideThread {
    pub(super) name: String,
    pub(super) entry: Entry,
}

/// The same, as the thread keeps it up to date.
struct Outside {
    name: String,
    place: Place,
}

/// A thread that has run a task.
#[derive(Clone)]
pub(super) struct ThreadInfo {
    pub(super) name: String,
    pub(super) role: Role,
}

/// A thread's place in the table of threads.
pub(super) struct Seat {
    pub(super) info: ThreadInfo,
    /// The innermost task whose code runs on the thread; 0: none.
    pub(super) runs: AtomicU64, // no protocol
    /// How often a task's code has begun there.
    pub(super) begun: AtomicU64, // no protocol
}

/// Items that a worker process has been sent and has not answered.
#[derive(Clone, Copy)]
pub(super) struct SentItems {
    pub(super) frame: Frame,
    pub(super) first: usize,
    pub(super) since: u64,
}

/// A part of the table.
struct Part {
    /// Made when the part's first task comes.
    places: OnceLock<Box<[Place]>>,
    /// How many ids `Rare::bare` has.
    bare: AtomicUsize, // no protocol
    rare: Mutex<Rare>,
}

/// What few tasks have.
#[derive(Default)]
struct Rare {
    /// The tasks of which only the id is kept.
    bare: HashSet<u64, Ids>,
    more: HashMap<u64, More, Ids>,
    steps: HashMap<u64, Steps, Ids>,
}

#[derive(Default)]
struct More {
    name: Option<Box<str>>,
    /// The job in a process pool that the task stands for: a pool and a number.
    job: Option<(u32, u32)>,
    /// How many locks it has taken and not released.
    held: u32,
}

/// The steps that a task is in, the oldest first; those that were begun when there were
/// [`STEPS`] are not among them.
pub(super) type Steps = [Option<StepInfo>; STEPS];

/// How many steps of a task are known.
const STEPS: usize = 4;

/// A step of a task.
#[derive(Clone, Copy)]
pub(super) struct StepInfo {
    number: u64,
    pub(super) name: &'static str,
    pub(super) since: u64,
}

pub(crate) struct Store {
    pub(super) clock: Clock,
    parts: [Part; SHARDS],
    /// How many of them have places for new tasks. It only grows, and whoever knows a task sees at
    /// least what was used when the task got its place.
    used: AtomicUsize, // no protocol
    /// Threads that have run a task, sorted by their numbers.
    threads: Mutex<Vec<(u32, Arc<Seat>)>>,
    /// Sorted by process ids.
    sent: Mutex<Vec<(u32, VecDeque<SentItems>)>>,
    /// The tasks that stand for jobs in process pools: the reverse of [`More::job`].
    callers: Mutex<HashMap<(u32, u32), u64>>,
    /// Threads that have waited, or taken a lock, outside tasks, sorted by their numbers.
    outside: Mutex<Vec<(u64, Arc<Outside>)>>,
    pub(crate) locks: Locks,
    /// Each `map` and `imap` that runs, in the order in which they began.
    pub(super) running: Mutex<Vec<Arc<RunningMap>>>,
}

/// A copy of everything, or of some parts.
#[derive(Default)]
pub(super) struct Copied {
    pub(super) tasks: Vec<(u64, Entry)>,
    pub(super) names: Vec<(u64, Box<str>)>,
    pub(super) steps: Vec<(u64, Steps)>,
    pub(super) bare: u64,
    pub(super) threads: Vec<(u32, ThreadInfo)>,
    pub(super) sent: Vec<(u32, SentItems, Option<u64>)>,
    pub(super) outside: Vec<(u64, OutsideThread)>,
}

/// The state of one thread.
struct Here {
    /// The address of the store that the rest is about: a forked child has another one.
    store: usize,
    /// The tasks whose code runs on this thread, the innermost last.
    stack: Vec<Runs>,
    number: Option<ThreadNumber>,
    outside: Option<OutsideNumber>,
    /// What the innermost task waits for besides tasks: [`TIMER`], [`READ`], [`WRITE`].
    kinds: u8,
    /// The lock that its waker was left with last.
    wait: Option<LockWait>,
    /// When the last run of a task ended here, if the thread has done nothing else since; or else
    /// 0.
    last: u64,
}

/// A task that runs on a thread.
#[derive(Clone, Copy)]
struct Runs {
    id: u64,
    /// `None`: no more than its id is kept.
    place: Option<&'static Place>,
}

/// This thread's number. It is free for another thread when this is dropped.
struct ThreadNumber(&'static Store, u32, Arc<Seat>);

impl Drop for ThreadNumber {
    fn drop(&mut self) {
        // (The lock of a parent process's store may be held for ever.)
        if let Some(store) = STORE.get()
            && std::ptr::eq(store, self.0)
        {
            take_out(&mut store.threads.lock(), self.1);
        }
    }
}

/// This thread's number for what it does outside tasks; free again when this is dropped.
struct OutsideNumber(&'static Store, u64, Arc<Outside>);

impl Drop for OutsideNumber {
    fn drop(&mut self) {
        if let Some(store) = STORE.get()
            && std::ptr::eq(store, self.0)
        {
            take_out(&mut store.outside.lock(), self.1);
        }
    }
}

/// The place of what has this number in a list that is sorted by numbers, or where it would be.
fn place_of<N: Ord + Copy, T>(list: &[(N, T)], number: N) -> Result<usize, usize> {
    list.binary_search_by_key(&number, |(number, _)| *number)
}

/// What has this number in such a list.
pub(super) fn at<N: Ord + Copy, T>(list: &[(N, T)], number: N) -> Option<&T> {
    Some(&list[place_of(list, number).ok()?].1)
}

fn take_out<N: Ord + Copy, T>(list: &mut Vec<(N, T)>, number: N) {
    if let Ok(at) = place_of(list, number) {
        list.remove(at);
    }
}

per_thread! {
    static HERE: RefCell<Here> = RefCell::new(Here {
        store: 0,
        stack: Vec::new(),
        number: None,
        outside: None,
        kinds: 0,
        wait: None,
        last: 0,
    });
}

/// The store, once tasks are kept track of. (A signal that begins that makes none.)
#[inline]
pub(crate) fn store() -> &'static Store {
    STORE.get_or_init(Store::new)
}

/// The store, if there is one.
pub(crate) fn made() -> Option<&'static Store> {
    STORE.get()
}

/// Begins to keep track of tasks.
pub(super) fn wake() -> &'static Store {
    let store = store();
    switch::track_tasks();
    store
}

impl Store {
    #[cold]
    pub(super) fn new() -> Self {
        Self {
            clock: Clock::start(),
            parts: std::array::from_fn(|_| Part {
                places: OnceLock::new(),
                bare: AtomicUsize::new(0),
                rare: Mutex::default(),
            }),
            used: AtomicUsize::new(1),
            threads: Mutex::default(),
            sent: Mutex::default(),
            callers: Mutex::default(),
            outside: Mutex::default(),
            locks: Locks::default(),
            running: Mutex::default(),
        }
    }

    #[inline]
    fn part(&self, id: u64) -> &Part {
        &self.parts[id as usize / BLOCK % SHARDS]
    }

    /// The places that a task may have while so many parts are `used`: some in its own part and in
    /// a few that are far from it. Without `make`, only in those that were made.
    fn candidates(&self, id: u64, used: usize, make: bool) -> impl Iterator<Item = &Place> {
        let (_, own) = self.own(id, used);
        let block = id as usize / BLOCK;
        let parts = (0..used.min(GROWTH)).map(move |n| block + n * used / GROWTH);
        let parts = parts.filter_map(move |part| {
            let places = &self.parts[part & (used - 1)].places;
            if make {
                Some(places.get_or_init(|| (0..BLOCK).map(|_| Place::new()).collect()))
            } else {
                places.get()
            }
        });
        parts.flat_map(move |places| tries(places, own))
    }

    /// The places of a task's part while so many parts are `used`, and which one its id says.
    #[inline]
    fn own(&self, id: u64, used: usize) -> (&OnceLock<Box<[Place]>>, usize) {
        let (id, block) = (id as usize, id as usize / BLOCK);
        let places = &self.parts[block & (used - 1)].places;
        (places, id.wrapping_add(block % SHARDS * STRIDE) % BLOCK)
    }

    /// The place of a task, if it has one.
    #[inline]
    fn find(&self, id: u64) -> Option<&Place> {
        let used = self.used.load(Relaxed);
        let (places, own) = self.own(id, used);
        match places.get().map(|places| &places[own]) {
            Some(own) if own.is_of(id) => Some(own),
            _ => self.find_apart(id, used),
        }
    }

    #[cold]
    #[inline(never)]
    fn find_apart(&self, id: u64, used: usize) -> Option<&Place> {
        let before = |used: &usize| (*used > 1).then(|| used / GROWTH);
        std::iter::successors(Some(used), before)
            .flat_map(|used| self.candidates(id, used, false))
            .find(|place| place.is_of(id))
    }

    /// A copy of what is known of a task, or of a thread outside tasks.
    pub(super) fn entry(&self, id: u64) -> Option<Entry> {
        match id {
            0 => None, // it is not known whose code it is
            id if id & THREAD != 0 => Some(self.outside(id)?.entry),
            id => self.find(id)?.read(id),
        }
    }

    /// Whether the task has ended.
    pub(super) fn has_ended(&self, id: u64) -> bool {
        self.find(id).is_none() && !self.is_bare(id)
    }

    /// Whether this task or thread may wait for something that never comes: if not, no way from it
    /// leads to a deadlock.
    pub(crate) fn leads_on(&self, who: u64) -> bool {
        who & THREAD != 0 || self.find(who).is_some_and(Place::leads_on)
    }

    /// Whether others may wait for a lock that it holds, or behind it as a writer.
    pub(super) fn may_hold(&self, who: u64, entry: &Entry) -> bool {
        let writes =
            |wait: LockWait| (wait.lock.kind, wait.access) == (LockKind::RwLock, Access::Alone);
        let holds = || {
            let rare = self.part(who).rare.lock();
            rare.more.get(&who).is_some_and(|more| more.held > 0)
        };
        who & THREAD != 0 || entry.wait.is_some_and(writes) || holds()
    }

    /// The thread pool whose worker has run this task last.
    pub(super) fn pool(&self, who: u64) -> Option<u32> {
        match self.thread(self.entry(who)?.thread)?.role {
            Role::Worker { pool, .. } => Some(pool),
            _ => None,
        }
    }

    /// Whether this thread runs this task, and on top of nothing else.
    pub(super) fn runs_alone(&'static self, id: u64) -> bool {
        let mut is_alone = false;
        self.here(|here| {
            is_alone = here.outside.is_none() && matches!(&*here.stack, [one] if one.id == id);
        });
        is_alone
    }

    /// Changes what code waits for, in the middle of its run, which the caller is a part of.
    fn change(&self, who: u64, change: impl FnOnce(&mut Entry)) {
        match who {
            0 => {} // it is not known whose code it is
            who if who & THREAD != 0 => {
                if let Some(thread) = self.find_outside(who) {
                    thread.place.change(change);
                }
            }
            who => {
                if let Some(place) = self.find(who) {
                    place.change(change);
                }
            }
        }
    }

    /// Where the store keeps more about a task, which is removed at the task's end. `None`: it has
    /// ended.
    fn keep_more(&self, id: u64) -> Option<MutexGuard<'_, Rare>> {
        let rare = self.part(id).rare.lock();
        let stays = match self.find(id) {
            Some(place) => place.set_more(id),
            None => rare.bare.contains(&id),
        };
        stays.then_some(rare)
    }

    /// Gives a task a place. `None`: no more than its id is kept.
    fn insert(&self, id: u64, entry: &Entry) -> Option<&Place> {
        let mut used = self.used.load(Relaxed);
        loop {
            let mut candidates = self.candidates(id, used, true);
            if let Some(taken) = candidates.find(|place| place.occupy(id, entry)) {
                return Some(taken);
            }
            if used == SHARDS {
                break;
            }
            used *= GROWTH;
            self.used.fetch_max(used, Relaxed);
        }
        let part = self.part(id);
        if part.rare.lock().bare.insert(id) {
            part.bare.fetch_add(1, Relaxed);
        }
        None
    }

    fn is_bare(&self, id: u64) -> bool {
        let part = self.part(id);
        part.bare.load(Relaxed) > 0 && part.rare.lock().bare.contains(&id)
    }

    /// Calls `f` with what this thread knows, unless it is in such a call already, or ends.
    #[inline(always)]
    fn here(&'static self, f: impl FnOnce(&mut Here)) {
        let _ = HERE.try_with(|here| {
            let Ok(mut here) = here.try_borrow_mut() else {
                return;
            };
            let address = std::ptr::from_ref(self).addr();
            if here.store != address {
                here.begin(address);
            }
            f(&mut here);
        });
    }

    /// This thread's number.
    #[inline]
    fn seat<'a>(&'static self, here: &'a mut Here) -> &'a ThreadNumber {
        here.number.get_or_insert_with(|| self.take_seat())
    }

    #[cold]
    fn take_seat(&'static self) -> ThreadNumber {
        static NEXT: AtomicU32 = AtomicU32::new(0); // no protocol
        let seat = Arc::new(Seat {
            info: ThreadInfo {
                name: thread::current().name().unwrap_or_default().to_owned(),
                role: role::current(),
            },
            runs: AtomicU64::new(0),
            begun: AtomicU64::new(0),
        });
        let mut threads = self.threads.lock();
        let number = NEXT.fetch_add(1, Relaxed); // under the lock: the list is sorted
        threads.push((number, Arc::clone(&seat)));
        drop(threads);
        ThreadNumber(self, number, seat)
    }

    // ---- events ------------------------------------------------------------

    pub(crate) fn spawned(&'static self, id: u64, parent: u64, site: Site, kind: Kind) {
        self.here(|_| {
            let entry = Entry::new(parent, site, kind, self.clock.now());
            let _place = self.insert(id, &entry);
        });
    }

    /// A task that is older than the store has its place from its first run on.
    #[inline(always)]
    pub(crate) fn begun(&'static self, id: u64, site: Site, kind: Kind) {
        self.here(|here| {
            let at = match here.last {
                0 => self.clock.now(),
                last => last,
            };
            here.last = 0;
            let &ThreadNumber(_, thread, ref seat) = self.seat(here);
            seat.runs.store(id, Relaxed);
            seat.begun.store(seat.begun.load(Relaxed) + 1, Relaxed); // this thread alone writes
            let place = match self.find(id) {
                None => self.insert_older(id, site, kind, at),
                place => place,
            };
            if let Some(place) = place {
                place.begin(at, thread);
            }
            here.change_outer(|entry| entry.waits(id, INSIDE));
            here.stack.push(Runs { id, place });
            (here.kinds, here.wait) = (0, None);
        });
    }

    #[cold]
    #[inline(never)]
    fn insert_older(&self, id: u64, site: Site, kind: Kind, at: u64) -> Option<&Place> {
        if self.is_bare(id) {
            None
        } else {
            self.insert(id, &Entry::new(0, site, kind, at))
        }
    }

    /// Its code has stopped running, and it has ended. Returns whether it has not released what it
    /// has locked.
    pub(crate) fn ended(&'static self, id: u64) -> bool {
        let mut leaves_locks = false;
        self.here(|here| {
            let place = self.leave(here, id);
            (here.kinds, here.wait) = (0, None);
            if here.goes_on() {
                here.last = self.clock.now();
            }
            leaves_locks = self.remove(id, place);
        });
        leaves_locks
    }

    /// Its poll has ended, and it waits. `on`: the task that it has left its waker with last.
    /// Returns whether it may wait for something that never comes.
    #[inline(always)]
    pub(crate) fn paused(&'static self, id: u64, on: u64, wakers: Wakers) -> bool {
        let mut may_be_stuck = false;
        self.here(|here| {
            let kinds = u16::from(std::mem::take(&mut here.kinds));
            let wait = here.wait.take();
            let flags = kinds | wakers.flag();
            self.end_poll(here, id, |since| Now {
                phase: Phase::Waiting,
                since,
                on,
                wait,
                flags,
            });
            // Nobody holds what a task waits to be given by anyone: no way leads there.
            let is_held = wait.is_some_and(|wait| wait.access != Access::Turn);
            if wakers == Wakers::None || wakers == Wakers::One && (on != 0 || is_held) {
                fence_edge();
                may_be_stuck = wakers == Wakers::None || is_held || self.leads_on(on);
            }
        });
        may_be_stuck
    }

    /// Its poll has ended, and it is queued again.
    #[inline(always)]
    pub(crate) fn queued_again(&'static self, id: u64) {
        self.here(|here| {
            (here.kinds, here.wait) = (0, None);
            self.end_poll(here, id, |since| Now {
                phase: Phase::Queued,
                since,
                on: 0,
                wait: None,
                flags: 0,
            });
        });
    }

    #[inline(always)]
    fn end_poll(&'static self, here: &mut Here, id: u64, now: impl FnOnce(u64) -> Now) {
        let place = self.leave(here, id);
        let since = self.clock.now();
        if here.goes_on() {
            here.last = since;
        }
        if let Some(place) = place {
            place.end(&now(since));
        }
    }

    /// A run of this task has ended on this thread.
    #[inline(always)]
    fn leave(&'static self, here: &mut Here, id: u64) -> Option<&'static Place> {
        let runs = here.stack.pop_if(|runs| runs.id == id);
        let Some(runs) = runs else {
            return self.find(id); // it has begun before the store was made
        };
        here.change_outer(|entry| entry.waits(0, 0));
        if let Some(ThreadNumber(.., seat)) = &here.number {
            let outer = here.stack.last();
            seat.runs.store(outer.map_or(0, |outer| outer.id), Relaxed);
        }
        runs.place
    }

    /// This thread sleeps, waits, or runs something that is no task.
    pub(crate) fn did_something_else(&'static self) {
        self.here(|here| here.last = 0);
    }

    /// It has ended, or is gone; returns whether it has not released what it has locked.
    pub(crate) fn settled(&'static self, id: u64) -> bool {
        let mut leaves_locks = false;
        self.here(|_| leaves_locks = self.remove(id, self.find(id)));
        leaves_locks
    }

    fn remove(&self, id: u64, place: Option<&Place>) -> bool {
        let part = self.part(id);
        let has_more = match place {
            Some(place) => place.free(),
            None => part.bare.load(Relaxed) > 0,
        };
        if !has_more {
            return false;
        }
        let mut rare = part.rare.lock();
        if place.is_none() && rare.bare.remove(&id) {
            part.bare.fetch_sub(1, Relaxed);
        }
        rare.steps.remove(&id);
        let more = rare.more.remove(&id).unwrap_or_default();
        drop(rare);
        if let Some(job) = more.job {
            self.callers.lock().remove(&job);
        }
        let leaves_locks = more.held > 0;
        if leaves_locks {
            fence_edge();
        }
        // The output of `block_on` may be a guard, which is then the caller's.
        let is_root = place.is_some_and(Place::is_root);
        if leaves_locks && is_root {
            self.locks.disown(id);
        }
        leaves_locks && !is_root
    }

    /// It is about to be cancelled.
    pub(crate) fn cancelled(&self, id: u64) {
        if let Some(place) = self.find(id) {
            place.cancel();
        }
    }

    /// Somebody gets an `AbortHandle` of it.
    pub(crate) fn abortable(&self, id: u64) {
        if let Some(place) = self.find(id) {
            place.abortable();
        }
    }

    pub(crate) fn woken(&'static self, id: u64) {
        if let Some(place) = self.find(id) {
            place.wake(self.clock.now());
        }
    }

    pub(crate) fn named(&'static self, id: u64, name: &str) {
        self.here(|_| {
            let Some(place) = self.find(id) else {
                return;
            };
            if !place.has_name() {
                place.set_name(); // the first one stays
                if let Some(mut rare) = self.keep_more(id) {
                    let more = rare.more.entry(id).or_default();
                    more.name.get_or_insert_with(|| name.into());
                }
            }
        });
    }

    /// The task `id` is in a step from now on. Returns the step's number.
    pub(crate) fn step_begins(&'static self, id: u64, name: &'static str) -> Option<u64> {
        static NEXT: AtomicU64 = AtomicU64::new(0); // no protocol
        let mut begun = None;
        self.here(|_| {
            if self.find(id).is_none() {
                return;
            }
            let (number, since) = (NEXT.fetch_add(1, Relaxed), self.clock.now());
            let Some(mut rare) = self.keep_more(id) else {
                return;
            };
            let steps = rare.steps.entry(id).or_default();
            if let Some(free) = steps.iter_mut().find(|step| step.is_none()) {
                *free = Some(StepInfo {
                    number,
                    name,
                    since,
                });
                begun = Some(number);
            }
        });
        begun
    }

    /// That step has ended.
    pub(crate) fn step_ends(&'static self, id: u64, number: u64) {
        self.here(|_| {
            let mut rare = self.part(id).rare.lock();
            let Some(steps) = rare.steps.get_mut(&id) else {
                return;
            };
            let is_it = |step: &Option<StepInfo>| step.is_some_and(|step| step.number == number);
            if let Some(place) = steps.iter().position(is_it) {
                steps[place..].rotate_left(1);
                steps[STEPS - 1] = None;
            }
            if steps[0].is_none() {
                rare.steps.remove(&id);
            }
        });
    }

    /// The future that is polled on this thread waits for an event of this kind.
    pub(crate) fn waits_for(&'static self, kind: u8) {
        self.here(|here| here.kinds |= kind);
    }

    /// The task whose code runs on this thread, or else this thread; 0: it is not known whose code
    /// runs, because a worker also runs parts of tasks that are elsewhere.
    fn code(&'static self, here: &mut Here) -> u64 {
        if let Some(runs) = here.stack.last() {
            return runs.id;
        }
        if role::current() != Role::Outside {
            return 0;
        }
        let number = here.outside.get_or_insert_with(|| self.take_outside());
        number.1
    }

    #[cold]
    fn take_outside(&'static self) -> OutsideNumber {
        static NEXT: AtomicU64 = AtomicU64::new(1); // no protocol
        let mut entry = Entry::new(0, Location::caller(), Kind::Root, self.clock.now());
        entry.phase = Phase::Running;
        let thread = Arc::new(Outside {
            name: thread::current().name().unwrap_or_default().to_owned(),
            place: Place::new(),
        });
        let mut outside = self.outside.lock();
        let number = NEXT.fetch_add(1, Relaxed); // under the lock: the list is sorted
        thread.place.occupy(number, &entry);
        let number = number | THREAD;
        outside.push((number, Arc::clone(&thread)));
        drop(outside);
        OutsideNumber(self, number, thread)
    }

    /// The code of `id`, or of this thread if that is 0, parks until the end of `on`. Returns whose
    /// code it is.
    pub(crate) fn blocks(&'static self, id: u64, on: u64, is_timed: bool) -> u64 {
        let mut who = id;
        self.here(|here| {
            let code = self.code(here);
            if who == 0 {
                who = code;
            }
            let timed = if is_timed { TIMED } else { 0 };
            let part = if who == code { 0 } else { PART };
            self.change(who, |entry| entry.waits(on, BLOCKED | timed | part));
            if let Some(place) = self.find(on) {
                place.leave_waker(who);
            }
        });
        fence_edge();
        who
    }

    /// The code of `id`, or of this thread if that is 0, goes on.
    pub(crate) fn unblocks(&'static self, id: u64) {
        self.here(|here| {
            let who = match id {
                0 => self.code(here),
                id => id,
            };
            self.change(who, |entry| entry.waits(0, 0));
        });
    }

    /// No waker is left of a future that sleeps.
    pub(crate) fn orphaned(&'static self, id: u64) {
        if let Some(place) = self.find(id) {
            place.orphan(id);
        }
        fence_edge();
    }

    /// The code that runs here has taken a lock. `mark`: that of its task. Returns whose code it
    /// is.
    pub(crate) fn lock_taken(
        &'static self,
        lock: Lock,
        access: Access,
        mark: usize,
        is_kept: bool,
    ) -> u64 {
        let mut by = 0;
        self.here(|here| {
            by = self.code(here);
            if by != 0
                && by & THREAD == 0
                && let Some(mut rare) = self.keep_more(by)
            {
                rare.more.entry(by).or_default().held += 1;
            }
        });
        let holder = Holder {
            by,
            serial: 0,
            mark,
            access,
            is_kept: is_kept && by != 0,
        };
        self.locks.add(lock, holder);
        by
    }

    /// The lock that `by` has taken is about to be released.
    pub(crate) fn lock_released(
        &'static self,
        address: usize,
        access: Access,
        by: u64,
        mark: usize,
    ) {
        let holder = self.locks.take_out(address, by, access);
        self.here(|here| {
            if by & THREAD == 0 {
                let mut rare = self.part(by).rare.lock();
                if let Some(more) = rare.more.get_mut(&by) {
                    more.held = more.held.saturating_sub(1); // it may be older than the store
                    if let (0, None, None) = (more.held, &more.name, more.job) {
                        rare.more.remove(&by);
                    }
                }
            }
            let Some((holder, made_at)) = holder.filter(|(holder, _)| holder.is_kept) else {
                return;
            };
            let is_another_thread = by & THREAD != 0 && by != self.code(here);
            if mark != holder.mark || is_another_thread {
                self.locks.was_given_away(made_at);
            }
        });
    }

    /// A writer begins to wait for a lock. Returns who it is, if it is the code that runs here.
    pub(crate) fn writer_comes(&'static self, lock: Lock, is_own: bool) -> u64 {
        let mut who = 0;
        if is_own {
            self.here(|here| who = self.code(here));
        }
        self.locks.add_writer(lock, who);
        who
    }

    /// The future that is polled on this thread has left its task's waker with a lock.
    pub(crate) fn lock_awaited(&'static self, lock: Lock, access: Access) {
        self.locks.count_wait(access, 1);
        self.here(|here| here.wait = Some(LockWait { lock, access }));
    }

    /// It does not wait for that lock any more.
    pub(crate) fn lock_left(&'static self, lock: Lock, access: Access) {
        self.locks.count_wait(access, -1);
        self.here(|here| {
            if here
                .wait
                .is_some_and(|wait| wait.lock.address == lock.address)
            {
                here.wait = None;
            }
        });
    }

    /// The code that runs here parks until it gets the lock. Returns whose code it is.
    pub(crate) fn lock_blocks(&'static self, lock: Lock, access: Access) -> u64 {
        let mut who = 0;
        let wait = LockWait { lock, access };
        self.locks.count_wait(access, 1);
        self.here(|here| {
            who = self.code(here);
            self.change(who, |entry| {
                if who & THREAD != 0 {
                    entry.since = self.clock.now();
                }
                entry.waits(0, BLOCKED);
                entry.wait = Some(wait);
            });
        });
        fence_edge();
        who
    }

    /// The code of `who` looks at the lock again.
    pub(crate) fn lock_unblocks(&'static self, who: u64, access: Access) {
        self.locks.count_wait(access, -1);
        self.here(|_| self.change(who, |entry| entry.waits(0, 0)));
    }

    /// Everybody who waits for one of these locks.
    pub(super) fn who_waits_at(&self, addresses: &[usize]) -> Vec<u64> {
        let is_there = |place: &Place| place.lock().is_some_and(|lock| addresses.contains(&lock));
        let mut who = Vec::new();
        for place in self.parts.iter().flat_map(Part::places) {
            if is_there(place) && place.id() != 0 {
                who.push(place.id());
            }
        }
        for (number, thread) in self.outside.lock().iter() {
            if is_there(&thread.place) {
                who.push(*number);
            }
        }
        who
    }

    /// A waker was left with `id`. `is_own`: that of the code that runs here.
    pub(crate) fn registered(&'static self, id: u64, is_own: bool) {
        if let Some(place) = self.find(id) {
            let waiter = is_own.then(|| self.current()).flatten();
            place.leave_waker(waiter.unwrap_or(0));
        }
    }

    pub(crate) fn called(&'static self, pool: u32, job: u32, id: u64) {
        self.here(|_| {
            if let Some(mut rare) = self.keep_more(id) {
                rare.more.entry(id).or_default().job = Some((pool, job));
                drop(rare);
                self.callers.lock().insert((pool, job), id);
            }
        });
    }

    pub(crate) fn sent(&'static self, frame: Frame, first: usize) {
        self.here(|_| {
            let since = self.clock.now();
            let items = SentItems {
                frame,
                first,
                since,
            };
            let mut sent = self.sent.lock();
            let place = place_of(&sent, frame.pid).unwrap_or_else(|place| {
                sent.insert(place, (frame.pid, VecDeque::new()));
                place
            });
            sent[place].1.push_back(items);
        });
    }

    pub(crate) fn answered(&'static self, pid: u32, sequence: u32) {
        self.here(|_| {
            let at = self.clock.now();
            let mut sent = self.sent.lock();
            if let Ok(place) = place_of(&sent, pid) {
                let queue = &mut sent[place].1;
                queue.retain(|items| items.frame.sequence != sequence);
                match queue.front_mut() {
                    Some(next) => next.since = at, // it begins now
                    None => _ = sent.remove(place),
                }
            }
        });
    }

    pub(crate) fn died(&'static self, pid: u32) {
        self.here(|_| take_out(&mut self.sent.lock(), pid));
    }

    // ---- looks -------------------------------------------------------------

    pub(super) fn thread(&self, number: u32) -> Option<ThreadInfo> {
        Some(at(&self.threads.lock(), number)?.info.clone())
    }

    /// All threads that have run a task and have not ended.
    pub(super) fn seats(&self) -> Vec<Arc<Seat>> {
        let threads = self.threads.lock();
        threads.iter().map(|(_, seat)| Arc::clone(seat)).collect()
    }

    /// What worker processes have got and have not answered, sorted by process id and then in the
    /// order in which they got it, and the task that stands for it.
    pub(super) fn sent_items(&self) -> Vec<(u32, SentItems, Option<u64>)> {
        let (callers, sent) = (self.callers.lock(), self.sent.lock());
        let mut all = Vec::new();
        for (pid, queue) in sent.iter() {
            for items in queue {
                let task = callers.get(&(items.frame.pool, items.frame.job));
                all.push((*pid, *items, task.copied()));
            }
        }
        all
    }

    /// Those who wait, at most so many.
    pub(super) fn who_waits(&self, most: usize) -> Vec<u64> {
        let waits = |entry: &Entry| entry.phase == Phase::Waiting || entry.flags & BLOCKED != 0;
        let mut who = Vec::new();
        for (number, thread) in self.outsiders() {
            if waits(&thread.entry) {
                who.push(number);
            }
        }
        let places = self.parts.iter().flat_map(Part::places);
        for (id, entry) in places.filter_map(Place::entry) {
            if who.len() >= most {
                break;
            }
            if waits(&entry) {
                who.push(id);
            }
        }
        who.truncate(most);
        who
    }

    /// A thread outside tasks, by its number.
    pub(super) fn outside(&self, number: u64) -> Option<OutsideThread> {
        self.find_outside(number)?.read(number)
    }

    fn find_outside(&self, number: u64) -> Option<Arc<Outside>> {
        at(&self.outside.lock(), number).map(Arc::clone)
    }

    fn outsiders(&self) -> Vec<(u64, OutsideThread)> {
        let outside = self.outside.lock();
        let read = |(number, thread): &(u64, Arc<Outside>)| Some((*number, thread.read(*number)?));
        outside.iter().filter_map(read).collect()
    }

    /// The task whose code runs on this thread.
    pub(super) fn current(&'static self) -> Option<u64> {
        let mut current = None;
        self.here(|here| current = here.stack.last().map(|runs| runs.id));
        current
    }

    pub(super) fn name(&self, id: u64) -> Option<Box<str>> {
        self.part(id).rare.lock().more.get(&id)?.name.clone()
    }

    pub(super) fn steps(&self, id: u64) -> Steps {
        let rare = self.part(id).rare.lock();
        rare.steps.get(&id).copied().unwrap_or_default()
    }

    /// A copy of everything, part by part.
    pub(super) fn copy(&self) -> Copied {
        let mut copied = Copied::default();
        for part in 0..SHARDS {
            self.copy_part(part, &mut copied);
        }
        copied.sent = self.sent_items();
        copied.outside = self.outsiders();
        copied
    }

    /// Adds a copy of one part.
    pub(super) fn copy_part(&self, part: usize, copied: &mut Copied) {
        if copied.threads.is_empty() {
            let threads = self.threads.lock();
            let info = |(number, seat): &(u32, Arc<Seat>)| (*number, seat.info.clone());
            copied.threads = threads.iter().map(info).collect();
        }
        let part = &self.parts[part];
        for place in part.places() {
            copied.tasks.extend(place.entry());
            if let Some(id) = place.has_more() {
                let rare = self.part(id).rare.lock();
                let name = rare.more.get(&id).and_then(|more| more.name.clone());
                copied.names.extend(name.map(|name| (id, name)));
                copied
                    .steps
                    .extend(rare.steps.get(&id).map(|steps| (id, *steps)));
            }
        }
        copied.bare += part.bare.load(Relaxed) as u64;
    }
}

/// Where the task may be whose `own` place this is.
fn tries(places: &[Place], own: usize) -> impl Iterator<Item = &Place> {
    (0..TRIES).map(move |n| &places[(own + n * APART) % BLOCK])
}

impl Part {
    fn places(&self) -> &[Place] {
        self.places.get().map_or(&[], |places| places)
    }
}

impl Outside {
    fn read(&self, number: u64) -> Option<OutsideThread> {
        Some(OutsideThread {
            name: self.name.clone(),
            entry: self.place.read(number & !THREAD)?,
        })
    }
}

impl Runs {
    fn change(&self, change: impl FnOnce(&mut Entry)) {
        if let Some(place) = self.place {
            place.change(change);
        }
    }
}

impl Here {
    /// Changes what waits while the innermost task runs: the task that it runs on top of, or this
    /// thread.
    #[inline]
    fn change_outer(&self, change: impl FnOnce(&mut Entry)) {
        match (self.stack.last(), &self.outside) {
            (Some(outer), _) => outer.change(change),
            (None, Some(OutsideNumber(.., thread))) => thread.place.change(change),
            (None, None) => {}
        }
    }

    /// Whether this thread does nothing but run tasks, and runs none now: its next one begins at
    /// once.
    #[inline]
    fn goes_on(&self) -> bool {
        self.stack.is_empty() && matches!(role::current(), Role::Loop | Role::Worker { .. })
    }

    /// In a forked child: what the thread knows is about the parent's store.
    #[cold]
    #[inline(never)]
    fn begin(&mut self, store: usize) {
        (self.number, self.outside) = (None, None);
        self.stack.clear();
        (self.store, self.last) = (store, 0);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_place_takes_twelve_words() {
        assert!(size_of::<Place>() <= 96);
    }

    /// Gives the tasks with these ids places.
    fn spawn(store: &Store, ids: std::ops::Range<u64>) -> usize {
        let site = Location::caller();
        let placed = ids.filter(|id| {
            let entry = Entry::new(0, site, Kind::Closure, 0);
            store.insert(*id, &entry).is_some()
        });
        placed.count()
    }

    fn parts(store: &Store) -> usize {
        let made = store
            .parts
            .iter()
            .filter(|part| part.places.get().is_some());
        made.count()
    }

    #[test]
    fn the_places_are_as_many_as_the_tasks_that_live_at_once() {
        let store = Store::new();
        // Three threads, each with a block of ids, and a hundred live tasks.
        let live = |block: u64, at: u64| (3 * (at >> 12) + block) << 12 | at & 0xfff;
        for at in 1..100_000 {
            for block in 0..3 {
                let id = live(block, at);
                assert_eq!(spawn(&store, id..id + 1), 1);
                if let Some(ends) = at.checked_sub(33).filter(|ends| *ends > 0) {
                    store.remove(live(block, ends), store.find(live(block, ends)));
                }
            }
        }
        assert_eq!(parts(&store), 1);
    }

    #[test]
    fn a_task_is_found_wherever_it_has_got_its_place() {
        let store = Store::new();
        let most = (SHARDS * BLOCK) as u64;
        for (live, made) in [
            (4095, 1),
            (4200, 2),
            (16_000, 4),
            (60_000, 16),
            (most - 1, 64),
        ] {
            let first = (1..live).find(|id| store.has_ended(*id)).unwrap_or(live);
            assert_eq!(spawn(&store, first..live + 1) as u64, live + 1 - first);
            assert!(parts(&store) <= made, "{live}: {}", parts(&store));
        }
        assert!((1..most).all(|id| store.find(id).is_some_and(|place| place.is_of(id))));
        let (mut copied, mut ids) = (Copied::default(), HashSet::new());
        (0..SHARDS).for_each(|part| store.copy_part(part, &mut copied));
        assert!(copied.tasks.iter().all(|(id, _)| ids.insert(*id)));
        assert_eq!((ids.len() as u64, copied.bare), (most - 1, 0));
        // What ends makes room, wherever it was, and there is no more than that.
        for id in 1..most {
            store.remove(id, store.find(id));
        }
        assert_eq!(spawn(&store, most..2 * most) as u64, most);
        assert_eq!(spawn(&store, 2 * most..2 * most + 9), 0);
        assert!(!store.has_ended(2 * most) && store.has_ended(1));
    }

    #[test]
    fn a_block_that_others_have_filled_has_places_elsewhere() {
        for others in [3_500, 4_500, 10_000, 50_000] {
            let store = Store::new();
            assert_eq!(spawn(&store, 1..11), 10);
            assert_eq!(spawn(&store, 4096..4096 + others) as u64, others);
            assert_eq!(spawn(&store, 11..1_011), 1_000, "{others}");
            assert!(
                parts(&store) as u64 <= 4 * others.div_ceil(4096),
                "{others}"
            );
        }
    }
}
