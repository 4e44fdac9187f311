//! The table of a loop's tasks.
//!
//! Each task is under the key that its queue entries carry as their tag: so that a loop that ends can cancel every
//! task, and that others can be shown them ([`LoopHandle::snapshot`](super::LoopHandle::snapshot)).
//!
//! What a task waits for is noted beside it in eight bytes, so that an entry takes sixteen: how often the task was
//! polled, and whether its last poll asked for a timer, for a descriptor, and for which task (the lower half of its
//! id, which is enough to find the id again where the two tasks were made near one another).
//!
//! Checked by `tests/event_loop/snapshot.rs`.

use std::time::Duration;

use slab::Slab;

use crate::task::{TaskId, TaskRef};

/// Kinds of waiting, as bits.
pub(super) const TIMER: u8 = 1;
pub(super) const READ: u8 = 2;
pub(super) const WRITE: u8 = 4;

/// How many bits of the word of an entry are those kinds.
const KINDS: u32 = 3;

/// A table with room for more tasks than this is given back when it is empty: 32 KiB.
const CAPACITY: usize = 2048;

/// One task that has not ended.
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

/// The tasks of one loop.
#[derive(Default)]
pub(super) struct Table {
    tasks: Slab<Entry>,
    pub(super) root: Option<Root>,
    /// Time in polls by key, on a loop that is watched.
    spent: Vec<Duration>,
}

impl Table {
    pub(super) fn insert(&mut self, task: TaskRef) -> u32 {
        let entry = Entry {
            task,
            noted: Noted::default(),
        };
        // The tag: the key plus one, because new entries have 0.
        u32::try_from(self.tasks.insert(entry) + 1).expect("fewer than 2^32 tasks")
    }

    pub(super) fn get(&self, tag: u32) -> Option<&Entry> {
        self.tasks.get(key(tag))
    }

    #[inline]
    pub(super) fn remove(&mut self, tag: u32) -> Option<TaskRef> {
        let key = key(tag);
        let entry = self.tasks.try_remove(key)?;
        if let Some(spent) = self.spent.get_mut(key) {
            *spent = Duration::ZERO;
        }
        Some(entry.task)
    }

    /// It was polled and waits; tag 0 is the root future.
    #[inline]
    pub(super) fn note(&mut self, tag: u32, kinds: u8, awaited: u64) {
        let noted = match tag {
            0 => self.root.as_mut().map(|root| &mut root.noted),
            tag => self.tasks.get_mut(key(tag)).map(|entry| &mut entry.noted),
        };
        if let Some(noted) = noted {
            noted.note(kinds, awaited);
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
        let key = key(tag);
        if self.tasks.contains(key) {
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

    /// Gives memory back that a burst has left, once no task is there.
    #[inline]
    pub(super) fn shrink(&mut self) {
        if self.tasks.is_empty() && self.tasks.capacity() > CAPACITY {
            self.tasks = Slab::new();
        }
    }

    /// This one is of this loop.
    pub(super) fn has(&self, task: &TaskRef) -> bool {
        self.get(task.tag())
            .is_some_and(|entry| entry.task.same(task))
    }
}

impl Entry {
    pub(super) fn noted(&self) -> Noted {
        self.noted
    }
}

/// Where the task with this tag is.
#[inline]
fn key(tag: u32) -> usize {
    tag.wrapping_sub(1) as usize
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_entry_takes_sixteen_bytes() {
        assert_eq!(size_of::<Option<Entry>>(), 16);
    }

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
