//! The table of a loop's tasks.
//!
//! Each task is under the key that its queue entries carry as their tag: so that a loop that ends can cancel every
//! task, and that others can be shown them ([`LoopHandle::snapshot`](super::LoopHandle::snapshot)).
//!
//! What is known of its polls is noted beside it: how many there were, and whether the last one asked for a timer,
//! for a descriptor, and for which task.
//!
//! Checked by `tests/event_loop/snapshot.rs`.

use std::time::Duration;

use slab::Slab;

use crate::task::{TaskId, TaskRef};

/// Kinds of waiting, as bits.
pub(super) const TIMER: u8 = 1;
pub(super) const READ: u8 = 2;
pub(super) const WRITE: u8 = 4;

/// A table with room for more tasks than this is given back when it is empty: 48 KiB.
const CAPACITY: usize = 2048;

/// One task that has not ended.
pub(super) struct Entry {
    pub(super) task: TaskRef,
    pub(super) noted: Noted,
}

/// What is known of a task's (or the root future's) polls.
#[derive(Clone, Copy, Default)]
pub(super) struct Noted {
    /// The task that it waits for.
    pub(super) awaited: Option<TaskId>,
    pub(super) polls: u32,
    /// Kinds of waiting.
    waits: u8,
}

impl Noted {
    /// It was polled once more, and this is what it asked for.
    #[inline]
    fn note(&mut self, waits: u8, awaited: Option<TaskId>) {
        *self = Self {
            awaited,
            polls: self.polls.saturating_add(1),
            waits,
        };
    }

    pub(super) fn waits(self, kind: u8) -> bool {
        self.waits & kind != 0
    }
}

/// The future that `block_on` was given.
pub(super) struct Root {
    pub(super) id: TaskId,
    pub(super) site: &'static std::panic::Location<'static>,
    pub(super) noted: Noted,
    /// Time in its polls, on a loop that is watched.
    pub(super) spent: Duration,
}

/// The tasks of one loop.
#[derive(Default)]
pub(super) struct Table {
    tasks: Slab<Entry>,
    pub(super) root: Option<Root>,
    /// Time in polls by key, on a loop that is watched.
    spent: Option<Vec<Duration>>,
}

impl Table {
    /// `watched`: the time in polls is kept, too.
    pub(super) fn new(watched: bool) -> Self {
        Self {
            spent: watched.then(Vec::new),
            ..Self::default()
        }
    }

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
        if let Some(spent) = self.spent.as_mut().and_then(|spent| spent.get_mut(key)) {
            *spent = Duration::ZERO;
        }
        Some(entry.task)
    }

    /// It was polled and waits; tag 0 is the root future.
    #[inline]
    pub(super) fn note(&mut self, tag: u32, waits: u8, awaited: Option<TaskId>) {
        let noted = match tag {
            0 => self.root.as_mut().map(|root| &mut root.noted),
            tag => self.tasks.get_mut(key(tag)).map(|entry| &mut entry.noted),
        };
        if let Some(noted) = noted {
            noted.note(waits, awaited);
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
        if let Some(spent) = &mut self.spent
            && self.tasks.contains(key)
        {
            spent.resize(spent.len().max(key + 1), Duration::ZERO);
            spent[key] += time;
        }
    }

    /// Each task, and the time in its polls, if that is kept.
    pub(super) fn tasks(&self) -> impl Iterator<Item = (&Entry, Option<Duration>)> {
        self.tasks.iter().map(|(key, entry)| {
            let spent = self.spent.as_ref();
            let spent = spent.map(|spent| spent.get(key).copied().unwrap_or_default());
            (entry, spent)
        })
    }

    /// The root future, and the time in its polls, if that is kept.
    pub(super) fn root(&self) -> Option<(&Root, Option<Duration>)> {
        let root = self.root.as_ref()?;
        Some((root, self.spent.is_some().then_some(root.spent)))
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

/// Where the task with this tag is.
#[inline]
fn key(tag: u32) -> usize {
    tag.wrapping_sub(1) as usize
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_entry_takes_24_bytes() {
        assert_eq!(size_of::<Option<Entry>>(), 24);
    }
}
