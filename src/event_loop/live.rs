//! The tasks of a loop, and where others may look at them.
//!
//! A loop keeps its live tasks in a [`Roster`], each under the key that its entries carry as
//! their tag: to cancel every one at its end, and to show them
//! ([`LoopHandle::snapshot`](super::LoopHandle::snapshot)).
//!
//! A lock at each spawn would be felt, so the table belongs to the loop's thread while it
//! runs, and is lent while it does not:
//!
//! 1. Before it waits in the kernel, and where nobody drives it, the loop puts its table
//!    on the [`Stand`], behind a lock; before it goes on it takes it back. Whoever wants to look
//!    meanwhile looks, and wakes nobody.
//! 2. Who finds the stand empty leaves his name. The loop answers after the task that it
//!    runs, or when it puts the table there.
//! 3. The table of a loop with a watchdog lies on the stand for good: each access
//!    takes the lock, and the watchdog sees which task runs, and since when.
//!
//! - **L7** No name is overlooked: who leaves one does so under the lock, having found the
//!   stand empty; and the loop looks at the names under the same lock whenever it puts
//!   the table there.
//! - **L8** Under the lock nobody's code runs, and no task is dropped.
//!
//! What a task waits for is noted beside it in eight bytes, so that an entry takes
//! sixteen: how often it was polled, and at its last poll, whether it asked for a timer, for
//! a descriptor, and for which task (the lower half of its id, which is enough to find it
//! or, near the waiting task's own id, to reckon it).
//!
//! Rejected: always a lock (24 ns for a task that takes 40); a lock-free list (a protocol
//! for the sake of a debugging aid).
//!
//! Checked by `tests/event_loop/snapshot.rs`.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::roster::Roster;
use super::snapshot::Snapshot;
use crate::loom::atomic::{AtomicBool, Ordering};
use crate::loom::{Condvar, Mutex, MutexGuard};
use crate::task::{TaskId, TaskRef};

/// Kinds of waiting, as bits.
pub(super) const TIMER: u8 = 1;
pub(super) const READ: u8 = 2;
pub(super) const WRITE: u8 = 4;

/// How many bits of the word of an entry are those kinds.
const KINDS: u32 = 3;

/// One live task.
pub(super) struct Entry {
    pub(super) task: TaskRef,
    noted: Noted,
}

/// What is known of a task's (or the root future's) polls.
#[derive(Clone, Copy, Default)]
pub(super) struct Noted {
    /// The lower half of the id of the task that it waits for; 0: none.
    awaited: u32,
    /// Polls in the upper bits (as far as they count), kinds of waiting in the lower.
    word: u32,
}

impl Noted {
    /// It was polled once more, and this is what it asked for.
    #[inline]
    fn note(&mut self, kinds: u8, awaited: u64) {
        const ONE: u32 = 1 << KINDS;
        let polls = self.word & !(ONE - 1);
        self.word = polls.checked_add(ONE).unwrap_or(polls) | u32::from(kinds);
        self.awaited = awaited as u32;
    }

    pub(super) fn polls(self) -> u32 {
        self.word >> KINDS
    }

    pub(super) fn waits(self, kind: u8) -> bool {
        self.word & u32::from(kind) != 0
    }

    /// The task that the one with this id waits for: the nearest one with this half.
    pub(super) fn awaited(self, own: TaskId) -> Option<TaskId> {
        if self.awaited == 0 {
            return None;
        }
        let near = (own.get() as u32).wrapping_sub(self.awaited) as i32;
        TaskId::from_number(own.get().wrapping_sub(i64::from(near) as u64))
    }
}

/// The future that `block_on` was given.
#[derive(Clone, Copy)]
pub(super) struct Root {
    pub(super) id: TaskId,
    pub(super) site: &'static std::panic::Location<'static>,
    pub(super) noted: Noted,
    pub(super) spent: Duration,
}

/// The live tasks of one loop.
#[derive(Default)]
pub(super) struct Table {
    tasks: Roster,
    pub(super) root: Option<Root>,
    /// Time in polls by key, on a loop that is watched.
    spent: Vec<Duration>,
}

impl Table {
    pub(super) fn insert(&mut self, task: TaskRef) -> u32 {
        // The tag: the key plus one, because new entries have 0.
        self.tasks.insert(Entry::new(task)) + 1
    }

    pub(super) fn get(&self, tag: u32) -> Option<&Entry> {
        self.tasks.get(tag.wrapping_sub(1))
    }

    #[inline]
    pub(super) fn remove(&mut self, tag: u32) -> Option<TaskRef> {
        let key = tag.wrapping_sub(1);
        let entry = self.tasks.remove(key)?;
        if !self.spent.is_empty() {
            self.forget_spent(key as usize);
        }
        Some(entry.task)
    }

    #[cold]
    fn forget_spent(&mut self, key: usize) {
        if let Some(spent) = self.spent.get_mut(key) {
            *spent = Duration::ZERO;
        }
    }

    /// It was polled and waits.
    #[inline]
    pub(super) fn note(&mut self, tag: u32, kinds: u8, awaited: u64) {
        if let Some(entry) = self.tasks.get_mut(tag.wrapping_sub(1)) {
            entry.noted.note(kinds, awaited);
        }
    }

    pub(super) fn note_root(&mut self, kinds: u8, awaited: u64) {
        if let Some(root) = &mut self.root {
            root.noted.note(kinds, awaited);
        }
    }

    /// Adds to the time that it has spent in polls; tag 0 is the root future.
    pub(super) fn charge(&mut self, tag: u32, time: Duration) {
        if tag == 0 {
            if let Some(root) = &mut self.root {
                root.spent += time;
            }
            return;
        }
        let key = tag.wrapping_sub(1) as usize;
        if self.get(tag).is_some() {
            if key >= self.spent.len() {
                self.spent.resize(key + 1, Duration::ZERO);
            }
            self.spent[key] += time;
        }
    }

    pub(super) fn tasks(&self) -> impl Iterator<Item = (&Entry, Duration)> {
        self.tasks.iter().map(|(key, entry)| {
            let spent = self.spent.get(key).copied().unwrap_or_default();
            (entry, spent)
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.tasks.len()
    }

    /// The task with this tag will be polled soon.
    #[inline]
    pub(super) fn prefetch(&self, tag: u32) {
        self.tasks.prefetch(tag.wrapping_sub(1));
    }

    /// Gives memory back that a burst has left.
    pub(super) fn shrink(&mut self, capacity: usize) {
        self.tasks.shrink(capacity);
    }

    /// This one is of this loop.
    pub(super) fn has(&self, task: &TaskRef) -> bool {
        self.get(task.tag())
            .is_some_and(|entry| entry.task.same(task))
    }
}

impl Entry {
    #[inline]
    pub(super) fn new(task: TaskRef) -> Self {
        Self {
            task,
            noted: Noted::default(),
        }
    }

    pub(super) fn noted(&self) -> Noted {
        self.noted
    }
}

/// Where the table lies while the loop's thread does not need it for itself.
pub(super) struct Stand {
    pub(super) inner: Mutex<Inner>,
    /// A name was left.
    asked: AtomicBool,
    /// For the watchdog, if there is one: a poll has begun, or the loop has ended.
    pub(super) begun: Condvar,
}

pub(super) struct Inner {
    pub(super) table: Table,
    /// The table is here.
    here: bool,
    names: Vec<mpsc::Sender<Snapshot>>,
    /// What the watchdog looks at.
    pub(super) now: Option<Poll>,
    /// The watchdog waits until a poll begins.
    pub(super) parked: bool,
    pub(super) ended: bool,
}

/// A poll that goes on.
pub(super) struct Poll {
    /// The task's tag; 0: the root future.
    pub(super) tag: u32,
    /// The task, where its tag does not name it.
    pub(super) task: Option<TaskRef>,
    pub(super) since: Instant,
    pub(super) reported: bool,
}

impl Stand {
    pub(super) fn new() -> Self {
        Self {
            inner: Mutex::new(Inner {
                table: Table::default(),
                here: true,
                names: Vec::new(),
                now: None,
                parked: false,
                ended: false,
            }),
            asked: AtomicBool::new(false),
            begun: Condvar::new(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    /// (1) The loop takes its table.
    pub(super) fn take(&self, ours: &mut Table) {
        let mut inner = self.inner.lock();
        std::mem::swap(ours, &mut inner.table);
        inner.here = false;
    }

    /// (1) The loop puts its table here.
    pub(super) fn put(&self, ours: &mut Table) {
        let mut inner = self.inner.lock();
        std::mem::swap(ours, &mut inner.table);
        inner.here = true;
        self.answer(&mut inner); // L7
    }

    #[inline]
    pub(super) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    fn answer(&self, inner: &mut Inner) {
        self.asked.store(false, Ordering::Relaxed);
        for name in std::mem::take(&mut inner.names) {
            let _ = name.send(Snapshot::of(&inner.table, 0, false));
        }
    }

    /// (2) Any other thread; `None`: the loop has not answered in time.
    pub(super) fn look(&self, patience: Duration, watched: bool) -> Option<Snapshot> {
        let answer = {
            let mut inner = self.inner.lock();
            if inner.here {
                return Some(Snapshot::of_stand(&inner, watched));
            }
            let (name, answer) = mpsc::channel();
            inner.names.push(name);
            self.asked.store(true, Ordering::Relaxed);
            answer
        };
        answer.recv_timeout(patience).ok()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn half_an_id_is_enough() {
        let own = TaskId::next();
        for apart in [-5_i64, -1, 1, 1 << 20] {
            let other = own.get().wrapping_add(apart as u64);
            let mut noted = Noted::default();
            noted.note(READ, other);
            if other as u32 != 0 {
                assert_eq!(noted.awaited(own), TaskId::from_number(other));
            }
            assert!(noted.waits(READ) && !noted.waits(TIMER) && noted.polls() == 1);
        }
    }
}
