//! The queues of the pool, and which threads may take work from which queue.
//!
//! **Job.** The interface between the pool's policy and the deques: push, pop, steal, inject. Each
//! worker has three deques (`crossbeam-deque`) with different rules:
//! - *jobs*: the other halves of its joins, borrowed from stack frames. Strictly nested: the newest
//!   belongs to the innermost join, so that the owner's pop gives exactly the half that it is about
//!   to wait for, or nothing if that has been stolen. Thieves take the oldest, which is the
//!   largest.
//! - *scoped*: tasks of scopes. The owner takes the newest, so that a tree of them needs as much
//!   memory as it is deep; thieves take the oldest. A thread inside a scope takes only the entries
//!   above that scope's mark.
//! - *tasks*: spawned work, owned by the queue. The owner takes the newest, for its warm cache;
//!   thieves take the oldest.
//!
//! One injector takes work from outside, first in first out. It gets there by an *inbox* without a
//! lock (`raw_outside_queue.rs`), which each thread that takes the lock empties into the queue.
//! *Urgent* work (a parked thread waits for it and may not run it) can also be taken separately:
//! when so many workers wait that nothing else is begun (`sleep/spares.rs`). Whether a push is
//! accepted is decided where it gets its number in the inbox, or else under the lock, and both
//! change together: shutdown can neither lose nor forget a task. A worker that looks for work does
//! not wait for the lock, because many may look at once.
//!
//! - A worker's jobs deque holds, from old to new, the un-stolen second halves of the joins
//!   on its stack that were offered (`join_window.rs`), from outer to inner, and nothing else.
//!   When one of them has been stolen, so have all older ones.
//! - Nothing new is accepted by the injector after the mode has left [`Mode::Open`]; futures
//!   that were accepted before are, when they are woken, until [`Mode::Closed`].
//!
//! Rejected: one deque for both (the owner's pop of its half would have to run unrelated tasks
//! above it first).
//!
//! Tests: below; `tests/thread/pool.rs::{queued_halves_are_not_stranded_behind_a_long_leaf,
//! a_wait_for_a_stolen_half_runs_its_children_or_parks_with_a_spare}`.

use std::cell::Cell;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use crossbeam_deque::{Steal, Stealer, Worker as Deque};
use crossbeam_utils::CachePadded;

use super::lent::raw_job::JobRef;
use super::lent::raw_scope_counter::{ErasedEntry, ScopeTicket};
use super::raw_outside_queue::{Drained, ONE, Outlet, OutsideQueue, ROOM, Wait};
use crate::loom::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use crate::loom::{Mutex, MutexGuard, hint};
use crate::task::Runnable;

/// Something that a worker can run at the bottom of its stack.
pub(in crate::thread) enum Work {
    /// A spawned task.
    Task(Runnable),
    /// A task of an `imap`: its consumer waits for it, so a pool that cancels pending work still
    /// runs it.
    Item(Runnable),
    /// Borrowed from the frame of a thread that waits for it.
    Job(JobRef),
    /// A task of a scope, from a worker's deque.
    Scoped(ErasedEntry),
    /// For a task of a scope, in the injector.
    Ticket(ScopeTicket),
    /// The share of a broadcast for a worker that is away.
    Share(ErasedEntry),
}

/// The owner's ends of a worker's deques.
pub(in crate::thread) struct OwnDeques {
    pub(in crate::thread) jobs: Deque<JobRef>,
    pub(in crate::thread) scoped: Deque<ErasedEntry>,
    pub(in crate::thread) tasks: Deque<Runnable>,
    /// How many more pushes until the next sweep, and how far apart they are.
    sweep: Cell<(u32, u32)>,
}

/// The thieves' ends.
pub(in crate::thread) struct SharedDeques {
    jobs: Stealer<JobRef>,
    pub(in crate::thread) scoped: Stealer<ErasedEntry>,
    tasks: Stealer<Runnable>,
    /// Whether a thief is at work here: others look elsewhere meanwhile. A hint.
    robbed: CachePadded<AtomicBool>,
}

impl OwnDeques {
    pub(in crate::thread) fn new() -> (Self, SharedDeques) {
        let (jobs, scoped) = (Deque::new_lifo(), Deque::new_lifo());
        let tasks = Deque::new_lifo();
        let public = SharedDeques {
            jobs: jobs.stealer(),
            scoped: scoped.stealer(),
            tasks: tasks.stealer(),
            robbed: CachePadded::new(AtomicBool::new(false)),
        };
        let local = Self {
            jobs,
            scoped,
            tasks,
            sweep: Cell::new((SWEEP, SWEEP)),
        };
        (local, public)
    }
}

/// Initialises the state that all deques of a process share, so that a fork cannot interrupt it: a
/// child would wait for ever for the initialising thread.
pub(in crate::thread) fn warm_up() {
    let deque: Deque<Runnable> = Deque::new_lifo();
    let _nothing = deque.stealer().steal();
}

impl Work {
    /// Whether this entry is stale, because a waiter has run its task.
    fn is_stale(&self) -> bool {
        match self {
            Work::Task(task) | Work::Item(task) => task.is_stale(),
            Work::Scoped(lent) => lent.is_taken(),
            Work::Job(_) | Work::Share(_) | Work::Ticket(_) => false,
        }
    }

    /// Whether something waits for the end of this work: a hint.
    fn is_awaited(&self) -> bool {
        match self {
            Work::Task(task) | Work::Item(task) => task.is_awaited(),
            Work::Scoped(_) | Work::Ticket(_) | Work::Job(_) | Work::Share(_) => true,
        }
    }

    /// Whether this work is urgent if it lies in the injector: a parked thread waits for it, and
    /// may not run it itself.
    fn is_urgent(&self, callers_help: bool) -> bool {
        match self {
            Work::Job(_) | Work::Share(_) => true,
            Work::Ticket(_) => !callers_help,
            Work::Task(_) | Work::Item(_) | Work::Scoped(_) => false,
        }
    }
}

/// The most that a worker moves from the injector, or of spawned tasks from another worker's deque,
/// to its own deque at once; of tasks of scopes, the least.
pub(in crate::thread) const BATCH: usize = 32;

/// A thief takes several tasks at once if there are more: each time costs as much as running a
/// short one.
const MANY_TASKS: usize = BATCH / 2;

/// The same for tasks of scopes, which are often tiny: thieves rest between their thefts instead
/// (`worker/thief_rest.rs`), and what lies in a thief's deque is not run by the thread that waits.
const MANY_SCOPED: usize = 8 * BATCH;

/// A thief takes this part of them, so that it takes the more the longer it has rested: otherwise
/// a thread that spawns without end would queue faster than thieves take, for ever.
const PART_OF_SCOPED: usize = 4;

/// And at most so many: others pass this deque by meanwhile, for some tens of microseconds.
const MOST_SCOPED: usize = 128 * BATCH;

/// How many deques a worker has.
pub(in crate::thread) const DEQUES: usize = 3;

/// How many of the injector's newest entries are searched for one that a thread waits for.
const LOOK_BACK: usize = 4096;

/// How often a thread looks whether the injector's lock is free before it sleeps: with about 300
/// spin hints, for some microseconds.
const LOOKS: u32 = 10;

/// How many entries one sweep checks.
const SWEEP: u32 = 64;

impl OwnDeques {
    /// Queues a task. A worker that spawns and waits a million times, and so runs all tasks inline,
    /// must not leave a million stale entries: now and then the newest entries are checked, less
    /// often after a check in vain.
    pub(in crate::thread) fn push_task(&self, task: Runnable) {
        let (left, period) = self.sweep.get();
        if left > 0 {
            self.sweep.set((left - 1, period));
            return self.tasks.push(task);
        }
        let stale = self.take_stale(period);
        self.tasks.push(task);
        // Last, because the destructor of a task's result may wait for another task.
        drop(stale);
    }

    /// Takes the stale ones of the newest entries out, and decides when the next sweep is.
    #[cold]
    fn take_stale(&self, period: u32) -> Vec<Runnable> {
        let (mut stale, mut live) = (Vec::new(), Vec::new());
        for _ in 0..SWEEP * 2 {
            match self.tasks.pop() {
                Some(task) if task.is_stale() => stale.push(task),
                Some(task) => live.push(task),
                None => break,
            }
        }
        let period = if live.len() <= stale.len() {
            SWEEP
        } else {
            (period * 2).min(1 << 20)
        };
        self.sweep.set((period, period));
        while let Some(task) = live.pop() {
            self.tasks.push(task);
        }
        stale
    }
}

fn oldest<T>(deque: &Stealer<T>) -> Option<T> {
    // `steal` costs more than this check, even if the deque is empty.
    while !deque.is_empty() {
        if let Steal::Success(work) = deque.steal() {
            return Some(work);
        }
        std::hint::spin_loop();
    }
    None
}

/// How many of `len` tasks of scopes a thief takes at once.
fn batch_of_scoped(len: usize) -> usize {
    (len / PART_OF_SCOPED).clamp(BATCH, MOST_SCOPED)
}

/// The oldest; if there are more than `many`, more of the older ones are moved to `own`, as many of
/// them as `batch` says. True: some were moved.
fn oldest_of_many<T>(
    deque: &Stealer<T>,
    own: &Deque<T>,
    many: usize,
    batch: impl Fn(usize) -> usize,
) -> Option<(T, bool)> {
    loop {
        // One look, which has a fence, for both questions.
        let stolen = match deque.len() {
            0 => return None,
            len if len > many => {
                let stolen = deque.steal_batch_with_limit_and_pop(own, batch(len));
                stolen.success().map(|first| (first, true))
            }
            _ => deque.steal().success().map(|first| (first, false)),
        };
        if stolen.is_some() {
            return stolen;
        }
        std::hint::spin_loop();
    }
}

impl SharedDeques {
    /// The oldest of the second halves.
    pub(in crate::thread) fn steal_job(&self) -> Option<JobRef> {
        oldest(&self.jobs)
    }

    /// The oldest task; those of scopes first, because a thread waits for them. True: more of the
    /// same kind have been moved to `own`, whose owner has no open scope.
    pub(in crate::thread) fn steal(&self, own: &OwnDeques) -> Option<(Work, bool)> {
        // First, because the ends of the deques are what the thief changes.
        if self.robbed.load(Ordering::Relaxed) || !self.has_tasks() {
            return None;
        }
        if self.robbed.swap(true, Ordering::Relaxed) {
            return None;
        }
        let scoped = oldest_of_many(&self.scoped, &own.scoped, MANY_SCOPED, batch_of_scoped);
        let found = scoped
            .map(|(lent, more)| (Work::Scoped(lent), more))
            .or_else(|| {
                let task = oldest_of_many(&self.tasks, &own.tasks, MANY_TASKS, |_| BATCH);
                task.map(|(task, more)| (Work::Task(task), more))
            });
        self.robbed.store(false, Ordering::Relaxed);
        found
    }

    /// The oldest of the scopes' tasks.
    pub(in crate::thread) fn steal_scoped(&self) -> Option<ErasedEntry> {
        oldest(&self.scoped)
    }

    /// The oldest of the spawned tasks.
    pub(in crate::thread) fn steal_task(&self) -> Option<Runnable> {
        oldest(&self.tasks)
    }

    /// The oldest of the deque with this number, below [`DEQUES`].
    pub(in crate::thread) fn oldest_of(&self, deque: usize) -> Option<Work> {
        match deque {
            0 => oldest(&self.jobs).map(Work::Job),
            1 => oldest(&self.scoped).map(Work::Scoped),
            _ => oldest(&self.tasks).map(Work::Task),
        }
    }

    pub(in crate::thread) fn is_empty(&self) -> bool {
        !self.has_jobs() && !self.has_tasks()
    }

    /// The number of tasks, those of scopes included.
    pub(in crate::thread) fn len(&self) -> usize {
        self.tasks.len() + self.scoped.len()
    }

    pub(in crate::thread) fn has_jobs(&self) -> bool {
        !self.jobs.is_empty()
    }

    pub(in crate::thread) fn has_tasks(&self) -> bool {
        !self.tasks.is_empty() || !self.scoped.is_empty()
    }
}

/// What the pool accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::thread) enum Mode {
    /// Everything is accepted.
    Open,
    /// Nothing from outside; what the pool's own tasks spawn is run.
    Draining,
    /// Nothing; tasks not yet begun are cancelled.
    Cancelling,
    /// Nothing, and no thread is left to run anything.
    Closed,
}

impl Mode {
    /// The mode with this number.
    fn of(number: usize) -> Self {
        match number {
            0 => Mode::Open,
            1 => Mode::Draining,
            2 => Mode::Cancelling,
            _ => Mode::Closed,
        }
    }
}

/// Which entry of the injector is taken next where there is no progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::thread) enum Next {
    /// As usual.
    Oldest,
    /// The newest: what the waiters wait for was queued after them.
    Newest,
    /// The newest that something waits for.
    Awaited,
}

/// The data behind the injector's lock. What each pop changes fills one cache line with the lock.
struct InjectorState {
    /// What is not urgent; behind it is what lies in the inbox.
    entries: VecDeque<Work>,
    outlet: Outlet,
    rest: Box<InjectorRest>,
}

/// What few of them change.
struct InjectorRest {
    /// What a parked thread waits for and may not run itself, with the number of the next push to
    /// the inbox.
    urgent: VecDeque<(usize, Work)>,
    sweep: Sweep,
}

/// When the newest entries are checked next.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Sweep {
    /// At this length of the queue.
    at: usize,
    /// The distance between such lengths.
    period: usize,
}

impl InjectorState {
    /// Removes stale entries now and then.
    #[inline]
    fn swept(&mut self, all: bool) -> Vec<Work> {
        let before = self.rest.sweep;
        let mut sweep = before;
        let stale = sweep.swept(&mut self.entries, all);
        // A line that is not written stays in all caches.
        if sweep != before {
            self.rest.sweep = sweep;
        }
        stale
    }

    /// The number that the oldest entry had in the inbox.
    fn taken(&self) -> usize {
        self.outlet.number().wrapping_sub(self.entries.len() * ONE)
    }

    /// The oldest entry, urgent or not.
    fn pop(&mut self) -> Option<Work> {
        let taken = self.taken();
        let is_due = |(before, _): &(usize, Work)| before.wrapping_sub(taken).cast_signed() <= 0;
        match self.rest.urgent.front() {
            Some(first) if is_due(first) => self.pop_urgent(),
            // (An older one may still be on its way through the inbox.)
            _ => self.entries.pop_front().or_else(|| self.pop_urgent()),
        }
    }

    fn pop_urgent(&mut self) -> Option<Work> {
        self.rest.urgent.pop_front().map(|(_, work)| work)
    }

    /// Moves a fair share of the oldest tasks to `local`, so that the older ones are popped
    /// first. True: there were some.
    fn move_tasks(&mut self, width: usize, local: &Deque<Runnable>) -> bool {
        let share = (self.entries.len() / (width + 1)).min(BATCH);
        let mut more = 0;
        while more < share && matches!(self.entries[more], Work::Task(_)) {
            more += 1;
        }
        // To the end, and from there.
        self.entries.rotate_left(more);
        for _ in 0..more {
            if let Some(Work::Task(task)) = self.entries.pop_back() {
                local.push(task);
            }
        }
        more > 0
    }

    /// The newest; if `awaited`, of those that something waits for, if there are any.
    fn pop_newest(&mut self, awaited: bool) -> Option<Work> {
        let newest = self.entries.len().checked_sub(1)?;
        let last = if awaited {
            self.entries.len().saturating_sub(LOOK_BACK)
        } else {
            newest
        };
        let mut looks = (last..=newest).rev();
        let found = looks.find(|at| self.entries[*at].is_awaited());
        self.entries.remove(found.unwrap_or(newest))
    }
}

impl Sweep {
    const FIRST: Self = Self {
        at: ROOM,
        period: ROOM,
    };

    /// Now and then removes the stale ones of the newest entries: a thread that spawns and waits a
    /// million times while all workers are busy must not leave a million entries. `all`: of all
    /// entries, each time that their number has doubled, because the consumer of an `imap` runs the
    /// oldest.
    fn swept(&mut self, entries: &mut VecDeque<Work>, all: bool) -> Vec<Work> {
        let len = entries.len();
        if len == 0 {
            *self = Self::FIRST;
        }
        if len < self.at {
            return Vec::new();
        }
        let (mut stale, mut live) = (Vec::with_capacity(ROOM), Vec::new());
        for _ in 0..if all { len } else { 2 * ROOM } {
            match entries.pop_back() {
                Some(work) if work.is_stale() => stale.push(work),
                Some(work) => live.push(work),
                None => break,
            }
        }
        self.period = if all {
            live.len().max(ROOM)
        } else if stale.len() >= live.len() {
            ROOM
        } else {
            (self.period * 2).min(1 << 20)
        };
        while let Some(work) = live.pop() {
            entries.push_back(work);
        }
        self.at = entries.len() + self.period;
        stale
    }
}

/// The queue for work from outside.
pub(in crate::thread) struct Injector {
    /// Where work arrives that is not urgent.
    inbox: OutsideQueue<Work>,
    queue: CachePadded<Mutex<InjectorState>>,
    /// The number of entries behind the lock: read without it, written under it, and only when it
    /// changes. Threads that look for work read it.
    len: CachePadded<AtomicUsize>,
    /// The number of urgent entries; like `len`, but written only when it changes.
    urgent: Arc<AtomicUsize>,
    /// Which entry is taken next, if not the oldest: a [`Next`] as a number.
    next: AtomicUsize,
    /// The [`Mode`] as a number; it changes under the lock. In a separate cache line from the
    /// fields that each push writes, because workers read it for each task.
    mode: CachePadded<AtomicUsize>,
    callers_help: bool,
}

impl Drop for Injector {
    fn drop(&mut self) {
        // (In a forked child a thread of the parent may hold the lock forever.)
        if let Some(mut queue) = self.queue.try_lock() {
            drop(self.inbox.drain(&mut queue.outlet, drop));
        }
    }
}

impl Injector {
    /// `urgent`: the counter of queued urgent work.
    pub(in crate::thread) fn new(callers_help: bool, urgent: Arc<AtomicUsize>) -> Self {
        let (inbox, outlet) = OutsideQueue::new();
        Self {
            inbox,
            queue: CachePadded::new(Mutex::new(InjectorState {
                entries: VecDeque::new(),
                outlet,
                rest: Box::new(InjectorRest {
                    urgent: VecDeque::new(),
                    sweep: Sweep::FIRST,
                }),
            })),
            len: CachePadded::new(AtomicUsize::new(0)),
            urgent,
            next: AtomicUsize::new(Next::Oldest as usize),
            mode: CachePadded::new(AtomicUsize::new(Mode::Open as usize)),
            callers_help,
        }
    }

    /// Returns the work if the pool does not accept it.
    pub(in crate::thread) fn push(&self, work: Work) -> Result<(), Work> {
        self.push_if(Mode::Open, work)
    }

    /// Queues a woken future that was accepted before, or what lets a thread of the pool continue,
    /// as long as there is a thread to run it.
    pub(in crate::thread) fn push_woken(&self, work: Work) -> Result<(), Work> {
        self.push_if(Mode::Cancelling, work)
    }

    /// Puts back an entry that was taken from a queue: accepted once, it stays accepted while the
    /// caller runs.
    pub(in crate::thread) fn put_back(&self, work: Work) {
        drop(self.push_if(Mode::Closed, work));
    }

    /// Whether what a worker queues in its own deque is accepted.
    #[inline]
    pub(in crate::thread) fn takes_own(&self) -> bool {
        // Acquire: like `mode`.
        self.mode.load(Ordering::Acquire) <= Mode::Draining as usize
    }

    /// Whether something urgent is queued: a hint.
    pub(in crate::thread) fn has_urgent(&self) -> bool {
        self.urgent.load(Ordering::Relaxed) > 0
    }

    /// Accepted while the mode is `last`, or one before it.
    fn push_if(&self, last: Mode, work: Work) -> Result<(), Work> {
        if !work.is_urgent(self.callers_help) {
            return self.push_to_inbox(last, work);
        }
        let mut queue = self.change();
        if self.mode() as usize > last as usize {
            return Err(work);
        }
        self.push_urgent(&mut queue, work);
        Ok(())
    }

    fn push_to_inbox(&self, last: Mode, work: Work) -> Result<(), Work> {
        let all = matches!(work, Work::Item(_));
        // Dropped when the push is done: others may wait for it.
        let stale = RefCell::new(Vec::new());
        let make_room = || {
            let swept = self.change().swept(all);
            stale.borrow_mut().extend(swept);
        };
        self.inbox
            .push(work, |mode| mode <= last as usize, make_room)
    }

    fn push_urgent(&self, queue: &mut InjectorState, work: Work) {
        let before = self.inbox.next();
        queue.rest.urgent.push_back((before, work));
    }

    /// The queue, for a change.
    fn change(&self) -> Change<'_> {
        self.change_locked(self.lock())
    }

    /// The lock. Where several threads queue task after task, one that slept on it would cost more
    /// than it guards: whoever unlocks it would have to wake that thread, and the others would
    /// sleep, too. So a thread that finds it busy looks again for some microseconds, less and less
    /// often, before it sleeps.
    #[inline]
    fn lock(&self) -> MutexGuard<'_, InjectorState> {
        match self.queue.try_lock() {
            Some(queue) => queue,
            None => self.lock_busy(),
        }
    }

    #[cold]
    fn lock_busy(&self) -> MutexGuard<'_, InjectorState> {
        for look in 0..LOOKS {
            for _ in 0..1 << look.min(6) {
                hint::spin_loop();
            }
            if let Some(queue) = self.queue.try_lock() {
                return queue;
            }
        }
        self.queue.lock()
    }

    fn change_locked<'a>(&'a self, mut queue: MutexGuard<'a, InjectorState>) -> Change<'a> {
        let InjectorState {
            entries, outlet, ..
        } = &mut *queue;
        let drained = self.inbox.drain(outlet, |work| entries.push_back(work));
        Change {
            injector: self,
            _drained: drained,
            queue,
        }
    }

    /// Calls `put`, which queues work elsewhere, if the pool accepts work from outside; or,
    /// `inside`, if its own tasks may still add some. Like all acceptance, that is decided under
    /// this lock. The result of `put` is queued here, the last first.
    pub(in crate::thread) fn admit(&self, inside: bool, put: &mut dyn FnMut() -> Vec<Work>) {
        let mut queue = self.change();
        let open = match self.mode() {
            Mode::Open => true,
            Mode::Draining | Mode::Cancelling => inside,
            Mode::Closed => false,
        };
        if open {
            let mut left = put();
            while let Some(work) = left.pop() {
                self.push_urgent(&mut queue, work);
            }
        }
    }

    pub(in crate::thread) fn pop(&self) -> Option<Work> {
        if self.is_empty() {
            return None;
        }
        self.change().pop()
    }

    /// The oldest urgent entry.
    pub(in crate::thread) fn pop_urgent(&self) -> Option<Work> {
        if self.urgent.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.change().pop_urgent()
    }

    /// Which entry is to be taken next: there is no progress.
    pub(in crate::thread) fn set_next(&self, next: Next) {
        self.next.store(next as usize, Ordering::Relaxed);
    }

    /// The entry that [`set_next`](Self::set_next) has asked for since the last call, if any;
    /// urgent ones first.
    pub(in crate::thread) fn pop_next(&self) -> Option<Work> {
        const OLDEST: usize = Next::Oldest as usize;
        if self.next.load(Ordering::Relaxed) == OLDEST || self.is_empty() {
            return None;
        }
        match self.next.swap(OLDEST, Ordering::Relaxed) {
            OLDEST => None,
            next => {
                let mut queue = self.change();
                let awaited = next == Next::Awaited as usize;
                let urgent = queue.pop_urgent();
                urgent.or_else(|| queue.pop_newest(awaited))
            }
        }
    }

    /// The oldest, and a fair share of the tasks that follow it, which are moved to `local` so that
    /// the older ones are popped first. True: some were moved. `None` if nothing is queued, or
    /// another thread has the lock: the caller looks again later, or finds in
    /// [`is_empty`](Self::is_empty) that it must.
    pub(in crate::thread) fn pop_some(
        &self,
        width: usize,
        local: &Deque<Runnable>,
    ) -> Steal<(Work, bool)> {
        if self.is_empty() {
            return Steal::Empty;
        }
        // Many workers may look at once, and would keep those who queue something from the lock.
        let Some(queue) = self.queue.try_lock() else {
            return Steal::Retry;
        };
        let mut queue = self.change_locked(queue);
        let Some(first) = queue.pop() else {
            return Steal::Empty;
        };
        let more = queue.move_tasks(width, local);
        Steal::Success((first, more))
    }

    /// Everything that is queued.
    pub(in crate::thread) fn take_all(&self) -> VecDeque<Work> {
        let (mut all, until) = (VecDeque::new(), self.inbox.next());
        let mut wait = Wait::default();
        loop {
            let mut queue = self.change();
            while let Some(work) = queue.pop() {
                all.push_back(work);
            }
            if queue.outlet.is_past(until) {
                return all;
            }
            drop(queue);
            wait.again(); // for a push that has been accepted, and is in progress
        }
    }

    /// The number of entries: a hint, like [`is_empty`](Self::is_empty).
    pub(in crate::thread) fn len(&self) -> usize {
        // What a closed pool has refused leaves empty entries there.
        let arrive = (self.mode() != Mode::Closed).then(|| self.inbox.len());
        arrive.unwrap_or(0) + self.len.load(Ordering::Relaxed)
    }

    /// A hint, exact once the fences of the sleep protocol have been passed.
    pub(in crate::thread) fn is_empty(&self) -> bool {
        // In this order: see `raw_outside_queue`, step 4.
        !self.inbox.has_some() && self.len.load(Ordering::Relaxed) == 0
    }

    /// Whether nothing is queued that was accepted before this call, nor is about to be.
    pub(in crate::thread) fn is_idle(&self) -> bool {
        let until = self.inbox.next();
        let is_past = self.change().outlet.is_past(until);
        is_past && self.len.load(Ordering::Relaxed) == 0
    }

    /// Asked after the poll of a future that would now sleep: whether the pool is ending its
    /// futures. A pool that begins to do so later wakes the future then.
    pub(in crate::thread) fn ends_futures(&self) -> bool {
        // Either this sees the mode, or the thread that wakes all futures sees that this one was
        // taken from its queue.
        fence(Ordering::SeqCst);
        matches!(self.mode(), Mode::Cancelling | Mode::Closed)
    }

    pub(in crate::thread) fn mode(&self) -> Mode {
        // Acquire: pairs with `set_mode`, so that a thread that sees the end sees everything before
        // it.
        Mode::of(self.mode.load(Ordering::Acquire))
    }

    /// Changes the mode; only ever forwards.
    pub(in crate::thread) fn set_mode(&self, mode: Mode) {
        let _queue = self.queue.lock();
        let before = self.mode.load(Ordering::Relaxed);
        let later = (mode as usize).saturating_sub(before);
        self.inbox.close(later);
        self.mode.store(before + later, Ordering::Release);
    }
}

/// The queue while it is changed, without what lay in the inbox. When it is dropped, so that the
/// change is done, the numbers that are read without the lock become those of now.
struct Change<'a> {
    injector: &'a Injector,
    /// Dropped before the lock is released.
    _drained: Drained<'a>,
    queue: MutexGuard<'a, InjectorState>,
}

impl Deref for Change<'_> {
    type Target = InjectorState;
    fn deref(&self) -> &InjectorState {
        &self.queue
    }
}

impl DerefMut for Change<'_> {
    fn deref_mut(&mut self) -> &mut InjectorState {
        &mut self.queue
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        let Self {
            injector, queue, ..
        } = self;
        let urgent = queue.rest.urgent.len();
        let len = queue.entries.len() + urgent;
        // Lines that are not written stay in the caches of those who read them.
        if injector.len.load(Ordering::Relaxed) != len {
            injector.len.store(len, Ordering::Relaxed);
        }
        if injector.urgent.load(Ordering::Relaxed) != urgent {
            injector.urgent.store(urgent, Ordering::Relaxed);
        }
        // Then the drained entries pass the head: from now on looks see the lengths and no inbox.
    }
}

/// The slots of a pool, in the order of their numbers: a copy that later changes leave alone.
pub(in crate::thread) type Slots<S> = Arc<[Arc<S>]>;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{Deque, MANY_SCOPED, batch_of_scoped, oldest_of_many};

    #[test]
    fn what_gathers_while_a_thief_rests_does_not_grow() {
        let (queue, own) = (Deque::new_lifo(), Deque::new_lifo());
        let thief = queue.stealer();
        let mut most = 0;
        for _ in 0..1_000 {
            (0..1_000).for_each(|task| queue.push(task));
            most = most.max(queue.len());
            let (_first, more) =
                oldest_of_many(&thief, &own, MANY_SCOPED, batch_of_scoped).expect("there are some");
            assert!(more, "a batch");
            while own.pop().is_some() {}
        }
        assert!(most < 5_000, "{most} tasks wait");
    }

    #[test]
    fn a_thief_takes_few_of_few() {
        let (queue, own) = (Deque::new_lifo(), Deque::new_lifo());
        (0..MANY_SCOPED).for_each(|task| queue.push(task));
        let found = oldest_of_many(&queue.stealer(), &own, MANY_SCOPED, batch_of_scoped);
        assert_eq!((found, own.len()), (Some((0, false)), 0));
    }
}
