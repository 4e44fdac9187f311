//! The table of a loop's tasks.
//!
//! Each task is under the key that its queue entries carry as their tag, so that a loop that ends
//! can cancel every task, and snapshots can list them
//! ([`LoopHandle::snapshot`](super::LoopHandle::snapshot)).
//!
//! Each entry also records the task's polls: how many there were, and whether the last one waited
//! for a timer, a descriptor, or a task. Which one is in a list of its own, because few tasks wait
//! for a task: an entry takes 16 bytes.
//!
//! Checked by `tests/event_loop/snapshot.rs`.

use std::collections::HashMap;
use std::time::Duration;

use slab::Slab;

use crate::task::{TaskId, TaskRef};

/// The kinds of waiting, as bits.
pub(super) const TIMER: u8 = 1;
pub(super) const READ: u8 = 2;
pub(super) const WRITE: u8 = 4;
const TASK: u8 = 8;

/// A table with room for more tasks than this is freed when it is empty: 32 KiB.
const CAPACITY: usize = 2048;

/// One task that has not ended.
pub(super) struct TaskEntry {
    pub(super) task: TaskRef,
    pub(super) noted: PollRecord,
}

/// The record of a task's (or the root future's) polls.
#[derive(Clone, Copy, Default)]
pub(super) struct PollRecord {
    pub(super) polls: u32,
    /// The kinds of what it waits for. (The record has no padding: it is written as one word, and
    /// read as one, which a processor does without waiting for the write.)
    waits: u32,
}

impl PollRecord {
    /// Records a poll that has begun to wait for these.
    #[inline]
    fn note(&mut self, waits: u8) {
        *self = Self {
            polls: self.polls.saturating_add(1),
            waits: waits.into(),
        };
    }

    pub(super) fn waits(self, kind: u8) -> bool {
        self.waits & u32::from(kind) != 0
    }
}

/// The future that `block_on` was given.
pub(super) struct Root {
    pub(super) id: TaskId,
    pub(super) site: &'static std::panic::Location<'static>,
    pub(super) noted: PollRecord,
}

/// The tasks of one loop.
#[derive(Default)]
pub(super) struct TaskTable {
    tasks: Slab<TaskEntry>,
    pub(super) root: Option<Root>,
    /// The number of the task that each waits for, by tag, if it waits for a [`TASK`]; shorter if
    /// the last ones never have.
    awaited: Vec<u64>,
    /// How long the polls of each task took in total, by tag. Only a loop with a watchdog counts
    /// this.
    spent: Option<HashMap<u32, Duration>>,
}

impl TaskTable {
    /// `watched`: the table also counts the time in polls.
    pub(super) fn new(watched: bool) -> Self {
        Self {
            spent: watched.then(HashMap::new),
            ..Self::default()
        }
    }

    pub(super) fn insert(&mut self, task: TaskRef) -> u32 {
        let entry = TaskEntry {
            task,
            noted: PollRecord::default(),
        };
        // The tag is the key plus one, because new entries have 0.
        u32::try_from(self.tasks.insert(entry) + 1).expect("fewer than 2^32 tasks")
    }

    pub(super) fn get(&self, tag: u32) -> Option<&TaskEntry> {
        self.tasks.get(key(tag))
    }

    #[inline]
    pub(super) fn remove(&mut self, tag: u32) -> Option<TaskRef> {
        let entry = self.tasks.try_remove(key(tag))?;
        self.forget_time(tag);
        Some(entry.task)
    }

    /// Records that the task with this tag was polled and waits; tag 0 is the root future.
    ///
    /// `awaited`: the number of the task that it waits for; 0: none.
    #[inline]
    pub(super) fn note(&mut self, tag: u32, waits: u8, awaited: u64) {
        let noted = match tag {
            0 => self.root.as_mut().map(|root| &mut root.noted),
            tag => self.tasks.get_mut(key(tag)).map(|entry| &mut entry.noted),
        };
        let Some(noted) = noted else { return };
        if awaited == 0 {
            return noted.note(waits);
        }
        noted.note(waits | TASK);
        match self.awaited.get_mut(tag as usize) {
            Some(place) => *place = awaited,
            None => self.add_awaited(tag, awaited),
        }
    }

    #[cold]
    #[inline(never)]
    fn add_awaited(&mut self, tag: u32, awaited: u64) {
        self.awaited.resize(tag as usize, 0);
        self.awaited.push(awaited);
    }

    /// The task that the one with this tag and record waits for.
    pub(super) fn awaited(&self, tag: u32, noted: PollRecord) -> Option<TaskId> {
        let number = noted.waits(TASK).then(|| self.awaited[tag as usize]);
        TaskId::from_number(number?)
    }

    /// Sets the root future that runs from now on, if there is one.
    pub(super) fn set_root(&mut self, root: Option<Root>) {
        self.root = root;
        self.forget_time(0);
    }

    fn forget_time(&mut self, tag: u32) {
        if let Some(spent) = &mut self.spent {
            spent.remove(&tag);
        }
    }

    /// Adds to the time in the task's polls; tag 0 is the root future.
    pub(super) fn charge(&mut self, tag: u32, time: Duration) {
        if let Some(spent) = &mut self.spent {
            *spent.entry(tag).or_default() += time;
        }
    }

    /// The time in the task's polls, if the table counts it.
    pub(super) fn time(&self, tag: u32) -> Option<Duration> {
        let spent = self.spent.as_ref()?;
        Some(spent.get(&tag).copied().unwrap_or_default())
    }

    pub(super) fn tasks(&self) -> impl Iterator<Item = &TaskRef> {
        self.tasks.iter().map(|(_, entry)| &entry.task)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Frees the memory of a past burst, once there is no task.
    #[inline]
    pub(super) fn shrink(&mut self) {
        if self.tasks.is_empty() && self.tasks.capacity().max(self.awaited.capacity()) > CAPACITY {
            self.tasks = Slab::new();
            self.awaited.truncate(1); // the root future may wait still
            self.awaited.shrink_to_fit();
        }
    }

    /// Whether this loop has the task.
    pub(super) fn has(&self, task: &TaskRef) -> bool {
        self.get(task.tag())
            .is_some_and(|entry| entry.task.same(task))
    }
}

/// The key of the task with this tag.
#[inline]
fn key(tag: u32) -> usize {
    tag.wrapping_sub(1) as usize
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_entry_takes_16_bytes() {
        let size = if cfg!(target_pointer_width = "64") {
            16
        } else {
            12
        };
        assert_eq!(size_of::<Option<TaskEntry>>(), size);
    }

    #[test]
    fn the_task_that_the_root_future_waits_for_is_known_until_its_next_poll() {
        let mut table = TaskTable::default();
        table.set_root(Some(Root {
            id: TaskId::next(),
            site: std::panic::Location::caller(),
            noted: PollRecord::default(),
        }));
        for number in [7, 0, 8, 9, 0] {
            table.note(0, READ, number);
            table.awaited.reserve(2 * CAPACITY);
            table.shrink();
            let noted = table.root.as_ref().expect("it was set").noted;
            assert_eq!(table.awaited(0, noted), TaskId::from_number(number));
            assert!(noted.waits(READ) && !noted.waits(TIMER));
        }
    }
}
