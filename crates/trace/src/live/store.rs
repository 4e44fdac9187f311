//! What is known of each live task: a table that the executors' events keep up to date.
//!
//! **Job.** One entry for each task that has not ended, in [`SHARDS`] parts by the task's id. (A
//! thread takes its ids in blocks, so threads that spawn at once use different parts.) Each event
//! takes the lock of one part, for some nanoseconds, and no other lock meanwhile.
//!
//! **Memory.** At most [`DETAILED`] tasks have an entry; of further ones only the id is kept, so
//! that the counts stay exact.
//!
//! **Edges.** An entry says what its task waits for, if it is a task:
//! - [`BLOCKED`]: a thread that runs its code has parked until the end of that task.
//! - [`INSIDE`]: a thread that runs its code runs that task on top of it, and returns to it
//!   afterwards.
//! - [`SOLE`]: it is a future that sleeps, and had only one waker when its poll ended, which it had
//!   left with that task. Whether the waker is still there is known from the other task's `waiter`.
//!
//! An entry's `turn` changes with each event of the task, so two looks that find the same turn have
//! found the same state all the time between them. The module `stuck` follows the edges.
//!
//! An event that a user's allocator causes while another one is noted is ignored.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU64, AtomicUsize}; // counters: no protocol

use super::id_hasher::Ids;
use super::locks::{Access, Holder, Lock, Locks};
use super::running_map::RunningMap;
use crate::clock::Clock;
use crate::event::{Ending, Frame, Kind, Role, Site};
use crate::loom::{Mutex, per_thread, thread};
use crate::switch;
use crate::sys::fork::PerProcess;

/// How many parts the table has.
pub(super) const SHARDS: usize = 64;

/// How many tasks have an entry at most: with their tables 40 MiB.
const DETAILED: usize = 1 << 18;

/// The ids of a block have the same part.
const BLOCK: u64 = 1 << 12;

pub(super) const BLOCKED: u16 = 1;
/// The wait has a deadline.
pub(super) const TIMED: u16 = 2;
pub(super) const INSIDE: u16 = 4;
pub(super) const SOLE: u16 = 8;
/// The wait is for a lock, which `waits` names.
pub(super) const LOCK: u16 = 128;
/// The thread that is blocked runs only a part of the task's code; other parts may go on.
pub(super) const PART: u16 = 256;
/// It is a future that sleeps, and no waker of it is left.
pub(super) const ORPHAN: u16 = 512;

/// A wait for a timer, as a bit for `trace_log::waits_for`.
pub const TIMER: u8 = 16;
/// A wait for input.
pub const READ: u8 = 32;
/// A wait for room to write.
pub const WRITE: u8 = 64;

/// A number with this bit is not a task's, but that of a thread, for what it does outside tasks.
pub(super) const THREAD: u64 = 1 << 63;

static STORE: PerProcess<Store> = PerProcess::new();

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Queued,
    Running,
    Waiting,
}

/// One task.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub(super) parent: u64,
    pub(super) site: Site,
    /// Since when it has been in this phase, in ticks.
    pub(super) since: u64,
    /// The task that it waits for; 0: none.
    pub(super) on: u64,
    /// The task whose waker is left with this one; 0: none, or it is not known whose.
    pub(super) waiter: u64,
    pub(super) turn: u32,
    pub(super) polls: u32,
    /// The thread that has run it last.
    pub(super) thread: u32,
    pub(super) kind: Kind,
    pub(super) phase: Phase,
    pub(super) flags: u16,
}

/// What code waits for at a lock.
#[derive(Clone, Copy, Debug)]
pub(super) struct LockWait {
    pub(super) lock: Lock,
    pub(super) access: Access,
}

/// What a thread does outside tasks.
#[derive(Clone)]
pub(super) struct OutsideThread {
    pub(super) name: String,
    pub(super) entry: Entry,
    pub(super) wait: Option<LockWait>,
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

#[derive(Default)]
struct Shard {
    tasks: HashMap<u64, Entry, Ids>,
    /// The tasks of which only the id is kept.
    bare: HashSet<u64, Ids>,
    names: HashMap<u64, Box<str>, Ids>,
    /// The jobs in process pools that tasks stand for: a pool and a number.
    jobs: HashMap<u64, (u32, u32), Ids>,
    /// What those tasks wait for that have [`LOCK`]; others may be in it, too.
    waits: HashMap<u64, LockWait, Ids>,
    /// How many locks a task has taken and not released.
    held: HashMap<u64, u32, Ids>,
}

pub(crate) struct Store {
    pub(super) clock: Clock,
    shards: [Mutex<Shard>; SHARDS],
    detailed: AtomicUsize, // no protocol
    threads: Mutex<Vec<Option<Arc<Seat>>>>,
    /// By process id.
    sent: Mutex<HashMap<u32, VecDeque<SentItems>>>,
    /// The tasks that stand for jobs in process pools: the reverse of the parts' `jobs`.
    callers: Mutex<HashMap<(u32, u32), u64>>,
    /// Threads that have waited, or taken a lock, outside tasks.
    outside: Mutex<BTreeMap<u64, OutsideThread>>,
    pub(crate) locks: Locks,
    /// Each `map` and `imap` that runs, by a number of its own.
    pub(super) running: Mutex<BTreeMap<u64, Arc<RunningMap>>>,
}

/// A copy of everything, or of some parts.
#[derive(Default)]
pub(super) struct Copied {
    pub(super) tasks: Vec<(u64, Entry)>,
    pub(super) names: HashMap<u64, Box<str>>,
    pub(super) bare: u64,
    pub(super) threads: Vec<Option<ThreadInfo>>,
    pub(super) sent: Vec<(u32, SentItems, Option<u64>)>,
    pub(super) waits: HashMap<u64, LockWait>,
    pub(super) outside: Vec<(u64, OutsideThread)>,
}

/// The state of one thread.
struct Here {
    /// The address of the store that the rest is about: a forked child has another one.
    store: usize,
    /// The tasks whose code runs on this thread, the innermost last.
    stack: Vec<u64>,
    number: Option<ThreadNumber>,
    outside: Option<OutsideNumber>,
    /// What the innermost task waits for besides tasks: [`TIMER`], [`READ`], [`WRITE`].
    kinds: u8,
    /// The lock that its waker was left with last.
    wait: Option<LockWait>,
}

/// This thread's number, which is free again when this is dropped.
struct ThreadNumber(&'static Store, u32, Arc<Seat>);

impl Drop for ThreadNumber {
    fn drop(&mut self) {
        // (The lock of a parent process's store may be held for ever.)
        if let Some(store) = STORE.get()
            && std::ptr::eq(store, self.0)
        {
            store.threads.lock()[self.1 as usize] = None;
        }
    }
}

/// This thread's number for what it does outside tasks, which nobody has when this is dropped.
struct OutsideNumber(&'static Store, u64);

impl Drop for OutsideNumber {
    fn drop(&mut self) {
        if let Some(store) = STORE.get()
            && std::ptr::eq(store, self.0)
        {
            store.outside.lock().remove(&self.1);
        }
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
    });
}

/// The store, if tasks are kept track of.
pub(crate) fn store() -> Option<&'static Store> {
    STORE.get()
}

/// Begins to keep track of tasks.
pub(super) fn wake() -> &'static Store {
    let store = STORE.get_or_init(|| Store {
        clock: Clock::start(),
        shards: std::array::from_fn(|_| Mutex::default()),
        detailed: AtomicUsize::new(0),
        threads: Mutex::default(),
        sent: Mutex::default(),
        callers: Mutex::default(),
        outside: Mutex::default(),
        locks: Locks::default(),
        running: Mutex::default(),
    });
    switch::track_tasks();
    store
}

impl Here {
    /// What goes on when the innermost task's code has ended.
    fn outer(&self) -> Option<u64> {
        let outside = || self.outside.as_ref().map(|number| number.1);
        self.stack.last().copied().or_else(outside)
    }
}

/// How many wakers there are of a future that sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wakers {
    /// None: nothing can wake it.
    None,
    /// One.
    One,
    /// Several, or it is not known.
    Many,
}

impl Wakers {
    fn flag(self) -> u16 {
        match self {
            Self::None => ORPHAN,
            Self::One => SOLE,
            Self::Many => 0,
        }
    }
}

impl Entry {
    fn new(parent: u64, site: Site, kind: Kind, since: u64) -> Self {
        Self {
            parent,
            site,
            since,
            on: 0,
            waiter: 0,
            turn: 0,
            polls: 0,
            thread: u32::MAX,
            kind,
            phase: match kind {
                Kind::Promise => Phase::Waiting,
                _ => Phase::Queued,
            },
            flags: 0,
        }
    }

    fn becomes(&mut self, phase: Phase, since: u64) {
        (self.phase, self.since) = (phase, since);
        self.waits(0, 0);
    }

    fn waits(&mut self, on: u64, flags: u16) {
        (self.on, self.flags) = (on, flags);
        self.turn = self.turn.wrapping_add(1);
    }
}

impl Store {
    fn shard(&self, id: u64) -> &Mutex<Shard> {
        &self.shards[(id / BLOCK) as usize % SHARDS]
    }

    /// A copy of the entry of a task, or of a thread outside tasks.
    pub(super) fn entry(&self, id: u64) -> Option<Entry> {
        match id & THREAD {
            0 => self.shard(id).lock().tasks.get(&id).copied(),
            _ => Some(self.outside.lock().get(&id)?.entry),
        }
    }

    /// The same with what it waits for, if that is a lock.
    pub(super) fn entry_and_wait(&self, id: u64) -> Option<(Entry, Option<LockWait>)> {
        let (entry, wait) = match id & THREAD {
            0 => {
                let shard = self.shard(id).lock();
                (*shard.tasks.get(&id)?, shard.waits.get(&id).copied())
            }
            _ => {
                let outside = self.outside.lock();
                let thread = outside.get(&id)?;
                (thread.entry, thread.wait)
            }
        };
        Some((entry, wait.filter(|_| entry.flags & LOCK != 0)))
    }

    /// Whether the task has ended.
    pub(super) fn has_ended(&self, id: u64) -> bool {
        let shard = self.shard(id).lock();
        !shard.tasks.contains_key(&id) && !shard.bare.contains(&id)
    }

    fn change(&self, id: u64, change: impl FnOnce(&mut Entry)) {
        match id & THREAD {
            0 => _ = self.shard(id).lock().tasks.get_mut(&id).map(change),
            _ => {
                let mut outside = self.outside.lock();
                if let Some(thread) = outside.get_mut(&id) {
                    change(&mut thread.entry);
                }
            }
        }
    }

    fn insert(&self, shard: &mut Shard, id: u64, entry: Entry) {
        if self.detailed.load(Relaxed) < DETAILED {
            self.detailed.fetch_add(1, Relaxed);
            shard.tasks.insert(id, entry);
        } else {
            shard.bare.insert(id);
        }
    }

    /// Calls `f` with what this thread knows, unless it is in such a call already, or ends.
    fn here(&'static self, f: impl FnOnce(&mut Here)) {
        let _ = HERE.try_with(|here| {
            let Ok(mut here) = here.try_borrow_mut() else {
                return;
            };
            let address = std::ptr::from_ref(self).addr();
            if here.store != address {
                here.number = None;
                here.outside = None;
                here.stack.clear();
                here.store = address;
            }
            f(&mut here);
        });
    }

    /// This thread's number.
    fn number(&'static self, here: &mut Here, role: Role) -> u32 {
        if let Some(ThreadNumber(_, number, _)) = here.number {
            return number;
        }
        let seat = Arc::new(Seat {
            info: ThreadInfo {
                name: thread::current().name().unwrap_or_default().to_owned(),
                role,
            },
            runs: AtomicU64::new(0),
            begun: AtomicU64::new(0),
        });
        let mut threads = self.threads.lock();
        let number = match threads.iter().position(Option::is_none) {
            Some(free) => free,
            None => {
                threads.push(None);
                threads.len() - 1
            }
        };
        threads[number] = Some(Arc::clone(&seat));
        here.number = Some(ThreadNumber(self, number as u32, seat));
        number as u32
    }

    /// The task whose code runs on this thread, or else this thread; 0: it is not known whose code
    /// runs, because a worker also runs parts of tasks that are elsewhere.
    fn code(&'static self, here: &mut Here, role: Role) -> u64 {
        match (here.stack.last(), &here.outside) {
            (Some(task), _) => *task,
            _ if role != Role::Outside => 0,
            (None, Some(OutsideNumber(_, number))) => *number,
            (None, None) => {
                static NEXT: AtomicU64 = AtomicU64::new(1); // no protocol
                let number = THREAD | NEXT.fetch_add(1, Relaxed);
                let mut entry = Entry::new(0, Location::caller(), Kind::Root, self.clock.now());
                entry.phase = Phase::Running;
                let thread = OutsideThread {
                    name: thread::current().name().unwrap_or_default().to_owned(),
                    entry,
                    wait: None,
                };
                self.outside.lock().insert(number, thread);
                here.outside = Some(OutsideNumber(self, number));
                number
            }
        }
    }

    // ---- events ------------------------------------------------------------

    pub(crate) fn spawned(&'static self, id: u64, parent: u64, site: Site, kind: Kind) {
        self.here(|_| {
            let entry = Entry::new(parent, site, kind, self.clock.now());
            self.insert(&mut self.shard(id).lock(), id, entry);
        });
    }

    /// A task that is older than the store has its entry from its first run on.
    pub(crate) fn begun(&'static self, id: u64, site: Site, kind: Kind, role: Role) {
        self.here(|here| {
            let thread = self.number(here, role);
            let at = self.clock.now();
            let mut shard = self.shard(id).lock();
            if !shard.tasks.contains_key(&id) && !shard.bare.contains(&id) {
                self.insert(&mut shard, id, Entry::new(0, site, kind, at));
            }
            if let Some(entry) = shard.tasks.get_mut(&id) {
                entry.becomes(Phase::Running, at);
                entry.thread = thread;
            }
            drop(shard);
            if let Some(outer) = here.outer() {
                self.change(outer, |entry| entry.waits(id, INSIDE));
            }
            here.stack.push(id);
            (here.kinds, here.wait) = (0, None);
            if let Some(ThreadNumber(.., seat)) = &here.number {
                seat.runs.store(id, Relaxed);
                seat.begun.store(seat.begun.load(Relaxed) + 1, Relaxed); // this thread alone writes
            }
        });
    }

    /// Its code has stopped running. If it is a future that waits: the task that it left its waker
    /// with last, and how many wakers it has, if there are few. Returns whether it has ended
    /// without releasing what it has locked.
    pub(crate) fn ended(&'static self, id: u64, how: Ending, on: u64, wakers: Wakers) -> bool {
        let mut leaves_locks = false;
        self.here(|here| {
            if here.stack.last() == Some(&id) {
                here.stack.pop();
                if let Some(outer) = here.outer() {
                    self.change(outer, |entry| entry.waits(0, 0));
                }
                if let Some(ThreadNumber(.., seat)) = &here.number {
                    let outer = here.stack.last().copied().unwrap_or(0);
                    seat.runs.store(outer, Relaxed);
                }
            }
            let kinds = u16::from(std::mem::take(&mut here.kinds));
            let wait = here.wait.take();
            if how != Ending::Pending {
                leaves_locks = self.remove(id);
                return;
            }
            let at = self.clock.now();
            let mut shard = self.shard(id).lock();
            let Some(entry) = shard.tasks.get_mut(&id) else {
                return;
            };
            entry.polls = entry.polls.saturating_add(1);
            entry.becomes(Phase::Waiting, at);
            let lock = if wait.is_some() { LOCK } else { 0 };
            entry.waits(on, kinds | lock | wakers.flag());
            if let Some(wait) = wait {
                shard.waits.insert(id, wait);
            }
        });
        leaves_locks
    }

    /// It has ended, or is gone; returns whether it has not released what it has locked.
    pub(crate) fn settled(&'static self, id: u64) -> bool {
        let mut leaves_locks = false;
        self.here(|_| leaves_locks = self.remove(id));
        leaves_locks
    }

    fn remove(&self, id: u64) -> bool {
        let mut shard = self.shard(id).lock();
        shard.waits.remove(&id);
        let leaves_locks = shard.held.remove(&id).is_some();
        if shard.tasks.remove(&id).is_some() {
            self.detailed.fetch_sub(1, Relaxed);
            let _name = shard.names.remove(&id);
            if let Some(job) = shard.jobs.remove(&id) {
                drop(shard);
                self.callers.lock().remove(&job);
            }
        } else {
            shard.bare.remove(&id);
        }
        leaves_locks
    }

    pub(crate) fn woken(&'static self, id: u64) {
        self.here(|_| {
            let at = self.clock.now();
            self.change(id, |entry| match entry.phase {
                Phase::Waiting => entry.becomes(Phase::Queued, at),
                Phase::Queued | Phase::Running => {}
            });
        });
    }

    pub(crate) fn named(&'static self, id: u64, name: &str) {
        self.here(|_| {
            let mut shard = self.shard(id).lock();
            if shard.tasks.contains_key(&id) && !shard.names.contains_key(&id) {
                shard.names.insert(id, name.into());
            }
        });
    }

    /// The future that is polled on this thread waits for an event of this kind.
    pub(crate) fn waits_for(&'static self, kind: u8) {
        self.here(|here| here.kinds |= kind);
    }

    /// The code of `id`, or of this thread if that is 0, parks until the end of `on`. Returns whose
    /// code it is.
    pub(crate) fn blocks(&'static self, id: u64, on: u64, is_timed: bool, role: Role) -> u64 {
        let mut who = id;
        self.here(|here| {
            let code = self.code(here, role);
            if who == 0 {
                who = code;
            }
            let timed = if is_timed { TIMED } else { 0 };
            let part = if who == code { 0 } else { PART };
            self.change(who, |entry| entry.waits(on, BLOCKED | timed | part));
            self.change(on, |entry| entry.waiter = who);
        });
        who
    }

    /// The code of `id`, or of this thread if that is 0, goes on.
    pub(crate) fn unblocks(&'static self, id: u64, role: Role) {
        self.here(|here| {
            let who = match id {
                0 => self.code(here, role),
                id => id,
            };
            self.change(who, |entry| entry.waits(0, 0));
        });
    }

    /// No waker is left of a future that sleeps.
    pub(crate) fn orphaned(&'static self, id: u64) {
        self.here(|_| {
            self.change(id, |entry| {
                if entry.phase == Phase::Waiting {
                    entry.waits(0, ORPHAN);
                }
            });
        });
    }

    /// The code that runs here has taken a lock. `mark`: that of its task. Returns whose code it
    /// is.
    pub(crate) fn lock_taken(
        &'static self,
        lock: Lock,
        access: Access,
        mark: usize,
        is_kept: bool,
        role: Role,
    ) -> u64 {
        let mut by = 0;
        self.here(|here| {
            by = self.code(here, role);
            if by != 0 && by & THREAD == 0 {
                *self.shard(by).lock().held.entry(by).or_default() += 1;
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
        role: Role,
    ) {
        let holder = self.locks.take_out(address, by, access);
        self.here(|here| {
            if by & THREAD == 0 {
                let mut shard = self.shard(by).lock();
                if let Some(count) = shard.held.get_mut(&by) {
                    *count -= 1;
                    if *count == 0 {
                        shard.held.remove(&by);
                    }
                }
            }
            let Some((holder, made_at)) = holder.filter(|(holder, _)| holder.is_kept) else {
                return;
            };
            let is_another_thread = by & THREAD != 0 && by != self.code(here, role);
            if mark != holder.mark || is_another_thread {
                self.locks.was_given_away(made_at);
            }
        });
    }

    /// A writer begins to wait for a lock. Returns who it is, if it is the code that runs here.
    pub(crate) fn writer_comes(&'static self, lock: Lock, is_own: bool, role: Role) -> u64 {
        let mut who = 0;
        if is_own {
            self.here(|here| who = self.code(here, role));
        }
        self.locks.add_writer(lock, who);
        who
    }

    /// The future that is polled on this thread has left its task's waker with a lock.
    pub(crate) fn lock_awaited(&'static self, lock: Lock, access: Access) {
        self.here(|here| here.wait = Some(LockWait { lock, access }));
    }

    /// It does not wait for that lock any more.
    pub(crate) fn lock_left(&'static self, lock: Lock) {
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
    pub(crate) fn lock_blocks(&'static self, lock: Lock, access: Access, role: Role) -> u64 {
        let mut who = 0;
        let wait = LockWait { lock, access };
        self.here(|here| {
            who = self.code(here, role);
            if who & THREAD != 0 {
                if let Some(thread) = self.outside.lock().get_mut(&who) {
                    thread.entry.becomes(Phase::Running, self.clock.now());
                    thread.entry.waits(0, BLOCKED | LOCK);
                    thread.wait = Some(wait);
                }
                return;
            }
            let mut shard = self.shard(who).lock();
            if let Some(entry) = shard.tasks.get_mut(&who) {
                entry.waits(0, BLOCKED | LOCK);
                shard.waits.insert(who, wait);
            }
        });
        who
    }

    /// The code of `who` looks at the lock again.
    pub(crate) fn lock_unblocks(&'static self, who: u64) {
        self.here(|_| self.change(who, |entry| entry.waits(0, 0)));
    }

    /// Everybody who waits for one of these locks.
    pub(super) fn who_waits_at(&self, addresses: &[usize]) -> Vec<u64> {
        let mut who = Vec::new();
        let is_there = |wait: &LockWait| addresses.contains(&wait.lock.address);
        for shard in &self.shards {
            let shard = shard.lock();
            let waits = shard.waits.iter().filter(|(_, wait)| is_there(wait));
            who.extend(waits.map(|(id, _)| *id));
        }
        let outside = self.outside.lock();
        let waits = outside
            .iter()
            .filter(|(_, thread)| thread.wait.as_ref().is_some_and(is_there));
        who.extend(waits.map(|(number, _)| *number));
        who
    }

    /// A waker was left with `id`: that of `waiter`; 0: of something else.
    pub(crate) fn registered(&'static self, id: u64, waiter: u64) {
        self.here(|_| self.change(id, |entry| entry.waiter = waiter));
    }

    pub(crate) fn called(&'static self, pool: u32, job: u32, id: u64) {
        self.here(|_| {
            let mut shard = self.shard(id).lock();
            if shard.tasks.contains_key(&id) {
                shard.jobs.insert(id, (pool, job));
                drop(shard);
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
            self.sent
                .lock()
                .entry(frame.pid)
                .or_default()
                .push_back(items);
        });
    }

    pub(crate) fn answered(&'static self, pid: u32, sequence: u32) {
        self.here(|_| {
            let at = self.clock.now();
            let mut sent = self.sent.lock();
            if let Some(queue) = sent.get_mut(&pid) {
                queue.retain(|items| items.frame.sequence != sequence);
                match queue.front_mut() {
                    Some(next) => next.since = at, // it begins now
                    None => _ = sent.remove(&pid),
                }
            }
        });
    }

    pub(crate) fn died(&'static self, pid: u32) {
        self.here(|_| _ = self.sent.lock().remove(&pid));
    }

    // ---- looks -------------------------------------------------------------

    pub(super) fn thread(&self, number: u32) -> Option<ThreadInfo> {
        let threads = self.threads.lock();
        Some(threads.get(number as usize)?.as_ref()?.info.clone())
    }

    /// All threads that have run a task and have not ended.
    pub(super) fn seats(&self) -> Vec<Arc<Seat>> {
        self.threads.lock().iter().flatten().cloned().collect()
    }

    /// What worker processes have got and have not answered, in the order in which they got it, and
    /// the task that stands for it.
    pub(super) fn sent_items(&self) -> Vec<(u32, SentItems, Option<u64>)> {
        let (callers, sent) = (self.callers.lock(), self.sent.lock());
        let of_process = |(pid, queue): (&u32, &VecDeque<SentItems>)| {
            let pid = *pid;
            let with_task = |items: &SentItems| {
                let task = callers.get(&(items.frame.pool, items.frame.job));
                (pid, *items, task.copied())
            };
            queue.iter().map(with_task).collect::<Vec<_>>()
        };
        sent.iter().flat_map(of_process).collect()
    }

    /// Those who wait, at most so many.
    pub(super) fn who_waits(&self, most: usize) -> Vec<u64> {
        let waits = |entry: &Entry| entry.phase == Phase::Waiting || entry.flags & BLOCKED != 0;
        let outside = self.outside.lock();
        let threads = outside.iter().filter(|(_, thread)| waits(&thread.entry));
        let mut who: Vec<u64> = threads.map(|(number, _)| *number).take(most).collect();
        drop(outside);
        for shard in &self.shards {
            let shard = shard.lock();
            let tasks = shard.tasks.iter().filter(|(_, entry)| waits(entry));
            who.extend(tasks.map(|(id, _)| *id).take(most - who.len()));
        }
        who
    }

    /// The task whose code runs on this thread.
    pub(super) fn current(&'static self) -> Option<u64> {
        let mut current = None;
        self.here(|here| current = here.stack.last().copied());
        current
    }

    pub(super) fn name(&self, id: u64) -> Option<Box<str>> {
        self.shard(id).lock().names.get(&id).cloned()
    }

    /// A thread outside tasks, by its number.
    pub(super) fn outside(&self, number: u64) -> Option<OutsideThread> {
        self.outside.lock().get(&number).cloned()
    }

    /// A copy of everything, part by part.
    pub(super) fn copy(&self) -> Copied {
        let mut copied = Copied::default();
        for part in 0..SHARDS {
            self.copy_part(part, &mut copied);
        }
        copied.sent = self.sent_items();
        let outside = self.outside.lock();
        let outside = outside.iter().map(|(id, thread)| (*id, thread.clone()));
        copied.outside = outside.collect();
        copied
    }

    /// Adds a copy of one part.
    pub(super) fn copy_part(&self, part: usize, copied: &mut Copied) {
        if copied.threads.is_empty() {
            let threads = self.threads.lock();
            let info = |seat: &Option<Arc<Seat>>| Some(seat.as_ref()?.info.clone());
            copied.threads = threads.iter().map(info).collect();
        }
        let shard = self.shards[part].lock();
        let tasks = shard.tasks.iter().map(|(id, entry)| (*id, *entry));
        copied.tasks.extend(tasks);
        let names = shard.names.iter().map(|(id, name)| (*id, name.clone()));
        copied.names.extend(names);
        let waits = shard.waits.iter().map(|(id, wait)| (*id, *wait));
        copied.waits.extend(waits);
        copied.bare += shard.bare.len() as u64;
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_entry_takes_eight_words_with_its_id() {
        assert!(size_of::<(u64, Entry)>() <= 64);
    }
}
