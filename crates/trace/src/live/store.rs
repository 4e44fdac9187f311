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
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU64, AtomicUsize}; // counters: no protocol

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

pub(super) const BLOCKED: u8 = 1;
/// The wait has a deadline.
pub(super) const TIMED: u8 = 2;
pub(super) const INSIDE: u8 = 4;
pub(super) const SOLE: u8 = 8;

/// A wait for a timer, as a bit for `trace_log::waits_for`.
pub const TIMER: u8 = 16;
/// A wait for input.
pub const READ: u8 = 32;
/// A wait for room to write.
pub const WRITE: u8 = 64;

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
    pub(super) flags: u8,
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
}

/// The state of one thread.
struct Here {
    /// The address of the store that the rest is about: a forked child has another one.
    store: usize,
    /// The tasks whose code runs on this thread, the innermost last.
    stack: Vec<u64>,
    number: Option<ThreadNumber>,
    /// What the innermost task waits for besides tasks: [`TIMER`], [`READ`], [`WRITE`].
    kinds: u8,
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

per_thread! {
    static HERE: RefCell<Here> = RefCell::new(Here {
        store: 0,
        stack: Vec::new(),
        number: None,
        kinds: 0,
    });
}

/// A hash of a number that nobody outside chooses.
#[derive(Debug, Default)]
pub struct IdHasher(u64);

type Ids = BuildHasherDefault<IdHasher>;

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64((*byte).into()));
    }

    #[inline]
    fn write_u64(&mut self, number: u64) {
        // The table uses the upper bits, too.
        let mixed = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
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
        running: Mutex::default(),
    });
    switch::track_tasks();
    store
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

    fn waits(&mut self, on: u64, flags: u8) {
        (self.on, self.flags) = (on, flags);
        self.turn = self.turn.wrapping_add(1);
    }
}

impl Store {
    fn shard(&self, id: u64) -> &Mutex<Shard> {
        &self.shards[(id / BLOCK) as usize % SHARDS]
    }

    /// A copy of a task's entry.
    pub(super) fn entry(&self, id: u64) -> Option<Entry> {
        self.shard(id).lock().tasks.get(&id).copied()
    }

    fn change(&self, id: u64, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.shard(id).lock().tasks.get_mut(&id) {
            change(entry);
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
            if let Some(&outer) = here.stack.last() {
                self.change(outer, |entry| entry.waits(id, INSIDE));
            }
            here.stack.push(id);
            here.kinds = 0;
            if let Some(ThreadNumber(.., seat)) = &here.number {
                seat.runs.store(id, Relaxed);
                seat.begun.store(seat.begun.load(Relaxed) + 1, Relaxed); // this thread alone writes
            }
        });
    }

    /// Its code has stopped running. If it is a future that waits: the task that it left its waker
    /// with last, and whether it has no other waker.
    pub(crate) fn ended(&'static self, id: u64, how: Ending, on: u64, is_sole: bool) {
        self.here(|here| {
            if here.stack.last() == Some(&id) {
                here.stack.pop();
                if let Some(&outer) = here.stack.last() {
                    self.change(outer, |entry| entry.waits(0, 0));
                }
                if let Some(ThreadNumber(.., seat)) = &here.number {
                    let outer = here.stack.last().copied().unwrap_or(0);
                    seat.runs.store(outer, Relaxed);
                }
            }
            if how != Ending::Pending {
                return self.remove(id);
            }
            let at = self.clock.now();
            let kinds = std::mem::take(&mut here.kinds);
            self.change(id, |entry| {
                entry.polls = entry.polls.saturating_add(1);
                entry.becomes(Phase::Waiting, at);
                entry.waits(on, kinds | if is_sole { SOLE } else { 0 });
            });
        });
    }

    /// It has ended, or is gone.
    pub(crate) fn settled(&'static self, id: u64) {
        self.here(|_| self.remove(id));
    }

    fn remove(&self, id: u64) {
        let mut shard = self.shard(id).lock();
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

    /// The code of `id` parks until the end of `on`.
    pub(crate) fn blocks(&'static self, id: u64, on: u64, is_timed: bool) {
        let flags = BLOCKED | if is_timed { TIMED } else { 0 };
        self.here(|_| self.change(id, |entry| entry.waits(on, flags)));
    }

    /// The code of `id` goes on.
    pub(crate) fn unblocks(&'static self, id: u64) {
        self.here(|_| self.change(id, |entry| entry.waits(0, 0)));
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

    /// The task whose code runs on this thread.
    pub(super) fn current(&'static self) -> Option<u64> {
        let mut current = None;
        self.here(|here| current = here.stack.last().copied());
        current
    }

    pub(super) fn name(&self, id: u64) -> Option<Box<str>> {
        self.shard(id).lock().names.get(&id).cloned()
    }

    /// A copy of everything, part by part.
    pub(super) fn copy(&self) -> Copied {
        let mut copied = Copied::default();
        for part in 0..SHARDS {
            self.copy_part(part, &mut copied);
        }
        copied.sent = self.sent_items();
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
