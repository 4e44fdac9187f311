//! The table of a loop's tasks.
//!
//! Each task is under the key that its queue entries carry as their tag, so that a loop that ends
//! can cancel every task.
//!
//! Tests: `tests/event_loop/running.rs::run_cancels_what_is_left_and_waits_for_its_destructors`,
//! `tests/event_loop/roots.rs::what_it_spawns_then_is_one_of_the_loops_tasks`,
//! `tests/event_loop/slow_poll.rs::a_stuck_task_is_told_of_while_it_is_stuck`.

use slab::Slab;

use crate::task::TaskRef;

/// A table with room for more tasks than this is freed when it is empty: 16 KiB.
const CAPACITY: usize = 2048;

/// The tasks of one loop.
#[derive(Default)]
pub(super) struct TaskTable {
    tasks: Slab<TaskRef>,
}

impl TaskTable {
    pub(super) fn insert(&mut self, task: TaskRef) -> u32 {
        // The tag is the key plus one, because new entries have 0.
        u32::try_from(self.tasks.insert(task) + 1).expect("fewer than 2^32 tasks")
    }

    pub(super) fn get(&self, tag: u32) -> Option<&TaskRef> {
        self.tasks.get(key(tag))
    }

    #[inline]
    pub(super) fn remove(&mut self, tag: u32) -> Option<TaskRef> {
        self.tasks.try_remove(key(tag))
    }

    pub(super) fn tasks(&self) -> impl Iterator<Item = &TaskRef> {
        self.tasks.iter().map(|(_, task)| task)
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.tasks.len()
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
