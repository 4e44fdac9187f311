//! The table of a loop's tasks.
//!
//! Each task is under the key that its queue entries carry as their tag, so that a loop that ends
//! can cancel every task. A loop with a watchdog also counts the polls of each task there.
//!
//! Checked by `tests/event_loop/{roots,slow_poll}.rs`.

use std::collections::HashMap;
use std::panic::Location;
use std::time::Duration;

use slab::Slab;

use crate::task::{TaskId, TaskRef};

/// A table with room for more tasks than this is freed when it is empty: 16 KiB.
const CAPACITY: usize = 2048;

/// The future that `block_on` was given.
pub(super) struct Root {
    pub(super) id: TaskId,
    pub(super) site: &'static Location<'static>,
}

/// The polls of a task that have ended.
#[derive(Clone, Copy, Default)]
pub(super) struct Polls {
    pub(super) count: u64,
    pub(super) time: Duration,
}

/// The tasks of one loop.
#[derive(Default)]
pub(super) struct TaskTable {
    tasks: Slab<TaskRef>,
    pub(super) root: Option<Root>,
    /// The polls of each task, by tag. Only a loop with a watchdog counts them.
    polls: Option<HashMap<u32, Polls>>,
}

impl TaskTable {
    /// `watched`: the table also counts polls.
    pub(super) fn new(watched: bool) -> Self {
        Self {
            polls: watched.then(HashMap::new),
            ..Self::default()
        }
    }

    pub(super) fn insert(&mut self, task: TaskRef) -> u32 {
        // The tag is the key plus one, because new entries have 0.
        u32::try_from(self.tasks.insert(task) + 1).expect("fewer than 2^32 tasks")
    }

    pub(super) fn get(&self, tag: u32) -> Option<&TaskRef> {
        self.tasks.get(key(tag))
    }

    #[inline]
    pub(super) fn remove(&mut self, tag: u32) -> Option<TaskRef> {
        let task = self.tasks.try_remove(key(tag))?;
        self.forget_polls(tag);
        Some(task)
    }

    /// Sets the root future that runs from now on, if there is one.
    pub(super) fn set_root(&mut self, root: Option<Root>) {
        self.root = root;
        self.forget_polls(0);
    }

    fn forget_polls(&mut self, tag: u32) {
        if let Some(polls) = &mut self.polls {
            polls.remove(&tag);
        }
    }

    /// Counts a poll of the task, if the table does; tag 0 is the root future.
    pub(super) fn count(&mut self, tag: u32, time: Duration) {
        if let Some(polls) = &mut self.polls {
            let polls = polls.entry(tag).or_default();
            polls.count += 1;
            polls.time += time;
        }
    }

    /// The polls of the task that were counted.
    pub(super) fn polls(&self, tag: u32) -> Polls {
        let polls = self.polls.as_ref().and_then(|polls| polls.get(&tag));
        polls.copied().unwrap_or_default()
    }

    pub(super) fn tasks(&self) -> impl Iterator<Item = &TaskRef> {
        self.tasks.iter().map(|(_, task)| task)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Frees the memory of a past burst, once there is no task.
    #[inline]
    pub(super) fn shrink(&mut self) {
        if self.tasks.is_empty() && self.tasks.capacity() > CAPACITY {
            self.tasks = Slab::new();
        }
    }

    /// Whether this loop has the task.
    pub(super) fn has(&self, task: &TaskRef) -> bool {
        self.get(task.tag()).is_some_and(|own| own.same(task))
    }
}

/// The key of the task with this tag.
#[inline]
fn key(tag: u32) -> usize {
    tag.wrapping_sub(1) as usize
}
